/* SPDX-License-Identifier: MIT */
/* Calls and casts to workers on their own. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#include <string.h>

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

static int call_int(const struct vivero_operation *operation, int in, int *out)
{
    return vivero_worker_call(worker, operation, &in, out, NULL);
}

/* ---- Answers ------------------------------------------------------------------ */

static void t_gs_03_a_call_is_answered(void)
{
    int out = 0;

    CU_ASSERT_EQUAL(call_int(&crew_echo, 17, &out), VIVERO_OK);
    CU_ASSERT_EQUAL(out, 17);
}

static void t_gs_03_a_negative_number_is_the_result_and_it_lives_on(void)
{
    CU_ASSERT_EQUAL(call_int(&crew_answer, -5, NULL), -5);
    CU_ASSERT_EQUAL(call_int(&crew_answer, -6, NULL), -6);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 0);
}

static void s3_2_a_counter_counts(void)
{
    int zero = 0;
    int minus = -1;
    int value = 0;
    const struct solo ten = {&witness, 10};

    CU_ASSERT_EQUAL(
        vivero_worker_replace_state(worker, &ten, sizeof(ten), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_add, &minus, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_add, &minus, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_call(worker, &solo_add, &zero, &value, NULL),
                    0);
    CU_ASSERT_EQUAL(value, 8);
}

struct big {
    unsigned char bytes[5000];
};

static int turn_round(struct vivero_self *self, const void *in, void *out)
{
    const struct big *from = in;
    struct big *to = out;

    (void)self;
    for (size_t i = 0; i < sizeof(*from); i++) {
        to->bytes[i] = from->bytes[sizeof(*from) - 1 - i];
    }
    return VIVERO_OK;
}

static const struct vivero_operation turn_operation = {
    .name = "turn_round",
    .run = turn_round,
    .in_size = sizeof(struct big),
    .out_size = sizeof(struct big)};

static void big_arguments_and_replies_arrive_whole(void)
{
    static struct big in;
    static struct big out;
    bool right = true;

    for (size_t i = 0; i < sizeof(in); i++) {
        in.bytes[i] = (unsigned char)(i * 7);
    }
    CU_ASSERT_EQUAL(
        vivero_worker_call(worker, &turn_operation, &in, &out, NULL),
        VIVERO_OK);
    for (size_t i = 0; i < sizeof(in); i++) {
        right = right && out.bytes[i] == in.bytes[sizeof(in) - 1 - i];
    }
    CU_ASSERT(right);
}

static int sum_big(struct vivero_self *self, const void *in, void *out)
{
    const struct big *big = in;
    struct solo *solo = vivero_payload(self);

    (void)out;
    for (size_t i = 0; i < sizeof(*big); i++) {
        solo->value += big->bytes[i];
    }
    return VIVERO_OK;
}

static const struct vivero_operation sum_operation = {
    .name = "sum", .run = sum_big, .in_size = sizeof(struct big)};

static void big_casts_arrive_whole(void)
{
    static struct big in;
    int value = 0;

    memset(in.bytes, 1, sizeof(in.bytes));
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &sum_operation, &in, NULL), 0);
    CU_ASSERT_EQUAL(call_int(&solo_add, 0, &value), VIVERO_OK);
    CU_ASSERT_EQUAL(value, 5000);
}

/* ---- Order -------------------------------------------------------------------- */

static void t_gs_06_a_call_sees_what_casts_before_it_did(void)
{
    int one = 1;

    for (int i = 1; i <= 500; i++) {
        int value = 0;

        CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_add, &one, NULL), 0);
        CU_ASSERT_EQUAL(call_int(&solo_add, 0, &value), VIVERO_OK);
        CU_ASSERT_EQUAL(value, i);
    }
}

static void t_gs_06_casts_calls_and_tells_keep_their_order(void)
{
    int value = 1;

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value, NULL), 0);
    value = 2;
    CU_ASSERT_EQUAL(vivero_tell(worker, 9, &value, sizeof(value)), 0);
    value = 3;
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value, NULL), 0);
    gate_open(&gate);
    CU_ASSERT_EQUAL(call_int(&solo_note, 4, NULL), VIVERO_OK);

    const enum sight_kind kinds[] = {SAW_INIT, SAW_HANDLED, SAW_INFO,
                                     SAW_HANDLED, SAW_HANDLED};

    CU_ASSERT(witness_saw(&witness, kinds, 5));
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_INFO, 0).value, 2);
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_HANDLED, 2).value, 4);
}

