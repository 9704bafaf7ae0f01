/* SPDX-License-Identifier: MIT */
/* pool_call: the way of a message into a pool, and of its answer back.
 *
 * Model.    A sending knows its message, its route and its deadline. It is put,
 *           by the overflow policy; a call then waits on its reply slot.
 * Threads.  The sender's, throughout.
 * Invariants.
 *   I1 A message that was not accepted leaves nothing: box and reply slot are
 *      given back here.
 *   I2 A worker's cast never waits for room; its call only to its deadline, and
 *      only after the search for a deadlock.
 * Failure.  No memory before the put: nothing was sent. */
#include "pool/pool_private.h"

#include <vivero/error.h>

#include "base/check.h"
#include "base/log.h"
#include "base/options.h"
#include "os/clock.h"
#include "os/thread.h"

#include <string.h>

/* How often a message is routed anew when resizes take its worker away. */
#define CHOICES_MAX 100u

struct sending {
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

/* ---- Putting ---------------------------------------------------------------------- */

static struct vv_mailbox *mailbox_of(const struct vv_pool *pool, uint32_t seat)
{
    return vv_crew_seat(&pool->crew, seat)->mailbox;
}

static enum vv_put put_there(struct sending *sending)
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
static enum vv_put put_anywhere(struct sending *sending, size_t count,
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

static enum vv_put put_as_routed(struct sending *sending)
{
    size_t done;

    return sending->route.seat == VV_ANY_SEAT
               ? put_anywhere(sending, 1, &done)
               : put_there(sending);
}

/* The worker that a key or chance chose has just left: choose again. */
static bool choose_again(struct sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;

    return sending->route.seat != VV_ANY_SEAT && sending->send->worker == 0 &&
           sending->choices++ < CHOICES_MAX &&
           vv_pool_phase(pool) == VV_POOL_OPEN &&
           vv_pool_route(pool, sending->visit.here, sending->operation,
                         sending->in, sending->send,
                         &sending->route) == VIVERO_OK;
}

static enum vv_put put_once(struct sending *sending)
{
    enum vv_put result = put_as_routed(sending);

    while (result == VV_PUT_CLOSED && choose_again(sending)) {
        result = put_as_routed(sending);
    }
    return result;
}

/* Closed: because of the pool, or of this one worker. */
static int closed_error(const struct sending *sending)
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

static void count(_Atomic uint64_t *counter)
{
    /* relaxed: a statistic. */
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* How long a cast may wait in the queue, then for room. */
static int64_t cast_deadline(struct sending *sending)
{
    int64_t timeout = sending->send->timeout_ns;

    if (timeout == 0) {
        timeout = sending->visit.pool->options.call_timeout_ns;
    } else if (timeout == VIVERO_NONE) {
        timeout = 0;
    }
    return vv_deadline_after(vivero_now(), timeout);
}

static int wait_and_put(struct sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;
    bool in_time = true;

    if (sending->deadline_ns == 0) {
        sending->deadline_ns = cast_deadline(sending);
    }
    for (;;) {
        uint32_t prepared = vv_crew_prepare_for_room(&pool->crew);

        switch (put_once(sending)) {
        case VV_PUT_OK:
            return VIVERO_OK;
        case VV_PUT_CLOSED:
            return closed_error(sending);
        case VV_PUT_FULL:
            break;
        }
        if (!in_time || sending->deadline_ns <= vivero_now()) {
            count(&pool->rejected);
            return VIVERO_E_TIMED_OUT;
        }
        in_time = vv_crew_wait_for_room(&pool->crew, prepared,
                                        sending->deadline_ns);
    }
}

/* Make room by ending the oldest message that could make it. */
static bool drop_oldest(const struct sending *sending)
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
        if (vv_mailbox_drop(mailbox_of(pool, (first + i) % size),
                            VV_LANE_POOL, VIVERO_E_FULL,
                            VV_SETTLED_DROPPED)) {
            return true;
        }
    }
    return false;
}

static int drop_and_put(struct sending *sending)
{
    while (drop_oldest(sending)) {
        vv_crew_poke_quiet(&sending->visit.pool->crew);
        switch (put_once(sending)) {
        case VV_PUT_OK:
            return VIVERO_OK;
        case VV_PUT_CLOSED:
            return closed_error(sending);
        case VV_PUT_FULL:
            break;
        }
    }
    count(&sending->visit.pool->rejected);
    return VIVERO_E_FULL;
}

static int overflow(struct sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;

    switch (sending->policy) {
    case VIVERO_FULL_WAIT:
        return wait_and_put(sending);
    case VIVERO_FULL_DROP_OLDEST:
        return drop_and_put(sending);
    case VIVERO_FULL_DROP_NEWEST:
        count(&pool->dropped_newest);
        return VIVERO_E_FULL;
    case VIVERO_FULL_REJECT:
    case VIVERO_FULL_DEFAULT:
        break;
    }
    count(&pool->rejected);
    return VIVERO_E_FULL;
}

static int put_or_overflow(struct sending *sending)
{
    switch (put_once(sending)) {
    case VV_PUT_OK:
        return VIVERO_OK;
    case VV_PUT_CLOSED:
        return closed_error(sending);
    case VV_PUT_FULL:
        break;
    }
    return overflow(sending);
}

/* The handle is shown once there is something to cancel. */
static int put(struct sending *sending)
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
static int box_arguments(struct sending *sending)
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
    count(&pool->boxed);
    return VIVERO_OK;
}

