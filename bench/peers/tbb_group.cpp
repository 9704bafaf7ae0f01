/* SPDX-License-Identifier: MIT */

/* oneTBB: task_group::run. Each producer has a group of its own, and works for
 * it while it waits for its end. */

#include "bench/lib/driver.h"

#include <cstring>
#include <initializer_list>
#include <memory>
#include <tbb/global_control.h>
#include <tbb/task_group.h>

namespace
{
thread_local std::unique_ptr<tbb::task_group> group;

void *open_pool(const bench_setup *setup)
{
    return new tbb::global_control(tbb::global_control::max_allowed_parallelism,
                                   setup->workers + 1);
}

void close_pool(void *opened)
{
    delete static_cast<tbb::global_control *>(opened);
}

void enter(void *)
{
    group = std::make_unique<tbb::task_group>();
}

void leave(void *)
{
    group->wait();
    group.reset();
}

void submit(void *, bench_task *task)
{
    group->run([task] { task->run(task); });
}

void submit_payload(void *, const bench_payload *payload)
{
    group->run([copy = *payload] { bench_run_payload(&copy); });
}
} // namespace

int main(int count, char **values)
{
    bench_peer peer = {};

    /* No progress is promised before somebody waits for the group. */
    for (const char *workload :
         {"call_1_apart", "call_1_together", "worker_memory"}) {
        if (count > 1 && std::strcmp(values[1], workload) == 0) {
            return 77;
        }
    }
    peer.name = "tbb_group";
    peer.open = open_pool;
    peer.submit = submit;
    peer.close = close_pool;
    peer.enter = enter;
    peer.leave = leave;
    peer.submit_payload = submit_payload;
    return bench_main(&peer, count, values);
}
