/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

/* What the callbacks of one pool saw, in order. */
struct life {
    struct journal journal; /* INIT, TERMINATE, DESTROY with the worker */
    struct vivero_exit reason;
    uint64_t incarnation;
    uint32_t strange;
};

enum { INIT = 1, TERMINATE, DESTROY };

static struct life life = {.journal = {.lock = PTHREAD_MUTEX_INITIALIZER}};
static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* The payload is a number that starts at 100 in every incarnation. */
static int fill(struct vivero_self *self, void *payload, void *ctx)
{
    int *number = payload;

    (void)ctx;
    life.strange += *number != 0;
    *number = 100;
    life.incarnation = vivero_incarnation(self);
    journal_write(&life.journal, INIT, vivero_id(self));
    return VIVERO_OK;
}

static void end(struct vivero_self *self, void *payload,
                const struct vivero_exit *reason, void *ctx)
{
    (void)ctx;
    life.strange += *(int *)payload < 100;
    life.reason = *reason;
    journal_write(&life.journal, TERMINATE, vivero_id(self));
}

static void empty(void *payload, void *ctx)
{
    (void)ctx;
    life.strange += *(int *)payload < 100;
    journal_write(&life.journal, DESTROY, 0);
}

static int add(struct vivero_self *self, const void *in, void *out)
{
    int *number = vivero_payload(self);

    *number += *(const int *)in;
    if (out != NULL) {
        memcpy(out, number, sizeof *number);
    }
    return VIVERO_OK;
}

static const struct vivero_operation add_operation = {
    .name = "add", .run = add, .in_size = sizeof(int), .out_size = sizeof(int)};

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    journal_clear(&life.journal);
    life.strange = 0;
    life.reason = (struct vivero_exit){0};
    pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .payload_size = sizeof(int),
                            .init = fill, .terminate = end, .destroy = empty));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(life.strange, 0);
}

static int call_failing(vivero_handler_fn *run)
{
    struct vivero_operation operation = {.name = "failing", .run = run};
    int error = vivero_pool_call(pool, &operation, NULL, NULL, NULL);

    CU_ASSERT(crew_await_restarts(pool, 1));
    return error;
}

static bool was_told(enum vivero_exit_kind kind, int code, const char *text)
{
    const struct vivero_exit *reason = vivero_last_exit();

    return reason->kind == kind && reason->code == code &&
           strcmp(reason->text, text) == 0;
}

/* ---- Ways to fail
 * ------------------------------------------------------------------ */

static int fail_politely(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    (void)out;
    return vivero_fail(self, 13, "bad luck");
}

static void answers_down_with_the_reason_of_vivero_fail(void)
{
    CU_ASSERT_EQUAL(call_failing(fail_politely), VIVERO_E_DOWN);
    CU_ASSERT(was_told(VIVERO_EXIT_FAILED, 13, "bad luck"));
}

static void bottom(const char *text)
{
    vivero_exit(-7, text);
}

static int middle(int number)
{
    bottom("far down");
    return number + 1;
}

static int exit_from_a_deep_call(struct vivero_self *self, const void *in,
                                 void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return middle(50);
}

static void answers_down_with_the_reason_of_a_deep_exit(void)
{
    CU_ASSERT_EQUAL(call_failing(exit_from_a_deep_call), VIVERO_E_DOWN);
    CU_ASSERT(was_told(VIVERO_EXIT_FAILED, -7, "far down"));
}

static int leave(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    pthread_exit(NULL);
}

static void answers_down_when_a_handler_leaves_its_thread(void)
{
    uint32_t threads = crew_threads();

    CU_ASSERT_EQUAL(call_failing(leave), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_THREAD_LEFT);
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
}

static int return_nonsense(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return 4711;
}

static void answers_down_when_a_handler_returns_an_unknown_verdict(void)
{
    CU_ASSERT_EQUAL(call_failing(return_nonsense), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_FAILED);
}

