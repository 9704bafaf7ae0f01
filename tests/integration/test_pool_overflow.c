/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

/* One worker that stands at a gate, and room for DEPTH messages behind it. */
#define DEPTH 4

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

static int call_note(int value, int64_t timeout_ns)
{
    struct note_in in = {&journal, value};

    return vivero_pool_call(pool, &crew_note, &in, NULL,
                            VIVERO_SEND(.timeout_ns = timeout_ns));
}

static bool open_held(enum vivero_full full_call, enum vivero_full full_cast)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = DEPTH,
                                         .full_call = full_call,
                                         .full_cast = full_cast));
    return pool != NULL && crew_hold_all(pool, &gate);
}

/* The same with casts 1 to DEPTH in the mailbox. */
static bool open_full(enum vivero_full full_call, enum vivero_full full_cast)
{
    bool filled = open_held(full_call, full_cast);

    for (int n = 1; filled && n <= DEPTH; n++) {
        filled = cast_note(n) == VIVERO_OK;
    }
    return filled;
}

static bool let_go_and_find(const int *values, uint32_t count)
{
    gate_open(&gate);
    return vivero_pool_wait_idle(pool, CREW_PATIENCE) == VIVERO_OK &&
           journal_is(&journal, values, count);
}

static const int one_to_four[] = {1, 2, 3, 4};

/* ---- The bound
 * ---------------------------------------------------------------------- */

static void takes_exactly_as_many_as_its_mailbox_is_deep(void)
{
    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_DEFAULT));

    CU_ASSERT_EQUAL(cast_note(5), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(cast_note(6), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(crew_numbers(pool).rejected, 2);
    CU_ASSERT_EQUAL(crew_numbers(pool).queued, DEPTH);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
}

static void takes_again_as_many_when_it_was_emptied(void)
{
    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_DEFAULT));
    for (int round = 0; round < 50; round++) {
        int accepted = 0;

        gate_open(&gate);
        CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
        CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
        for (int n = 0; n < 2 * DEPTH; n++) {
            accepted += cast_note(n) == VIVERO_OK;
        }
        CU_ASSERT_EQUAL(accepted, DEPTH);
    }
}

static void fills_every_mailbox_before_it_is_full(void)
{
    int accepted = 0;

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 3, .mailbox_depth = DEPTH));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (int n = 0; n < 10 * DEPTH; n++) {
        accepted += cast_note(n) == VIVERO_OK;
    }
    CU_ASSERT_EQUAL(accepted, 3 * DEPTH);
}

static void bounds_mailboxes_of_any_depth(void)
{
    static const uint32_t depths[] = {1, 2, 3, 5, 7, 8, 9, 63, 64, 65, 1000};

    for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
        uint32_t accepted = 0;
        struct vivero_pool *deep = crew_open(
            VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = depths[i]));

        CU_ASSERT_PTR_NOT_NULL_FATAL(deep);
        CU_ASSERT_FATAL(crew_hold_all(deep, &gate));
        while (accepted < 2000 &&
               vivero_pool_cast(deep, &crew_nothing, NULL, NULL) == VIVERO_OK) {
            accepted++;
        }
        CU_ASSERT_EQUAL(accepted, depths[i]);
        gate_open(&gate);
        CU_ASSERT_EQUAL(vivero_pool_close(deep), VIVERO_OK);
    }
}

/* ---- Casts
 * -----------------------------------------------------------------------------
 */

static void times_out_when_a_cast_waits_for_room_in_vain(void)
{
    struct note_in in = {&journal, 5};

    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_WAIT));
    int64_t began_ns = vivero_now();

    CU_ASSERT_EQUAL(
        vivero_pool_cast(pool, &crew_note, &in,
                         VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(20))),
        VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_now() - began_ns >= VIVERO_MILLISECONDS(20));
    CU_ASSERT_EQUAL(crew_numbers(pool).rejected, 1);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
}

static void does_not_wait_for_room_with_a_timeout_of_none(void)
{
    struct note_in in = {&journal, 5};

    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_WAIT));
    int error = vivero_pool_cast(pool, &crew_note, &in,
                                 VIVERO_SEND(.timeout_ns = VIVERO_NONE));

    CU_ASSERT(error == VIVERO_E_FULL || error == VIVERO_E_TIMED_OUT);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
}

