/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

/* No call here has a deadline: one that waits for ever would hang the test. */
#define FOR_EVER VIVERO_SEND(.timeout_ns = VIVERO_FOREVER)

static struct vivero_pool *pool;
static struct vivero_pool *other;
static struct gate gate = GATE_SHUT;

static void set_up(void)
{
    gate_shut(&gate);
    pool = NULL;
    other = NULL;
}

static void close_one(struct vivero_pool *closing)
{
    if (closing != NULL) {
        CU_ASSERT(crew_is_conserved(closing));
        CU_ASSERT_EQUAL(vivero_pool_close(closing), VIVERO_OK);
    }
}

static void tear_down(void)
{
    gate_open(&gate);
    close_one(pool);
    close_one(other);
}

static bool open_pools(uint32_t workers, uint32_t other_workers)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.name = "one", .workers = workers));
    if (other_workers == 0) {
        return pool != NULL;
    }
    other = crew_open(
        VIVERO_POOL_OPTIONS(.name = "other", .workers = other_workers));
    return pool != NULL && other != NULL;
}

/* A handler that makes one call and reports what became of it. */
struct inner_in {
    struct vivero_pool *pool;
    const struct vivero_operation *operation;
    const void *in;
    uint32_t worker; /* OWN: the worker that runs it */
};

#define OWN UINT32_MAX

static int call_inner(struct vivero_self *self, const void *in, void *out)
{
    const struct inner_in *inner = in;
    int result = vivero_pool_call(
        inner->pool, inner->operation, inner->in, NULL,
        VIVERO_SEND(.timeout_ns = VIVERO_FOREVER,
                    .worker = inner->worker == OWN ? vivero_id(self)
                                                   : inner->worker));

    if (out != NULL) {
        memcpy(out, &result, sizeof result);
    }
    return VIVERO_OK;
}

/* The same, but what the inner handler's own call gave is the result. */
static int call_and_pass_on(struct vivero_self *self, const void *in, void *out)
{
    const struct inner_in *inner = in;

    (void)self;
    return vivero_pool_call(inner->pool, inner->operation, inner->in, out,
                            FOR_EVER);
}

static const struct vivero_operation inner_operation = {
    .name = "inner",
    .run = call_inner,
    .in_size = sizeof(struct inner_in),
    .out_size = sizeof(int)};
static const struct vivero_operation outer_operation = {
    .name = "outer",
    .run = call_and_pass_on,
    .in_size = sizeof(struct inner_in),
    .out_size = sizeof(int)};

static int outcome_of(const struct vivero_operation *operation,
                      const struct inner_in *inner)
{
    int outcome = 1;
    int error = vivero_pool_call(pool, operation, inner, &outcome, FOR_EVER);

    return error == VIVERO_OK ? outcome : error;
}

/* ---- Deadlocks
 * ---------------------------------------------------------------------- */

static void answers_deadlock_to_a_worker_that_calls_itself(void)
{
    CU_ASSERT_FATAL(open_pools(3, 0));
    struct inner_in inner = {pool, &crew_nothing, NULL, OWN};

    CU_ASSERT_EQUAL(outcome_of(&inner_operation, &inner), VIVERO_E_DEADLOCK);
}

static void answers_deadlock_to_the_only_worker_of_its_pool(void)
{
    CU_ASSERT_FATAL(open_pools(1, 0));
    struct inner_in inner = {pool, &crew_nothing, NULL, 0};

    CU_ASSERT_EQUAL(outcome_of(&inner_operation, &inner), VIVERO_E_DEADLOCK);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 1);
}

#define KEYS 64

/* How many of its calls by key were answered DEADLOCK; a failure otherwise. */
static int call_by_keys(struct vivero_self *self, const void *in, void *out)
{
    int own = 0;

    (void)self;
    (void)in;
    for (int key = 0; key < KEYS; key++) {
        int result =
            vivero_pool_call(vivero_pool_current(), &crew_nothing, NULL, NULL,
                             VIVERO_SEND(.timeout_ns = VIVERO_FOREVER,
                                         .key = &key, .key_size = sizeof key));

        if (result != VIVERO_OK && result != VIVERO_E_DEADLOCK) {
            return -1;
        }
        own += result == VIVERO_E_DEADLOCK;
    }
    memcpy(out, &own, sizeof own);
    return VIVERO_OK;
}

