/* SPDX-License-Identifier: MIT */
/* What becomes of messages that a failure meets: dead letters, flushed
 * mailboxes, another attempt. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <string.h>

#define DEADLINE VIVERO_MILLISECONDS(40)
#define DEAD_MAX 32u

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

struct letter {
    const struct vivero_operation *operation;
    int value; /* first int of its arguments */
    struct vivero_exit reason;
    uint32_t attempt;
    bool has_pool;
};

static pthread_mutex_t letters_lock = PTHREAD_MUTEX_INITIALIZER;
static struct letter letters[DEAD_MAX]; /* guarded by letters_lock */
static uint32_t letter_count;           /* guarded by letters_lock */

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    letter_count = 0;
    pool = NULL;
}

static bool no_zombies(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 0;
}

static void tear_down(void)
{
    gate_open(&gate);
    (void)eventually(no_zombies, NULL, CREW_PATIENCE);
}

static void keep_letter(struct vivero_pool *of, const struct vivero_dead *dead,
                        void *ctx)
{
    struct letter letter = {.operation = dead->operation,
                            .reason = *dead->reason,
                            .attempt = dead->attempt,
                            .has_pool = of == pool && ctx == &journal};

    if (dead->in != NULL) {
        memcpy(&letter.value, dead->in, sizeof(letter.value));
    }
    pthread_mutex_lock(&letters_lock);
    if (letter_count < DEAD_MAX) {
        letters[letter_count] = letter;
    }
    letter_count++;
    pthread_mutex_unlock(&letters_lock);
}

static struct letter letter_at(uint32_t index)
{
    struct letter letter;

    pthread_mutex_lock(&letters_lock);
    letter = letters[index];
    pthread_mutex_unlock(&letters_lock);
    return letter;
}

static uint32_t letters_now(void)
{
    uint32_t count;

    pthread_mutex_lock(&letters_lock);
    count = letter_count;
    pthread_mutex_unlock(&letters_lock);
    return count;
}

#define COMMON .ctx = &journal, .on_dead = keep_letter, .restarts_max = 1000

/* ---- The message in flight
 * ------------------------------------------------------------------ */

static void a_failed_message_is_a_dead_letter(void)
{
    const struct fail_in fail = {13, "unlucky"};

    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_fail, &fail, NULL), VIVERO_OK);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL_FATAL(letters_now(), 1);
    CU_ASSERT_PTR_EQUAL(letter_at(0).operation, &crew_fail);
    CU_ASSERT_EQUAL(letter_at(0).value, 13);
    CU_ASSERT_EQUAL(letter_at(0).reason.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(letter_at(0).reason.code, 13);
    CU_ASSERT_EQUAL(letter_at(0).attempt, 1);
    CU_ASSERT(letter_at(0).has_pool);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(letters_now(), 1);
}

