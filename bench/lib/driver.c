/* SPDX-License-Identifier: MIT */

/* driver: what all workloads share, and main.
 *
 * Counting. Each thread that runs tasks counts in a slot of its own, so that
 * counting costs the same few instructions in all pools and moves no cache
 * line between workers. The sum over the slots is what has run.
 *
 * Sync. count.slot: a slot's count and sum, and with them the effects of the
 * tasks, become visible to the thread that adds the slots up. */

#include "bench/lib/workload.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SLOTS_MAX 1024

#define TIME_LIMIT_S 120 /* a pool that hangs ends the program */
#define POLL_NS INT64_C(50000)

#define SECOND INT64_C(1000000000)

struct slot {
    _Alignas(128) _Atomic uint64_t count; /* written by one thread only */
    _Atomic uint64_t sum;
};

static struct slot slots[SLOTS_MAX];
static _Atomic uint32_t slot_count;
static _Thread_local struct slot *own_slot;

static uint64_t opened_count; /* at bench_open */
static uint64_t opened_sum;

/* ---- Counting ----------------------------------------------------------- */

static struct slot *claim_slot(void)
{
    /* relaxed: only the number matters. */
    uint32_t i =
        atomic_fetch_add_explicit(&slot_count, 1, memory_order_relaxed);

    if (i >= SLOTS_MAX) {
        bench_fail("more than %d threads run tasks", SLOTS_MAX);
    }
    own_slot = &slots[i];
    return own_slot;
}

void bench_count(uint64_t value)
{
    struct slot *slot = own_slot != NULL ? own_slot : claim_slot();
    /* relaxed: nobody else writes here. */
    uint64_t count = atomic_load_explicit(&slot->count, memory_order_relaxed);
    uint64_t sum = atomic_load_explicit(&slot->sum, memory_order_relaxed);

    /* relaxed: published by the count. */
    atomic_store_explicit(&slot->sum, sum + value, memory_order_relaxed);
    /* sync(count.slot): publishes the task's effects and the sum. */
    atomic_store_explicit(&slot->count, count + 1, memory_order_release);
}

static void add_up(uint64_t *count, uint64_t *sum)
{
    *count = 0;
    *sum = 0;
    for (uint32_t i = 0; i < SLOTS_MAX; i++) {
        /* sync(count.slot): sees what the counted tasks did. */
        *count += atomic_load_explicit(&slots[i].count, memory_order_acquire);
        /* relaxed: ordered by the count. */
        *sum += atomic_load_explicit(&slots[i].sum, memory_order_relaxed);
    }
}

void bench_wait_for(uint64_t count)
{
    uint64_t seen;
    uint64_t sum;

    for (;;) {
        add_up(&seen, &sum);
        if (seen - opened_count >= count) {
            return;
        }
        bench_sleep(POLL_NS);
    }
}

void bench_run_payload(const struct bench_payload *payload)
{
    bench_count(payload->word[0] + payload->word[5]);
}

long bench_add_one(long x)
{
    bench_count(0);
    return x + 1;
}

static void run_plain(struct bench_task *task)
{
    (void)task;
    bench_count(0);
}

struct bench_task bench_plain_task = {run_plain};

/* ---- Opening and closing ------------------------------------------------ */

void *bench_open(const struct bench_peer *peer, const struct bench_shape *shape,
                 const struct bench_setup *setup)
{
    void *pool;

    if (shape->place != BENCH_ANYWHERE) {
        bench_pin(shape->pool_cpu);
    }
    add_up(&opened_count, &opened_sum);
    pool = peer->open(setup);
    if (pool == NULL) {
        bench_fail("%s: cannot open a pool", peer->name);
    }
    if (peer->enter != NULL) {
        peer->enter(pool);
    }
    for (int i = 0; i < BENCH_WARM_UP; i++) {
        peer->submit(pool, &bench_plain_task);
    }
    if (peer->leave != NULL) {
        peer->leave(pool);
    }
    bench_wait_for(BENCH_WARM_UP);
    if (shape->place != BENCH_ANYWHERE) {
        bench_pin(shape->client_cpu);
    }
    return pool;
}

void bench_close(const struct bench_peer *peer, void *pool, uint64_t count,
                 uint64_t sum)
{
    uint64_t seen;
    uint64_t seen_sum;

    bench_wait_for(BENCH_WARM_UP + count);
    peer->close(pool);
    add_up(&seen, &seen_sum);
    seen -= opened_count + BENCH_WARM_UP;
    seen_sum -= opened_sum;
    if (seen != count || seen_sum != sum) {
        bench_fail("%s: %llu tasks submitted with sum %llu, %llu ran with %llu",
                   peer->name, (unsigned long long)count,
                   (unsigned long long)sum, (unsigned long long)seen,
                   (unsigned long long)seen_sum);
    }
}

