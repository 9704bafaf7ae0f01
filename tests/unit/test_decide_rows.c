/* SPDX-License-Identifier: MIT */
/* The rules of supervision, one test for each. */
#include "tests/lib/suite.h"
#include "tests/unit/decide_kit.h"

#define SECOND VIVERO_SECONDS(1)
#define NORMAL VIVERO_EXIT_NORMAL
#define SHUTDOWN VIVERO_EXIT_SHUTDOWN
#define SHUTDOWN_WITH VIVERO_EXIT_SHUTDOWN_WITH
#define KILLED VIVERO_EXIT_KILLED

static void restart_type(uint32_t child, enum vivero_restart restart)
{
    kit.policies[child].restart = restart;
}

/* Three children up; a type for the one in the middle. */
static void open_three(enum vv_strategy strategy, enum vivero_restart middle)
{
    kit_open(strategy, 3);
    restart_type(1, middle);
    kit_bring_up(3);
}

/* ---- Start ------------------------------------------------------------------ */

static void children_start_in_order_each_when_the_last_is_up(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit_attach(0, 3);

    SAYS(tell_all(VV_EVENT_OPEN), "start 0");
    SAYS(is_up(0), "start 1");
    SAYS(is_up(1), "start 2");
    CU_ASSERT_TRUE(vv_decide_is_busy(&kit.decide));
    SAYS(is_up(2), "up");
    CU_ASSERT_FALSE(vv_decide_is_busy(&kit.decide));
}

static void a_supervisor_without_children_is_up_at_once(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    SAYS(tell_all(VV_EVENT_OPEN), "up");
}

static void t_sup_02_an_ignored_child_is_kept_unless_it_is_temporary(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    restart_type(1, VIVERO_TEMPORARY);
    kit_attach(0, 2);
    tell_all(VV_EVENT_OPEN);

    SAYS(tell(VV_EVENT_IGNORED, 0), "start 1");
    SAYS(tell(VV_EVENT_IGNORED, 1), "drop 1, up");
    CU_ASSERT_EQUAL(phase_of(0), VV_CHILD_STOPPED);
    CU_ASSERT_EQUAL(vv_decide_count(&kit.decide), 1);
}

static void t_sup_05_a_first_start_that_fails_stops_those_before_it(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit_attach(0, 4);
    tell_all(VV_EVENT_OPEN);
    is_up(0);
    is_up(1);

    SAYS(fails(2), "start_error 2, refuse 2, stop 1");
    SAYS(ends(1, SHUTDOWN), "stop 0");
    SAYS(ends(0, SHUTDOWN), "down");
}

static void a_first_start_without_resources_has_failed_too(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit_attach(0, 3);
    tell_all(VV_EVENT_OPEN);
    is_up(0);

    SAYS(tell(VV_EVENT_STARVED, 1), "refuse 1, stop 0");
    SAYS(ends(0, SHUTDOWN), "down");
}

static void a_group_restart_without_resources_is_tried_again(void)
{
    kit_open(VV_ONE_FOR_ALL, 1);
    kit_bring_up(2);
    fails(0);
    ends(1, SHUTDOWN);

    SAYS(tell(VV_EVENT_STARVED, 0), "");
    CU_ASSERT_FALSE(vv_decide_is_busy(&kit.decide));
    SAYS(pass(SECOND), "later 0");
    SAYS(tell(VV_EVENT_TURN, 0), "start 0");
    SAYS(is_up(0), "start 1");
    CU_ASSERT_EQUAL(kit.decide.shared.count, 1);
}

static void a_start_that_takes_too_long_is_killed_and_has_failed(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit.policies[0].start_timeout_ns = SECOND;
    kit_attach(0, 1);
    tell_all(VV_EVENT_OPEN);

    SAYS(pass(SECOND - 1), "");
    SAYS(pass(1), "kill 0");
    SAYS(pass(SECOND), "");
    SAYS(ends(0, VIVERO_EXIT_TIMED_OUT), "start_error 0, refuse 0, down");
}

/* ---- A child ends by itself --------------------------------------------------- */