static void t_gs_06_a_cast_does_not_wait_for_the_handler(void)
{
    int value = 0;

    CU_ASSERT(solo_hold(worker, &gate));
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(vivero_worker_cast(worker, &crew_echo, &value, NULL),
                        0);
    }
    CU_ASSERT_EQUAL(solo_look(worker).worker.queued, 100);
}

/* ---- Taken back ------------------------------------------------------------------ */

static void a_queued_cast_can_be_taken_back(void)
{
    struct vivero_message message = {0, 0};
    int value = 1;

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value,
                                       VIVERO_SEND(.message = &message)),
                    0);
    CU_ASSERT_EQUAL(vivero_worker_cancel(worker, message), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_cancel(worker, message), VIVERO_E_GONE);
    gate_open(&gate);
    CU_ASSERT_EQUAL(call_int(&solo_note, 2, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 1);
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_HANDLED, 0).value, 2);
}

static void the_caller_of_what_is_taken_back_is_answered_cancelled(void)
{
    struct vivero_message message = {0, 0};
    struct vivero_send send = *VIVERO_SEND(.message = &message);
    int value = 1;
    struct solo_caller caller = {
        .to = worker, .operation = &solo_note, .in = &value, .send = &send};

    CU_ASSERT(solo_hold(worker, &gate));
    solo_caller_start(&caller);
    CU_ASSERT(solo_await_queued(worker, 1));
    CU_ASSERT_EQUAL(vivero_worker_cancel(worker, message), VIVERO_OK);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_CANCELLED);
}

static void what_has_begun_cannot_be_taken_back(void)
{
    struct vivero_message message = {0, 0};
    struct hold_in in = {&gate};

    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &crew_hold, &in,
                                       VIVERO_SEND(.message = &message)),
                    0);
    CU_ASSERT(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(vivero_worker_cancel(worker, message), VIVERO_E_GONE);
}

/* ---- Nobody there ----------------------------------------------------------------- */

static void t_gs_03_a_call_to_nobody_is_gone(void)
{
    struct vivero_ref nobody = {0, 0};
    struct vivero_ref wild = {4000000000u, 17};
    int in = 0;

    CU_ASSERT(solo_stop(worker));
    CU_ASSERT_EQUAL(call_int(&crew_echo, 0, NULL), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_worker_call(nobody, &crew_echo, &in, NULL, NULL),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_worker_call(wild, &crew_echo, &in, NULL, NULL),
                    VIVERO_E_GONE);
}

static void t_gs_06_a_cast_to_nobody_is_gone_and_harmless(void)
{
    struct vivero_ref nobody = {0, 0};
    int in = 0;

    CU_ASSERT(solo_stop(worker));
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &crew_echo, &in, NULL),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_worker_cast(nobody, &crew_echo, &in, NULL),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_tell(worker, 1, NULL, 0), VIVERO_E_GONE);
}

static void a_stale_reference_does_not_reach_the_successor(void)
{
    struct vivero_ref old = worker;

    CU_ASSERT(solo_stop(worker));
    for (int i = 0; i < 50; i++) {
        worker = solo_start(SOLO_OPTIONS(.ctx = &witness));
        CU_ASSERT_FALSE(vivero_ref_equal(old, worker));
        CU_ASSERT_FALSE(vivero_is_alive(old));
        CU_ASSERT_EQUAL(vivero_tell(old, 1, NULL, 0), VIVERO_E_GONE);
        CU_ASSERT(solo_stop(worker));
    }
}

static void an_attached_thread_takes_no_calls_it_does_not_receive(void)
{
    struct vivero_ref me;
    int in = 0;

    CU_ASSERT_EQUAL_FATAL(vivero_attach(NULL, &me), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_call(me, &crew_echo, &in, NULL, NULL),
                    VIVERO_E_DEADLOCK);
    vivero_detach(NULL);
}

/* ---- Time-outs --------------------------------------------------------------------------- */

static void t_gs_03_a_call_times_out(void)
{
    int in = 0;
    int64_t began = vivero_now();

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(
        vivero_worker_call(worker, &crew_echo, &in, NULL,
                           VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(30))),
        VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_now() - began >= VIVERO_MILLISECONDS(30));
}

static void t_gs_03_no_time_at_all_is_legal(void)
{
    int in = 0;

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(vivero_worker_call(worker, &crew_echo, &in, NULL,
                                       VIVERO_SEND(.timeout_ns = VIVERO_NONE)),
                    VIVERO_E_TIMED_OUT);
}

