/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_WAIT_H
#define MAILBOX_WAIT_H

/* Who waits for whom: finds calls that could never be answered, before they
 * wait. See wait.c. */

#include <stdbool.h>
#include <stdint.h>

#define VV_ANY_SEAT UINT32_MAX

struct vv_crew;
struct vv_reply;
struct vv_seat;
struct vv_waiter;

/* What a worker waits for: one seat of a crew, any of them, or a worker on its
 * own. */
struct vv_wait {
    struct vv_crew *crew;     /* NULL: a single worker */
    uint32_t index;           /* of the seat, or VV_ANY_SEAT */
    struct vv_waiter *single; /* kept by whoever waits for it */
    struct vv_reply *reply; /* NULL: nothing but that worker can end the wait */
    uint32_t generation;    /* of reply; filled in by vv_wait_begin() */
};

/* One worker, as far as this search knows it. Zeroed: present, not waiting.
 * Guarded by the waits mutex. */
struct vv_waiter {
    struct vv_wait wait;
    bool waits;
    bool absent;  /* it has ended for good */
    bool leaving; /* it takes only what is addressed to it */
    uint64_t visited;
    struct vv_waiter *walk_next;
};

/* The calling worker is about to wait. False: it would wait for ever. */
bool vv_wait_begin(struct vv_waiter *self, const struct vv_wait *wait);
/* The calling worker runs another one's handler on its own thread. */
void vv_wait_for_seat(struct vv_waiter *self, const struct vv_seat *other);
void vv_wait_end(struct vv_waiter *self);
/* A worker ended for good or came back; retires or stays. */
void vv_wait_set_absent(struct vv_waiter *self, bool absent);
void vv_wait_set_leaving(struct vv_waiter *self, bool leaving);
/* A worker takes a seat, perhaps from another one, who may still wait. */
void vv_wait_take_seat(struct vv_waiter *self, struct vv_seat *seat);

#endif