static const struct vivero_operation keys_operation = {
    .name = "keys", .run = call_by_keys, .out_size = sizeof(int)};

static void answers_deadlock_to_keys_that_lead_to_oneself(void)
{
    int own = 0;

    CU_ASSERT_FATAL(open_pools(3, 0));
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &keys_operation, NULL, &own, FOR_EVER),
        VIVERO_OK);
    CU_ASSERT(own > 0);
    CU_ASSERT(own < KEYS);
}

static void answers_deadlock_to_two_single_workers_that_call_each_other(void)
{
    CU_ASSERT_FATAL(open_pools(1, 1));
    struct inner_in back = {pool, &crew_nothing, NULL, 0};
    struct inner_in there = {other, &inner_operation, &back, 0};

    /* pool calls other, whose call back to pool closes the circle. */
    CU_ASSERT_EQUAL(outcome_of(&outer_operation, &there), VIVERO_E_DEADLOCK);
}

static void answers_deadlock_to_a_circle_of_three_single_workers(void)
{
    struct vivero_pool *third =
        crew_open(VIVERO_POOL_OPTIONS(.name = "third", .workers = 1));

    CU_ASSERT_PTR_NOT_NULL_FATAL(third);
    CU_ASSERT_FATAL(open_pools(1, 1));
    struct inner_in back = {pool, &crew_nothing, NULL, 0};
    struct inner_in onward = {third, &inner_operation, &back, 0};
    struct inner_in there = {other, &outer_operation, &onward, 0};

    CU_ASSERT_EQUAL(outcome_of(&outer_operation, &there), VIVERO_E_DEADLOCK);
    close_one(third);
}

