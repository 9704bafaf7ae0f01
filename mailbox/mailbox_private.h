/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_MAILBOX_PRIVATE_H
#define MAILBOX_MAILBOX_PRIVATE_H

/* The words of a mailbox and of its cells, and how they are read and written:
 * see mailbox.c. */

#include "mailbox/mailbox.h"
#include "os/clock.h"

#define CLOSED (UINT64_C(1) << 63) /* of a tail */
#define FROZEN (UINT64_C(1) << 63) /* of a head */
#define INDEX_MASK UINT32_C(0x7fffffff)
#define OWN_SHIFT 32

static inline uint32_t tail_index(uint64_t tail, enum vv_lane lane)
{
    return (uint32_t)(lane == VV_LANE_OWN ? tail >> OWN_SHIFT : tail) &
           INDEX_MASK;
}

static inline uint64_t tail_advance(uint64_t tail, enum vv_lane lane,
                                    uint32_t count)
{
    uint64_t index = (tail_index(tail, lane) + count) & INDEX_MASK;
    int shift = lane == VV_LANE_OWN ? OWN_SHIFT : 0;

    return (tail & ~((uint64_t)INDEX_MASK << shift)) | index << shift;
}

static inline uint32_t admitted(uint64_t tail)
{
    return (tail_index(tail, VV_LANE_POOL) + tail_index(tail, VV_LANE_OWN)) &
           INDEX_MASK;
}

static inline struct vv_cell *cell_at(const struct vv_mailbox *mailbox,
                                      enum vv_lane lane, uint32_t index)
{
    return &mailbox->cells[lane][index & (mailbox->capacity - 1)];
}

/* The turn of the cell at an index when it is full: the lap, from 1. Indices
 * wrap at 2^31; a cell holds its last lap's turn or none, so that is enough. */
static inline uint32_t turn_full(const struct vv_mailbox *mailbox,
                                 uint64_t index)
{
    return (((uint32_t)index & INDEX_MASK) >> mailbox->shift) + 1;
}

static inline uint64_t stamp_of(const struct vv_cell *cell)
{
    /* sync(mailbox.turn): its producer has written the rest. */
    return atomic_load_explicit(&cell->stamp, memory_order_acquire);
}

static inline void set_stamp(struct vv_cell *cell, uint32_t turn, uint32_t mark)
{
    /* sync(mailbox.turn): the cell is its taker's. */
    atomic_store_explicit(&cell->stamp, (uint64_t)turn << 32 | mark,
                          memory_order_release);
}

static inline uint32_t turn_of(uint64_t stamp)
{
    return (uint32_t)(stamp >> 32);
}

static inline uint32_t mark_of(uint64_t stamp)
{
    return (uint32_t)stamp;
}

static inline uint64_t load_tail(const struct vv_mailbox *mailbox)
{
    /* sync(mailbox.tail): seq_cst, total order because a sleeper first says
     * that it is idle and then looks here, a producer first writes here and
     * then looks who is idle. */
    return atomic_load_explicit(&mailbox->tail, memory_order_seq_cst);
}

/* The head word of a lane, with its frozen bit. */
static inline uint64_t load_head_word(const struct vv_mailbox *mailbox,
                                      enum vv_lane lane)
{
    /* sync(mailbox.head): the cells behind it were copied by their takers;
     * seq_cst for mailbox.wanted: total order, see there. */
    return atomic_load_explicit(&mailbox->head[lane], memory_order_seq_cst);
}

static inline uint64_t load_head(const struct vv_mailbox *mailbox,
                                 enum vv_lane lane)
{
    return load_head_word(mailbox, lane) & ~FROZEN;
}

static inline uint32_t load_buried(const struct vv_mailbox *mailbox)
{
    /* sync(mailbox.wanted): seq_cst, total order with credit(). */
    return atomic_load_explicit(&mailbox->buried, memory_order_seq_cst);
}

/* What makes room: all that was passed or became a tombstone, once. No burial
 * falls between the heads and the credits we read, else they do not fit. */
static inline uint32_t load_released(const struct vv_mailbox *mailbox)
{
    uint32_t buried = load_buried(mailbox);

    for (;;) {
        uint32_t heads = (uint32_t)load_head(mailbox, VV_LANE_POOL) +
                         (uint32_t)load_head(mailbox, VV_LANE_OWN);
        /* sync(mailbox.wanted): seq_cst, total order with credit(). */
        uint32_t credited =
            atomic_load_explicit(&mailbox->credited, memory_order_seq_cst);
        uint32_t again = load_buried(mailbox);

        if (again == buried) {
            return heads + credited - buried;
        }
        buried = again;
    }
}

static inline uint64_t lane_accepted(const struct vv_mailbox *mailbox,
                                     enum vv_lane lane)
{
    uint64_t head = load_head(mailbox, lane);
    uint32_t tail = tail_index(load_tail(mailbox), lane);

    return head + ((tail - (uint32_t)head) & INDEX_MASK);
}

static inline uint32_t now_mark(void)
{
    return (uint32_t)(vv_clock_coarse() / 1000000) << VV_MARK_SHIFT;
}

static inline void set_word(struct vv_cell *cell, size_t i, uint64_t word)
{
    /* relaxed: published by the stamp. */
    atomic_store_explicit(&cell->words[i], word, memory_order_relaxed);
}

static inline uint64_t get_word(const struct vv_cell *cell, size_t i)
{
    /* relaxed: after the stamp; what is torn is thrown away (I2). */
    return atomic_load_explicit(&cell->words[i], memory_order_relaxed);
}

static inline void set_operation(struct vv_cell *cell,
                                 const struct vivero_operation *operation)
{
    /* relaxed: published by the stamp. */
    atomic_store_explicit(&cell->operation, operation, memory_order_relaxed);
}

static inline const struct vivero_operation *
get_operation(const struct vv_cell *cell)
{
    /* relaxed: as in get_word(). */
    return atomic_load_explicit(&cell->operation, memory_order_relaxed);
}

static inline struct vv_reply *reply_of(const struct vv_cell *cell,
                                        uint32_t mark)
{
    return (mark & VV_MESSAGE_REPLY) != 0
               ? (struct vv_reply *)(uintptr_t)get_word(cell, 0)
               : NULL;
}

static inline bool is_wanted(const struct vv_mailbox *mailbox)
{
    /* sync(mailbox.wanted): seq_cst, total order: the looker made room first,
     * whoever wants room said so first and then looks for it. */
    return atomic_load_explicit(&mailbox->wanted, memory_order_seq_cst) != 0;
}

static inline void count_settled(struct vv_mailbox *mailbox,
                                 enum vv_settled how)
{
    /* sync(mailbox.settled): whoever sees all messages settled may free. */
    atomic_fetch_add_explicit(&mailbox->settled[how], 1, memory_order_release);
}

static inline void count_buried(struct vv_mailbox *mailbox)
{
    /* sync(mailbox.wanted): seq_cst as credited. */
    atomic_fetch_add_explicit(&mailbox->buried, 1, memory_order_seq_cst);
}

/* Room was made: wake who waits for it, not at every cell but when the mailbox
 * is half empty. */
void vv_mailbox_offer_room(struct vv_mailbox *mailbox);

/* Push the tombstones out of a ring that is full of them. False: it made no
 * room. */
bool vv_mailbox_compact(struct vv_mailbox *mailbox, enum vv_lane lane);

#endif
