/* SPDX-License-Identifier: MIT */
/* pool_call: casting and calling.
 *
 * A cast is a sending that was put. A call waits on its reply slot, or runs on
 * the caller's own thread in an idle worker's place. A worker's cast never waits
 * for room; its call only to its deadline, and only after the search for a
 * deadlock. */
#include <vivero/error.h>

#include "os/clock.h"
#include "pool/pool_send.h"

/* ---- Casting ------------------------------------------------------------------------------- */

static bool wants_reply_slot(const struct vivero_send *send)
{
    return send->owner != NULL || send->message != NULL ||
           send->timeout_ns != 0;
}

static int cast(struct vv_sending *sending, enum vivero_full policy)
{
    int error = VIVERO_OK;

    if (sending->send->completions != NULL) {
        return VIVERO_E_INVALID;
    }
    sending->policy = policy;
    if (sending->policy == VIVERO_FULL_WAIT &&
        sending->visit.here->worker != NULL) {
        sending->policy = VIVERO_FULL_REJECT;
    }
    if (sending->send->timeout_ns > 0) {
        sending->deadline_ns = vv_send_deadline(sending);
    }
    if (wants_reply_slot(sending->send)) {
        error = vv_send_attach_reply(sending, 0, false,
                                     sending->send->timeout_ns > 0
                                         ? sending->deadline_ns
                                         : VIVERO_FOREVER);
    }
    if (error == VIVERO_OK) {
        error = vv_send_box(sending);
    }
    if (error == VIVERO_OK) {
        error = vv_send_put(sending);
    }
    if (error != VIVERO_OK) {
        vv_send_unpack(sending);
    }
    return error == VIVERO_E_FULL && sending->policy == VIVERO_FULL_DROP_NEWEST
               ? VIVERO_OK
               : error;
}

int vivero_pool_cast(struct vivero_pool *pool,
                     const struct vivero_operation *operation, const void *in,
                     const struct vivero_send *send)
{
    struct vv_sending sending;
    int error = vv_send_prepare(&sending, pool, operation, in, send,
                                "vivero_pool_cast");

    if (error == VIVERO_OK) {
        error = cast(&sending, sending.visit.pool->options.full_cast);
    }
    vv_pool_leave(&sending.visit);
    return error;
}

/* One claim for many; to any free worker. */
static int cast_many(struct vv_sending *sending, size_t count_)
{
    size_t total = 0;

    while (total < count_) {
        size_t done = 0;
        enum vv_put result =
            vv_send_put_anywhere(sending, count_ - total, &done);

        if (result == VV_PUT_CLOSED && total == 0) {
            return vv_send_closed_error(sending);
        }
        if (result != VV_PUT_OK) {
            break;
        }
        total += done;
        sending->in = (const unsigned char *)sending->in +
                      done * sending->operation->in_size;
    }
    if (total == 0 && count_ > 0) {
        vv_pool_count(&sending->visit.pool->rejected);
        return VIVERO_E_FULL;
    }
    return (int)total;
}

/* Routed or boxed messages go one by one. */
static int cast_each(struct vv_sending *sending, size_t count_)
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
    struct vv_sending sending;
    int result = vv_send_prepare(&sending, pool, operation, in, NULL,
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

static int broadcast(struct vv_sending *sending)
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
        result = vv_send_box(sending);
        if (result == VIVERO_OK) {
            result = vv_send_put(sending);
        }
        if (result == VIVERO_OK) {
            reached++;
        } else {
            vv_send_unpack(sending);
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
    struct vv_sending sending;
    int result = vv_send_prepare(&sending, pool, operation, in, NULL,
                                 "vivero_pool_broadcast");

    if (result == VIVERO_OK) {
        result = broadcast(&sending);
    }
    vv_pool_leave(&sending.visit);
    return result;
}

/* ---- Calling -------------------------------------------------------------------------------- */

/* A worker that calls says so first, and does not wait where nobody could ever
 * answer. */
static int begin_wait(struct vv_sending *sending)
{
    struct vivero_entity *worker = sending->visit.here->worker;
    struct vv_pool *pool = sending->visit.pool;
    int error = VIVERO_OK;

    if (worker != NULL &&
        !vv_wait_begin(vv_worker_waiter(worker),
                       &(struct vv_wait){.crew = &pool->crew,
                                         .index = sending->route.seat,
                                         .reply = sending->message.reply})) {
        error = VIVERO_E_DEADLOCK;
    }
    return error == VIVERO_E_DEADLOCK && vv_pool_phase(pool) > VV_POOL_OPEN
               ? vv_pool_refusal(pool, sending->visit.here)
               : error;
}

static int put_and_wait(struct vv_sending *sending, void *out)
{
    struct vv_pool *pool = sending->visit.pool;
    bool expired = false;
    int error = vv_send_put(sending);

    if (error != VIVERO_OK) {
        vv_send_unpack(sending);
        return error;
    }
    error =
        vv_reply_wait(sending->message.reply, &pool->crew.spin, out, &expired);
    if (expired) {
        vv_crew_poke_quiet(&pool->crew);
    }
    return error;
}

static int queue_call(struct vv_sending *sending, void *out)
{
    struct vivero_entity *worker = sending->visit.here->worker;
    int error = vv_send_attach_reply(sending, sending->operation->out_size,
                                     true, sending->deadline_ns);

    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_send_box(sending);
    if (error == VIVERO_OK) {
        error = begin_wait(sending);
    }
    if (error != VIVERO_OK) {
        vv_send_unpack(sending);
        return error;
    }
    error = put_and_wait(sending, out);
    if (worker != NULL) {
        vv_wait_end(vv_worker_waiter(worker));
        if (vv_here_is_fenced(sending->visit.here)) {
            error = VIVERO_E_FENCED; /* replaced while it waited */
        }
    }
    return error;
}

static int call(struct vv_sending *sending, void *out)
{
    struct vv_pool *pool = sending->visit.pool;
    int result;

    if (sending->send->completions != NULL) {
        return VIVERO_E_INVALID;
    }
    sending->policy = pool->options.full_call;
    if (sending->send->message != NULL) {
        /* Names nothing, until it is queued. */
        *sending->send->message = (struct vivero_message){0, 0};
    }
    if (pool->options.caller_runs && vv_pool_phase(pool) == VV_POOL_OPEN &&
        vv_worker_try_here(&pool->crew, sending->route.seat, sending->operation,
                           sending->in, out, sending->deadline_ns, &result)) {
        return result;
    }
    return queue_call(sending, out);
}

int vivero_pool_call(struct vivero_pool *pool,
                     const struct vivero_operation *operation, const void *in,
                     void *out, const struct vivero_send *send)
{
    struct vv_sending sending;
    int error = vv_send_prepare(&sending, pool, operation, in, send,
                                "vivero_pool_call");

    if (error == VIVERO_OK) {
        sending.deadline_ns = vv_send_deadline(&sending);
        error = call(&sending, out);
    }
    vv_pool_leave(&sending.visit);
    return error;
}

int vivero_pool_call_until(struct vivero_pool *pool,
                           const struct vivero_operation *operation,
                           const void *in, void *out, int64_t deadline_ns)
{
    struct vv_sending sending;
    int error = vv_send_prepare(&sending, pool, operation, in, NULL,
                                "vivero_pool_call_until");

    if (error == VIVERO_OK) {
        sending.deadline_ns = deadline_ns > 0 ? deadline_ns : 1;
        error = call(&sending, out);
    }
    vv_pool_leave(&sending.visit);
    return error;
}
