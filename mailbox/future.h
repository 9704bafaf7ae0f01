/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_FUTURE_H
#define MAILBOX_FUTURE_H

/* Futures out of reply slots, for whoever sends messages: see future.c. */

#include <vivero/future.h>

#include "mailbox/reply.h"

/* Where the message of a future goes. What these point to lives until nobody is
 * inside of object: vv_here_somebody_inside(). */
struct vv_future_target {
    const void *object;
    struct vv_crew *crew; /* NULL: to a single worker */
    bool addressed; /* to one seat of it: the one that has the slot's credit */
    struct vv_waiter *single; /* without a crew */
};

/* Make a future of a slot that is about to be queued and has a caller. Until
 * it is used up it retains the depot. queue may be NULL. Allocates nothing. */
void vv_future_begin(struct vv_reply *reply,
                     const struct vv_future_target *target,
                     struct vivero_completions *queue, void *tag);
/* Undo: the message was not queued after all. The slot is still to be
 * discarded. */
void vv_future_undo(struct vv_reply *reply);

/* Its name; to be asked before the message is queued. */
struct vivero_future vv_future_of(const struct vv_reply *reply);

#endif
