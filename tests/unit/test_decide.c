/* SPDX-License-Identifier: MIT */
/* A pool's children: a crew. */
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/decide_kit.h"

#define SECOND VIVERO_SECONDS(1)

static bool is_about(int64_t delay, int64_t nominal)
{
    return delay <= nominal && delay >= nominal - nominal / 4;
}

static void open_crew(uint32_t intensity)
{
    kit_open(VV_CREW, intensity);
}

static void back_off(uint32_t child, int64_t delay_ns)
{
    kit.policies[child].backoff_ns = delay_ns;
    kit.policies[child].backoff_max_ns = delay_ns;
}

/* True: it was started again. */
static bool fail_and_restart(uint32_t child)
{
    bool started = strstr(fails(child), "start") != NULL;

    is_up(child);
    return started;
}

static int64_t due_in(void)
{
    return vv_decide_due(&kit.decide) - kit.now_ns;
}

static void a_failed_child_is_started_again_at_once(void)
{
    open_crew(1);
    kit_add(0, 3);

    SAYS(fails(2), "ended 2, start 2");
}

static void all_children_draw_on_the_shared_budget(void)
{
    open_crew(2);
    kit_add(0, 3);

    CU_ASSERT_TRUE(fail_and_restart(0));
    CU_ASSERT_TRUE(fail_and_restart(1));
    CU_ASSERT_FALSE(fail_and_restart(2));
}

static void each_child_draws_on_its_own_budget(void)
{
    open_crew(1);
    kit_own_budget(0, 1);
    kit_own_budget(1, 1);
    kit_add(0, 2);

    CU_ASSERT_TRUE(fail_and_restart(0));
    CU_ASSERT_TRUE(fail_and_restart(1));
    SAYS(fails(0), "ended 0, give_up 0, stop 0, stop 1");
}

static void giving_up_stops_all_children_in_reverse_order(void)
{
    open_crew(0);
    kit_attach(0, 4);
    for (uint32_t i = 0; i < 4; i++) {
        if (i != 2) {
            tell(VV_EVENT_ADD, i);
            is_up(i);
        }
    }

    SAYS(fails(1), "ended 1, give_up 1, stop 1, stop 3, stop 0");
}

static void a_first_start_that_fails_is_refused_and_costs_nothing(void)
{
    open_crew(1);
    kit_add(0, 1);
    kit_attach(1, 2);
    tell(VV_EVENT_ADD, 1);

    SAYS(fails(1), "start_error 1, refuse 1, stop 1");
    SAYS(tell(VV_EVENT_FINISHED, 1), "");
    CU_ASSERT_TRUE(fail_and_restart(0));
}

static void a_first_start_without_a_thread_is_refused_and_over(void)
{
    open_crew(1);
    kit_attach(0, 1);
    tell(VV_EVENT_ADD, 0);

    SAYS(tell(VV_EVENT_STARVED, 0), "refuse 0");
    SAYS(tell(VV_EVENT_ADD, 0), "start 0");
}

static void a_restart_without_a_thread_waits_and_costs_nothing(void)
{
    open_crew(1);
    kit_add(0, 1);
    fails(0);

    for (uint32_t i = 0; i < 100; i++) {
        SAYS(tell(VV_EVENT_STARVED, 0), "");
        CU_ASSERT(due_in() > 0 && due_in() <= SECOND);
        SAYS(pass(due_in()), "later 0");
        SAYS(tell(VV_EVENT_TURN, 0), "start 0");
    }
}

static void a_restart_whose_init_fails_costs_one_more(void)
{
    open_crew(2);
    kit_add(0, 1);

    SAYS(fails(0), "ended 0, start 0");
    SAYS(fails(0), "start_error 0, later 0");
    SAYS(tell(VV_EVENT_TURN, 0), "start 0");
    SAYS(fails(0), "start_error 0, later 0");
    SAYS(tell(VV_EVENT_TURN, 0), "give_up 0, stop 0");
}

static void a_restart_is_due_when_its_delay_is_over(void)
{
    open_crew(9);
    back_off(0, 1000);
    kit_add(0, 1);
    CU_ASSERT_TRUE(fail_and_restart(0));

    SAYS(fails(0), "ended 0");
    CU_ASSERT_TRUE(is_about(due_in(), 1000));
    SAYS(pass(due_in() - 1), "");
    SAYS(pass(1), "later 0");
    CU_ASSERT_EQUAL(vv_decide_due(&kit.decide), VIVERO_FOREVER);
    SAYS(tell(VV_EVENT_TURN, 0), "start 0");
}

