/* SPDX-License-Identifier: MIT */
#include <vivero/error.h>
#include <vivero/time.h>

#include "supervisor/decide.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#define CHILDREN 5u
#define SECOND VIVERO_SECONDS(1)
#define PERIOD VIVERO_SECONDS(5)

static bool is_about(int64_t delay, int64_t nominal)
{
    return delay <= nominal && delay >= nominal - nominal / 4;
}

static struct vv_decide decide;
static struct vv_action actions[CHILDREN + 3];
static uint32_t count;

static void open_decide(struct vv_decide_options options)
{
    options.children_max = CHILDREN;
    CU_ASSERT_EQUAL_FATAL(vv_decide_init(&decide, &options, NULL), VIVERO_OK);
}

static void feed(enum vv_event_kind event, uint32_t child, int64_t now_ns)
{
    count = vv_decide(&decide, event, child, now_ns, actions);
}

static bool says(uint32_t at, enum vv_action_kind kind, uint32_t child)
{
    return at < count && actions[at].kind == kind && actions[at].child == child;
}

static void bring_up(uint32_t child, int64_t now_ns)
{
    feed(VV_EVENT_ADD, child, now_ns);
    feed(VV_EVENT_STARTED, child, now_ns);
}

/* True: it was started again. */
static bool fail_and_restart(uint32_t child, int64_t now_ns)
{
    bool started;

    feed(VV_EVENT_EXITED, child, now_ns);
    started = says(0, VV_ACTION_START, child);
    feed(VV_EVENT_STARTED, child, now_ns);
    return started;
}

static void tear_down(void)
{
    vv_decide_fini(&decide);
}

static void a_failed_child_is_started_again_at_once(void)
{
    open_decide((struct vv_decide_options){.intensity = 1, .period_ns = 10});
    bring_up(2, 100);

    feed(VV_EVENT_EXITED, 2, 200);

    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_TRUE(says(0, VV_ACTION_START, 2));
}

static void all_children_draw_on_the_shared_budget(void)
{
    open_decide((struct vv_decide_options){.intensity = 2, .period_ns = 10});
    bring_up(0, 100);
    bring_up(1, 100);
    bring_up(2, 100);

    CU_ASSERT_TRUE(fail_and_restart(0, 200));
    CU_ASSERT_TRUE(fail_and_restart(1, 200));
    CU_ASSERT_FALSE(fail_and_restart(2, 200));
}

static void each_child_draws_on_its_own_budget(void)
{
    open_decide((struct vv_decide_options){
        .intensity = 1, .period_ns = 10, .budget_per_child = true});
    bring_up(0, 100);
    bring_up(1, 100);

    CU_ASSERT_TRUE(fail_and_restart(0, 200));
    CU_ASSERT_TRUE(fail_and_restart(1, 200));
    CU_ASSERT_FALSE(fail_and_restart(0, 210));
}

static void giving_up_stops_all_children_in_reverse_order(void)
{
    open_decide((struct vv_decide_options){.intensity = 0, .period_ns = 10});
    bring_up(0, 100);
    bring_up(1, 100);
    bring_up(3, 100);

    feed(VV_EVENT_EXITED, 1, 200);

    CU_ASSERT_EQUAL(count, 4);
    CU_ASSERT_TRUE(says(0, VV_ACTION_GIVE_UP, 1));
    CU_ASSERT_TRUE(says(1, VV_ACTION_STOP, 3));
    CU_ASSERT_TRUE(says(2, VV_ACTION_STOP, 1));
    CU_ASSERT_TRUE(says(3, VV_ACTION_STOP, 0));
}

static void a_first_start_that_fails_is_refused_and_costs_nothing(void)
{
    open_decide((struct vv_decide_options){.intensity = 1, .period_ns = 10});
    bring_up(0, 100);

    feed(VV_EVENT_ADD, 1, 100);
    feed(VV_EVENT_START_FAILED, 1, 100);

    CU_ASSERT_EQUAL(count, 2);
    CU_ASSERT_TRUE(says(0, VV_ACTION_REFUSE, 1));
    CU_ASSERT_TRUE(says(1, VV_ACTION_STOP, 1));
    feed(VV_EVENT_FINISHED, 1, 100);
    CU_ASSERT_TRUE(fail_and_restart(0, 100));
}

