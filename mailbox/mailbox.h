/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_MAILBOX_H
#define MAILBOX_MAILBOX_H

/* One worker's bounded mailbox: two lanes that share one bound.
 *
 *             put  take  drop  flush  cancel_owner  credit  close
 *   all        -    -     -      -        f           -       -
 *
 * `-`: any number of threads at once, none waits for another. `f`: freezes a
 * lane for the time of one walk over it; takers wait, producers do not. */

#include "base/memory.h"
#include "mailbox/message.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum vv_lane {
    VV_LANE_POOL, /* any sibling may take from it */
    VV_LANE_OWN,  /* addressed: first in, first out, for its owner only */
    VV_LANE_COUNT
};

/* Producers that found every mailbox full sleep here; shared by the siblings. */
struct vv_space {
    VV_CACHELINE_ALIGNED _Atomic uint32_t sequence;
};

struct vv_dead_hook; /* told of each message that ends as SETTLED_DEAD */
typedef void vv_dead_fn(const struct vv_dead_hook *hook,
                        const struct vv_message *message, int result,
                        const struct vivero_exit *exit);
struct vv_dead_hook {
    vv_dead_fn *fn;
    void *ctx;
};

struct vv_mailbox {
    /* atomic; producers */
    VV_CACHELINE_ALIGNED _Atomic uint64_t tail; /* closed | own | pool */
    _Atomic uint32_t released_seen; /* as far as producers have looked */
    _Atomic uint32_t head_seen[VV_LANE_COUNT];
    /* atomic; consumers */
    VV_CACHELINE_ALIGNED _Atomic uint64_t head[VV_LANE_COUNT];
    _Atomic uint32_t wanted; /* somebody waits for room */
    /* atomic; rare: ended without a handler */
    VV_CACHELINE_ALIGNED _Atomic uint32_t credited; /* became tombstones */
    _Atomic uint32_t buried; /* tombstones whose cells were passed */
    _Atomic uint32_t compactions;
    _Atomic uint64_t settled[VV_SETTLED_COUNT];
    /* fixed at open */
    VV_CACHELINE_ALIGNED struct vv_cell *cells[VV_LANE_COUNT];
    uint32_t depth;
    uint32_t capacity; /* of each lane's ring: a power of two, >= depth */
    uint32_t shift;    /* log2 capacity */
    struct vv_space *space;
    struct vv_account *account;
    const struct vv_dead_hook *dead; /* NULL: nobody wants to know */
    struct vv_credit credit;
};

enum vv_put { VV_PUT_OK, VV_PUT_FULL, VV_PUT_CLOSED };

/* It starts closed. */
int vv_mailbox_init(struct vv_mailbox *mailbox, uint32_t depth,
                    struct vv_space *space, struct vv_account *account);
/* Empty by now. */
void vv_mailbox_fini(struct vv_mailbox *mailbox);

/* Put count messages of one operation; their arguments stand stride bytes
 * apart at in, or in message->box when there is one (count 1). *done: how many
 * went in, from the front. */
enum vv_put vv_mailbox_put(struct vv_mailbox *mailbox, enum vv_lane lane,
                           const struct vv_message *message, const void *in,
                           size_t count, size_t *done);

/* Take the oldest message of a lane. It has begun: it will be run. Expired
 * messages and tombstones on the way are dealt with. False: there is none that
 * is ready, or the lane is frozen for a moment. */
bool vv_mailbox_take(struct vv_mailbox *mailbox, enum vv_lane lane,
                     struct vv_message *message);

/* Whether a lane's next message can be taken. A hint, and cheap to ask again and
 * again: it does not touch what producers write until they have written it. */
bool vv_mailbox_ready(const struct vv_mailbox *mailbox, enum vv_lane lane);

/* Whether a lane has cells that were not passed. Orders after it what the
 * parking protocol needs: see crew.c. */
bool vv_mailbox_has(const struct vv_mailbox *mailbox, enum vv_lane lane);

/* End the oldest message of a lane: its caller is told result. False: none. */
bool vv_mailbox_drop(struct vv_mailbox *mailbox, enum vv_lane lane, int result,
                     enum vv_settled how);
/* Drop all that was accepted before. Returns how many still counted. */
uint32_t vv_mailbox_flush(struct vv_mailbox *mailbox, int result,
                          const struct vivero_exit *exit, enum vv_settled how);
uint32_t vv_mailbox_flush_lane(struct vv_mailbox *mailbox, enum vv_lane lane,
                               int result, const struct vivero_exit *exit,
                               enum vv_settled how);
/* End a message that was taken and will not be handled after all. */
void vv_mailbox_end(struct vv_mailbox *mailbox, struct vv_message *message,
                    int result, const struct vivero_exit *exit,
                    enum vv_settled how);
/* Cancel all that were sent by owner. Returns how many. */
uint32_t vv_mailbox_cancel_owner(struct vv_mailbox *mailbox, const void *owner);

/* A queued message became a tombstone: its room is free. */
void vv_mailbox_credit(struct vv_mailbox *mailbox, enum vv_settled how);

/* From now on every put answers CLOSED; and the other way round. */
void vv_mailbox_close(struct vv_mailbox *mailbox);
void vv_mailbox_reopen(struct vv_mailbox *mailbox);
bool vv_mailbox_is_open(const struct vv_mailbox *mailbox);

/* Ask to be woken when the mailbox is half empty. Look again afterwards. */
void vv_mailbox_want_room(struct vv_mailbox *mailbox);

/* Messages that count against the bound. May be stale at once. */
uint32_t vv_mailbox_queued(const struct vv_mailbox *mailbox);
uint64_t vv_mailbox_accepted(const struct vv_mailbox *mailbox);
uint64_t vv_mailbox_settled(const struct vv_mailbox *mailbox,
                            enum vv_settled how);
/* How long the oldest message has waited, good to 4 ms; 0: none. Freezes. */
int64_t vv_mailbox_oldest_age(struct vv_mailbox *mailbox);

/* Whether what is fixed at its opening is as it was. A smoke detector: memory
 * that somebody wrote over may well look sound. */
bool vv_mailbox_is_sound(const struct vv_mailbox *mailbox);

void vv_space_wake(struct vv_space *space);

#endif
