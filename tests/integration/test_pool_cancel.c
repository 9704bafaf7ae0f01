/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

/* One worker stands at the gate; what is sent to it is queued. */
static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = 256));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int cast_note(int value, const void *owner,
                     struct vivero_message *message)
{
    struct note_in in = {&journal, value};

    return vivero_pool_cast(pool, &crew_note, &in,
                            VIVERO_SEND(.owner = owner, .message = message));
}

static bool let_go_and_find(const int *values, uint32_t count)
{
    gate_open(&gate);
    return vivero_pool_wait_idle(pool, CREW_PATIENCE) == VIVERO_OK &&
           journal_is(&journal, values, count);
}

/* ---- One message
 * ----------------------------------------------------------------- */

static void cancels_one_message_and_no_other(void)
{
    struct vivero_message message[3];
    static const int others[] = {0, 2};

    for (int n = 0; n < 3; n++) {
        CU_ASSERT_EQUAL(cast_note(n, NULL, &message[n]), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_cancel(pool, message[1]), VIVERO_OK);

    CU_ASSERT(let_go_and_find(others, 2));
    CU_ASSERT_EQUAL(crew_numbers(pool).cancelled, 1);
}

static void answers_gone_when_it_was_cancelled_before(void)
{
    struct vivero_message message;

    CU_ASSERT_EQUAL(cast_note(1, NULL, &message), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_cancel(pool, message), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_cancel(pool, message), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(crew_numbers(pool).cancelled, 1);
}

static void answers_gone_when_its_handler_has_begun(void)
{
    struct vivero_message message;
    struct hold_in in = {&gate};

    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    gate_shut(&gate);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_hold, &in,
                                     VIVERO_SEND(.message = &message)),
                    VIVERO_OK);
    CU_ASSERT_FATAL(gate_await(&gate, 1));

    CU_ASSERT_EQUAL(vivero_pool_cancel(pool, message), VIVERO_E_GONE);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(gate_passed(&gate), 1);
}

static void answers_gone_when_it_was_handled(void)
{
    struct vivero_message message;
    static const int one[] = {1};

    CU_ASSERT_EQUAL(cast_note(1, NULL, &message), VIVERO_OK);
    CU_ASSERT(let_go_and_find(one, 1));
    CU_ASSERT_EQUAL(vivero_pool_cancel(pool, message), VIVERO_E_GONE);
}

static void answers_gone_when_it_was_dropped(void)
{
    static struct gate other = GATE_SHUT;
    struct vivero_message message;
    struct vivero_pool *narrow =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = 1,
                                      .full_cast = VIVERO_FULL_DROP_OLDEST));

    CU_ASSERT_PTR_NOT_NULL_FATAL(narrow);
    CU_ASSERT_FATAL(crew_hold_all(narrow, &other));
    CU_ASSERT_EQUAL(vivero_pool_cast(narrow, &crew_nothing, NULL,
                                     VIVERO_SEND(.message = &message)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_cast(narrow, &crew_nothing, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_cancel(narrow, message), VIVERO_E_GONE);
    gate_open(&other);
    CU_ASSERT(crew_is_conserved(narrow));
    CU_ASSERT_EQUAL(vivero_pool_close(narrow), VIVERO_OK);
}

/* Whatever is stored where the old message stood, its handle names it no more.
 */
static void never_cancels_a_later_message_by_an_old_handle(void)
{
    static struct vivero_message old[200];
    int wrong = 0;

    for (int i = 0; i < 200; i++) {
        wrong += cast_note(-1, NULL, &old[i]) != VIVERO_OK;
        wrong += vivero_pool_cancel(pool, old[i]) != VIVERO_OK;
    }
    for (int n = 0; n < 200; n++) {
        wrong += cast_note(n, NULL, NULL) != VIVERO_OK;
    }
    for (int i = 0; i < 200; i++) {
        wrong += vivero_pool_cancel(pool, old[i]) != VIVERO_E_GONE;
    }
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(journal_count(&journal), 200);
}

static void answers_cancelled_to_the_caller(void)
{
    struct vivero_message message = {0};
    struct note_in in = {&journal, 1};
    struct vivero_send send = *VIVERO_SEND(.message = &message);
    struct caller caller = {
        .pool = pool, .operation = &crew_note, .in = &in, .send = &send};

    caller_start(&caller);
    CU_ASSERT_FATAL(crew_await_queued(pool, 1));
    CU_ASSERT_EQUAL(vivero_pool_cancel_all(pool), 1);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_E_CANCELLED);
    CU_ASSERT_EQUAL(vivero_pool_cancel(pool, message), VIVERO_E_GONE);
    CU_ASSERT(let_go_and_find(NULL, 0));
}

static void frees_large_arguments_of_what_it_cancels(void)
{
    static const unsigned char in[100000];
    static struct vivero_operation large;
    uint64_t before = crew_numbers(pool).memory.bytes;

    large = crew_nothing;
    large.in_size = sizeof in;
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &large, in, NULL), VIVERO_OK);
    }
    CU_ASSERT(crew_numbers(pool).memory.bytes >= before + 20 * sizeof in);
    CU_ASSERT_EQUAL(vivero_pool_cancel_all(pool), 20);
    CU_ASSERT(crew_numbers(pool).memory.bytes < before + sizeof in);
}

/* ---- All of one owner, all there are
 * ------------------------------------------------ */

