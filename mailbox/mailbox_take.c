/* SPDX-License-Identifier: MIT */
/* mailbox_take: how messages leave a mailbox, to a worker or without one. See
 * mailbox.c for the model. */
#include <vivero/error.h>

#include "mailbox/mailbox_private.h"
#include "os/cpu.h"

#include <string.h>

/* And a taker for cells so far ahead; more would take them from the producer
 * that is writing them. Both measured: bench/pool_vivero cast_1_1. */
#define PREFETCH_TAKES 3

/* ---- Taking ------------------------------------------------------------------ */

/* All but the box of a message with a reply slot: that is the slot's. */
static void copy_out(const struct vv_cell *cell, uint32_t mark,
                     struct vv_message *message)
{
    uint64_t words[VV_CELL_WORDS];

    message->operation = get_operation(cell);
    message->mark = mark;
    message->attempt = 0;
    message->reply = NULL;
    message->box = NULL;
    for (size_t i = 0; i < VV_CELL_WORDS; i++) {
        words[i] = get_word(cell, i);
    }
    if ((mark & VV_MESSAGE_REPLY) != 0) {
        message->reply = (struct vv_reply *)(uintptr_t)words[0];
        memcpy(message->args, words + 1, VV_ARGS_MAX_CALL);
    } else if ((mark & VV_MESSAGE_BOXED) != 0) {
        message->box = (struct vv_box *)(uintptr_t)words[0];
    } else {
        memcpy(message->args, words, VV_ARGS_MAX);
    }
}

void vv_message_fini(struct vv_message *message)
{
    vv_box_free(message->box);
    message->box = NULL;
}

/* By the cheap clock: a caller looks at its own deadline more closely. */
static bool is_expired(const struct vv_reply *reply)
{
    return reply->deadline_ns != VIVERO_FOREVER &&
           reply->deadline_ns <= vv_clock_coarse();
}

enum passed {
    PASSED_ONE,
    PASSED_NONE, /* none is ready */
    PASSED_FROZEN
};

/* Copy the message at the head and pass it: I2. */
static enum passed pass_one(struct vv_mailbox *mailbox, enum vv_lane lane,
                            struct vv_message *message)
{
    uint64_t head = load_head_word(mailbox, lane);

    for (;;) {
        const struct vv_cell *cell = cell_at(mailbox, lane, (uint32_t)head);
        uint64_t stamp = stamp_of(cell);

        if ((head & FROZEN) != 0) {
            return PASSED_FROZEN;
        }
        if (turn_of(stamp) != turn_full(mailbox, head)) {
            return PASSED_NONE;
        }
        __builtin_prefetch(
            cell_at(mailbox, lane, (uint32_t)head + PREFETCH_TAKES), 0, 3);
        copy_out(cell, mark_of(stamp), message);
        /* sync(mailbox.head): the cell has been copied; seq_cst for
         * mailbox.wanted. */
        if (atomic_compare_exchange_weak_explicit(
                &mailbox->head[lane], &head, head + 1, memory_order_seq_cst,
                memory_order_seq_cst)) {
            return PASSED_ONE;
        }
    }
}

/* Whether the message just passed counts; what is no message is buried. */
static bool begin(struct vv_mailbox *mailbox, struct vv_message *message)
{
    if ((message->mark & VV_MESSAGE_HOLE) == 0 &&
        (message->reply == NULL ||
         vv_reply_begin(message->reply, &message->generation, &message->box))) {
        return true;
    }
    count_buried(mailbox);
    return false;
}

void vv_mailbox_end(struct vv_mailbox *mailbox, struct vv_message *message,
                    int result, const struct vivero_exit *exit,
                    enum vv_settled how)
{
    if (how == VV_SETTLED_DEAD && mailbox->dead != NULL) {
        mailbox->dead->fn(mailbox->dead, message, result, exit);
    }
    if (message->reply != NULL) {
        vv_reply_settle(message->reply, message->generation, result, NULL,
                        exit);
    }
    vv_message_fini(message);
    count_settled(mailbox, how);
}

/* The next message that has not ended. */
static enum passed next_live(struct vv_mailbox *mailbox, enum vv_lane lane,
                             struct vv_message *message)
{
    enum passed passed;

