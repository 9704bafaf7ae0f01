/* SPDX-License-Identifier: MIT */
/* Completions in an event loop, and many calls at once. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#include <poll.h>

static struct vivero_pool *pool;
static struct vivero_completions *queue;
static struct gate gate = GATE_SHUT;

static void set_up(void)
{
    gate_shut(&gate);
    pool = NULL;
    queue = NULL;
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
    vivero_completions_close(queue);
    close_pool(&pool);
}

static bool open_pool(uint32_t workers)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = workers));
    return pool != NULL;
}

/* ---- Event loops ----------------------------------------------------------------------------- */

#define LOOP_CALLS 200

static void an_event_loop_takes_completions(void)
{
    static int tags[LOOP_CALLS];
    uint32_t wrong = 0;
    int sent = 0;
    int done = 0;
    struct pollfd entry = {.events = POLLIN};

    CU_ASSERT_FATAL(open_pool(2));
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&queue), VIVERO_OK);
    entry.fd = vivero_completions_fd(queue);
    CU_ASSERT_FATAL(entry.fd >= 0);
    while (done < LOOP_CALLS) {
        struct vivero_completion completion;

        for (; sent < LOOP_CALLS && sent < done + 10; sent++) {
            wrong += vivero_pool_call_async(
                         pool, &crew_echo, &sent,
                         VIVERO_SEND(.completions = queue, .tag = &tags[sent]),
                         NULL) != VIVERO_OK;
        }
        CU_ASSERT_EQUAL_FATAL(poll(&entry, 1, 20000), 1);
        while (vivero_completions_next(queue, &completion, 0) == VIVERO_OK) {
            int value = crew_value_of(completion.future, 0);

            wrong += completion.result != VIVERO_OK ||
                     (int *)completion.tag != &tags[value];
            tags[value]++;
            done++;
        }
    }

    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(poll(&entry, 1, 0), 0);
    for (int i = 0; i < LOOP_CALLS; i++) {
        CU_ASSERT_EQUAL(tags[i], 1);
    }
}

static void a_close_of_the_pool_completes_everything(void)
{
    struct vivero_completion completion;
    int value = 0;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&queue), VIVERO_OK);
    vivero_pool_suspend(pool);
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(
            vivero_pool_call_async(pool, &crew_echo, &value,
                                   VIVERO_SEND(.completions = queue), NULL),
            VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pool = NULL;

    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(vivero_completions_next(queue, &completion, 0),
                        VIVERO_OK);
        CU_ASSERT_EQUAL(completion.result, VIVERO_E_CLOSING);
        CU_ASSERT_EQUAL(crew_value_of(completion.future, 0), VIVERO_E_CLOSING);
    }
    CU_ASSERT_EQUAL(vivero_completions_next(queue, &completion, 0),
                    VIVERO_E_AGAIN);
}

static void a_closed_queue_cancels_what_is_queued(void)
{
    int value = 0;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&queue), VIVERO_OK);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(
            vivero_pool_call_async(pool, &crew_echo, &value,
                                   VIVERO_SEND(.completions = queue), NULL),
            VIVERO_OK);
    }
    vivero_completions_close(queue);
    queue = NULL;

    CU_ASSERT_EQUAL(crew_numbers(pool).cancelled, 5);
    CU_ASSERT_EQUAL(crew_numbers(pool).queued, 0);
}

static void other_messages_take_no_completion_queue(void)
{
    int value = 0;
    int out;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&queue), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_echo, &value, &out,
                                     VIVERO_SEND(.completions = queue)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL,
                                     VIVERO_SEND(.completions = queue)),
                    VIVERO_E_INVALID);
}

/* ---- Load ---------------------------------------------------------------------------------------- */

#define SENDERS 4u
#define CALLS_EACH 25000
#define WINDOW 64

struct sender {
    pthread_t thread;
    uint32_t number;
    uint32_t wrong;
};

/* Keeps WINDOW futures under way; waits for them in turn, abandons some. */
static void *send_many(void *ctx)
{
    struct sender *sender = ctx;
    struct vivero_future window[WINDOW] = {{0}};

    for (int i = 0; i < CALLS_EACH + WINDOW; i++) {
        struct vivero_future *place = &window[i % WINDOW];

        if (i >= WINDOW && i % 7 == 0) {
            vivero_future_abandon(*place);
        } else if (i >= WINDOW) {
            sender->wrong +=
                crew_value_of(*place, VIVERO_FOREVER) != i - WINDOW;
        }
        if (i < CALLS_EACH) {
            sender->wrong += vivero_pool_call_async(
                                 pool, &crew_echo, &i,
                                 VIVERO_SEND(.timeout_ns = VIVERO_FOREVER),
                                 place) != VIVERO_OK;
        }
    }
    return NULL;
}

