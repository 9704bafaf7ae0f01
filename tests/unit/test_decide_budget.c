/* SPDX-License-Identifier: MIT */
#include <vivero/time.h>

#include "base/hash.h"
#include "supervisor/decide.h"
#include "tests/lib/suite.h"

#define SECOND VIVERO_SECONDS(1)
#define PERIOD VIVERO_SECONDS(5)

/* ---- Budget ------------------------------------------------------------- */

static int64_t times[8];

static struct vv_budget budget_of(uint32_t intensity, int64_t period_ns)
{
    return (struct vv_budget){times, intensity, 0, 0, period_ns};
}

static void budget_allows_as_many_restarts_as_it_says(void)
{
    struct vv_budget budget = budget_of(3, PERIOD);

    CU_ASSERT_TRUE(vv_budget_spend(&budget, 100));
    CU_ASSERT_TRUE(vv_budget_spend(&budget, 100));
    CU_ASSERT_TRUE(vv_budget_spend(&budget, 100));
    CU_ASSERT_FALSE(vv_budget_spend(&budget, 100));
}

static void budget_counts_a_restart_that_is_exactly_a_period_old(void)
{
    struct vv_budget budget = budget_of(1, PERIOD);

    CU_ASSERT_TRUE(vv_budget_spend(&budget, 100));
    CU_ASSERT_FALSE(vv_budget_spend(&budget, 100 + PERIOD));
}

static void budget_forgets_a_restart_older_than_the_period(void)
{
    struct vv_budget budget = budget_of(1, PERIOD);

    CU_ASSERT_TRUE(vv_budget_spend(&budget, 100));
    CU_ASSERT_TRUE(vv_budget_spend(&budget, 100 + PERIOD + 1));
}

static void budget_forgets_the_oldest_restart_first(void)
{
    struct vv_budget budget = budget_of(2, 10);

    CU_ASSERT_TRUE(vv_budget_spend(&budget, 100));
    CU_ASSERT_TRUE(vv_budget_spend(&budget, 105));
    CU_ASSERT_TRUE(vv_budget_spend(&budget, 111));
    CU_ASSERT_FALSE(vv_budget_spend(&budget, 115));
}

static void budget_of_none_refuses_the_first_restart(void)
{
    struct vv_budget budget = budget_of(0, PERIOD);

    CU_ASSERT_FALSE(vv_budget_spend(&budget, 100));
}

static void budget_without_a_bound_never_ends(void)
{
    struct vv_budget budget = {NULL, VV_INTENSITY_UNLIMITED, 0, 0, PERIOD};
    uint32_t refused = 0;

    for (uint32_t i = 0; i < 100000; i++) {
        refused += !vv_budget_spend(&budget, 100);
    }

    CU_ASSERT_EQUAL(refused, 0);
}

static void budget_with_an_endless_period_never_forgets(void)
{
    struct vv_budget budget = budget_of(1, VIVERO_FOREVER);

    CU_ASSERT_TRUE(vv_budget_spend(&budget, 1));
    CU_ASSERT_FALSE(vv_budget_spend(&budget, INT64_MAX));
}

/* The rule of the header, without a ring: how many of the times count. */
static uint32_t counting(const int64_t *spent, uint32_t count, int64_t since)
{
    uint32_t counted = 0;

    for (uint32_t i = 0; i < count; i++) {
        counted += spent[i] >= since;
    }
    return counted;
}

static void budget_obeys_its_rule_over_many_laps_of_its_ring(void)
{
    static int64_t spent[5000];
    uint64_t random = 1;
    uint32_t wrong = 0;

    for (uint32_t intensity = 1; intensity <= 8; intensity++) {
        struct vv_budget budget = budget_of(intensity, 20);
        uint32_t count = 0;
        int64_t now = 1;

        for (uint32_t i = 0; i < 5000; i++) {
            bool allowed = counting(spent, count, now - 20) < intensity;

            wrong += vv_budget_spend(&budget, now) != allowed;
            spent[count] = now;
            count += allowed;
            now += (int64_t)(vv_random_next(&random) % 9);
        }
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- Backoff ------------------------------------------------------------ */

static void backoff_starts_the_first_restart_at_once(void)
{
    uint64_t random = 1;

    CU_ASSERT_EQUAL(vv_backoff_delay(1000, 8000, 0, &random), 0);
}

static void backoff_without_a_base_is_none(void)
{
    uint64_t random = 1;

    CU_ASSERT_EQUAL(vv_backoff_delay(0, 8000, 7, &random), 0);
}

static bool is_about(int64_t delay, int64_t nominal)
{
    return delay <= nominal && delay >= nominal - nominal / 4;
}

static void backoff_doubles_with_a_quarter_of_jitter_at_most(void)
{
    uint64_t random = 1;
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < 1000; i++) {
        for (uint32_t row = 1; row <= 10; row++) {
            wrong += !is_about(vv_backoff_delay(1000, SECOND, row, &random),
                               INT64_C(1000) << (row - 1));
        }
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

static void backoff_uses_the_whole_quarter(void)
{
    uint64_t random = 1;
    int64_t least = INT64_MAX;
    int64_t most = 0;

    for (uint32_t i = 0; i < 10000; i++) {
        int64_t delay = vv_backoff_delay(1000, 1000, 1, &random);

        least = delay < least ? delay : least;
        most = delay > most ? delay : most;
    }

    CU_ASSERT_EQUAL(least, 750);
    CU_ASSERT_EQUAL(most, 1000);
}

static void backoff_stops_growing_at_its_bound(void)
{
    uint64_t random = 1;

    CU_ASSERT_TRUE(is_about(vv_backoff_delay(1000, 3000, 3, &random), 3000));
    CU_ASSERT_TRUE(
        is_about(vv_backoff_delay(1000, 3000, UINT32_MAX, &random), 3000));
    CU_ASSERT_TRUE(is_about(vv_backoff_delay(1000, 300, 1, &random), 300));
}

static void backoff_does_not_overflow(void)
{
    uint64_t random = 1;

    CU_ASSERT_TRUE(is_about(vv_backoff_delay(1, INT64_MAX, UINT32_MAX, &random),
                            INT64_MAX));
}

static void backoff_repeats_itself_with_the_same_seed(void)
{
    uint64_t one = 42;
    uint64_t other = 42;
    uint32_t different = 0;

    for (uint32_t i = 0; i < 100; i++) {
        different += vv_backoff_delay(1000, SECOND, i % 8, &one) !=
                     vv_backoff_delay(1000, SECOND, i % 8, &other);
    }

    CU_ASSERT_EQUAL(different, 0);
}

SUITE_MAIN("decide_budget", NULL, NULL,
           TEST(budget_allows_as_many_restarts_as_it_says),
           TEST(budget_counts_a_restart_that_is_exactly_a_period_old),
           TEST(budget_forgets_a_restart_older_than_the_period),
           TEST(budget_forgets_the_oldest_restart_first),
           TEST(budget_of_none_refuses_the_first_restart),
           TEST(budget_without_a_bound_never_ends),
           TEST(budget_with_an_endless_period_never_forgets),
           TEST(budget_obeys_its_rule_over_many_laps_of_its_ring),
           TEST(backoff_starts_the_first_restart_at_once),
           TEST(backoff_without_a_base_is_none),
           TEST(backoff_doubles_with_a_quarter_of_jitter_at_most),
           TEST(backoff_uses_the_whole_quarter),
           TEST(backoff_stops_growing_at_its_bound),
           TEST(backoff_does_not_overflow),
           TEST(backoff_repeats_itself_with_the_same_seed))