static void t_res_01_a_permanent_child_restarts_whatever_the_reason(void)
{
    static const enum vivero_exit_kind reasons[] = {NORMAL,
                                                    SHUTDOWN,
                                                    SHUTDOWN_WITH,
                                                    VIVERO_EXIT_FAILED,
                                                    KILLED,
                                                    VIVERO_EXIT_NOBODY,
                                                    VIVERO_EXIT_TIMED_OUT,
                                                    VIVERO_EXIT_RESTART_LIMIT};

    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        SAYS(ends(1, reasons[i]), "ended 1, start 1");
        is_up(1);
        pass(10 * SECOND);
    }
}

static void t_res_02_a_transient_child_restarts_only_after_a_failure(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_TRANSIENT);

    SAYS(fails(1), "ended 1, start 1");
    is_up(1);
    SAYS(ends(1, KILLED), "ended 1, start 1");
    is_up(1);
    SAYS(ends(1, NORMAL), "");
    CU_ASSERT_EQUAL(phase_of(1), VV_CHILD_STOPPED);
    tell(VV_EVENT_ADD, 1);
    is_up(1);
    SAYS(ends(1, SHUTDOWN), "");
    tell(VV_EVENT_ADD, 1);
    is_up(1);
    SAYS(ends(1, SHUTDOWN_WITH), "");
}

static void t_res_03_a_temporary_child_is_forgotten(void)
{
    static const enum vivero_exit_kind reasons[] = {NORMAL, SHUTDOWN,
                                                    SHUTDOWN_WITH};

    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        open_three(VV_ONE_FOR_ONE, VIVERO_TEMPORARY);
        SAYS(ends(1, reasons[i]), "drop 1");
        kit_close();
    }
    open_three(VV_ONE_FOR_ONE, VIVERO_TEMPORARY);
    SAYS(fails(1), "ended 1, drop 1");
    SAYS(fails(0), "ended 0, start 0");
}

static void temporary_children_never_touch_the_budget(void)
{
    kit_open(VV_ONE_FOR_ONE, 1);
    for (uint32_t i = 1; i < 6; i++) {
        restart_type(i, VIVERO_TEMPORARY);
    }
    kit_bring_up(6);
    for (uint32_t i = 1; i < 6; i++) {
        fails(i);
    }

    SAYS(fails(0), "ended 0, start 0");
}

/* ---- Strategies ------------------------------------------------------------------ */

static void t_res_08_one_for_one_starts_the_failed_one_only(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);

    SAYS(fails(1), "ended 1, start 1");
    SAYS(is_up(1), "");
    CU_ASSERT_PTR_EQUAL(kit.decide.head->next, &kit.children[1]);
}

static void t_res_09_one_for_all_stops_in_reverse_and_starts_in_order(void)
{
    open_three(VV_ONE_FOR_ALL, VIVERO_PERMANENT);

    SAYS(fails(1), "ended 1, stop 2");
    SAYS(ends(2, SHUTDOWN), "stop 0");
    CU_ASSERT_TRUE(vv_decide_is_busy(&kit.decide));
    SAYS(ends(0, SHUTDOWN), "start 0");
    SAYS(is_up(0), "start 1");
    SAYS(is_up(1), "start 2");
    SAYS(is_up(2), "");
    CU_ASSERT_FALSE(vv_decide_is_busy(&kit.decide));
}

static void one_for_all_starts_children_that_were_stopped_before(void)
{
    open_three(VV_ONE_FOR_ALL, VIVERO_PERMANENT);
    tell(VV_EVENT_REMOVE, 0);
    ends(0, SHUTDOWN);

    SAYS(fails(2), "ended 2, stop 1");
    SAYS(ends(1, SHUTDOWN), "start 0");
}

static void t_res_04_a_group_restart_removes_temporary_siblings(void)
{
    open_three(VV_ONE_FOR_ALL, VIVERO_TEMPORARY);

    SAYS(fails(2), "ended 2, stop 1");
    SAYS(ends(1, SHUTDOWN), "drop 1, stop 0");
    SAYS(ends(0, SHUTDOWN), "start 0");
    SAYS(is_up(0), "start 2");
    SAYS(is_up(2), "");
}

static void a_temporary_first_child_is_removed_by_a_group_restart(void)
{
    kit_open(VV_ONE_FOR_ALL, 3);
    restart_type(0, VIVERO_TEMPORARY);
    kit_bring_up(2);

    fails(1);
    SAYS(ends(0, SHUTDOWN), "drop 0, start 1");
    SAYS(is_up(1), "");
}

