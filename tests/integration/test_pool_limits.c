/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <sys/resource.h>
#include <unistd.h>

/* The system refuses threads when the address space has no room for their
 * stacks. That is tried in forked children, and not under a sanitizer, whose
 * shadow memory needs all the room there is. */

#define MEBIBYTES(n_) ((int64_t)(n_)*1024 * 1024)
#define STACK MEBIBYTES(64)

static int64_t address_space(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file != NULL) {
        if (fscanf(file, "%ld", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

/* Leave this much room beyond what is used now; it may be negative. */
static bool leave_room(int64_t bytes)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) != 0) {
        return false;
    }
    limit.rlim_cur = (rlim_t)(address_space() + bytes);
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

static bool leave_all_room(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_AS, &limit) != 0) {
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_AS, &limit) == 0;
}

static void *leave_a_thread(void *arg)
{
    pthread_exit(arg);
}

/* The C library loads what pthread_exit needs at its first use. */
static void set_up(void)
{
    pthread_t thread;

    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, leave_a_thread, NULL),
                          0);
    pthread_join(thread, NULL);
    CU_ASSERT(crew_await_threads(1));
}

static bool answers(struct vivero_pool *pool)
{
    int in = 1;
    int out = 0;

    return vivero_pool_call(pool, &crew_echo, &in, &out,
                            VIVERO_SEND(.timeout_ns = CREW_PATIENCE)) ==
               VIVERO_OK &&
           out == 1;
}

static struct vivero_pool *open_with_large_stacks(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .workers_max = 8,
                                      .stack_size = (size_t)STACK));

    return pool != NULL && answers(pool) ? pool : NULL;
}

/* Ends the child when something is not as it should be. */
#define REQUIRE(condition_)                                                    \
    do {                                                                       \
        if (!(condition_)) {                                                   \
            fprintf(stderr, "\nline %d: %s", __LINE__, #condition_);           \
            return 1;                                                          \
        }                                                                      \
    } while (0)

static int open_without_room(void *ctx)
{
    struct vivero_pool *pool = NULL;
    uint32_t threads = crew_threads();

    (void)ctx;
    REQUIRE(leave_room(STACK + MEBIBYTES(40)));
    REQUIRE(vivero_pool_open(
                VIVERO_POOL_OPTIONS(.workers = 4, .stack_size = (size_t)STACK),
                &pool) == VIVERO_E_LIMIT);
    REQUIRE(pool == NULL);
    REQUIRE(crew_await_threads(threads));
    REQUIRE(leave_all_room());
    pool = open_with_large_stacks();
    REQUIRE(pool != NULL);
    REQUIRE(vivero_pool_close(pool) == VIVERO_OK);
    return 0;
}

static int grow_without_room(void *ctx)
{
    struct vivero_pool *pool = open_with_large_stacks();

    (void)ctx;
    REQUIRE(pool != NULL);
    REQUIRE(leave_room(MEBIBYTES(32)));
    REQUIRE(vivero_pool_resize(pool, 4) == VIVERO_E_LIMIT);
    REQUIRE(vivero_pool_size(pool) == 1);
    REQUIRE(answers(pool));
    REQUIRE(leave_all_room());
    REQUIRE(vivero_pool_resize(pool, 4) == VIVERO_OK);
    REQUIRE(vivero_pool_size(pool) == 4);
    REQUIRE(vivero_pool_close(pool) == VIVERO_OK);
    return 0;
}

static int grow_with_room_for_some(void *ctx)
{
    struct vivero_pool *pool = open_with_large_stacks();

    (void)ctx;
    REQUIRE(pool != NULL);
    REQUIRE(leave_room(2 * STACK + MEBIBYTES(32)));
    REQUIRE(vivero_pool_resize(pool, 6) == VIVERO_E_LIMIT);
    REQUIRE(vivero_pool_size(pool) > 1);
    REQUIRE(vivero_pool_size(pool) < 6);
    REQUIRE(vivero_pool_broadcast(pool, &crew_nothing, NULL) ==
            (int)vivero_pool_size(pool));
    REQUIRE(vivero_pool_wait_idle(pool, CREW_PATIENCE) == VIVERO_OK);
    REQUIRE(leave_all_room());
    REQUIRE(vivero_pool_close(pool) == VIVERO_OK);
    return 0;
}

static bool is_restarting(void *ctx)
{
    return crew_worker(ctx, 1).state == VIVERO_WORKER_RESTARTING;
}

static int restart_without_room(void *ctx)
{
    struct vivero_pool *pool = open_with_large_stacks();

    (void)ctx;
    REQUIRE(pool != NULL);
    /* Even with the old stack gone there is too little for a new one. */
    REQUIRE(leave_room(-MEBIBYTES(16)));
    REQUIRE(vivero_pool_call(pool, &crew_leave, NULL, NULL, NULL) ==
            VIVERO_E_DOWN);
    REQUIRE(eventually(is_restarting, pool, CREW_PATIENCE));
    REQUIRE(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                             VIVERO_SEND(.timeout_ns = 100000000)) ==
            VIVERO_E_TIMED_OUT);
    REQUIRE(is_restarting(pool));
    REQUIRE(leave_all_room());
    REQUIRE(answers(pool));
    REQUIRE(vivero_pool_close(pool) == VIVERO_OK);
    return 0;
}

static int close_while_restarting(void *ctx)
{
    struct vivero_pool *pool = open_with_large_stacks();

    (void)ctx;
    REQUIRE(pool != NULL);
    REQUIRE(leave_room(-MEBIBYTES(16)));
    REQUIRE(vivero_pool_call(pool, &crew_leave, NULL, NULL, NULL) ==
            VIVERO_E_DOWN);
    REQUIRE(eventually(is_restarting, pool, CREW_PATIENCE));
    REQUIRE(vivero_pool_close(pool) == VIVERO_OK);
    return 0;
}

static int in_a_child(int (*body)(void *ctx))
{
    return CREW_SANITIZED ? 0 : crew_fork(body, NULL, NULL);
}

static void answers_limit_to_open_and_leaves_nothing_behind(void)
{
    CU_ASSERT_EQUAL(in_a_child(open_without_room), 0);
}

static void answers_limit_to_a_resize_and_keeps_its_size(void)
{
    CU_ASSERT_EQUAL(in_a_child(grow_without_room), 0);
}

static void grows_as_far_as_there_are_threads(void)
{
    CU_ASSERT_EQUAL(in_a_child(grow_with_room_for_some), 0);
}

static void waits_with_a_restart_until_there_is_a_thread(void)
{
    CU_ASSERT_EQUAL(in_a_child(restart_without_room), 0);
}

static void closes_while_a_restart_waits_for_a_thread(void)
{
    CU_ASSERT_EQUAL(in_a_child(close_while_restarting), 0);
}

SUITE_MAIN("pool_limits", CREW_SANITIZED ? NULL : set_up, NULL,
           TEST(answers_limit_to_open_and_leaves_nothing_behind),
           TEST(answers_limit_to_a_resize_and_keeps_its_size),
           TEST(grows_as_far_as_there_are_threads),
           TEST(waits_with_a_restart_until_there_is_a_thread),
           TEST(closes_while_a_restart_waits_for_a_thread))
