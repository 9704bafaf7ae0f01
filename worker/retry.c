/* SPDX-License-Identifier: MIT */
/* retry: what a failure does to messages, the one in flight and those queued.
 *
 * A message that may run again is kept beside the mailbox, in the worker: it has
 * begun, so its caller cannot take it back, and the next incarnation runs it
 * before anything else. It counts as accepted and not ended, as a queued one
 * does; whoever flushes a mailbox flushes it as well. Putting it back at the
 * head of a ring that producers fill without a lock would need a second head. */
#include <vivero/error.h>

#include "worker/worker_private.h"

bool vv_worker_may_retry(const struct vivero_entity *worker,
                         const struct vv_message *message)
{
    return message->attempt <= worker->spec->retries &&
           vv_mailbox_is_open(worker->seat->mailbox) &&
           (message->reply == NULL ||
            vv_reply_is_with_worker(message->reply, message->generation));
}

bool vv_worker_keep_current(struct vivero_entity *worker)
{
    if (worker->inline_call || worker->owes_current || worker->final ||
        !vv_worker_may_retry(worker, &worker->current)) {
        return false;
    }
    vv_mutex_lock(&worker->lock);
    worker->again.message = worker->current;
    worker->again.full = true;
    vv_mutex_unlock(&worker->lock);
    worker->current.box = NULL;
    return true;
}

bool vv_worker_take_kept(struct vivero_entity *worker,
                         struct vv_message *message)
{
    bool full;

    vv_mutex_lock(&worker->lock);
    full = worker->again.full;
    if (full) {
        *message = worker->again.message;
        worker->again.full = false;
    }
    vv_mutex_unlock(&worker->lock);
    return full;
}

void vv_worker_flush_lanes(struct vivero_entity *worker,
                           const struct vivero_exit *exit)
{
    struct vv_seat *seat = worker->seat;

    if (!worker->spec->flushes) {
        return;
    }
    (void)vv_mailbox_flush_lane(seat->mailbox, VV_LANE_OWN, VIVERO_E_DOWN, exit,
                                VV_SETTLED_DEAD);
    if (vv_crew_size(seat->crew) == 1) {
        (void)vv_mailbox_flush_lane(seat->mailbox, VV_LANE_POOL, VIVERO_E_DOWN,
                                    exit, VV_SETTLED_DEAD);
    }
    vv_crew_poke_quiet(seat->crew);
}
