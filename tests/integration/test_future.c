/* SPDX-License-Identifier: MIT */
/* Calls whose answers are waited for later, or not at all. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;

static void set_up(void)
{
    gate_shut(&gate);
    pool = NULL;
}

static void close_pool(struct vivero_pool **closing)
{
    if (*closing != NULL) {
        CU_ASSERT(crew_is_conserved(*closing));
        CU_ASSERT_EQUAL(vivero_pool_close(*closing), VIVERO_OK);
        *closing = NULL;
    }
}

static void tear_down(void)
{
    gate_open(&gate);
    close_pool(&pool);
}

static bool open_pool(uint32_t workers)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = workers));
    return pool != NULL;
}

static bool is_ready(void *ctx)
{
    return vivero_future_is_ready(*(struct vivero_future *)ctx);
}

/* ---- Waiting ------------------------------------------------------------------- */

static void an_answer_that_is_there_is_not_waited_for(void)
{
    struct vivero_future future;

    CU_ASSERT_FATAL(open_pool(1));
    future = crew_call_echo(pool, 7);

    CU_ASSERT(eventually(is_ready, &future, CREW_PATIENCE));
    CU_ASSERT_EQUAL(crew_value_of(future, 0), 7);
    CU_ASSERT_EQUAL(crew_value_of(future, 0), VIVERO_E_GONE);
}

static void a_wait_that_times_out_may_be_repeated(void)
{
    struct vivero_future future;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    future = crew_call_echo(pool, 7);

    CU_ASSERT_EQUAL(crew_value_of(future, 0), VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(crew_value_of(future, VIVERO_MILLISECONDS(1)),
                    VIVERO_E_AGAIN);
    gate_open(&gate);
    CU_ASSERT_EQUAL(crew_value_of(future, VIVERO_FOREVER), 7);
}

static void what_the_handler_returns_is_the_result(void)
{
    struct vivero_future future;
    int code = -1234;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(pool, &crew_answer, &code, NULL, &future),
        VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_future_wait(future, NULL, 0, VIVERO_FOREVER), -1234);
}

static void a_worker_that_fails_answers_down(void)
{
    const struct fail_in in = {13, "bad luck"};
    struct vivero_future future;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(pool, &crew_fail, &in, NULL, &future),
        VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_future_wait(future, NULL, 0, VIVERO_FOREVER),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 13);
    CU_ASSERT_STRING_EQUAL(vivero_last_exit()->text, "bad luck");
}

static void a_call_that_expires_in_the_queue_is_not_run(void)
{
    static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};
    const struct note_in in = {&journal, 1};
    const int64_t timeout = VIVERO_MILLISECONDS(1);
    struct vivero_future future;

    journal_clear(&journal);
    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_call_async(pool, &crew_note, &in,
                                           VIVERO_SEND(.timeout_ns = timeout),
                                           &future),
                    VIVERO_OK);
    /* The clock of the queue is coarse. */
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(50));
    CU_ASSERT_FALSE(vivero_future_is_ready(future));
    gate_open(&gate);

    CU_ASSERT_EQUAL(vivero_future_wait(future, NULL, 0, VIVERO_FOREVER),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
}

static void without_a_time_out_it_waits_in_the_queue_for_ever(void)
{
    struct vivero_future future;
    int value = 5;

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .call_timeout_ns = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(pool, &crew_echo, &value,
                               VIVERO_SEND(.timeout_ns = VIVERO_NONE), &future),
        VIVERO_OK);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(20));
    gate_open(&gate);

    CU_ASSERT_EQUAL(crew_value_of(future, VIVERO_FOREVER), 5);
}

static int ignore(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return VIVERO_OK;
}

#define BIG 4096

static const struct vivero_operation big = {
    .name = "big", .run = ignore, .in_size = BIG, .out_size = BIG};

static void large_arguments_are_freed_with_an_abandoned_call(void)
{
    static const unsigned char in[BIG];
    struct vivero_future future;
    uint64_t before;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    before = crew_numbers(pool).memory.bytes;
    CU_ASSERT_EQUAL(vivero_pool_call_async(pool, &big, in, NULL, &future),
                    VIVERO_OK);
    CU_ASSERT(crew_numbers(pool).memory.bytes > before);
    vivero_future_abandon(future);

    CU_ASSERT_EQUAL(crew_numbers(pool).memory.bytes, before);
}

#define SLEEPERS 4u

struct sleeper {
    pthread_t thread;
    struct vivero_future future;
    int result;
};

static void *sleep_on_it(void *ctx)
{
    struct sleeper *sleeper = ctx;

    sleeper->result = crew_value_of(sleeper->future, VIVERO_FOREVER);
    return NULL;
}

static void of_several_who_wait_for_one_future_one_has_it(void)
{
    struct sleeper sleepers[SLEEPERS];
    struct vivero_future future;
    uint32_t had = 0;
    uint32_t gone = 0;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    future = crew_call_echo(pool, 7);
    for (uint32_t i = 0; i < SLEEPERS; i++) {
        sleepers[i].future = future;
        CU_ASSERT_EQUAL_FATAL(pthread_create(&sleepers[i].thread, NULL,
                                             sleep_on_it, &sleepers[i]),
                              0);
    }
    eventually_nap();
    gate_open(&gate);
    for (uint32_t i = 0; i < SLEEPERS; i++) {
        pthread_join(sleepers[i].thread, NULL);
        had += sleepers[i].result == 7;
        gone += sleepers[i].result == VIVERO_E_GONE;
    }

    CU_ASSERT_EQUAL(had, 1);
    CU_ASSERT_EQUAL(gone, SLEEPERS - 1);
}

