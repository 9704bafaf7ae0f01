/* SPDX-License-Identifier: MIT */

/* libuv: uv_queue_work. There is one pool per process; work is queued from the
 * thread of a loop, and its end comes back to that loop. So each producer has a
 * loop, and runs it when too many requests of its own are on their way. */

#include "bench/lib/driver.h"
#include "bench/lib/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#define DEPTH 4096

struct request {
    uv_work_t work; /* first */
    struct bench_task *task;
};

struct question {
    uv_work_t work; /* first */
    long x;
    long reply;
    bool answered;
};

struct pool {
    size_t depth;
};

static _Thread_local uv_loop_t loop;
static _Thread_local size_t on_their_way;

static void check(int error, const char *what)
{
    if (error < 0) {
        bench_fail("uv: %s: %s", what, uv_strerror(error));
    }
}

static void run(uv_work_t *work)
{
    struct bench_task *task = ((struct request *)work)->task;

    task->run(task);
}

static void after_run(uv_work_t *work, int status)
{
    check(status, "work");
    on_their_way--;
    free(work);
}

static void *open_pool(const struct bench_setup *setup)
{
    struct pool *pool = bench_allocate(1, sizeof(*pool));
    char workers[16];

    (void)snprintf(workers, sizeof(workers), "%u", setup->workers);
    if (setenv("UV_THREADPOOL_SIZE", workers, 1) != 0) {
        bench_fail("uv: no memory");
    }
    pool->depth = setup->depth != 0 ? setup->depth : DEPTH;
    return pool;
}

static void enter(void *pool)
{
    (void)pool;
    check(uv_loop_init(&loop), "loop_init");
}

static void leave(void *pool)
{
    (void)pool;
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    check(uv_loop_close(&loop), "loop_close");
}

static void submit(void *pool, struct bench_task *task)
{
    struct request *request = malloc(sizeof(*request));

    if (request == NULL) {
        bench_fail("uv: no memory");
    }
    request->task = task;
    on_their_way++;
    check(uv_queue_work(&loop, &request->work, run, after_run), "queue_work");
    while (on_their_way > ((struct pool *)pool)->depth) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
}

static void find_answer(uv_work_t *work)
{
    struct question *question = (struct question *)work;

    question->reply = bench_add_one(question->x);
}

static void after_answer(uv_work_t *work, int status)
{
    check(status, "call");
    ((struct question *)work)->answered = true;
}

static long call(void *pool, long x)
{
    struct question question = {.x = x};

    (void)pool;
    check(uv_queue_work(&loop, &question.work, find_answer, after_answer),
          "queue_work");
    while (!question.answered) {
        (void)uv_run(&loop, UV_RUN_ONCE);
    }
    return question.reply;
}

static void close_pool(void *pool)
{
    free(pool);
    uv_library_shutdown();
}

static const struct bench_peer peer = {
    .name = "uv",
    .open = open_pool,
    .submit = submit,
    .close = close_pool,
    .enter = enter,
    .leave = leave,
    .call = call,
};

int main(int count, char **values)
{
    return bench_main(&peer, count, values);
}
