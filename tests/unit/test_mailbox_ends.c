/* SPDX-License-Identifier: MIT */
/* How messages end in a mailbox without being handled, on one thread:
 * tombstones and their credit, compaction, dropping, flushing, cancelling. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/hash.h"
#include "mailbox/here.h"
#include "mailbox/mailbox.h"
#include "mailbox/spin.h"
#include "tests/lib/suite.h"

#define POOL VV_LANE_POOL
#define OWN VV_LANE_OWN
#define NOTHING (-1)

static struct vv_space space;
static struct vv_mailbox mailbox;

static int never_run(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return 0;
}

static const struct vivero_operation number = {
    .name = "number", .run = never_run, .in_size = sizeof(int)};

static void set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
}

/* Every test leaves the mailbox empty. */
static void tear_down(void)
{
    CU_ASSERT_EQUAL(vv_mailbox_queued(&mailbox), 0);
    vv_mailbox_fini(&mailbox);
    vv_reply_release();
}

static void open_mailbox(uint32_t depth)
{
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, depth, &space, NULL),
                          VIVERO_OK);
    vv_mailbox_reopen(&mailbox);
}

/* ---- Putting ---------------------------------------------------------------
 */

static enum vv_put put_message(enum vv_lane lane,
                               const struct vv_message *message, int value)
{
    size_t done;

    return vv_mailbox_put(&mailbox, lane, message, &value, 1, &done);
}

static enum vv_put put(enum vv_lane lane, int value)
{
    const struct vv_message message = {.operation = &number};

    return put_message(lane, &message, value);
}

/* With a slot: it can be cancelled. NULL: the mailbox was full. */
static struct vv_reply *put_with_slot(enum vv_lane lane, int value,
                                      bool has_caller, const void *owner)
{
    struct vv_message message = {.operation = &number,
                                 .reply = vv_reply_new(0, has_caller)};

    message.reply->owner = owner;
    if (put_message(lane, &message, value) == VV_PUT_OK) {
        return message.reply;
    }
    vv_reply_discard(message.reply);
    return NULL;
}

static struct vivero_message handle_of(const struct vv_reply *reply)
{
    return (struct vivero_message){reply->index, vv_reply_generation(reply)};
}

/* The caller's side of a slot whose answer is there, or which is overdue. */
static int answer_of(struct vv_reply *reply)
{
    const struct vv_spin none = {0, 0};
    bool expired;

    return vv_reply_wait(reply, &none, NULL, &expired);
}

static int give_up(struct vv_reply *reply)
{
    reply->deadline_ns = 1;
    return answer_of(reply);
}

/* ---- Taking -----------------------------------------------------------------
 */

/* Take one and settle it; its value. */
static int take(enum vv_lane lane)
{
    struct vv_message message;
    int value;

    if (!vv_mailbox_take(&mailbox, lane, &message)) {
        return NOTHING;
    }
    memcpy(&value, message.args, sizeof(value));
    if (message.reply != NULL) {
        vv_reply_settle(message.reply, message.generation, VIVERO_OK, NULL,
                        NULL);
    }
    return value;
}

static uint64_t settled(enum vv_settled how)
{
    return vv_mailbox_settled(&mailbox, how);
}

/* ---- Tombstones and credit
 * ---------------------------------------------------- */

static void a_cancelled_message_makes_room_at_once(void)
{
    struct vv_reply *first;

    open_mailbox(2);
    first = put_with_slot(POOL, 1, false, NULL);
    (void)put(POOL, 2);
    CU_ASSERT_EQUAL(put(POOL, 3), VV_PUT_FULL);

    CU_ASSERT(vv_reply_cancel(handle_of(first)));
    CU_ASSERT_EQUAL(vv_mailbox_queued(&mailbox), 1);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_CANCELLED), 1);
    CU_ASSERT_EQUAL(put(POOL, 3), VV_PUT_OK);
    CU_ASSERT_EQUAL(put(POOL, 4), VV_PUT_FULL);
    CU_ASSERT_EQUAL(take(POOL), 2);
    CU_ASSERT_EQUAL(take(POOL), 3);
    CU_ASSERT_EQUAL(take(POOL), NOTHING);
}