static void t_res_11_rest_for_one_restarts_it_and_those_after(void)
{
    open_three(VV_REST_FOR_ONE, VIVERO_PERMANENT);

    SAYS(fails(1), "ended 1, stop 2");
    SAYS(ends(2, SHUTDOWN), "start 1");
    SAYS(is_up(1), "start 2");
    SAYS(is_up(2), "");
    CU_ASSERT_EQUAL(phase_of(0), VV_CHILD_RUNNING);
}

static void rest_for_one_of_the_last_child_restarts_it_alone(void)
{
    open_three(VV_REST_FOR_ONE, VIVERO_PERMANENT);

    SAYS(fails(2), "ended 2, start 2");
}

static void t_res_13_a_dynamic_child_restarts_alone_on_a_common_budget(void)
{
    kit_open(VV_DYNAMIC, 2);
    kit_add(0, 3);

    SAYS(fails(0), "ended 0, start 0");
    SAYS(fails(1), "ended 1, start 1");
    is_up(0);
    is_up(1);
    SAYS(fails(2), "ended 2, give_up 2, drop 2, stop 1, stop 0");
    SAYS(ends(0, SHUTDOWN), "drop 0");
    SAYS(ends(1, SHUTDOWN), "drop 1, down");
}

static void a_dynamic_child_that_ignores_its_restart_is_dropped(void)
{
    kit_open(VV_DYNAMIC, 2);
    kit_add(0, 1);
    fails(0);

    SAYS(tell(VV_EVENT_IGNORED, 0), "drop 0");
}

static void a_group_restart_costs_one_unit(void)
{
    kit_open(VV_ONE_FOR_ALL, 1);
    kit_bring_up(3);
    fails(0);
    ends(2, SHUTDOWN);
    ends(1, SHUTDOWN);
    is_up(0);
    is_up(1);
    is_up(2);
    CU_ASSERT_EQUAL(kit.decide.shared.count, 1);
}

static void one_that_ends_during_a_group_restart_has_its_turn_after(void)
{
    open_three(VV_REST_FOR_ONE, VIVERO_PERMANENT);
    fails(1);

    SAYS(fails(0), "later 0");
    CU_ASSERT_EQUAL(phase_of(0), VV_CHILD_FALLEN);
    ends(2, SHUTDOWN);
    is_up(1);
    is_up(2);
    SAYS(tell(VV_EVENT_TURN, 0), "ended 0, stop 2");
}

static void one_that_ends_in_its_group_before_it_is_stopped_is_down(void)
{
    open_three(VV_ONE_FOR_ALL, VIVERO_PERMANENT);
    fails(1);

    SAYS(fails(0), "later 0");
    SAYS(ends(2, SHUTDOWN), "shutdown_error 0, start 0");
    is_up(0);
    is_up(1);
    is_up(2);
    SAYS(tell(VV_EVENT_TURN, 0), "");
}

/* ---- Restarts that fail ------------------------------------------------------------ */

static void t_res_07_each_attempt_costs_a_unit_and_waits_its_turn(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);

    fails(1);
    SAYS(fails(1), "start_error 1, later 1");
    CU_ASSERT_FALSE(vv_decide_is_busy(&kit.decide));
    SAYS(tell(VV_EVENT_TURN, 1), "start 1");
    SAYS(fails(1), "start_error 1, later 1");
    SAYS(tell(VV_EVENT_TURN, 1), "start 1");
    SAYS(fails(1), "start_error 1, later 1");
    SAYS(tell(VV_EVENT_TURN, 1), "give_up 1, stop 2");
}

static void a_success_in_between_keeps_it_alive(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);
    fails(1);
    fails(1);
    tell(VV_EVENT_TURN, 1);

    SAYS(is_up(1), "");
    pass(KIT_PERIOD + 1);
    SAYS(fails(1), "ended 1, start 1");
}

static void the_retry_of_a_group_is_for_the_one_that_did_not_start(void)
{
    open_three(VV_ONE_FOR_ALL, VIVERO_PERMANENT);
    fails(2);
    ends(1, SHUTDOWN);
    SAYS(ends(0, SHUTDOWN), "start 0");
    is_up(0);

    SAYS(fails(1), "start_error 1, later 1");
    CU_ASSERT_EQUAL(phase_of(0), VV_CHILD_RUNNING);
    CU_ASSERT_EQUAL(phase_of(2), VV_CHILD_STOPPED);
    SAYS(tell(VV_EVENT_TURN, 1), "stop 0");
    SAYS(ends(0, SHUTDOWN), "start 0");
}