    do {
        passed = pass_one(mailbox, lane, message);
        if (passed == PASSED_ONE && __builtin_expect(is_wanted(mailbox), 0)) {
            vv_mailbox_offer_room(mailbox);
        }
    } while (passed == PASSED_ONE && !begin(mailbox, message));
    return passed;
}

bool vv_mailbox_take(struct vv_mailbox *mailbox, enum vv_lane lane,
                     struct vv_message *message)
{
    while (next_live(mailbox, lane, message) == PASSED_ONE) {
        if (message->reply == NULL || !is_expired(message->reply)) {
            return true;
        }
        vv_mailbox_end(mailbox, message, VIVERO_E_TIMED_OUT, NULL,
                       VV_SETTLED_EXPIRED);
    }
    return false;
}

bool vv_mailbox_ready(const struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint64_t head = load_head_word(mailbox, lane);

    return (head & FROZEN) == 0 &&
           turn_of(stamp_of(cell_at(mailbox, lane, (uint32_t)head))) ==
               turn_full(mailbox, head);
}

bool vv_mailbox_has(const struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint32_t tail = tail_index(load_tail(mailbox), lane);

    return tail != ((uint32_t)load_head(mailbox, lane) & INDEX_MASK);
}

/* ---- Ending without a handler -------------------------------------------------- */

bool vv_mailbox_drop(struct vv_mailbox *mailbox, enum vv_lane lane, int result,
                     enum vv_settled how)
{
    struct vv_message message;

    enum passed passed = next_live(mailbox, lane, &message);

    while (passed == PASSED_FROZEN) {
        vv_cpu_yield(); /* for one walk of somebody else */
        passed = next_live(mailbox, lane, &message);
    }
    if (passed == PASSED_NONE) {
        return false;
    }
    vv_mailbox_end(mailbox, &message, result, NULL, how);
    return true;
}

/* Up to what was accepted before, so that producers cannot keep us here for
 * ever. One of them between its CAS and its turn is waited for. */
static uint32_t flush_once(struct vv_mailbox *mailbox, enum vv_lane lane,
                           int result, const struct vivero_exit *exit,
                           enum vv_settled how)
{
    uint64_t until = lane_accepted(mailbox, lane);
    struct vv_message message;
    uint32_t count = 0;

    while (load_head(mailbox, lane) < until) {
        if (next_live(mailbox, lane, &message) == PASSED_ONE) {
            vv_mailbox_end(mailbox, &message, result, exit, how);
            count++;
        } else if (load_head(mailbox, lane) < until) {
            vv_cpu_yield();
        }
    }
    return count;
}

static uint32_t load_compactions(const struct vv_mailbox *mailbox)
{
    /* relaxed: read before and after the lane, which synchronises. */
    return atomic_load_explicit(&mailbox->compactions, memory_order_relaxed);
}

/* Once more if a compaction may have pushed messages past the mark. */
uint32_t vv_mailbox_flush_lane(struct vv_mailbox *mailbox, enum vv_lane lane,
                               int result, const struct vivero_exit *exit,
                               enum vv_settled how)
{
    uint32_t count = 0;
    uint32_t before;

    do {
        before = load_compactions(mailbox);
        count += flush_once(mailbox, lane, result, exit, how);
    } while (load_compactions(mailbox) != before);
    return count;
}

uint32_t vv_mailbox_flush(struct vv_mailbox *mailbox, int result,
                          const struct vivero_exit *exit, enum vv_settled how)
{
    return vv_mailbox_flush_lane(mailbox, VV_LANE_OWN, result, exit, how) +
           vv_mailbox_flush_lane(mailbox, VV_LANE_POOL, result, exit, how);
}

void vv_mailbox_credit(struct vv_mailbox *mailbox, enum vv_settled how)
{
    count_settled(mailbox, how);
    /* sync(mailbox.wanted): seq_cst, total order: room first, then look. */
    atomic_fetch_add_explicit(&mailbox->credited, 1, memory_order_seq_cst);
    /* Not only when half empty: no taker may come for long. */
    if (is_wanted(mailbox) &&
        /* sync(mailbox.wanted): seq_cst; one wakes for all. */
        atomic_exchange_explicit(&mailbox->wanted, 0, memory_order_seq_cst) !=
            0) {
        vv_space_wake(mailbox->space);
    }
}
