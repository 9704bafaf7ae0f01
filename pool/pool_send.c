/* SPDX-License-Identifier: MIT */
/* pool_send: the way of one message into a pool.
 *
 * Model.    A sending knows its message, its route and its deadline. It is
 *           prepared, perhaps given a reply slot and a box, and put by the
 *           overflow policy.
 * Threads.  The sender's, throughout.
 * Invariants.
 *   I1 A message that was not accepted leaves nothing: box and reply slot are
 *      given back by vv_send_unpack().
 *   I2 The handle for cancelling is shown only once there is something to
 *      cancel.
 * Failure.  No memory before the put: nothing was sent. */
#include "pool/pool_send.h"

#include <vivero/error.h>

#include "base/check.h"
#include "base/options.h"
#include "os/clock.h"
#include "os/thread.h"

#include <string.h>

/* ---- Putting ---------------------------------------------------------------------- */

static struct vv_mailbox *mailbox_of(const struct vv_pool *pool, uint32_t seat)
{
    return vv_crew_seat(&pool->crew, seat)->mailbox;
}

static enum vv_put put_there(struct vv_sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;
    uint32_t seat = sending->route.seat;
    size_t done;
    enum vv_put result =
        vv_mailbox_put(mailbox_of(pool, seat), sending->route.lane,
                       &sending->message, sending->in, 1, &done);

    if (result == VV_PUT_OK) {
        vv_crew_notify_seat(&pool->crew, seat);
    }
    return result;
}

/* Up to count messages, wherever there is room; from the best place on. */
enum vv_put vv_send_put_anywhere(struct vv_sending *sending, size_t count,
                                 size_t *done)
{
    struct vv_crew *crew = &sending->visit.pool->crew;
    struct vv_here *here = sending->visit.here;
    uint32_t size = vv_crew_size(crew);
    uint32_t first = vv_crew_pick_free(crew, here->sticky);
    enum vv_put best = VV_PUT_CLOSED;

    for (uint32_t i = 0; i < size; i++) {
        uint32_t seat = first + i < size ? first + i : first + i - size;
        enum vv_put result =
            vv_mailbox_put(vv_crew_seat(crew, seat)->mailbox, VV_LANE_POOL,
                           &sending->message, sending->in, count, done);

        if (result == VV_PUT_OK) {
            here->sticky = seat;
            vv_crew_notify_any(crew);
            return VV_PUT_OK;
        }
        if (result == VV_PUT_FULL) {
            best = VV_PUT_FULL;
        }
    }
    return best;
}

static enum vv_put put_as_routed(struct vv_sending *sending)
{
    size_t done;

    return sending->route.seat == VV_ANY_SEAT
               ? vv_send_put_anywhere(sending, 1, &done)
               : put_there(sending);
}

/* The worker that a key or chance chose has just left: choose again. */
static bool choose_again(struct vv_sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;

    return sending->route.seat != VV_ANY_SEAT && sending->send->worker == 0 &&
           sending->choices++ < CHOICES_MAX &&
           vv_pool_phase(pool) == VV_POOL_OPEN &&
           vv_pool_route(pool, sending->visit.here, sending->operation,
                         sending->in, sending->send,
                         &sending->route) == VIVERO_OK;
}

static enum vv_put put_once(struct vv_sending *sending)
{
    enum vv_put result = put_as_routed(sending);

    while (result == VV_PUT_CLOSED && choose_again(sending)) {
        result = put_as_routed(sending);
    }
    return result;
}

/* Closed: because of the pool, or of this one worker. */
int vv_send_closed_error(const struct vv_sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;

    if (sending->route.seat != VV_ANY_SEAT &&
        vv_pool_phase(pool) == VV_POOL_OPEN) {
        return sending->route.seat < vv_crew_size(&pool->crew)
                   ? VIVERO_E_GONE
                   : VIVERO_E_NOT_FOUND;
    }
    return vv_pool_refusal(pool, sending->visit.here);
}