static void the_retry_of_a_rest_leaves_those_before_alone(void)
{
    kit_open(VV_REST_FOR_ONE, 3);
    kit_bring_up(4);
    fails(1);
    ends(3, SHUTDOWN);
    ends(2, SHUTDOWN);
    is_up(1);

    SAYS(fails(2), "start_error 2, later 2");
    SAYS(tell(VV_EVENT_TURN, 2), "start 2");
    SAYS(is_up(2), "start 3");
}

static void t_res_16_terminating_a_restarting_child_ends_its_loop(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);
    fails(1);
    fails(1);

    SAYS(tell(VV_EVENT_REMOVE, 1), "");
    SAYS(tell(VV_EVENT_TURN, 1), "");
    CU_ASSERT_EQUAL(phase_of(1), VV_CHILD_STOPPED);
}

static void t_res_16_in_a_rest_the_siblings_after_it_stay_stopped(void)
{
    open_three(VV_REST_FOR_ONE, VIVERO_PERMANENT);
    fails(1);
    ends(2, SHUTDOWN);
    fails(1);

    SAYS(tell(VV_EVENT_REMOVE, 1), "");
    SAYS(tell(VV_EVENT_TURN, 1), "");
    CU_ASSERT_EQUAL(phase_of(2), VV_CHILD_STOPPED);
}

static void t_res_16_a_dynamic_child_that_restarts_can_be_terminated(void)
{
    kit_open(VV_DYNAMIC, 3);
    kit_add(0, 1);
    fails(0);
    fails(0);

    SAYS(tell(VV_EVENT_REMOVE, 0), "drop 0");
}

/* ---- Budget ----------------------------------------------------------------------- */

static void t_res_05_spaced_failures_go_on_two_close_ones_end_it(void)
{
    struct vv_decide_options options = kit_options(VV_ONE_FOR_ONE, 1);

    options.period_ns = SECOND;
    kit_open_with(&options);
    kit_bring_up(1);
    for (uint32_t i = 0; i < 100; i++) {
        pass(2100 * VIVERO_MILLISECONDS(1));
        SAYS(fails(0), "ended 0, start 0");
        is_up(0);
    }
    SAYS(fails(0), "ended 0, give_up 0, down");
}

static void a_restart_exactly_a_period_old_counts(void)
{
    kit_open(VV_ONE_FOR_ONE, 1);
    kit_bring_up(1);
    fails(0);
    is_up(0);
    pass(KIT_PERIOD);

    SAYS(fails(0), "ended 0, give_up 0, down");
}

static void t_res_06_one_more_than_the_intensity_ends_it_in_reverse(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);
    for (uint32_t i = 0; i < 3; i++) {
        SAYS(fails(1), "ended 1, start 1");
        is_up(1);
    }

    SAYS(fails(1), "ended 1, give_up 1, stop 2");
    SAYS(ends(2, SHUTDOWN), "stop 0");
    SAYS(ends(0, SHUTDOWN), "down");
}

static void an_intensity_of_zero_gives_up_at_once(void)
{
    kit_open(VV_ONE_FOR_ONE, 0);
    kit_bring_up(1);

    SAYS(fails(0), "ended 0, give_up 0, down");
}

static void a_child_with_a_budget_of_its_own_is_quarantined(void)
{
    kit_open(VV_ONE_FOR_ALL, 1);
    kit_own_budget(1, 0);
    kit_bring_up(3);

    SAYS(fails(1), "ended 1, quarantine 1");
    CU_ASSERT_EQUAL(phase_of(0), VV_CHILD_RUNNING);
    CU_ASSERT_EQUAL(phase_of(1), VV_CHILD_STOPPED);
    CU_ASSERT_EQUAL(kit.decide.shared.count, 0);
}

