/* SPDX-License-Identifier: MIT */
/* Workers on shared threads behave like those on their own. */
#include <vivero/vivero.h>

#include "tests/integration/shared_carriers.h"
#include "tests/lib/eventually.h"
#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#define MANY 10000

/* ---- The basics ---------------------------------------------------------------- */

static void a_life_has_the_same_order(void)
{
    const enum sight_kind kinds[] = {SAW_INIT,    SAW_HANDLED,   SAW_INFO,
                                     SAW_HANDLED, SAW_TERMINATE, SAW_DESTROY};
    struct vivero_ref ref = start();
    int value = 4;

    CU_ASSERT(solo_look(ref).shares_carriers);
    CU_ASSERT_EQUAL(vivero_worker_cast(ref, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL(vivero_tell(ref, 1, NULL, 0), 0);
    CU_ASSERT_EQUAL(vivero_worker_call(ref, &solo_note, &value, NULL, NULL), 0);
    CU_ASSERT(solo_stop(ref));
    CU_ASSERT(witness_saw(&witness, kinds, 6));
}

/* A thread names itself when it first runs. */
static bool two_are_named(void *ctx)
{
    (void)ctx;
    return crew_threads_named("horses") == 2;
}

static void many_workers_start_are_called_and_stop(void)
{
    static struct vivero_ref ref[MANY];
    uint32_t started = 0;
    uint32_t answered = 0;
    uint32_t stopped = 0;
    const struct vivero_worker_options *options =
        VIVERO_WORKER_OPTIONS(.payload_size = sizeof(struct solo),
                              .carriers = carriers, .mailbox_depth = 4);

    for (int i = 0; i < MANY; i++) {
        started += vivero_worker_start(options, &ref[i]) == VIVERO_OK;
    }
    CU_ASSERT(eventually(two_are_named, NULL, CREW_PATIENCE));
    for (int i = 0; i < MANY; i++) {
        int sum = 0;

        CU_ASSERT_EQUAL(vivero_worker_cast(ref[i], &solo_add, &i, NULL), 0);
        answered += vivero_worker_call(ref[i], &solo_add, &i, &sum, NULL) ==
                        VIVERO_OK &&
                    sum == 2 * i;
    }
    for (int i = 0; i < MANY; i += 2) {
        stopped += solo_stop(ref[i]);
    }
    CU_ASSERT_EQUAL(started, MANY);
    CU_ASSERT_EQUAL(answered, MANY);
    CU_ASSERT_EQUAL(stopped, MANY / 2);
    /* The others are stopped by the close of the carriers. */
}

static void failures_are_told_as_elsewhere(void)
{
    struct fail_in fail = {21, "carried"};
    struct vivero_ref ref;
    struct vivero_info info;

    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_start_link(
            SOLO_OPTIONS(.ctx = &witness, .carriers = carriers), &ref),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_call(ref, &crew_fail, &fail, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 21);
    info = solo_receive();
    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_EXIT);
    CU_ASSERT_EQUAL(info.exit.code, 21);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 1);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 1);
}

static int jumps(struct vivero_self *self, void *arg)
{
    (void)self;
    (void)arg;
    vivero_exit(22, "jump");
}

static void a_jump_ends_the_worker_and_not_the_thread(void)
{
    for (int i = 0; i < 20; i++) {
        struct vivero_ref ref = start();

        CU_ASSERT_EQUAL(solo_ask(ref, jumps, NULL), VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(vivero_last_exit()->code, 22);
    }
    CU_ASSERT(answers(start()));
    CU_ASSERT(eventually(two_are_named, NULL, CREW_PATIENCE));
}

static void pthread_exit_in_a_handler_costs_one_worker(void)
{
    struct vivero_ref other = start();

    for (int i = 0; i < 10; i++) {
        struct vivero_ref ref = start();

        CU_ASSERT_EQUAL(vivero_worker_call(ref, &crew_leave, NULL, NULL, NULL),
                        VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_THREAD_LEFT);
        CU_ASSERT(solo_await_end(ref));
        CU_ASSERT(answers(other));
    }
}

static int init_fails(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    return -44;
}

static void a_start_may_fail(void)
{
    struct vivero_ref ref;

    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(
            vivero_worker_start(
                VIVERO_WORKER_OPTIONS(.name = "carried", .init = init_fails,
                                      .carriers = carriers, .quiet = true),
                &ref),
            -44);
        CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("carried")));
    }
}

static int init_hangs(struct vivero_self *self, void *payload, void *ctx)
{
    gate_pass(&gate);
    return solo_init(self, payload, ctx);
}

static bool none_are_abandoned(void *ctx)
{
    return vivero_abandoned_threads() == *(uint32_t *)ctx;
}

static void an_init_that_takes_too_long_is_given_up(void)
{
    struct vivero_ref ref;
    uint32_t threads = vivero_abandoned_threads();

    CU_ASSERT_EQUAL(
        vivero_worker_start(
            SOLO_OPTIONS(.ctx = &witness, .init = init_hangs, .name = "late",
                         .carriers = carriers,
                         .start_timeout_ns = VIVERO_MILLISECONDS(10)),
            &ref),
        VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("late")));
    CU_ASSERT(answers(start()));
    gate_open(&gate);
    CU_ASSERT(eventually(none_are_abandoned, &threads, CREW_PATIENCE));
    /* Less the one that answers. */
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY),
                    witness_count(&witness, SAW_INIT) - 1);
}

