/* SPDX-License-Identifier: MIT */

/* wake: one task per millisecond into a pool that is idle in between.
 *
 * p50 and p99 count from the moment the task was submitted; late_p50 and
 * late_p99 from the moment it should have been, so that a submission that
 * blocks, or a producer that is kept from its CPU, shows. */

#include "bench/lib/workload.h"

#include <stdlib.h>
#include <sys/prctl.h>

#define PERIOD_NS INT64_C(1000000)

struct timed_task {
    struct bench_task task;
    int64_t intended_ns;
    int64_t submitted_ns;
    int64_t began_ns;
};

static void note_time(struct bench_task *task)
{
    ((struct timed_task *)task)->began_ns = bench_now();
    bench_count(0);
}

static uint32_t delay(int64_t from_ns, int64_t to_ns)
{
    return to_ns - from_ns < UINT32_MAX ? (uint32_t)(to_ns - from_ns)
                                        : UINT32_MAX;
}

static void report(const struct bench_peer *peer,
                   const struct bench_shape *shape,
                   const struct timed_task *tasks)
{
    const size_t count = (size_t)shape->count;
    uint32_t *delays = bench_allocate(count, sizeof(*delays));

    for (size_t i = 0; i < count; i++) {
        delays[i] = delay(tasks[i].submitted_ns, tasks[i].began_ns);
    }
    bench_sort(delays, count);
    bench_result(peer, shape, "p50", bench_percentile(delays, count, 0.5) / 1e3,
                 "us");
    bench_result(peer, shape, "p99",
                 bench_percentile(delays, count, 0.99) / 1e3, "us");
    for (size_t i = 0; i < count; i++) {
        delays[i] = delay(tasks[i].intended_ns, tasks[i].began_ns);
    }
    bench_sort(delays, count);
    bench_result(peer, shape, "late_p50",
                 bench_percentile(delays, count, 0.5) / 1e3, "us");
    bench_result(peer, shape, "late_p99",
                 bench_percentile(delays, count, 0.99) / 1e3, "us");
    free(delays);
}

int bench_wake(const struct bench_peer *peer, const struct bench_shape *shape)
{
    const struct bench_setup setup = {.workers = shape->workers};
    struct timed_task *tasks =
        bench_allocate((size_t)shape->count, sizeof(*tasks));
    struct bench_usage before;
    struct bench_usage after;
    int64_t begin_ns;
    int64_t end_ns;
    void *pool = bench_open(peer, shape, &setup);

    /* The timer's slack would be seen as lateness. Only now, so that the
     * pool's threads do not inherit it. */
    (void)prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
    bench_enter(peer, shape, pool);
    bench_usage(&before);
    begin_ns = bench_now();
    for (long i = 0; i < shape->count; i++) {
        struct timed_task *task = &tasks[i];

        task->task.run = note_time;
        task->intended_ns = begin_ns + (i + 1) * PERIOD_NS;
        bench_sleep_until(task->intended_ns);
        task->submitted_ns = bench_now();
        peer->submit(pool, &task->task);
    }
    bench_wait_for(BENCH_WARM_UP + (uint64_t)shape->count);
    end_ns = bench_now();
    bench_usage(&after);
    bench_leave(peer, pool);
    report(peer, shape, tasks);
    bench_result(peer, shape, "cpu",
                 (double)(after.cpu_ns - before.cpu_ns) * 100.0 /
                     (double)(end_ns - begin_ns),
                 "%");
    bench_close(peer, pool, (uint64_t)shape->count, 0);
    free(tasks);
    return 0;
}
