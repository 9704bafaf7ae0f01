/* SPDX-License-Identifier: MIT */

/* call: clients that send a number, wait for the answer, check it, and send
 * the next; how long each waited, and how many calls a second all made.
 *
 * The end of one call is the start of the next, so a stall counts in full. */

#include "bench/lib/workload.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

#define CLIENTS_MAX 256
#define WARM_UP_CALLS 100

/* A call by submit: the task that answers, and the place of the answer. */
struct caller {
    struct bench_task task; /* first */
    const struct bench_peer *peer;
    void *pool;
    sem_t answered;
    long in;
    long out;
};

static void answer(struct bench_task *task)
{
    struct caller *caller = (struct caller *)task;

    caller->out = bench_add_one(caller->in);
    (void)sem_post(&caller->answered);
}

static struct caller *caller_new(const struct bench_peer *peer, void *pool)
{
    struct caller *caller = bench_allocate(1, sizeof(*caller));

    caller->task.run = answer;
    caller->peer = peer;
    caller->pool = pool;
    (void)sem_init(&caller->answered, 0, 0);
    return caller;
}

static long caller_call(struct caller *caller, long x)
{
    if (caller->peer->call != NULL) {
        return caller->peer->call(caller->pool, x);
    }
    caller->in = x;
    caller->peer->submit(caller->pool, &caller->task);
    while (sem_wait(&caller->answered) != 0 && errno == EINTR) {
    }
    return caller->out;
}

static void caller_free(struct caller *caller)
{
    (void)sem_destroy(&caller->answered);
    free(caller);
}

struct client {
    const struct bench_peer *peer;
    const struct bench_shape *shape;
    void *pool;
    pthread_barrier_t *start;
    uint32_t *latency_ns;
    long share;
    long made; /* warm-up excluded, as all that follow */
    int64_t begin_ns;
    int64_t end_ns;
};

static void checked_call(struct client *client, struct caller *caller, long x)
{
    const long reply = caller_call(caller, x);

    if (reply != x + 1) {
        bench_fail("%s: the answer to %ld is %ld", client->peer->name, x,
                   reply);
    }
}

static void *demand(void *arg)
{
    struct client *client = arg;
    struct caller *caller;
    int64_t last_ns;

    bench_enter(client->peer, client->shape, client->pool);
    caller = caller_new(client->peer, client->pool);
    (void)pthread_barrier_wait(client->start);
    for (long i = 0; i < WARM_UP_CALLS; i++) {
        checked_call(client, caller, i);
    }
    client->begin_ns = bench_now();
    last_ns = client->begin_ns;
    while (client->made < client->share &&
           last_ns - client->begin_ns < client->shape->limit_ns) {
        int64_t now_ns;

        checked_call(client, caller, client->made);
        now_ns = bench_now();
        client->latency_ns[client->made] = now_ns - last_ns < UINT32_MAX
                                               ? (uint32_t)(now_ns - last_ns)
                                               : UINT32_MAX;
        last_ns = now_ns;
        client->made++;
    }
    client->end_ns = last_ns;
    bench_leave(client->peer, client->pool);
    caller_free(caller);
    return NULL;
}

static void report(const struct bench_peer *peer,
                   const struct bench_shape *shape, uint32_t *latency_ns,
                   size_t count, int64_t duration_ns)
{
    bench_sort(latency_ns, count);
    bench_result(peer, shape, "rate", (double)count * 1e6 / (double)duration_ns,
                 "k/s");
    bench_result(peer, shape, "p50",
                 bench_percentile(latency_ns, count, 0.5) / 1e3, "us");
    bench_result(peer, shape, "p99",
                 bench_percentile(latency_ns, count, 0.99) / 1e3, "us");
    bench_result(peer, shape, "p999",
                 bench_percentile(latency_ns, count, 0.999) / 1e3, "us");
}

/* Bring what the clients measured together; returns how much it is. */
static size_t gather(const struct bench_shape *shape, struct client *clients,
                     uint32_t *latency_ns, int64_t *duration_ns)
{
    size_t count = 0;
    int64_t begin_ns = INT64_MAX;
    int64_t end_ns = 0;

    for (unsigned i = 0; i < shape->clients; i++) {
        const struct client *client = &clients[i];

        for (long k = 0; k < client->made; k++) {
            latency_ns[count++] = client->latency_ns[k];
        }
        begin_ns = client->begin_ns < begin_ns ? client->begin_ns : begin_ns;
        end_ns = client->end_ns > end_ns ? client->end_ns : end_ns;
    }
    *duration_ns = end_ns - begin_ns;
    return count;
}

int bench_call(const struct bench_peer *peer, const struct bench_shape *shape)
{
    const struct bench_setup setup = {.workers = shape->workers};
    const long share = shape->count / (long)shape->clients;
    struct client clients[CLIENTS_MAX] = {{0}};
    pthread_t threads[CLIENTS_MAX];
    pthread_barrier_t start;
    struct bench_usage before;
    struct bench_usage after;
    int64_t duration_ns;
    size_t count;
    uint32_t *latency_ns =
        bench_allocate((size_t)shape->count, sizeof(*latency_ns));
    void *pool = bench_open(peer, shape, &setup);

    (void)pthread_barrier_init(&start, NULL, shape->clients + 1);
    for (unsigned i = 0; i < shape->clients; i++) {
        clients[i] = (struct client){.peer = peer,
                                     .shape = shape,
                                     .pool = pool,
                                     .start = &start,
                                     .latency_ns = latency_ns + (long)i * share,
                                     .share = share};
        bench_thread(&threads[i], demand, &clients[i]);
    }
    bench_usage(&before);
    (void)pthread_barrier_wait(&start);
    for (unsigned i = 0; i < shape->clients; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    bench_usage(&after);
    count = gather(shape, clients, latency_ns, &duration_ns);
    report(peer, shape, latency_ns, count, duration_ns);
    bench_result(peer, shape, "cpu",
                 (double)(after.cpu_ns - before.cpu_ns) / 1e3 /
                     (double)(count + (size_t)shape->clients * WARM_UP_CALLS),
                 "us");
    (void)pthread_barrier_destroy(&start);
    bench_close(peer, pool, count + (uint64_t)shape->clients * WARM_UP_CALLS,
                0);
    free(latency_ns);
    return 0;
}

int bench_call_here(const struct bench_peer *peer,
                    const struct bench_shape *shape)
{
    const struct bench_setup setup = {.workers = shape->workers,
                                      .caller_runs = true};
    int64_t begin_ns;
    void *pool;

    if (peer->call_here == NULL) {
        return BENCH_SKIPPED;
    }
    pool = bench_open(peer, shape, &setup);
    bench_enter(peer, shape, pool);
    begin_ns = bench_now();
    for (long i = 0; i < shape->count; i++) {
        if (peer->call_here(pool, i) != i + 1) {
            bench_fail("%s: wrong answer to %ld", peer->name, i);
        }
    }
    bench_result(peer, shape, "time",
                 (double)(bench_now() - begin_ns) / (double)shape->count, "ns");
    bench_leave(peer, pool);
    bench_close(peer, pool, (uint64_t)shape->count, 0);
    return 0;
}