struct caster {
    pthread_t thread;
    int value;
    int result;
};

static void *cast_from_elsewhere(void *arg)
{
    struct caster *caster = arg;

    caster->result = cast_note(caster->value);
    return NULL;
}

static void lets_a_waiting_cast_in_when_there_is_room(void)
{
    struct caster caster = {.value = 5, .result = 1};
    static const int one_to_five[] = {1, 2, 3, 4, 5};

    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_WAIT));
    pthread_create(&caster.thread, NULL, cast_from_elsewhere, &caster);
    gate_open(&gate);
    pthread_join(caster.thread, NULL);

    CU_ASSERT_EQUAL(caster.result, VIVERO_OK);
    CU_ASSERT(let_go_and_find(one_to_five, 5));
}

static void wakes_every_cast_that_waits_for_room(void)
{
    static struct caster caster[32];

    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_WAIT));
    for (int i = 0; i < 32; i++) {
        caster[i] = (struct caster){.value = i, .result = 1};
        pthread_create(&caster[i].thread, NULL, cast_from_elsewhere,
                       &caster[i]);
    }
    gate_open(&gate);
    for (int i = 0; i < 32; i++) {
        pthread_join(caster[i].thread, NULL);
        CU_ASSERT_EQUAL(caster[i].result, VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(journal_count(&journal), DEPTH + 32);
}

static void drops_the_oldest_for_a_cast(void)
{
    static const int three_to_six[] = {3, 4, 5, 6};

    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_DROP_OLDEST));

    CU_ASSERT_EQUAL(cast_note(5), VIVERO_OK);
    CU_ASSERT_EQUAL(cast_note(6), VIVERO_OK);
    CU_ASSERT(let_go_and_find(three_to_six, 4));
    CU_ASSERT_EQUAL(crew_numbers(pool).dropped, 2);
}

static void drops_the_newest_cast_without_a_word(void)
{
    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_DROP_NEWEST));

    CU_ASSERT_EQUAL(cast_note(5), VIVERO_OK);
    CU_ASSERT_EQUAL(cast_note(6), VIVERO_OK);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
    CU_ASSERT_EQUAL(crew_numbers(pool).dropped, 2);
}

static void never_handles_a_cast_that_expired_in_the_queue(void)
{
    struct note_in in = {&journal, 1};

    CU_ASSERT_FATAL(open_held(VIVERO_FULL_DEFAULT, VIVERO_FULL_DEFAULT));
    CU_ASSERT_EQUAL(
        vivero_pool_cast(pool, &crew_note, &in,
                         VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(5))),
        VIVERO_OK);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(50));

    CU_ASSERT(let_go_and_find(NULL, 0));
    CU_ASSERT_EQUAL(crew_numbers(pool).expired, 1);
}

/* ---- Calls
 * ------------------------------------------------------------------------------
 */

static void answers_full_to_a_call_that_is_rejected(void)
{
    CU_ASSERT_FATAL(open_full(VIVERO_FULL_REJECT, VIVERO_FULL_DEFAULT));

    CU_ASSERT_EQUAL(call_note(5, VIVERO_FOREVER), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(crew_numbers(pool).rejected, 1);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
}

static void times_out_when_a_call_waits_for_room_in_vain(void)
{
    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DEFAULT, VIVERO_FULL_DEFAULT));

    CU_ASSERT_EQUAL(call_note(5, VIVERO_MILLISECONDS(20)), VIVERO_E_TIMED_OUT);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
}

static void lets_waiting_calls_in_when_there_is_room(void)
{
    static struct note_in in[16];
    static struct caller caller[16];

    CU_ASSERT_FATAL(open_full(VIVERO_FULL_WAIT, VIVERO_FULL_DEFAULT));
    for (int i = 0; i < 16; i++) {
        in[i] = (struct note_in){&journal, 10 + i};
        caller[i] = (struct caller){
            .pool = pool, .operation = &crew_note, .in = &in[i]};
        caller_start(&caller[i]);
    }
    gate_open(&gate);
    for (int i = 0; i < 16; i++) {
        caller_join(&caller[i]);
        CU_ASSERT_EQUAL(caller[i].result, VIVERO_OK);
    }
    CU_ASSERT_EQUAL(journal_count(&journal), DEPTH + 16);
}

