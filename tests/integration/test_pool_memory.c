/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

static struct vivero_pool *pool;
static struct accountant accountant;

static void set_up(void)
{
    pool = NULL;
    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
}

static void tear_down(void)
{
    if (pool != NULL) {
        CU_ASSERT(crew_is_conserved(pool));
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(atomic_load(&accountant.bytes), 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.wrong), 0);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

static bool open_counted(const struct vivero_pool_options *options)
{
    pool = crew_open(options);
    return pool != NULL;
}

struct slotful {
    unsigned char bytes[40];
};

static int swallow(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return VIVERO_OK;
}

static const struct vivero_operation swallow_operation = {
    .name = "swallow", .run = swallow, .in_size = sizeof(struct slotful)};
static const struct vivero_operation large_operation = {
    .name = "large", .run = swallow, .in_size = 4096};

static void allocates_nothing_for_messages_that_fit_a_slot(void)
{
    struct slotful in = {{0}};
    struct slotful batch[4] = {in, in, in, in};
    int wrong = 0;
    long long asked = 0;

    CU_ASSERT_FATAL(open_counted(VIVERO_POOL_OPTIONS(.workers = 2)));
    for (int i = 0; i < 3000; i++) {
        if (i == 1000) { /* every cache is warm by now */
            asked = atomic_load(&accountant.asked);
        }
        wrong += vivero_pool_call(pool, &swallow_operation, &in, NULL, NULL);
        wrong += vivero_pool_cast(pool, &swallow_operation, &in, NULL);
        wrong += vivero_pool_cast_batch(pool, &swallow_operation, batch, 4) < 1;
        wrong += vivero_pool_broadcast(pool, &swallow_operation, &in) < 1;
        wrong += vivero_pool_call(pool, &swallow_operation, &in, NULL,
                                  VIVERO_SEND(.worker = 1)) != VIVERO_OK;
    }

    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.asked), asked);
    CU_ASSERT_EQUAL(crew_numbers(pool).boxed, 0);
}

static void counts_arguments_that_do_not_fit_a_slot(void)
{
    static const unsigned char in[4096];

    CU_ASSERT_FATAL(open_counted(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &large_operation, in, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &large_operation, in, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(crew_numbers(pool).boxed, 2);
}

static void answers_no_memory_when_a_large_argument_finds_none(void)
{
    static const unsigned char in[4096];

    CU_ASSERT_FATAL(open_counted(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &large_operation, in, NULL, NULL),
                    VIVERO_OK);
    atomic_store(&accountant.refuse, 1);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &large_operation, in, NULL, NULL),
                    VIVERO_E_NO_MEMORY);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &large_operation, in, NULL),
                    VIVERO_E_NO_MEMORY);
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &large_operation, in, 1),
                    VIVERO_E_NO_MEMORY);
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &large_operation, in),
                    VIVERO_E_NO_MEMORY);
    atomic_store(&accountant.refuse, 0);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &large_operation, in, NULL, NULL),
                    VIVERO_OK);
}

static void answers_no_memory_to_a_snapshot(void)
{
    const struct vivero_pool_snapshot *snapshot = NULL;

    CU_ASSERT_FATAL(open_counted(VIVERO_POOL_OPTIONS(.workers = 1)));
    atomic_store(&accountant.refuse, 1);
    CU_ASSERT_EQUAL(vivero_pool_snapshot(pool, &snapshot), VIVERO_E_NO_MEMORY);
    CU_ASSERT_EQUAL(vivero_pool_print(pool, stdout), VIVERO_E_NO_MEMORY);
    atomic_store(&accountant.refuse, 0);
}

static void answers_no_memory_to_a_resize_and_stays_as_it_was(void)
{
    int error = VIVERO_E_NO_MEMORY;
    long long nth = 0;

    CU_ASSERT_FATAL(
        open_counted(VIVERO_POOL_OPTIONS(.workers = 1, .workers_max = 3,
                                         .payload_size = 1000)));
    while (error == VIVERO_E_NO_MEMORY && nth < 1000) {
        nth++;
        atomic_store(&accountant.asked, 0);
        atomic_store(&accountant.refuse, nth);
        error = vivero_pool_resize(pool, 3);
        atomic_store(&accountant.refuse, 0);
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                        VIVERO_OK);
    }
    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 3);
}

/* Restarts and answers must not need memory that may be missing then. */
static void restarts_a_worker_without_any_memory(void)
{
    struct fail_in in = {1, "stumbles"};

    CU_ASSERT_FATAL(
        open_counted(VIVERO_POOL_OPTIONS(.workers = 1, .payload_size = 1000)));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    atomic_store(&accountant.refuse, 1);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_fail, &in, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    atomic_store(&accountant.refuse, 0);
}

static void counts_the_bytes_each_pool_holds(void)
{
    CU_ASSERT_FATAL(open_counted(
        VIVERO_POOL_OPTIONS(.workers = 2, .payload_size = 100000)));
    struct vivero_memory_stats stats = crew_numbers(pool).memory;

    CU_ASSERT(stats.bytes >= 200000);
    CU_ASSERT(stats.bytes <= (uint64_t)atomic_load(&accountant.bytes));
    CU_ASSERT(stats.bytes_peak >= stats.bytes);
    CU_ASSERT(stats.allocations > 0);
}

SUITE_MAIN("pool_memory", set_up, tear_down,
           TEST(allocates_nothing_for_messages_that_fit_a_slot),
           TEST(counts_arguments_that_do_not_fit_a_slot),
           TEST(answers_no_memory_when_a_large_argument_finds_none),
           TEST(answers_no_memory_to_a_snapshot),
           TEST(answers_no_memory_to_a_resize_and_stays_as_it_was),
           TEST(restarts_a_worker_without_any_memory),
           TEST(counts_the_bytes_each_pool_holds))
