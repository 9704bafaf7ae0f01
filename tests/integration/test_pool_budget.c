/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

/* How a pool took its last restart. */
struct fall {
    atomic_uint downs;
    struct vivero_pool *pool;
    struct vivero_exit reason;
    atomic_uint inits;
    uint32_t fail_from; /* this init and later ones fail; 0: none */
    uint32_t fail_to;
};

static struct fall fall;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_up(void)
{
    memset(&fall, 0, sizeof fall);
    gate_shut(&gate);
    journal_clear(&journal);
}

static void tear_down(void)
{
    gate_open(&gate);
}

static int fill(struct vivero_self *self, void *payload, void *ctx)
{
    uint32_t nth = atomic_fetch_add(&fall.inits, 1) + 1;

    (void)self;
    (void)payload;
    (void)ctx;
    return fall.fail_from != 0 && nth >= fall.fail_from && nth <= fall.fail_to
               ? -55
               : VIVERO_OK;
}

static void fell(struct vivero_pool *pool, const struct vivero_exit *reason,
                 void *ctx)
{
    struct fall *it = ctx;

    it->pool = pool;
    it->reason = *reason;
    atomic_fetch_add(&it->downs, 1);
}

#define FALLING .payload_size = 8, .init = fill, .on_down = fell, .ctx = &fall

static bool has_fallen(void *ctx)
{
    (void)ctx;
    return atomic_load(&fall.downs) > 0;
}

static int fail_once(struct vivero_pool *pool, uint32_t worker)
{
    struct fail_in in = {31, "again"};

    return vivero_pool_call(pool, &crew_fail, &in, NULL,
                            VIVERO_SEND(.worker = worker));
}

static bool is_alive(struct vivero_pool *pool)
{
    return vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL) == VIVERO_OK;
}

static bool goes_down(struct vivero_pool *pool)
{
    return eventually(has_fallen, NULL, CREW_PATIENCE) &&
           vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL) ==
               VIVERO_E_DOWN;
}

/* ---- The default: three in five seconds
 * -------------------------------------------------- */

static void lives_through_three_failures(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
    }
    CU_ASSERT(is_alive(pool));
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 3);
    CU_ASSERT_EQUAL(atomic_load(&fall.downs), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&fall.downs), 0);
}

static void goes_down_with_the_fourth_failure(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 2, FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(vivero_last_exit()->code, 31);
    }
    CU_ASSERT(goes_down(pool));

    CU_ASSERT_PTR_EQUAL(fall.pool, pool);
    CU_ASSERT_EQUAL(fall.reason.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(fall.reason.code, 31);
    CU_ASSERT_STRING_EQUAL(fall.reason.text, "again");
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&fall.downs), 1);
}

static void answers_down_to_everything_once_it_is_down(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .restarts_max = VIVERO_NONE,
                                      FALLING));
    int in = 1;

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
    CU_ASSERT(goes_down(pool));

    CU_ASSERT_NOT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_NONE);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &crew_echo, &in, NULL, VIVERO_SEND(.worker = 1)),
        VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &crew_nothing, NULL, 2),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &crew_nothing, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, VIVERO_SECONDS(1), NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, VIVERO_SECONDS(1)),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void tells_everybody_who_waits_when_it_goes_down(void)
{
    static struct caller caller[6];
    struct fail_in fail = {31, "again"};
    struct note_in note = {&journal, 1};
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_fail, &fail, NULL), 0);
    }
    for (uint32_t i = 0; i < 6; i++) {
        caller[i] =
            (struct caller){.pool = pool, .operation = &crew_note, .in = &note};
        caller_start(&caller[i]);
        CU_ASSERT_FATAL(crew_await_queued(pool, 5 + i));
    }
    gate_open(&gate);

    for (uint32_t i = 0; i < 6; i++) {
        caller_join(&caller[i]);
        CU_ASSERT_EQUAL(caller[i].result, VIVERO_E_DOWN);
        CU_ASSERT_NOT_EQUAL(caller[i].reason.kind, VIVERO_EXIT_NONE);
        CU_ASSERT(caller[i].took_ns < VIVERO_SECONDS(5));
    }
    CU_ASSERT(goes_down(pool));
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    CU_ASSERT_EQUAL(crew_numbers(pool).dead, 6);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void *wait_until_idle(void *arg)
{
    return (void *)(intptr_t)vivero_pool_wait_idle(arg, CREW_PATIENCE);
}

