/* SPDX-License-Identifier: MIT */
/* What happens when children end by themselves. */
#include <vivero/supervisor.h>

#include "tests/lib/eventually.h"
#include "tests/lib/fake_child.h"
#include "tests/lib/suite.h"

#include <stdatomic.h>

#define LONG VIVERO_SECONDS(20)

static struct vivero_ref supervisor;
static struct fake a;
static struct fake b;
static struct fake c;
static struct vivero_child_spec spec_a;
static struct vivero_child_spec spec_b;
static struct vivero_child_spec spec_c;
static atomic_int gave_up;

static void note_gave_up(struct vivero_ref ref,
                         const struct vivero_exit *reason, void *ctx)
{
    (void)ref;
    (void)ctx;
    atomic_store(&gave_up, (int)reason->kind);
}

static void set_up(void)
{
    fake_reset();
    supervisor = (struct vivero_ref){0, 0};
    a = (struct fake){.name = "a"};
    b = (struct fake){.name = "b"};
    c = (struct fake){.name = "c"};
    spec_a = fake_spec(&a);
    spec_b = fake_spec(&b);
    spec_c = fake_spec(&c);
    atomic_store(&gave_up, 0);
}

static void tear_down(void)
{
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
}

static int start_three(enum vivero_strategy strategy, int32_t intensity)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.strategy = strategy, .intensity = intensity,
                                  .on_gave_up = note_gave_up,
                                  VIVERO_CHILDREN(&spec_a, &spec_b, &spec_c)),
        &supervisor, NULL);
}

static int start_dynamic(int32_t intensity)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC,
                                  .intensity = intensity,
                                  .on_gave_up = note_gave_up),
        &supervisor, NULL);
}

/* After all that was told it before. */
static struct vivero_child_counts counts(void)
{
    struct vivero_child_counts counted = {0};

    (void)vivero_supervisor_count_children(supervisor, &counted, LONG);
    return counted;
}

static struct vivero_child_info info_of(const char *id)
{
    struct vivero_child_info info = {.state = (enum vivero_child_state) - 1};

    (void)vivero_supervisor_which_child(supervisor, id, &info, LONG);
    return info;
}

static bool is_gone(void *ctx)
{
    (void)ctx;
    return !vivero_is_alive(supervisor);
}

static bool ends(void)
{
    return eventually(is_gone, NULL, LONG);
}

/* It ends for a reason, and whether it has been restarted, under a new
 * reference. */
static bool restarts_after(const struct fake *fake, enum vivero_exit_kind kind)
{
    struct vivero_ref old = fake_ref(fake);
    int starts = fake_starts(fake);

    fake_end(fake, kind);
    (void)counts();
    CU_ASSERT_FALSE(vivero_is_alive(old));
    return fake_starts(fake) > starts &&
           !vivero_ref_equal(fake_ref(fake), old) &&
           vivero_is_alive(fake_ref(fake));
}

/* ---- Restart types --------------------------------------------------------------- */

static const enum vivero_exit_kind clean[] = {
    VIVERO_EXIT_NORMAL, VIVERO_EXIT_SHUTDOWN, VIVERO_EXIT_SHUTDOWN_WITH};

static void t_res_01_a_permanent_child_restarts_whatever_the_reason(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_UNLIMITED),
                          VIVERO_OK);

    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(restarts_after(&b, clean[i]));
    }
    CU_ASSERT_TRUE(restarts_after(&b, VIVERO_EXIT_FAILED));
    CU_ASSERT_TRUE(restarts_after(&b, VIVERO_EXIT_KILLED));
    CU_ASSERT_EQUAL(info_of("b").restarts, 5);
}

static void t_res_02_a_transient_child_restarts_only_after_a_failure(void)
{
    spec_b.restart = VIVERO_TRANSIENT;
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_UNLIMITED),
                          VIVERO_OK);

    CU_ASSERT_TRUE(restarts_after(&b, VIVERO_EXIT_FAILED));
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_FALSE(restarts_after(&b, clean[i]));
        CU_ASSERT_EQUAL(info_of("b").state, VIVERO_CHILD_STOPPED);
        CU_ASSERT_EQUAL(
            vivero_supervisor_restart_child(supervisor, "b", LONG, NULL),
            VIVERO_OK);
    }
}