static void a_caller_that_gives_up_makes_room_at_once(void)
{
    struct vv_reply *first;

    open_mailbox(1);
    first = put_with_slot(OWN, 1, true, NULL);

    CU_ASSERT_EQUAL(give_up(first), VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_EXPIRED), 1);
    CU_ASSERT_EQUAL(put(OWN, 2), VV_PUT_OK);
    CU_ASSERT_EQUAL(take(OWN), 2);
}

static void an_overdue_message_is_not_handled(void)
{
    struct vv_reply *overdue;

    open_mailbox(4);
    overdue = put_with_slot(POOL, 1, false, NULL);
    overdue->deadline_ns = 1;
    (void)put(POOL, 2);

    CU_ASSERT_EQUAL(take(POOL), 2);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_EXPIRED), 1);
}

static void an_overdue_call_is_answered_timed_out_by_the_taker(void)
{
    struct vv_reply *overdue;

    open_mailbox(4);
    overdue = put_with_slot(POOL, 1, true, NULL);
    overdue->deadline_ns = 1;

    CU_ASSERT_EQUAL(take(POOL), NOTHING);
    CU_ASSERT_EQUAL(answer_of(overdue), VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_EXPIRED), 1);
}

static void room_that_credit_makes_wakes_who_wants_it(void)
{
    uint32_t before = atomic_load(&space.sequence);
    struct vv_reply *first;

    open_mailbox(8);
    first = put_with_slot(POOL, 1, false, NULL);
    vv_mailbox_want_room(&mailbox);
    (void)vv_reply_cancel(handle_of(first));

    CU_ASSERT(atomic_load(&space.sequence) != before);
    CU_ASSERT_EQUAL(take(POOL), NOTHING);
}

/* A taker stands between passing a tombstone and counting it buried. */
static void an_empty_mailbox_has_room_while_a_tombstone_is_passed(void)
{
    open_mailbox(1);
    (void)vv_reply_cancel(handle_of(put_with_slot(POOL, 1, false, NULL)));
    atomic_fetch_add(&mailbox.head[POOL], 1);

    CU_ASSERT_EQUAL(vv_mailbox_queued(&mailbox), 0);
    CU_ASSERT_EQUAL(put(POOL, 2), VV_PUT_OK);
    atomic_fetch_add(&mailbox.buried, 1);
    CU_ASSERT_EQUAL(take(POOL), 2);
}

/* ---- Compaction
 * ------------------------------------------------------------------ */

static void compaction_keeps_live_messages_in_order(void)
{
    struct vv_reply *reply[8];

    open_mailbox(8);
    for (int n = 0; n < 8; n++) {
        reply[n] = put_with_slot(POOL, n, n % 2 == 0, NULL);
    }
    (void)vv_reply_cancel(handle_of(reply[1]));
    (void)vv_reply_cancel(handle_of(reply[4]));
    (void)vv_reply_cancel(handle_of(reply[6]));
    CU_ASSERT_EQUAL(answer_of(reply[4]), VIVERO_E_CANCELLED);

    CU_ASSERT_EQUAL(put(POOL, 8), VV_PUT_OK);
    CU_ASSERT_EQUAL(put(POOL, 9), VV_PUT_OK);
    CU_ASSERT_EQUAL(put(POOL, 10), VV_PUT_OK);
    CU_ASSERT_EQUAL(put(POOL, 11), VV_PUT_FULL);
    /* The caller of 6 has not looked until now. */
    CU_ASSERT_EQUAL(answer_of(reply[6]), VIVERO_E_CANCELLED);
    CU_ASSERT_EQUAL(take(POOL), 0);
    CU_ASSERT_EQUAL(take(POOL), 2);
    CU_ASSERT_EQUAL(take(POOL), 3);
    CU_ASSERT_EQUAL(take(POOL), 5);
    CU_ASSERT_EQUAL(take(POOL), 7);
    CU_ASSERT_EQUAL(take(POOL), 8);
    CU_ASSERT_EQUAL(take(POOL), 9);
    CU_ASSERT_EQUAL(take(POOL), 10);
    CU_ASSERT_EQUAL(take(POOL), NOTHING);
    CU_ASSERT_EQUAL(answer_of(reply[0]), VIVERO_OK);
    CU_ASSERT_EQUAL(answer_of(reply[2]), VIVERO_OK);
}