static void answers_full_to_a_caller_whose_call_was_dropped(void)
{
    int in = 9;
    int out = 0;
    struct caller caller = {0};

    CU_ASSERT_FATAL(open_held(VIVERO_FULL_DEFAULT, VIVERO_FULL_DROP_OLDEST));
    caller.pool = pool;
    caller.operation = &crew_echo;
    caller.in = &in;
    caller.out = &out;
    caller_start(&caller);
    CU_ASSERT_FATAL(crew_await_queued(pool, 1));
    for (int n = 1; n <= DEPTH; n++) {
        CU_ASSERT_EQUAL(cast_note(n), VIVERO_OK);
    }
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_E_FULL);
    CU_ASSERT_EQUAL(out, 0);
    CU_ASSERT_EQUAL(crew_numbers(pool).dropped, 1);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
}

static bool one_was_dropped(void *ctx)
{
    return crew_numbers(ctx).dropped == 1;
}

static void drops_the_oldest_for_a_call(void)
{
    struct note_in in = {&journal, 5};
    struct caller caller = {.operation = &crew_note, .in = &in};
    static const int two_to_five[] = {2, 3, 4, 5};

    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DROP_OLDEST, VIVERO_FULL_DEFAULT));
    caller.pool = pool;
    caller_start(&caller);
    CU_ASSERT(eventually(one_was_dropped, pool, CREW_PATIENCE));
    CU_ASSERT(let_go_and_find(two_to_five, 4));
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
}

static void answers_full_to_a_call_dropped_as_the_newest(void)
{
    CU_ASSERT_FATAL(open_full(VIVERO_FULL_DROP_NEWEST, VIVERO_FULL_DEFAULT));

    CU_ASSERT_EQUAL(call_note(5, VIVERO_FOREVER), VIVERO_E_FULL);
    struct vivero_pool_snapshot n = crew_numbers(pool);
    CU_ASSERT_EQUAL(n.dropped + n.rejected, 1);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
}

/* ---- Credit
 * --------------------------------------------------------------------------------
 */

static int casts_that_fit(void)
{
    int accepted = 0;

    for (int n = 1; n <= 3 * DEPTH; n++) {
        accepted += cast_note(n) == VIVERO_OK;
    }
    return accepted;
}

static void frees_the_room_of_a_call_that_timed_out_at_once(void)
{
    CU_ASSERT_FATAL(open_held(VIVERO_FULL_REJECT, VIVERO_FULL_REJECT));
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(call_note(-1, VIVERO_MILLISECONDS(1)),
                        VIVERO_E_TIMED_OUT);
    }

    CU_ASSERT_EQUAL(crew_numbers(pool).queued, 0);
    CU_ASSERT_EQUAL(casts_that_fit(), DEPTH);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
    CU_ASSERT_EQUAL(crew_numbers(pool).expired, 100);
}

static void frees_the_room_of_a_cancelled_message_at_once(void)
{
    struct note_in in = {&journal, -1};

    CU_ASSERT_FATAL(open_held(VIVERO_FULL_REJECT, VIVERO_FULL_REJECT));
    for (int i = 0; i < 100; i++) {
        struct vivero_message message;

        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_note, &in,
                                         VIVERO_SEND(.message = &message)),
                        VIVERO_OK);
        CU_ASSERT_EQUAL(vivero_pool_cancel(pool, message), VIVERO_OK);
    }

    CU_ASSERT_EQUAL(casts_that_fit(), DEPTH);
    CU_ASSERT(let_go_and_find(one_to_four, DEPTH));
    CU_ASSERT_EQUAL(crew_numbers(pool).cancelled, 100);
}

static void frees_the_room_of_large_arguments_that_timed_out(void)
{
    static const unsigned char in[100000];
    static struct vivero_operation large;

    large = crew_nothing;
    large.in_size = sizeof in;
    CU_ASSERT_FATAL(open_held(VIVERO_FULL_REJECT, VIVERO_FULL_REJECT));
    uint64_t before = crew_numbers(pool).memory.bytes;

    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &large, in, NULL,
                                         VIVERO_SEND(.timeout_ns = 1000000)),
                        VIVERO_E_TIMED_OUT);
    }
    CU_ASSERT(crew_numbers(pool).memory.bytes < before + 100000);
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
}

