/* SPDX-License-Identifier: MIT */
#ifndef BENCH_MEASURE_H
#define BENCH_MEASURE_H

/* What a measuring program needs of the system: clock, CPUs, usage, memory,
 * percentiles, and the line it prints. */

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__cplusplus)
extern "C" {
#endif

/* Of the monotonic clock, in nanoseconds. */
int64_t bench_now(void);
void bench_sleep_until(int64_t time_ns);
void bench_sleep(int64_t duration_ns);

/* The first and the last CPU this process may use; the last one is the least
 * likely to share a core with the first. Returns how many there are. */
int bench_cpus(int *first, int *last);

/* Keep the calling thread, and those it will start, on one CPU. */
void bench_pin(int cpu);

/* Of all threads of this process since it began. */
struct bench_usage {
    int64_t cpu_ns;
    int64_t switches; /* context switches, of both kinds */
};
void bench_usage(struct bench_usage *usage);

/* Memory of this process that is in core, in bytes, exactly. */
int64_t bench_resident(void);

void bench_sort(uint32_t *values, size_t count);
/* Of sorted values: the smallest that is at least as large as a share of all
 * (0.99: the 99th percentile); 0 when there are none. */
uint32_t bench_percentile(const uint32_t *values, size_t count, double share);

void bench_report(const char *peer, const char *workload, const char *metric,
                  double value, const char *unit);

/* Print a message, as printf, and exit with status 1. */
__attribute__((noreturn, format(printf, 1, 2))) void
bench_fail(const char *format, ...);

/* calloc and pthread_create that cannot fail. */
void *bench_allocate(size_t count, size_t size);
void bench_thread(pthread_t *thread, void *(*body)(void *), void *arg);

#if defined(__cplusplus)
}
#endif

#endif
