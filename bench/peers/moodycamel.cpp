/* SPDX-License-Identifier: MIT */

/* moodycamel::BlockingConcurrentQueue with threads that take from it: what a
 * careful programmer writes by hand. */

#include "bench/lib/driver.h"

#include <concurrentqueue/blockingconcurrentqueue.h>
#include <memory>
#include <thread>
#include <vector>

namespace
{
using queue = moodycamel::BlockingConcurrentQueue<bench_task *>;

struct pool {
    queue tasks;
    std::vector<std::thread> threads;
};

/* One per producer, as its manual advises. */
thread_local std::unique_ptr<moodycamel::ProducerToken> token;

queue &tasks(void *opened)
{
    return static_cast<pool *>(opened)->tasks;
}

void work(queue &from)
{
    moodycamel::ConsumerToken own(from);
    bench_task *task;

    for (;;) {
        from.wait_dequeue(own, task);
        if (task == nullptr) {
            return;
        }
        task->run(task);
    }
}

void *open_pool(const bench_setup *setup)
{
    auto *opened = new pool;

    for (unsigned i = 0; i < setup->workers; i++) {
        opened->threads.emplace_back(work, std::ref(opened->tasks));
    }
    return opened;
}

void close_pool(void *opened)
{
    auto *closing = static_cast<pool *>(opened);

    for (std::size_t i = 0; i < closing->threads.size(); i++) {
        closing->tasks.enqueue(nullptr);
    }
    for (auto &thread : closing->threads) {
        thread.join();
    }
    delete closing;
}

void enter(void *opened)
{
    token = std::make_unique<moodycamel::ProducerToken>(tasks(opened));
}

void leave(void *)
{
    token.reset();
}

void submit(void *opened, bench_task *task)
{
    tasks(opened).enqueue(*token, task);
}

void submit_batch(void *opened, bench_task *const *first, size_t count)
{
    tasks(opened).enqueue_bulk(*token, first, count);
}
} // namespace

int main(int count, char **values)
{
    bench_peer peer = {};

    peer.name = "moodycamel";
    peer.open = open_pool;
    peer.submit = submit;
    peer.close = close_pool;
    peer.enter = enter;
    peer.leave = leave;
    peer.submit_batch = submit_batch;
    return bench_main(&peer, count, values);
}