static void a_hundred_thousand_calls_from_four_threads_are_answered(void)
{
    struct sender senders[SENDERS];
    uint32_t wrong = 0;

    CU_ASSERT_FATAL(open_pool(2));
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.number = i};
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&senders[i].thread, NULL, send_many, &senders[i]),
            0);
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        wrong += senders[i].wrong;
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

/* The same through one completion queue that another thread empties. */
static void *send_to_queue(void *ctx)
{
    struct sender *sender = ctx;

    for (int i = 0; i < CALLS_EACH; i++) {
        sender->wrong +=
            vivero_pool_call_async(
                pool, &crew_echo, &i,
                VIVERO_SEND(.timeout_ns = VIVERO_FOREVER, .completions = queue),
                NULL) != VIVERO_OK;
    }
    return NULL;
}

static void a_queue_is_fed_by_four_threads(void)
{
    struct sender senders[SENDERS];
    uint32_t wrong = 0;

    CU_ASSERT_FATAL(open_pool(2));
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&queue), VIVERO_OK);
    CU_ASSERT_FATAL(vivero_completions_fd(queue) >= 0);
    for (uint32_t i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){.number = i};
        CU_ASSERT_EQUAL_FATAL(pthread_create(&senders[i].thread, NULL,
                                             send_to_queue, &senders[i]),
                              0);
    }
    for (uint32_t i = 0; i < SENDERS * (uint32_t)CALLS_EACH; i++) {
        struct vivero_completion completion;

        wrong += vivero_completions_next(queue, &completion, CREW_PATIENCE) !=
                     VIVERO_OK ||
                 crew_value_of(completion.future, 0) < 0;
        if (wrong > 0) {
            break;
        }
    }
    for (uint32_t i = 0; i < SENDERS; i++) {
        pthread_join(senders[i].thread, NULL);
        wrong += senders[i].wrong;
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

/* Close while others abandon and wait. */
static void *use_until_closed(void *ctx)
{
    struct sender *sender = ctx;
    struct vivero_future futures[WINDOW];

    for (int i = 0; i < WINDOW; i++) {
        if (vivero_pool_call_async(pool, &crew_echo, &i, NULL, &futures[i]) !=
            VIVERO_OK) {
            futures[i] = (struct vivero_future){0};
        }
    }
    gate_pass(&gate);
    for (int i = 0; i < WINDOW; i++) {
        if (i % 2 == 0) {
            vivero_future_abandon(futures[i]);
        } else {
            int result = crew_value_of(futures[i], VIVERO_FOREVER);

            sender->wrong += result != i && result != VIVERO_E_CLOSING;
        }
    }
    return NULL;
}

static void a_close_meets_those_who_abandon(void)
{
    for (int round = 0; round < 20; round++) {
        struct sender senders[SENDERS];
        uint32_t wrong = 0;

        gate_shut(&gate);
        CU_ASSERT_FATAL(open_pool(2));
        vivero_pool_suspend(pool);
        for (uint32_t i = 0; i < SENDERS; i++) {
            senders[i] = (struct sender){.number = i};
            CU_ASSERT_EQUAL_FATAL(pthread_create(&senders[i].thread, NULL,
                                                 use_until_closed, &senders[i]),
                                  0);
        }
        CU_ASSERT_FATAL(gate_await(&gate, SENDERS));
        gate_open(&gate);
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
        pool = NULL;
        for (uint32_t i = 0; i < SENDERS; i++) {
            pthread_join(senders[i].thread, NULL);
            wrong += senders[i].wrong;
        }
        CU_ASSERT_EQUAL(wrong, 0);
    }
}

SUITE_MAIN("future_loop", set_up, tear_down,
           TEST(an_event_loop_takes_completions),
           TEST(a_close_of_the_pool_completes_everything),
           TEST(a_closed_queue_cancels_what_is_queued),
           TEST(other_messages_take_no_completion_queue),
           TEST(a_hundred_thousand_calls_from_four_threads_are_answered),
           TEST(a_queue_is_fed_by_four_threads),
           TEST(a_close_meets_those_who_abandon))
