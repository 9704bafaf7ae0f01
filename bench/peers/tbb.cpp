/* SPDX-License-Identifier: MIT */

/* oneTBB: task_arena::enqueue, all threads of the arena are workers. */

#include "bench/lib/driver.h"

#include <tbb/blocked_range.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

namespace
{
struct pool {
    explicit pool(unsigned workers)
        : limit(tbb::global_control::max_allowed_parallelism, workers + 1),
          arena(static_cast<int>(workers), 0)
    {
        arena.initialize();
    }

    tbb::global_control limit;
    tbb::task_arena arena;
};

tbb::task_arena &arena(void *opened)
{
    return static_cast<pool *>(opened)->arena;
}

void *open_pool(const bench_setup *setup)
{
    return new pool(setup->workers);
}

void close_pool(void *opened)
{
    delete static_cast<pool *>(opened);
}

void submit(void *opened, bench_task *task)
{
    arena(opened).enqueue([task] { task->run(task); });
}

void submit_payload(void *opened, const bench_payload *payload)
{
    arena(opened).enqueue([copy = *payload] { bench_run_payload(&copy); });
}

using range = tbb::blocked_range<long>;

struct count_range {
    void operator()(const range &items) const
    {
        for (long i = items.begin(); i != items.end(); ++i) {
            bench_count(0);
        }
    }
};

bool each(void *opened, long count, bench_chunk chunk)
{
    if (chunk == BENCH_CHUNK_STATIC) {
        return false;
    }
    arena(opened).execute([count, chunk] {
        if (chunk == BENCH_CHUNK_ONE) {
            tbb::parallel_for(range(0, count, 1), count_range(),
                              tbb::simple_partitioner());
        } else {
            tbb::parallel_for(range(0, count), count_range(),
                              tbb::auto_partitioner());
        }
    });
    return true;
}
} // namespace

int main(int count, char **values)
{
    bench_peer peer = {};

    peer.name = "tbb";
    peer.open = open_pool;
    peer.submit = submit;
    peer.close = close_pool;
    peer.submit_payload = submit_payload;
    peer.each = each;
    return bench_main(&peer, count, values);
}
