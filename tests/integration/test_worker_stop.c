/* SPDX-License-Identifier: MIT */
/* How workers on their own end: what stop answers, when terminate is called,
 * that destroy always is. */
#include <vivero/vivero.h>

#include "tests/integration/worker_ends.h"
#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

/* ---- vivero_worker_stop() ------------------------------------------------------------ */

static void t_gs_11_stop_is_normal_unless_said_otherwise(void)
{
    struct vivero_ref ref = start(false);

    CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, VIVERO_FOREVER), VIVERO_OK);
    CU_ASSERT_FALSE(vivero_is_alive(ref));
    CU_ASSERT_EQUAL(ended(ref, 1).kind, VIVERO_EXIT_NORMAL);
}

static void t_gs_11_the_reason_of_a_stop_is_the_reason_of_the_end(void)
{
    const struct vivero_exit reasons[] = {
        vivero_reason(VIVERO_EXIT_SHUTDOWN, 0, NULL),
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 17, "spring cleaning"),
        vivero_reason(VIVERO_EXIT_FAILED, 18, "because")};

    for (int traps = 0; traps < 2; traps++) {
        for (int i = 0; i < 3; i++) {
            struct vivero_ref ref = start(traps != 0);
            struct vivero_monitor monitor;
            struct vivero_info info;
            struct vivero_exit exit;

            CU_ASSERT_EQUAL(vivero_monitor(ref, &monitor), VIVERO_OK);
            CU_ASSERT_EQUAL(vivero_worker_stop(ref, &reasons[i], CREW_PATIENCE),
                            VIVERO_OK);
            exit = ended(ref, 1);
            CU_ASSERT_EQUAL(exit.kind, reasons[i].kind);
            CU_ASSERT_EQUAL(exit.code, reasons[i].code);
            CU_ASSERT_STRING_EQUAL(exit.text, reasons[i].text);
            info = solo_receive();
            CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
            CU_ASSERT_EQUAL(info.exit.kind, reasons[i].kind);
            CU_ASSERT_EQUAL(info.exit.code, reasons[i].code);
        }
    }
}

static void t_gs_11_a_stop_of_nobody_is_gone(void)
{
    struct vivero_ref nobody = {0, 0};
    struct vivero_ref ref = start(false);

    CU_ASSERT(solo_stop(ref));
    CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, CREW_PATIENCE),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_worker_stop(nobody, NULL, CREW_PATIENCE),
                    VIVERO_E_GONE);
}

static void t_gs_11_a_stop_that_times_out_still_ends_it(void)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 6, NULL);
    struct vivero_ref ref = start(false);

    CU_ASSERT(solo_hold(ref, &gate));
    CU_ASSERT_EQUAL(vivero_worker_stop(ref, &why, VIVERO_MILLISECONDS(20)),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_is_alive(ref));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 0);
    gate_open(&gate);
    CU_ASSERT_EQUAL(ended(ref, 1).code, 6);
}

static void t_gs_11_a_stop_goes_before_queued_messages(void)
{
    struct vivero_ref ref = start(false);
    int value = 0;

    CU_ASSERT(solo_hold(ref, &gate));
    CU_ASSERT_EQUAL(vivero_worker_cast(ref, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, 0), VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 0);
    (void)ended(ref, 1);
}

static int fails_at_gate(struct vivero_self *self, void *arg)
{
    (void)arg;
    gate_pass(&gate);
    return vivero_fail(self, 71, "first");
}

static void t_gs_11_a_stop_of_one_that_ends_otherwise_is_down(void)
{
    struct vivero_ref ref = start(false);
    struct solo_stopper stopper = {.to = ref, .timeout_ns = CREW_PATIENCE};

    CU_ASSERT_EQUAL(solo_order(ref, fails_at_gate, NULL), 0);
    CU_ASSERT(gate_await(&gate, 1));
    solo_stopper_start(&stopper);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(20));
    gate_open(&gate);
    solo_stopper_join(&stopper);
    CU_ASSERT(stopper.result == VIVERO_E_DOWN ||
              stopper.result == VIVERO_E_GONE);
    CU_ASSERT(stopper.result == VIVERO_E_GONE || stopper.exit.code == 71);
    CU_ASSERT_EQUAL(ended(ref, 1).code, 71);
}

static void terminate_jumps(struct vivero_self *self, void *payload,
                            const struct vivero_exit *reason, void *ctx)
{
    solo_terminate(self, payload, reason, ctx);
    vivero_exit(72, "in terminate");
}

static void its_own_failure_in_terminate_replaces_the_reason(void)
{
    struct vivero_ref ref =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .terminate = terminate_jumps));
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vivero_monitor(ref, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, CREW_PATIENCE),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 72);
    CU_ASSERT_EQUAL(ended(ref, 1).kind, VIVERO_EXIT_NORMAL);

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(info.exit.code, 72);
}

static void two_stops_at_once_both_end(void)
{
    for (int i = 0; i < 100; i++) {
        struct vivero_ref ref = start(false);
        struct solo_stopper other = {.to = ref, .timeout_ns = CREW_PATIENCE};

        solo_stopper_start(&other);

        int mine = vivero_worker_stop(ref, NULL, CREW_PATIENCE);

        solo_stopper_join(&other);
        CU_ASSERT(mine == VIVERO_OK || other.result == VIVERO_OK);
        CU_ASSERT(mine == VIVERO_OK || mine == VIVERO_E_GONE ||
                  mine == VIVERO_E_DOWN);
        (void)ended(ref, 1);
    }
}

SUITE_MAIN("worker_stop", set_up, tear_down,
           TEST(t_gs_11_stop_is_normal_unless_said_otherwise),
           TEST(t_gs_11_the_reason_of_a_stop_is_the_reason_of_the_end),
           TEST(t_gs_11_a_stop_of_nobody_is_gone),
           TEST(t_gs_11_a_stop_that_times_out_still_ends_it),
           TEST(t_gs_11_a_stop_goes_before_queued_messages),
           TEST(t_gs_11_a_stop_of_one_that_ends_otherwise_is_down),
           TEST(its_own_failure_in_terminate_replaces_the_reason),
           TEST(two_stops_at_once_both_end))
