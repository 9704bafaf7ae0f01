/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

/* Answers that are owed: a handler hands its token over here. */
struct owed {
    struct gate given; /* open; counts tokens */
    struct vivero_reply_token token;
    int taken;
};

struct owe_in {
    struct owed *owed;
};

static int owe(struct vivero_self *self, const void *in, void *out)
{
    struct owed *owed = ((const struct owe_in *)in)->owed;

    (void)out;
    owed->taken = vivero_reply_later(self, &owed->token);
    gate_pass(&owed->given);
    return owed->taken == VIVERO_OK ? VIVERO_NO_REPLY : owed->taken;
}

static int owe_and_pay(struct vivero_self *self, const void *in, void *out)
{
    struct owed *owed = ((const struct owe_in *)in)->owed;
    int value = 11;

    (void)out;
    return vivero_reply_later(self, &owed->token) == VIVERO_OK &&
                   vivero_reply(owed->token, &value, sizeof value) == VIVERO_OK
               ? VIVERO_NO_REPLY
               : -1;
}

static int owe_and_fail(struct vivero_self *self, const void *in, void *out)
{
    struct owed *owed = ((const struct owe_in *)in)->owed;

    (void)out;
    owed->taken = vivero_reply_later(self, &owed->token);
    gate_pass(&owed->given);
    return vivero_fail(self, 21, "owes for ever");
}

static const struct vivero_operation owe_operation = {.name = "owe",
                                                      .run = owe,
                                                      .in_size =
                                                          sizeof(struct owe_in),
                                                      .out_size = sizeof(int)};
static const struct vivero_operation pay_operation = {.name = "pay",
                                                      .run = owe_and_pay,
                                                      .in_size =
                                                          sizeof(struct owe_in),
                                                      .out_size = sizeof(int)};
static const struct vivero_operation bankrupt_operation = {
    .name = "bankrupt",
    .run = owe_and_fail,
    .in_size = sizeof(struct owe_in),
    .out_size = sizeof(int)};

static struct vivero_pool *pool;
static struct owed owed = {.given = GATE_SHUT};
static struct owe_in owe_in = {&owed};
static int reply;
static struct caller caller;

static void set_up(void)
{
    gate_shut(&owed.given);
    gate_open(&owed.given);
    owed.taken = 1;
    reply = 0;
    pool = crew_open(VIVERO_POOL_OPTIONS(.name = "replies", .workers = 1));
    caller = (struct caller){.pool = pool,
                             .operation = &owe_operation,
                             .in = &owe_in,
                             .out = &reply};
}

static void tear_down(void)
{
    if (pool != NULL) {
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
        pool = NULL;
    }
}

static bool caller_waits_for_its_token(void)
{
    caller_start(&caller);
    return gate_await(&owed.given, 1);
}

static void answers_later_from_another_thread(void)
{
    int value = 77;

    CU_ASSERT_FATAL(caller_waits_for_its_token());
    CU_ASSERT_EQUAL(vivero_reply(owed.token, &value, sizeof value), VIVERO_OK);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(reply, 77);
    CU_ASSERT(crew_is_conserved(pool));
}

static void answers_an_error_later(void)
{
    CU_ASSERT_FATAL(caller_waits_for_its_token());
    CU_ASSERT_EQUAL(vivero_reply_error(owed.token, -1234), VIVERO_OK);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, -1234);
    CU_ASSERT_EQUAL(reply, 0);
}

static void answers_within_the_handler_by_token(void)
{
    caller.operation = &pay_operation;
    caller_start(&caller);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(reply, 11);
}

static void serves_others_while_an_answer_is_owed(void)
{
    int in = 5;
    int out = 0;
    int value = 1;

    CU_ASSERT_FATAL(caller_waits_for_its_token());
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_echo, &in, &out, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(out, 5);
    CU_ASSERT_EQUAL(vivero_reply(owed.token, &value, sizeof value), VIVERO_OK);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
}

static void answers_gone_to_a_second_reply(void)
{
    int value = 77;
    int other = 78;

    CU_ASSERT_FATAL(caller_waits_for_its_token());
    CU_ASSERT_EQUAL(vivero_reply(owed.token, &value, sizeof value), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_reply(owed.token, &other, sizeof other),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_reply_error(owed.token, -3), VIVERO_E_GONE);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(reply, 77);
}

static void answers_invalid_for_a_reply_of_another_size(void)
{
    int value[2] = {77, 78};

    CU_ASSERT_FATAL(caller_waits_for_its_token());
    CU_ASSERT_EQUAL(vivero_reply(owed.token, value, sizeof value),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_reply(owed.token, value, 1), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_reply(owed.token, NULL, 0), VIVERO_E_INVALID);
    /* It is still owed. */
    CU_ASSERT_EQUAL(vivero_reply(owed.token, value, sizeof(int)), VIVERO_OK);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(reply, 77);
}

static void answers_invalid_for_an_error_that_is_none(void)
{
    CU_ASSERT_FATAL(caller_waits_for_its_token());
    CU_ASSERT_EQUAL(vivero_reply_error(owed.token, 0), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_reply_error(owed.token, 1), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_reply_error(owed.token, -1), VIVERO_OK);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, -1);
}

