/* SPDX-License-Identifier: MIT */
#include "bench/lib/measure.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define NANOSECONDS INT64_C(1000000000)
#define STACK_SIZE ((size_t)256 * 1024)

int64_t bench_now(void)
{
    struct timespec time;

    (void)clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * NANOSECONDS + time.tv_nsec;
}

void bench_sleep_until(int64_t time_ns)
{
    struct timespec time;

    time.tv_sec = (time_t)(time_ns / NANOSECONDS);
    time.tv_nsec = (long)(time_ns % NANOSECONDS);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, NULL) ==
           EINTR) {
    }
}

void bench_sleep(int64_t duration_ns)
{
    bench_sleep_until(bench_now() + duration_ns);
}

int bench_cpus(int *first, int *last)
{
    cpu_set_t set;
    int count = 0;

    *first = 0;
    *last = 0;
    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return 1;
    }
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET((size_t)cpu, &set)) {
            *first = count == 0 ? cpu : *first;
            *last = cpu;
            count++;
        }
    }
    return count;
}

void bench_pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set) != 0) {
        bench_fail("cannot stay on CPU %d: %s", cpu, strerror(errno));
    }
}

static int64_t timeval_ns(struct timeval time)
{
    return (int64_t)time.tv_sec * NANOSECONDS + (int64_t)time.tv_usec * 1000;
}

void bench_usage(struct bench_usage *usage)
{
    struct rusage total;

    (void)getrusage(RUSAGE_SELF, &total);
    usage->cpu_ns = timeval_ns(total.ru_utime) + timeval_ns(total.ru_stime);
    usage->switches = total.ru_nvcsw + total.ru_nivcsw;
}

/* Not VmRSS of /proc/self/status, which recent kernels only estimate. */
int64_t bench_resident(void)
{
    char line[256];
    long long kilobytes = -1;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");

    if (file == NULL) {
        bench_fail("cannot read /proc/self/smaps_rollup: %s", strerror(errno));
    }
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "Rss:", 4) == 0) {
            kilobytes = strtoll(line + 4, NULL, 10);
            break;
        }
    }
    (void)fclose(file);
    return (int64_t)kilobytes * 1024;
}

static int compare(const void *left, const void *right)
{
    const uint32_t a = *(const uint32_t *)left;
    const uint32_t b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

void bench_sort(uint32_t *values, size_t count)
{
    qsort(values, count, sizeof(*values), compare);
}

uint32_t bench_percentile(const uint32_t *values, size_t count, double share)
{
    size_t index = (size_t)((double)count * share);

    if (count == 0) {
        return 0;
    }
    return values[index < count ? index : count - 1];
}

void bench_report(const char *peer, const char *workload, const char *metric,
                  double value, const char *unit)
{
    printf("vivero-bench 1 %s %s %s %.6g %s\n", peer, workload, metric, value,
           unit);
}

void bench_fail(const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vfprintf(stderr, format, arguments);
    va_end(arguments);
    (void)fputc('\n', stderr);
    _Exit(1);
}

void *bench_allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);

    if (memory == NULL) {
        bench_fail("no memory for %zu times %zu bytes", count, size);
    }
    return memory;
}

void bench_thread(pthread_t *thread, void *(*body)(void *), void *arg)
{
    pthread_attr_t attributes;
    int error;

    (void)pthread_attr_init(&attributes);
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    error = pthread_create(thread, &attributes, body, arg);
    (void)pthread_attr_destroy(&attributes);
    if (error != 0) {
        bench_fail("cannot start a thread: %s", strerror(error));
    }
}
