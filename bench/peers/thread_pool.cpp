/* SPDX-License-Identifier: MIT */

/* thread_pool by Robert Vaser: a queue per thread, stealing, std::future. */

#include "bench/lib/driver.h"

#include <thread_pool/thread_pool.hpp>

namespace
{
using inner = thread_pool::ThreadPool;

void *open_pool(const bench_setup *setup)
{
    return new inner(setup->workers);
}

void close_pool(void *opened)
{
    delete static_cast<inner *>(opened);
}

void submit(void *opened, bench_task *task)
{
    static_cast<inner *>(opened)->Submit([task] { task->run(task); });
}

void submit_payload(void *opened, const bench_payload *payload)
{
    static_cast<inner *>(opened)->Submit(
        [copy = *payload] { bench_run_payload(&copy); });
}
} // namespace

int main(int count, char **values)
{
    bench_peer peer = {};

    peer.name = "thread_pool";
    peer.open = open_pool;
    peer.submit = submit;
    peer.close = close_pool;
    peer.submit_payload = submit_payload;
    return bench_main(&peer, count, values);
}