static void tells_those_who_wait_for_it_to_be_idle(void)
{
    struct fail_in fail = {31, "again"};
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .restarts_max = VIVERO_NONE,
                                      FALLING));
    pthread_t thread;
    void *result = NULL;

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_fail, &fail, NULL), VIVERO_OK);
    pthread_create(&thread, NULL, wait_until_idle, pool);
    gate_open(&gate);
    pthread_join(thread, &result);

    /* It may have found the pool idle between the failure and the fall. */
    CU_ASSERT((intptr_t)result == VIVERO_E_DOWN ||
              (intptr_t)result == VIVERO_OK);
    CU_ASSERT(goes_down(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void lets_its_last_handlers_finish_when_it_goes_down(void)
{
    struct hold_in hold = {&gate};
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 2, .restarts_max = VIVERO_NONE,
                                      FALLING));
    struct caller caller = {.pool = pool, .operation = &crew_hold, .in = &hold};

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    caller_start(&caller);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
    gate_open(&gate);
    caller_join(&caller);

    CU_ASSERT(caller.result == VIVERO_OK || caller.result == VIVERO_E_DOWN);
    CU_ASSERT(goes_down(pool));
    CU_ASSERT_EQUAL(gate_passed(&gate), 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Other budgets
 * ------------------------------------------------------------------------ */

static void goes_down_with_the_first_failure_when_none_is_allowed(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 3, .restarts_max = VIVERO_NONE,
                                      FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
    CU_ASSERT(goes_down(pool));
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void restarts_for_ever_without_a_bound(void)
{
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 2, .restarts_max = VIVERO_UNLIMITED,
                            FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 300; i++) {
        CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
    }
    CU_ASSERT(is_alive(pool));
    CU_ASSERT(crew_await_restarts(pool, 300));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&fall.downs), 0);
}

static void forgets_failures_that_are_older_than_the_period(void)
{
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .restarts_max = 1,
                            .restart_period_ns = VIVERO_MILLISECONDS(1),
                            FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (uint64_t i = 1; i <= 20; i++) {
        CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
        CU_ASSERT_FATAL(crew_await_restarts(pool, i));
        crew_await_time(vivero_now() + VIVERO_MILLISECONDS(2));
    }
    CU_ASSERT(is_alive(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void shares_one_budget_among_all_workers(void)
{
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 4, .restart_period_ns = VIVERO_FOREVER,
                            FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (uint32_t worker = 1; worker <= 4; worker++) {
        CU_ASSERT_EQUAL(fail_once(pool, worker), VIVERO_E_DOWN);
    }
    CU_ASSERT(goes_down(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void gives_each_worker_a_budget_of_its_own(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 3, .restarts_per_worker = true,
                                      FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 3; i++) {
        for (uint32_t worker = 1; worker <= 3; worker++) {
            CU_ASSERT_EQUAL(fail_once(pool, worker), VIVERO_E_DOWN);
        }
    }
    CU_ASSERT(is_alive(pool));
    CU_ASSERT(crew_await_restarts(pool, 9));
    CU_ASSERT_EQUAL(fail_once(pool, 2), VIVERO_E_DOWN);
    CU_ASSERT(goes_down(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void delays_the_second_restart_in_a_row(void)
{
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1,
                            .backoff_ns = VIVERO_MILLISECONDS(100), FALLING));
    int64_t began_ns = vivero_now();

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
    CU_ASSERT(is_alive(pool));

    /* Jitter may take up to half of the delay away. */
    CU_ASSERT(vivero_now() - began_ns >= VIVERO_MILLISECONDS(45));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- An init that fails on restart
 * ---------------------------------------------------------- */

static void spends_its_budget_on_an_init_that_fails(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    fall.fail_from = 2;
    fall.fail_to = UINT32_MAX;
    CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);
    CU_ASSERT(goes_down(pool));

    /* The first one, and three attempts. */
    CU_ASSERT_EQUAL(atomic_load(&fall.inits), 4);
    CU_ASSERT_EQUAL(fall.reason.kind, VIVERO_EXIT_INIT_FAILED);
    CU_ASSERT_EQUAL(fall.reason.code, -55);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void tries_again_when_an_init_fails(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, FALLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    fall.fail_from = 2;
    fall.fail_to = 3;
    CU_ASSERT_EQUAL(fail_once(pool, 0), VIVERO_E_DOWN);

    CU_ASSERT(is_alive(pool));
    CU_ASSERT_EQUAL(atomic_load(&fall.inits), 4);
    CU_ASSERT_EQUAL(atomic_load(&fall.downs), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

SUITE_MAIN("pool_budget", set_up, tear_down, TEST(lives_through_three_failures),
           TEST(goes_down_with_the_fourth_failure),
           TEST(answers_down_to_everything_once_it_is_down),
           TEST(tells_everybody_who_waits_when_it_goes_down),
           TEST(tells_those_who_wait_for_it_to_be_idle),
           TEST(lets_its_last_handlers_finish_when_it_goes_down),
           TEST(goes_down_with_the_first_failure_when_none_is_allowed),
           TEST(restarts_for_ever_without_a_bound),
           TEST(forgets_failures_that_are_older_than_the_period),
           TEST(shares_one_budget_among_all_workers),
           TEST(gives_each_worker_a_budget_of_its_own),
           TEST(delays_the_second_restart_in_a_row),
           TEST(spends_its_budget_on_an_init_that_fails),
           TEST(tries_again_when_an_init_fails))