static void a_message_whose_handler_left_is_a_dead_letter(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_leave, NULL, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL_FATAL(letters_now(), 1);
    CU_ASSERT_EQUAL(letter_at(0).reason.kind, VIVERO_EXIT_THREAD_LEFT);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void a_message_whose_handler_hangs_is_a_dead_letter(void)
{
    const struct hold_in hold = {&gate};

    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 1,
                                         .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL_FATAL(letters_now(), 1);
    CU_ASSERT_EQUAL(letter_at(0).reason.kind, VIVERO_EXIT_HUNG_BLOCKED);
    gate_open(&gate);
    CU_ASSERT(eventually(no_zombies, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(letters_now(), 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void an_error_is_no_dead_letter(void)
{
    const int error = -1234;

    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_answer, &error, NULL, NULL),
                    error);
    CU_ASSERT_EQUAL(letters_now(), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Queued ones
 * ---------------------------------------------------------------------------- */

static void cast_notes(uint32_t worker, int count)
{
    for (int i = 0; i < count; i++) {
        const struct note_in in = {&journal, i};

        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_note, &in,
                                         VIVERO_SEND(.worker = worker)),
                        VIVERO_OK);
    }
}

static void what_a_close_discards_are_dead_letters(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 2));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    vivero_pool_suspend(pool);
    cast_notes(0, 3);
    cast_notes(2, 4);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(letters_now(), 7);
    CU_ASSERT_PTR_EQUAL(letter_at(0).operation, &crew_note);
    CU_ASSERT_EQUAL(letter_at(0).reason.kind, VIVERO_EXIT_SHUTDOWN);
    CU_ASSERT_EQUAL(letter_at(0).reason.code, VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(letter_at(0).attempt, 0);
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
}

static void what_is_cancelled_is_no_dead_letter(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    vivero_pool_suspend(pool);
    cast_notes(0, 3);
    CU_ASSERT_EQUAL(vivero_pool_cancel_all(pool), 3);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(letters_now(), 0);
}

static void what_a_pool_that_goes_down_discards_are_dead_letters(void)
{
    const struct fail_in fail = {5, "last"};

    pool = crew_open(VIVERO_POOL_OPTIONS(.ctx = &journal,
                                         .on_dead = keep_letter, .workers = 1,
                                         .restarts_max = VIVERO_NONE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_fail, &fail, NULL), VIVERO_OK);
    cast_notes(0, 5);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(letters_now(), 6);
    CU_ASSERT_EQUAL(letter_at(5).reason.kind, VIVERO_EXIT_RESTART_LIMIT);
    CU_ASSERT_EQUAL(letter_at(5).reason.code, 5);
}

/* ---- Flushing
 * ------------------------------------------------------------------------------- */

static void keeps_its_mailbox_by_default(void)
{
    const struct fail_in fail = {5, "once"};

    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(
        vivero_pool_cast(pool, &crew_fail, &fail, VIVERO_SEND(.worker = 1)),
        VIVERO_OK);
    cast_notes(1, 3);
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(journal_count(&journal), 3);
    CU_ASSERT_EQUAL(letters_now(), 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void flushes_the_mailbox_of_a_worker_that_fails(void)
{
    const struct fail_in fail = {5, "all of you"};
    static struct caller caller;
    const struct note_in in = {&journal, 9};

    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 1,
                                         .mailbox = VIVERO_MAILBOX_FLUSH));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(
        vivero_pool_cast(pool, &crew_fail, &fail, VIVERO_SEND(.worker = 1)),
        VIVERO_OK);
    cast_notes(1, 3);
    cast_notes(0, 2);
    caller = (struct caller){.pool = pool,
                             .operation = &crew_note,
                             .in = &in,
                             .send = VIVERO_SEND(.worker = 1)};
    caller_start(&caller);
    CU_ASSERT_FATAL(crew_await_queued(pool, 7));
    gate_open(&gate);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(caller.reason.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(caller.reason.code, 5);
    CU_ASSERT(crew_is_conserved(pool));
    /* A pool lane may be served before the own one: those two may have run. */
    CU_ASSERT(journal_count(&journal) <= 2);
    CU_ASSERT_EQUAL(letters_now() + journal_count(&journal), 7);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void flushes_only_what_is_addressed_to_one_of_many(void)
{
    const struct fail_in fail = {5, "mine alone"};

    pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 2,
                                         .mailbox = VIVERO_MAILBOX_FLUSH));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(
        vivero_pool_cast(pool, &crew_fail, &fail, VIVERO_SEND(.worker = 1)),
        VIVERO_OK);
    cast_notes(1, 3);
    cast_notes(2, 4);
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(journal_count(&journal), 4);
    CU_ASSERT_EQUAL(letters_now(), 4);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void flushes_when_a_handler_hangs(void)
{
    const struct hold_in hold = {&gate};

    pool = crew_open(VIVERO_POOL_OPTIONS(
        COMMON, .workers = 1, .mailbox = VIVERO_MAILBOX_FLUSH,
        .deadline_ns = VIVERO_MILLISECONDS(300),
        .on_hang = VIVERO_HANG_REPLACE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_hold, &hold, NULL), VIVERO_OK);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    cast_notes(1, 3);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    CU_ASSERT_EQUAL(letters_now(), 4);
    CU_ASSERT_EQUAL(crew_numbers(pool).dead, 3);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Once more
 * ------------------------------------------------------------------------------ */

enum way { BY_FAILING, BY_JUMPING, BY_LEAVING, BY_HANGING };

struct attempt_in {
    enum way way;
    uint32_t good;           /* the attempt that succeeds */
    unsigned char rest[100]; /* too large for a cell */
};

static int try_it(struct vivero_self *self, const void *in, void *out)
{
    const struct attempt_in *attempt = in;
    uint32_t now = vivero_attempt(self);

    journal_write(&journal, (int)now, vivero_id(self));
    if (now >= attempt->good) {
        *(uint32_t *)out = now + attempt->rest[99];
        return VIVERO_OK;
    }
    switch (attempt->way) {
    case BY_FAILING:
        return vivero_fail(self, 1, "not yet");
    case BY_JUMPING:
        vivero_exit(1, "not yet");
    case BY_LEAVING:
        pthread_exit(NULL);
    case BY_HANGING:
        gate_pass(&gate);
        break;
    }
    return VIVERO_OK;
}

static const struct vivero_operation try_operation = {
    .name = "try",
    .run = try_it,
    .in_size = sizeof(struct attempt_in),
    .out_size = sizeof(uint32_t)};

static void open_retrying(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(
        COMMON, .workers = 1, .retries = 2, .idempotent = true,
        .deadline_ns = DEADLINE, .on_hang = VIVERO_HANG_REPLACE));
}

static void gives_a_failed_message_to_the_next_incarnation(void)
{
    open_retrying();
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int way = BY_FAILING; way <= BY_HANGING; way++) {
        struct attempt_in in = {.way = (enum way)way, .good = 3};
        uint32_t out = 0;

        in.rest[99] = 100;
        gate_shut(&gate);
        CU_ASSERT_EQUAL(
            vivero_pool_call(pool, &try_operation, &in, &out,
                             VIVERO_SEND(.timeout_ns = CREW_PATIENCE)),
            VIVERO_OK);
        CU_ASSERT_EQUAL(out, 103);
        gate_open(&gate);
        CU_ASSERT(eventually(no_zombies, NULL, CREW_PATIENCE));
    }
    CU_ASSERT_EQUAL(journal_count(&journal), 12);
    CU_ASSERT_EQUAL(letters_now(), 0);
    CU_ASSERT_EQUAL(crew_numbers(pool).failed, 0);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void gives_up_after_the_last_attempt(void)
{
    const struct attempt_in in = {.way = BY_FAILING, .good = 9};
    const int attempts[] = {1, 2, 3};

    open_retrying();
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &try_operation, &in, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT(journal_is(&journal, attempts, 3));
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL_FATAL(letters_now(), 1);
    CU_ASSERT_EQUAL(letter_at(0).attempt, 3);
    CU_ASSERT_EQUAL(crew_numbers(pool).failed, 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void runs_the_failed_message_before_those_behind_it(void)
{
    const struct attempt_in in = {.way = BY_FAILING, .good = 3};
    const int order[] = {1, 2, 3, 0, 1, 2};

    open_retrying();
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    vivero_pool_suspend(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_cast(pool, &try_operation, &in, VIVERO_SEND(.worker = 1)),
        VIVERO_OK);
    cast_notes(1, 3);
    vivero_pool_resume(pool);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT(journal_is(&journal, order, 6));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void ends_a_message_whose_next_incarnation_never_comes(void)
{
    const struct attempt_in in = {.way = BY_FAILING, .good = 9};

    pool =
        crew_open(VIVERO_POOL_OPTIONS(.ctx = &journal, .on_dead = keep_letter,
                                      .workers = 1, .retries = 3,
                                      .idempotent = true, .restarts_max = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &try_operation, &in, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_RESTART_LIMIT);
    CU_ASSERT_EQUAL(journal_count(&journal), 2);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(letters_now(), 1);
    CU_ASSERT_EQUAL(letter_at(0).attempt, 2);
}

/* ---- Mailboxes that are full, and too old
 * ---------------------------------------------------------------- */

static void
t_x_01_a_full_mailbox_does_as_its_policy_says_and_can_be_stopped(void)
{
    static const struct {
        enum vivero_full policy;
        int result;
    } rows[] = {{VIVERO_FULL_REJECT, VIVERO_E_FULL},
                {VIVERO_FULL_WAIT, VIVERO_E_TIMED_OUT},
                {VIVERO_FULL_DROP_OLDEST, VIVERO_OK},
                {VIVERO_FULL_DROP_NEWEST, VIVERO_OK}};

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct note_in in = {&journal, 7};

        gate_shut(&gate);
        pool = crew_open(VIVERO_POOL_OPTIONS(COMMON, .workers = 1,
                                             .mailbox_depth = 2,
                                             .full_cast = rows[i].policy));
        CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
        CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
        cast_notes(0, 2);
        CU_ASSERT_EQUAL(
            vivero_pool_cast(
                pool, &crew_note, &in,
                rows[i].policy == VIVERO_FULL_WAIT
                    ? VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(20))
                    : NULL),
            rows[i].result);
        /* The order to stop passes the full mailbox. */
        gate_open(&gate);
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    }
}

static void
t_x_04_a_request_whose_caller_gave_up_is_skipped_and_its_room_free(void)
{
    const struct note_in in = {&journal, 1};

    pool = crew_open(
        VIVERO_POOL_OPTIONS(COMMON, .workers = 1, .mailbox_depth = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &crew_note, &in, NULL,
                         VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(20))),
        VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(crew_numbers(pool).queued, 0);
    cast_notes(0, 1);
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(journal_count(&journal), 1);
    CU_ASSERT_EQUAL(crew_numbers(pool).expired, 1);
    CU_ASSERT_EQUAL(letters_now(), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

SUITE_MAIN(
    "pool_dead", set_up, tear_down, TEST(a_failed_message_is_a_dead_letter),
    TEST(a_message_whose_handler_left_is_a_dead_letter),
    TEST(a_message_whose_handler_hangs_is_a_dead_letter),
    TEST(an_error_is_no_dead_letter),
    TEST(what_a_close_discards_are_dead_letters),
    TEST(what_is_cancelled_is_no_dead_letter),
    TEST(what_a_pool_that_goes_down_discards_are_dead_letters),
    TEST(keeps_its_mailbox_by_default),
    TEST(flushes_the_mailbox_of_a_worker_that_fails),
    TEST(flushes_only_what_is_addressed_to_one_of_many),
    TEST(flushes_when_a_handler_hangs),
    TEST(gives_a_failed_message_to_the_next_incarnation),
    TEST(gives_up_after_the_last_attempt),
    TEST(runs_the_failed_message_before_those_behind_it),
    TEST(ends_a_message_whose_next_incarnation_never_comes),
    TEST(t_x_01_a_full_mailbox_does_as_its_policy_says_and_can_be_stopped),
    TEST(t_x_04_a_request_whose_caller_gave_up_is_skipped_and_its_room_free))
