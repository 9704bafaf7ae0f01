/* SPDX-License-Identifier: MIT */
/* mailbox_walk: what has to look at all cells of a lane: cancelling by owner,
 * compaction, the age of the oldest message. The lane is frozen meanwhile: its
 * takers fail, its producers do not notice. See mailbox.c for the model. */
#include "mailbox/mailbox_private.h"
#include "os/cpu.h"

/* ---- Frozen lanes ------------------------------------------------------------- */

/* Takers fail until thaw(). Returns the head. */
static uint64_t freeze(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint64_t head = load_head(mailbox, lane);

    /* sync(mailbox.head): seq_cst as every change of it; what the last taker
     * did is over. */
    while (!atomic_compare_exchange_weak_explicit(
        &mailbox->head[lane], &head, head | FROZEN, memory_order_seq_cst,
        memory_order_seq_cst)) {
        if ((head & FROZEN) != 0) {
            vv_cpu_yield(); /* for one walk of somebody else */
            head &= ~FROZEN;
        }
    }
    return head;
}

static void thaw(struct vv_mailbox *mailbox, enum vv_lane lane, uint64_t head)
{
    /* sync(mailbox.head): what was done to the cells; seq_cst as above. */
    atomic_store_explicit(&mailbox->head[lane], head, memory_order_seq_cst);
    vv_mailbox_offer_room(mailbox);
}

/* ---- Walks ---------------------------------------------------------------- */

/* The cell at an index of a frozen lane, if it is full; and its mark. */
static struct vv_cell *full_cell(const struct vv_mailbox *mailbox,
                                 enum vv_lane lane, uint64_t index,
                                 uint32_t *mark)
{
    struct vv_cell *cell = cell_at(mailbox, lane, (uint32_t)index);
    uint64_t stamp = stamp_of(cell);

    *mark = mark_of(stamp);
    return turn_of(stamp) == turn_full(mailbox, index) ? cell : NULL;
}

/* The cells a walk over a lane has to look at. */
static uint32_t lane_length(const struct vv_mailbox *mailbox, enum vv_lane lane,
                            uint64_t head)
{
    return (tail_index(load_tail(mailbox), lane) - (uint32_t)head) & INDEX_MASK;
}

static uint32_t cut_lane(struct vv_mailbox *mailbox, enum vv_lane lane,
                         const void *owner)
{
    uint64_t head = freeze(mailbox, lane);
    uint32_t length = lane_length(mailbox, lane, head);
    uint32_t count = 0;

    for (uint32_t i = 0; i < length; i++) {
        uint32_t mark;
        const struct vv_cell *cell = full_cell(mailbox, lane, head + i, &mark);
        struct vv_reply *reply = cell != NULL && (mark & VV_MESSAGE_HOLE) == 0
                                     ? reply_of(cell, mark)
                                     : NULL;

        if (reply != NULL && reply->owner == owner && vv_reply_cut(reply)) {
            count++;
        }
    }
    thaw(mailbox, lane, head);
    return count;
}

uint32_t vv_mailbox_cancel_owner(struct vv_mailbox *mailbox, const void *owner)
{
    uint32_t count = cut_lane(mailbox, VV_LANE_OWN, owner) +
                     cut_lane(mailbox, VV_LANE_POOL, owner);

    for (uint32_t i = 0; i < count; i++) {
        vv_mailbox_credit(mailbox, VV_SETTLED_CANCELLED);
    }
    return count;
}

/* ---- Compaction ------------------------------------------------------------------ */

static bool is_dead(const struct vv_cell *cell, uint32_t mark)
{
    const struct vv_reply *reply = reply_of(cell, mark);

    return (mark & VV_MESSAGE_HOLE) != 0 ||
           (reply != NULL && vv_reply_is_tombstone(reply));
}

