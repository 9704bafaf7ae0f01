/* SPDX-License-Identifier: MIT */
/* Every edge of the drawing in reply.c, on one thread. A slot is FREE again
 * when its generation is over. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/here.h"
#include "mailbox/mailbox.h"
#include "mailbox/reply.h"
#include "mailbox/spin.h"
#include "tests/lib/suite.h"

#define ANSWER 4711

static struct vv_space space;
static struct vv_mailbox mailbox; /* only its counters are used */
static struct vv_debts debts;
static struct vv_box *box;
static uint32_t generation;

static void set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    debts.first = NULL;
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, 4, &space, NULL),
                          VIVERO_OK);
}

static void tear_down(void)
{
    CU_ASSERT_PTR_NULL(debts.first);
    vv_mailbox_fini(&mailbox);
    vv_reply_release();
}

/* ---- Steps ------------------------------------------------------------------
 */

static struct vv_reply *queue(uint32_t out_size, bool has_caller)
{
    struct vv_reply *reply = vv_reply_new(out_size, has_caller);

    CU_ASSERT_PTR_NOT_NULL_FATAL(reply);
    vv_reply_set_credit(reply, &mailbox.credit);
    return reply;
}

static struct vivero_reply_token token_of(const struct vv_reply *reply)
{
    return (struct vivero_reply_token){reply->index,
                                       vv_reply_generation(reply)};
}

/* From QUEUED to RUNNING. */
static struct vv_reply *run(uint32_t out_size, bool has_caller)
{
    struct vv_reply *reply = queue(out_size, has_caller);

    CU_ASSERT_FATAL(vv_reply_begin(reply, &generation, &box));
    return reply;
}

/* From RUNNING to OWED. */
static struct vivero_reply_token owe(struct vv_reply *reply)
{
    struct vivero_reply_token token = {0, 0};

    CU_ASSERT(vv_reply_owe(reply, generation, &debts, &token));
    return token;
}

static int wait(struct vv_reply *reply, void *out)
{
    const struct vv_spin none = {0, 0};
    bool expired;

    return vv_reply_wait(reply, &none, out, &expired);
}

/* The deadline has passed: what the caller is told, and whether its message was
 * still queued. */
static int give_up(struct vv_reply *reply, bool *expired)
{
    const struct vv_spin none = {0, 0};

    reply->deadline_ns = 1;
    return vv_reply_wait(reply, &none, NULL, expired);
}

static bool is_free(const struct vv_reply *reply, uint32_t old_generation)
{
    return vv_reply_generation(reply) == old_generation + 1 &&
           !vv_reply_is_tombstone(reply);
}

/* ---- Debts
 * ----------------------------------------------------------------------------
 */

static void a_debt_can_be_paid_by_its_token_once(void)
{
    struct vv_reply *reply = run(sizeof(int), true);
    struct vivero_reply_token token = owe(reply);
    int answer = ANSWER;
    int out = 0;

    CU_ASSERT_FALSE(vv_reply_is_with_worker(reply, generation));
    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, &answer, sizeof(answer)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, &answer, sizeof(answer)),
                    VIVERO_E_GONE);

    CU_ASSERT_EQUAL(wait(reply, &out), VIVERO_OK);
    CU_ASSERT_EQUAL(out, ANSWER);
    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, &answer, sizeof(answer)),
                    VIVERO_E_GONE);
}

static void a_debt_of_another_size_is_still_owed(void)
{
    struct vv_reply *reply = run(sizeof(int), true);
    struct vivero_reply_token token = owe(reply);
    int answer = ANSWER;

    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, &answer, 1),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vv_reply_pay(token, -9, NULL, 0), VIVERO_OK);
    CU_ASSERT_EQUAL(wait(reply, NULL), -9);
}

static void what_is_not_owed_cannot_be_paid(void)
{
    struct vv_reply *reply = run(0, true);

    CU_ASSERT_EQUAL(vv_reply_pay(token_of(reply), VIVERO_OK, NULL, 0),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(
        vv_reply_pay((struct vivero_reply_token){UINT32_MAX, 0}, -1, NULL, 0),
        VIVERO_E_GONE);
    vv_reply_settle(reply, generation, VIVERO_OK, NULL, NULL);
    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_OK);
}

static void a_debt_whose_caller_gave_up_is_gone(void)
{
    struct vv_reply *reply = run(0, true);
    struct vivero_reply_token token = owe(reply);
    bool expired;

    CU_ASSERT_EQUAL(give_up(reply, &expired), VIVERO_E_TIMED_OUT);
    CU_ASSERT_FALSE(expired);
    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, NULL, 0), VIVERO_E_GONE);
    CU_ASSERT(is_free(reply, generation));
}

static void a_caller_may_have_given_up_before_the_debt(void)
{
    struct vv_reply *reply = run(0, true);
    struct vivero_reply_token token;
    bool expired;

    CU_ASSERT_EQUAL(give_up(reply, &expired), VIVERO_E_TIMED_OUT);
    token = owe(reply);

    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, NULL, 0), VIVERO_E_GONE);
    CU_ASSERT(is_free(reply, generation));
}