static void answers_deadlock_to_workers_that_name_each_other(void)
{
    CU_ASSERT_FATAL(open_pools(2, 0));
    struct inner_in back = {pool, &crew_nothing, NULL, 1};
    struct inner_in there = {pool, &inner_operation, &back, 2};
    int outcome = 1;

    /* 1 waits for 2, which may not wait for 1. That call of worker 2 says so,
     * and worker 1's ends well. */
    CU_ASSERT_EQUAL(vivero_pool_call(
                        pool, &inner_operation, &there, &outcome,
                        VIVERO_SEND(.worker = 1, .timeout_ns = VIVERO_FOREVER)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(outcome, VIVERO_OK);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 2);
}

static void answers_deadlock_to_the_last_free_worker_of_its_pool(void)
{
    CU_ASSERT_FATAL(open_pools(2, 0));
    struct inner_in innermost = {pool, &crew_nothing, NULL, 0};
    struct inner_in inner = {pool, &inner_operation, &innermost, 0};

    /* One worker waits for the other, which is about to wait, too. */
    CU_ASSERT_EQUAL(outcome_of(&outer_operation, &inner), VIVERO_E_DEADLOCK);
}

static void answers_deadlock_however_the_workers_race(void)
{
    static struct caller caller[8];
    static int outcome[8];

    CU_ASSERT_FATAL(open_pools(4, 0));
    for (int round = 0; round < 100; round++) {
        struct inner_in inner = {pool, &crew_nothing, NULL, 0};

        for (int i = 0; i < 8; i++) {
            outcome[i] = 1;
            caller[i] = (struct caller){.pool = pool,
                                        .operation = &inner_operation,
                                        .in = &inner,
                                        .out = &outcome[i]};
            caller_start(&caller[i]);
        }
        for (int i = 0; i < 8; i++) {
            caller_join(&caller[i]);
            CU_ASSERT_EQUAL(caller[i].result, VIVERO_OK);
            CU_ASSERT(outcome[i] == VIVERO_OK ||
                      outcome[i] == VIVERO_E_DEADLOCK);
        }
    }
}

/* ---- None
 * -------------------------------------------------------------------------------
 */

static void lets_a_worker_call_a_free_sibling(void)
{
    CU_ASSERT_FATAL(open_pools(2, 0));
    struct inner_in inner = {pool, &crew_nothing, NULL, 0};

    for (int i = 0; i < 200; i++) {
        CU_ASSERT_EQUAL(outcome_of(&inner_operation, &inner), VIVERO_OK);
    }
}

static void lets_a_worker_call_a_sibling_by_number(void)
{
    CU_ASSERT_FATAL(open_pools(2, 0));
    struct inner_in inner = {pool, &crew_nothing, NULL, 2};
    int outcome = 1;

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &inner_operation, &inner, &outcome,
                                     VIVERO_SEND(.worker = 1)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(outcome, VIVERO_OK);
}

static void lets_a_worker_call_another_pool(void)
{
    CU_ASSERT_FATAL(open_pools(1, 1));
    struct inner_in inner = {other, &crew_nothing, NULL, 0};

    CU_ASSERT_EQUAL(outcome_of(&inner_operation, &inner), VIVERO_OK);
}

static void lets_a_circle_close_through_a_free_sibling(void)
{
    CU_ASSERT_FATAL(open_pools(2, 1));
    struct inner_in back = {pool, &crew_nothing, NULL, 0};
    struct inner_in there = {other, &inner_operation, &back, 0};

    CU_ASSERT_EQUAL(outcome_of(&outer_operation, &there), VIVERO_OK);
}

static bool second_has_mail(void *ctx)
{
    (void)ctx;
    return crew_worker(pool, 2).queued == 1;
}

static void lets_a_worker_wait_for_a_sibling_that_is_merely_busy(void)
{
    struct caller caller = {.operation = &inner_operation};
    int outcome = 1;

    CU_ASSERT_FATAL(open_pools(2, 0));
    CU_ASSERT_FATAL(crew_hold_worker(pool, 2, &gate));
    struct inner_in inner = {pool, &crew_nothing, NULL, 2};
    caller.pool = pool;
    caller.in = &inner;
    caller.out = &outcome;
    caller.send = VIVERO_SEND(.worker = 1);
    caller_start(&caller);
    CU_ASSERT(eventually(second_has_mail, NULL, CREW_PATIENCE));
    gate_open(&gate);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(outcome, VIVERO_OK);
}

static int cast_to_oneself(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    (void)out;
    return vivero_pool_cast(vivero_pool_current(), &crew_nothing, NULL,
                            VIVERO_SEND(.worker = vivero_id(self)));
}

static const struct vivero_operation self_cast_operation = {
    .name = "self-cast", .run = cast_to_oneself};

static void lets_a_worker_cast_to_itself(void)
{
    CU_ASSERT_FATAL(open_pools(1, 0));
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &self_cast_operation, NULL, NULL, FOR_EVER),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 2);
}

SUITE_MAIN("pool_deadlock", set_up, tear_down,
           TEST(answers_deadlock_to_a_worker_that_calls_itself),
           TEST(answers_deadlock_to_the_only_worker_of_its_pool),
           TEST(answers_deadlock_to_keys_that_lead_to_oneself),
           TEST(answers_deadlock_to_two_single_workers_that_call_each_other),
           TEST(answers_deadlock_to_a_circle_of_three_single_workers),
           TEST(answers_deadlock_to_workers_that_name_each_other),
           TEST(answers_deadlock_to_the_last_free_worker_of_its_pool),
           TEST(answers_deadlock_however_the_workers_race),
           TEST(lets_a_worker_call_a_free_sibling),
           TEST(lets_a_worker_call_a_sibling_by_number),
           TEST(lets_a_worker_call_another_pool),
           TEST(lets_a_circle_close_through_a_free_sibling),
           TEST(lets_a_worker_wait_for_a_sibling_that_is_merely_busy),
           TEST(lets_a_worker_cast_to_itself))
