/* SPDX-License-Identifier: MIT */

/* C-Thread-Pool by Pithikos: one linked list, one mutex. */

#include "bench/lib/driver.h"
#include "bench/lib/measure.h"

#include <cthreadpool/thpool.h>

static void run(void *data)
{
    struct bench_task *task = data;

    task->run(task);
}

static void *open_pool(const struct bench_setup *setup)
{
    return thpool_init((int)setup->workers);
}

static void submit(void *pool, struct bench_task *task)
{
    if (thpool_add_work(pool, run, task) != 0) {
        bench_fail("cthreadpool: add_work");
    }
}

static void close_pool(void *pool)
{
    thpool_wait(pool);
    thpool_destroy(pool);
}

static const struct bench_peer peer = {
    .name = "cthreadpool",
    .open = open_pool,
    .submit = submit,
    .close = close_pool,
};

int main(int count, char **values)
{
    return bench_main(&peer, count, values);
}