void bench_enter(const struct bench_peer *peer, const struct bench_shape *shape,
                 void *pool)
{
    if (shape->place != BENCH_ANYWHERE) {
        bench_pin(shape->client_cpu);
    }
    if (peer->enter != NULL) {
        peer->enter(pool);
    }
}

void bench_leave(const struct bench_peer *peer, void *pool)
{
    if (peer->leave != NULL) {
        peer->leave(pool);
    }
}

void bench_result(const struct bench_peer *peer,
                  const struct bench_shape *shape, const char *metric,
                  double value, const char *unit)
{
    bench_report(peer->name, shape->name, metric, value, unit);
}

/* ---- The workloads ------------------------------------------------------ */

#define SHAPE(name_, run_, clients_, workers_, count_, kind_, place_)          \
    {                                                                          \
        .name = (name_), .run = bench_##run_, .clients = (clients_),           \
        .workers = (workers_), .count = (count_), .kind = BENCH_##kind_,       \
        .place = BENCH_##place_                                                \
    }

/* Name, workload, clients, workers, repetitions, kind, place. */
static const struct bench_shape shapes[] = {
    SHAPE("cast_1_1", cast, 1, 1, 4000000, PLAIN, ANYWHERE),
    SHAPE("cast_1_2", cast, 1, 2, 4000000, PLAIN, ANYWHERE),
    SHAPE("cast_1_4", cast, 1, 4, 4000000, PLAIN, ANYWHERE),
    SHAPE("cast_batch", cast, 1, 1, 8000000, BATCH, ANYWHERE),
    SHAPE("cast_payload", cast, 1, 2, 4000000, PAYLOAD, ANYWHERE),
    SHAPE("cast_2_2", cast, 2, 2, 4000000, PLAIN, ANYWHERE),
    SHAPE("cast_4_4", cast, 4, 4, 4000000, PLAIN, ANYWHERE),
    SHAPE("call_1", call, 1, 2, 200000, PLAIN, ANYWHERE),
    SHAPE("call_1_apart", call, 1, 2, 200000, PLAIN, APART),
    SHAPE("call_1_together", call, 1, 2, 200000, PLAIN, TOGETHER),
    SHAPE("call_8", call, 8, 2, 400000, PLAIN, ANYWHERE),
    SHAPE("call_64", call, 64, 2, 400000, PLAIN, ANYWHERE),
    SHAPE("call_here", call_here, 1, 2, 4000000, PLAIN, ANYWHERE),
    SHAPE("wake", wake, 1, 2, 2000, PLAIN, ANYWHERE),
    SHAPE("queue_memory", queue_memory, 1, 1, 1000000, PLAIN, ANYWHERE),
    SHAPE("worker_memory", worker_memory, 1, 64, 64, PLAIN, ANYWHERE),
    SHAPE("each", each, 1, 2, 1000000, PLAIN, ANYWHERE),
};

#define SHAPE_COUNT (sizeof(shapes) / sizeof(shapes[0]))

static const struct bench_shape *find_shape(const char *name)
{
    for (size_t i = 0; i < SHAPE_COUNT; i++) {
        if (strcmp(shapes[i].name, name) == 0) {
            return &shapes[i];
        }
    }
    return NULL;
}

static int usage(const char *program)
{
    (void)fprintf(stderr, "usage: %s WORKLOAD [SCALE]\nworkloads:", program);
    for (size_t i = 0; i < SHAPE_COUNT; i++) {
        (void)fprintf(stderr, " %s", shapes[i].name);
    }
    (void)fputc('\n', stderr);
    return 2;
}

static void scale_shape(struct bench_shape *shape, double scale)
{
    const long unit = 64L * 16; /* so that clients and batches come out even */

    shape->limit_ns = (int64_t)((double)SECOND * scale);
    if (shape->run == bench_queue_memory && scale > 1.0) {
        scale = 1.0; /* a million is what pools with a bound allow */
    }
    if (shape->run != bench_worker_memory) {
        shape->count = (long)((double)shape->count * scale);
    }
    if (shape->run == bench_cast || shape->run == bench_call) {
        shape->count = (shape->count + unit - 1) / unit * unit;
    }
}

int bench_main(const struct bench_peer *peer, int count, char **values)
{
    const double scale = count == 3 ? strtod(values[2], NULL) : 1.0;
    struct bench_shape shape;
    int cpus;

    if (count < 2 || count > 3 || find_shape(values[1]) == NULL ||
        !(scale > 0.0 && scale <= 1000.0)) {
        return usage(values[0]);
    }
    shape = *find_shape(values[1]);
    scale_shape(&shape, scale);
    cpus = bench_cpus(&shape.client_cpu, &shape.pool_cpu);
    if (shape.place == BENCH_APART && cpus < 2) {
        return BENCH_SKIPPED;
    }
    if (shape.place == BENCH_TOGETHER) {
        shape.pool_cpu = shape.client_cpu;
    }
    (void)alarm(TIME_LIMIT_S + (unsigned)(10.0 * scale));
    return shape.run(peer, &shape);
}
