/* SPDX-License-Identifier: MIT */
/* Full mailboxes of workers on their own: each policy does what it says, and
 * what is not a message still passes. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#include <string.h>

#define DEPTH 2

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;
static struct vivero_ref worker;

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    CU_ASSERT(solo_attach());
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(solo_end(worker));
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

static int note(int value)
{
    return vivero_worker_cast(worker, &solo_note, &value, NULL);
}

/* A busy worker whose mailbox is full of the notes 1 and 2. */
static void start_full(enum vivero_full call, enum vivero_full cast)
{
    worker = solo_start(SOLO_OPTIONS(.ctx = &witness, .mailbox_depth = DEPTH,
                                     .full_call = call, .full_cast = cast));
    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(note(1), VIVERO_OK);
    CU_ASSERT_EQUAL(note(2), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_look(worker).worker.queued, DEPTH);
}

/* Let it go on, and see which notes it handled. */
static void expect_notes(const int *values, uint32_t count)
{
    gate_open(&gate);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, count));
    while (vivero_worker_call(worker, &crew_nothing, NULL, NULL, NULL) ==
           VIVERO_E_FULL) {
    }
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), count);
    for (uint32_t i = 0; i < count; i++) {
        CU_ASSERT_EQUAL(witness_sight(&witness, SAW_HANDLED, i).value,
                        values[i]);
    }
}

static int call_note(int value, int64_t timeout_ns)
{
    return vivero_worker_call(worker, &solo_note, &value, NULL,
                              VIVERO_SEND(.timeout_ns = timeout_ns));
}

static void t_x_01_reject_answers_full_at_once(void)
{
    const int notes[] = {1, 2};

    start_full(VIVERO_FULL_REJECT, VIVERO_FULL_REJECT);
    CU_ASSERT_EQUAL(note(3), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(call_note(4, CREW_PATIENCE), VIVERO_E_FULL);
    expect_notes(notes, 2);
}

static void t_x_01_by_default_casts_are_rejected(void)
{
    const int notes[] = {1, 2};

    start_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_DEFAULT);
    CU_ASSERT_EQUAL(note(3), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(vivero_tell(worker, 1, NULL, 0), VIVERO_E_FULL);
    expect_notes(notes, 2);
}

static void t_x_01_wait_waits_until_the_deadline(void)
{
    const int notes[] = {1, 2};
    int64_t began = vivero_now();

    start_full(VIVERO_FULL_WAIT, VIVERO_FULL_WAIT);
    CU_ASSERT_EQUAL(call_note(3, VIVERO_MILLISECONDS(30)), VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_now() - began >= VIVERO_MILLISECONDS(30));
    expect_notes(notes, 2);
}

static void t_x_01_wait_waits_for_room(void)
{
    const int notes[] = {1, 2, 3};
    int three = 3;
    struct solo_caller caller = {.operation = &solo_note, .in = &three};

    start_full(VIVERO_FULL_WAIT, VIVERO_FULL_WAIT);
    caller.to = worker;
    solo_caller_start(&caller);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(20));
    expect_notes(notes, 3);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
}

static void t_x_01_who_waits_for_room_is_told_of_the_end(void)
{
    int three = 3;
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);
    struct solo_caller caller = {.operation = &solo_note, .in = &three};

    start_full(VIVERO_FULL_WAIT, VIVERO_FULL_WAIT);
    caller.to = worker;
    solo_caller_start(&caller);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(20));
    CU_ASSERT_EQUAL(vivero_signal(worker, &kill), VIVERO_OK);
    gate_open(&gate);
    solo_caller_join(&caller);
    CU_ASSERT(caller.result == VIVERO_E_GONE || caller.result == VIVERO_E_DOWN);
}

static void t_x_01_drop_oldest_makes_room(void)
{
    const int notes[] = {3, 4};

    start_full(VIVERO_FULL_DROP_OLDEST, VIVERO_FULL_DROP_OLDEST);
    CU_ASSERT_EQUAL(note(3), VIVERO_OK);
    CU_ASSERT_EQUAL(note(4), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_look(worker).worker.queued, DEPTH);
    expect_notes(notes, 2);
}

static void t_x_01_the_caller_of_the_oldest_is_answered_full(void)
{
    int zero = 0;
    struct solo_caller caller = {.operation = &solo_note, .in = &zero};

    worker = solo_start(SOLO_OPTIONS(.ctx = &witness, .mailbox_depth = 1,
                                     .full_cast = VIVERO_FULL_DROP_OLDEST));
    CU_ASSERT(solo_hold(worker, &gate));
    caller.to = worker;
    solo_caller_start(&caller);
    CU_ASSERT(solo_await_queued(worker, 1));
    CU_ASSERT_EQUAL(note(5), VIVERO_OK);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_FULL);

    const int notes[] = {5};

    expect_notes(notes, 1);
}

static void t_x_01_drop_newest_drops_what_comes(void)
{
    const int notes[] = {1, 2};

    start_full(VIVERO_FULL_DROP_NEWEST, VIVERO_FULL_DROP_NEWEST);
    CU_ASSERT_EQUAL(note(3), VIVERO_OK);
    CU_ASSERT_EQUAL(call_note(4, CREW_PATIENCE), VIVERO_E_FULL);
    expect_notes(notes, 2);
}

