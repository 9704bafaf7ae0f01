/* SPDX-License-Identifier: MIT */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

/* The first seed's Pool: workers own a number, synch adds without storing,
 * asynch stores. */
VIVERO_POOL_TYPE(seed, int);

declsynch(seed, int, synch, (int, n));
declasynch(seed, asynch, (int, n));

defsynch(seed, int, synch, (int, n))
{
    *reply = *seed_payload(self) + n;
    return VIVERO_OK;
}

defsynch(seed, int, value)
{
    *reply = *seed_payload(self);
    return VIVERO_OK;
}

defasynch(seed, asynch, (int, n))
{
    int next = *seed_payload(self) + n;

    return vivero_replace(self, &next);
}

static struct seed seeds;

static void set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(seed_open(VIVERO_POOL_OPTIONS(.workers = 2), &seeds),
                          VIVERO_OK);
}

static void tear_down(void)
{
    CU_ASSERT_EQUAL(seed_close(&seeds), VIVERO_OK);
}

static int value_of(uint32_t worker)
{
    int value = -1;

    return seed_value_with(&seeds, VIVERO_SEND(.worker = worker), &value) ==
                   VIVERO_OK
               ? value
               : -1;
}

static void adds_without_storing(void)
{
    for (int n = 1; n <= 3; n++) {
        int sum = 0;

        CU_ASSERT_EQUAL(seed_synch(&seeds, n, &sum), VIVERO_OK);
        CU_ASSERT_EQUAL(sum, n);
    }
    CU_ASSERT_EQUAL(value_of(1), 0);
    CU_ASSERT_EQUAL(value_of(2), 0);
}

static void stores_three_numbers_in_two_workers(void)
{
    for (int n = 1; n <= 3; n++) {
        CU_ASSERT_EQUAL(seed_asynch(&seeds, n), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(seed_pool(&seeds), CREW_PATIENCE),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(value_of(1) + value_of(2), 6);
}

static void counts_nothing_for_a_worker_that_handled_nothing(void)
{
    CU_ASSERT_EQUAL(seed_asynch_with(&seeds, VIVERO_SEND(.worker = 2), 6),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(value_of(2), 6);
    CU_ASSERT_EQUAL(value_of(1), 0);
}

SUITE_MAIN("define_short", set_up, tear_down, TEST(adds_without_storing),
           TEST(stores_three_numbers_in_two_workers),
           TEST(counts_nothing_for_a_worker_that_handled_nothing))