/* A ring of which any message may be cancelled, beside a model. */
struct ring {
    int values[8];
    struct vv_reply *reply[8];
    uint32_t count;
};

static int ring_remove(struct ring *ring, uint32_t at)
{
    int value = ring->values[at];

    ring->count--;
    for (uint32_t i = at; i < ring->count; i++) {
        ring->values[i] = ring->values[i + 1];
        ring->reply[i] = ring->reply[i + 1];
    }
    return value;
}

static uint32_t ring_put(struct ring *ring, uint32_t depth, int value)
{
    struct vv_reply *reply = put_with_slot(POOL, value, false, NULL);

    if (ring->count < depth && reply != NULL) {
        ring->values[ring->count] = value;
        ring->reply[ring->count] = reply;
        ring->count++;
    }
    return (reply != NULL) !=
           (ring->count > 0 && ring->values[ring->count - 1] == value);
}

static uint32_t ring_step(struct ring *ring, uint32_t depth, int value,
                          uint64_t *random)
{
    uint32_t at;

    switch (vv_random_next(random) % 5) {
    case 0:
        return take(POOL) != (ring->count > 0 ? ring_remove(ring, 0) : NOTHING);
    case 1:
    case 2:
        if (ring->count > 0) {
            at = (uint32_t)(vv_random_next(random) % ring->count);
            (void)vv_reply_cancel(handle_of(ring->reply[at]));
            (void)ring_remove(ring, at);
        }
        return 0;
    default:
        return ring_put(ring, depth, value);
    }
}

static void any_pattern_of_tombstones_leaves_bound_and_order_exact(void)
{
    uint64_t random = 1;
    uint32_t wrong = 0;

    for (uint32_t depth = 1; depth <= 8; depth++) {
        struct ring ring = {.count = 0};

        open_mailbox(depth);
        for (int i = 0; i < 20000; i++) {
            wrong += ring_step(&ring, depth, i, &random);
            wrong += vv_mailbox_queued(&mailbox) != ring.count;
        }
        while (ring.count > 0) {
            wrong += take(POOL) != ring_remove(&ring, 0);
        }
        wrong += take(POOL) != NOTHING;
        vv_mailbox_fini(&mailbox);
    }
    open_mailbox(1);

    CU_ASSERT_EQUAL(wrong, 0);
}

static void a_dead_cell_has_no_age(void)
{
    struct vv_reply *reply;

    open_mailbox(4);
    reply = put_with_slot(OWN, 1, false, NULL);
    (void)vv_reply_cancel(handle_of(reply));

    CU_ASSERT_EQUAL(vv_mailbox_oldest_age(&mailbox), 0);
    CU_ASSERT_EQUAL(take(OWN), NOTHING);
}

/* ---- Dropping, flushing, cancelling by owner
 * ----------------------------------------- */

static void drop_ends_the_oldest_that_still_counts(void)
{
    struct vv_reply *dead;
    struct vv_reply *call;

    open_mailbox(4);
    dead = put_with_slot(POOL, 1, false, NULL);
    call = put_with_slot(POOL, 2, true, NULL);
    (void)put(POOL, 3);
    (void)vv_reply_cancel(handle_of(dead));

    CU_ASSERT(
        vv_mailbox_drop(&mailbox, POOL, VIVERO_E_FULL, VV_SETTLED_DROPPED));
    CU_ASSERT_EQUAL(answer_of(call), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_DROPPED), 1);
    CU_ASSERT_FALSE(
        vv_mailbox_drop(&mailbox, OWN, VIVERO_E_FULL, VV_SETTLED_DROPPED));
    CU_ASSERT_EQUAL(take(POOL), 3);
}

