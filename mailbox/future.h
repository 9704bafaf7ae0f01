/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_FUTURE_H
#define MAILBOX_FUTURE_H

/* Futures out of reply slots, for whoever sends messages: see future.c. */

#include <vivero/future.h>

#include "mailbox/reply.h"

/* Where the message of a future goes. */
struct vv_future_target {
    const void *object;   /* whoever frees the mailbox waits until nobody is
                             inside of this one: vv_here_somebody_inside() */
    struct vv_crew *crew; /* lives as long */
    bool addressed; /* to one seat: the one whose mailbox the slot names */
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
