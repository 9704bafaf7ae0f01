/* SPDX-License-Identifier: MIT */
/* Every edge of the drawing in future.c, on one thread. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/crew.h"
#include "mailbox/future.h"
#include "mailbox/here.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#define ANSWER 4711

static struct vv_crew crew;
static struct vv_mailbox mailbox; /* only its counters are used */
static struct vv_space space;
static uint32_t generation;

static void set_up(void)
{
    const struct vv_spin none = {0, 0};

    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_crew_init(&crew, 1, &none, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, 4, &space, NULL),
                          VIVERO_OK);
}

static void close_all(void)
{
    vv_mailbox_fini(&mailbox);
    vv_crew_fini(&crew);
    vv_reply_release();
}

/* ---- Steps ----------------------------------------------------------------- */

static struct vv_reply *queue(struct vivero_future *future)
{
    const struct vv_future_target target = {
        .object = &crew, .crew = &crew, .addressed = false};
    struct vv_reply *reply = vv_reply_new(sizeof(int), true);

    CU_ASSERT_PTR_NOT_NULL_FATAL(reply);
    vv_future_begin(reply, &target, NULL, NULL);
    vv_reply_set_credit(reply, &mailbox.credit);
    *future = vv_future_of(reply);
    return reply;
}

static struct vv_reply *run(struct vivero_future *future)
{
    struct vv_reply *reply = queue(future);
    struct vv_box *box;

    CU_ASSERT_FATAL(vv_reply_begin(reply, &generation, &box));
    return reply;
}

static struct vv_reply *answer(struct vivero_future *future)
{
    static const int value = ANSWER;
    struct vv_reply *reply = run(future);

    vv_reply_settle(reply, generation, VIVERO_OK, &value, NULL);
    return reply;
}

static bool is_free(const struct vv_reply *reply, struct vivero_future future)
{
    return vv_reply_generation(reply) == future.generation + 1;
}

static int take(struct vivero_future future)
{
    int out;

    return vivero_future_wait(future, &out, sizeof(out), 0);
}

/* ---- Waiting ------------------------------------------------------------------ */