static int dawdles(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    gate_pass(&gate);
    memcpy(out, in, sizeof(int));
    return VIVERO_OK;
}

static const struct vivero_operation dawdle = {.name = "dawdle",
                                               .run = dawdles,
                                               .in_size = sizeof(int),
                                               .out_size = sizeof(int)};

/* The handler of the first call answers when the second one waits. */
static void t_gs_04_a_late_reply_never_arrives(void)
{
    for (int i = 0; i < 20; i++) {
        int in = 1000 + i;
        int late = -1;
        int out = -1;
        struct solo_caller second = {
            .to = worker, .operation = &crew_echo, .in = &i, .out = &out};

        gate_shut(&gate);
        CU_ASSERT_EQUAL(vivero_worker_call(
                            worker, &dawdle, &in, &late,
                            VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(10))),
                        VIVERO_E_TIMED_OUT);
        CU_ASSERT(gate_await(&gate, 1));
        solo_caller_start(&second);
        CU_ASSERT(solo_await_queued(worker, 1));
        gate_open(&gate);
        solo_caller_join(&second);
        CU_ASSERT_EQUAL(second.result, VIVERO_OK);
        CU_ASSERT_EQUAL(out, i);
        CU_ASSERT_EQUAL(late, -1);
    }
}

static void t_x_04_an_expired_request_is_not_executed(void)
{
    int value = 1;

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(
        vivero_worker_call(worker, &solo_note, &value, NULL,
                           VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(5))),
        VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    value = 2;
    CU_ASSERT_EQUAL(call_int(&solo_note, 2, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 1);
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_HANDLED, 0).value, 2);
}

static void a_cast_with_a_time_out_expires_in_the_queue(void)
{
    int value = 1;

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(
        vivero_worker_cast(worker, &solo_note, &value,
                           VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(5))),
        VIVERO_OK);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(30));
    gate_open(&gate);
    CU_ASSERT_EQUAL(call_int(&solo_note, 2, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 1);
}

static void t_x_04_the_room_of_an_expired_request_is_free_at_once(void)
{
    struct vivero_ref small =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .mailbox_depth = 2,
                                .full_call = VIVERO_FULL_REJECT));
    int value = 1;

    CU_ASSERT(solo_hold(small, &gate));
    for (int i = 0; i < 20; i++) {
        /* Were the room not given back, the third would be FULL. */
        CU_ASSERT_EQUAL(vivero_worker_call(
                            small, &solo_note, &value, NULL,
                            VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(1))),
                        VIVERO_E_TIMED_OUT);
    }
    CU_ASSERT_EQUAL(vivero_worker_cast(small, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_cast(small, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_cast(small, &solo_note, &value, NULL),
                    VIVERO_E_FULL);
    gate_open(&gate);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, 2));
    CU_ASSERT(solo_stop(small));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 2);
}

SUITE_MAIN("worker_call", set_up, tear_down, TEST(t_gs_03_a_call_is_answered),
           TEST(t_gs_03_a_negative_number_is_the_result_and_it_lives_on),
           TEST(s3_2_a_counter_counts),
           TEST(big_arguments_and_replies_arrive_whole),
           TEST(big_casts_arrive_whole),
           TEST(t_gs_06_a_call_sees_what_casts_before_it_did),
           TEST(t_gs_06_casts_calls_and_tells_keep_their_order),
           TEST(t_gs_06_a_cast_does_not_wait_for_the_handler),
           TEST(a_queued_cast_can_be_taken_back),
           TEST(the_caller_of_what_is_taken_back_is_answered_cancelled),
           TEST(what_has_begun_cannot_be_taken_back),
           TEST(t_gs_03_a_call_to_nobody_is_gone),
           TEST(t_gs_06_a_cast_to_nobody_is_gone_and_harmless),
           TEST(a_stale_reference_does_not_reach_the_successor),
           TEST(an_attached_thread_takes_no_calls_it_does_not_receive),
           TEST(t_gs_03_a_call_times_out),
           TEST(t_gs_03_no_time_at_all_is_legal),
           TEST(t_gs_04_a_late_reply_never_arrives),
           TEST(t_x_04_an_expired_request_is_not_executed),
           TEST(a_cast_with_a_time_out_expires_in_the_queue),
           TEST(t_x_04_the_room_of_an_expired_request_is_free_at_once))
