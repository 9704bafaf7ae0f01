/* SPDX-License-Identifier: MIT */
/* single_call: calls and casts to a worker on its own.
 *
 * The sender retains the worker while it sends and waits, so that neither its
 * slot in the search for deadlocks nor the reply slots can go away. The order of
 * things is a pool's: a reply slot, an envelope, the search, the inbox by its
 * overflow policy, the wait. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/options.h"
#include "mailbox/future.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "worker/single_private.h"

#include <string.h>

/* One message on its way. */
struct sending {
    struct vv_single *to;
    const struct vivero_operation *operation;
    const void *in;
    struct vivero_send send;
    enum vivero_full policy;
    int64_t deadline_ns;
    struct vv_envelope *envelope;
    struct vv_reply *reply;
};

/* ---- Packing ---------------------------------------------------------------------- */

static int64_t deadline_of(const struct sending *sending)
{
    int64_t timeout = sending->send.timeout_ns;

    if (timeout == 0) {
        timeout = sending->to->options.call_timeout_ns;
    } else if (timeout == VIVERO_NONE) {
        timeout = 0;
    }
    return vv_deadline_after(vivero_now(), timeout);
}

static int pack_arguments(struct sending *sending)
{
    struct vv_message *message = &sending->envelope->message;
    uint32_t size = sending->operation->in_size;
    struct vv_box *box;

    if (size <= VV_ARGS_MAX) {
        if (size > 0) {
            memcpy(message->args, sending->in, size);
        }
        return VIVERO_OK;
    }
    box = vv_box_new(size, NULL);
    if (box == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    memcpy(box->bytes, sending->in, size);
    if (sending->reply != NULL) {
        vv_reply_give_box(sending->reply, box);
    } else {
        message->box = box;
    }
    return VIVERO_OK;
}

static void unpack(struct sending *sending)
{
    if (sending->envelope != NULL) {
        vv_envelope_free(sending->envelope);
    }
    if (sending->reply != NULL) {
        vv_reply_discard(sending->reply);
    }
}

static int pack(struct sending *sending)
{
    if (sending->operation->in_size > VV_BOX_MAX) {
        return VIVERO_E_LIMIT;
    }
    sending->envelope = vv_envelope_new(VV_ENVELOPE_OPERATION);
    if (sending->envelope == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    sending->envelope->from = vivero_current();
    sending->envelope->message.operation = sending->operation;
    sending->envelope->message.reply = sending->reply;
    return pack_arguments(sending);
}

/* out_size, and whether somebody waits for it. */
static int attach_reply(struct sending *sending, uint32_t out_size,
                        bool has_caller, int64_t deadline_ns)
{
    struct vv_reply *reply = vv_reply_new(out_size, has_caller);

    if (reply == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    reply->deadline_ns = deadline_ns;
    reply->owner = sending->send.owner;
    vv_reply_set_credit(reply, vv_entity_credit(&sending->to->entity));
    sending->reply = reply;
    if (sending->send.message != NULL) {
        sending->send.message->slot = reply->index;
        sending->send.message->generation = vv_reply_generation(reply);
    }
    return VIVERO_OK;
}

/* ---- Putting ----------------------------------------------------------------------------- */

static int make_room(struct sending *sending)
{
    struct vv_entity *entity = &sending->to->entity;

    switch (sending->policy) {
    case VIVERO_FULL_WAIT:
        return vv_entity_wait_for_room(entity, sending->deadline_ns);
    case VIVERO_FULL_DROP_OLDEST:
        vv_entity_drop_oldest(entity);
        return VIVERO_OK;
    case VIVERO_FULL_REJECT:
    case VIVERO_FULL_DROP_NEWEST:
    case VIVERO_FULL_DEFAULT:
        break;
    }
    return VIVERO_E_FULL;
}

static int put(struct sending *sending)
{
    int error = vv_entity_put(&sending->to->entity, sending->envelope);

    while (error == VIVERO_E_FULL) {
        error = make_room(sending);
        if (error == VIVERO_OK) {
            error = vv_entity_put(&sending->to->entity, sending->envelope);
        } else {
            return error;
        }
    }
    return error;
}

/* ---- Casting -------------------------------------------------------------------------------- */

static int cast(struct sending *sending)
{
    int error = VIVERO_OK;

    sending->policy = sending->to->options.full_cast;
    if (sending->policy == VIVERO_FULL_WAIT && vv_here()->worker != NULL) {
        sending->policy = VIVERO_FULL_REJECT;
    }
    sending->deadline_ns = deadline_of(sending);
    if (sending->send.owner != NULL || sending->send.message != NULL ||
        sending->send.timeout_ns != 0) {
        error = attach_reply(sending, 0, false,
                             sending->send.timeout_ns > 0 ? sending->deadline_ns
                                                          : VIVERO_FOREVER);
    }
    if (error == VIVERO_OK) {
        error = pack(sending);
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

/* ---- Calling ---------------------------------------------------------------------------------- */

/* A worker does not wait where nobody could ever answer. */
static bool may_wait(struct sending *sending, struct vivero_entity *worker)
{
    const struct vv_wait wait = {.single = &sending->to->waiter,
                                 .reply = sending->reply};

    return worker == NULL || vv_wait_begin(vv_worker_waiter(worker), &wait);
}

static int await(struct sending *sending, void *out)
{
    bool expired;
    int result = put(sending);

    if (result == VIVERO_OK) {
        sending->envelope = NULL;
        result =
            vv_reply_wait(sending->reply, &sending->to->spin, out, &expired);
        sending->reply = NULL;
    }
    return result;
}

static int call(struct sending *sending, void *out)
{
    struct vivero_entity *worker = vv_here()->worker;
    int error;

    if (&sending->to->entity == vv_entity_here()) {
        return VIVERO_E_DEADLOCK;
    }
    sending->policy = sending->to->options.full_call;
    sending->deadline_ns = deadline_of(sending);
    error = attach_reply(sending, sending->operation->out_size, true,
                         sending->deadline_ns);
    if (error == VIVERO_OK) {
        error = pack(sending);
    }
    if (error == VIVERO_OK && !may_wait(sending, worker)) {
        unpack(sending);
        return VIVERO_E_DEADLOCK;
    }
    if (error == VIVERO_OK) {
        error = await(sending, out);
        if (worker != NULL) {
            vv_wait_end(vv_worker_waiter(worker));
        }
    }
    unpack(sending);
    return error;
}

/* ---- Calling without waiting ------------------------------------------------------------------------ */

/* A wait for it takes no part in the search for deadlocks, since nothing keeps
 * the worker in place until then; its deadline ends it. */
static int put_future(struct sending *sending, struct vivero_future *future)
{
    const struct vv_future_target target = {.object = sending->to};
    struct vivero_future made;
    int error;

    vv_future_begin(sending->reply, &target, sending->send.completions,
                    sending->send.tag);
    made = vv_future_of(sending->reply);
    error = put(sending);
    if (error != VIVERO_OK) {
        vv_future_undo(sending->reply);
    } else if (future != NULL) {
        *future = made;
    }
    return error;
}

static int call_async(struct sending *sending, struct vivero_future *future)
{
    bool no_limit = sending->send.timeout_ns == VIVERO_NONE;
    int error;

    sending->deadline_ns = deadline_of(sending);
    sending->policy = sending->to->options.full_call;
    if (sending->policy == VIVERO_FULL_WAIT && vv_here()->worker != NULL) {
        sending->policy = VIVERO_FULL_REJECT;
    }
    error = attach_reply(sending, sending->operation->out_size, true,
                         no_limit ? VIVERO_FOREVER : sending->deadline_ns);
    if (error == VIVERO_OK) {
        error = pack(sending);
    }
    if (error == VIVERO_OK) {
        error = put_future(sending, future);
    }
    if (error != VIVERO_OK) {
        unpack(sending);
    }
    return error;
}

/* ---- For users ------------------------------------------------------------------------------------ */

/* Retains the worker, whom release() lets go. */
static int prepare(struct sending *sending, struct vivero_ref ref,
                   const struct vivero_operation *operation, const void *in,
                   const struct vivero_send *send)
{
    struct vv_entity *entity;

    int refused = vv_here_may_act();

    memset(sending, 0, sizeof(*sending));
    sending->operation = operation;
    sending->in = in;
    if (refused != VIVERO_OK) {
        return refused;
    }
    if (vv_options_copy(&sending->send, sizeof(sending->send), send) !=
        VIVERO_OK) {
        return VIVERO_E_INVALID;
    }
    entity = vv_entity_retain(ref);
    if (entity == NULL) {
        return VIVERO_E_GONE;
    }
    sending->to = vv_single_of(entity);
    if (sending->to == NULL) {
        vv_entity_release(entity);
        return VIVERO_E_UNSUPPORTED;
    }
    return VIVERO_OK;
}

static void check_message(const struct vivero_operation *operation,
                          const void *in, const char *what)
{
    VV_CHECK(operation != NULL && operation->run != NULL,
             "%s(): no operation, or one without a handler", what);
    VV_CHECK(in != NULL || operation->in_size == 0,
             "%s(): operation %s has arguments, and in is NULL", what,
             operation->name);
}

int vivero_worker_call(struct vivero_ref ref,
                       const struct vivero_operation *operation, const void *in,
                       void *out, const struct vivero_send *send)
{
    struct sending sending;
    int error;

    check_message(operation, in, "vivero_worker_call");
    error = prepare(&sending, ref, operation, in, send);
    if (error == VIVERO_OK) {
        error = sending.send.completions != NULL ? VIVERO_E_INVALID
                                                 : call(&sending, out);
        vv_entity_release(&sending.to->entity);
    }
    return error;
}

int vivero_worker_cast(struct vivero_ref ref,
                       const struct vivero_operation *operation, const void *in,
                       const struct vivero_send *send)
{
    struct sending sending;
    int error;

    check_message(operation, in, "vivero_worker_cast");
    error = prepare(&sending, ref, operation, in, send);
    if (error == VIVERO_OK) {
        error = sending.send.completions != NULL ? VIVERO_E_INVALID
                                                 : cast(&sending);
        vv_entity_release(&sending.to->entity);
    }
    return error;
}

int vivero_worker_call_async(struct vivero_ref ref,
                             const struct vivero_operation *operation,
                             const void *in, const struct vivero_send *send,
                             struct vivero_future *future)
{
    struct sending sending;
    int error;

    check_message(operation, in, "vivero_worker_call_async");
    error = prepare(&sending, ref, operation, in, send);
    if (error == VIVERO_OK) {
        VV_CHECK(future != NULL || sending.send.completions != NULL,
                 "vivero_worker_call_async() to worker %s: neither a place for "
                 "the future nor a completion queue",
                 sending.to->label);
        error = call_async(&sending, future);
        vv_entity_release(&sending.to->entity);
    }
    return error;
}

int vivero_worker_cancel(struct vivero_ref ref, struct vivero_message message)
{
    int refused = vv_here_may_act();
    struct vv_entity *entity;
    bool cancelled;

    if (refused != VIVERO_OK) {
        return refused;
    }
    entity = vv_entity_retain(ref);
    if (entity == NULL) {
        return VIVERO_E_GONE;
    }
    cancelled = vv_reply_cancel(message);
    vv_entity_release(entity);
    return cancelled ? VIVERO_OK : VIVERO_E_GONE;
}