static int fail_at_length(struct vivero_self *self, const void *in, void *out)
{
    char text[200];

    (void)in;
    (void)out;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    return vivero_fail(self, 1, text);
}

static void cuts_a_reason_that_is_too_long(void)
{
    CU_ASSERT_EQUAL(call_failing(fail_at_length), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(strlen(vivero_last_exit()->text), VIVERO_EXIT_TEXT_MAX - 1);
}

static int fail_without_words(struct vivero_self *self, const void *in,
                              void *out)
{
    (void)in;
    (void)out;
    return vivero_fail(self, 2, NULL);
}

static void takes_no_text_for_an_empty_one(void)
{
    CU_ASSERT_EQUAL(call_failing(fail_without_words), VIVERO_E_DOWN);
    CU_ASSERT(was_told(VIVERO_EXIT_FAILED, 2, ""));
}

/* ---- What becomes of the worker
 * --------------------------------------------------------- */

static void starts_anew_with_a_new_payload(void)
{
    int in = 5;
    int out = 0;

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &add_operation, &in, &out, NULL), 0);
    CU_ASSERT_EQUAL(out, 105);
    CU_ASSERT_EQUAL(call_failing(fail_politely), VIVERO_E_DOWN);

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &add_operation, &in, &out, NULL), 0);
    CU_ASSERT_EQUAL(out, 105);
    CU_ASSERT_EQUAL(life.incarnation, 1);
}

static void ends_each_incarnation_once_and_in_order(void)
{
    static const int order[] = {INIT, TERMINATE, DESTROY, INIT};

    CU_ASSERT_EQUAL(call_failing(fail_politely), VIVERO_E_DOWN);

    CU_ASSERT(journal_is(&life.journal, order, 4));
    CU_ASSERT_EQUAL(life.reason.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(life.reason.code, 13);
    CU_ASSERT_STRING_EQUAL(life.reason.text, "bad luck");
}

static void ends_an_incarnation_whose_thread_left_like_any_other(void)
{
    static const int order[] = {INIT, TERMINATE, DESTROY, INIT};

    CU_ASSERT_EQUAL(call_failing(leave), VIVERO_E_DOWN);

    CU_ASSERT(journal_is(&life.journal, order, 4));
    CU_ASSERT_EQUAL(life.reason.kind, VIVERO_EXIT_THREAD_LEFT);
}

static void counts_failures_and_restarts(void)
{
    CU_ASSERT_EQUAL(call_failing(fail_politely), VIVERO_E_DOWN);
    struct vivero_worker_snapshot worker = crew_worker(pool, 1);
    struct vivero_pool_snapshot numbers = crew_numbers(pool);

    CU_ASSERT_EQUAL(numbers.failed, 1);
    CU_ASSERT_EQUAL(numbers.restarts, 1);
    CU_ASSERT_EQUAL(worker.failed, 1);
    CU_ASSERT_EQUAL(worker.restarts, 1);
    CU_ASSERT_EQUAL(worker.last_exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(worker.last_exit.code, 13);
}

static int cast_note(int value)
{
    struct note_in in = {&journal, value};

    return vivero_pool_cast(pool, &crew_note, &in, NULL);
}

static void keeps_the_mailbox_in_order(void)
{
    struct fail_in fail = {1, "in between"};
    static const int order[] = {0, 1, 2, 3, 4, 5};

    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (int n = 0; n < 6; n++) {
        if (n == 2 || n == 4) {
            CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_fail, &fail, NULL), 0);
        }
        CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
    }
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    CU_ASSERT(journal_is(&journal, order, 6));
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 2);
}

static void keeps_the_mailbox_of_a_worker_whose_thread_left(void)
{
    static const int order[] = {1, 2};

    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_leave, NULL, NULL), 0);
    CU_ASSERT_EQUAL(cast_note(1), VIVERO_OK);
    CU_ASSERT_EQUAL(cast_note(2), VIVERO_OK);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    CU_ASSERT(journal_is(&journal, order, 2));
}

