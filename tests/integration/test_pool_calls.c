/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#include <limits.h>

#define MEBIBYTE (1024u * 1024u)

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    pool = crew_open(VIVERO_POOL_OPTIONS(.name = "calls", .workers = 2,
                                         .mailbox_depth = 64));
}

static void tear_down(void)
{
    gate_open(&gate);
    if (pool != NULL) {
        CU_ASSERT(crew_is_conserved(pool));
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
        pool = NULL;
    }
}

/* ---- What goes in, what comes out
 * ------------------------------------------------ */

static void answers_with_the_reply(void)
{
    int in = 42;
    int out = 0;

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_echo, &in, &out, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(out, 42);
}

static void calls_an_operation_with_neither_argument_nor_reply(void)
{
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 1);
}

static void throws_the_reply_away_when_nobody_wants_it(void)
{
    int in = 42;

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_echo, &in, NULL, NULL),
                    VIVERO_OK);
}

static int look_around(struct vivero_self *self, const void *in, void *out)
{
    struct vivero_pool *const *expected = in;
    uint32_t seen = vivero_pool_current() == *expected &&
                    strncmp(vivero_name(self), "calls/", 6) == 0;

    memcpy(out, &seen, sizeof seen);
    return VIVERO_OK;
}

static const struct vivero_operation look_operation = {
    .name = "look",
    .run = look_around,
    .in_size = sizeof(struct vivero_pool *),
    .out_size = sizeof(uint32_t)};

static void tells_a_handler_its_pool_and_its_name(void)
{
    uint32_t seen = 0;

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &look_operation, &pool, &seen, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(seen, 1);
    CU_ASSERT_PTR_NULL(vivero_pool_current());
}

/* The reply is the argument turned round, if the room for it was zeroed. */
static uint32_t mirror_size;

static int mirror(struct vivero_self *self, const void *in, void *out)
{
    const unsigned char *from = in;
    unsigned char *to = out;

    (void)self;
    for (uint32_t i = 0; i < mirror_size; i++) {
        if (to[i] != 0) {
            return -1;
        }
        to[i] = from[mirror_size - 1 - i];
    }
    return VIVERO_OK;
}

static bool is_mirrored(uint32_t size)
{
    struct vivero_operation operation = {
        .name = "mirror", .run = mirror, .in_size = size, .out_size = size};
    unsigned char *in = calloc(1, size);
    unsigned char *out = calloc(1, size);
    bool same = in != NULL && out != NULL;

    mirror_size = size;
    for (uint32_t i = 0; same && i < size; i++) {
        in[i] = (unsigned char)(i * 31 + size);
        out[i] = 0xee;
    }
    same =
        same && vivero_pool_call(pool, &operation, in, out, NULL) == VIVERO_OK;
    for (uint32_t i = 0; same && i < size; i++) {
        same = out[i] == in[size - 1 - i];
    }
    free(in);
    free(out);
    return same;
}

static void carries_small_arguments_and_replies_whole(void)
{
    for (uint32_t size = 1; size <= 200; size++) {
        CU_ASSERT(is_mirrored(size));
    }
}

static void carries_large_arguments_and_replies_whole(void)
{
    static const uint32_t sizes[] = {255,    256,    257,          4095,
                                     4096,   4097,   65535,        65536,
                                     131072, 524289, MEBIBYTE - 1, MEBIBYTE};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CU_ASSERT(is_mirrored(sizes[i]));
    }
}

static void answers_limit_for_more_than_a_mebibyte(void)
{
    struct vivero_operation operation = {
        .name = "mirror", .run = mirror, .in_size = MEBIBYTE + 1};
    void *in = calloc(2, MEBIBYTE + 1);

    CU_ASSERT_PTR_NOT_NULL_FATAL(in);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &operation, in, NULL, NULL),
                    VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &operation, in, NULL),
                    VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &operation, in, 2),
                    VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &operation, in),
                    VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(crew_numbers(pool).accepted, 0);
    free(in);
}

/* ---- What a handler answers
 * --------------------------------------------------------- */

static void passes_negative_codes_of_handlers_through(void)
{
    static const int codes[] = {-1, -5, -6, -7, -9, -22, -1000, INT_MIN};

    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        CU_ASSERT_EQUAL(
            vivero_pool_call(pool, &crew_answer, &codes[i], NULL, NULL),
            codes[i]);
    }
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 0);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 8);
}

static int scribble_and_refuse(struct vivero_self *self, const void *in,
                               void *out)
{
    (void)self;
    (void)in;
    memset(out, 0x77, sizeof(int));
    return -30;
}

static const struct vivero_operation scribble_operation = {
    .name = "scribble", .run = scribble_and_refuse, .out_size = sizeof(int)};

