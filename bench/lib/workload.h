/* SPDX-License-Identifier: MIT */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

/* Between the driver and its workloads; adapters do not see it. */

#include "bench/lib/driver.h"
#include "bench/lib/measure.h"

#define BENCH_SKIPPED 77   /* the exit status that automake calls a skip, too */
#define BENCH_WARM_UP 1000 /* tasks that bench_open runs; they are counted */

enum bench_kind {
    BENCH_PLAIN = 0,
    BENCH_BATCH,   /* sixteen with one operation */
    BENCH_PAYLOAD, /* 48 bytes travel with the task */
};

enum bench_place {
    BENCH_ANYWHERE = 0, /* the scheduler decides */
    BENCH_APART,        /* the pool on one CPU, its clients on another */
    BENCH_TOGETHER      /* everything on one CPU */
};

/* What a row of the table is. */
struct bench_shape {
    const char *name;
    int (*run)(const struct bench_peer *peer, const struct bench_shape *shape);
    unsigned clients; /* threads that submit */
    unsigned workers;
    long count; /* how often, all clients together; scaled by the driver */
    enum bench_kind kind;
    enum bench_place place;
    int64_t limit_ns; /* no longer than this; set by the driver */
    int pool_cpu;     /* of BENCH_APART; set by the driver */
    int client_cpu;
};

/* Each returns 0 or BENCH_SKIPPED. */
typedef int bench_workload_fn(const struct bench_peer *peer,
                              const struct bench_shape *shape);
bench_workload_fn bench_cast;
bench_workload_fn bench_call;
bench_workload_fn bench_call_here;
bench_workload_fn bench_wake;
bench_workload_fn bench_queue_memory;
bench_workload_fn bench_worker_memory;
bench_workload_fn bench_each;

/* Open a pool of this shape on the calling thread, see it run a few tasks, and
 * leave the calling thread where clients belong. */
void *bench_open(const struct bench_peer *peer, const struct bench_shape *shape,
                 const struct bench_setup *setup);

/* Close it and compare what has run since bench_open with what should have:
 * neither less nor more. */
void bench_close(const struct bench_peer *peer, void *pool, uint64_t count,
                 uint64_t sum);

/* Wait until so many have run since bench_open. */
void bench_wait_for(uint64_t count);

/* Around the work of a submitting thread: where it belongs, and enter/leave. */
void bench_enter(const struct bench_peer *peer, const struct bench_shape *shape,
                 void *pool);
void bench_leave(const struct bench_peer *peer, void *pool);

/* bench_report with the names filled in. */
void bench_result(const struct bench_peer *peer,
                  const struct bench_shape *shape, const char *metric,
                  double value, const char *unit);

/* A task that counts and does nothing else. */
extern struct bench_task bench_plain_task;

#endif
