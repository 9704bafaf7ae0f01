/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    pool = NULL;
}

static void tear_down(void)
{
    gate_open(&gate);
}

static bool open_held(uint32_t workers, int64_t shutdown_ns)
{
    pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = workers, .shutdown_ns = shutdown_ns));
    return pool != NULL && crew_hold_all(pool, &gate);
}

static int cast_note(int value)
{
    struct note_in in = {&journal, value};

    return vivero_pool_cast(pool, &crew_note, &in, NULL);
}

/* A thread that opens the gate when the pool has let so many callers go, or at
 * once for 0; so the main thread may stand in close or drain meanwhile. */
struct porter {
    pthread_t thread;
    struct caller *let_go;
    uint32_t count;
};

static void *open_the_gate(void *arg)
{
    struct porter *porter = arg;

    for (uint32_t i = 0; i < porter->count; i++) {
        caller_join(&porter->let_go[i]);
    }
    gate_open(&gate);
    return NULL;
}

static void porter_start(struct porter *porter)
{
    pthread_create(&porter->thread, NULL, open_the_gate, porter);
}

/* ---- Closing
 * ------------------------------------------------------------------------- */

static void closes_an_idle_pool_at_once(void)
{
    uint32_t threads = crew_threads();
    int64_t began_ns = vivero_now();

    pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 8, .shutdown_ns = VIVERO_SECONDS(600)));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT(vivero_now() - began_ns < VIVERO_SECONDS(20));
    CU_ASSERT(crew_await_threads(threads));
}

static void answers_closing_to_callers_that_wait_for_an_answer(void)
{
    static struct caller caller[5];
    struct note_in in = {&journal, 1};
    struct porter porter = {.let_go = caller, .count = 5};

    CU_ASSERT_FATAL(open_held(1, VIVERO_SECONDS(60)));
    for (uint32_t i = 0; i < 5; i++) {
        caller[i] =
            (struct caller){.pool = pool, .operation = &crew_note, .in = &in};
        caller_start(&caller[i]);
    }
    CU_ASSERT_FATAL(crew_await_queued(pool, 5));
    porter_start(&porter);

    /* Close waits for the handler, and the gate opens when all were told. */
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pthread_join(porter.thread, NULL);
    for (uint32_t i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(caller[i].result, VIVERO_E_CLOSING);
    }
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
}

static bool all_wait_for_room(void *ctx)
{
    (void)ctx;
    return crew_numbers(pool).queued == 1;
}

static void answers_closing_to_callers_that_wait_for_room(void)
{
    static struct caller caller[4];
    struct note_in in = {&journal, 1};
    struct porter porter = {.let_go = caller, .count = 4};

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = 1,
                                         .shutdown_ns = VIVERO_SECONDS(60)));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (uint32_t i = 0; i < 4; i++) {
        caller[i] =
            (struct caller){.pool = pool, .operation = &crew_note, .in = &in};
        caller_start(&caller[i]);
    }
    CU_ASSERT_FATAL(eventually(all_wait_for_room, NULL, CREW_PATIENCE));
    /* Nobody may enter once close has begun: they have to be inside. */
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(200));
    porter_start(&porter);

    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pthread_join(porter.thread, NULL);
    for (uint32_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(caller[i].result, VIVERO_E_CLOSING);
    }
}

static void lets_running_handlers_finish(void)
{
    struct hold_in in = {&gate};
    struct caller caller = {.operation = &crew_hold, .in = &in};
    struct porter porter = {.count = 0};

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 2));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    caller.pool = pool;
    caller_start(&caller);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    porter_start(&porter);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pthread_join(porter.thread, NULL);
    caller_join(&caller);

    CU_ASSERT_EQUAL(gate_passed(&gate), 1);
    CU_ASSERT(caller.result == VIVERO_OK || caller.result == VIVERO_E_CLOSING);
}

static void handles_nothing_that_is_queued(void)
{
    struct porter porter = {.count = 0};

    CU_ASSERT_FATAL(open_held(1, VIVERO_SECONDS(60)));
    vivero_pool_suspend(pool);
    for (int n = 0; n < 10; n++) {
        CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
    }
    porter_start(&porter);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pthread_join(porter.thread, NULL);
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
}

static bool nobody_is_abandoned(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 0;
}