/* ---- Many --------------------------------------------------------------------------- */

#define MANY 100u

static void wait_any_wakes_for_each_of_a_hundred(void)
{
    struct vivero_future futures[MANY];
    bool had[MANY] = {false};
    uint32_t wrong = 0;

    CU_ASSERT_FATAL(open_pool(3));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (uint32_t i = 0; i < MANY; i++) {
        futures[i] = crew_call_echo(pool, (int)i);
    }
    CU_ASSERT_EQUAL(
        vivero_future_wait_any(futures, MANY, VIVERO_MILLISECONDS(1)),
        VIVERO_E_AGAIN);
    gate_open(&gate);
    for (uint32_t i = 0; i < MANY; i++) {
        int index = vivero_future_wait_any(futures, MANY, VIVERO_FOREVER);

        CU_ASSERT_FATAL(index >= 0 && index < (int)MANY);
        wrong += had[index] || crew_value_of(futures[index], 0) != index;
        had[index] = true;
    }

    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(vivero_future_wait_any(futures, MANY, VIVERO_FOREVER),
                    VIVERO_E_GONE);
}

static int64_t cpu_time_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return now.tv_sec * VIVERO_SECONDS(1) + now.tv_nsec;
}

static void waiting_for_several_takes_no_processor_time(void)
{
    struct vivero_future futures[MANY];
    int64_t before;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (uint32_t i = 0; i < MANY; i++) {
        futures[i] = crew_call_echo(pool, (int)i);
    }
    before = cpu_time_ns();
    CU_ASSERT_EQUAL(
        vivero_future_wait_any(futures, MANY, VIVERO_MILLISECONDS(200)),
        VIVERO_E_AGAIN);
    CU_ASSERT(cpu_time_ns() - before < VIVERO_MILLISECONDS(20));

    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_future_wait_all(futures, MANY, VIVERO_FOREVER),
                    VIVERO_OK);
    for (uint32_t i = 0; i < MANY; i++) {
        CU_ASSERT_EQUAL(crew_value_of(futures[i], 0), (int)i);
    }
}

/* ---- Abandoning ------------------------------------------------------------------------ */

static void abandoning_what_is_queued_makes_room_at_once(void)
{
    struct vivero_future future;
    struct vivero_future second;
    int value = 1;

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = 1,
                                         .full_call = VIVERO_FULL_REJECT));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    future = crew_call_echo(pool, 1);
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(pool, &crew_echo, &value, NULL, &second),
        VIVERO_E_FULL);

    vivero_future_abandon(future);
    CU_ASSERT_EQUAL(crew_numbers(pool).cancelled, 1);
    second = crew_call_echo(pool, 2);
    gate_open(&gate);

    CU_ASSERT_EQUAL(crew_value_of(second, VIVERO_FOREVER), 2);
    CU_ASSERT_EQUAL(crew_value_of(future, 0), VIVERO_E_GONE);
}

static void abandoning_what_runs_drops_its_reply(void)
{
    const struct hold_in in = {&gate};
    struct vivero_future future;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(pool, &crew_hold, &in, NULL, &future),
        VIVERO_OK);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    vivero_future_abandon(future);
    CU_ASSERT_EQUAL(vivero_future_wait(future, NULL, 0, 0), VIVERO_E_GONE);
    gate_open(&gate);

    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 1);
}

static void *abandon_it(void *ctx)
{
    eventually_nap();
    vivero_future_abandon(*(struct vivero_future *)ctx);
    return NULL;
}

static void abandoning_lets_go_who_waits(void)
{
    struct vivero_future future;
    pthread_t thread;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (int i = 0; i < 2; i++) {
        future = crew_call_echo(pool, 1);
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&thread, NULL, abandon_it, &future), 0);
        CU_ASSERT_EQUAL(
            i == 0 ? crew_value_of(future, VIVERO_FOREVER)
                   : vivero_future_wait_any(&future, 1, VIVERO_FOREVER),
            VIVERO_E_GONE);
        pthread_join(thread, NULL);
    }
}

SUITE_MAIN("future", set_up, tear_down,
           TEST(an_answer_that_is_there_is_not_waited_for),
           TEST(a_wait_that_times_out_may_be_repeated),
           TEST(what_the_handler_returns_is_the_result),
           TEST(a_worker_that_fails_answers_down),
           TEST(a_call_that_expires_in_the_queue_is_not_run),
           TEST(without_a_time_out_it_waits_in_the_queue_for_ever),
           TEST(large_arguments_are_freed_with_an_abandoned_call),
           TEST(of_several_who_wait_for_one_future_one_has_it),
           TEST(wait_any_wakes_for_each_of_a_hundred),
           TEST(waiting_for_several_takes_no_processor_time),
           TEST(abandoning_what_is_queued_makes_room_at_once),
           TEST(abandoning_what_runs_drops_its_reply),
           TEST(abandoning_lets_go_who_waits))
