/* SPDX-License-Identifier: MIT */

/* GLib: GThreadPool with threads of its own, all started at once. */

#include "bench/lib/driver.h"
#include "bench/lib/measure.h"

#include <glib.h>

static void run(gpointer data, gpointer user_data)
{
    struct bench_task *task = data;

    (void)user_data;
    task->run(task);
}

static void *open_pool(const struct bench_setup *setup)
{
    return g_thread_pool_new(run, NULL, (gint)setup->workers, TRUE, NULL);
}

static void submit(void *pool, struct bench_task *task)
{
    if (!g_thread_pool_push(pool, task, NULL)) {
        bench_fail("glib: push");
    }
}

static void close_pool(void *pool)
{
    g_thread_pool_free(pool, FALSE, TRUE);
}

static const struct bench_peer peer = {
    .name = "glib",
    .open = open_pool,
    .submit = submit,
    .close = close_pool,
};

int main(int count, char **values)
{
    return bench_main(&peer, count, values);
}