void vv_pool_count(_Atomic uint64_t *counter)
{
    /* relaxed: a statistic. */
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

int64_t vv_send_deadline(const struct vv_sending *sending)
{
    int64_t timeout = sending->send->timeout_ns;

    if (timeout == 0) {
        timeout = sending->visit.pool->options.call_timeout_ns;
    } else if (timeout == VIVERO_NONE) {
        timeout = 0;
    }
    return vv_deadline_after(vivero_now(), timeout);
}

/* FULL, or how it ended. */
static int try_put(struct vv_sending *sending)
{
    switch (put_once(sending)) {
    case VV_PUT_OK:
        return VIVERO_OK;
    case VV_PUT_CLOSED:
        return vv_send_closed_error(sending);
    case VV_PUT_FULL:
        break;
    }
    return VIVERO_E_FULL;
}

static int wait_and_put(struct vv_sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;
    bool in_time = true;

    if (sending->deadline_ns == 0) {
        sending->deadline_ns = vv_send_deadline(sending);
    }
    for (;;) {
        uint32_t prepared = vv_crew_prepare_for_room(&pool->crew);
        int error = try_put(sending);

        if (error != VIVERO_E_FULL) {
            return error;
        }
        if (!in_time || sending->deadline_ns <= vivero_now()) {
            vv_pool_count(&pool->rejected);
            return VIVERO_E_TIMED_OUT;
        }
        in_time =
            vv_crew_wait_for_room(&pool->crew, prepared, sending->deadline_ns);
    }
}

/* Make room by ending the oldest message that could make it. */
static bool drop_oldest(const struct vv_sending *sending)
{
    const struct vv_pool *pool = sending->visit.pool;
    uint32_t size = vv_crew_size(&pool->crew);
    uint32_t first = sending->route.seat;

    if (first != VV_ANY_SEAT) {
        return vv_mailbox_drop(mailbox_of(pool, first), sending->route.lane,
                               VIVERO_E_FULL, VV_SETTLED_DROPPED) ||
               vv_mailbox_drop(mailbox_of(pool, first), VV_LANE_POOL,
                               VIVERO_E_FULL, VV_SETTLED_DROPPED);
    }
    first = vv_crew_pick_free(&pool->crew, sending->visit.here->sticky);
    for (uint32_t i = 0; i < size; i++) {
        if (vv_mailbox_drop(mailbox_of(pool, (first + i) % size), VV_LANE_POOL,
                            VIVERO_E_FULL, VV_SETTLED_DROPPED)) {
            return true;
        }
    }
    return false;
}

static int drop_and_put(struct vv_sending *sending)
{
    while (drop_oldest(sending)) {
        int error;

        vv_crew_poke_quiet(&sending->visit.pool->crew);
        error = try_put(sending);
        if (error != VIVERO_E_FULL) {
            return error;
        }
    }
    vv_pool_count(&sending->visit.pool->rejected);
    return VIVERO_E_FULL;
}

static int overflow(struct vv_sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;

    switch (sending->policy) {
    case VIVERO_FULL_WAIT:
        return wait_and_put(sending);
    case VIVERO_FULL_DROP_OLDEST:
        return drop_and_put(sending);
    case VIVERO_FULL_DROP_NEWEST:
        vv_pool_count(&pool->dropped_newest);
        return VIVERO_E_FULL;
    case VIVERO_FULL_REJECT:
    case VIVERO_FULL_DEFAULT:
        break;
    }
    vv_pool_count(&pool->rejected);
    return VIVERO_E_FULL;
}

static int put_or_overflow(struct vv_sending *sending)
{
    int error = try_put(sending);

    return error == VIVERO_E_FULL ? overflow(sending) : error;
}

/* The handle is shown once there is something to cancel. */
int vv_send_put(struct vv_sending *sending)
{
    int error = put_or_overflow(sending);

    if (error == VIVERO_OK && sending->send->message != NULL) {
        *sending->send->message = sending->handle;
    }
    return error;
}

/* ---- Preparing ------------------------------------------------------------------------- */

static const struct vivero_send no_send = {.size = sizeof(no_send)};

static void check_operation(const struct vv_pool_visit *visit,
                            const struct vivero_operation *operation,
                            const void *in, const char *what)
{
    VV_CHECK(operation != NULL && operation->run != NULL,
             "%s() on pool %s: no operation", what, visit->pool->name);
    VV_CHECK(in != NULL || operation->in_size == 0,
             "%s() on pool %s: operation %s needs arguments", what,
             visit->pool->name, operation->name);
}

/* Arguments that do not fit the cell travel in a box. */
int vv_send_box(struct vv_sending *sending)
{
    uint32_t size = sending->operation->in_size;
    struct vv_pool *pool = sending->visit.pool;

    if (vv_message_fits(size, sending->message.reply != NULL)) {
        return VIVERO_OK;
    }
    if (size > VV_BOX_MAX) {
        return VIVERO_E_LIMIT;
    }
    sending->message.box = vv_box_new(size, &pool->account);
    if (sending->message.box == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    memcpy(sending->message.box->bytes, sending->in, size);
    vv_pool_count(&pool->boxed);
    return VIVERO_OK;
}

/* The message was not accepted: I1. */
void vv_send_unpack(struct vv_sending *sending)
{
    if (sending->message.reply != NULL) {
        vv_reply_give_box(sending->message.reply, NULL);
        vv_reply_discard(sending->message.reply);
    }
    vv_message_fini(&sending->message);
}

/* Everything but the reply slot. */
int vv_send_prepare(struct vv_sending *sending, struct vivero_pool *handle,
                    const struct vivero_operation *operation, const void *in,
                    const struct vivero_send *send, const char *what)
{
    sending->visit = vv_pool_enter(handle, what);
    check_operation(&sending->visit, operation, in, what);
    sending->operation = operation;
    sending->in = in;
    sending->message.operation = operation;
    sending->message.reply = NULL;
    sending->message.box = NULL;
    sending->deadline_ns = 0;
    sending->choices = 0;
    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    if (vv_here_is_fenced(sending->visit.here)) {
        return VIVERO_E_FENCED;
    }
    if (!vv_here_is_listed(sending->visit.here)) {
        return vv_pool_of(handle) == vv_pool_closed() ? VIVERO_E_CLOSING
                                                      : VIVERO_E_NO_MEMORY;
    }
    sending->send = &no_send;
    if (send != NULL) {
        int error = vv_options_copy(&sending->own_send,
                                    sizeof(sending->own_send), send);

        sending->send = &sending->own_send;

        if (error != VIVERO_OK) {
            return error;
        }
        if (sending->send->timeout_ns < VIVERO_NONE) {
            return VIVERO_E_INVALID;
        }
    }
    return vv_pool_route(sending->visit.pool, sending->visit.here, operation,
                         in, sending->send, &sending->route);
}

int vv_send_attach_reply(struct vv_sending *sending, uint32_t out_size,
                         bool has_caller, int64_t deadline_ns)
{
    struct vv_reply *reply = vv_reply_new(out_size, has_caller);

    if (reply == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    reply->deadline_ns = deadline_ns;
    reply->owner = sending->send->owner;
    sending->message.reply = reply;
    sending->handle.slot = reply->index;
    sending->handle.generation = vv_reply_generation(reply);
    return VIVERO_OK;
}