static void a_first_start_without_a_thread_is_refused_and_over(void)
{
    open_decide((struct vv_decide_options){.intensity = 1, .period_ns = 10});
    feed(VV_EVENT_ADD, 1, 100);

    feed(VV_EVENT_STARVED, 1, 100);

    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_TRUE(says(0, VV_ACTION_REFUSE, 1));
    feed(VV_EVENT_ADD, 1, 100);
    CU_ASSERT_TRUE(says(0, VV_ACTION_START, 1));
}

static void a_restart_without_a_thread_waits_and_costs_nothing(void)
{
    open_decide((struct vv_decide_options){.intensity = 1, .period_ns = 10});
    bring_up(0, 100);
    feed(VV_EVENT_EXITED, 0, 200);

    for (int64_t now = 200; now < 200 + 100 * SECOND; now += SECOND) {
        feed(VV_EVENT_STARVED, 0, now);
        CU_ASSERT_EQUAL(count, 0);
        CU_ASSERT_TRUE(vv_decide_next(&decide) > now);
        CU_ASSERT_TRUE(vv_decide_next(&decide) <= now + SECOND);
        feed(VV_EVENT_TICK, 0, vv_decide_next(&decide));
        CU_ASSERT_TRUE(says(0, VV_ACTION_START, 0));
    }
}

static void a_restart_whose_init_fails_costs_one_more(void)
{
    open_decide((struct vv_decide_options){.intensity = 2, .period_ns = 10});
    bring_up(0, 100);

    feed(VV_EVENT_EXITED, 0, 200);
    CU_ASSERT_TRUE(says(0, VV_ACTION_START, 0));
    feed(VV_EVENT_START_FAILED, 0, 200);
    CU_ASSERT_TRUE(says(0, VV_ACTION_START, 0));
    feed(VV_EVENT_START_FAILED, 0, 200);
    CU_ASSERT_TRUE(says(0, VV_ACTION_GIVE_UP, 0));
}

static void a_restart_is_due_when_its_delay_is_over(void)
{
    open_decide((struct vv_decide_options){.intensity = 9,
                                           .period_ns = PERIOD,
                                           .backoff_ns = 1000,
                                           .backoff_max_ns = 1000});
    bring_up(0, 100);
    CU_ASSERT_TRUE(fail_and_restart(0, 100));

    feed(VV_EVENT_EXITED, 0, 100);
    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_TRUE(is_about(vv_decide_next(&decide) - 100, 1000));
    feed(VV_EVENT_TICK, 0, vv_decide_next(&decide) - 1);
    CU_ASSERT_EQUAL(count, 0);
    feed(VV_EVENT_TICK, 0, vv_decide_next(&decide));
    CU_ASSERT_TRUE(says(0, VV_ACTION_START, 0));
    CU_ASSERT_EQUAL(vv_decide_next(&decide), VIVERO_FOREVER);
}

static void a_stable_run_ends_the_row_of_failures(void)
{
    open_decide((struct vv_decide_options){.intensity = 9,
                                           .period_ns = 10,
                                           .backoff_ns = 1000,
                                           .backoff_max_ns = 1000});
    bring_up(0, 100);
    CU_ASSERT_TRUE(fail_and_restart(0, 100));

    CU_ASSERT_TRUE(fail_and_restart(0, 111));
}

static void failing_starts_after_a_stable_run_back_off(void)
{
    open_decide((struct vv_decide_options){.intensity = VV_INTENSITY_UNLIMITED,
                                           .period_ns = 10,
                                           .backoff_ns = 1000,
                                           .backoff_max_ns = 1000});
    bring_up(0, 100);

    feed(VV_EVENT_EXITED, 0, 200);
    CU_ASSERT_TRUE(says(0, VV_ACTION_START, 0));
    feed(VV_EVENT_START_FAILED, 0, 200);

    CU_ASSERT_EQUAL(count, 0);
    CU_ASSERT_TRUE(is_about(vv_decide_next(&decide) - 200, 1000));
}

