/* SPDX-License-Identifier: MIT */

/* Boost.Asio: post to a thread_pool. */

#include "bench/lib/driver.h"

#include <boost/asio.hpp>

namespace
{
boost::asio::thread_pool &inner(void *opened)
{
    return *static_cast<boost::asio::thread_pool *>(opened);
}

void *open_pool(const bench_setup *setup)
{
    return new boost::asio::thread_pool(setup->workers);
}

void close_pool(void *opened)
{
    inner(opened).join();
    delete &inner(opened);
}

void submit(void *opened, bench_task *task)
{
    boost::asio::post(inner(opened), [task] { task->run(task); });
}

void submit_payload(void *opened, const bench_payload *payload)
{
    boost::asio::post(inner(opened),
                      [copy = *payload] { bench_run_payload(&copy); });
}
} // namespace

int main(int count, char **values)
{
    bench_peer peer = {};

    peer.name = "asio";
    peer.open = open_pool;
    peer.submit = submit;
    peer.close = close_pool;
    peer.submit_payload = submit_payload;
    return bench_main(&peer, count, values);
}
