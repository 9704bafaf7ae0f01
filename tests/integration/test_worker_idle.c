/* SPDX-License-Identifier: MIT */
/* The idle time-out of workers on their own. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#define SHORT VIVERO_MILLISECONDS(20)
#define LONG VIVERO_SECONDS(100)

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

/* ---- The idle time-out -------------------------------------------------------------- */

static int wants_idle(struct vivero_self *self, void *arg)
{
    vivero_idle_timeout(self, *(const int64_t *)arg);
    return VIVERO_OK;
}

static uint32_t timeouts(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < witness_count(&witness, SAW_INFO); i++) {
        count +=
            witness_sight(&witness, SAW_INFO, i).info == VIVERO_INFO_TIMEOUT;
    }
    return count;
}

static void it_is_told_once_when_nothing_comes(void)
{
    int64_t timeout = SHORT;
    int64_t began = vivero_now();

    CU_ASSERT_EQUAL(solo_ask(worker, wants_idle, &timeout), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT(vivero_now() - began >= SHORT);
    crew_await_time(vivero_now() + 3 * SHORT);
    CU_ASSERT_EQUAL(timeouts(), 1);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_INFO), 1);
}

static void any_message_ends_the_wait(void)
{
    int64_t timeout = VIVERO_MILLISECONDS(150);
    int value = 0;

    CU_ASSERT_EQUAL(solo_ask(worker, wants_idle, &timeout), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL(solo_ask(worker, wants_idle, &timeout), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_tell(worker, 1, NULL, 0), VIVERO_OK);
    crew_await_time(vivero_now() + 2 * timeout);
    CU_ASSERT_EQUAL(timeouts(), 0);
}

/* Looking at it and holding it up is no message. */
static void system_requests_do_not_end_the_wait(void)
{
    int64_t timeout = VIVERO_MILLISECONDS(100);
    struct solo solo;

    CU_ASSERT_EQUAL(solo_ask(worker, wants_idle, &timeout), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_worker_get_state(worker, &solo, sizeof(solo), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT_EQUAL(timeouts(), 1);
}

static void zero_means_if_nothing_waits_already(void)
{
    int64_t none = 0;
    int value = 1;

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(solo_order(worker, wants_idle, &none), 0);
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value, NULL), 0);
    gate_open(&gate);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, 1));
    CU_ASSERT_EQUAL(vivero_worker_call(worker, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(timeouts(), 0);

    CU_ASSERT_EQUAL(solo_ask(worker, wants_idle, &none), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT_EQUAL(timeouts(), 1);
}

static void the_new_result_decides_again(void)
{
    int64_t long_one = LONG;
    int64_t short_one = SHORT;

    CU_ASSERT_EQUAL(solo_ask(worker, wants_idle, &long_one), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_ask(worker, wants_idle, &short_one), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT_EQUAL(timeouts(), 1);
}

static int idles_again(struct vivero_self *self, const struct vivero_info *info,
                       void *ctx)
{
    vivero_idle_timeout(self, VIVERO_MILLISECONDS(1));
    return solo_info(self, info, ctx);
}

static void the_time_out_may_be_asked_for_again(void)
{
    struct vivero_ref ref =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .on_info = idles_again));

    CU_ASSERT_EQUAL(vivero_tell(ref, 1, NULL, 0), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 20));
    CU_ASSERT(solo_stop(ref));
    CU_ASSERT(timeouts() >= 19);
}

static int init_idles(struct vivero_self *self, void *payload, void *ctx)
{
    vivero_idle_timeout(self, VIVERO_MILLISECONDS(1));
    return solo_init(self, payload, ctx);
}

static void init_may_ask_for_a_time_out(void)
{
    struct vivero_ref ref =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .init = init_idles));

    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT_EQUAL(timeouts(), 1);
    CU_ASSERT(solo_stop(ref));
}

/* Suspended, it is not idle: a message that waits goes first. */
static void a_suspended_one_is_not_told_while_a_message_waits(void)
{
    int64_t timeout = SHORT;
    int value = 3;

    CU_ASSERT_EQUAL(solo_ask(worker, wants_idle, &timeout), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value, NULL), 0);
    crew_await_time(vivero_now() + 3 * SHORT);
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, 1));
    CU_ASSERT_EQUAL(timeouts(), 0);
}

SUITE_MAIN("worker_idle", set_up, tear_down,
           TEST(it_is_told_once_when_nothing_comes),
           TEST(any_message_ends_the_wait),
           TEST(system_requests_do_not_end_the_wait),
           TEST(zero_means_if_nothing_waits_already),
           TEST(the_new_result_decides_again),
           TEST(the_time_out_may_be_asked_for_again),
           TEST(init_may_ask_for_a_time_out),
           TEST(a_suspended_one_is_not_told_while_a_message_waits))
