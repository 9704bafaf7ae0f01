/* SPDX-License-Identifier: MIT */
/* single_control: stopping, suspending and looking at a worker on its own.
 *
 * What needs its thread travels as a request in the control lane, which is served
 * between two messages, also while it is suspended. A request to stop is answered
 * when all is over. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/thread.h"
#include "worker/single_private.h"

#include <stdio.h>
#include <string.h>

/* ---- Its thread ------------------------------------------------------------------ */

static int get_state(struct vv_single *single, struct vv_state_request *state)
{
    if (single->kind != VV_SINGLE_CALLBACKS ||
        state->state_size != single->options.payload_size) {
        return VIVERO_E_INVALID;
    }
    memcpy(state->state, single->payload, state->state_size);
    return VIVERO_OK;
}

static int replace_state(struct vv_single *single,
                         struct vv_state_request *state)
{
    if (single->kind != VV_SINGLE_CALLBACKS ||
        state->state_size != single->options.payload_size) {
        return VIVERO_E_INVALID;
    }
    if (single->spec.destroy != NULL) {
        single->spec.destroy(single->payload, single->spec.ctx);
    }
    memcpy(single->payload, state->state, state->state_size);
    return VIVERO_OK;
}

static void begin_stop(struct vv_single *single, struct vv_request *request)
{
    const struct vv_state_request *state =
        (const struct vv_state_request *)request;

    single->terminates = true;
    single->stop = request;
    vv_single_set_end(single, &state->reason);
}

void vv_single_serve(struct vv_single *single, struct vv_request *request)
{
    struct vv_state_request *state = (struct vv_state_request *)request;
    int result = VIVERO_OK;

    switch ((enum vv_single_request)request->kind) {
    case VV_REQUEST_STOP:
        begin_stop(single, request);
        return;
    case VV_REQUEST_SUSPEND:
    case VV_REQUEST_RESUME:
        single->suspended = request->kind == VV_REQUEST_SUSPEND;
        vv_entity_suspend(&single->entity, single->suspended);
        break;
    case VV_REQUEST_GET_STATE:
        result = get_state(single, state);
        break;
    case VV_REQUEST_REPLACE_STATE:
        result = replace_state(single, state);
        break;
    }
    vv_request_answer(request, result, NULL);
}

/* ---- Who asks ----------------------------------------------------------------------- */

/* What the calling worker waits for, as far as the search for deadlocks. */
static bool begin_wait(struct vv_single *single)
{
    struct vivero_entity *worker = vv_here()->worker;
    const struct vv_wait wait = {.single = &single->waiter};

    return worker == NULL || vv_wait_begin(vv_worker_waiter(worker), &wait);
}

static void end_wait(void)
{
    struct vivero_entity *worker = vv_here()->worker;

    if (worker != NULL) {
        vv_wait_end(vv_worker_waiter(worker));
    }
}

static int ask(struct vv_single *single, struct vv_request *request,
               int64_t timeout_ns)
{
    int error;

    if (&single->entity == vv_entity_here() || !begin_wait(single)) {
        return VIVERO_E_DEADLOCK;
    }
    error = vv_request_send(request, single->entity.ref, timeout_ns);
    end_wait();
    if (error == VIVERO_E_DOWN) {
        vv_here()->last_exit = request->exit;
    }
    return error;
}

/* The single behind a reference, retained. */
static int find(struct vivero_ref ref, struct vv_single **single)
{
    int refused = vv_here_may_act();
    struct vv_entity *entity;

    if (refused != VIVERO_OK) {
        return refused;
    }
    entity = vv_entity_retain(ref);
    if (entity == NULL) {
        return VIVERO_E_GONE;
    }
    *single = vv_single_of(entity);
    if (*single == NULL) {
        vv_entity_release(entity);
        return VIVERO_E_UNSUPPORTED;
    }
    return VIVERO_OK;
}

static struct vv_state_request *new_request(enum vv_single_request kind,
                                            const void *state, size_t size)
{
    struct vv_state_request *request =
        (struct vv_state_request *)vv_request_new(
            sizeof(struct vv_state_request) + size, (int)kind);

    if (request != NULL) {
        request->state_size = size;
        if (state != NULL) {
            memcpy(request->state, state, size);
        }
    }
    return request;
}

/* Ask for one thing; state goes there, and comes back to result if that is not
 * NULL. */
