/* SPDX-License-Identifier: MIT */
#ifndef BENCH_DRIVER_H
#define BENCH_DRIVER_H

/* One program per thread pool. An adapter describes its pool in a struct
 * bench_peer and hands it to bench_main(), which knows the workloads, so that
 * all pools do the same work and are measured in the same way.
 *
 *     int main(int count, char **values)
 *     {
 *         return bench_main(&peer, count, values);
 *     }
 *
 * For C11 and for C++17. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* A unit of work. Whoever submits it keeps the memory until it has run, and
 * may submit the same one many times. */
struct bench_task {
    void (*run)(struct bench_task *task);
};

/* Arguments that travel by value. */
struct bench_payload {
    uint64_t word[6];
};

struct bench_setup {
    unsigned workers;
    size_t depth;     /* messages that may wait; 0: the pool's own default */
    bool caller_runs; /* calls may run on the caller's thread */
};

/* How parallel for hands out the items. */
enum bench_chunk {
    BENCH_CHUNK_ONE,    /* one by one, to whoever is free */
    BENCH_CHUNK_GUIDED, /* as the pool likes it best */
    BENCH_CHUNK_STATIC  /* one by one, by turns fixed beforehand */
};

/* A pool under test. The first four must be there, the others may be NULL. */
struct bench_peer {
    const char *name;
    void *(*open)(const struct bench_setup *setup);
    void (*submit)(void *pool, struct bench_task *task);
    void (*close)(void *pool);

    /* Around everything a submitting thread does; leave may wait until all it
     * submitted is done. */
    void (*enter)(void *pool);
    void (*leave)(void *pool);

    /* NULL: the driver allocates a task that holds the payload. The pool runs
     * bench_run_payload() with its copy. */
    void (*submit_payload)(void *pool, const struct bench_payload *payload);

    /* All of count tasks with one operation; NULL: the pool has none. */
    void (*submit_batch)(void *pool, struct bench_task *const *tasks,
                         size_t count);

    /* Runs bench_add_one(x) in the pool and returns what it returned. NULL: the
     * driver submits a task that posts a semaphore. */
    long (*call)(void *pool, long x);

    /* The same on the calling thread, under the pool's rules. */
    long (*call_here)(void *pool, long x);

    /* Runs bench_count(0) for each of count items and waits. False: cannot. */
    bool (*each)(void *pool, long count, enum bench_chunk chunk);
};

/* Every task ends in exactly one of these; the driver compares the count, and
 * the sum of the values, with what it submitted. Thread: any. */
void bench_count(uint64_t value);
void bench_run_payload(const struct bench_payload *payload);
long bench_add_one(long x);

/* PROGRAM WORKLOAD [SCALE]: run a workload and print its figures, one line
 * each:
 *
 *     vivero-bench 1 PEER WORKLOAD METRIC VALUE UNIT
 *
 * SCALE multiplies the number of repetitions. Returns the exit status: 0; 77
 * when the pool or the machine cannot do this workload; 2 for a wrong usage.
 * Anything the pool did wrong ends the program with a message and status 1. */
int bench_main(const struct bench_peer *peer, int count, char **values);

#if defined(__cplusplus)
}
#endif

#endif
