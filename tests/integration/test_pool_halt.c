/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static atomic_uint ends;
static atomic_uint destroys;
static atomic_uint downs;
static _Atomic(enum vivero_exit_kind) last_kind;

static void end(struct vivero_self *self, void *payload,
                const struct vivero_exit *reason, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    atomic_store(&last_kind, reason->kind);
    atomic_fetch_add(&ends, 1);
}

static void empty(void *payload, void *ctx)
{
    (void)payload;
    (void)ctx;
    atomic_fetch_add(&destroys, 1);
}

static void fell(struct vivero_pool *down, const struct vivero_exit *reason,
                 void *ctx)
{
    (void)down;
    (void)reason;
    (void)ctx;
    atomic_fetch_add(&downs, 1);
}

static int halt(struct vivero_self *self, const void *in, void *out)
{
    uint32_t id = vivero_id(self);

    (void)in;
    if (out != NULL) {
        memcpy(out, &id, sizeof id);
    }
    return VIVERO_HALT;
}

static const struct vivero_operation halt_operation = {
    .name = "halt", .run = halt, .out_size = sizeof(uint32_t)};

static bool open_pool(uint32_t workers)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = workers, .payload_size = 8,
                                         .terminate = end, .destroy = empty,
                                         .on_down = fell));
    return pool != NULL;
}

static void set_up(void)
{
    gate_shut(&gate);
    pool = NULL;
    atomic_store(&ends, 0);
    atomic_store(&destroys, 0);
    atomic_store(&downs, 0);
    atomic_store(&last_kind, VIVERO_EXIT_NONE);
}

static void tear_down(void)
{
    gate_open(&gate);
    if (pool != NULL) {
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
        CU_ASSERT_EQUAL(atomic_load(&downs), 0);
    }
}

static bool one_has_ended(void *ctx)
{
    (void)ctx;
    return atomic_load(&ends) == 1 && atomic_load(&destroys) == 1;
}

static bool is_shut(void *ctx)
{
    int error = vivero_pool_call(ctx, &crew_nothing, NULL, NULL, NULL);

    return error == VIVERO_E_GONE || error == VIVERO_E_CLOSING;
}

static void answers_before_it_halts(void)
{
    uint32_t id = 0;

    CU_ASSERT_FATAL(open_pool(2));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &halt_operation, NULL, &id,
                                     VIVERO_SEND(.worker = 2)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(id, 2);
}

static void ends_normally_and_is_not_restarted(void)
{
    uint32_t id = 0;

    CU_ASSERT_FATAL(open_pool(2));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &halt_operation, NULL, &id, NULL),
                    VIVERO_OK);
    CU_ASSERT(eventually(one_has_ended, NULL, CREW_PATIENCE));

    CU_ASSERT_EQUAL(atomic_load(&last_kind), VIVERO_EXIT_NORMAL);
    CU_ASSERT(crew_await_size(pool, 1));
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 0);
    CU_ASSERT(crew_is_conserved(pool));
}

static void costs_no_budget(void)
{
    CU_ASSERT_FATAL(open_pool(6));
    for (uint32_t left = 5; left >= 1; left--) {
        CU_ASSERT_EQUAL(
            vivero_pool_call(pool, &halt_operation, NULL, NULL, NULL),
            VIVERO_OK);
        CU_ASSERT(crew_await_size(pool, left));
    }
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
}

static void hands_what_it_had_queued_to_its_siblings(void)
{
    struct hold_in in = {&gate};

    CU_ASSERT_FATAL(open_pool(2));
    CU_ASSERT_FATAL(crew_hold_worker(pool, 2, &gate));
    CU_ASSERT_EQUAL(
        vivero_pool_cast(pool, &crew_hold, &in, VIVERO_SEND(.worker = 1)),
        VIVERO_OK);
    CU_ASSERT_FATAL(gate_await(&gate, 2));
    CU_ASSERT_EQUAL(
        vivero_pool_cast(pool, &halt_operation, NULL, VIVERO_SEND(.worker = 1)),
        VIVERO_OK);
    for (int n = 0; n < 20; n++) {
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL, NULL),
                        VIVERO_OK);
    }
    gate_open(&gate);

    CU_ASSERT(crew_await_size(pool, 1));
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 23);
}

static void serves_on_with_the_workers_that_are_left(void)
{
    CU_ASSERT_FATAL(open_pool(3));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &halt_operation, NULL, NULL,
                                     VIVERO_SEND(.worker = 1)),
                    VIVERO_OK);
    CU_ASSERT(crew_await_size(pool, 2));

    for (int i = 0; i < 100; i++) {
        uint32_t id = 0;

        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_whoami, NULL, &id, NULL),
                        VIVERO_OK);
        CU_ASSERT(id == 2 || id == 3);
    }
    int error = vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                 VIVERO_SEND(.worker = 1));
    CU_ASSERT(error == VIVERO_E_NOT_FOUND || error == VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &crew_nothing, NULL), 2);
}

static void sends_the_keys_of_a_halted_worker_elsewhere(void)
{
    uint32_t wrong = 0;

    CU_ASSERT_FATAL(open_pool(3));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &halt_operation, NULL, NULL,
                                     VIVERO_SEND(.worker = 2)),
                    VIVERO_OK);
    CU_ASSERT(crew_await_size(pool, 2));
    for (int key = 0; key < 200; key++) {
        uint32_t id = 0;

        wrong += vivero_pool_call(
                     pool, &crew_whoami, NULL, &id,
                     VIVERO_SEND(.key = &key, .key_size = sizeof key)) != 0;
        wrong += id != 1 && id != 3;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* pool.h should say which: GONE and CLOSING are both taken here. */
static void closes_normally_with_its_last_worker(void)
{
    CU_ASSERT_FATAL(open_pool(2));
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &halt_operation, NULL), 2);
    CU_ASSERT(eventually(is_shut, pool, CREW_PATIENCE));

    int error = vivero_pool_cast(pool, &crew_nothing, NULL, NULL);
    CU_ASSERT(error == VIVERO_E_GONE || error == VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(atomic_load(&ends), 2);
    CU_ASSERT_EQUAL(atomic_load(&destroys), 2);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 0);
}

static void lets_callers_go_when_its_last_worker_halts(void)
{
    struct caller caller = {.operation = &crew_nothing};

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &halt_operation, NULL, NULL),
                    VIVERO_OK);
    caller.pool = pool;
    caller_start(&caller);
    CU_ASSERT_FATAL(crew_await_queued(pool, 2));
    gate_open(&gate);
    caller_join(&caller);

    CU_ASSERT(caller.result == VIVERO_E_GONE ||
              caller.result == VIVERO_E_CLOSING);
}

SUITE_MAIN("pool_halt", set_up, tear_down, TEST(answers_before_it_halts),
           TEST(ends_normally_and_is_not_restarted), TEST(costs_no_budget),
           TEST(hands_what_it_had_queued_to_its_siblings),
           TEST(serves_on_with_the_workers_that_are_left),
           TEST(sends_the_keys_of_a_halted_worker_elsewhere),
           TEST(closes_normally_with_its_last_worker),
           TEST(lets_callers_go_when_its_last_worker_halts))
