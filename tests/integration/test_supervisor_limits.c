/* SPDX-License-Identifier: MIT */
/* Many children, many supervisors, and no memory. */
#include <vivero/supervisor.h>

#include "tests/lib/eventually.h"
#include "tests/lib/fake_child.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#include <dirent.h>

#define LONG VIVERO_SECONDS(60)

static struct fake a;
static struct fake b;
static struct vivero_child_spec spec_a;
static struct vivero_child_spec spec_b;

static void set_up(void)
{
    fake_reset();
    a = (struct fake){.name = "a"};
    b = (struct fake){.name = "b"};
    spec_a = fake_spec(&a);
    spec_b = fake_spec(&b);
}

/* How long it takes to start and stop so many dynamic children; 0: it failed. */
static int64_t time_of_children(uint32_t count)
{
    struct vivero_ref supervisor;
    struct vivero_child_counts counts = {0};
    int64_t begin = vivero_now();
    uint32_t started = 0;

    if (vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC,
                                      .template_ = &spec_a),
            &supervisor, NULL) != VIVERO_OK) {
        return 0;
    }
    for (uint32_t i = 0; i < count; i++) {
        started += vivero_supervisor_start_child(supervisor, NULL, LONG,
                                                 NULL) == VIVERO_OK;
    }
    (void)vivero_supervisor_count_children(supervisor, &counts, LONG);
    if (vivero_supervisor_stop(supervisor, NULL, LONG) != VIVERO_OK ||
        counts.active != count || started != count) {
        return 0;
    }
    return vivero_now() - begin;
}

/* The best of three: the machine may have other things to do. */
static int64_t best_time_of_children(uint32_t count)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < 3; i++) {
        int64_t time = time_of_children(count);

        best = time < best ? time : best;
    }
    return best;
}

/* Forty times as many: linear is 40, quadratic 1600. Between them, with an order
 * of magnitude for a machine that does other things as well. */
static void ten_thousand_children_take_time_in_proportion(void)
{
    int64_t few;
    int64_t ten_thousand;

    fake_be_quiet();
    (void)time_of_children(100);
    few = best_time_of_children(250);
    ten_thousand = best_time_of_children(10000);

    CU_ASSERT(few > 0);
    CU_ASSERT(ten_thousand > 0);
    CU_ASSERT(ten_thousand < 400 * few);
}

static uint32_t count_entries(const char *folder)
{
    DIR *entries = opendir(folder);
    uint32_t count = 0;

    while (entries != NULL && readdir(entries) != NULL) {
        count++;
    }
    if (entries != NULL) {
        (void)closedir(entries);
    }
    return count;
}

static bool open_and_close(void)
{
    struct vivero_ref supervisor;

    return vivero_supervisor_start(
               VIVERO_SUPERVISOR_OPTIONS(.name = "one of many",
                                         VIVERO_CHILDREN(&spec_a, &spec_b)),
               &supervisor, NULL) == VIVERO_OK &&
           vivero_supervisor_stop(supervisor, NULL, LONG) == VIVERO_OK;
}

static void a_thousand_supervisors_leave_nothing(void)
{
    uint32_t threads;
    uint32_t descriptors;
    uint32_t good = 0;

    fake_be_quiet();
    CU_ASSERT_FATAL(fault_allocator_install());
    (void)open_and_close();
    threads = count_entries("/proc/self/task");
    descriptors = count_entries("/proc/self/fd");

    for (uint32_t i = 0; i < 1000; i++) {
        good += open_and_close();
    }

    CU_ASSERT_EQUAL(good, 1000);
    CU_ASSERT_EQUAL(count_entries("/proc/self/task"), threads);
    CU_ASSERT_EQUAL(count_entries("/proc/self/fd"), descriptors);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static int start_tree(struct vivero_ref *supervisor)
{
    struct vivero_child_spec inner;

    vivero_child_spec_init(&inner);
    inner.id = "inner";
    inner.ops = &vivero_child_supervisor;
    inner.options = VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(&spec_b));
    spec_a.intensity = 3;
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.name = "tree",
                                  VIVERO_CHILDREN(&spec_a, &inner)),
        supervisor, NULL);
}

static void a_start_without_memory_says_so_and_leaves_nothing(void)
{
    struct vivero_ref supervisor;
    int error = VIVERO_E_NO_MEMORY;
    uint64_t left = 0;
    uint64_t tries = 0;

    fake_be_quiet();
    CU_ASSERT_FATAL(fault_allocator_install());
    while (error == VIVERO_E_NO_MEMORY) {
        fault_allocator_fail_after(tries++);
        error = start_tree(&supervisor);
        left += error != VIVERO_OK ? fault_allocator_blocks() : 0;
    }
    fault_allocator_fail_after(FAULT_NEVER);
    CU_ASSERT_EQUAL_FATAL(error, VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT(tries > 8);
    CU_ASSERT_EQUAL(left, 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void calls_without_memory_say_so_and_change_nothing(void)
{
    struct vivero_ref supervisor;
    struct vivero_child_counts counts;
    int error = VIVERO_E_NO_MEMORY;
    uint64_t tries = 0;

    fake_be_quiet();
    CU_ASSERT_FATAL(fault_allocator_install());
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC), &supervisor,
            NULL),
        VIVERO_OK);
    while (error == VIVERO_E_NO_MEMORY) {
        fault_allocator_fail_after(tries++);
        error = vivero_supervisor_start_child(supervisor, &spec_a, LONG, NULL);
        fault_allocator_fail_after(FAULT_NEVER);
        CU_ASSERT_EQUAL(
            vivero_supervisor_count_children(supervisor, &counts, LONG),
            VIVERO_OK);
        CU_ASSERT_EQUAL(counts.specs, error == VIVERO_OK ? 1 : 0);
    }
    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT(tries > 3);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void a_restart_without_memory_is_tried_until_there_is_some(void)
{
    struct vivero_ref supervisor;

    CU_ASSERT_FATAL(fault_allocator_install());
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.intensity = 1, VIVERO_CHILDREN(&spec_a)),
            &supervisor, NULL),
        VIVERO_OK);
    fault_allocator_fail_after(0);
    fake_end(&a, VIVERO_EXIT_FAILED);
    for (int i = 0; i < 30; i++) {
        eventually_nap();
    }
    fault_allocator_fail_after(FAULT_NEVER);

    CU_ASSERT_TRUE(fake_started(&a, 2));
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

SUITE_MAIN("supervisor_limits", set_up, NULL,
           TEST(ten_thousand_children_take_time_in_proportion),
           TEST(a_thousand_supervisors_leave_nothing),
           TEST(a_start_without_memory_says_so_and_leaves_nothing),
           TEST(calls_without_memory_say_so_and_change_nothing),
           TEST(a_restart_without_memory_is_tried_until_there_is_some))
