/* SPDX-License-Identifier: MIT */
/* What others see of the ends of supervisors and their children. */
#include <vivero/supervisor.h>
#include <vivero/worker_spawn.h>

#include "tests/lib/eventually.h"
#include "tests/lib/fake_child.h"
#include "tests/lib/suite.h"

#define LONG VIVERO_SECONDS(20)

static struct vivero_ref supervisor;
static struct vivero_ref me;
static struct fake a;
static struct vivero_child_spec spec_a;

static void set_up(void)
{
    fake_reset();
    supervisor = (struct vivero_ref){0, 0};
    a = (struct fake){.name = "a"};
    spec_a = fake_spec(&a);
    CU_ASSERT_EQUAL(vivero_attach(NULL, &me), VIVERO_OK);
}

static bool is_gone(void *ctx)
{
    (void)ctx;
    return !vivero_is_alive(supervisor);
}

static void tear_down(void)
{
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
}

static int start_one(int32_t intensity, bool link)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.intensity = intensity, .link = link,
                                  VIVERO_CHILDREN(&spec_a)),
        &supervisor, NULL);
}

/* The next thing this thread is told. */
static struct vivero_info told(void)
{
    const struct vivero_info *info = NULL;

    if (vivero_receive(&info, LONG) != VIVERO_OK) {
        return (struct vivero_info){.tag = 0};
    }
    return *info;
}

static void a_stopped_supervisor_ends_for_the_reason_given(void)
{
    struct vivero_exit reason = vivero_reason(VIVERO_EXIT_FAILED, 3, "enough");
    struct vivero_monitor monitor;
    struct vivero_info info;

    CU_ASSERT_EQUAL_FATAL(start_one(0, false), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_monitor(supervisor, &monitor), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, &reason, LONG),
                    VIVERO_OK);

    info = told();
    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(info.exit.code, 3);
    vivero_detach(NULL);
}

static void t_res_08_one_that_gives_up_tells_its_link_shutdown(void)
{
    struct vivero_info info;

    CU_ASSERT_EQUAL_FATAL(start_one(VIVERO_NONE, true), VIVERO_OK);
    fake_end(&a, VIVERO_EXIT_FAILED);

    info = told();
    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_EXIT);
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_SHUTDOWN);
    vivero_detach(NULL);
}

static void a_linked_supervisor_ends_with_its_caller_even_normally(void)
{
    CU_ASSERT_EQUAL_FATAL(start_one(0, true), VIVERO_OK);

    vivero_detach(NULL);

    CU_ASSERT_TRUE(eventually(is_gone, NULL, LONG));
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, stop a");
}

static void a_supervisor_without_link_goes_on(void)
{
    struct vivero_child_counts counts;

    CU_ASSERT_EQUAL_FATAL(start_one(0, false), VIVERO_OK);

    vivero_detach(NULL);

    CU_ASSERT_EQUAL(vivero_supervisor_count_children(supervisor, &counts, LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(counts.active, 1);
}

static void a_start_that_fails_sends_no_stray_exit(void)
{
    const struct vivero_info *info;

    a.start = FAKE_FAILS;
    CU_ASSERT_EQUAL(start_one(0, true), -7);

    CU_ASSERT_EQUAL(vivero_receive(&info, 0), VIVERO_E_TIMED_OUT);
    vivero_detach(NULL);
}

static void a_child_of_the_programs_own_kind_can_be_monitored(void)
{
    struct vivero_monitor monitor;
    struct vivero_info info;
    struct vivero_ref child;

    CU_ASSERT_EQUAL_FATAL(start_one(0, false), VIVERO_OK);
    child = fake_ref(&a);
    CU_ASSERT_EQUAL(vivero_monitor(child, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_tell(child, 1, NULL, 0), VIVERO_E_UNSUPPORTED);

    fake_end(&a, VIVERO_EXIT_FAILED);

    info = told();
    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
    CU_ASSERT_TRUE(vivero_ref_equal(info.from, child));
    CU_ASSERT_EQUAL(info.exit.code, 5);
    vivero_detach(NULL);
}

static void a_killed_child_is_seen_killed(void)
{
    struct vivero_monitor monitor;
    struct vivero_info info;

    spec_a.shutdown_ns = VIVERO_BRUTAL_KILL;
    CU_ASSERT_EQUAL_FATAL(start_one(0, false), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_monitor(fake_ref(&a), &monitor), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_OK);

    info = told();
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_KILLED);
    vivero_detach(NULL);
}

SUITE_MAIN("supervisor_links", set_up, tear_down,
           TEST(a_stopped_supervisor_ends_for_the_reason_given),
           TEST(t_res_08_one_that_gives_up_tells_its_link_shutdown),
           TEST(a_linked_supervisor_ends_with_its_caller_even_normally),
           TEST(a_supervisor_without_link_goes_on),
           TEST(a_start_that_fails_sends_no_stray_exit),
           TEST(a_child_of_the_programs_own_kind_can_be_monitored),
           TEST(a_killed_child_is_seen_killed))
