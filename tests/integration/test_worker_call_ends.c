/* SPDX-License-Identifier: MIT */
/* What callers are told when a worker on its own ends. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;
static struct vivero_ref worker;

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    worker = solo_start(SOLO_OPTIONS(.ctx = &witness));
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(solo_end(worker));
}

/* ---- Ends while callers wait --------------------------------------------------------- */

static void t_gs_03_the_running_call_is_down_with_the_reason(void)
{
    struct fail_in in = {23, "broken"};

    CU_ASSERT_EQUAL(vivero_worker_call(worker, &crew_fail, &in, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 23);
    CU_ASSERT_STRING_EQUAL(vivero_last_exit()->text, "broken");
    CU_ASSERT(solo_await_end(worker));
}

#define CALLERS 5

/* The first call fails, those behind it never begin. */
static void t_gs_03_each_queued_call_is_down_with_the_reason(void)
{
    struct fail_in fail = {24, "all of you"};
    int value = 0;
    struct solo_caller caller[CALLERS];

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &crew_fail, &fail, NULL), 0);
    for (int i = 0; i < CALLERS; i++) {
        caller[i] = (struct solo_caller){
            .to = worker, .operation = &solo_note, .in = &value};
        solo_caller_start(&caller[i]);
    }
    CU_ASSERT(solo_await_queued(worker, CALLERS + 1));
    gate_open(&gate);
    for (int i = 0; i < CALLERS; i++) {
        solo_caller_join(&caller[i]);
        CU_ASSERT_EQUAL(caller[i].result, VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(caller[i].reason.kind, VIVERO_EXIT_FAILED);
        CU_ASSERT_EQUAL(caller[i].reason.code, 24);
    }
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 0);
}

static void t_gs_03_normal_and_shutdown_pass_through_too(void)
{
    const enum vivero_exit_kind kinds[] = {VIVERO_EXIT_NORMAL,
                                           VIVERO_EXIT_SHUTDOWN};

    for (int i = 0; i < 2; i++) {
        const struct vivero_exit reason = vivero_reason(kinds[i], 0, NULL);
        int value = 0;
        struct solo_stopper stopper = {.reason = &reason,
                                       .timeout_ns = CREW_PATIENCE};
        struct solo_caller caller = {.operation = &crew_echo, .in = &value};

        if (!vivero_is_alive(worker)) {
            worker = solo_start(SOLO_OPTIONS(.ctx = &witness));
        }
        stopper.to = worker;
        caller.to = worker;
        CU_ASSERT(solo_hold(worker, &gate));
        solo_caller_start(&caller);
        CU_ASSERT(solo_await_queued(worker, 1));
        solo_stopper_start(&stopper);
        gate_open(&gate);
        solo_stopper_join(&stopper);
        solo_caller_join(&caller);
        /* The message may have run before the stop was there. */
        CU_ASSERT_EQUAL(stopper.result, VIVERO_OK);
        CU_ASSERT(
            caller.result == VIVERO_OK ||
            (caller.result == VIVERO_E_DOWN && caller.reason.kind == kinds[i]));
    }
}

static int stops_with_reply(struct vivero_self *self, const void *in, void *out)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 8, "done");

    (void)in;
    *(int *)out = 88;
    return vivero_stop(self, &why);
}

static int stops_without_reply(struct vivero_self *self, const void *in,
                               void *out)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 9, "done");

    (void)in;
    *(int *)out = 99;
    return vivero_stop(self, &why) == VIVERO_STOP ? VIVERO_STOP_NO_REPLY : -1;
}

static const struct vivero_operation stop_with_reply = {
    .name = "stop", .run = stops_with_reply, .out_size = sizeof(int)};
static const struct vivero_operation stop_without_reply = {
    .name = "stop", .run = stops_without_reply, .out_size = sizeof(int)};

/* When the reply is there, terminate has been seen. */
static void t_gs_03_a_reply_with_a_stop_comes_after_terminate(void)
{
    int out = 0;

    CU_ASSERT_EQUAL(
        vivero_worker_call(worker, &stop_with_reply, NULL, &out, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 1);
    CU_ASSERT_EQUAL(out, 88);
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_TERMINATE, 0).exit.code, 8);
    CU_ASSERT(solo_await_end(worker));
}

static void terminate_fails(struct vivero_self *self, void *payload,
                            const struct vivero_exit *reason, void *ctx)
{
    (void)self;
    (void)payload;
    (void)reason;
    (void)ctx;
    vivero_exit(66, "in terminate");
}

static void t_gs_03_the_reply_comes_even_when_terminate_fails(void)
{
    int out = 0;

    CU_ASSERT(solo_stop(worker));
    worker =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .terminate = terminate_fails));
    CU_ASSERT_EQUAL(
        vivero_worker_call(worker, &stop_with_reply, NULL, &out, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(out, 88);
    CU_ASSERT(solo_await_end(worker));
}

static void t_gs_03_a_stop_without_reply_is_down_with_the_reason(void)
{
    int out = 5;

    CU_ASSERT_EQUAL(
        vivero_worker_call(worker, &stop_without_reply, NULL, &out, NULL),
        VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(out, 5);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_SHUTDOWN_WITH);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 9);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 1);
}

static int answers_positive(struct vivero_self *self, void *arg)
{
    (void)self;
    return *(int *)arg;
}

static void t_gs_02_a_bad_value_ends_it(void)
{
    int value = 4711;

    CU_ASSERT_EQUAL(solo_ask(worker, answers_positive, &value), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 4711);
    CU_ASSERT_FALSE(vivero_exit_is_clean(vivero_last_exit()));
    CU_ASSERT(solo_await_end(worker));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 1);
}

static void t_gs_02_halt_replies_and_ends_normally(void)
{
    int value = VIVERO_HALT;

    CU_ASSERT_EQUAL(solo_ask(worker, answers_positive, &value), VIVERO_OK);
    CU_ASSERT(solo_await_end(worker));
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_TERMINATE, 0).exit.kind,
                    VIVERO_EXIT_NORMAL);
}

static void t_gs_02_a_handler_that_leaves_its_thread_ends_it(void)
{
    CU_ASSERT_EQUAL(vivero_worker_call(worker, &crew_leave, NULL, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_THREAD_LEFT);
    CU_ASSERT(solo_await_end(worker));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 1);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 1);
}

SUITE_MAIN("worker_call_ends", set_up, tear_down,
           TEST(t_gs_03_the_running_call_is_down_with_the_reason),
           TEST(t_gs_03_each_queued_call_is_down_with_the_reason),
           TEST(t_gs_03_normal_and_shutdown_pass_through_too),
           TEST(t_gs_03_a_reply_with_a_stop_comes_after_terminate),
           TEST(t_gs_03_the_reply_comes_even_when_terminate_fails),
           TEST(t_gs_03_a_stop_without_reply_is_down_with_the_reason),
           TEST(t_gs_02_a_bad_value_ends_it),
           TEST(t_gs_02_halt_replies_and_ends_normally),
           TEST(t_gs_02_a_handler_that_leaves_its_thread_ends_it))
