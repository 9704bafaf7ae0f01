/* SPDX-License-Identifier: MIT */

/* vivero itself, through its public headers, as a program would use it. */

#include <vivero/pool.h>
#include <vivero/pool_define.h>

#include "bench/lib/driver.h"
#include "bench/lib/measure.h"

#include <stdlib.h>

VIVERO_POOL_TYPE(subject, struct vivero_nothing);

VIVERO_DEFASYNCH(subject, run, (struct bench_task *, task))
{
    task->run(task);
    return VIVERO_OK;
}

VIVERO_DEFASYNCH_STRUCT(subject, take, struct bench_payload)
{
    bench_run_payload(in);
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(subject, long, add_one, (long, x))
{
    *reply = bench_add_one(x);
    return VIVERO_OK;
}

static void check(int error, const char *what)
{
    if (error < 0) {
        bench_fail("vivero: %s: %s", what, vivero_strerror(error));
    }
}

static void *open_pool(const struct bench_setup *setup)
{
    struct subject *subject = bench_allocate(1, sizeof(*subject));

    check(subject_open(
              VIVERO_POOL_OPTIONS(.name = "bench", .workers = setup->workers,
                                  .mailbox_depth = (uint32_t)setup->depth,
                                  .full_cast = VIVERO_FULL_WAIT,
                                  .call_timeout_ns = VIVERO_FOREVER,
                                  .caller_runs = setup->caller_runs),
              subject),
          "open");
    return subject;
}

static void close_pool(void *pool)
{
    check(subject_close(pool), "close");
    free(pool);
}

static void submit(void *pool, struct bench_task *task)
{
    check(subject_run(pool, task), "cast");
}

static void submit_payload(void *pool, const struct bench_payload *payload)
{
    check(subject_take(pool, payload), "cast of a payload");
}

/* A batch does not wait for room: when there is none for its first message,
 * that one is cast alone, which does. */
static void submit_batch(void *pool, struct bench_task *const *tasks,
                         size_t count)
{
    struct vivero_pool *const inner = subject_pool(pool);

    while (count > 0) {
        int accepted =
            vivero_pool_cast_batch(inner, &subject_run_operation, tasks, count);

        if (accepted == 0 || accepted == VIVERO_E_FULL) {
            submit(pool, *tasks);
            accepted = 1;
        }
        check(accepted, "cast of a batch");
        tasks += accepted;
        count -= (size_t)accepted;
    }
}

static long call(void *pool, long x)
{
    long reply = -1;

    check(subject_add_one(pool, x, &reply), "call");
    return reply;
}

static void count_one(struct vivero_self *self, size_t index, void *ctx)
{
    (void)self;
    (void)index;
    (void)ctx;
    bench_count(0);
}

static bool each(void *pool, long count, enum bench_chunk chunk)
{
    if (chunk == BENCH_CHUNK_STATIC) {
        return false;
    }
    check(vivero_pool_each(subject_pool(pool), (size_t)count,
                           chunk == BENCH_CHUNK_ONE ? 1 : 0, count_one, NULL),
          "each");
    return true;
}

static const struct bench_peer peer = {
    .name = "vivero",
    .open = open_pool,
    .submit = submit,
    .close = close_pool,
    .submit_payload = submit_payload,
    .submit_batch = submit_batch,
    .call = call,
    .call_here = call,
    .each = each,
};

int main(int count, char **values)
{
    return bench_main(&peer, count, values);
}