/* ---- Fairness, time-outs, suspension ----------------------------------------------- */

static void a_flood_to_one_does_not_starve_another(void)
{
    struct vivero_carriers *one = open_carriers(1, 1);
    struct vivero_ref flooded =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .carriers = one));
    struct vivero_ref other =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .carriers = one));
    int value = 0;

    CU_ASSERT(solo_hold(flooded, &gate));
    for (int i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(vivero_worker_cast(flooded, &solo_note, &value, NULL),
                        0);
    }
    value = -1;
    CU_ASSERT_EQUAL(vivero_worker_cast(other, &solo_note, &value, NULL), 0);
    gate_open(&gate);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, 1001));

    uint32_t when = 0;

    while (witness_sight(&witness, SAW_HANDLED, when).value != -1) {
        when++;
    }
    CU_ASSERT(when < 500);
    vivero_carriers_close(one);
}

static int wants_idle(struct vivero_self *self, void *arg)
{
    vivero_idle_timeout(self, *(const int64_t *)arg);
    return VIVERO_OK;
}

static void idle_time_outs_are_told_once(void)
{
    int64_t timeout = VIVERO_MILLISECONDS(20);
    struct vivero_ref ref = start();
    int64_t began = vivero_now();

    CU_ASSERT_EQUAL(solo_ask(ref, wants_idle, &timeout), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT(vivero_now() - began >= timeout);
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_INFO, 0).info,
                    VIVERO_INFO_TIMEOUT);
    crew_await_time(vivero_now() + 3 * timeout);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_INFO), 1);
}

static void an_idle_time_out_of_nothing_is_told_at_once(void)
{
    int64_t none = 0;

    CU_ASSERT_EQUAL(solo_ask(start(), wants_idle, &none), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
}

static void a_message_ends_the_idle_wait(void)
{
    int64_t timeout = VIVERO_MILLISECONDS(50);
    struct vivero_ref ref = start();

    CU_ASSERT_EQUAL(solo_ask(ref, wants_idle, &timeout), VIVERO_OK);
    CU_ASSERT(answers(ref));
    crew_await_time(vivero_now() + 3 * timeout);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_INFO), 0);
}

static void suspended_they_rest(void)
{
    int64_t timeout = VIVERO_MILLISECONDS(10);
    struct vivero_ref ref = start();
    int value = 1;

    CU_ASSERT_EQUAL(solo_ask(ref, wants_idle, &timeout), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_suspend(ref, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_cast(ref, &solo_note, &value, NULL), 0);
    crew_await_time(vivero_now() + 5 * timeout);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 0);
    CU_ASSERT_EQUAL(vivero_worker_resume(ref, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, 1));
    CU_ASSERT(solo_stop(ref));
}

/* ---- Open and close ------------------------------------------------------------------- */

static void close_stops_whom_it_carries_with_shutdown(void)
{
    struct vivero_carriers *own = open_carriers(2, 0);
    struct vivero_ref ref[20];
    uint32_t shutdowns = 0;

    for (int i = 0; i < 20; i++) {
        ref[i] = solo_start(SOLO_OPTIONS(.ctx = &witness, .carriers = own));
    }
    vivero_carriers_close(own);
    for (uint32_t i = 0; i < 20; i++) {
        CU_ASSERT_FALSE(vivero_is_alive(ref[i]));
        shutdowns += witness_sight(&witness, SAW_TERMINATE, i).exit.kind ==
                     VIVERO_EXIT_SHUTDOWN;
    }
    CU_ASSERT_EQUAL(shutdowns, 20);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 20);
}

static int open_with(uint32_t threads, uint32_t threads_max, size_t size)
{
    struct vivero_carriers_options options;
    struct vivero_carriers *opened;
    int error;

    vivero_carriers_options_init(&options);
    CU_ASSERT_EQUAL(options.size, sizeof(options));
    options.size = size != 0 ? size : sizeof(options);
    options.threads = threads;
    options.threads_max = threads_max;
    error = vivero_carriers_open(&options, &opened);
    if (error == VIVERO_OK) {
        vivero_carriers_close(opened);
    }
    return error;
}

static void options_out_of_range_are_invalid(void)
{
    CU_ASSERT_EQUAL(open_with(4, 3, 0), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(open_with(UINT32_MAX, 0, 0), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(open_with(1, 1, 3), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(open_with(0, 0, 0), VIVERO_OK);
    CU_ASSERT_EQUAL(open_with(3, 3, 0), VIVERO_OK);
}

SUITE_MAIN("worker_carriers", set_up, tear_down,
           TEST(a_life_has_the_same_order),
           TEST(many_workers_start_are_called_and_stop),
           TEST(failures_are_told_as_elsewhere),
           TEST(a_jump_ends_the_worker_and_not_the_thread),
           TEST(pthread_exit_in_a_handler_costs_one_worker),
           TEST(a_start_may_fail),
           TEST(an_init_that_takes_too_long_is_given_up),
           TEST(a_flood_to_one_does_not_starve_another),
           TEST(idle_time_outs_are_told_once),
           TEST(an_idle_time_out_of_nothing_is_told_at_once),
           TEST(a_message_ends_the_idle_wait), TEST(suspended_they_rest),
           TEST(close_stops_whom_it_carries_with_shutdown),
           TEST(options_out_of_range_are_invalid))
