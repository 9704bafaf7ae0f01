/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

struct ledger {
    long total;
    char page[1000];
};

VIVERO_POOL_TYPE(counter, struct ledger);

struct pair {
    int first;
    double second;
};

struct sum {
    double all;
    int count;
};

typedef int compare_fn(int left, int right);

static struct counter counters;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- What is defined
 * --------------------------------------------------------------- */

VIVERO_DECLARE_SYNCH(counter, long, add, (long, n));
VIVERO_DECLARE_ASYNCH(counter, note, (int, value));

/* Between the halves, as a user of the header would. */
static int add_through_the_declaration(long n, long *total)
{
    return counter_add(&counters, n, total);
}

enum { add_line = __LINE__ + 1 };
VIVERO_DEFSYNCH(counter, long, add, (long, n))
{
    struct ledger *ledger = counter_payload(self);

    ledger->total += n;
    *reply = ledger->total;
    return VIVERO_OK;
}

VIVERO_DEFASYNCH(counter, note, (int, value))
{
    journal_write(&journal, value, counter_id(self));
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(counter, long, total)
{
    *reply = counter_payload(self)->total;
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(counter, struct vivero_nothing, clear)
{
    counter_payload(self)->total = 0;
    return VIVERO_OK;
}

VIVERO_DEFASYNCH(counter, stumble)
{
    return vivero_fail(self, 13, "bad luck");
}

VIVERO_DEFSYNCH(counter, int, refuse, (int, code))
{
    *reply = 99;
    return code;
}

VIVERO_DEFSYNCH(counter, double, all_eight, (char, a), (short, b), (int, c),
                (long, d), (float, e), (double, f), (const char *, g),
                (struct pair, h))
{
    *reply = a + b + c + (double)d + (double)e + f + (double)strlen(g) +
             h.first + h.second;
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(counter, int, two, (int, a), (int, b))
{
    *reply = a * 10 + b;
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(counter, int, three, (int, a), (int, b), (int, c))
{
    *reply = (a * 10 + b) * 10 + c;
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(counter, int, compare, (compare_fn *, compare), (int, left),
                (int, right))
{
    *reply = compare(left, right);
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(counter, int, state_of)
{
    struct counter_state state = counter_state(self);

    *reply = state.id == counter_id(self) && state.id == vivero_id(self) &&
             state.payload == counter_payload(self) &&
             (void *)state.payload == vivero_payload(self);
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(counter, uint32_t, meet)
{
    gate_pass(&gate);
    *reply = counter_id(self);
    return VIVERO_OK;
}

VIVERO_DEFSYNCH_STRUCT(counter, struct sum, sum_up, struct pair)
{
    reply->all = in->first + in->second;
    reply->count = 2;
    return VIVERO_OK;
}

VIVERO_DEFASYNCH_STRUCT(counter, note_pair, struct pair)
{
    journal_write(&journal, in->first, counter_id(self));
    return VIVERO_OK;
}

VIVERO_DEFSYNCH(counter, long, swap, (long, total))
{
    struct ledger next = {.total = total};

    *reply = counter_payload(self)->total;
    return vivero_replace(self, &next);
}

static struct vivero_reply_token token;

VIVERO_DEFSYNCH(counter, int, later)
{
    int error = vivero_reply_later(self, &token);

    gate_pass(&gate);
    return error == VIVERO_OK ? VIVERO_NO_REPLY : error;
}

/* ---- The same by hand
 * ------------------------------------------------------------------- */

struct add_in {
    long n;
};

static int add_by_hand(struct vivero_self *self, const void *in, void *out)
{
    struct ledger *ledger = vivero_payload(self);

    ledger->total += ((const struct add_in *)in)->n;
    memcpy(out, &ledger->total, sizeof ledger->total);
    return VIVERO_OK;
}

static const struct vivero_operation by_hand = {.name = "add_by_hand",
                                                .run = add_by_hand,
                                                .in_size =
                                                    sizeof(struct add_in),
                                                .out_size = sizeof(long)};

/* ---- Tests
 * --------------------------------------------------------------------------------
 */

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    CU_ASSERT_EQUAL_FATAL(
        counter_open(VIVERO_POOL_OPTIONS(.name = "counter", .workers = 2),
                     &counters),
        VIVERO_OK);
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT_EQUAL(counter_close(&counters), VIVERO_OK);
}

static void does_what_an_operation_written_by_hand_does(void)
{
    const struct vivero_send *send = VIVERO_SEND(.worker = 1);
    struct add_in in = {5};
    long total = 0;

    CU_ASSERT_EQUAL(
        vivero_pool_call(counter_pool(&counters), &by_hand, &in, &total, send),
        VIVERO_OK);
    CU_ASSERT_EQUAL(total, 5);
    CU_ASSERT_EQUAL(counter_add_with(&counters, send, 7, &total), VIVERO_OK);
    CU_ASSERT_EQUAL(total, 12);
    CU_ASSERT_EQUAL(counter_add_operation.in_size, by_hand.in_size);
    CU_ASSERT_EQUAL(counter_add_operation.out_size, by_hand.out_size);
    CU_ASSERT_EQUAL(counter_add_operation.key_size, sizeof(long));
}

static void describes_the_operation_for_reports(void)
{
    CU_ASSERT_STRING_EQUAL(counter_add_operation.name, "counter_add");
    CU_ASSERT_PTR_NOT_NULL(strstr(counter_add_operation.file, "test_define.c"));
    CU_ASSERT_EQUAL(counter_add_operation.line, add_line);
    CU_ASSERT_EQUAL(counter_total_operation.in_size, 0);
    CU_ASSERT_EQUAL(counter_total_operation.key_size, 0);
    CU_ASSERT_EQUAL(counter_note_operation.out_size, 0);
    CU_ASSERT_EQUAL(counter_sum_up_operation.in_size, sizeof(struct pair));
    CU_ASSERT_EQUAL(counter_sum_up_operation.key_size, 0);
}

static void calls_through_the_declaration_half(void)
{
    long total = 0;

    CU_ASSERT_EQUAL(add_through_the_declaration(3, &total), VIVERO_OK);
    CU_ASSERT_EQUAL(total, 3);
}

static void passes_none_to_eight_arguments(void)
{
    long total = -1;
    int number = 0;
    double all = 0;
    struct pair pair = {7, 0.5};

    CU_ASSERT_EQUAL(counter_total(&counters, &total), VIVERO_OK);
    CU_ASSERT_EQUAL(total, 0);
    CU_ASSERT_EQUAL(counter_two(&counters, 1, 2, &number), VIVERO_OK);
    CU_ASSERT_EQUAL(number, 12);
    CU_ASSERT_EQUAL(counter_three(&counters, 1, 2, 3, &number), VIVERO_OK);
    CU_ASSERT_EQUAL(number, 123);
    CU_ASSERT_EQUAL(counter_all_eight(&counters, 1, 2, 3, 4, 5.25f, 6.25,
                                      "seven", pair, &all),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(all, 1 + 2 + 3 + 4 + 5.25 + 6.25 + 5 + 7.5);
}

static int subtract(int left, int right)
{
    return left - right;
}

static void passes_function_pointers_by_typedef(void)
{
    int difference = 0;

    CU_ASSERT_EQUAL(counter_compare(&counters, subtract, 9, 4, &difference),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(difference, 5);
}

static void passes_one_argument_struct(void)
{
    struct pair in = {2, 1.5};
    struct sum sum = {0};

    CU_ASSERT_EQUAL(counter_sum_up(&counters, &in, &sum), VIVERO_OK);
    CU_ASSERT_EQUAL(sum.all, 3.5);
    CU_ASSERT_EQUAL(sum.count, 2);
    CU_ASSERT_EQUAL(
        counter_sum_up_with(&counters, VIVERO_SEND(.worker = 9), &in, &sum),
        VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(counter_note_pair(&counters, &in), VIVERO_OK);
    CU_ASSERT(journal_await(&journal, 1));
}

static void takes_null_for_a_reply_nobody_wants(void)
{
    long total = 0;

    CU_ASSERT_EQUAL(
        counter_add_with(&counters, VIVERO_SEND(.worker = 2), 4, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(
        counter_total_with(&counters, VIVERO_SEND(.worker = 2), &total),
        VIVERO_OK);
    CU_ASSERT_EQUAL(total, 4);
    CU_ASSERT_EQUAL(counter_clear(&counters, NULL), VIVERO_OK);
}

static void accepts_an_asynchronous_operation_at_once(void)
{
    for (int n = 1; n <= 3; n++) {
        CU_ASSERT_EQUAL(counter_note(&counters, n), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(counter_note_with(&counters, VIVERO_SEND(.worker = 2), 4),
                    VIVERO_OK);
    CU_ASSERT(journal_await(&journal, 4));
}

static void returns_what_the_body_returns(void)
{
    int reply = 0;

    CU_ASSERT_EQUAL(counter_refuse(&counters, -321, &reply), -321);
    CU_ASSERT_EQUAL(reply, 0);
    CU_ASSERT_EQUAL(counter_refuse(&counters, 0, &reply), VIVERO_OK);
    CU_ASSERT_EQUAL(reply, 99);
}

static void fails_its_worker_from_the_body(void)
{
    CU_ASSERT_EQUAL(counter_stumble(&counters), VIVERO_OK);
    CU_ASSERT(crew_await_restarts(counter_pool(&counters), 1));
}

static void sees_the_same_worker_by_id_payload_and_both(void)
{
    int same = 0;

    CU_ASSERT_EQUAL(counter_state_of(&counters, &same), VIVERO_OK);
    CU_ASSERT_EQUAL(same, 1);
}

static void never_shows_one_id_to_two_bodies_at_once(void)
{
    uint32_t id[2] = {0, 0};
    struct caller caller[2];

    for (int i = 0; i < 2; i++) {
        caller[i] = (struct caller){.pool = counter_pool(&counters),
                                    .operation = &counter_meet_operation,
                                    .out = &id[i]};
        caller_start(&caller[i]);
    }
    CU_ASSERT(gate_await(&gate, 2));
    gate_open(&gate);
    caller_join(&caller[0]);
    caller_join(&caller[1]);

    CU_ASSERT_EQUAL(id[0] + id[1], 3);
    CU_ASSERT(id[0] == 1 || id[0] == 2);
}

static void replaces_the_payload_in_a_body(void)
{
    const struct vivero_send *send = VIVERO_SEND(.worker = 1);
    long total = 0;

    CU_ASSERT_EQUAL(counter_add_with(&counters, send, 6, &total), VIVERO_OK);
    CU_ASSERT_EQUAL(counter_swap_with(&counters, send, 50, &total), VIVERO_OK);
    CU_ASSERT_EQUAL(total, 6);
    CU_ASSERT_EQUAL(counter_total_with(&counters, send, &total), VIVERO_OK);
    CU_ASSERT_EQUAL(total, 50);
}

static void answers_later_from_a_body(void)
{
    int answer = 0;
    int value = 8;
    struct caller caller = {.pool = counter_pool(&counters),
                            .operation = &counter_later_operation,
                            .out = &answer};

    gate_open(&gate);
    caller_start(&caller);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(vivero_reply(token, &value, sizeof value), VIVERO_OK);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(answer, 8);
}

/* The first argument alone decides, whatever the others are. */
static void picks_by_the_first_argument(void)
{
    struct counter keyed;
    long before = 0;
    long after = 0;

    CU_ASSERT_EQUAL_FATAL(
        counter_open(VIVERO_POOL_OPTIONS(.workers = 4, .pick = VIVERO_PICK_KEY),
                     &keyed),
        VIVERO_OK);
    for (long n = 1; n <= 50; n++) {
        CU_ASSERT_EQUAL(counter_add(&keyed, n, &before), VIVERO_OK);
        CU_ASSERT_EQUAL(counter_add(&keyed, n, &after), VIVERO_OK);
        CU_ASSERT_EQUAL(after, before + n);
    }
    CU_ASSERT_EQUAL(counter_close(&keyed), VIVERO_OK);
}

static int close_twice(void *ctx)
{
    struct counter twice;

    (void)ctx;
    if (counter_open(VIVERO_POOL_OPTIONS(.workers = 1), &twice) != VIVERO_OK ||
        counter_close(&twice) != VIVERO_OK || twice.pool != NULL) {
        return 1;
    }
    return counter_close(&twice) == VIVERO_OK ? 2 : 3;
}

static void zeroes_the_handle_it_closes(void)
{
    CU_ASSERT_EQUAL(counter_close(&counters), VIVERO_OK);
    CU_ASSERT_PTR_NULL(counters.pool);
    CU_ASSERT_EQUAL(crew_fork(close_twice, NULL, NULL), CREW_MISUSE);
    set_up();
}

SUITE_MAIN("define", set_up, tear_down,
           TEST(does_what_an_operation_written_by_hand_does),
           TEST(describes_the_operation_for_reports),
           TEST(calls_through_the_declaration_half),
           TEST(passes_none_to_eight_arguments),
           TEST(passes_function_pointers_by_typedef),
           TEST(passes_one_argument_struct),
           TEST(takes_null_for_a_reply_nobody_wants),
           TEST(accepts_an_asynchronous_operation_at_once),
           TEST(returns_what_the_body_returns),
           TEST(fails_its_worker_from_the_body),
           TEST(sees_the_same_worker_by_id_payload_and_both),
           TEST(never_shows_one_id_to_two_bodies_at_once),
           TEST(replaces_the_payload_in_a_body),
           TEST(answers_later_from_a_body), TEST(picks_by_the_first_argument),
           TEST(zeroes_the_handle_it_closes))