/* The message was not accepted: I1. */
static void unpack(struct sending *sending)
{
    if (sending->message.reply != NULL) {
        vv_reply_give_box(sending->message.reply, NULL);
        vv_reply_discard(sending->message.reply);
    }
    vv_message_fini(&sending->message);
}

/* Everything but the reply slot. */
static int prepare(struct sending *sending, struct vivero_pool *handle,
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
    if (!vv_here_is_listed(sending->visit.here)) {
        return VIVERO_E_NO_MEMORY;
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

static int attach_reply(struct sending *sending, uint32_t out_size,
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

/* ---- Casting ------------------------------------------------------------------------------- */

static bool wants_reply_slot(const struct vivero_send *send)
{
    return send->owner != NULL || send->message != NULL ||
           send->timeout_ns != 0;
}

static int cast(struct sending *sending, enum vivero_full policy)
{
    int error = VIVERO_OK;

    sending->policy = policy;
    if (sending->policy == VIVERO_FULL_WAIT &&
        sending->visit.here->worker != NULL) {
        sending->policy = VIVERO_FULL_REJECT;
    }
    if (sending->send->timeout_ns > 0) {
        sending->deadline_ns = cast_deadline(sending);
    }
    if (wants_reply_slot(sending->send)) {
        error = attach_reply(sending, 0, false,
                             sending->send->timeout_ns > 0
                                 ? sending->deadline_ns
                                 : VIVERO_FOREVER);
    }
    if (error == VIVERO_OK) {
        error = box_arguments(sending);
    }
    if (error == VIVERO_OK) {
        error = put(sending);
    }
    if (error != VIVERO_OK) {
        unpack(sending);
    }
    return error == VIVERO_E_FULL && sending->policy == VIVERO_FULL_DROP_NEWEST
               ? VIVERO_OK
               : error;
}

int vivero_pool_cast(struct vivero_pool *pool,
                     const struct vivero_operation *operation, const void *in,
                     const struct vivero_send *send)
{
    struct sending sending;
    int error =
        prepare(&sending, pool, operation, in, send, "vivero_pool_cast");

    if (error == VIVERO_OK) {
        error = cast(&sending, sending.visit.pool->options.full_cast);
    }
    vv_pool_leave(&sending.visit);
    return error;
}

/* One claim for many; to any free worker. */
static int cast_many(struct sending *sending, size_t count_)
{
    size_t total = 0;

    while (total < count_) {
        size_t done = 0;
        enum vv_put result = put_anywhere(sending, count_ - total, &done);

        if (result == VV_PUT_CLOSED && total == 0) {
            return closed_error(sending);
        }
        if (result != VV_PUT_OK) {
            break;
        }
        total += done;
        sending->in = (const unsigned char *)sending->in +
                      done * sending->operation->in_size;
    }
    if (total == 0 && count_ > 0) {
        count(&sending->visit.pool->rejected);
        return VIVERO_E_FULL;
    }
    return (int)total;
}

/* Routed or boxed messages go one by one. */
static int cast_each(struct sending *sending, size_t count_)
{
    size_t total = 0;
    int error = VIVERO_OK;

    while (total < count_ && error == VIVERO_OK) {
        struct vv_pool *pool = sending->visit.pool;

        error = vv_pool_route(pool, sending->visit.here, sending->operation,
                              sending->in, sending->send, &sending->route);
        if (error == VIVERO_OK) {
            error = cast(sending, VIVERO_FULL_REJECT);
        }
        if (error == VIVERO_OK) {
            total++;
            sending->message.box = NULL;
            sending->in = (const unsigned char *)sending->in +
                          sending->operation->in_size;
        }
    }
    return total > 0 ? (int)total : error;
}

int vivero_pool_cast_batch(struct vivero_pool *pool,
                           const struct vivero_operation *operation,
                           const void *in, size_t count_)
{
    struct sending sending;
    int result = prepare(&sending, pool, operation, in, NULL,
                         "vivero_pool_cast_batch");

    if (result == VIVERO_OK && count_ > INT32_MAX) {
        result = VIVERO_E_LIMIT;
    }
    if (result == VIVERO_OK) {
        result = sending.route.seat == VV_ANY_SEAT &&
                         vv_message_fits(operation->in_size, false)
                     ? cast_many(&sending, count_)
                     : cast_each(&sending, count_);
    }
    vv_pool_leave(&sending.visit);
    return result;
}

static int broadcast(struct sending *sending)
{
    struct vv_pool *pool = sending->visit.pool;
    uint32_t size = vv_crew_size(&pool->crew);
    int reached = 0;
    int error = VIVERO_OK;

    sending->policy = VIVERO_FULL_REJECT;
    sending->route.lane = VV_LANE_OWN;
    sending->choices = CHOICES_MAX; /* each worker, and no other for it */
    for (uint32_t i = 0; i < size; i++) {
        int result;

        sending->route.seat = i;
        result = box_arguments(sending);
        if (result == VIVERO_OK) {
            result = put(sending);
        }
        if (result == VIVERO_OK) {
            reached++;
        } else {
            unpack(sending);
            error = result;
        }
        sending->message.box = NULL;
    }
    return reached > 0 ? reached : error;
}

int vivero_pool_broadcast(struct vivero_pool *pool,
                          const struct vivero_operation *operation,
                          const void *in)
{
    struct sending sending;
    int result = prepare(&sending, pool, operation, in, NULL,
                         "vivero_pool_broadcast");

    if (result == VIVERO_OK) {
        result = broadcast(&sending);
    }
    vv_pool_leave(&sending.visit);
    return result;
}

/* ---- Calling -------------------------------------------------------------------------------- */

static int64_t call_deadline(const struct sending *sending)
{
    int64_t timeout = sending->send->timeout_ns;

    if (timeout == 0) {
        timeout = sending->visit.pool->options.call_timeout_ns;
    } else if (timeout == VIVERO_NONE) {
        timeout = 0;
    }
    return timeout == VIVERO_FOREVER
               ? VIVERO_FOREVER
               : vv_deadline_after(vivero_now(), timeout);
}

/* A worker that calls says so first, and does not wait where nobody could ever
 * answer. */
static int begin_wait(struct sending *sending)
{
    const struct vivero_entity *worker = sending->visit.here->worker;
    struct vv_pool *pool = sending->visit.pool;

    if (worker == NULL ||
        vv_wait_begin(vv_worker_seat(worker), &pool->crew, sending->route.seat,
                      sending->message.reply)) {
        return VIVERO_OK;
    }
    return vv_pool_phase(pool) > VV_POOL_OPEN
               ? vv_pool_refusal(pool, sending->visit.here)
               : VIVERO_E_DEADLOCK;
}

static int put_and_wait(struct sending *sending, void *out)
{
    struct vv_pool *pool = sending->visit.pool;
    bool expired = false;
    int error = put(sending);

    if (error != VIVERO_OK) {
        unpack(sending);
        return error;
    }
    error = vv_reply_wait(sending->message.reply, &pool->crew.spin, out,
                          &expired);
    if (expired) {
        vv_crew_poke_quiet(&pool->crew);
    }
    return error;
}

static int queue_call(struct sending *sending, void *out)
{
    const struct vivero_entity *worker = sending->visit.here->worker;
    int error = attach_reply(sending, sending->operation->out_size, true,
                             sending->deadline_ns);

    if (error != VIVERO_OK) {
        return error;
    }
    error = box_arguments(sending);
    if (error == VIVERO_OK) {
        error = begin_wait(sending);
    }
    if (error != VIVERO_OK) {
        unpack(sending);
        return error;
    }
    error = put_and_wait(sending, out);
    if (worker != NULL) {
        vv_wait_end(vv_worker_seat(worker));
    }
    return error;
}

static int call(struct sending *sending, void *out)
{
    struct vv_pool *pool = sending->visit.pool;
    int result;

    sending->policy = pool->options.full_call;
    if (sending->send->message != NULL) {
        /* Names nothing, until it is queued. */
        *sending->send->message = (struct vivero_message){0, 0};
    }
    if (pool->options.caller_runs && vv_pool_phase(pool) == VV_POOL_OPEN &&
        vv_worker_try_here(&pool->crew, sending->route.seat,
                           sending->operation, sending->in, out,
                           sending->deadline_ns, &result)) {
        return result;
    }
    return queue_call(sending, out);
}

int vivero_pool_call(struct vivero_pool *pool,
                     const struct vivero_operation *operation, const void *in,
                     void *out, const struct vivero_send *send)
{
    struct sending sending;
    int error =
        prepare(&sending, pool, operation, in, send, "vivero_pool_call");

    if (error == VIVERO_OK) {
        sending.deadline_ns = call_deadline(&sending);
        error = call(&sending, out);
    }
    vv_pool_leave(&sending.visit);
    return error;
}

int vivero_pool_call_until(struct vivero_pool *pool,
                           const struct vivero_operation *operation,
                           const void *in, void *out, int64_t deadline_ns)
{
    struct sending sending;
    int error =
        prepare(&sending, pool, operation, in, NULL, "vivero_pool_call_until");

    if (error == VIVERO_OK) {
        sending.deadline_ns = deadline_ns > 0 ? deadline_ns : 1;
        error = call(&sending, out);
    }
    vv_pool_leave(&sending.visit);
    return error;
}
