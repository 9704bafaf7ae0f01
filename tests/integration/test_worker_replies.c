/* SPDX-License-Identifier: MIT */
/* Deferred replies of workers on their own, and calls that cannot be answered. */
#include <vivero/vivero.h>

#include "tests/lib/eventually.h"
#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#include <string.h>

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;
static struct vivero_ref worker;
static struct vivero_reply_token token;

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

/* ---- Deferred replies ------------------------------------------------------------- */

static int defers(struct vivero_self *self, const void *in, void *out)
{
    int error = vivero_reply_later(self, &token);

    (void)in;
    (void)out;
    if (error != VIVERO_OK) {
        return error;
    }
    gate_pass(&gate);
    return VIVERO_NO_REPLY;
}

static const struct vivero_operation defer = {
    .name = "defer", .run = defers, .out_size = sizeof(int)};

/* A caller whose answer is owed and whose worker is free again. */
static void start_deferred(struct solo_caller *caller, int *out)
{
    *caller =
        (struct solo_caller){.to = worker, .operation = &defer, .out = out};
    gate_shut(&gate);
    solo_caller_start(caller);
    CU_ASSERT(gate_await(&gate, 1));
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_worker_call(worker, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
}

static void t_gs_03_anybody_answers_a_deferred_call_once(void)
{
    struct solo_caller caller;
    int out = 0;
    int answer = 55;
    int again = 66;

    start_deferred(&caller, &out);
    CU_ASSERT_EQUAL(vivero_reply(token, &answer, 1), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_reply_error(token, 1), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_reply(token, &answer, sizeof(int)), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_reply(token, &again, sizeof(int)), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_reply_error(token, -3), VIVERO_E_GONE);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(out, 55);
}

static void t_gs_03_a_deferred_call_can_be_answered_by_an_error(void)
{
    struct solo_caller caller;
    int out = 0;

    start_deferred(&caller, &out);
    CU_ASSERT_EQUAL(vivero_reply_error(token, -33), VIVERO_OK);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, -33);
    CU_ASSERT_EQUAL(out, 0);
}

static int replies_for_another(struct vivero_self *self, void *arg)
{
    int answer = 77;

    (void)self;
    return vivero_reply(*(struct vivero_reply_token *)arg, &answer,
                        sizeof(answer));
}

static void t_gs_03_another_worker_may_answer(void)
{
    struct vivero_ref other = solo_start(SOLO_OPTIONS(.ctx = &witness));
    struct solo_caller caller;
    int out = 0;

    start_deferred(&caller, &out);
    CU_ASSERT_EQUAL(solo_ask(other, replies_for_another, &token), VIVERO_OK);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(out, 77);
    CU_ASSERT(solo_stop(other));
}

/* The monitor is on the worker, wherever the token has gone. */
static void t_gs_03_the_workers_end_answers_what_it_owes(void)
{
    struct fail_in fail = {12, "owing"};
    struct solo_caller caller;
    int out = 0;
    int answer = 1;

    start_deferred(&caller, &out);
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &crew_fail, &fail, NULL), 0);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(caller.reason.code, 12);
    CU_ASSERT_EQUAL(vivero_reply(token, &answer, sizeof(answer)),
                    VIVERO_E_GONE);
}

static void t_gs_03_a_normal_end_answers_what_it_owes_too(void)
{
    struct solo_caller caller;
    int out = 0;

    start_deferred(&caller, &out);
    CU_ASSERT(solo_stop(worker));
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(caller.reason.kind, VIVERO_EXIT_NORMAL);
}

static void t_gs_04_a_reply_after_the_caller_gave_up_goes_nowhere(void)
{
    int answer = 1;
    int out = 5;

    gate_open(&gate);
    CU_ASSERT_EQUAL(
        vivero_worker_call(worker, &defer, NULL, &out,
                           VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(20))),
        VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(vivero_reply(token, &answer, sizeof(answer)),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(out, 5);
}

static atomic_int later_result;

static int tries_to_defer(struct vivero_self *self, const void *in, void *out)
{
    struct vivero_reply_token unused;

    (void)in;
    (void)out;
    atomic_store(&later_result, vivero_reply_later(self, &unused));
    return VIVERO_OK;
}

static const struct vivero_operation try_defer = {.name = "try",
                                                  .run = tries_to_defer};

static void a_cast_has_no_reply_to_defer(void)
{
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &try_defer, NULL, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_call(worker, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&later_result), VIVERO_E_INVALID);
}