static void flush_ends_both_lanes_with_one_reason(void)
{
    const struct vivero_exit exit = {VIVERO_EXIT_RESTART_LIMIT, 7, "spent"};
    struct vv_reply *call;

    open_mailbox(8);
    call = put_with_slot(OWN, 1, true, NULL);
    (void)put(OWN, 2);
    (void)put(POOL, 3);

    CU_ASSERT_EQUAL(
        vv_mailbox_flush(&mailbox, VIVERO_E_DOWN, &exit, VV_SETTLED_DEAD), 3);
    CU_ASSERT_EQUAL(answer_of(call), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vv_here()->last_exit.code, 7);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_DEAD), 3);
}

static void flush_of_one_lane_leaves_the_other(void)
{
    open_mailbox(8);
    (void)put(OWN, 1);
    (void)put(POOL, 2);

    CU_ASSERT_EQUAL(vv_mailbox_flush_lane(&mailbox, OWN, VIVERO_E_GONE, NULL,
                                          VV_SETTLED_DEAD),
                    1);
    CU_ASSERT_EQUAL(take(OWN), NOTHING);
    CU_ASSERT_EQUAL(take(POOL), 2);
}

static void flush_does_not_count_tombstones(void)
{
    struct vv_reply *dead;

    open_mailbox(8);
    dead = put_with_slot(POOL, 1, false, NULL);
    (void)put(POOL, 2);
    (void)vv_reply_cancel(handle_of(dead));

    CU_ASSERT_EQUAL(
        vv_mailbox_flush(&mailbox, VIVERO_E_CLOSING, NULL, VV_SETTLED_DEAD), 1);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_CANCELLED), 1);
}

static void cancel_owner_ends_what_this_owner_sent_and_no_other(void)
{
    static const char mine = 0;
    static const char theirs = 0;
    struct vv_reply *call;

    open_mailbox(8);
    (void)put_with_slot(POOL, 1, false, &mine);
    (void)put_with_slot(POOL, 2, false, &theirs);
    call = put_with_slot(OWN, 3, true, &mine);
    (void)put(OWN, 4);

    CU_ASSERT_EQUAL(vv_mailbox_cancel_owner(&mailbox, &mine), 2);
    CU_ASSERT_EQUAL(vv_mailbox_cancel_owner(&mailbox, &mine), 0);
    CU_ASSERT_EQUAL(answer_of(call), VIVERO_E_CANCELLED);
    CU_ASSERT_EQUAL(vv_mailbox_queued(&mailbox), 2);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_CANCELLED), 2);
    CU_ASSERT_EQUAL(take(POOL), 2);
    CU_ASSERT_EQUAL(take(OWN), 4);
}

SUITE_MAIN("mailbox_ends", set_up, tear_down,
           TEST(a_cancelled_message_makes_room_at_once),
           TEST(a_caller_that_gives_up_makes_room_at_once),
           TEST(an_overdue_message_is_not_handled),
           TEST(an_overdue_call_is_answered_timed_out_by_the_taker),
           TEST(room_that_credit_makes_wakes_who_wants_it),
           TEST(an_empty_mailbox_has_room_while_a_tombstone_is_passed),
           TEST(compaction_keeps_live_messages_in_order),
           TEST(any_pattern_of_tombstones_leaves_bound_and_order_exact),
           TEST(a_dead_cell_has_no_age),
           TEST(drop_ends_the_oldest_that_still_counts),
           TEST(flush_ends_both_lanes_with_one_reason),
           TEST(flush_of_one_lane_leaves_the_other),
           TEST(flush_does_not_count_tombstones),
           TEST(cancel_owner_ends_what_this_owner_sent_and_no_other))