static void writes_the_reply_only_on_success(void)
{
    int out = 12345;

    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &scribble_operation, NULL, &out, NULL), -30);
    CU_ASSERT_EQUAL(out, 12345);
}

static void gives_another_reason_to_no_other_thread(void)
{
    struct caller healthy = {.pool = pool, .operation = &crew_nothing};
    struct fail_in in = {8, "mine"};

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_fail, &in, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 8);
    caller_start(&healthy);
    caller_join(&healthy);

    CU_ASSERT_EQUAL(healthy.result, VIVERO_OK);
    CU_ASSERT_EQUAL(healthy.reason.kind, VIVERO_EXIT_NONE);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 8);
}

/* ---- Workers by number
 * --------------------------------------------------------------- */

static void calls_the_worker_it_names(void)
{
    for (uint32_t worker = 1; worker <= 2; worker++) {
        uint32_t id = 0;

        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_whoami, NULL, &id,
                                         VIVERO_SEND(.worker = worker)),
                        VIVERO_OK);
        CU_ASSERT_EQUAL(id, worker);
    }
}

static void answers_not_found_for_a_worker_that_does_not_exist(void)
{
    static const uint32_t strangers[] = {3, 64, 4096, 4097, UINT32_MAX};

    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        const struct vivero_send *send = VIVERO_SEND(.worker = strangers[i]);

        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, send),
                        VIVERO_E_NOT_FOUND);
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL, send),
                        VIVERO_E_NOT_FOUND);
    }
}

/* ---- Deadlines
 * -------------------------------------------------------------------------- */

static void times_out_while_its_handler_runs(void)
{
    struct hold_in in = {&gate};
    int64_t began_ns = vivero_now();
    int error =
        vivero_pool_call(pool, &crew_hold, &in, NULL,
                         VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(20)));
    int64_t took_ns = vivero_now() - began_ns;

    CU_ASSERT_EQUAL(error, VIVERO_E_TIMED_OUT);
    CU_ASSERT(took_ns >= VIVERO_MILLISECONDS(20));
    CU_ASSERT(took_ns < VIVERO_SECONDS(4));
}

static void never_runs_what_timed_out_in_the_queue(void)
{
    struct note_in in = {&journal, 1};

    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_note, &in, NULL,
                                     VIVERO_SEND(.timeout_ns = 5000000)),
                    VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));

    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    CU_ASSERT_EQUAL(crew_numbers(pool).expired, 1);
}

static void takes_its_timeout_from_the_pool_when_none_is_said(void)
{
    struct vivero_pool *hasty = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1,
                            .call_timeout_ns = VIVERO_MILLISECONDS(20)));
    struct hold_in in = {&gate};

    CU_ASSERT_PTR_NOT_NULL_FATAL(hasty);
    CU_ASSERT_EQUAL(vivero_pool_call(hasty, &crew_hold, &in, NULL, NULL),
                    VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_close(hasty), VIVERO_OK);
}

static void waits_for_ever_when_asked_to(void)
{
    struct vivero_pool *hasty =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .call_timeout_ns = 1000));
    struct hold_in in = {&gate};
    struct caller patient = {.pool = hasty,
                             .operation = &crew_hold,
                             .in = &in,
                             .send = VIVERO_SEND(.timeout_ns = VIVERO_FOREVER)};

    CU_ASSERT_PTR_NOT_NULL_FATAL(hasty);
    caller_start(&patient);
    CU_ASSERT(gate_await(&gate, 1));
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(20));
    gate_open(&gate);
    caller_join(&patient);

    CU_ASSERT_EQUAL(patient.result, VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(hasty), VIVERO_OK);
}

static void does_not_wait_with_a_timeout_of_none(void)
{
    int in = 1;
    int out = 0;

    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_echo, &in, &out,
                                     VIVERO_SEND(.timeout_ns = VIVERO_NONE)),
                    VIVERO_E_TIMED_OUT);
}

