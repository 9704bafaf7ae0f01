/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};
static atomic_int init_code;
static atomic_uint destroys;

static int fill(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    return atomic_load(&init_code);
}

static void empty(void *payload, void *ctx)
{
    (void)payload;
    (void)ctx;
    atomic_fetch_add(&destroys, 1);
}

#define LIVELY .payload_size = 8, .init = fill, .destroy = empty

static bool open_pool(const struct vivero_pool_options *options)
{
    pool = crew_open(options);
    return pool != NULL;
}

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    atomic_store(&init_code, 0);
    atomic_store(&destroys, 0);
    pool = NULL;
}

static void tear_down(void)
{
    gate_open(&gate);
    if (pool != NULL) {
        CU_ASSERT(crew_is_conserved(pool));
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    }
}

static int cast_note(int value)
{
    struct note_in in = {&journal, value};

    return vivero_pool_cast(pool, &crew_note, &in, NULL);
}

/* ---- Waiting until idle
 * --------------------------------------------------------------- */

static void is_idle_when_nothing_was_sent(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, 0), VIVERO_OK);
}

static void waits_until_every_message_was_dealt_with(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 3)));
    for (uint32_t round = 1; round <= 50; round++) {
        for (int n = 0; n < 20; n++) {
            CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
        }
        CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, VIVERO_FOREVER), VIVERO_OK);
        CU_ASSERT_EQUAL(journal_count(&journal), 20 * round);
    }
}

static void times_out_while_a_handler_runs(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    CU_ASSERT_FATAL(crew_hold_worker(pool, 1, &gate));

    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, VIVERO_MILLISECONDS(10)),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, 0), VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
}

static vivero_handler_fn cast_more;

static const struct vivero_operation chain_operation = {
    .name = "chain", .run = cast_more, .in_size = sizeof(int)};

static int cast_more(struct vivero_self *self, const void *in, void *out)
{
    int left = *(const int *)in - 1;

    (void)self;
    (void)out;
    journal_write(&journal, left, 0);
    return left == 0 ? VIVERO_OK
                     : vivero_pool_cast(vivero_pool_current(), &chain_operation,
                                        &left, NULL);
}

static void waits_for_what_handlers_send_too(void)
{
    int links = 100;

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &chain_operation, &links, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(journal_count(&journal), 100);
}

/* ---- Suspending
 * ------------------------------------------------------------------------- */

static void queues_while_it_is_suspended(void)
{
    static const int order[] = {0, 1, 2, 3, 4};

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1)));
    vivero_pool_suspend(pool);
    for (int n = 0; n < 5; n++) {
        CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, VIVERO_MILLISECONDS(50)),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    CU_ASSERT_EQUAL(crew_numbers(pool).queued, 5);

    vivero_pool_resume(pool);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(journal_is(&journal, order, 5));
}

static void finishes_what_runs_when_it_is_suspended(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(cast_note(1), VIVERO_OK);
    CU_ASSERT_EQUAL(cast_note(2), VIVERO_OK);
    vivero_pool_suspend(pool);
    gate_open(&gate);

    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, VIVERO_MILLISECONDS(50)),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(gate_passed(&gate), 1);
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    vivero_pool_resume(pool);
    CU_ASSERT(journal_await(&journal, 2));
}

static void suspends_and_resumes_any_number_of_times(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    vivero_pool_resume(pool);
    vivero_pool_suspend(pool);
    vivero_pool_suspend(pool);
    CU_ASSERT_EQUAL(cast_note(1), VIVERO_OK);
    vivero_pool_resume(pool);
    CU_ASSERT(journal_await(&journal, 1));
    vivero_pool_resume(pool);
    for (int n = 0; n < 200; n++) {
        vivero_pool_suspend(pool);
        CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
        vivero_pool_resume(pool);
    }
    CU_ASSERT(journal_await(&journal, 201));
}

static void times_calls_out_while_it_is_suspended(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    vivero_pool_suspend(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.timeout_ns = 10000000)),
                    VIVERO_E_TIMED_OUT);
    vivero_pool_resume(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
}

static void closes_while_it_is_suspended(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    vivero_pool_suspend(pool);
    CU_ASSERT_EQUAL(cast_note(1), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pool = NULL;
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
}

/* ---- Growing and shrinking
 * ------------------------------------------------------------------ */

static void grows(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1, LIVELY)));
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 6), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_pool_size(pool), 6);
    CU_ASSERT(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(crew_numbers(pool).running, 6);
}

static void takes_work_that_was_queued_before_it_grew(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (int n = 0; n < 20; n++) {
        CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_OK);
    CU_ASSERT(journal_await(&journal, 20));
    CU_ASSERT_EQUAL(gate_passed(&gate), 0);
}

static bool four_were_destroyed(void *ctx)
{
    (void)ctx;
    return atomic_load(&destroys) == 4;
}