static void abandons_a_worker_that_does_not_come_back(void)
{
    uint32_t threads = crew_threads();

    CU_ASSERT_EQUAL(vivero_abandoned_threads(), 0);
    CU_ASSERT_FATAL(open_held(2, VIVERO_MILLISECONDS(30)));
    int64_t began_ns = vivero_now();
    int error = vivero_pool_close(pool);

    CU_ASSERT_EQUAL(error, VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_now() - began_ns >= VIVERO_MILLISECONDS(30));
    CU_ASSERT(vivero_now() - began_ns < VIVERO_SECONDS(10));
    CU_ASSERT_EQUAL(vivero_abandoned_threads(), 2);
    gate_open(&gate);
    CU_ASSERT(eventually(nobody_is_abandoned, NULL, CREW_PATIENCE));
    CU_ASSERT(crew_await_threads(threads));
}

static void frees_what_an_abandoned_worker_needed_when_it_returns(void)
{
    static struct accountant accountant;
    uint32_t threads = crew_threads();

    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
    CU_ASSERT_FATAL(open_held(1, VIVERO_MILLISECONDS(30)));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT(eventually(nobody_is_abandoned, NULL, CREW_PATIENCE));
    CU_ASSERT(crew_await_threads(threads));

    CU_ASSERT_EQUAL(atomic_load(&accountant.bytes), 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

static void lets_the_caller_of_a_stuck_handler_go(void)
{
    struct hold_in in = {&gate};
    struct vivero_send send = *VIVERO_SEND(.timeout_ns = VIVERO_FOREVER);
    struct caller caller = {.operation = &crew_hold, .in = &in, .send = &send};

    pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                      .shutdown_ns = VIVERO_MILLISECONDS(30)));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    caller.pool = pool;
    caller_start(&caller);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_E_TIMED_OUT);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_E_CLOSING);
    gate_open(&gate);
    CU_ASSERT(eventually(nobody_is_abandoned, NULL, CREW_PATIENCE));
}

/* ---- Draining
 * ------------------------------------------------------------------------------
 */

static void reports_an_empty_drain(void)
{
    struct vivero_drain_report report;

    memset(&report, 0xff, sizeof report);
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 2));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, VIVERO_SECONDS(60), &report), 0);

    CU_ASSERT_EQUAL(report.done, 0);
    CU_ASSERT_EQUAL(report.cancelled, 0);
    CU_ASSERT_EQUAL(report.stragglers, 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* Opens the gate once the drain has begun; counts what it sent until then. */
static void *open_when_draining(void *arg)
{
    uint64_t *sent = arg;

    while (vivero_pool_cast(pool, &crew_nothing, NULL, NULL) == VIVERO_OK) {
        (*sent)++;
        eventually_nap();
    }
    gate_open(&gate);
    return NULL;
}

static void handles_all_that_is_queued_when_it_drains(void)
{
    struct vivero_drain_report report;
    pthread_t thread;
    uint64_t sent = 0;

    CU_ASSERT_FATAL(open_held(2, 0));
    for (int n = 0; n < 10; n++) {
        CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
    }
    pthread_create(&thread, NULL, open_when_draining, &sent);
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, VIVERO_SECONDS(60), &report),
                    VIVERO_OK);
    pthread_join(thread, NULL);

    CU_ASSERT_EQUAL(journal_count(&journal), 10);
    CU_ASSERT_EQUAL(report.done, 2 + 10 + sent);
    CU_ASSERT_EQUAL(report.cancelled, 0);
    CU_ASSERT_EQUAL(report.stragglers, 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void answers_draining_to_everything_new(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, 0, NULL), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_E_DRAINING);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL, NULL),
                    VIVERO_E_DRAINING);
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &crew_nothing, NULL, 2),
                    VIVERO_E_DRAINING);
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &crew_nothing, NULL),
                    VIVERO_E_DRAINING);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void cancels_what_is_left_at_the_drains_deadline(void)
{
    static struct caller caller[3];
    struct note_in in = {&journal, 1};
    struct vivero_drain_report report;

    CU_ASSERT_FATAL(open_held(1, VIVERO_SECONDS(60)));
    for (uint32_t i = 0; i < 3; i++) {
        caller[i] =
            (struct caller){.pool = pool, .operation = &crew_note, .in = &in};
        caller_start(&caller[i]);
    }
    CU_ASSERT_FATAL(crew_await_queued(pool, 3));
    CU_ASSERT_EQUAL(cast_note(2), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, VIVERO_MILLISECONDS(20), &report),
                    VIVERO_E_TIMED_OUT);

    for (uint32_t i = 0; i < 3; i++) {
        caller_join(&caller[i]);
        CU_ASSERT_EQUAL(caller[i].result, VIVERO_E_CANCELLED);
    }
    CU_ASSERT_EQUAL(report.done, 0);
    CU_ASSERT_EQUAL(report.cancelled, 4);
    CU_ASSERT_EQUAL(report.stragglers, 1);
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void cancels_at_once_with_a_timeout_of_zero(void)
{
    struct vivero_drain_report report;

    CU_ASSERT_FATAL(open_held(2, VIVERO_SECONDS(60)));
    for (int n = 0; n < 10; n++) {
        CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, 0, &report), VIVERO_E_TIMED_OUT);

    CU_ASSERT_EQUAL(report.cancelled, 10);
    CU_ASSERT_EQUAL(report.stragglers, 2);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void drains_messages_of_failing_workers_too(void)
{
    struct fail_in fail = {1, "while draining"};
    struct vivero_drain_report report;
    struct porter porter = {.count = 0};

    CU_ASSERT_FATAL(open_held(1, VIVERO_SECONDS(60)));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_fail, &fail, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(cast_note(1), VIVERO_OK);
    porter_start(&porter);
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, VIVERO_SECONDS(60), &report),
                    VIVERO_OK);
    pthread_join(porter.thread, NULL);

    CU_ASSERT_EQUAL(journal_count(&journal), 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* The close tells a worker to stop before its supervisor has heard that it
 * failed: both pieces of news must arrive. */
static void closes_while_its_workers_fail(void)
{
    for (int round = 0; round < 300; round++) {
        pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 3,
                                             .restarts_max = VIVERO_UNLIMITED));
        CU_ASSERT_FATAL(pool != NULL);
        for (int i = 0; i < 1 + round % 7; i++) {
            const struct vivero_operation *how =
                i % 3 == 2 ? &crew_leave : &crew_fail;
            static const struct fail_in why = {1, "for a test"};

            CU_ASSERT_EQUAL(vivero_pool_cast(pool, how, &why, NULL), VIVERO_OK);
        }
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    }
    pool = NULL;
}