static void an_endless_backoff_does_not_overflow(void)
{
    open_decide((struct vv_decide_options){.intensity = 9,
                                           .period_ns = 10,
                                           .backoff_ns = VIVERO_FOREVER,
                                           .backoff_max_ns = VIVERO_FOREVER});
    bring_up(0, INT64_MAX / 2);
    CU_ASSERT_TRUE(fail_and_restart(0, INT64_MAX / 2));

    feed(VV_EVENT_EXITED, 0, INT64_MAX / 2);

    CU_ASSERT_TRUE(vv_decide_next(&decide) > INT64_MAX / 2);
}

static void stopping_without_children_is_down_at_once(void)
{
    open_decide((struct vv_decide_options){.intensity = 1, .period_ns = 10});

    feed(VV_EVENT_STOP, 0, 100);

    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_TRUE(says(0, VV_ACTION_DOWN, 0));
}

static void down_comes_with_the_last_child_that_ends(void)
{
    open_decide((struct vv_decide_options){.intensity = 1, .period_ns = 10});
    bring_up(0, 100);
    bring_up(1, 100);
    feed(VV_EVENT_STOP, 0, 100);

    feed(VV_EVENT_FINISHED, 1, 100);
    CU_ASSERT_EQUAL(count, 0);
    feed(VV_EVENT_FINISHED, 0, 100);
    CU_ASSERT_EQUAL(count, 1);
    CU_ASSERT_TRUE(says(0, VV_ACTION_DOWN, 0));
    feed(VV_EVENT_STOP, 0, 100);
    CU_ASSERT_EQUAL(count, 0);
}

static void nothing_is_added_once_it_is_stopping(void)
{
    open_decide((struct vv_decide_options){.intensity = 1, .period_ns = 10});
    bring_up(0, 100);
    feed(VV_EVENT_STOP, 0, 100);

    feed(VV_EVENT_ADD, 0, 100);
    CU_ASSERT_EQUAL(count, 0);
    feed(VV_EVENT_ADD, 1, 100);
    CU_ASSERT_EQUAL(count, 0);
}

static void a_flapping_child_within_its_budget_goes_on_for_hours(void)
{
    uint32_t restarts = 0;
    int64_t now = SECOND;

    open_decide(
        (struct vv_decide_options){.intensity = 3, .period_ns = PERIOD});
    bring_up(0, now);
    for (uint32_t i = 0; i < 10000; i++) {
        now += PERIOD / 3 + 1;
        restarts += fail_and_restart(0, now);
    }

    CU_ASSERT_EQUAL(restarts, 10000);
}

static void init_reports_no_memory_and_leaves_nothing(void)
{
    const struct vv_decide_options options = {
        .children_max = 3, .intensity = 2, .period_ns = 10};
    int error = VIVERO_E_NO_MEMORY;
    uint64_t n;

    CU_ASSERT_FATAL(fault_allocator_install());
    for (n = 0; error == VIVERO_E_NO_MEMORY; n++) {
        fault_allocator_fail_after(n);
        error = vv_decide_init(&decide, &options, NULL);
        CU_ASSERT(error == VIVERO_OK || fault_allocator_blocks() == 0);
    }
    fault_allocator_fail_after(FAULT_NEVER);
    vv_decide_fini(&decide);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT_EQUAL(n, 3);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

SUITE_MAIN("decide", NULL, tear_down,
           TEST(a_failed_child_is_started_again_at_once),
           TEST(all_children_draw_on_the_shared_budget),
           TEST(each_child_draws_on_its_own_budget),
           TEST(giving_up_stops_all_children_in_reverse_order),
           TEST(a_first_start_that_fails_is_refused_and_costs_nothing),
           TEST(a_first_start_without_a_thread_is_refused_and_over),
           TEST(a_restart_without_a_thread_waits_and_costs_nothing),
           TEST(a_restart_whose_init_fails_costs_one_more),
           TEST(a_restart_is_due_when_its_delay_is_over),
           TEST(a_stable_run_ends_the_row_of_failures),
           TEST(failing_starts_after_a_stable_run_back_off),
           TEST(an_endless_backoff_does_not_overflow),
           TEST(stopping_without_children_is_down_at_once),
           TEST(down_comes_with_the_last_child_that_ends),
           TEST(nothing_is_added_once_it_is_stopping),
           TEST(a_flapping_child_within_its_budget_goes_on_for_hours),
           TEST(init_reports_no_memory_and_leaves_nothing))
