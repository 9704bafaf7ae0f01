/* SPDX-License-Identifier: MIT */
/* When terminate and destroy of a worker on its own are called. */
#include <vivero/vivero.h>

#include "tests/integration/worker_ends.h"
#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

/* ---- When terminate is called ------------------------------------------------------------- */

static int signal_of(struct vivero_ref ref, enum vivero_exit_kind kind)
{
    const struct vivero_exit reason = vivero_reason(kind, 5, "signal");

    return vivero_signal(ref, &reason);
}

static void a_signal_ends_one_that_does_not_trap_without_terminate(void)
{
    struct vivero_ref ref = start(false);

    CU_ASSERT_EQUAL(signal_of(ref, VIVERO_EXIT_SHUTDOWN), VIVERO_OK);
    (void)ended(ref, 0);
}

static void kill_calls_no_terminate_trapping_or_not(void)
{
    for (int traps = 0; traps < 2; traps++) {
        struct vivero_ref ref = start(traps != 0);
        struct vivero_monitor monitor;

        CU_ASSERT_EQUAL(vivero_monitor(ref, &monitor), VIVERO_OK);
        CU_ASSERT_EQUAL(signal_of(ref, VIVERO_EXIT_KILL), VIVERO_OK);
        (void)ended(ref, 0);
        CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_KILLED);
    }
}

static struct vivero_ref child;

static int starts_child(struct vivero_self *self, void *arg)
{
    (void)self;
    return vivero_worker_start_link(arg, &child);
}

static int sends_exit(struct vivero_self *self, void *arg)
{
    (void)self;
    return vivero_signal(child, arg);
}

/* A parent, and the child it started linked. */
static struct vivero_ref start_family(bool traps)
{
    struct vivero_worker_options options =
        *SOLO_OPTIONS(.ctx = &witness, .trap_exits = traps);
    struct vivero_ref parent =
        solo_start(VIVERO_WORKER_OPTIONS(.trap_exits = true));

    CU_ASSERT_EQUAL(solo_ask(parent, starts_child, &options), VIVERO_OK);
    return parent;
}

static void an_exit_of_its_parent_ends_one_that_traps_with_terminate(void)
{
    struct vivero_exit why = vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 61, NULL);
    struct vivero_ref parent = start_family(true);

    CU_ASSERT_EQUAL(solo_ask(parent, sends_exit, &why), VIVERO_OK);
    CU_ASSERT_EQUAL(ended(child, 1).code, 61);
    CU_ASSERT(solo_stop(parent));
}

static void an_exit_of_its_parent_ends_one_that_does_not_without(void)
{
    struct vivero_exit why = vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 61, NULL);
    struct vivero_ref parent = start_family(false);

    CU_ASSERT_EQUAL(solo_ask(parent, sends_exit, &why), VIVERO_OK);
    (void)ended(child, 0);
    CU_ASSERT(solo_stop(parent));
}

static void the_end_of_its_parent_ends_one_that_traps_with_terminate(void)
{
    struct vivero_exit why = vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 62, NULL);
    struct vivero_ref parent = start_family(true);

    CU_ASSERT_EQUAL(vivero_worker_stop(parent, &why, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(ended(child, 1).code, 62);
}

/* As the link's signal of any other it would be ignored. */
static void a_normal_end_of_its_parent_ends_one_that_traps(void)
{
    struct vivero_ref parent = start_family(true);

    CU_ASSERT(solo_stop(parent));
    CU_ASSERT_EQUAL(ended(child, 1).kind, VIVERO_EXIT_NORMAL);
}

static void an_exit_of_another_is_told_to_one_that_traps(void)
{
    struct vivero_ref parent = start_family(true);

    CU_ASSERT_EQUAL(signal_of(child, VIVERO_EXIT_SHUTDOWN), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_INFO, 0).info,
                    VIVERO_INFO_EXIT);
    CU_ASSERT(vivero_is_alive(child));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 0);
    CU_ASSERT(solo_stop(parent));
    (void)ended(child, 1);
}

static int jumps(struct vivero_self *self, void *arg)
{
    (void)self;
    (void)arg;
    vivero_exit(81, "jump");
}

static int jumps_with(struct vivero_self *self, void *arg)
{
    (void)self;
    vivero_exit_with(arg);
}

static void t_gs_02_a_failure_in_a_handler_calls_terminate(void)
{
    struct fail_in fail = {80, "fail"};

    for (int traps = 0; traps < 2; traps++) {
        struct vivero_ref ref = start(traps != 0);

        CU_ASSERT_EQUAL(vivero_worker_cast(ref, &crew_fail, &fail, NULL), 0);
        CU_ASSERT_EQUAL(ended(ref, 1).code, 80);
        ref = start(traps != 0);
        CU_ASSERT_EQUAL(solo_order(ref, jumps, NULL), 0);
        CU_ASSERT_EQUAL(ended(ref, 1).code, 81);
    }
}

static void t_gs_02_an_exit_with_a_reason_calls_terminate_with_it(void)
{
    struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 82, "why");
    struct vivero_ref ref = start(false);

    CU_ASSERT_EQUAL(solo_ask(ref, jumps_with, &why), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_SHUTDOWN_WITH);
    CU_ASSERT_EQUAL(ended(ref, 1).code, 82);
}

