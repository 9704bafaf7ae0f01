/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_REPLY_PRIVATE_H
#define MAILBOX_REPLY_PRIVATE_H

/* The word of a reply slot: see reply.c. */

#include "mailbox/reply.h"
#include "os/mutex.h"

enum reply_state {
    FREE = 0,
    QUEUED,
    RUNNING,
    OWED,
    SETTLING,
    DONE,
    ABANDONED,
    CUT,
    DEAD,
    TAKEN
};

#define STATE_MASK UINT32_C(0xf)
#define PARKED UINT32_C(0x10)  /* the caller sleeps on the word */
#define CALLER UINT32_C(0x20)  /* somebody waits for the answer, or did */
#define WATCHED UINT32_C(0x40) /* a future that somebody is told about */
#define GENERATION_SHIFT 7
#define GENERATION_MASK (UINT32_MAX >> GENERATION_SHIFT)

static inline enum reply_state state_of(uint32_t word)
{
    return (enum reply_state)(word & STATE_MASK);
}

static inline uint32_t generation_of(uint32_t word)
{
    return word >> GENERATION_SHIFT;
}

/* 0 is nobody's, so that a zeroed handle names nothing. */
static inline uint32_t after(uint32_t generation)
{
    return generation < GENERATION_MASK ? generation + 1 : 1;
}

static inline uint32_t with_state(uint32_t word, enum reply_state state)
{
    return (word & ~(STATE_MASK | PARKED)) | (uint32_t)state;
}

static inline uint32_t load_word(const struct vv_reply *reply)
{
    /* sync(reply.word): whatever the state says has been written. */
    return atomic_load_explicit(&reply->word, memory_order_acquire);
}

/* One step of the drawing; false: *word is what stands there now. Leaving a
 * state keeps the parked bit only where a caller still waits. */
static inline bool step(struct vv_reply *reply, uint32_t *word, uint32_t to)
{
    /* sync(reply.word): releases what the stepper wrote, acquires what the
     * other side wrote. */
    return atomic_compare_exchange_strong_explicit(
        &reply->word, word, to, memory_order_acq_rel, memory_order_acquire);
}

static inline struct vv_credit *credit_of(struct vv_reply *reply)
{
    /* relaxed: as above. */
    return atomic_load_explicit(&reply->credit, memory_order_relaxed);
}

static inline struct vv_box *box_of(struct vv_reply *reply)
{
    /* relaxed: as credit_of(). */
    return atomic_load_explicit(&reply->box, memory_order_relaxed);
}

static inline uint32_t out_size_of(const struct vv_reply *reply)
{
    /* relaxed: whoever has a right to the slot is ordered by its word. */
    return atomic_load_explicit(&reply->out_size, memory_order_relaxed);
}

/* Copy an answer that is DONE to out (NULL: nowhere); its result. */
int vv_reply_read(const struct vv_reply *reply, void *out);

/* ---- The depot: reply_depot.c ---- */

/* Guards the directory of slots, the free list, debts, and every step that
 * starts from a token instead of a pointer. */
extern struct vv_mutex vv_reply_lock;

/* End the slot's generation and give it to this thread's cache, or with the lock
 * held to the depot. Only by whom the state names. */
void vv_reply_free_slot(struct vv_reply *reply);
void vv_reply_free_slot_locked(struct vv_reply *reply);
/* The slot of this index, whatever its generation; NULL: there is none. With the
 * lock held or the depot retained. */
struct vv_reply *vv_reply_find(uint32_t index);

/* ---- reply.c: by whoever holds RUNNING or SETTLING ---- */

void vv_reply_fill(struct vv_reply *reply, int result, const void *out,
                   const struct vivero_exit *exit);
/* The answer stands in the slot: let the caller see it. From SETTLING. */
void vv_reply_publish(struct vv_reply *reply);

#endif