static void one_in_quarantine_stays_there_when_its_group_restarts(void)
{
    kit_open(VV_ONE_FOR_ALL, 1);
    kit_own_budget(1, 0);
    kit_bring_up(3);
    fails(1);
    fails(0);
    SAYS(ends(2, SHUTDOWN), "start 0");

    SAYS(is_up(0), "start 2");
}

static void one_in_quarantine_can_be_started_by_hand(void)
{
    kit_open(VV_ONE_FOR_ONE, 1);
    kit_own_budget(0, 1);
    kit_bring_up(1);
    fails(0);
    is_up(0);
    fails(0);

    SAYS(tell(VV_EVENT_ADD, 0), "start 0");
    is_up(0);
    SAYS(fails(0), "ended 0, start 0");
}

static void a_delay_puts_off_the_whole_step_of_a_group(void)
{
    kit_open(VV_ONE_FOR_ALL, 9);
    kit.policies[0].backoff_ns = SECOND;
    kit.policies[0].backoff_max_ns = SECOND;
    kit_bring_up(2);
    fails(0);
    ends(1, SHUTDOWN);
    is_up(0);
    is_up(1);

    SAYS(fails(0), "ended 0");
    CU_ASSERT_EQUAL(phase_of(1), VV_CHILD_RUNNING);
    SAYS(pass(SECOND), "later 0");
    SAYS(tell(VV_EVENT_TURN, 0), "stop 1");
    CU_ASSERT_EQUAL(kit.decide.shared.count, 2);
}

/* ---- Shutdown ---------------------------------------------------------------------- */

static void children_stop_in_reverse_each_when_the_last_is_down(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);

    SAYS(tell_all(VV_EVENT_STOP), "stop 2");
    SAYS(ends(2, SHUTDOWN), "stop 1");
    SAYS(ends(1, SHUTDOWN), "stop 0");
    SAYS(ends(0, SHUTDOWN), "down");
}

static void dynamic_children_are_told_all_at_once(void)
{
    kit_open(VV_DYNAMIC, 3);
    kit_add(0, 3);

    SAYS(tell_all(VV_EVENT_STOP), "stop 2, stop 1, stop 0");
    SAYS(pass(5 * SECOND - 1), "");
    pass(1);
    CU_ASSERT_EQUAL(strlen(kit.said), strlen("kill 2, kill 1, kill 0"));
    SAYS(ends(1, KILLED), "shutdown_error 1, drop 1");
    SAYS(ends(0, KILLED), "shutdown_error 0, drop 0");
    SAYS(ends(2, KILLED), "shutdown_error 2, drop 2, down");
}

static void t_shd_01_an_infinite_shutdown_is_waited_for(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit.policies[0].shutdown_ns = VIVERO_FOREVER;
    kit_bring_up(1);

    tell_all(VV_EVENT_STOP);
    SAYS(pass(INT64_MAX / 4), "");
    SAYS(ends(0, SHUTDOWN), "down");
}

static void t_shd_02_past_its_time_it_is_killed_and_reported(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);
    tell_all(VV_EVENT_STOP);

    SAYS(pass(5 * SECOND), "kill 2");
    SAYS(ends(2, KILLED), "shutdown_error 2, stop 1");
}

static void a_shutdown_of_no_time_asks_first_and_kills_at_once(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit.policies[0].shutdown_ns = 0;
    kit_bring_up(1);

    SAYS(tell_all(VV_EVENT_STOP), "stop 0");
    SAYS(pass(0), "kill 0");
}

static void t_shd_04_a_brutal_kill_does_not_ask(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit.policies[0].shutdown_ns = VIVERO_BRUTAL_KILL;
    kit_bring_up(1);

    SAYS(tell_all(VV_EVENT_STOP), "kill 0");
    SAYS(ends(0, KILLED), "down");
}

static void t_shd_06_each_child_is_stopped_in_its_own_way(void)
{
    kit_open(VV_DYNAMIC, 3);
    kit.policies[0].shutdown_ns = VIVERO_BRUTAL_KILL;
    kit.policies[1].shutdown_ns = SECOND;
    kit.policies[2].shutdown_ns = VIVERO_FOREVER;
    kit_add(0, 3);

    SAYS(tell_all(VV_EVENT_STOP), "stop 2, stop 1, kill 0");
    SAYS(pass(SECOND), "kill 1");
    SAYS(pass(100 * SECOND), "");
}