static int ask_for(struct vivero_ref ref, struct vv_state_request *request,
                   void *result, int64_t timeout_ns)
{
    struct vv_single *single;
    int error;

    if (request == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    error = find(ref, &single);
    if (error == VIVERO_OK) {
        error = ask(single, &request->request, timeout_ns);
        vv_entity_release(&single->entity);
    }
    if (error == VIVERO_OK && result != NULL) {
        memcpy(result, request->state, request->state_size);
    }
    vv_request_release(&request->request);
    return error;
}

int vivero_worker_suspend(struct vivero_ref ref, int64_t timeout_ns)
{
    return ask_for(ref, new_request(VV_REQUEST_SUSPEND, NULL, 0), NULL,
                   timeout_ns);
}

int vivero_worker_resume(struct vivero_ref ref, int64_t timeout_ns)
{
    return ask_for(ref, new_request(VV_REQUEST_RESUME, NULL, 0), NULL,
                   timeout_ns);
}

int vivero_worker_get_state(struct vivero_ref ref, void *payload, size_t size,
                            int64_t timeout_ns)
{
    VV_CHECK(payload != NULL, "vivero_worker_get_state(): no place for it");
    return ask_for(ref, new_request(VV_REQUEST_GET_STATE, NULL, size), payload,
                   timeout_ns);
}

int vivero_worker_replace_state(struct vivero_ref ref, const void *payload,
                                size_t size, int64_t timeout_ns)
{
    VV_CHECK(payload != NULL, "vivero_worker_replace_state(): no state");
    return ask_for(ref, new_request(VV_REQUEST_REPLACE_STATE, payload, size),
                   NULL, timeout_ns);
}

/* ---- Stopping --------------------------------------------------------------------------- */

static bool is_same(const struct vivero_exit *a, const struct vivero_exit *b)
{
    return a->kind == b->kind && a->code == b->code;
}

struct vv_state_request *vv_single_new_stop(void)
{
    struct vv_state_request *request = new_request(VV_REQUEST_STOP, NULL, 0);

    if (request != NULL) {
        request->request.ends = true;
    }
    return request;
}

void vv_single_stop_by(struct vivero_ref ref, struct vv_state_request *request,
                       const struct vivero_exit *reason)
{
    struct vv_single *single;
    bool known;

    if (find(ref, &single) == VIVERO_OK) {
        request->reason = *reason;
        /* relaxed: handed over by the entity's lock. */
        atomic_store_explicit(&request->request.word, 0, memory_order_relaxed);
        known = begin_wait(single);
        (void)vv_request_send(&request->request, ref, VIVERO_FOREVER);
        if (known) {
            end_wait();
        }
        vv_entity_release(&single->entity);
    }
    vv_thread_reap();
}

static int stop(struct vv_single *single, const struct vivero_exit *reason,
                int64_t timeout_ns)
{
    struct vv_state_request *request = vv_single_new_stop();
    int error;

    if (request == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    request->reason = *reason;
    error = ask(single, &request->request, timeout_ns);
    if (error == VIVERO_OK || error == VIVERO_E_DOWN) {
        error =
            is_same(&request->request.exit, reason) ? VIVERO_OK : VIVERO_E_DOWN;
        vv_here()->last_exit = request->request.exit;
    }
    vv_request_release(&request->request);
    return error;
}

int vivero_worker_stop(struct vivero_ref ref, const struct vivero_exit *reason,
                       int64_t timeout_ns)
{
    static const struct vivero_exit normal = {.kind = VIVERO_EXIT_NORMAL};
    struct vv_single *single;
    int error;

    VV_CHECK(reason == NULL || reason->kind != VIVERO_EXIT_NONE,
             "vivero_worker_stop(): the reason has no kind");
    error = find(ref, &single);
    if (error == VIVERO_OK) {
        error = stop(single, reason != NULL ? reason : &normal, timeout_ns);
        vv_entity_release(&single->entity);
    }
    if (error != VIVERO_E_FORKED) {
        vv_thread_reap(); /* it has ended, maybe by itself a moment ago */
    }
    return error;
}

/* ---- What its handler may know ----------------------------------------------------- */

bool vv_single_is_given_up(const struct vivero_entity *worker)
{
    /* sync(single.given_up): from then on it is refused. */
    return worker->single != NULL &&
           atomic_load_explicit(&worker->single->given_up,
                                memory_order_acquire);
}

bool vv_single_is_asked_to_end(const struct vivero_entity *worker)
{
    return worker->single != NULL &&
           (vv_single_is_given_up(worker) ||
            vv_entity_is_asked_to_end(&worker->single->entity));
}

/* ---- Looking -------------------------------------------------------------------------------- */

/* Who starts it is told when init is over. */
static enum vivero_worker_state
state_of_locked(const struct vv_single *single,
                const struct vivero_worker_snapshot *seen)
{
    if (single->kind == VV_SINGLE_CALLBACKS &&
        (single->entity.flags & VV_ENTITY_TOLD) == 0) {
        return VIVERO_WORKER_STARTING;
    }
    return seen->busy_for_ns > 0 ? VIVERO_WORKER_BUSY : VIVERO_WORKER_IDLE;
}

static void fill_numbers(struct vv_single *single,
                         struct vivero_worker_info *info)
{
    uint64_t handled;
    uint64_t failed;

    vv_entity_hold(&single->entity);
    handled = single->handled;
    failed = single->failed;
    if (single->stage != NULL) {
        vv_worker_look(single->stage, &info->worker);
    }
    info->worker.state = state_of_locked(single, &info->worker);
    info->worker.handled += handled;
    info->worker.failed += failed;
    info->worker.queued = single->entity.queued;
    info->traps_exits = (single->entity.flags & VV_ENTITY_TRAPS) != 0;
    info->suspended = (single->entity.flags & VV_ENTITY_SUSPENDED) != 0;
    vv_entity_unlock(&single->entity);
}

int vivero_worker_info(struct vivero_ref ref, struct vivero_worker_info *info)
{
    struct vv_single *single;
    int error;

    VV_CHECK(info != NULL, "vivero_worker_info(): no place for it");
    error = find(ref, &single);
    if (error != VIVERO_OK) {
        return error;
    }
    memset(info, 0, sizeof(*info));
    fill_numbers(single, info);
    memcpy(info->label, single->label, sizeof(info->label));
    vv_name_copy(&single->entity, info->name, sizeof(info->name));
    vv_entity_count_ties(&single->entity, &info->links, &info->monitors,
                         &info->monitored);
    info->shares_carriers = single->carriers != NULL;
    vv_entity_release(&single->entity);
    return VIVERO_OK;
}
