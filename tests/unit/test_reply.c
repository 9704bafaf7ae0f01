/* SPDX-License-Identifier: MIT */
/* Every edge of the drawing in reply.c, on one thread. A slot is FREE again
 * when its generation is over. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/here.h"
#include "mailbox/mailbox.h"
#include "mailbox/reply.h"
#include "mailbox/spin.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#define ANSWER 4711
#define LARGE 500u

static struct vv_space space;
static struct vv_mailbox mailbox; /* only its counters are used */
static struct vv_box *box;
static uint32_t generation;

static void set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, 4, &space, NULL),
                          VIVERO_OK);
}

static void tear_down(void)
{
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

static struct vivero_message handle_of(const struct vv_reply *reply)
{
    return (struct vivero_message){reply->index, vv_reply_generation(reply)};
}

/* From QUEUED to RUNNING. */
static struct vv_reply *run(uint32_t out_size, bool has_caller)
{
    struct vv_reply *reply = queue(out_size, has_caller);

    CU_ASSERT_FATAL(vv_reply_begin(reply, &generation, &box));
    return reply;
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

/* ---- Settled by who runs it
 * ---------------------------------------------------- */

static void an_answer_reaches_its_caller_and_frees_the_slot(void)
{
    struct vv_reply *reply = run(sizeof(int), true);
    int answer = ANSWER;
    int out = 0;

    vv_reply_settle(reply, generation, VIVERO_OK, &answer, NULL);

    CU_ASSERT_EQUAL(wait(reply, &out), VIVERO_OK);
    CU_ASSERT_EQUAL(out, ANSWER);
    CU_ASSERT(is_free(reply, generation));
}

static void an_answer_may_be_left_where_it_is(void)
{
    struct vv_reply *reply = run(sizeof(int), true);
    int answer = ANSWER;

    vv_reply_settle(reply, generation, VIVERO_OK, &answer, NULL);

    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_OK);
}

static void a_large_answer_travels_whole(void)
{
    struct vv_reply *reply = run(LARGE, true);
    unsigned char answer[LARGE];
    unsigned char out[LARGE] = {0};

    memset(answer, 7, sizeof(answer));
    vv_reply_settle(reply, generation, VIVERO_OK, answer, NULL);

    CU_ASSERT_EQUAL(wait(reply, out), VIVERO_OK);
    CU_ASSERT_EQUAL(memcmp(out, answer, sizeof(out)), 0);
}

static void an_error_leaves_out_alone(void)
{
    struct vv_reply *reply = run(sizeof(int), true);
    int out = 5;

    vv_reply_settle(reply, generation, -77, NULL, NULL);

    CU_ASSERT_EQUAL(wait(reply, &out), -77);
    CU_ASSERT_EQUAL(out, 5);
}

static void down_brings_its_reason(void)
{
    const struct vivero_exit exit = {VIVERO_EXIT_FAILED, 13, "why"};
    struct vv_reply *reply = run(0, true);

    vv_reply_settle(reply, generation, VIVERO_E_DOWN, NULL, &exit);

    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vv_here()->last_exit.code, 13);
    CU_ASSERT_STRING_EQUAL(vv_here()->last_exit.text, "why");
}

static void a_slot_without_a_caller_is_free_when_it_is_settled(void)
{
    struct vv_reply *reply = run(0, false);

    vv_reply_settle(reply, generation, VIVERO_OK, NULL, NULL);

    CU_ASSERT(is_free(reply, generation));
}

/* ---- The caller gives up
 * -------------------------------------------------------- */

static void giving_up_a_queued_message_leaves_a_tombstone(void)
{
    struct vv_reply *reply = queue(0, true);
    bool expired;

    CU_ASSERT_EQUAL(give_up(reply, &expired), VIVERO_E_TIMED_OUT);
    CU_ASSERT(expired);
    CU_ASSERT(vv_reply_is_tombstone(reply));
    CU_ASSERT_EQUAL(vv_mailbox_settled(&mailbox, VV_SETTLED_EXPIRED), 1);

    CU_ASSERT_FALSE(vv_reply_begin(reply, &generation, &box));
    CU_ASSERT(is_free(reply, generation));
}

