/* SPDX-License-Identifier: MIT */

/* OpenMP of the compiler: parallel for, nothing else. */

#include "bench/lib/driver.h"

#include <omp.h>
#include <string.h>

static int pool;

static void *open_pool(const struct bench_setup *setup)
{
    omp_set_dynamic(0);
    omp_set_num_threads((int)setup->workers);
    return &pool;
}

static void submit(void *unused, struct bench_task *task)
{
    (void)unused;
    task->run(task);
}

static void close_pool(void *unused)
{
    (void)unused;
}

static bool each(void *unused, long count, enum bench_chunk chunk)
{
    (void)unused;
    switch (chunk) {
    case BENCH_CHUNK_ONE:
#pragma omp parallel for schedule(dynamic, 1)
        for (long i = 0; i < count; i++) {
            bench_count(0);
        }
        return true;
    case BENCH_CHUNK_GUIDED:
#pragma omp parallel for schedule(guided)
        for (long i = 0; i < count; i++) {
            bench_count(0);
        }
        return true;
    case BENCH_CHUNK_STATIC:
#pragma omp parallel for schedule(static, 1)
        for (long i = 0; i < count; i++) {
            bench_count(0);
        }
        return true;
    }
    return false;
}

static const struct bench_peer peer = {
    .name = "openmp",
    .open = open_pool,
    .submit = submit,
    .close = close_pool,
    .each = each,
};

int main(int count, char **values)
{
    if (count > 1 && strcmp(values[1], "each") != 0) {
        return 77; /* it has no tasks that outlive their submitter's region */
    }
    return bench_main(&peer, count, values);
}