static int promises_nothing(struct vivero_self *self, void *arg)
{
    (void)self;
    (void)arg;
    return VIVERO_NO_REPLY;
}

static void t_gs_02_no_reply_without_a_token_is_a_bad_value(void)
{
    CU_ASSERT_EQUAL(solo_ask(worker, promises_nothing, NULL), VIVERO_E_DOWN);
    CU_ASSERT_FALSE(vivero_exit_is_clean(vivero_last_exit()));
    CU_ASSERT(solo_await_end(worker));
}

/* ---- Calls without waiting ----------------------------------------------------------- */

static void a_call_need_not_be_waited_for(void)
{
    struct vivero_future future;
    int in = 31;
    int out = 0;

    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_call_async(worker, &crew_echo, &in, NULL, &future),
        VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_future_wait(future, &out, sizeof(out), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(out, 31);
}

static void the_end_answers_a_call_that_is_not_waited_for(void)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 4, NULL);
    struct vivero_future future;
    int in = 31;
    struct solo_stopper stopper = {
        .to = worker, .reason = &why, .timeout_ns = CREW_PATIENCE};

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_call_async(worker, &crew_echo, &in, NULL, &future),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, 0), VIVERO_E_TIMED_OUT);
    solo_stopper_start(&stopper);
    gate_open(&gate);
    solo_stopper_join(&stopper);
    CU_ASSERT_EQUAL(vivero_future_wait(future, &in, sizeof(in), CREW_PATIENCE),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 4);
}

/* ---- Calls that could never be answered ---------------------------------------------------- */

static int calls_itself(struct vivero_self *self, void *arg)
{
    (void)self;
    (void)arg;
    return vivero_worker_call(vivero_current(), &crew_nothing, NULL, NULL,
                              NULL);
}

static void t_gs_15_a_call_on_itself_is_a_deadlock_at_once(void)
{
    CU_ASSERT_EQUAL(solo_ask(worker, calls_itself, NULL), VIVERO_E_DEADLOCK);
    CU_ASSERT_EQUAL(solo_ask(worker, calls_itself, NULL), VIVERO_E_DEADLOCK);
}

static int stops_itself(struct vivero_self *self, void *arg)
{
    (void)self;
    (void)arg;
    return vivero_worker_stop(vivero_current(), NULL, VIVERO_FOREVER);
}

static void t_gs_15_a_stop_of_itself_is_a_deadlock_at_once(void)
{
    CU_ASSERT_EQUAL(solo_ask(worker, stops_itself, NULL), VIVERO_E_DEADLOCK);
    CU_ASSERT(vivero_is_alive(worker));
}

static int asks_about_itself(struct vivero_self *self, void *arg)
{
    struct solo solo = {0};
    struct vivero_ref me = vivero_current();

    (void)self;
    (void)arg;
    if (vivero_worker_suspend(me, CREW_PATIENCE) != VIVERO_E_DEADLOCK ||
        vivero_worker_resume(me, CREW_PATIENCE) != VIVERO_E_DEADLOCK ||
        vivero_worker_get_state(me, &solo, sizeof(solo), CREW_PATIENCE) !=
            VIVERO_E_DEADLOCK ||
        vivero_worker_replace_state(me, &solo, sizeof(solo), CREW_PATIENCE) !=
            VIVERO_E_DEADLOCK) {
        return -1;
    }
    return VIVERO_OK;
}

static void t_gs_15_no_request_on_itself_is_waited_for(void)
{
    CU_ASSERT_EQUAL(solo_ask(worker, asks_about_itself, NULL), VIVERO_OK);
}

#define RING 3

/* Each calls the next one, when all have begun: the last one closes the ring. */
struct ring {
    struct vivero_ref member[RING];
    atomic_uint begun;
    atomic_int deadlocks;
    atomic_int others;
};

struct ring_in {
    struct ring *ring;
    uint32_t index;
};

static int calls_next(struct vivero_self *self, const void *in, void *out);
static const struct vivero_operation call_next = {
    .name = "call_next", .run = calls_next, .in_size = sizeof(struct ring_in)};