static void giving_up_a_running_message_leaves_the_slot_to_its_settler(void)
{
    struct vv_reply *reply = run(sizeof(int), true);
    int answer = ANSWER;
    bool expired;

    CU_ASSERT_EQUAL(give_up(reply, &expired), VIVERO_E_TIMED_OUT);
    CU_ASSERT_FALSE(expired);
    CU_ASSERT_FALSE(vv_reply_is_with_worker(reply, generation));
    CU_ASSERT_FALSE(is_free(reply, generation));

    vv_reply_settle(reply, generation, VIVERO_OK, &answer, NULL);
    CU_ASSERT(is_free(reply, generation));
}

static void an_answer_that_was_quicker_than_the_deadline_counts(void)
{
    struct vv_reply *reply = run(0, true);
    bool expired;

    vv_reply_settle(reply, generation, VIVERO_OK, NULL, NULL);

    CU_ASSERT_EQUAL(give_up(reply, &expired), VIVERO_OK);
    CU_ASSERT_FALSE(expired);
}

/* ---- Cancelling
 * -------------------------------------------------------------------- */

static void a_cancelled_call_is_told_before_its_cell_is_passed(void)
{
    struct vv_reply *reply = queue(0, true);

    CU_ASSERT(vv_reply_cancel(handle_of(reply)));
    CU_ASSERT(vv_reply_is_tombstone(reply));
    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_E_CANCELLED);
    CU_ASSERT(vv_reply_is_tombstone(reply));

    CU_ASSERT_FALSE(vv_reply_begin(reply, &generation, &box));
    CU_ASSERT(is_free(reply, generation));
    CU_ASSERT_EQUAL(vv_mailbox_settled(&mailbox, VV_SETTLED_CANCELLED), 1);
}

static void a_cancelled_call_may_be_told_after_its_cell_is_passed(void)
{
    struct vv_reply *reply = queue(0, true);

    CU_ASSERT(vv_reply_cancel(handle_of(reply)));
    CU_ASSERT_FALSE(vv_reply_begin(reply, &generation, &box));
    CU_ASSERT_FALSE(is_free(reply, generation));

    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_E_CANCELLED);
    CU_ASSERT(is_free(reply, generation));
}

static void a_cancelled_cast_is_freed_when_its_cell_is_passed(void)
{
    struct vv_reply *reply = queue(0, false);

    CU_ASSERT(vv_reply_cancel(handle_of(reply)));
    CU_ASSERT(vv_reply_is_tombstone(reply));

    generation = vv_reply_generation(reply);
    vv_reply_bury(reply);
    CU_ASSERT(is_free(reply, generation));
}

static void only_what_is_queued_can_be_cancelled_once(void)
{
    struct vv_reply *reply = queue(0, true);

    CU_ASSERT(vv_reply_cut(reply));
    CU_ASSERT_FALSE(vv_reply_cut(reply));
    CU_ASSERT_FALSE(vv_reply_cancel(handle_of(reply)));
    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_E_CANCELLED);
    vv_reply_bury(reply);

    reply = run(0, true);
    CU_ASSERT_FALSE(vv_reply_cancel(handle_of(reply)));
    vv_reply_settle(reply, generation, VIVERO_OK, NULL, NULL);
    CU_ASSERT_FALSE(vv_reply_cancel(handle_of(reply)));
    CU_ASSERT_EQUAL(wait(reply, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_mailbox_settled(&mailbox, VV_SETTLED_CANCELLED), 0);
}

static void an_older_handle_does_not_cancel_a_newer_message(void)
{
    struct vv_reply *reply = queue(0, false);
    struct vivero_message old = handle_of(reply);
    struct vv_reply *next;

    vv_reply_discard(reply);
    next = queue(0, false);

    CU_ASSERT_PTR_EQUAL(next, reply);
    CU_ASSERT_FALSE(vv_reply_cancel(old));
    CU_ASSERT_FALSE(vv_reply_cancel((struct vivero_message){UINT32_MAX, 0}));
    vv_reply_discard(next);
}