static void a_future_is_pending_then_ready_then_used_up(void)
{
    struct vivero_future future;
    struct vv_reply *reply = run(&future);
    int value = ANSWER;
    int out = 0;

    CU_ASSERT_FALSE(vivero_future_is_ready(future));
    CU_ASSERT_EQUAL(take(future), VIVERO_E_AGAIN);
    vv_reply_settle(reply, generation, VIVERO_OK, &value, NULL);
    CU_ASSERT(vivero_future_is_ready(future));
    CU_ASSERT_EQUAL(vivero_future_wait(future, &out, sizeof(out), 0),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(out, ANSWER);
    CU_ASSERT(is_free(reply, future));
    CU_ASSERT_FALSE(vivero_future_is_ready(future));
    CU_ASSERT_EQUAL(take(future), VIVERO_E_GONE);
}

static void a_wait_that_times_out_leaves_the_future(void)
{
    struct vivero_future future;
    struct vv_reply *reply = run(&future);
    int value = ANSWER;
    int out = 0;

    CU_ASSERT_EQUAL(
        vivero_future_wait(future, &out, sizeof(out), VIVERO_MICROSECONDS(10)),
        VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(vivero_future_wait(future, &out, sizeof(out), INT64_MIN),
                    VIVERO_E_AGAIN);
    vv_reply_settle(reply, generation, VIVERO_OK, &value, NULL);
    CU_ASSERT_EQUAL(
        vivero_future_wait(future, &out, sizeof(out), VIVERO_FOREVER),
        VIVERO_OK);
    CU_ASSERT_EQUAL(out, ANSWER);
}

static void a_wrong_size_is_invalid_and_leaves_the_future(void)
{
    struct vivero_future future;
    char out[2 * sizeof(int)];

    (void)answer(&future);

    CU_ASSERT_EQUAL(vivero_future_wait(future, out, sizeof(out), 0),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_future_wait(future, NULL, sizeof(int), 0),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(take(future), VIVERO_OK);
}

static void names_of_nothing_are_gone(void)
{
    const struct vivero_future none = {0};
    const struct vivero_future beyond = {UINT32_MAX, 1};
    struct vivero_future future;

    CU_ASSERT_EQUAL(take(none), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(take(beyond), VIVERO_E_GONE);
    CU_ASSERT_FALSE(vivero_future_is_ready(none));
    vivero_future_abandon(none);
    vivero_future_abandon(beyond);

    (void)answer(&future);
    vivero_future_abandon(future);
    vivero_future_abandon(future);
    CU_ASSERT_EQUAL(take(future), VIVERO_E_GONE);
}

static void an_older_name_does_not_mean_a_newer_future(void)
{
    struct vivero_future old;
    struct vivero_future fresh;
    struct vv_reply *reply = answer(&old);

    CU_ASSERT_EQUAL(take(old), VIVERO_OK);
    CU_ASSERT_PTR_EQUAL(answer(&fresh), reply);
    vivero_future_abandon(old);
    CU_ASSERT_EQUAL(take(old), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(take(fresh), VIVERO_OK);
}

static void down_brings_its_reason(void)
{
    const struct vivero_exit exit = {VIVERO_EXIT_FAILED, 13, "why"};
    struct vivero_future future;
    struct vv_reply *reply = run(&future);

    vv_reply_settle(reply, generation, VIVERO_E_DOWN, NULL, &exit);

    CU_ASSERT_EQUAL(take(future), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vv_here()->last_exit.code, 13);
}

static void
a_cancelled_message_answers_before_and_after_its_cell_is_passed(void)
{
    struct vivero_future future;
    struct vv_reply *reply = queue(&future);

    CU_ASSERT(vv_reply_cut(reply));
    CU_ASSERT(vivero_future_is_ready(future));
    CU_ASSERT_EQUAL(take(future), VIVERO_E_CANCELLED);
    CU_ASSERT_FALSE(is_free(reply, future));
    CU_ASSERT_EQUAL(take(future), VIVERO_E_GONE);
    vv_reply_bury(reply);
    CU_ASSERT(is_free(reply, future));

    reply = queue(&future);
    CU_ASSERT(vv_reply_cut(reply));
    vv_reply_bury(reply);
    CU_ASSERT(vivero_future_is_ready(future));
    CU_ASSERT_EQUAL(take(future), VIVERO_E_CANCELLED);
    CU_ASSERT(is_free(reply, future));
}

/* ---- Abandoning ------------------------------------------------------------------- */

static void abandoning_a_queued_one_frees_its_room_at_once(void)
{
    struct vivero_future future;
    struct vv_reply *reply = queue(&future);
    struct vv_box *box;

    vivero_future_abandon(future);

    CU_ASSERT(vv_reply_is_tombstone(reply));
    CU_ASSERT_EQUAL(vv_mailbox_settled(&mailbox, VV_SETTLED_CANCELLED), 1);
    CU_ASSERT_EQUAL(take(future), VIVERO_E_GONE);
    CU_ASSERT_FALSE(vv_reply_begin(reply, &generation, &box));
    CU_ASSERT(is_free(reply, future));
}

static void abandoning_a_queued_one_frees_its_arguments(void)
{
    struct vv_account account = {0};
    struct vivero_memory_stats stats;
    struct vivero_future future;
    struct vv_reply *reply = queue(&future);

    vv_reply_give_box(reply, vv_box_new(100, &account));
    vivero_future_abandon(future);
    vv_account_stats(&account, &stats);

    CU_ASSERT_EQUAL(stats.bytes, 0);
    vv_reply_bury(reply);
}

static void abandoning_a_running_one_leaves_the_slot_to_its_settler(void)
{
    struct vivero_future future;
    struct vv_reply *reply = run(&future);
    int value = ANSWER;

    vivero_future_abandon(future);

    CU_ASSERT_EQUAL(take(future), VIVERO_E_GONE);
    CU_ASSERT_FALSE(is_free(reply, future));
    vv_reply_settle(reply, generation, VIVERO_OK, &value, NULL);
    CU_ASSERT(is_free(reply, future));
}

static void abandoning_an_owed_one_leaves_the_slot_to_its_payer(void)
{
    struct vv_debts debts = {0};
    struct vivero_reply_token token;
    struct vivero_future future;
    struct vv_reply *reply = run(&future);
    int value = ANSWER;

    CU_ASSERT(vv_reply_owe(reply, generation, &debts, &token));
    CU_ASSERT_EQUAL(take(future), VIVERO_E_AGAIN);
    vivero_future_abandon(future);

    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, &value, sizeof(value)),
                    VIVERO_E_GONE);
    CU_ASSERT(is_free(reply, future));
}

static void abandoning_an_answered_one_frees_the_slot(void)
{
    struct vivero_future future;
    struct vv_reply *reply = answer(&future);

    vivero_future_abandon(future);

    CU_ASSERT(is_free(reply, future));
}

static void a_debt_paid_answers_a_future(void)
{
    struct vv_debts debts = {0};
    struct vivero_reply_token token;
    struct vivero_future future;
    struct vv_reply *reply = run(&future);
    int value = ANSWER;

    CU_ASSERT(vv_reply_owe(reply, generation, &debts, &token));
    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, &value, 1),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vv_reply_pay(token, VIVERO_OK, &value, sizeof(value)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(take(future), VIVERO_OK);
}

/* ---- Several ----------------------------------------------------------------------- */

static void wait_any_names_the_first_that_is_ready(void)
{
    struct vivero_future futures[4];

    (void)answer(&futures[0]);
    CU_ASSERT_EQUAL(take(futures[0]), VIVERO_OK);
    (void)queue(&futures[1]);
    (void)answer(&futures[2]);
    (void)answer(&futures[3]);

    CU_ASSERT_EQUAL(vivero_future_wait_any(futures, 4, VIVERO_FOREVER), 2);
    CU_ASSERT_EQUAL(vivero_future_wait_any(futures, 4, 0), 2);
    CU_ASSERT_EQUAL(take(futures[2]), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_future_wait_any(futures, 4, 0), 3);
    CU_ASSERT_EQUAL(take(futures[3]), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_future_wait_any(futures, 4, 0), VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(vivero_future_wait_any(futures, 4, VIVERO_MICROSECONDS(10)),
                    VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(vivero_future_wait_all(futures, 4, VIVERO_MICROSECONDS(10)),
                    VIVERO_E_AGAIN);
    vivero_future_abandon(futures[1]);
    CU_ASSERT_EQUAL(vivero_future_wait_any(futures, 4, VIVERO_FOREVER),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_future_wait_all(futures, 4, VIVERO_FOREVER),
                    VIVERO_OK);
}

static void wait_any_of_none_is_invalid_and_wait_all_is_done(void)
{
    struct vivero_future future = {0};

    CU_ASSERT_EQUAL(vivero_future_wait_any(&future, 0, 0), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_future_wait_any(&future, (size_t)INT32_MAX + 1, 0),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_future_wait_all(NULL, 0, 0), VIVERO_OK);
}

/* ---- Memory ------------------------------------------------------------------------- */

static void a_future_outlives_all_objects(void)
{
    struct vivero_future future;
    int out = 0;

    close_all();
    CU_ASSERT_FATAL(fault_allocator_install());
    set_up();
    (void)answer(&future);
    close_all();

    CU_ASSERT_FALSE(fault_allocator_uninstall());
    CU_ASSERT(vivero_future_is_ready(future));
    CU_ASSERT_EQUAL(vivero_future_wait(future, &out, sizeof(out), 0),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(out, ANSWER);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(take(future), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_future_wait_any(&future, 1, 0), VIVERO_E_GONE);
    CU_ASSERT_FALSE(vivero_future_is_ready(future));

    CU_ASSERT(fault_allocator_uninstall());
    set_up();
}

static void a_message_that_was_not_queued_leaves_no_future(void)
{
    struct vivero_future future;
    struct vv_reply *reply = queue(&future);

    vv_future_undo(reply);
    vv_reply_discard(reply);

    CU_ASSERT_EQUAL(take(future), VIVERO_E_GONE);
}

SUITE_MAIN(
    "future", set_up, close_all,
    TEST(a_future_is_pending_then_ready_then_used_up),
    TEST(a_wait_that_times_out_leaves_the_future),
    TEST(a_wrong_size_is_invalid_and_leaves_the_future),
    TEST(names_of_nothing_are_gone),
    TEST(an_older_name_does_not_mean_a_newer_future),
    TEST(down_brings_its_reason),
    TEST(a_cancelled_message_answers_before_and_after_its_cell_is_passed),
    TEST(abandoning_a_queued_one_frees_its_room_at_once),
    TEST(abandoning_a_queued_one_frees_its_arguments),
    TEST(abandoning_a_running_one_leaves_the_slot_to_its_settler),
    TEST(abandoning_an_owed_one_leaves_the_slot_to_its_payer),
    TEST(abandoning_an_answered_one_frees_the_slot),
    TEST(a_debt_paid_answers_a_future),
    TEST(wait_any_names_the_first_that_is_ready),
    TEST(wait_any_of_none_is_invalid_and_wait_all_is_done),
    TEST(a_future_outlives_all_objects),
    TEST(a_message_that_was_not_queued_leaves_no_future))
