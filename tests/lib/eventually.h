/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_EVENTUALLY_H
#define TESTS_LIB_EVENTUALLY_H

/* Waiting for what other threads will do, in tests only. */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef bool eventually_fn(void *ctx);

static inline int64_t eventually_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline void eventually_nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Ask once a millisecond until condition(ctx) holds or timeout_ns has passed;
 * what it said last. condition reads shared state by atomics or under a lock. */
static inline bool eventually(eventually_fn *condition, void *ctx,
                              int64_t timeout_ns)
{
    int64_t deadline_ns = eventually_now_ns() + timeout_ns;

    while (!condition(ctx)) {
        if (eventually_now_ns() >= deadline_ns) {
            return condition(ctx);
        }
        eventually_nap();
    }
    return true;
}

#endif