static void a_stable_run_ends_the_row_of_failures(void)
{
    open_crew(9);
    back_off(0, 1000);
    kit_add(0, 1);
    CU_ASSERT_TRUE(fail_and_restart(0));
    pass(KIT_PERIOD + 1);

    CU_ASSERT_TRUE(fail_and_restart(0));
}

static void failing_starts_after_a_stable_run_back_off(void)
{
    open_crew(VV_INTENSITY_UNLIMITED);
    back_off(0, 1000);
    kit_add(0, 1);
    pass(KIT_PERIOD + 1);

    SAYS(fails(0), "ended 0, start 0");
    SAYS(fails(0), "start_error 0, later 0");
    SAYS(tell(VV_EVENT_TURN, 0), "");
    CU_ASSERT_TRUE(is_about(due_in(), 1000));
}

static void an_endless_backoff_is_never_due(void)
{
    open_crew(9);
    back_off(0, VIVERO_FOREVER);
    kit_add(0, 1);
    CU_ASSERT_TRUE(fail_and_restart(0));

    SAYS(fails(0), "ended 0");

    CU_ASSERT(vv_decide_due(&kit.decide) > VIVERO_FOREVER / 2);
}

static void stopping_without_children_is_down_at_once(void)
{
    open_crew(1);

    SAYS(tell_all(VV_EVENT_STOP), "down");
    SAYS(tell_all(VV_EVENT_STOP), "");
}

static void down_comes_with_the_last_child_that_ends(void)
{
    open_crew(1);
    kit_add(0, 2);
    SAYS(tell_all(VV_EVENT_STOP), "stop 1, stop 0");

    SAYS(tell(VV_EVENT_FINISHED, 1), "");
    SAYS(tell(VV_EVENT_FINISHED, 0), "down");
    SAYS(tell_all(VV_EVENT_STOP), "");
}

static void nothing_is_added_once_it_is_stopping(void)
{
    open_crew(1);
    kit_add(0, 1);
    kit_attach(1, 2);
    tell_all(VV_EVENT_STOP);

    SAYS(tell(VV_EVENT_ADD, 0), "");
    SAYS(tell(VV_EVENT_ADD, 1), "");
}

static void one_that_fails_while_it_is_stopped_is_told_again(void)
{
    open_crew(1);
    kit_add(0, 1);
    SAYS(tell(VV_EVENT_REMOVE, 0), "stop 0");

    SAYS(fails(0), "stop 0");
    SAYS(tell(VV_EVENT_FINISHED, 0), "");
}

static void a_flapping_child_within_its_budget_goes_on_for_hours(void)
{
    uint32_t restarts = 0;

    open_crew(3);
    kit_add(0, 1);
    for (uint32_t i = 0; i < 10000; i++) {
        pass(KIT_PERIOD / 3 + 1);
        restarts += fail_and_restart(0);
    }

    CU_ASSERT_EQUAL(restarts, 10000);
}

static void init_reports_no_memory_and_leaves_nothing(void)
{
    const struct vv_decide_options options = kit_options(VV_CREW, 2);
    struct vv_decide decide;

    CU_ASSERT_FATAL(fault_allocator_install());
    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(vv_decide_init(&decide, &options, NULL),
                    VIVERO_E_NO_MEMORY);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    fault_allocator_fail_after(FAULT_NEVER);
    CU_ASSERT_EQUAL_FATAL(vv_decide_init(&decide, &options, NULL), VIVERO_OK);
    vv_decide_fini(&decide);

    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
    open_crew(1); /* for the tear-down */
}

SUITE_MAIN("decide", NULL, kit_close,
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
           TEST(an_endless_backoff_is_never_due),
           TEST(stopping_without_children_is_down_at_once),
           TEST(down_comes_with_the_last_child_that_ends),
           TEST(nothing_is_added_once_it_is_stopping),
           TEST(one_that_fails_while_it_is_stopped_is_told_again),
           TEST(a_flapping_child_within_its_budget_goes_on_for_hours),
           TEST(init_reports_no_memory_and_leaves_nothing))
