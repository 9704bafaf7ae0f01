/* SPDX-License-Identifier: MIT */

/* CAF, the C++ Actor Framework: as many actors as the scheduler has threads,
 * each producer sends to them by turns. */

#include "bench/lib/driver.h"
#include "bench/lib/measure.h"

#include <caf/all.hpp>
#include <memory>
#include <vector>

namespace
{
struct pool {
    caf::actor_system_config config;
    std::unique_ptr<caf::actor_system> system;
    std::vector<caf::actor> actors;
};

thread_local std::size_t turn;
thread_local std::unique_ptr<caf::scoped_actor> self;

/* A task travels as a number, so that it needs no type of CAF's own. */
caf::behavior behave(caf::event_based_actor *)
{
    return {
        [](uint64_t address) {
            auto *task = reinterpret_cast<bench_task *>(address);

            task->run(task);
        },
        [](int64_t x) -> int64_t { return bench_add_one(x); },
    };
}

const caf::actor &next(void *opened)
{
    const auto &actors = static_cast<pool *>(opened)->actors;

    return actors[turn++ % actors.size()];
}

void *open_pool(const bench_setup *setup)
{
    auto *opened = new pool;

    opened->config.set("scheduler.max-threads",
                       static_cast<std::size_t>(setup->workers));
    opened->system = std::make_unique<caf::actor_system>(opened->config);
    for (unsigned i = 0; i < setup->workers; i++) {
        opened->actors.push_back(opened->system->spawn(behave));
    }
    return opened;
}

void close_pool(void *opened)
{
    auto *closing = static_cast<pool *>(opened);

    for (const auto &actor : closing->actors) {
        caf::anon_send_exit(actor, caf::exit_reason::user_shutdown);
    }
    closing->actors.clear();
    delete closing;
}

void enter(void *opened)
{
    self = std::make_unique<caf::scoped_actor>(
        *static_cast<pool *>(opened)->system);
}

void leave(void *)
{
    self.reset();
}

void submit(void *opened, bench_task *task)
{
    caf::anon_send(next(opened), reinterpret_cast<uint64_t>(task));
}

long call(void *opened, long x)
{
    long reply = -1;

    (*self)
        ->request(next(opened), caf::infinite, static_cast<int64_t>(x))
        .receive([&reply](int64_t answer) { reply = answer; },
                 [](caf::error &) { bench_fail("caf: request"); });
    return reply;
}
} // namespace

int main(int count, char **values)
{
    bench_peer peer = {};

    peer.name = "caf";
    peer.open = open_pool;
    peer.submit = submit;
    peer.close = close_pool;
    peer.enter = enter;
    peer.leave = leave;
    peer.call = call;
    return bench_main(&peer, count, values);
}
