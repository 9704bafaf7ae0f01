/* SPDX-License-Identifier: MIT */
/* Futures of pools that close, and calls that never become one. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

static struct vivero_pool *pool;
static struct vivero_pool *other;
static struct vivero_completions *queue;
static struct gate gate = GATE_SHUT;

static void set_up(void)
{
    gate_shut(&gate);
    pool = NULL;
    other = NULL;
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
    close_pool(&other);
}

static bool open_pool(uint32_t workers)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = workers));
    return pool != NULL;
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

static bool is_ready(void *ctx)
{
    return vivero_future_is_ready(*(struct vivero_future *)ctx);
}

/* ---- The pool's end ---------------------------------------------------------------------- */

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

static void a_close_answers_what_is_queued_closing(void)
{
    struct sleeper sleeper;
    struct vivero_future queued;
    struct vivero_future done;

    CU_ASSERT_FATAL(open_pool(1));
    done = crew_call_echo(pool, 1);
    CU_ASSERT(eventually(is_ready, &done, CREW_PATIENCE));
    vivero_pool_suspend(pool);
    queued = crew_call_echo(pool, 2);
    sleeper.future = crew_call_echo(pool, 3);
    CU_ASSERT_EQUAL_FATAL(
        pthread_create(&sleeper.thread, NULL, sleep_on_it, &sleeper), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pool = NULL;
    pthread_join(sleeper.thread, NULL);

    CU_ASSERT_EQUAL(sleeper.result, VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(crew_value_of(queued, 0), VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(crew_value_of(done, 0), 1);
}

static void a_close_that_abandons_a_worker_answers_closing(void)
{
    const struct hold_in in = {&gate};
    uint32_t threads = crew_threads();
    struct vivero_future future;

    pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                      .shutdown_ns = VIVERO_MILLISECONDS(10)));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(pool, &crew_hold, &in, NULL, &future),
        VIVERO_OK);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_E_TIMED_OUT);
    pool = NULL;

    CU_ASSERT_EQUAL(vivero_future_wait(future, NULL, 0, VIVERO_FOREVER),
                    VIVERO_E_CLOSING);
    gate_open(&gate);
    CU_ASSERT(crew_await_threads(threads));
}

/* ---- Refusals ------------------------------------------------------------------------------ */

static void what_cannot_be_sent_has_no_future(void)
{
    struct vivero_future future = {1, 2};
    int value = 0;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL(vivero_pool_call_async(pool, &crew_echo, &value,
                                           VIVERO_SEND(.worker = 9), &future),
                    VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(vivero_pool_call_async(pool, &crew_echo, &value,
                                           VIVERO_SEND(.timeout_ns = -7),
                                           &future),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_pool_drain(pool, VIVERO_FOREVER, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(pool, &crew_echo, &value, NULL, &future),
        VIVERO_E_DRAINING);
    CU_ASSERT_EQUAL(future.slot, 1);
    CU_ASSERT_EQUAL(future.generation, 2);
}

static void a_full_pool_is_waited_for_up_to_the_time_out(void)
{
    struct vivero_future first;
    struct vivero_future future;
    int value = 0;

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = 1,
                                         .full_call = VIVERO_FULL_WAIT));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    first = crew_call_echo(pool, 1);

    CU_ASSERT_EQUAL(vivero_pool_call_async(
                        pool, &crew_echo, &value,
                        VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(2)),
                        &future),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(pool, &crew_echo, &value,
                               VIVERO_SEND(.timeout_ns = VIVERO_NONE), &future),
        VIVERO_E_TIMED_OUT);
    vivero_future_abandon(first);
}

static int call_on_other(struct vivero_self *self, const void *in, void *out)
{
    int value = 0;
    struct vivero_future future;

    (void)self;
    (void)in;
    *(int *)out = vivero_pool_call_async(
        other, &crew_echo, &value, VIVERO_SEND(.timeout_ns = VIVERO_FOREVER),
        &future);
    return VIVERO_OK;
}

static void a_worker_does_not_wait_for_room(void)
{
    const struct vivero_operation operation = {
        .name = "send", .run = call_on_other, .out_size = sizeof(int)};
    struct vivero_future first;
    int value = 0;
    int result = 0;

    CU_ASSERT_FATAL(open_pool(1));
    other = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = 1,
                                          .full_call = VIVERO_FULL_WAIT));
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_FATAL(crew_hold_all(other, &gate));
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(other, &crew_echo, &value, NULL, &first),
        VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &operation, NULL, &result, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(result, VIVERO_E_FULL);
    vivero_future_abandon(first);
}

/* ---- Deadlocks -------------------------------------------------------------------------------- */

struct own_out {
    int first;  /* of the wait for its own pool */
    int second; /* of another wait, without waiting */
};

static int wait_for_own_pool(struct vivero_self *self, const void *in,
                             void *out)
{
    struct own_out *own = out;
    struct vivero_future future;

    (void)self;
    (void)in;
    if (vivero_pool_call_async(vivero_pool_current(), &crew_nothing, NULL,
                               VIVERO_SEND(.timeout_ns = VIVERO_FOREVER),
                               &future) != VIVERO_OK) {
        return VIVERO_E_INVALID;
    }
    own->first = vivero_future_wait(future, NULL, 0, VIVERO_FOREVER);
    own->second = vivero_future_wait(future, NULL, 0, 0);
    vivero_future_abandon(future);
    return VIVERO_OK;
}