static void t_shd_09_a_terminated_child_is_not_restarted(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit.policies[1].shutdown_ns = VIVERO_BRUTAL_KILL;
    kit_bring_up(2);

    SAYS(tell(VV_EVENT_REMOVE, 0), "stop 0");
    CU_ASSERT_TRUE(vv_decide_is_busy(&kit.decide));
    SAYS(ends(0, SHUTDOWN), "");
    SAYS(tell(VV_EVENT_REMOVE, 1), "kill 1");
    SAYS(ends(1, KILLED), "");
}

/* How one ends that was asked to, and whether that is an error. */
static const char *stopped_with(enum vivero_restart restart,
                                int64_t shutdown_ns,
                                enum vivero_exit_kind reason)
{
    const char *said;

    kit_open(VV_ONE_FOR_ONE, 3);
    kit.policies[0].restart = restart;
    kit.policies[0].shutdown_ns = shutdown_ns;
    kit_bring_up(1);
    tell_all(VV_EVENT_STOP);
    said = ends(0, reason);
    vv_decide_fini(&kit.decide);
    return said;
}

static void which_endings_are_clean(void)
{
    const int64_t asked = SECOND;
    const int64_t brutal = VIVERO_BRUTAL_KILL;

    SAYS(stopped_with(VIVERO_PERMANENT, asked, SHUTDOWN), "down");
    SAYS(stopped_with(VIVERO_PERMANENT, asked, NORMAL),
         "shutdown_error 0, down");
    SAYS(stopped_with(VIVERO_PERMANENT, asked, SHUTDOWN_WITH),
         "shutdown_error 0, down");
    SAYS(stopped_with(VIVERO_TRANSIENT, asked, NORMAL), "down");
    SAYS(stopped_with(VIVERO_TRANSIENT, asked, SHUTDOWN_WITH), "down");
    SAYS(stopped_with(VIVERO_TRANSIENT, asked, KILLED),
         "shutdown_error 0, down");
    SAYS(stopped_with(VIVERO_TRANSIENT, asked, VIVERO_EXIT_FAILED),
         "shutdown_error 0, down");
    SAYS(stopped_with(VIVERO_PERMANENT, brutal, KILLED), "down");
    SAYS(stopped_with(VIVERO_PERMANENT, brutal, NORMAL),
         "shutdown_error 0, down");
    SAYS(stopped_with(VIVERO_TRANSIENT, brutal, NORMAL), "down");
    SAYS(stopped_with(VIVERO_TRANSIENT, brutal, VIVERO_EXIT_FAILED),
         "shutdown_error 0, down");
    kit_open(VV_CREW, 0);
}

static void a_stop_interrupts_the_first_start(void)
{
    kit_open(VV_ONE_FOR_ONE, 3);
    kit_attach(0, 3);
    tell_all(VV_EVENT_OPEN);
    is_up(0);

    SAYS(tell_all(VV_EVENT_STOP), "stop 1");
    SAYS(is_up(1), "");
    SAYS(ends(1, SHUTDOWN), "stop 0");
    SAYS(ends(0, SHUTDOWN), "down");
}

static void a_stop_interrupts_a_group_restart(void)
{
    open_three(VV_ONE_FOR_ALL, VIVERO_PERMANENT);
    fails(1);

    SAYS(tell_all(VV_EVENT_STOP), "");
    SAYS(ends(2, SHUTDOWN), "stop 0");
    SAYS(ends(0, SHUTDOWN), "down");
}

/* ---- Significant children ------------------------------------------------------------ */

static void open_significant(enum vivero_auto_shutdown when,
                             enum vivero_restart restart)
{
    struct vv_decide_options options = kit_options(VV_ONE_FOR_ONE, 3);

    options.auto_shutdown = when;
    kit_open_with(&options);
    for (uint32_t i = 1; i < 3; i++) {
        kit.policies[i].significant = true;
        kit.policies[i].restart = restart;
    }
    kit_bring_up(3);
}

static void any_significant_one_that_ends_is_the_end(void)
{
    open_significant(VIVERO_AUTO_ANY_SIGNIFICANT, VIVERO_TRANSIENT);

    SAYS(ends(1, NORMAL), "auto 1, stop 2");
    SAYS(ends(2, SHUTDOWN), "stop 0");
    SAYS(ends(0, SHUTDOWN), "down");
}

