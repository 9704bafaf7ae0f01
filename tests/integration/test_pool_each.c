/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <stdatomic.h>

#define ITEMS 10000

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static atomic_int visits[ITEMS];
static int inner_result;

static void set_up(void)
{
    gate_shut(&gate);
    for (int i = 0; i < ITEMS; i++) {
        atomic_store(&visits[i], 0);
    }
    pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 3, .restarts_max = VIVERO_UNLIMITED));
}

static void tear_down(void)
{
    gate_open(&gate);
    (void)vivero_pool_close(pool);
}

static void visit(struct vivero_self *self, size_t index, void *ctx)
{
    (void)self;
    (void)ctx;
    atomic_fetch_add(&visits[index], 1);
}

/* How many indices were not visited exactly so often. */
static int not_visited(size_t count, int times)
{
    int wrong = 0;

    for (size_t i = 0; i < ITEMS; i++) {
        wrong += atomic_load(&visits[i]) != (i < count ? times : 0);
    }
    return wrong;
}

static void visits_every_index_once_with_guided_chunks(void)
{
    CU_ASSERT_EQUAL(vivero_pool_each(pool, ITEMS, 0, visit, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(not_visited(ITEMS, 1), 0);
}

static void visits_every_index_once_with_chunks_of_any_size(void)
{
    CU_ASSERT_EQUAL(vivero_pool_each(pool, ITEMS, 1, visit, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_each(pool, ITEMS, 7, visit, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_each(pool, ITEMS, ITEMS * 2, visit, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(not_visited(ITEMS, 3), 0);
}

static void has_nothing_to_do_for_no_index(void)
{
    CU_ASSERT_EQUAL(vivero_pool_each(pool, 0, 0, visit, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(not_visited(0, 0), 0);
}

static void runs_fewer_indices_than_there_are_workers(void)
{
    CU_ASSERT_EQUAL(vivero_pool_each(pool, 2, 0, visit, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(not_visited(2, 1), 0);
}

static void goes_on_while_a_worker_is_busy_elsewhere(void)
{
    CU_ASSERT_FATAL(crew_hold_worker(pool, 1, &gate));

    CU_ASSERT_EQUAL(vivero_pool_each(pool, ITEMS, 0, visit, NULL), VIVERO_OK);

    CU_ASSERT_EQUAL(not_visited(ITEMS, 1), 0);
}

static void fail_at_one_index(struct vivero_self *self, size_t index, void *ctx)
{
    visit(self, index, ctx);
    if (index == 5) {
        vivero_exit(5, "index five");
    }
}

static void tells_down_and_does_the_other_chunks_when_a_worker_fails(void)
{
    CU_ASSERT_EQUAL(vivero_pool_each(pool, ITEMS, 1, fail_at_one_index, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_STRING_EQUAL(vivero_last_exit()->text, "index five");
    CU_ASSERT_EQUAL(not_visited(ITEMS, 1), 0);
}

static int loop_in_a_loop(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    inner_result = vivero_pool_each(pool, 10, 0, visit, NULL);
    return VIVERO_OK;
}

static void answers_deadlock_in_a_worker_of_the_pool(void)
{
    static const struct vivero_operation operation = {.name = "loop",
                                                      .run = loop_in_a_loop};

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &operation, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(inner_result, VIVERO_E_DEADLOCK);
}

static void answers_draining_after_a_drain(void)
{
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, VIVERO_SECONDS(5), NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_each(pool, ITEMS, 0, visit, NULL),
                    VIVERO_E_DRAINING);
}

static struct accountant accountant;
static atomic_int stuck;

static void stand_once(struct vivero_self *self, size_t index, void *ctx)
{
    (void)self;
    (void)index;
    (void)ctx;
    if (atomic_exchange(&stuck, 1) == 0) {
        gate_pass(&gate);
    }
}

static bool nobody_given_up(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 0;
}

static void a_part_that_hangs_leaves_nothing_behind(void)
{
    struct vivero_pool *watched;

    atomic_store(&stuck, 0);
    CU_ASSERT_EQUAL_FATAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
    watched =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 2,
                                      .deadline_ns = VIVERO_MILLISECONDS(20),
                                      .on_hang = VIVERO_HANG_REPLACE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(watched);

    CU_ASSERT_EQUAL(vivero_pool_each(watched, ITEMS, 0, stand_once, NULL),
                    VIVERO_E_DOWN);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_close(watched), VIVERO_OK);

    CU_ASSERT(eventually(nobody_given_up, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(accountant.blocks, 0);
    CU_ASSERT_EQUAL(accountant.wrong, 0);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));
}

SUITE_MAIN("pool_each", set_up, tear_down,
           TEST(visits_every_index_once_with_guided_chunks),
           TEST(visits_every_index_once_with_chunks_of_any_size),
           TEST(has_nothing_to_do_for_no_index),
           TEST(runs_fewer_indices_than_there_are_workers),
           TEST(goes_on_while_a_worker_is_busy_elsewhere),
           TEST(tells_down_and_does_the_other_chunks_when_a_worker_fails),
           TEST(answers_deadlock_in_a_worker_of_the_pool),
           TEST(answers_draining_after_a_drain),
           TEST(a_part_that_hangs_leaves_nothing_behind))
