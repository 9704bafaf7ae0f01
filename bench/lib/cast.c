/* SPDX-License-Identifier: MIT */

/* cast: how many tasks a second get through a pool, from the first submission
 * to the end of the last task.
 *
 * Producers look at the clock once in a while, so that a slow pool does not
 * hold up a whole comparison; it then runs fewer tasks. */

#include "bench/lib/workload.h"

#include <pthread.h>
#include <stdlib.h>

#define PRODUCERS_MAX 64
#define BATCH 16
#define STRETCH 1024 /* tasks between two looks at the clock */

struct producer {
    const struct bench_peer *peer;
    const struct bench_shape *shape;
    void *pool;
    pthread_barrier_t *start;
    long share; /* tasks it may submit */
    long made;  /* tasks it did submit */
    uint64_t sum;
    int64_t begin_ns;
};

/* A payload for pools that take nothing but a pointer. */
struct payload_task {
    struct bench_task task;
    struct bench_payload payload;
};

static void run_payload_task(struct bench_task *task)
{
    struct payload_task *own = (struct payload_task *)task;

    bench_run_payload(&own->payload);
    free(own);
}

static void submit_allocated(const struct bench_peer *peer, void *pool,
                             const struct bench_payload *payload)
{
    struct payload_task *own = malloc(sizeof(*own));

    if (own == NULL) {
        bench_fail("no memory for a task");
    }
    own->task.run = run_payload_task;
    own->payload = *payload;
    peer->submit(pool, &own->task);
}

static void stretch_of_payloads(struct producer *producer)
{
    const struct bench_peer *peer = producer->peer;
    struct bench_payload payload = {{0, 1, 2, 3, 4, 5}};

    for (long i = 0; i < STRETCH; i++) {
        payload.word[0] = (uint64_t)(producer->made + i);
        producer->sum += payload.word[0] + payload.word[5];
        if (peer->submit_payload != NULL) {
            peer->submit_payload(producer->pool, &payload);
        } else {
            submit_allocated(peer, producer->pool, &payload);
        }
    }
}

static void stretch_of_batches(struct producer *producer)
{
    struct bench_task *tasks[BATCH];

    for (int i = 0; i < BATCH; i++) {
        tasks[i] = &bench_plain_task;
    }
    for (long i = 0; i < STRETCH; i += BATCH) {
        producer->peer->submit_batch(producer->pool, tasks, BATCH);
    }
}

static void stretch_of_tasks(struct producer *producer)
{
    void (*const submit)(void *, struct bench_task *) = producer->peer->submit;
    void *const pool = producer->pool;

    for (long i = 0; i < STRETCH; i++) {
        submit(pool, &bench_plain_task);
    }
}

static void *produce(void *arg)
{
    static void (*const stretches[])(struct producer *) = {
        [BENCH_PLAIN] = stretch_of_tasks,
        [BENCH_BATCH] = stretch_of_batches,
        [BENCH_PAYLOAD] = stretch_of_payloads,
    };
    struct producer *producer = arg;
    const struct bench_shape *shape = producer->shape;

    bench_enter(producer->peer, shape, producer->pool);
    (void)pthread_barrier_wait(producer->start);
    producer->begin_ns = bench_now();
    do {
        stretches[shape->kind](producer);
        producer->made += STRETCH;
    } while (producer->made < producer->share &&
             bench_now() - producer->begin_ns < shape->limit_ns);
    bench_leave(producer->peer, producer->pool);
    return NULL;
}

static void report(const struct bench_peer *peer,
                   const struct bench_shape *shape, double count,
                   int64_t duration_ns, const struct bench_usage *before)
{
    struct bench_usage after;

    bench_usage(&after);
    bench_result(peer, shape, "rate", count * 1e3 / (double)duration_ns, "M/s");
    bench_result(peer, shape, "cpu",
                 (double)(after.cpu_ns - before->cpu_ns) / count, "ns");
    bench_result(peer, shape, "switches",
                 (double)(after.switches - before->switches) * 1e3 / count,
                 "/1000");
}

int bench_cast(const struct bench_peer *peer, const struct bench_shape *shape)
{
    const struct bench_setup setup = {.workers = shape->workers};
    struct producer producers[PRODUCERS_MAX] = {{0}};
    pthread_t threads[PRODUCERS_MAX];
    pthread_barrier_t start;
    struct bench_usage before;
    uint64_t made = 0;
    uint64_t sum = 0;
    int64_t begin_ns = INT64_MAX;
    void *pool;

    if (shape->kind == BENCH_BATCH && peer->submit_batch == NULL) {
        return BENCH_SKIPPED;
    }
    pool = bench_open(peer, shape, &setup);
    (void)pthread_barrier_init(&start, NULL, shape->clients + 1);
    for (unsigned i = 0; i < shape->clients; i++) {
        producers[i] =
            (struct producer){.peer = peer,
                              .shape = shape,
                              .pool = pool,
                              .start = &start,
                              .share = shape->count / (long)shape->clients};
        bench_thread(&threads[i], produce, &producers[i]);
    }
    bench_usage(&before);
    (void)pthread_barrier_wait(&start);
    for (unsigned i = 0; i < shape->clients; i++) {
        (void)pthread_join(threads[i], NULL);
        made += (uint64_t)producers[i].made;
        sum += producers[i].sum;
        begin_ns =
            producers[i].begin_ns < begin_ns ? producers[i].begin_ns : begin_ns;
    }
    bench_wait_for(BENCH_WARM_UP + made);
    report(peer, shape, (double)made, bench_now() - begin_ns, &before);
    (void)pthread_barrier_destroy(&start);
    bench_close(peer, pool, made, sum);
    return 0;
}