/* Make a hole of it, for good. */
static void bury(struct vv_mailbox *mailbox, struct vv_cell *cell,
                 uint64_t index, uint32_t mark)
{
    if ((mark & VV_MESSAGE_HOLE) == 0) {
        vv_reply_bury(reply_of(cell, mark));
        set_stamp(cell, turn_full(mailbox, index), VV_MESSAGE_HOLE);
    }
}

static void move_cell(struct vv_mailbox *mailbox, enum vv_lane lane,
                      uint64_t to, struct vv_cell *from, uint64_t from_index,
                      uint32_t mark)
{
    struct vv_cell *cell = cell_at(mailbox, lane, (uint32_t)to);

    set_operation(cell, get_operation(from));
    for (size_t i = 0; i < VV_CELL_WORDS; i++) {
        set_word(cell, i, get_word(from, i));
    }
    set_stamp(cell, turn_full(mailbox, to), mark);
    set_stamp(from, turn_full(mailbox, from_index), VV_MESSAGE_HOLE);
}

/* Push the live messages of a frozen lane towards the tail, in order. Cells
 * whose producer is still writing stay where they are, and what is older stays
 * behind them. */
static void push_to_tail(struct vv_mailbox *mailbox, enum vv_lane lane,
                         uint64_t head)
{
    uint64_t index = head + lane_length(mailbox, lane, head);
    uint64_t to = index;

    while (index-- != head) {
        uint32_t mark;
        struct vv_cell *cell = full_cell(mailbox, lane, index, &mark);

        if (cell == NULL) {
            to = index;
        } else if (is_dead(cell, mark)) {
            bury(mailbox, cell, index, mark);
        } else if (--to != index) {
            move_cell(mailbox, lane, to, cell, index, mark);
        }
    }
}

/* Pass the holes at the head of a frozen lane: tombstones that are counted as
 * passed and as buried at once. Returns the new head. */
static uint64_t pass_holes(struct vv_mailbox *mailbox, enum vv_lane lane,
                           uint64_t head)
{
    uint32_t length = lane_length(mailbox, lane, head);
    uint32_t mark;

    while (length-- > 0 && full_cell(mailbox, lane, head, &mark) != NULL &&
           (mark & VV_MESSAGE_HOLE) != 0) {
        count_buried(mailbox);
        head++;
    }
    return head;
}

/* False: it made no room in the ring. */
bool vv_mailbox_compact(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint64_t head = freeze(mailbox, lane);
    uint64_t after;

    /* relaxed: thaw publishes it. */
    atomic_fetch_add_explicit(&mailbox->compactions, 1, memory_order_relaxed);
    push_to_tail(mailbox, lane, head);
    after = pass_holes(mailbox, lane, head);
    thaw(mailbox, lane, after);
    return after != head;
}

/* ---- Age ------------------------------------------------------------------ */

static int64_t age_of(uint32_t mark)
{
    uint32_t age = ((now_mark() - mark) & ~VV_MARK_FLAGS) >> VV_MARK_SHIFT;

    return (int64_t)age * 1000000;
}

/* The age of the first message of a lane that has not ended. */
static int64_t lane_age(struct vv_mailbox *mailbox, enum vv_lane lane)
{
    uint64_t head = freeze(mailbox, lane);
    uint32_t length = lane_length(mailbox, lane, head);
    int64_t age = 0;

    for (uint32_t i = 0; i < length && age == 0; i++) {
        uint32_t mark;
        const struct vv_cell *cell = full_cell(mailbox, lane, head + i, &mark);

        if (cell != NULL && !is_dead(cell, mark)) {
            age = age_of(mark) + 1;
        }
    }
    thaw(mailbox, lane, head);
    return age;
}

int64_t vv_mailbox_oldest_age(struct vv_mailbox *mailbox)
{
    int64_t pool = lane_age(mailbox, VV_LANE_POOL);
    int64_t own = lane_age(mailbox, VV_LANE_OWN);

    return pool > own ? pool : own;
}