static void shrinks_by_its_highest_workers(void)
{
    uint32_t threads = crew_threads();

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 6, LIVELY)));
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_pool_size(pool), 2);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.worker = 3)),
                    VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.worker = 2)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &crew_nothing, NULL), 2);
    CU_ASSERT(eventually(four_were_destroyed, NULL, CREW_PATIENCE));
    CU_ASSERT(crew_await_threads(threads + 3));
}

static void handles_what_stood_in_the_mailboxes_it_takes_away(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (int n = 0; n < 10; n++) {
        struct note_in in = {&journal, n};

        CU_ASSERT_EQUAL(
            vivero_pool_cast(pool, &crew_note, &in, VIVERO_SEND(.worker = 2)),
            VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 1), VIVERO_OK);
    CU_ASSERT_EQUAL(gate_passed(&gate), 0);
    gate_open(&gate);

    CU_ASSERT(journal_await(&journal, 10));
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(journal.entry[9].worker, 2);
}

static void obeys_while_its_mailboxes_are_full(void)
{
    CU_ASSERT_FATAL(
        open_pool(VIVERO_POOL_OPTIONS(.workers = 2, .mailbox_depth = 1)));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(cast_note(1), VIVERO_OK);
    CU_ASSERT_EQUAL(cast_note(2), VIVERO_OK);
    CU_ASSERT_EQUAL(cast_note(3), VIVERO_E_FULL);

    vivero_pool_suspend(pool);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 1), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 1);
    vivero_pool_resume(pool);
    gate_open(&gate);
    CU_ASSERT(journal_await(&journal, 2));
}

static void calls_a_worker_back_that_is_leaving_from_a_handler(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    CU_ASSERT_FATAL(crew_hold_worker(pool, 2, &gate));
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 1), VIVERO_OK);
    CU_ASSERT_EQUAL(crew_worker(pool, 2).state, VIVERO_WORKER_LEAVING);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 2);

    gate_open(&gate);

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.worker = 2)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(crew_worker(pool, 2).restarts, 0);
}

static void takes_a_lingering_worker_back(void)
{
    CU_ASSERT_FATAL(open_pool(
        VIVERO_POOL_OPTIONS(.name = "linger", .workers = 2,
                            .linger_ns = VIVERO_SECONDS(600), LIVELY)));

    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 1), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.worker = 2)),
                    VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.worker = 2)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&destroys), 0);
    CU_ASSERT_EQUAL(crew_threads_named("linger/2"), 1);
}

static void breathes_for_a_long_time(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1, LIVELY)));
    for (uint32_t i = 0; i < 100; i++) {
        uint32_t size = i * 7 % 5 + 1;
        int error = VIVERO_E_AGAIN;

        CU_ASSERT_EQUAL(cast_note(1), VIVERO_OK);
        while (error == VIVERO_E_AGAIN) {
            error = vivero_pool_resize(pool, size);
        }
        CU_ASSERT_EQUAL(error, VIVERO_OK);
        CU_ASSERT_EQUAL(vivero_pool_size(pool), size);
    }
    CU_ASSERT(journal_await(&journal, 100));
}

static void answers_invalid_for_an_impossible_size(void)
{
    CU_ASSERT_FATAL(
        open_pool(VIVERO_POOL_OPTIONS(.workers = 2, .workers_max = 3)));
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 0), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 4), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 2);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 3), VIVERO_OK);
}

static void grows_to_sixty_four_workers_by_default(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 65), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 64), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 64);
}

static void answers_with_the_code_of_an_init_that_fails_when_it_grows(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2, LIVELY)));
    atomic_store(&init_code, -88);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 4), -88);

    CU_ASSERT_EQUAL(vivero_pool_size(pool), 2);
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 0);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    atomic_store(&init_code, 0);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 4), VIVERO_OK);
}

SUITE_MAIN("pool_control", set_up, tear_down,
           TEST(is_idle_when_nothing_was_sent),
           TEST(waits_until_every_message_was_dealt_with),
           TEST(times_out_while_a_handler_runs),
           TEST(waits_for_what_handlers_send_too),
           TEST(queues_while_it_is_suspended),
           TEST(finishes_what_runs_when_it_is_suspended),
           TEST(suspends_and_resumes_any_number_of_times),
           TEST(times_calls_out_while_it_is_suspended),
           TEST(closes_while_it_is_suspended), TEST(grows),
           TEST(takes_work_that_was_queued_before_it_grew),
           TEST(shrinks_by_its_highest_workers),
           TEST(handles_what_stood_in_the_mailboxes_it_takes_away),
           TEST(obeys_while_its_mailboxes_are_full),
           TEST(calls_a_worker_back_that_is_leaving_from_a_handler),
           TEST(takes_a_lingering_worker_back), TEST(breathes_for_a_long_time),
           TEST(answers_invalid_for_an_impossible_size),
           TEST(grows_to_sixty_four_workers_by_default),
           TEST(answers_with_the_code_of_an_init_that_fails_when_it_grows))