static void a_debtor_that_ends_tells_all_its_callers(void)
{
    const struct vivero_exit exit = {VIVERO_EXIT_FAILED, 21, "gone"};
    struct vv_reply *reply[3];
    struct vivero_reply_token token;
    bool expired;

    for (int i = 0; i < 3; i++) {
        reply[i] = run(0, true);
        token = owe(reply[i]);
    }
    CU_ASSERT_EQUAL(give_up(reply[1], &expired), VIVERO_E_TIMED_OUT);
    vv_reply_default(&debts, VIVERO_E_DOWN, &exit);

    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, NULL, 0), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(wait(reply[0], NULL), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(wait(reply[2], NULL), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vv_here()->last_exit.code, 21);
}

static void nobody_is_owed_an_answer_who_does_not_wait(void)
{
    struct vv_reply *reply = run(0, false);
    struct vivero_reply_token token;

    CU_ASSERT_FALSE(vv_reply_owe(reply, generation, &debts, &token));
    CU_ASSERT_PTR_NULL(debts.first);
    vv_reply_settle(reply, generation, VIVERO_OK, NULL, NULL);
}

/* ---- Fences
 * ------------------------------------------------------------------------------
 */

static void a_fence_answers_in_place_of_who_runs_it(void)
{
    struct vv_reply *reply = run(sizeof(int), true);
    int answer = ANSWER;

    CU_ASSERT(vv_reply_fence(token_of(reply), VIVERO_E_CLOSING, NULL));
    CU_ASSERT_FALSE(vv_reply_fence(token_of(reply), VIVERO_E_CLOSING, NULL));
    vv_reply_settle(reply, generation, VIVERO_OK, &answer, NULL);

    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_E_CLOSING);
    CU_ASSERT(is_free(reply, generation));
    vv_reply_settle(reply, generation, VIVERO_OK, &answer, NULL);
    CU_ASSERT(is_free(reply, generation));
}

static void a_late_settler_does_not_answer_the_next_call_of_the_slot(void)
{
    struct vv_reply *reply = run(sizeof(int), true);
    uint32_t first = generation;
    struct vv_reply *next;
    int answer = ANSWER;

    (void)vv_reply_fence(token_of(reply), VIVERO_E_CLOSING, NULL);
    (void)wait(reply, NULL);
    next = run(sizeof(int), true);
    CU_ASSERT_PTR_EQUAL(next, reply);

    vv_reply_settle(reply, first, VIVERO_OK, &answer, NULL);
    CU_ASSERT(vv_reply_is_with_worker(next, generation));
    vv_reply_settle(next, generation, -5, NULL, NULL);
    CU_ASSERT_EQUAL(wait(next, NULL), -5);
}

static void what_was_fenced_cannot_be_owed_any_more(void)
{
    struct vv_reply *reply = run(0, true);
    uint32_t first = generation;
    struct vivero_reply_token token;
    struct vv_reply *next;

    (void)vv_reply_fence(token_of(reply), VIVERO_E_CLOSING, NULL);
    (void)wait(reply, NULL);
    next = run(0, true);
    CU_ASSERT_PTR_EQUAL(next, reply);

    (void)vv_reply_owe(reply, first, &debts, &token);
    CU_ASSERT_PTR_NULL(debts.first);
    CU_ASSERT_EQUAL(vv_reply_pay(token, -1, NULL, 0), VIVERO_E_GONE);
    CU_ASSERT(vv_reply_is_with_worker(next, generation));
    vv_reply_settle(next, generation, VIVERO_OK, NULL, NULL);
    CU_ASSERT_EQUAL(wait(next, NULL), VIVERO_OK);
}

static void a_fence_is_for_what_runs(void)
{
    struct vv_reply *reply = queue(0, true);
    struct vivero_reply_token old = token_of(reply);

    CU_ASSERT_FALSE(vv_reply_fence(old, VIVERO_E_CLOSING, NULL));
    vv_reply_discard(reply);
    reply = run(0, true);
    CU_ASSERT_FALSE(vv_reply_fence(old, VIVERO_E_CLOSING, NULL));
    CU_ASSERT_FALSE(vv_reply_fence((struct vivero_reply_token){UINT32_MAX, 0},
                                   VIVERO_E_CLOSING, NULL));
    vv_reply_settle(reply, generation, VIVERO_OK, NULL, NULL);
    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_OK);
}

SUITE_MAIN("reply_debts", set_up, tear_down,
           TEST(a_debt_can_be_paid_by_its_token_once),
           TEST(a_debt_of_another_size_is_still_owed),
           TEST(what_is_not_owed_cannot_be_paid),
           TEST(a_debt_whose_caller_gave_up_is_gone),
           TEST(a_caller_may_have_given_up_before_the_debt),
           TEST(a_debtor_that_ends_tells_all_its_callers),
           TEST(a_fence_answers_in_place_of_who_runs_it),
           TEST(a_late_settler_does_not_answer_the_next_call_of_the_slot),
           TEST(nobody_is_owed_an_answer_who_does_not_wait),
           TEST(what_was_fenced_cannot_be_owed_any_more),
           TEST(a_fence_is_for_what_runs))
