/* SPDX-License-Identifier: MIT */
/* Pools as children of supervisors, when the system gives no threads. */
#include <vivero/vivero.h>

#include "os/thread.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#define LONG VIVERO_SECONDS(20)

static int start(struct vivero_ref *supervisor, struct vivero_pool **pool)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
            VIVERO_CHILD_SPEC(.id = "pool", .ops = &vivero_child_pool,
                              .options = VIVERO_CHILD_POOL_OPTIONS(
                                      .options =
                                          VIVERO_POOL_OPTIONS(.workers = 2),
                                      .pool = pool)))),
        supervisor, NULL);
}

static void a_start_without_threads_fails_and_leaves_nothing(void)
{
    struct vivero_ref supervisor;
    struct vivero_pool *pool = NULL;
    int error = VIVERO_E_LIMIT;
    uint64_t left = 0;
    uint32_t tries = 0;

    CU_ASSERT_FATAL(fault_allocator_install());
    while (error == VIVERO_E_LIMIT) {
        vv_thread_fail_starts(tries++, 1);
        error = start(&supervisor, &pool);
        left += error != VIVERO_OK ? fault_allocator_blocks() : 0;
    }
    vv_thread_fail_starts(0, 0);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    /* the supervisor's, the child's, the keeper's, two workers' */
    CU_ASSERT_EQUAL(tries, 6);
    CU_ASSERT_EQUAL(left, 0);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static bool is_running(struct vivero_ref supervisor, uint64_t restarts)
{
    struct vivero_child_info info = {.restarts = 0};

    return vivero_supervisor_which_child(supervisor, "pool", &info, LONG) ==
               VIVERO_OK &&
           info.state == VIVERO_CHILD_RUNNING && info.restarts == restarts;
}

static void a_restart_without_a_thread_is_tried_again(void)
{
    struct vivero_ref supervisor;
    struct vivero_pool *pool = NULL;

    CU_ASSERT_EQUAL_FATAL(start(&supervisor, &pool), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "pool", LONG),
                    VIVERO_OK);

    vv_thread_fail_starts(0, 1);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "pool", LONG, NULL),
        VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "pool", LONG, NULL),
        VIVERO_OK);

    CU_ASSERT(is_running(supervisor, 2));
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 2);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
}

SUITE_MAIN("pool_child", NULL, NULL,
           TEST(a_start_without_threads_fails_and_leaves_nothing),
           TEST(a_restart_without_a_thread_is_tried_again))