static void lets_a_waiting_call_in_when_another_times_out(void)
{
    static struct note_in in[DEPTH + 1];
    static struct caller caller[DEPTH + 1];
    struct vivero_send hasty = *VIVERO_SEND(.timeout_ns = 50000000);
    struct vivero_send patient = *VIVERO_SEND(.timeout_ns = VIVERO_FOREVER);
    static const int last[] = {DEPTH};

    CU_ASSERT_FATAL(open_held(VIVERO_FULL_WAIT, VIVERO_FULL_REJECT));
    for (int i = 0; i <= DEPTH; i++) {
        in[i] = (struct note_in){&journal, i};
        caller[i] = (struct caller){.pool = pool,
                                    .operation = &crew_note,
                                    .in = &in[i],
                                    .send = i < DEPTH ? &hasty : &patient};
        caller_start(&caller[i]);
    }
    for (int i = 0; i < DEPTH; i++) {
        caller_join(&caller[i]);
        CU_ASSERT_EQUAL(caller[i].result, VIVERO_E_TIMED_OUT);
    }
    CU_ASSERT(crew_await_queued(pool, 1));
    CU_ASSERT(let_go_and_find(last, 1));
    caller_join(&caller[DEPTH]);
    CU_ASSERT_EQUAL(caller[DEPTH].result, VIVERO_OK);
}

/* ---- Workers as senders
 * ------------------------------------------------------------------------ */

static int flood_oneself(struct vivero_self *self, const void *in, void *out)
{
    int result = VIVERO_OK;
    int accepted = 0;

    (void)self;
    (void)in;
    while (result == VIVERO_OK && accepted < 3 * DEPTH) {
        result = vivero_pool_cast(vivero_pool_current(), &crew_nothing, NULL,
                                  VIVERO_SEND(.timeout_ns = VIVERO_FOREVER));
        accepted += result == VIVERO_OK;
    }
    memcpy(out, &accepted, sizeof accepted);
    return result == VIVERO_E_FULL ? VIVERO_OK : -1;
}

static const struct vivero_operation flood_operation = {
    .name = "flood", .run = flood_oneself, .out_size = sizeof(int)};

static void never_lets_a_worker_wait_for_room_for_a_cast(void)
{
    int accepted = 0;

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = DEPTH,
                                         .full_cast = VIVERO_FULL_WAIT));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &flood_operation, NULL, &accepted, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(accepted, DEPTH);
}

SUITE_MAIN("pool_overflow", set_up, tear_down,
           TEST(takes_exactly_as_many_as_its_mailbox_is_deep),
           TEST(takes_again_as_many_when_it_was_emptied),
           TEST(fills_every_mailbox_before_it_is_full),
           TEST(bounds_mailboxes_of_any_depth),
           TEST(times_out_when_a_cast_waits_for_room_in_vain),
           TEST(does_not_wait_for_room_with_a_timeout_of_none),
           TEST(lets_a_waiting_cast_in_when_there_is_room),
           TEST(wakes_every_cast_that_waits_for_room),
           TEST(drops_the_oldest_for_a_cast),
           TEST(drops_the_newest_cast_without_a_word),
           TEST(never_handles_a_cast_that_expired_in_the_queue),
           TEST(answers_full_to_a_call_that_is_rejected),
           TEST(times_out_when_a_call_waits_for_room_in_vain),
           TEST(lets_waiting_calls_in_when_there_is_room),
           TEST(answers_full_to_a_caller_whose_call_was_dropped),
           TEST(drops_the_oldest_for_a_call),
           TEST(answers_full_to_a_call_dropped_as_the_newest),
           TEST(frees_the_room_of_a_call_that_timed_out_at_once),
           TEST(frees_the_room_of_a_cancelled_message_at_once),
           TEST(frees_the_room_of_large_arguments_that_timed_out),
           TEST(lets_a_waiting_call_in_when_another_times_out),
           TEST(never_lets_a_worker_wait_for_room_for_a_cast))