static void t_res_03_a_temporary_child_never_restarts_and_is_forgotten(void)
{
    spec_a.restart = VIVERO_TEMPORARY;
    spec_b.restart = VIVERO_TEMPORARY;
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_NONE),
                          VIVERO_OK);

    CU_ASSERT_FALSE(restarts_after(&a, VIVERO_EXIT_FAILED));
    CU_ASSERT_FALSE(restarts_after(&b, VIVERO_EXIT_NORMAL));

    CU_ASSERT_EQUAL(counts().specs, 1);
    CU_ASSERT_TRUE(vivero_is_alive(supervisor));
}

static void t_res_04_a_sibling_restart_removes_a_temporary_bystander(void)
{
    spec_b.restart = VIVERO_TEMPORARY;
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ALL, 3), VIVERO_OK);

    fake_end(&c, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(fake_said("start a, start b, start c, stop b, stop a, "
                             "start a, start c"));
    CU_ASSERT_EQUAL(counts().specs, 2);
}

/* ---- Budget ------------------------------------------------------------------------- */

static void t_res_05_two_close_failures_end_it_spaced_ones_do_not(void)
{
    const int64_t period = VIVERO_MILLISECONDS(1);

    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.intensity = 1, .period_ns = period,
                                      VIVERO_CHILDREN(&spec_a)),
            &supervisor, NULL),
        VIVERO_OK);
    for (int i = 0; i < 10; i++) {
        int64_t until;

        CU_ASSERT_TRUE(restarts_after(&a, VIVERO_EXIT_FAILED));
        until = vivero_now() + 2 * period;
        while (vivero_now() <= until) {
            eventually_nap();
        }
    }
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, 1), VIVERO_OK);
    CU_ASSERT_TRUE(restarts_after(&a, VIVERO_EXIT_FAILED));
    fake_end(&a, VIVERO_EXIT_FAILED);
    CU_ASSERT_TRUE(ends());
}

static void t_res_06_one_failure_more_than_the_intensity_ends_it(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, 0), VIVERO_OK);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_TRUE(restarts_after(&b, VIVERO_EXIT_FAILED));
    }
    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(ends());
    CU_ASSERT_STRING_EQUAL(fake_journal(),
                           "start a, start b, start c, start b, start b, "
                           "start b, stop c, stop a");
    CU_ASSERT_EQUAL(atomic_load(&gave_up), VIVERO_EXIT_SHUTDOWN);
}

static void t_res_07_restarts_that_fail_count(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, 2), VIVERO_OK);
    fake_set_fails(&b, 2);
    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(ends());
    CU_ASSERT_STRING_EQUAL(fake_journal(),
                           "start a, start b, start c, start b, start b, "
                           "stop c, stop a");
}

static void t_res_07_a_success_in_between_keeps_it_alive(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, 3), VIVERO_OK);
    fake_set_fails(&b, 2);
    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(fake_started(&b, 4));
    CU_ASSERT_EQUAL(info_of("b").state, VIVERO_CHILD_RUNNING);
}

static void a_child_with_a_budget_of_its_own_is_quarantined(void)
{
    spec_b.intensity = 1;
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_NONE),
                          VIVERO_OK);

    CU_ASSERT_TRUE(restarts_after(&b, VIVERO_EXIT_FAILED));
    CU_ASSERT_FALSE(restarts_after(&b, VIVERO_EXIT_FAILED));

    CU_ASSERT_EQUAL(info_of("b").state, VIVERO_CHILD_QUARANTINED);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "b", LONG, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(info_of("b").state, VIVERO_CHILD_RUNNING);
}