static bool all_have_begun(void *ctx)
{
    struct ring *ring = ctx;

    return atomic_load(&ring->begun) >= RING;
}

static bool all_have_ended(void *ctx)
{
    struct ring *ring = ctx;

    return atomic_load(&ring->deadlocks) + atomic_load(&ring->others) == RING;
}

static int calls_next(struct vivero_self *self, const void *in, void *out)
{
    const struct ring_in *what = in;
    struct ring *ring = what->ring;
    struct vivero_ref next = ring->member[(what->index + 1) % RING];
    int result;

    (void)self;
    (void)out;
    atomic_fetch_add(&ring->begun, 1);
    if (!eventually(all_have_begun, ring, CREW_PATIENCE)) {
        return -1;
    }
    result = vivero_worker_call(next, &crew_nothing, NULL, NULL,
                                VIVERO_SEND(.timeout_ns = CREW_PATIENCE));
    atomic_fetch_add(
        result == VIVERO_E_DEADLOCK ? &ring->deadlocks : &ring->others, 1);
    return result;
}

static void a_circle_of_calls_is_a_deadlock_for_one_of_them(void)
{
    struct ring ring;
    int64_t began = vivero_now();

    memset(&ring, 0, sizeof(ring));
    for (int i = 0; i < RING; i++) {
        ring.member[i] = solo_start(NULL);
    }
    for (uint32_t i = 0; i < RING; i++) {
        struct ring_in in = {&ring, i};

        CU_ASSERT_EQUAL(
            vivero_worker_cast(ring.member[i], &call_next, &in, NULL), 0);
    }
    CU_ASSERT(eventually(all_have_ended, &ring, CREW_PATIENCE));
    for (int i = 0; i < RING; i++) {
        CU_ASSERT(solo_stop(ring.member[i]));
    }
    CU_ASSERT_EQUAL(atomic_load(&ring.deadlocks), 1);
    CU_ASSERT_EQUAL(atomic_load(&ring.others), RING - 1);
    CU_ASSERT(vivero_now() - began < CREW_PATIENCE);
}

struct back {
    struct vivero_ref to;
    int result;
};

static int stops_another(struct vivero_self *self, void *arg)
{
    struct back *back = arg;

    (void)self;
    back->result = vivero_worker_stop(back->to, NULL, VIVERO_FOREVER);
    return VIVERO_OK;
}

/* The worker calls other, which wants to stop the worker. */
static int has_itself_stopped(struct vivero_self *self, void *arg)
{
    struct back *back = arg;
    struct vivero_ref other = back->to;

    (void)self;
    back->to = vivero_current();
    return solo_ask(other, stops_another, back);
}

static void a_stop_of_who_waits_for_the_caller_is_a_deadlock(void)
{
    struct back back = {solo_start(NULL), 0};
    struct vivero_ref other = back.to;

    CU_ASSERT_EQUAL(solo_ask(worker, has_itself_stopped, &back), VIVERO_OK);
    CU_ASSERT_EQUAL(back.result, VIVERO_E_DEADLOCK);
    CU_ASSERT(vivero_is_alive(worker));
    CU_ASSERT(solo_stop(other));
}

SUITE_MAIN("worker_replies", set_up, tear_down,
           TEST(t_gs_03_anybody_answers_a_deferred_call_once),
           TEST(t_gs_03_a_deferred_call_can_be_answered_by_an_error),
           TEST(t_gs_03_another_worker_may_answer),
           TEST(t_gs_03_the_workers_end_answers_what_it_owes),
           TEST(t_gs_03_a_normal_end_answers_what_it_owes_too),
           TEST(t_gs_04_a_reply_after_the_caller_gave_up_goes_nowhere),
           TEST(a_cast_has_no_reply_to_defer),
           TEST(t_gs_02_no_reply_without_a_token_is_a_bad_value),
           TEST(a_call_need_not_be_waited_for),
           TEST(the_end_answers_a_call_that_is_not_waited_for),
           TEST(t_gs_15_a_call_on_itself_is_a_deadlock_at_once),
           TEST(t_gs_15_a_stop_of_itself_is_a_deadlock_at_once),
           TEST(t_gs_15_no_request_on_itself_is_waited_for),
           TEST(a_circle_of_calls_is_a_deadlock_for_one_of_them),
           TEST(a_stop_of_who_waits_for_the_caller_is_a_deadlock))