static void answers_before_an_absolute_deadline(void)
{
    int in = 6;
    int out = 0;

    CU_ASSERT_EQUAL(vivero_pool_call_until(pool, &crew_echo, &in, &out,
                                           vivero_now() + VIVERO_SECONDS(60)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(out, 6);
    CU_ASSERT_EQUAL(
        vivero_pool_call_until(pool, &crew_echo, &in, &out, VIVERO_FOREVER),
        VIVERO_OK);
}

static void times_out_at_an_absolute_deadline(void)
{
    struct hold_in in = {&gate};
    int64_t deadline_ns = vivero_now() + VIVERO_MILLISECONDS(20);

    CU_ASSERT_EQUAL(
        vivero_pool_call_until(pool, &crew_hold, &in, NULL, deadline_ns),
        VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_now() >= deadline_ns);
    CU_ASSERT(vivero_now() < deadline_ns + VIVERO_SECONDS(4));
}

static void times_out_at_once_when_the_deadline_has_passed(void)
{
    struct note_in in = {&journal, 1};

    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(
        vivero_pool_call_until(pool, &crew_note, &in, NULL, vivero_now() - 1),
        VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
}

static int hold_then_answer(struct vivero_self *self, const void *in, void *out)
{
    int late = 666;

    (void)self;
    gate_pass(((const struct hold_in *)in)->gate);
    memcpy(out, &late, sizeof late);
    return VIVERO_OK;
}

static const struct vivero_operation late_operation = {
    .name = "late",
    .run = hold_then_answer,
    .in_size = sizeof(struct hold_in),
    .out_size = sizeof(int)};

static void drops_late_replies(void)
{
    struct hold_in hold = {&gate};
    int late = 7;
    int wrong = 0;

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &late_operation, &hold, &late,
                                     VIVERO_SEND(.timeout_ns = 5000000)),
                    VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    for (int in = 0; in < 100; in++) {
        int out = -1;

        wrong += vivero_pool_call(pool, &crew_echo, &in, &out, NULL) != 0;
        wrong += out != in;
    }

    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(late, 7);
}

/* ---- Many at once
 * ---------------------------------------------------------------------------
 */

struct crowd {
    pthread_t thread;
    int first;
    int64_t timeout_ns;
    uint32_t wrong;
    uint32_t timed_out;
};

static void *call_a_lot(void *arg)
{
    struct crowd *member = arg;

    for (int i = 0; i < 2000; i++) {
        int in = member->first + i;
        int out = -1;
        int error = vivero_pool_call(
            pool, &crew_echo, &in, &out,
            VIVERO_SEND(.timeout_ns = member->timeout_ns * (i % 40 + 1)));

        member->timed_out += error == VIVERO_E_TIMED_OUT;
        member->wrong +=
            error != VIVERO_E_TIMED_OUT && (error != VIVERO_OK || out != in);
    }
    return NULL;
}

static uint32_t wrong_in_a_crowd(int64_t timeout_ns, uint32_t *timed_out)
{
    struct crowd crowd[8] = {{.wrong = 0}};
    uint32_t wrong = 0;

    for (int i = 0; i < 8; i++) {
        crowd[i].first = i * 100000;
        crowd[i].timeout_ns = timeout_ns;
        pthread_create(&crowd[i].thread, NULL, call_a_lot, &crowd[i]);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(crowd[i].thread, NULL);
        wrong += crowd[i].wrong;
        *timed_out += crowd[i].timed_out;
    }
    return wrong;
}

static void gives_each_of_many_callers_its_own_reply(void)
{
    uint32_t timed_out = 0;

    CU_ASSERT_EQUAL(wrong_in_a_crowd(VIVERO_SECONDS(60), &timed_out), 0);
    CU_ASSERT_EQUAL(timed_out, 0);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 16000);
}

static void survives_thousands_of_timeouts_that_race_with_replies(void)
{
    uint32_t timed_out = 0;

    CU_ASSERT_EQUAL(wrong_in_a_crowd(VIVERO_MICROSECONDS(2), &timed_out), 0);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 0);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
}

SUITE_MAIN("pool_calls", set_up, tear_down, TEST(answers_with_the_reply),
           TEST(calls_an_operation_with_neither_argument_nor_reply),
           TEST(throws_the_reply_away_when_nobody_wants_it),
           TEST(tells_a_handler_its_pool_and_its_name),
           TEST(carries_small_arguments_and_replies_whole),
           TEST(carries_large_arguments_and_replies_whole),
           TEST(answers_limit_for_more_than_a_mebibyte),
           TEST(passes_negative_codes_of_handlers_through),
           TEST(writes_the_reply_only_on_success),
           TEST(gives_another_reason_to_no_other_thread),
           TEST(calls_the_worker_it_names),
           TEST(answers_not_found_for_a_worker_that_does_not_exist),
           TEST(times_out_while_its_handler_runs),
           TEST(never_runs_what_timed_out_in_the_queue),
           TEST(takes_its_timeout_from_the_pool_when_none_is_said),
           TEST(waits_for_ever_when_asked_to),
           TEST(does_not_wait_with_a_timeout_of_none),
           TEST(answers_before_an_absolute_deadline),
           TEST(times_out_at_an_absolute_deadline),
           TEST(times_out_at_once_when_the_deadline_has_passed),
           TEST(drops_late_replies),
           TEST(gives_each_of_many_callers_its_own_reply),
           TEST(survives_thousands_of_timeouts_that_race_with_replies))