static void a_second_restart_in_a_row_waits_for_its_backoff(void)
{
    const int64_t delay = VIVERO_MILLISECONDS(40);
    int64_t begin;

    spec_b.backoff_ns = delay;
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_UNLIMITED),
                          VIVERO_OK);
    CU_ASSERT_TRUE(restarts_after(&b, VIVERO_EXIT_FAILED));
    begin = vivero_now();

    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_EQUAL(info_of("b").state, VIVERO_CHILD_RESTARTING);
    CU_ASSERT_TRUE(fake_started(&b, 3));
    CU_ASSERT(vivero_now() - begin >= delay - delay / 4);
}

/* ---- Strategies ------------------------------------------------------------------------ */

static void t_res_08_one_for_one_leaves_the_others_alone(void)
{
    struct vivero_ref ref_a;

    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, 3), VIVERO_OK);
    ref_a = fake_ref(&a);

    CU_ASSERT_TRUE(restarts_after(&b, VIVERO_EXIT_FAILED));

    CU_ASSERT_TRUE(vivero_ref_equal(ref_a, fake_ref(&a)));
    CU_ASSERT_TRUE(vivero_is_alive(ref_a));
}

static void t_res_08_one_for_one_escalates(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_NONE),
                          VIVERO_OK);
    fake_end(&a, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(ends());
}

static void t_res_09_one_for_all_restarts_all_in_order(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ALL, 3), VIVERO_OK);
    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(fake_said("start a, start b, start c, stop c, stop a, "
                             "start a, start b, start c"));
    CU_ASSERT_EQUAL(counts().active, 3);
}

static void t_res_11_rest_for_one_restarts_it_and_those_after(void)
{
    struct vivero_ref ref_a;

    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_REST_FOR_ONE, 3), VIVERO_OK);
    ref_a = fake_ref(&a);
    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(
        fake_said("start a, start b, start c, stop c, start b, start c"));
    CU_ASSERT_TRUE(vivero_ref_equal(ref_a, fake_ref(&a)));
}

static void t_res_13_dynamic_children_share_one_budget(void)
{
    CU_ASSERT_EQUAL_FATAL(start_dynamic(2), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_a, LONG, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_b, LONG, NULL),
        VIVERO_OK);
    CU_ASSERT_TRUE(restarts_after(&a, VIVERO_EXIT_FAILED));
    CU_ASSERT_TRUE(restarts_after(&b, VIVERO_EXIT_FAILED));
    fake_end(&a, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(ends());
    CU_ASSERT_EQUAL(atomic_load(&gave_up), VIVERO_EXIT_SHUTDOWN);
}

static void a_dynamic_child_that_ends_for_good_is_forgotten(void)
{
    spec_a.restart = VIVERO_TRANSIENT;
    CU_ASSERT_EQUAL_FATAL(start_dynamic(2), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_a, LONG, NULL),
        VIVERO_OK);

    fake_end(&a, VIVERO_EXIT_NORMAL);

    CU_ASSERT_EQUAL(counts().specs, 0);
}

/* ---- Restart storms ---------------------------------------------------------------------- */

static void begin_storm(const struct fake *fake)
{
    fake_set_fails((struct fake *)(uintptr_t)fake, INT32_MAX);
    fake_end(fake, VIVERO_EXIT_FAILED);
    CU_ASSERT_TRUE(fake_started(fake, 10));
}

static void t_res_16_a_restart_storm_leaves_room_for_calls(void)
{
    struct vivero_child_info info[3];
    size_t count = 0;

    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_UNLIMITED),
                          VIVERO_OK);
    begin_storm(&b);

    CU_ASSERT_EQUAL(
        vivero_supervisor_which_children(supervisor, info, 3, &count, LONG),
        VIVERO_OK);
    CU_ASSERT_EQUAL(info[1].state, VIVERO_CHILD_RESTARTING);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "b", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(info_of("b").state, VIVERO_CHILD_STOPPED);
}

