/* SPDX-License-Identifier: MIT */
/* Workers on shared threads that wait for one another. */
#include <vivero/vivero.h>

#include "tests/integration/shared_carriers.h"
#include "tests/lib/eventually.h"
#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

/* ---- Calls between siblings ------------------------------------------------------ */

struct chain {
    struct vivero_ref *next;
    uint32_t left;
};

static int calls_along(struct vivero_self *self, void *arg);

static int calls_along(struct vivero_self *self, void *arg)
{
    const struct chain *chain = arg;
    struct chain rest = {chain->next + 1, chain->left - 1};

    (void)self;
    return chain->left == 0 ? VIVERO_OK
                            : solo_ask(*chain->next, calls_along, &rest);
}

static void siblings_on_one_carrier_call_each_other(void)
{
    struct vivero_carriers *one = open_carriers(1, 4);
    struct vivero_ref ref[3];
    struct chain chain = {ref + 1, 2};

    for (int i = 0; i < 3; i++) {
        ref[i] = solo_start(SOLO_OPTIONS(.ctx = &witness, .carriers = one));
    }
    for (int i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(solo_ask(ref[0], calls_along, &chain), VIVERO_OK);
    }
    vivero_carriers_close(one);
}

static void with_no_thread_left_to_stand_in_a_wait_is_a_deadlock(void)
{
    struct vivero_carriers *one = open_carriers(1, 2);
    struct vivero_ref ref[3];
    struct chain chain = {ref + 1, 2};

    for (int i = 0; i < 3; i++) {
        ref[i] = solo_start(SOLO_OPTIONS(.ctx = &witness, .carriers = one));
    }
    CU_ASSERT_EQUAL(solo_ask(ref[0], calls_along, &chain), VIVERO_E_DEADLOCK);
    /* One of them alone finds its thread. */
    chain.left = 1;
    CU_ASSERT_EQUAL(solo_ask(ref[0], calls_along, &chain), VIVERO_OK);
    vivero_carriers_close(one);
}

static int calls_itself(struct vivero_self *self, void *arg)
{
    (void)self;
    (void)arg;
    return vivero_worker_call(vivero_current(), &crew_nothing, NULL, NULL,
                              NULL);
}

static void a_call_on_itself_is_a_deadlock(void)
{
    CU_ASSERT_EQUAL(solo_ask(start(), calls_itself, NULL), VIVERO_E_DEADLOCK);
}

static int stops_other(struct vivero_self *self, void *arg)
{
    (void)self;
    return vivero_worker_stop(*(struct vivero_ref *)arg, NULL, CREW_PATIENCE);
}

static void one_can_stop_its_sibling(void)
{
    struct vivero_carriers *one = open_carriers(1, 2);
    struct vivero_ref first =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .carriers = one));
    struct vivero_ref second =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .carriers = one));

    CU_ASSERT_EQUAL(solo_ask(first, stops_other, &second), VIVERO_OK);
    CU_ASSERT_FALSE(vivero_is_alive(second));
    vivero_carriers_close(one);
}

/* After many threads stood in, only those that were asked for stay. */
static void threads_that_stood_in_leave_again(void)
{
    struct vivero_ref ref[6];
    struct chain chain = {ref + 1, 5};

    for (int i = 0; i < 6; i++) {
        ref[i] = start();
    }
    CU_ASSERT_EQUAL(solo_ask(ref[0], calls_along, &chain), VIVERO_OK);

    uint32_t threads = UINT32_MAX;

    for (int i = 0; i < 2000 && threads > 2; i++) {
        CU_ASSERT(answers(ref[0]));
        threads = crew_threads_named("horses");
        eventually_nap();
    }
    CU_ASSERT_EQUAL(threads, 2);
}

SUITE_MAIN("worker_siblings", set_up, tear_down,
           TEST(siblings_on_one_carrier_call_each_other),
           TEST(with_no_thread_left_to_stand_in_a_wait_is_a_deadlock),
           TEST(a_call_on_itself_is_a_deadlock), TEST(one_can_stop_its_sibling),
           TEST(threads_that_stood_in_leave_again))