/* In a worker a cast does not wait for room. */
static int casts_note(struct vivero_self *self, void *arg)
{
    int value = 9;

    (void)self;
    return vivero_worker_cast(*(struct vivero_ref *)arg, &solo_note, &value,
                              NULL);
}

static void a_cast_in_a_handler_does_not_wait(void)
{
    struct vivero_ref other = solo_start(NULL);

    start_full(VIVERO_FULL_WAIT, VIVERO_FULL_WAIT);
    CU_ASSERT_EQUAL(solo_ask(other, casts_note, &worker), VIVERO_E_FULL);
    CU_ASSERT(solo_stop(other));
}

/* ---- What still passes ------------------------------------------------------------- */

static void t_x_01_a_full_one_can_be_stopped(void)
{
    struct solo_stopper stopper = {.timeout_ns = CREW_PATIENCE};

    start_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_DEFAULT);
    stopper.to = worker;
    solo_stopper_start(&stopper);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(20));
    gate_open(&gate);
    solo_stopper_join(&stopper);
    CU_ASSERT_EQUAL(stopper.result, VIVERO_OK);
}

static void t_x_01_a_full_one_can_be_killed(void)
{
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

    start_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_DEFAULT);
    CU_ASSERT_EQUAL(vivero_signal(worker, &kill), VIVERO_OK);
    gate_open(&gate);
    CU_ASSERT(solo_await_end(worker));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 0);
}

static int monitors(struct vivero_self *self, void *arg)
{
    struct vivero_monitor monitor;

    (void)self;
    (void)vivero_trap_exits(true);
    return vivero_monitor(*(struct vivero_ref *)arg, &monitor) == VIVERO_OK
               ? vivero_link(*(struct vivero_ref *)arg)
               : -1;
}

static void t_x_01_ends_and_signals_reach_a_full_one(void)
{
    const struct vivero_exit why = vivero_reason(VIVERO_EXIT_SHUTDOWN, 0, NULL);
    struct vivero_ref target = solo_start(NULL);

    worker = solo_start(SOLO_OPTIONS(.ctx = &witness, .mailbox_depth = DEPTH));
    CU_ASSERT_EQUAL(solo_ask(worker, monitors, &target), VIVERO_OK);
    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(note(1), VIVERO_OK);
    CU_ASSERT_EQUAL(note(2), VIVERO_OK);
    CU_ASSERT_EQUAL(note(3), VIVERO_E_FULL);
    CU_ASSERT(solo_stop(target));
    CU_ASSERT_EQUAL(vivero_signal(worker, &why), VIVERO_OK);
    gate_open(&gate);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 3));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 2);
}

static void t_x_01_a_full_one_can_be_suspended_and_looked_at(void)
{
    struct solo solo;

    worker = solo_start(SOLO_OPTIONS(.ctx = &witness, .mailbox_depth = DEPTH));
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(note(1), VIVERO_OK);
    CU_ASSERT_EQUAL(note(2), VIVERO_OK);
    CU_ASSERT_EQUAL(note(3), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(
        vivero_worker_get_state(worker, &solo, sizeof(solo), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, 2));
}

/* Many more senders than room: nothing is lost, nothing is done twice. */
#define SENDERS 4
#define NOTES 300

struct sender {
    pthread_t thread;
    int failures;
};

static void *sends_notes(void *arg)
{
    struct sender *sender = arg;

    for (int i = 0; i < NOTES; i++) {
        int value = i;

        sender->failures += vivero_worker_call(worker, &solo_note, &value, NULL,
                                               NULL) != VIVERO_OK;
    }
    return NULL;
}

static void waiting_senders_all_get_through(void)
{
    struct sender sender[SENDERS];

    worker = solo_start(SOLO_OPTIONS(.ctx = &witness, .mailbox_depth = 1,
                                     .call_timeout_ns = CREW_PATIENCE));
    memset(sender, 0, sizeof(sender));
    for (int i = 0; i < SENDERS; i++) {
        pthread_create(&sender[i].thread, NULL, sends_notes, &sender[i]);
    }
    for (int i = 0; i < SENDERS; i++) {
        pthread_join(sender[i].thread, NULL);
        CU_ASSERT_EQUAL(sender[i].failures, 0);
    }
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), SENDERS * NOTES);
}

SUITE_MAIN("worker_full", set_up, tear_down,
           TEST(t_x_01_reject_answers_full_at_once),
           TEST(t_x_01_by_default_casts_are_rejected),
           TEST(t_x_01_wait_waits_until_the_deadline),
           TEST(t_x_01_wait_waits_for_room),
           TEST(t_x_01_who_waits_for_room_is_told_of_the_end),
           TEST(t_x_01_drop_oldest_makes_room),
           TEST(t_x_01_the_caller_of_the_oldest_is_answered_full),
           TEST(t_x_01_drop_newest_drops_what_comes),
           TEST(a_cast_in_a_handler_does_not_wait),
           TEST(t_x_01_a_full_one_can_be_stopped),
           TEST(t_x_01_a_full_one_can_be_killed),
           TEST(t_x_01_ends_and_signals_reach_a_full_one),
           TEST(t_x_01_a_full_one_can_be_suspended_and_looked_at),
           TEST(waiting_senders_all_get_through))
