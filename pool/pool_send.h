/* SPDX-License-Identifier: MIT */
#ifndef POOL_POOL_SEND_H
#define POOL_POOL_SEND_H

/* One message on its way into a pool: private to pool/. */

#include "pool/pool_private.h"

/* How often a message is routed anew when resizes take its worker away. */
#define CHOICES_MAX 100u

struct vv_sending {
    struct vv_pool_visit visit;
    const struct vivero_operation *operation;
    const void *in;
    const struct vivero_send *send; /* the defaults, or own_send */
    struct vivero_send own_send;
    struct vv_route route;
    struct vv_message message;
    struct vivero_message handle; /* of message.reply */
    enum vivero_full policy;
    uint32_t choices;    /* made again by key or chance */
    int64_t deadline_ns; /* of waiting for room; 0: not yet reckoned */
};

/* Enter the pool and fill in everything but the reply slot. Even if it fails
 * the visit has begun and is to be left. */
int vv_send_prepare(struct vv_sending *sending, struct vivero_pool *handle,
                    const struct vivero_operation *operation, const void *in,
                    const struct vivero_send *send, const char *what);
int vv_send_attach_reply(struct vv_sending *sending, uint32_t out_size,
                         bool has_caller, int64_t deadline_ns);
/* Arguments that do not fit the cell travel in a box. */
int vv_send_box(struct vv_sending *sending);
/* The message was not accepted: give back what it has. */
void vv_send_unpack(struct vv_sending *sending);

/* Put it, by the overflow policy. */
int vv_send_put(struct vv_sending *sending);
/* Up to count messages, wherever there is room; never waits. */
enum vv_put vv_send_put_anywhere(struct vv_sending *sending, size_t count,
                                 size_t *done);
/* Why it was not taken: because of the pool, or of one worker. */
int vv_send_closed_error(const struct vv_sending *sending);
/* The instant its time-out means: its own, or the pool's. */
int64_t vv_send_deadline(const struct vv_sending *sending);

void vv_pool_count(_Atomic uint64_t *counter);

#endif