static int signals_itself(struct vivero_self *self, void *arg)
{
    (void)self;
    return vivero_signal(vivero_current(), arg);
}

static void t_pr_01_normal_to_itself_ends_it(void)
{
    struct vivero_exit normal = vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);
    struct vivero_ref ref = start(false);
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vivero_monitor(ref, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_ask(ref, signals_itself, &normal), VIVERO_OK);
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_NORMAL);
}

static void t_pr_01_normal_to_another_is_ignored(void)
{
    struct vivero_ref ref = start(false);
    struct vivero_ref trapping = start(true);

    CU_ASSERT_EQUAL(signal_of(ref, VIVERO_EXIT_NORMAL), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT(solo_stop(ref));
    CU_ASSERT_EQUAL(signal_of(trapping, VIVERO_EXIT_NORMAL), VIVERO_OK);
    (void)vivero_worker_call(trapping, &crew_nothing, NULL, NULL, NULL);
    CU_ASSERT(vivero_is_alive(trapping));
    CU_ASSERT(solo_stop(trapping));
}

/* ---- The payload ------------------------------------------------------------------------------ */

static int replaces_itself(struct vivero_self *self, void *arg)
{
    struct solo fresh = {arg, 2};

    return vivero_replace(self, &fresh);
}

static void destroy_runs_for_every_payload(void)
{
    const struct solo third = {&witness, 3};
    struct vivero_ref ref = start(false);

    CU_ASSERT_EQUAL(solo_ask(ref, replaces_itself, &witness), VIVERO_OK);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 1);
    CU_ASSERT_EQUAL(
        vivero_worker_replace_state(ref, &third, sizeof(third), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 2);
    CU_ASSERT(solo_stop(ref));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 3);
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_DESTROY, 1).value, 2);
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_DESTROY, 2).value, 3);
}

static void the_order_is_terminate_then_destroy(void)
{
    const enum sight_kind kinds[] = {SAW_INIT, SAW_TERMINATE, SAW_DESTROY};
    struct vivero_ref ref = start(false);

    CU_ASSERT(solo_stop(ref));
    CU_ASSERT(witness_saw(&witness, kinds, 3));
}

static struct vivero_ref found_in_terminate;
static bool alive_in_terminate;

static void terminate_looks(struct vivero_self *self, void *payload,
                            const struct vivero_exit *reason, void *ctx)
{
    struct solo *solo = payload;

    (void)self;
    (void)reason;
    (void)ctx;
    found_in_terminate = vivero_current();
    alive_in_terminate = solo->witness == &witness;
}

static void terminate_is_on_its_own_thread_with_a_whole_payload(void)
{
    struct vivero_ref ref =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .terminate = terminate_looks));

    CU_ASSERT(solo_stop(ref));
    CU_ASSERT(vivero_ref_equal(found_in_terminate, ref));
    CU_ASSERT(alive_in_terminate);
}

static void leaves(struct vivero_self *self, void *payload,
                   const struct vivero_exit *reason, void *ctx)
{
    solo_terminate(self, payload, reason, ctx);
    pthread_exit(NULL);
}

static void leaving_the_thread_in_terminate_ends_it_all_the_same(void)
{
    struct vivero_carriers *carriers;

    CU_ASSERT_EQUAL_FATAL(
        vivero_carriers_open(VIVERO_CARRIERS_OPTIONS(.threads = 1), &carriers),
        VIVERO_OK);
    for (int i = 0; i < 2; i++) {
        struct vivero_ref ref =
            solo_start(SOLO_OPTIONS(.ctx = &witness, .terminate = leaves,
                                    .carriers = i == 0 ? NULL : carriers));

        CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, CREW_PATIENCE),
                        VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_THREAD_LEFT);
        (void)ended(ref, 1);
    }
    vivero_carriers_close(carriers);
}

SUITE_MAIN("worker_terminate", set_up, tear_down,
           TEST(a_signal_ends_one_that_does_not_trap_without_terminate),
           TEST(kill_calls_no_terminate_trapping_or_not),
           TEST(an_exit_of_its_parent_ends_one_that_traps_with_terminate),
           TEST(an_exit_of_its_parent_ends_one_that_does_not_without),
           TEST(the_end_of_its_parent_ends_one_that_traps_with_terminate),
           TEST(a_normal_end_of_its_parent_ends_one_that_traps),
           TEST(an_exit_of_another_is_told_to_one_that_traps),
           TEST(t_gs_02_a_failure_in_a_handler_calls_terminate),
           TEST(t_gs_02_an_exit_with_a_reason_calls_terminate_with_it),
           TEST(t_pr_01_normal_to_itself_ends_it),
           TEST(t_pr_01_normal_to_another_is_ignored),
           TEST(destroy_runs_for_every_payload),
           TEST(the_order_is_terminate_then_destroy),
           TEST(terminate_is_on_its_own_thread_with_a_whole_payload),
           TEST(leaving_the_thread_in_terminate_ends_it_all_the_same))
