/* SPDX-License-Identifier: MIT */
/* handler: what a handler may ask of its worker: who it is, how it ends, to
 * answer later. All of it on the worker's own thread, but the answers. */
#include <vivero/error.h>
#include <vivero/worker.h>
#include <vivero/worker_defer.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "worker/worker_private.h"

#include <string.h>

/* ---- What a handler may ask for ------------------------------------------------------------ */

static struct vivero_entity *running_here(const char *what)
{
    struct vivero_entity *worker = vv_here()->worker;

    VV_CHECK(worker != NULL, "%s() outside a handler", what);
    return worker;
}

void vv_worker_check_is_here(const struct vivero_entity *entity,
                             const char *what)
{
    VV_CHECK(entity != NULL, "%s(): self is NULL", what);
    VV_CHECK(vv_here()->worker == entity,
             "%s() on worker %s outside its own handler", what, entity->name);
}

uint32_t vivero_entity_id(const struct vivero_entity *entity)
{
    return entity->seat != NULL ? entity->seat->index + 1 : 0;
}

void *vivero_entity_payload(const struct vivero_entity *entity)
{
    return entity->payload;
}

const char *vivero_entity_name(const struct vivero_entity *entity)
{
    return entity->name;
}

uint64_t vivero_entity_incarnation(const struct vivero_entity *entity)
{
    /* relaxed: a statistic of one writer. */
    return atomic_load_explicit(&entity->incarnation, memory_order_relaxed);
}

uint64_t vivero_entity_generation(const struct vivero_entity *entity)
{
    return entity->generation;
}

uint32_t vivero_entity_attempt(const struct vivero_entity *entity)
{
    return entity->in_flight ? entity->current.attempt : 0;
}

int vivero_entity_replace(struct vivero_entity *entity, const void *payload)
{
    vv_worker_check_is_here(entity, "vivero_replace");
    if (vv_worker_is_fenced(entity)) {
        return VIVERO_E_FENCED;
    }
    if (entity->spec->destroy != NULL && !entity->spec->commits) {
        entity->spec->destroy(entity->payload, entity->spec->ctx);
    }
    memcpy(entity->payload, payload, entity->spec->payload_size);
    return VIVERO_REPLACE;
}

int vivero_entity_fail(struct vivero_entity *entity, int code, const char *text)
{
    vv_worker_check_is_here(entity, "vivero_fail");
    vv_worker_run_defers(entity); /* some may stand on the handler's stack */
    vv_exit_set(&entity->exit, VIVERO_EXIT_FAILED, code, text);
    return VIVERO_FAIL;
}

static _Noreturn void leave_by_jump(struct vivero_entity *worker,
                                    const struct vivero_exit *reason)
{
    VV_CHECK(worker->recovery != NULL,
             "vivero_exit() in worker %s, which is "
             "not in a handler or in init",
             worker->name);
    worker->exit = *reason;
    worker->ends = true;
    vv_worker_run_defers(worker);
    siglongjmp(*worker->recovery, 1);
}

void vivero_exit(int code, const char *text)
{
    const struct vivero_exit reason =
        vivero_reason(VIVERO_EXIT_FAILED, code, text);

    leave_by_jump(running_here("vivero_exit"), &reason);
}

void vivero_exit_with(const struct vivero_exit *reason)
{
    VV_CHECK(reason != NULL, "vivero_exit_with(): the reason is NULL");
    leave_by_jump(running_here("vivero_exit_with"), reason);
}

int vivero_entity_stop(struct vivero_entity *entity,
                       const struct vivero_exit *reason)
{
    vv_worker_check_is_here(entity, "vivero_stop");
    VV_CHECK(reason != NULL, "vivero_stop() on worker %s: the reason is NULL",
             entity->name);
    entity->exit = *reason;
    return VIVERO_STOP;
}

/* An inline call has no reply slot until somebody wants to answer later. */
static int make_inline_reply(struct vivero_entity *worker)
{
    struct vv_message *message = &worker->current;

    int error = vv_reply_retain(); /* step_out() may outlive the pool */

    if (error != VIVERO_OK) {
        return error;
    }
    message->reply = vv_reply_new(message->operation->out_size, true);
    if (message->reply == NULL) {
        vv_reply_release();
        return VIVERO_E_NO_MEMORY;
    }
    message->reply->deadline_ns = worker->inline_deadline_ns;
    (void)vv_reply_begin(message->reply, &message->generation, &message->box);
    worker->inline_reply = message->reply;
    return VIVERO_OK;
}

int vivero_entity_reply_later(struct vivero_entity *entity,
                              struct vivero_reply_token *token)
{
    struct vv_message *message = &entity->current;

    vv_worker_check_is_here(entity, "vivero_reply_later");
    VV_CHECK(entity->in_flight && !entity->owes_current,
             "vivero_reply_later() on worker %s, which has no call to answer",
             entity->name);
    if (vv_worker_is_fenced(entity)) {
        return VIVERO_E_FENCED;
    }
    if (message->reply == NULL && entity->inline_call) {
        int error = make_inline_reply(entity);

        if (error != VIVERO_OK) {
            return error;
        }
    }
    if (message->reply == NULL ||
        !vv_reply_owe(message->reply, message->generation, entity->debts,
                      &entity->debt)) {
        return VIVERO_E_INVALID;
    }
    entity->owes_current = true;
    *token = entity->debt;
    return VIVERO_OK;
}

int vivero_reply(struct vivero_reply_token token, const void *reply,
                 size_t size)
{
    int error = vv_here_may_act();

    return error == VIVERO_OK ? vv_reply_pay(token, VIVERO_OK, reply, size)
                              : error;
}

int vivero_reply_error(struct vivero_reply_token token, int error)
{
    int refused = vv_here_may_act();

    if (refused != VIVERO_OK) {
        return refused;
    }
    if (error >= 0) {
        return VIVERO_E_INVALID;
    }
    return vv_reply_pay(token, error, NULL, 0);
}

const struct vivero_exit *vivero_last_exit(void)
{
    return &vv_here()->last_exit;
}