/* ---- Slots and memory
 * --------------------------------------------------------------------- */

static void slots_in_use_are_all_different(void)
{
    static struct vv_reply *reply[500];
    uint32_t same = 0;

    for (uint32_t i = 0; i < 500; i++) {
        reply[i] = queue(0, true);
        for (uint32_t j = 0; j < i; j++) {
            same += reply[i] == reply[j] || reply[i]->index == reply[j]->index;
        }
    }
    for (uint32_t i = 0; i < 500; i++) {
        vv_reply_discard(reply[i]);
    }

    CU_ASSERT_EQUAL(same, 0);
}

static void generations_go_on_over_a_reopening(void)
{
    struct vv_reply *reply = queue(0, false);
    struct vivero_message old = handle_of(reply);

    vv_reply_discard(reply);
    vv_reply_release();
    CU_ASSERT_EQUAL(vv_reply_retain(), VIVERO_OK);
    reply = queue(0, false);

    CU_ASSERT_EQUAL(reply->index, old.slot);
    CU_ASSERT(vv_reply_generation(reply) > old.generation);
    CU_ASSERT_FALSE(vv_reply_cancel(old));
    vv_reply_discard(reply);
}

static void a_slot_frees_the_box_it_was_given(void)
{
    struct vv_account account = {0};
    struct vivero_memory_stats stats;
    struct vv_reply *reply = queue(0, false);

    vv_reply_give_box(reply, vv_box_new(100, &account));
    CU_ASSERT(vv_reply_cancel(handle_of(reply)));
    vv_account_stats(&account, &stats);

    CU_ASSERT_EQUAL(stats.bytes, 0);
    vv_reply_bury(reply);
}

static void new_reports_no_memory_and_leaves_nothing(void)
{
    struct vv_reply *reply = NULL;
    uint64_t failures = 0;

    vv_reply_release();
    CU_ASSERT_FATAL(fault_allocator_install());
    CU_ASSERT_EQUAL(vv_reply_retain(), VIVERO_OK);
    for (uint64_t n = 0; reply == NULL && n < 10; n++) {
        fault_allocator_fail_after(n);
        reply = vv_reply_new(LARGE, true);
        failures += reply == NULL;
    }
    fault_allocator_fail_after(FAULT_NEVER);
    CU_ASSERT_PTR_NOT_NULL_FATAL(reply);
    CU_ASSERT(failures >= 2);
    vv_reply_discard(reply);
    vv_reply_release();

    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
    CU_ASSERT_EQUAL(vv_reply_retain(), VIVERO_OK);
}

SUITE_MAIN("reply", set_up, tear_down,
           TEST(an_answer_reaches_its_caller_and_frees_the_slot),
           TEST(an_answer_may_be_left_where_it_is),
           TEST(a_large_answer_travels_whole), TEST(an_error_leaves_out_alone),
           TEST(down_brings_its_reason),
           TEST(a_slot_without_a_caller_is_free_when_it_is_settled),
           TEST(giving_up_a_queued_message_leaves_a_tombstone),
           TEST(giving_up_a_running_message_leaves_the_slot_to_its_settler),
           TEST(an_answer_that_was_quicker_than_the_deadline_counts),
           TEST(a_cancelled_call_is_told_before_its_cell_is_passed),
           TEST(a_cancelled_call_may_be_told_after_its_cell_is_passed),
           TEST(a_cancelled_cast_is_freed_when_its_cell_is_passed),
           TEST(only_what_is_queued_can_be_cancelled_once),
           TEST(an_older_handle_does_not_cancel_a_newer_message),
           TEST(slots_in_use_are_all_different),
           TEST(generations_go_on_over_a_reopening),
           TEST(a_slot_frees_the_box_it_was_given),
           TEST(new_reports_no_memory_and_leaves_nothing))