static const struct vivero_operation wait_own = {.name = "wait_own",
                                                 .run = wait_for_own_pool,
                                                 .out_size =
                                                     sizeof(struct own_out)};

static void a_worker_that_waits_for_itself_is_told(void)
{
    struct own_out out = {0};

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &wait_own, NULL, &out, NULL),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(out.first, VIVERO_E_DEADLOCK);
    CU_ASSERT_EQUAL(out.second, VIVERO_E_AGAIN);
}

static void a_worker_may_wait_for_its_siblings(void)
{
    struct own_out out = {0};

    CU_ASSERT_FATAL(open_pool(2));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &wait_own, NULL, &out, NULL),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(out.first, VIVERO_OK);
    CU_ASSERT_EQUAL(out.second, VIVERO_E_GONE);
}

/* ---- Memory ------------------------------------------------------------------------------------------- */

static void no_memory_is_reported_and_leaves_nothing(void)
{
    static struct accountant accountant;
    static const unsigned char in[BIG];
    static unsigned char out[BIG];
    uint32_t refused = 0;
    int error = VIVERO_E_NO_MEMORY;

    memset(&accountant, 0, sizeof(accountant));
    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&queue), VIVERO_OK);
    for (long long n = 0; error == VIVERO_E_NO_MEMORY && n < 10; n++) {
        struct vivero_completion completion;

        atomic_store(&accountant.refuse,
                     atomic_load(&accountant.asked) + n + 1);
        error = vivero_pool_call_async(pool, &big, in,
                                       VIVERO_SEND(.completions = queue), NULL);
        atomic_store(&accountant.refuse, 0);
        refused += error == VIVERO_E_NO_MEMORY;
        CU_ASSERT_EQUAL(
            vivero_completions_next(queue, &completion,
                                    error == VIVERO_OK ? CREW_PATIENCE : 0),
            error == VIVERO_OK ? VIVERO_OK : VIVERO_E_AGAIN);
        if (error == VIVERO_OK) {
            CU_ASSERT_EQUAL(
                vivero_future_wait(completion.future, out, sizeof(out), 0),
                VIVERO_OK);
        }
    }
    vivero_completions_close(queue);
    queue = NULL;
    close_pool(&pool);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT(refused >= 2);
    CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

/* ---- Misuse and forks ------------------------------------------------------------------------------------ */

static int send_without_a_place(void *ctx)
{
    (void)ctx;
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));
    return vivero_pool_call_async(pool, &crew_nothing, NULL, NULL, NULL);
}

static void a_call_needs_a_place_for_its_future(void)
{
    char sentence[CREW_SENTENCE_MAX];

    CU_ASSERT_EQUAL(crew_fork(send_without_a_place, NULL, sentence),
                    CREW_MISUSE);
    CU_ASSERT_PTR_NOT_NULL(strstr(sentence, "vivero_pool_call_async"));
}

static int use_in_child(void *ctx)
{
    struct vivero_future future = *(struct vivero_future *)ctx;
    struct vivero_completions *fresh;
    struct vivero_completion completion;

    vivero_future_abandon(future);
    return vivero_future_is_ready(future) ||
           vivero_future_wait(future, NULL, 0, 0) != VIVERO_E_FORKED ||
           vivero_future_wait_any(&future, 1, 0) != VIVERO_E_FORKED ||
           vivero_future_wait_all(&future, 1, 0) != VIVERO_E_FORKED ||
           vivero_completions_open(&fresh) != VIVERO_E_FORKED ||
           vivero_completions_next(queue, &completion, 0) != VIVERO_E_FORKED ||
           vivero_completions_fd(queue) != VIVERO_E_FORKED ||
           vivero_pool_call_async(pool, &crew_nothing, NULL, NULL, &future) !=
               VIVERO_E_FORKED;
}

static void a_forked_child_has_no_futures(void)
{
    struct vivero_future future;

    CU_ASSERT_FATAL(open_pool(1));
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&queue), VIVERO_OK);
    future = crew_call_echo(pool, 3);
    CU_ASSERT_EQUAL(crew_fork(use_in_child, &future, NULL), 0);

    CU_ASSERT_EQUAL(crew_value_of(future, VIVERO_FOREVER), 3);
}

SUITE_MAIN("future_ends", set_up, tear_down,
           TEST(a_close_answers_what_is_queued_closing),
           TEST(a_close_that_abandons_a_worker_answers_closing),
           TEST(what_cannot_be_sent_has_no_future),
           TEST(a_full_pool_is_waited_for_up_to_the_time_out),
           TEST(a_worker_does_not_wait_for_room),
           TEST(a_worker_that_waits_for_itself_is_told),
           TEST(a_worker_may_wait_for_its_siblings),
           TEST(no_memory_is_reported_and_leaves_nothing),
           TEST(a_call_needs_a_place_for_its_future),
           TEST(a_forked_child_has_no_futures))