static void t_res_16_in_a_rest_those_after_it_stay_stopped(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_REST_FOR_ONE, VIVERO_UNLIMITED),
                          VIVERO_OK);
    begin_storm(&b);

    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "b", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(info_of("c").state, VIVERO_CHILD_STOPPED);
    CU_ASSERT_EQUAL(info_of("a").state, VIVERO_CHILD_RUNNING);
}

static void t_res_16_a_dynamic_child_stops_by_its_old_reference(void)
{
    struct vivero_ref child;

    CU_ASSERT_EQUAL_FATAL(start_dynamic(VIVERO_UNLIMITED), VIVERO_OK);
    spec_a.backoff_ns = VIVERO_SECONDS(1000);
    spec_a.backoff_max_ns = VIVERO_SECONDS(1000);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_a, LONG, &child),
        VIVERO_OK);
    CU_ASSERT_TRUE(restarts_after(&a, VIVERO_EXIT_FAILED));
    child = fake_ref(&a);
    fake_end(&a, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(counts().specs, 1);

    CU_ASSERT_EQUAL(vivero_supervisor_terminate_ref(supervisor, child, LONG),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(counts().specs, 0);
}

static void a_deleted_child_leaves_its_restart_storm(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_UNLIMITED),
                          VIVERO_OK);
    begin_storm(&b);
    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "b", LONG),
                    VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "b", LONG),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "b", LONG),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(counts().specs, 2);
}

static void a_restart_on_request_of_one_that_is_restarting_is_refused(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(VIVERO_ONE_FOR_ONE, VIVERO_UNLIMITED),
                          VIVERO_OK);
    begin_storm(&b);

    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "b", LONG, NULL),
        VIVERO_E_AGAIN);
}

/* ---- Significant children ------------------------------------------------------------------ */

static void any_significant_child_that_ends_ends_the_supervisor(void)
{
    spec_b.restart = VIVERO_TRANSIENT;
    spec_b.significant = true;
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.auto_shutdown =
                                          VIVERO_AUTO_ANY_SIGNIFICANT,
                                      VIVERO_CHILDREN(&spec_a, &spec_b,
                                                      &spec_c)),
            &supervisor, NULL),
        VIVERO_OK);

    fake_end(&b, VIVERO_EXIT_NORMAL);

    CU_ASSERT_TRUE(ends());
    CU_ASSERT_STRING_EQUAL(fake_journal(),
                           "start a, start b, start c, stop c, stop a");
}

SUITE_MAIN("supervisor_restart", set_up, tear_down,
           TEST(t_res_01_a_permanent_child_restarts_whatever_the_reason),
           TEST(t_res_02_a_transient_child_restarts_only_after_a_failure),
           TEST(t_res_03_a_temporary_child_never_restarts_and_is_forgotten),
           TEST(t_res_04_a_sibling_restart_removes_a_temporary_bystander),
           TEST(t_res_05_two_close_failures_end_it_spaced_ones_do_not),
           TEST(t_res_06_one_failure_more_than_the_intensity_ends_it),
           TEST(t_res_07_restarts_that_fail_count),
           TEST(t_res_07_a_success_in_between_keeps_it_alive),
           TEST(a_child_with_a_budget_of_its_own_is_quarantined),
           TEST(a_second_restart_in_a_row_waits_for_its_backoff),
           TEST(t_res_08_one_for_one_leaves_the_others_alone),
           TEST(t_res_08_one_for_one_escalates),
           TEST(t_res_09_one_for_all_restarts_all_in_order),
           TEST(t_res_11_rest_for_one_restarts_it_and_those_after),
           TEST(t_res_13_dynamic_children_share_one_budget),
           TEST(a_dynamic_child_that_ends_for_good_is_forgotten),
           TEST(t_res_16_a_restart_storm_leaves_room_for_calls),
           TEST(t_res_16_in_a_rest_those_after_it_stay_stopped),
           TEST(t_res_16_a_dynamic_child_stops_by_its_old_reference),
           TEST(a_deleted_child_leaves_its_restart_storm),
           TEST(a_restart_on_request_of_one_that_is_restarting_is_refused),
           TEST(any_significant_child_that_ends_ends_the_supervisor))
