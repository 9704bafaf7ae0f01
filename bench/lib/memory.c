/* SPDX-License-Identifier: MIT */

/* memory: what a queued task and what a worker's thread cost, in memory that
 * is in core.
 *
 * queue_memory fills the queue of a pool whose only worker waits at a gate,
 * twice. `resident` counts from before the pool was opened to when it was full
 * for the first time: a bounded pool's ring is in it. `grown` is what the
 * second filling adds to that. */

#include "bench/lib/workload.h"

#include <pthread.h>

struct gate {
    struct bench_task task; /* first */
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    unsigned arrived;
    bool open;
};

static void pass_gate(struct bench_task *task)
{
    struct gate *gate = (struct gate *)task;

    (void)pthread_mutex_lock(&gate->mutex);
    gate->arrived++;
    (void)pthread_cond_broadcast(&gate->changed);
    while (!gate->open) {
        (void)pthread_cond_wait(&gate->changed, &gate->mutex);
    }
    (void)pthread_mutex_unlock(&gate->mutex);
    bench_count(0);
}

static void gate_init(struct gate *gate)
{
    *gate = (struct gate){.task = {pass_gate}};
    (void)pthread_mutex_init(&gate->mutex, NULL);
    (void)pthread_cond_init(&gate->changed, NULL);
}

static void gate_wait(struct gate *gate, unsigned arrived)
{
    (void)pthread_mutex_lock(&gate->mutex);
    while (gate->arrived < arrived) {
        (void)pthread_cond_wait(&gate->changed, &gate->mutex);
    }
    (void)pthread_mutex_unlock(&gate->mutex);
}

static void gate_open(struct gate *gate)
{
    (void)pthread_mutex_lock(&gate->mutex);
    gate->open = true;
    (void)pthread_cond_broadcast(&gate->changed);
    (void)pthread_mutex_unlock(&gate->mutex);
}

/* Returns what is resident when count tasks are queued; done is what has run
 * before. */
static int64_t fill(const struct bench_peer *peer,
                    const struct bench_shape *shape, void *pool, uint64_t done)
{
    struct gate gate;
    int64_t resident;

    gate_init(&gate);
    bench_enter(peer, shape, pool);
    peer->submit(pool, &gate.task);
    gate_wait(&gate, 1);
    for (long i = 0; i < shape->count; i++) {
        peer->submit(pool, &bench_plain_task);
    }
    resident = bench_resident();
    gate_open(&gate);
    bench_leave(peer, pool);
    bench_wait_for(BENCH_WARM_UP + done + (uint64_t)shape->count + 1);
    return resident;
}

int bench_queue_memory(const struct bench_peer *peer,
                       const struct bench_shape *shape)
{
    const struct bench_setup setup = {.workers = shape->workers,
                                      .depth = (size_t)shape->count + 16};
    const uint64_t each = (uint64_t)shape->count + 1;
    const int64_t before = bench_resident();
    void *pool = bench_open(peer, shape, &setup);
    const int64_t first = fill(peer, shape, pool, 0);
    const int64_t second = fill(peer, shape, pool, each);

    bench_result(peer, shape, "resident",
                 (double)(first - before) / (double)shape->count, "B");
    bench_result(peer, shape, "grown",
                 (double)(second - first) / (double)shape->count, "B");
    bench_close(peer, pool, 2 * each, 0);
    return 0;
}

int bench_worker_memory(const struct bench_peer *peer,
                        const struct bench_shape *shape)
{
    const struct bench_setup setup = {.workers = shape->workers, .depth = 64};
    const int64_t before = bench_resident();
    void *pool = bench_open(peer, shape, &setup);
    struct gate gate;
    int64_t after;

    gate_init(&gate);
    bench_enter(peer, shape, pool);
    for (unsigned i = 0; i < shape->workers; i++) {
        peer->submit(pool, &gate.task);
    }
    gate_wait(&gate, shape->workers);
    after = bench_resident();
    gate_open(&gate);
    bench_leave(peer, pool);
    bench_result(peer, shape, "resident",
                 (double)(after - before) / 1024.0 / (double)shape->workers,
                 "kB");
    bench_close(peer, pool, shape->workers, 0);
    return 0;
}