static void *grow_to_eight(void *arg)
{
    struct vivero_pool *growing = arg;

    return vivero_pool_resize(growing, 8) == VIVERO_E_CLOSING ? arg : NULL;
}

static int init_lets_the_other_go_on(struct vivero_self *self, void *payload,
                                     void *ctx)
{
    (void)self;
    (void)payload;
    gate_open(ctx);
    return VIVERO_OK;
}

/* The resize is inside when the close begins: workers come while others are
 * seen off. */
static void closes_while_it_grows(void)
{
    for (int round = 0; round < 100; round++) {
        struct gate begun = GATE_SHUT;
        pthread_t thread;

        pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .workers_max = 8,
                                             .init = init_lets_the_other_go_on,
                                             .ctx = &begun));
        CU_ASSERT_FATAL(pool != NULL);
        gate_shut(&begun);
        pthread_create(&thread, NULL, grow_to_eight, pool);
        gate_pass(&begun);
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
        pthread_join(thread, NULL);
    }
    pool = NULL;
}

SUITE_MAIN("pool_close", set_up, tear_down, TEST(closes_an_idle_pool_at_once),
           TEST(answers_closing_to_callers_that_wait_for_an_answer),
           TEST(answers_closing_to_callers_that_wait_for_room),
           TEST(lets_running_handlers_finish),
           TEST(handles_nothing_that_is_queued),
           TEST(abandons_a_worker_that_does_not_come_back),
           TEST(frees_what_an_abandoned_worker_needed_when_it_returns),
           TEST(lets_the_caller_of_a_stuck_handler_go),
           TEST(reports_an_empty_drain),
           TEST(handles_all_that_is_queued_when_it_drains),
           TEST(answers_draining_to_everything_new),
           TEST(cancels_what_is_left_at_the_drains_deadline),
           TEST(cancels_at_once_with_a_timeout_of_zero),
           TEST(drains_messages_of_failing_workers_too),
           TEST(closes_while_its_workers_fail), TEST(closes_while_it_grows))
