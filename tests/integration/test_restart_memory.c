/* SPDX-License-Identifier: MIT */
/* Restarts without end: they must not make the process grow. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define GROWTH_MAX (2 * 1024 * 1024)
#define WARM_UP 2000u
#define RESTARTS (CREW_SANITIZED ? 5000u : 100000u)
#define THREADS_LOST (CREW_SANITIZED ? 300u : 3000u)
#define CHILDREN_LOST (CREW_SANITIZED ? 1000u : 10000u)

static const struct fail_in failure = {7, "again"};

/* Bytes of this process that are in core. */
static int64_t resident(void)
{
    FILE *statm = fopen("/proc/self/statm", "re");
    long pages = 0;

    if (statm != NULL) {
        if (fscanf(statm, "%*d %ld", &pages) != 1) {
            pages = 0;
        }
        (void)fclose(statm);
    }
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

/* A sanitizer's shadow grows with everything that ever was. */
static bool has_grown_since(int64_t before)
{
    return !CREW_SANITIZED && resident() - before > GROWTH_MAX;
}

static struct vivero_pool *open_pool(void)
{
    return crew_open(
        VIVERO_POOL_OPTIONS(.workers = 2, .restarts_max = VIVERO_UNLIMITED));
}

/* How many of the calls were answered DOWN. */
static uint32_t fail(struct vivero_pool *pool,
                     const struct vivero_operation *operation, const void *in,
                     uint32_t count)
{
    uint32_t down = 0;

    for (uint32_t i = 0; i < count; i++) {
        down += vivero_pool_call(pool, operation, in, NULL,
                                 VIVERO_SEND(.timeout_ns = CREW_PATIENCE)) ==
                VIVERO_E_DOWN;
    }
    return down;
}

static void a_hundred_thousand_restarts_in_place_do_not_grow_the_process(void)
{
    struct vivero_pool *pool = open_pool();
    int64_t before;

    CU_ASSERT_EQUAL(fail(pool, &crew_fail, &failure, WARM_UP), WARM_UP);
    before = resident();

    CU_ASSERT_EQUAL(fail(pool, &crew_fail, &failure, RESTARTS), RESTARTS);

    CU_ASSERT_FALSE(has_grown_since(before));
    CU_ASSERT(crew_await_restarts(pool, WARM_UP + RESTARTS));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void restarts_on_new_threads_do_not_grow_the_process(void)
{
    struct vivero_pool *pool = open_pool();
    int64_t before;

    CU_ASSERT_EQUAL(fail(pool, &crew_leave, NULL, 100), 100);
    before = resident();

    CU_ASSERT_EQUAL(fail(pool, &crew_leave, NULL, THREADS_LOST), THREADS_LOST);

    CU_ASSERT_FALSE(has_grown_since(before));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* Have the child of this name fail so often. */
static uint32_t fail_child(const char *name, uint32_t count)
{
    uint32_t down = 0;

    while (down < count) {
        int error = vivero_worker_call(vivero_whereis(name), &crew_fail,
                                       &failure, NULL, NULL);

        if (error == VIVERO_E_DOWN) {
            down++;
        } else if (error != VIVERO_E_GONE) {
            return down;
        } else {
            (void)sched_yield();
        }
    }
    return down;
}

static void restarts_of_a_child_do_not_grow_the_process(void)
{
    const struct vivero_child_spec *spec =
        VIVERO_CHILD_SPEC(.id = "phoenix", .ops = &vivero_child_worker,
                          .options = VIVERO_WORKER_OPTIONS(.name = "phoenix"));
    struct vivero_ref supervisor;
    int64_t before;

    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.intensity = VIVERO_UNLIMITED,
                                      VIVERO_CHILDREN(spec)),
            &supervisor, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(fail_child("phoenix", 200), 200);
    before = resident();

    CU_ASSERT_EQUAL(fail_child("phoenix", CHILDREN_LOST), CHILDREN_LOST);

    CU_ASSERT_FALSE(has_grown_since(before));
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER),
                    VIVERO_OK);
}

SUITE_MAIN("restart_memory", NULL, NULL,
           TEST(a_hundred_thousand_restarts_in_place_do_not_grow_the_process),
           TEST(restarts_on_new_threads_do_not_grow_the_process),
           TEST(restarts_of_a_child_do_not_grow_the_process))