static void answers_gone_when_the_caller_gave_up(void)
{
    int value = 77;

    caller.send = VIVERO_SEND(.timeout_ns = VIVERO_MILLISECONDS(500));
    CU_ASSERT_FATAL(caller_waits_for_its_token());
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_TIMED_OUT);

    CU_ASSERT_EQUAL(vivero_reply(owed.token, &value, sizeof value),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_reply_error(owed.token, -1), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(reply, 0);
}

/* The slot of an old token serves later calls; the token must not reach them.
 */
static void never_reaches_a_later_call_with_an_old_token(void)
{
    int value = 77;
    int wrong = 0;

    CU_ASSERT_FATAL(caller_waits_for_its_token());
    struct vivero_reply_token old = owed.token;
    CU_ASSERT_EQUAL(vivero_reply(old, &value, sizeof value), VIVERO_OK);
    caller_join(&caller);

    for (int i = 0; i < 200; i++) {
        gate_shut(&owed.given);
        gate_open(&owed.given);
        CU_ASSERT_FATAL(caller_waits_for_its_token());
        wrong += vivero_reply(old, &wrong, sizeof wrong) != VIVERO_E_GONE;
        wrong += vivero_reply(owed.token, &i, sizeof i) != VIVERO_OK;
        caller_join(&caller);
        wrong += caller.result != VIVERO_OK || reply != i;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void answers_down_when_the_worker_fails_while_it_owes(void)
{
    struct fail_in in = {9, "died of another message"};
    int value = 77;

    CU_ASSERT_FATAL(caller_waits_for_its_token());
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_fail, &in, NULL, NULL),
                    VIVERO_E_DOWN);
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(caller.reason.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(caller.reason.code, 9);
    CU_ASSERT_EQUAL(vivero_reply(owed.token, &value, sizeof value),
                    VIVERO_E_GONE);
}

static void answers_down_when_the_handler_itself_fails_after_all(void)
{
    int value = 77;

    caller.operation = &bankrupt_operation;
    CU_ASSERT_FATAL(caller_waits_for_its_token());
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(caller.reason.code, 21);
    CU_ASSERT_EQUAL(vivero_reply(owed.token, &value, sizeof value),
                    VIVERO_E_GONE);
}

static void refuses_a_token_for_a_cast(void)
{
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &owe_operation, &owe_in, NULL),
                    VIVERO_OK);
    CU_ASSERT_FATAL(gate_await(&owed.given, 1));
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    CU_ASSERT_EQUAL(owed.taken, VIVERO_E_INVALID);
}

static void lets_a_caller_go_whose_answer_is_owed_at_close(void)
{
    int value = 77;

    CU_ASSERT_FATAL(caller_waits_for_its_token());
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    caller_join(&caller);
    pool = NULL;

    /* The worker ended, and so did the pool. */
    CU_ASSERT(caller.result == VIVERO_E_CLOSING ||
              caller.result == VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_reply(owed.token, &value, sizeof value),
                    VIVERO_E_GONE);
}

struct payer {
    pthread_t thread;
    int value;
    int result;
};

static void *pay(void *arg)
{
    struct payer *payer = arg;

    payer->result = vivero_reply(owed.token, &payer->value, sizeof(int));
    return NULL;
}

static void takes_one_of_several_replies_that_race(void)
{
    uint32_t wrong = 0;

    for (int i = 0; i < 100; i++) {
        struct payer payer[4] = {
            {.value = 1}, {.value = 2}, {.value = 3}, {.value = 4}};
        int winner = 0;

        gate_shut(&owed.given);
        gate_open(&owed.given);
        CU_ASSERT_FATAL(caller_waits_for_its_token());
        for (int p = 0; p < 4; p++) {
            pthread_create(&payer[p].thread, NULL, pay, &payer[p]);
        }
        for (int p = 0; p < 4; p++) {
            pthread_join(payer[p].thread, NULL);
            wrong += payer[p].result == VIVERO_OK && winner != 0;
            winner = payer[p].result == VIVERO_OK ? payer[p].value : winner;
            wrong += payer[p].result != VIVERO_OK &&
                     payer[p].result != VIVERO_E_GONE;
        }
        caller_join(&caller);
        wrong += caller.result != VIVERO_OK || reply != winner;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

SUITE_MAIN("pool_replies", set_up, tear_down,
           TEST(answers_later_from_another_thread),
           TEST(answers_an_error_later),
           TEST(answers_within_the_handler_by_token),
           TEST(serves_others_while_an_answer_is_owed),
           TEST(answers_gone_to_a_second_reply),
           TEST(answers_invalid_for_a_reply_of_another_size),
           TEST(answers_invalid_for_an_error_that_is_none),
           TEST(answers_gone_when_the_caller_gave_up),
           TEST(never_reaches_a_later_call_with_an_old_token),
           TEST(answers_down_when_the_worker_fails_while_it_owes),
           TEST(answers_down_when_the_handler_itself_fails_after_all),
           TEST(refuses_a_token_for_a_cast),
           TEST(lets_a_caller_go_whose_answer_is_owed_at_close),
           TEST(takes_one_of_several_replies_that_race))