static void never_handles_again_what_failed(void)
{
    struct fail_in fail = {1, "poison"};

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_fail, &fail, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(crew_numbers(pool).failed, 1);
    CU_ASSERT_EQUAL(crew_numbers(pool).accepted, 1);
}

static int hold_then_fail(struct vivero_self *self, const void *in, void *out)
{
    (void)out;
    gate_pass(((const struct hold_in *)in)->gate);
    return vivero_fail(self, 4, "late");
}

static const struct vivero_operation late_failure = {
    .name = "late-failure",
    .run = hold_then_fail,
    .in_size = sizeof(struct hold_in)};

static void tells_nobody_twice_when_the_caller_gave_up_first(void)
{
    struct hold_in hold = {&gate};
    int64_t patience = VIVERO_MILLISECONDS(5);

    /* On a busy machine a caller may give up before its handler has begun. */
    do {
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &late_failure, &hold, NULL,
                                         VIVERO_SEND(.timeout_ns = patience)),
                        VIVERO_E_TIMED_OUT);
        patience *= 2;
    } while (crew_numbers(pool).running == 0);
    gate_open(&gate);
    CU_ASSERT(crew_await_restarts(pool, 1));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
}

static void spares_the_other_workers(void)
{
    struct fail_in fail = {1, "alone"};
    struct vivero_pool *pair = crew_open(VIVERO_POOL_OPTIONS(.workers = 2));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pair);
    CU_ASSERT_FATAL(crew_hold_worker(pair, 1, &gate));
    CU_ASSERT_EQUAL(vivero_pool_call(pair, &crew_fail, &fail, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT(crew_await_restarts(pair, 1));

    CU_ASSERT_EQUAL(crew_worker(pair, 1).state, VIVERO_WORKER_BUSY);
    CU_ASSERT_EQUAL(crew_worker(pair, 1).restarts, 0);
    CU_ASSERT_EQUAL(crew_worker(pair, 2).restarts, 1);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_close(pair), VIVERO_OK);
}

/* ---- Replacing the payload
 * ------------------------------------------------------------- */

static int replace(struct vivero_self *self, const void *in, void *out)
{
    (void)out;
    return vivero_replace(self, in);
}

static const struct vivero_operation replace_operation = {
    .name = "replace", .run = replace, .in_size = sizeof(int)};

static void replaces_the_payload_and_destroys_the_old_one(void)
{
    static const int order[] = {INIT, DESTROY};
    int value = 500;
    int one = 1;
    int out = 0;

    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &replace_operation, &value, NULL, NULL),
        VIVERO_OK);
    CU_ASSERT(journal_is(&life.journal, order, 2));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &add_operation, &one, &out, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(out, 501);
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 0);
}

SUITE_MAIN("pool_failure", set_up, tear_down,
           TEST(answers_down_with_the_reason_of_vivero_fail),
           TEST(answers_down_with_the_reason_of_a_deep_exit),
           TEST(answers_down_when_a_handler_leaves_its_thread),
           TEST(answers_down_when_a_handler_returns_an_unknown_verdict),
           TEST(cuts_a_reason_that_is_too_long),
           TEST(takes_no_text_for_an_empty_one),
           TEST(starts_anew_with_a_new_payload),
           TEST(ends_each_incarnation_once_and_in_order),
           TEST(ends_an_incarnation_whose_thread_left_like_any_other),
           TEST(counts_failures_and_restarts), TEST(keeps_the_mailbox_in_order),
           TEST(keeps_the_mailbox_of_a_worker_whose_thread_left),
           TEST(never_handles_again_what_failed),
           TEST(tells_nobody_twice_when_the_caller_gave_up_first),
           TEST(spares_the_other_workers),
           TEST(replaces_the_payload_and_destroys_the_old_one))