static void the_last_of_all_significant_ones_is_the_end(void)
{
    open_significant(VIVERO_AUTO_ALL_SIGNIFICANT, VIVERO_TRANSIENT);

    SAYS(ends(1, NORMAL), "");
    SAYS(ends(2, NORMAL), "auto 2, stop 0");
}

static void one_that_restarts_counts_among_all_significant_ones(void)
{
    open_significant(VIVERO_AUTO_ALL_SIGNIFICANT, VIVERO_TRANSIENT);
    fails(2);
    fails(2);

    SAYS(ends(1, NORMAL), "");
}

static void a_significant_temporary_one_is_the_end_for_any_reason(void)
{
    open_significant(VIVERO_AUTO_ANY_SIGNIFICANT, VIVERO_TEMPORARY);

    SAYS(fails(1), "ended 1, auto 1, drop 1, stop 2");
}

static void a_restart_is_no_end(void)
{
    open_significant(VIVERO_AUTO_ANY_SIGNIFICANT, VIVERO_TRANSIENT);

    SAYS(fails(1), "ended 1, start 1");
}

static void being_terminated_is_no_end(void)
{
    open_significant(VIVERO_AUTO_ANY_SIGNIFICANT, VIVERO_TRANSIENT);

    tell(VV_EVENT_REMOVE, 1);
    SAYS(ends(1, SHUTDOWN), "");
}

static void being_taken_down_with_its_group_is_no_end(void)
{
    struct vv_decide_options options = kit_options(VV_ONE_FOR_ALL, 3);

    options.auto_shutdown = VIVERO_AUTO_ANY_SIGNIFICANT;
    kit_open_with(&options);
    kit.policies[1].significant = true;
    kit.policies[1].restart = VIVERO_TRANSIENT;
    kit_bring_up(2);

    fails(0);
    SAYS(ends(1, SHUTDOWN), "start 0");
}

static void never_means_never(void)
{
    open_significant(VIVERO_AUTO_NEVER, VIVERO_TEMPORARY);

    SAYS(ends(1, NORMAL), "drop 1");
    SAYS(ends(2, NORMAL), "drop 2");
}

/* ---- On request --------------------------------------------------------------------- */

static void a_start_on_request_that_fails_is_not_kept(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);
    kit_attach(3, 4);

    SAYS(tell(VV_EVENT_ADD, 3), "start 3");
    SAYS(fails(3), "start_error 3, refuse 3, drop 3");
    CU_ASSERT_EQUAL(vv_decide_count(&kit.decide), 3);
}

static void t_sup_06_a_restart_on_request_that_fails_stays_stopped(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);
    tell(VV_EVENT_REMOVE, 1);
    ends(1, SHUTDOWN);
    tell(VV_EVENT_ADD, 1);

    SAYS(fails(1), "start_error 1, refuse 1");
    CU_ASSERT_EQUAL(phase_of(1), VV_CHILD_STOPPED);
    CU_ASSERT_EQUAL(kit.decide.shared.count, 0);
}

static void a_dynamic_start_that_fails_is_not_kept(void)
{
    kit_open(VV_DYNAMIC, 3);
    kit_attach(0, 1);
    tell(VV_EVENT_ADD, 0);

    SAYS(fails(0), "start_error 0, refuse 0, drop 0");
    CU_ASSERT_EQUAL(vv_decide_count(&kit.decide), 0);
}

static void a_temporary_child_that_is_terminated_is_forgotten(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_TEMPORARY);

    tell(VV_EVENT_REMOVE, 1);
    SAYS(ends(1, SHUTDOWN), "drop 1");
}

static void a_detached_child_is_in_no_round(void)
{
    open_three(VV_ONE_FOR_ONE, VIVERO_PERMANENT);
    tell(VV_EVENT_REMOVE, 1);
    ends(1, SHUTDOWN);
    vv_decide_detach(&kit.decide, &kit.children[1]);

    SAYS(tell_all(VV_EVENT_STOP), "stop 2");
    SAYS(ends(2, SHUTDOWN), "stop 0");
}