static void cancels_all_of_one_owner(void)
{
    static const char owners[2];
    static const int left[] = {0, 1, 2, 3};

    for (int n = 0; n < 4; n++) {
        CU_ASSERT_EQUAL(cast_note(-1, &owners[0], NULL), VIVERO_OK);
        CU_ASSERT_EQUAL(cast_note(n, n % 2 ? &owners[1] : NULL, NULL),
                        VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_cancel_owner(pool, &owners[0]), 4);
    CU_ASSERT_EQUAL(vivero_pool_cancel_owner(pool, &owners[0]), 0);

    CU_ASSERT(let_go_and_find(left, 4));
    CU_ASSERT_EQUAL(crew_numbers(pool).cancelled, 4);
}

static void cancels_an_owners_calls_too(void)
{
    static const char owner;
    int in = 1;
    int out = 0;
    struct vivero_send send = *VIVERO_SEND(.owner = &owner);
    struct caller caller = {.pool = pool,
                            .operation = &crew_echo,
                            .in = &in,
                            .out = &out,
                            .send = &send};

    caller_start(&caller);
    CU_ASSERT_FATAL(crew_await_queued(pool, 1));
    CU_ASSERT_EQUAL(vivero_pool_cancel_owner(pool, &owner), 1);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_CANCELLED);
}

static void cancels_everything_that_is_queued(void)
{
    for (int n = 0; n < 100; n++) {
        CU_ASSERT_EQUAL(cast_note(n, NULL, NULL), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_cancel_all(pool), 100);
    CU_ASSERT_EQUAL(vivero_pool_cancel_all(pool), 0);
    CU_ASSERT_EQUAL(crew_numbers(pool).queued, 0);

    CU_ASSERT(let_go_and_find(NULL, 0));
    CU_ASSERT_EQUAL(crew_numbers(pool).cancelled, 100);
    CU_ASSERT_EQUAL(gate_passed(&gate), 1);
}

static void cancels_in_every_mailbox(void)
{
    static struct gate gates = GATE_SHUT;
    struct vivero_pool *wide =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 4, .mailbox_depth = 64));

    CU_ASSERT_PTR_NOT_NULL_FATAL(wide);
    CU_ASSERT_FATAL(crew_hold_all(wide, &gates));
    for (uint32_t worker = 0; worker <= 4; worker++) {
        for (int n = 0; n < 10; n++) {
            CU_ASSERT_EQUAL(vivero_pool_cast(wide, &crew_nothing, NULL,
                                             VIVERO_SEND(.worker = worker)),
                            VIVERO_OK);
        }
    }
    CU_ASSERT_EQUAL(vivero_pool_cancel_all(wide), 50);
    gate_open(&gates);
    CU_ASSERT(crew_is_conserved(wide));
    CU_ASSERT_EQUAL(crew_numbers(wide).handled, 4);
    CU_ASSERT_EQUAL(vivero_pool_close(wide), VIVERO_OK);
}

/* ---- Races
 * ------------------------------------------------------------------------------
 */

struct canceller {
    pthread_t thread;
    struct vivero_message *message;
    int count;
    uint32_t cancelled;
    uint32_t wrong;
};

static void *cancel_them(void *arg)
{
    struct canceller *canceller = arg;

    for (int i = 0; i < canceller->count; i++) {
        int error = vivero_pool_cancel(pool, canceller->message[i]);

        canceller->cancelled += error == VIVERO_OK;
        canceller->wrong += error != VIVERO_OK && error != VIVERO_E_GONE;
    }
    return NULL;
}

static void handles_or_cancels_each_message_exactly_once(void)
{
    static struct vivero_message message[200];

    for (int round = 0; round < 50; round++) {
        struct canceller canceller[2] = {{.message = message, .count = 200},
                                         {.message = message, .count = 200}};

        journal_clear(&journal);
        for (int n = 0; n < 200; n++) {
            CU_ASSERT_EQUAL_FATAL(cast_note(n, NULL, &message[n]), VIVERO_OK);
        }
        pthread_create(&canceller[0].thread, NULL, cancel_them, &canceller[0]);
        pthread_create(&canceller[1].thread, NULL, cancel_them, &canceller[1]);
        gate_open(&gate);
        pthread_join(canceller[0].thread, NULL);
        pthread_join(canceller[1].thread, NULL);
        CU_ASSERT(crew_is_conserved(pool));
        CU_ASSERT_EQUAL(canceller[0].wrong + canceller[1].wrong, 0);
        CU_ASSERT_EQUAL(canceller[0].cancelled + canceller[1].cancelled +
                            journal_count(&journal),
                        200);
        CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    }
}

SUITE_MAIN("pool_cancel", set_up, tear_down,
           TEST(cancels_one_message_and_no_other),
           TEST(answers_gone_when_it_was_cancelled_before),
           TEST(answers_gone_when_its_handler_has_begun),
           TEST(answers_gone_when_it_was_handled),
           TEST(answers_gone_when_it_was_dropped),
           TEST(never_cancels_a_later_message_by_an_old_handle),
           TEST(answers_cancelled_to_the_caller),
           TEST(frees_large_arguments_of_what_it_cancels),
           TEST(cancels_all_of_one_owner), TEST(cancels_an_owners_calls_too),
           TEST(cancels_everything_that_is_queued),
           TEST(cancels_in_every_mailbox),
           TEST(handles_or_cancels_each_message_exactly_once))
