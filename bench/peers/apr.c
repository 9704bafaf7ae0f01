/* SPDX-License-Identifier: MIT */

/* APR: the thread pool of the Apache Portable Runtime's utilities. */

#include "bench/lib/driver.h"
#include "bench/lib/measure.h"

#include <apr_general.h>
#include <apr_thread_pool.h>

static void *APR_THREAD_FUNC run(apr_thread_t *thread, void *data)
{
    struct bench_task *task = data;

    (void)thread;
    task->run(task);
    return NULL;
}

static void *open_pool(const struct bench_setup *setup)
{
    apr_pool_t *memory;
    apr_thread_pool_t *pool;

    if (apr_initialize() != APR_SUCCESS ||
        apr_pool_create(&memory, NULL) != APR_SUCCESS ||
        apr_thread_pool_create(&pool, setup->workers, setup->workers, memory) !=
            APR_SUCCESS) {
        return NULL;
    }
    return pool;
}

static void submit(void *pool, struct bench_task *task)
{
    if (apr_thread_pool_push(pool, run, task, APR_THREAD_TASK_PRIORITY_NORMAL,
                             NULL) != APR_SUCCESS) {
        bench_fail("apr: push");
    }
}

static void close_pool(void *pool)
{
    (void)apr_thread_pool_destroy(pool);
}

static const struct bench_peer peer = {
    .name = "apr",
    .open = open_pool,
    .submit = submit,
    .close = close_pool,
};

int main(int count, char **values)
{
    return bench_main(&peer, count, values);
}