SUITE_MAIN("decide_rows", NULL, kit_close,
           TEST(children_start_in_order_each_when_the_last_is_up),
           TEST(a_supervisor_without_children_is_up_at_once),
           TEST(t_sup_02_an_ignored_child_is_kept_unless_it_is_temporary),
           TEST(t_sup_05_a_first_start_that_fails_stops_those_before_it),
           TEST(a_first_start_without_resources_has_failed_too),
           TEST(a_group_restart_without_resources_is_tried_again),
           TEST(a_start_that_takes_too_long_is_killed_and_has_failed),
           TEST(t_res_01_a_permanent_child_restarts_whatever_the_reason),
           TEST(t_res_02_a_transient_child_restarts_only_after_a_failure),
           TEST(t_res_03_a_temporary_child_is_forgotten),
           TEST(temporary_children_never_touch_the_budget),
           TEST(t_res_08_one_for_one_starts_the_failed_one_only),
           TEST(t_res_09_one_for_all_stops_in_reverse_and_starts_in_order),
           TEST(one_for_all_starts_children_that_were_stopped_before),
           TEST(t_res_04_a_group_restart_removes_temporary_siblings),
           TEST(a_temporary_first_child_is_removed_by_a_group_restart),
           TEST(t_res_11_rest_for_one_restarts_it_and_those_after),
           TEST(rest_for_one_of_the_last_child_restarts_it_alone),
           TEST(t_res_13_a_dynamic_child_restarts_alone_on_a_common_budget),
           TEST(a_dynamic_child_that_ignores_its_restart_is_dropped),
           TEST(a_group_restart_costs_one_unit),
           TEST(one_that_ends_during_a_group_restart_has_its_turn_after),
           TEST(one_that_ends_in_its_group_before_it_is_stopped_is_down),
           TEST(t_res_07_each_attempt_costs_a_unit_and_waits_its_turn),
           TEST(a_success_in_between_keeps_it_alive),
           TEST(the_retry_of_a_group_is_for_the_one_that_did_not_start),
           TEST(the_retry_of_a_rest_leaves_those_before_alone),
           TEST(t_res_16_terminating_a_restarting_child_ends_its_loop),
           TEST(t_res_16_in_a_rest_the_siblings_after_it_stay_stopped),
           TEST(t_res_16_a_dynamic_child_that_restarts_can_be_terminated),
           TEST(t_res_05_spaced_failures_go_on_two_close_ones_end_it),
           TEST(a_restart_exactly_a_period_old_counts),
           TEST(t_res_06_one_more_than_the_intensity_ends_it_in_reverse),
           TEST(an_intensity_of_zero_gives_up_at_once),
           TEST(a_child_with_a_budget_of_its_own_is_quarantined),
           TEST(one_in_quarantine_stays_there_when_its_group_restarts),
           TEST(one_in_quarantine_can_be_started_by_hand),
           TEST(a_delay_puts_off_the_whole_step_of_a_group),
           TEST(children_stop_in_reverse_each_when_the_last_is_down),
           TEST(dynamic_children_are_told_all_at_once),
           TEST(t_shd_01_an_infinite_shutdown_is_waited_for),
           TEST(t_shd_02_past_its_time_it_is_killed_and_reported),
           TEST(a_shutdown_of_no_time_asks_first_and_kills_at_once),
           TEST(t_shd_04_a_brutal_kill_does_not_ask),
           TEST(t_shd_06_each_child_is_stopped_in_its_own_way),
           TEST(t_shd_09_a_terminated_child_is_not_restarted),
           TEST(which_endings_are_clean),
           TEST(a_stop_interrupts_the_first_start),
           TEST(a_stop_interrupts_a_group_restart),
           TEST(any_significant_one_that_ends_is_the_end),
           TEST(the_last_of_all_significant_ones_is_the_end),
           TEST(one_that_restarts_counts_among_all_significant_ones),
           TEST(a_significant_temporary_one_is_the_end_for_any_reason),
           TEST(a_restart_is_no_end), TEST(being_terminated_is_no_end),
           TEST(being_taken_down_with_its_group_is_no_end),
           TEST(never_means_never),
           TEST(a_start_on_request_that_fails_is_not_kept),
           TEST(t_sup_06_a_restart_on_request_that_fails_stays_stopped),
           TEST(a_dynamic_start_that_fails_is_not_kept),
           TEST(a_temporary_child_that_is_terminated_is_forgotten),
           TEST(a_detached_child_is_in_no_round))
