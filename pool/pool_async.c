/* SPDX-License-Identifier: MIT */
/* pool_async: calls that are not waited for on the spot.
 *
 * A sending whose reply slot is a future. It travels with the deadline that a
 * call would wait until, is put by the policy of calls, but never runs on its
 * caller's thread, and in a worker does not wait for room. */
#include <vivero/error.h>

#include "mailbox/future.h"
#include "pool/pool_send.h"

static int put_future(struct vv_sending *sending, struct vivero_future *future)
{
    struct vv_pool *pool = sending->visit.pool;
    const struct vv_future_target target = {.object = pool,
                                            .crew = &pool->crew,
                                            .addressed = sending->route.seat !=
                                                         VV_ANY_SEAT};
    struct vivero_future made;
    int error;

    vv_future_begin(sending->message.reply, &target, sending->send->completions,
                    sending->send->tag);
    made = vv_future_of(sending->message.reply);
    error = vv_send_put(sending);
    if (error != VIVERO_OK) {
        vv_future_undo(sending->message.reply);
    } else if (future != NULL) {
        *future = made;
    }
    return error;
}

static int queue_future(struct vv_sending *sending,
                        struct vivero_future *future)
{
    bool no_limit = sending->send->timeout_ns == VIVERO_NONE;
    int error;

    sending->deadline_ns = vv_send_deadline(sending);
    sending->policy = sending->visit.pool->options.full_call;
    if (sending->policy == VIVERO_FULL_WAIT &&
        sending->visit.here->worker != NULL) {
        sending->policy = VIVERO_FULL_REJECT;
    }
    error =
        vv_send_attach_reply(sending, sending->operation->out_size, true,
                             no_limit ? VIVERO_FOREVER : sending->deadline_ns);
    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_send_box(sending);
    if (error == VIVERO_OK) {
        error = put_future(sending, future);
    }
    if (error != VIVERO_OK) {
        vv_send_unpack(sending);
    }
    return error;
}

int vivero_pool_call_async(struct vivero_pool *pool,
                           const struct vivero_operation *operation,
                           const void *in, const struct vivero_send *send,
                           struct vivero_future *future)
{
    struct vv_sending sending;
    int error = vv_send_prepare(&sending, pool, operation, in, send,
                                "vivero_pool_call_async");

    if (error == VIVERO_OK) {
        VV_CHECK(future != NULL || sending.send->completions != NULL,
                 "vivero_pool_call_async() on pool %s: neither a place for the "
                 "future nor a completion queue",
                 sending.visit.pool->name);
        error = queue_future(&sending, future);
    }
    vv_pool_leave(&sending.visit);
    return error;
}
