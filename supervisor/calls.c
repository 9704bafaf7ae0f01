/* SPDX-License-Identifier: MIT */
/* calls: what is asked of a supervisor while it runs.
 *
 * A call is a request whose memory the asker made, with all that the supervisor
 * needs to fulfil it, so that the supervisor need not find memory for it. It
 * stands in the queue of turns, and then, if it is about a child that has to
 * start or stop first, in that child's list. */
#include <vivero/error.h>

#include "base/check.h"
#include "supervisor/supervisor_private.h"

#include <string.h>

static void answer(struct vv_call *call, int result)
{
    vv_request_answer(&call->request, result, NULL);
}

/* ---- Arriving ------------------------------------------------------------------------ */

static bool is_in_transit(const struct vv_ward *ward)
{
    return ward != NULL && (ward->child.phase == VV_CHILD_STARTING ||
                            ward->child.phase == VV_CHILD_STOPPING);
}

void vv_call_arrived(struct vv_supervisor *supervisor, struct vv_call *call)
{
    struct vivero_ref from = call->request.from;

    if (call->request.kind == VV_CALL_STOP) {
        vv_supervisor_begin_stop(supervisor, &call->reason);
        answer(call, VIVERO_OK);
    } else if (is_in_transit(vv_ward_above(supervisor, from))) {
        answer(call, VIVERO_E_DEADLOCK);
    } else {
        call->turn.child = NULL;
        vv_loop_queue(&supervisor->loop, &call->turn);
    }
}

void vv_call_refuse_below(struct vv_ward *ward)
{
    struct vv_supervisor *supervisor = ward->supervisor;
    struct vv_turn *turn = supervisor->loop.first_turn;

    while (turn != NULL) {
        struct vv_turn *next = turn->next;

        if (turn->child == NULL) {
            struct vv_call *call =
                (struct vv_call *)((char *)turn -
                                   offsetof(struct vv_call, turn));

            if (vv_ward_above(supervisor, call->request.from) == ward) {
                vv_loop_unqueue(&supervisor->loop, turn);
                answer(call, VIVERO_E_DEADLOCK);
            }
        }
        turn = next;
    }
}

/* ---- Waiting for a ward ----------------------------------------------------------------- */

static void wait_for(struct vv_ward *ward, struct vv_call *call)
{
    struct vv_call **at = &ward->calls;

    while (*at != NULL) {
        at = &(*at)->next;
    }
    call->next = NULL;
    *at = call;
}

static void feed(struct vv_ward *ward, enum vv_event_kind event)
{
    vv_loop_feed(&ward->supervisor->loop,
                 &(struct vv_notice){.event = event, .child = &ward->child});
}

static int start_error(const struct vv_ward *ward)
{
    if (!ward->refused) {
        /* stopped before it was up */
        return ward->supervisor->stopping ? VIVERO_E_CLOSING : VIVERO_E_DOWN;
    }
    if (ward->exit.kind == VIVERO_EXIT_TIMED_OUT) {
        return VIVERO_E_TIMED_OUT;
    }
    return ward->exit.code < 0 ? ward->exit.code : VIVERO_E_DOWN;
}

/* What a call is answered now that its ward has come to rest; 1: not yet. */
static int result_of(const struct vv_ward *ward, const struct vv_call *call,
                     enum vv_event_kind event)
{
    bool stopped = ward->child.phase == VV_CHILD_STOPPED;

    if (call->request.kind == VV_CALL_TERMINATE) {
        return stopped ? VIVERO_OK : 1;
    }
    if (event == VV_EVENT_STARTED) {
        return VIVERO_OK;
    }
    if (!stopped) {
        return 1;
    }
    return ward->start_result == VIVERO_IGNORE ? VIVERO_OK : start_error(ward);
}

void vv_call_follow(struct vv_ward *ward, enum vv_event_kind event)
{
    struct vv_call **at = &ward->calls;

    while (*at != NULL) {
        struct vv_call *call = *at;
        int result = result_of(ward, call, event);

        if (result > 0) {
            at = &call->next;
            continue;
        }
        *at = call->next;
        call->ref =
            event == VV_EVENT_STARTED ? ward->ref : (struct vivero_ref){0, 0};
        answer(call, result);
    }
}

/* ---- Serving ------------------------------------------------------------------------------ */

/* What stands in the way of starting what has this id; 0: nothing. */
static int start_conflict(const struct vv_ward *ward, struct vv_call *call)
{
    switch (ward->child.phase) {
    case VV_CHILD_RUNNING:
    case VV_CHILD_STOPPING:
        call->ref = ward->ref;
        return VIVERO_E_EXISTS;
    case VV_CHILD_STARTING:
    case VV_CHILD_FALLEN:
    case VV_CHILD_WAITING:
        return VIVERO_E_AGAIN;
    case VV_CHILD_STOPPED:
    case VV_CHILD_PHASE_COUNT:
        break;
    }
    return VIVERO_OK;
}

static int check_new(struct vv_supervisor *supervisor, struct vv_call *call)
{
    const struct vivero_supervisor_options *options =
        &supervisor->blueprint->options;
    struct vv_ward *ward = call->ward;
    const struct vv_ward *same;
    int error;

    if (supervisor->partitions != NULL) {
        return VIVERO_E_UNSUPPORTED;
    }
    if (ward->spec == NULL) {
        if (supervisor->blueprint->template_ == NULL) {
            return VIVERO_E_INVALID;
        }
        vv_ward_init(ward, supervisor, supervisor->blueprint->template_);
    } else if (!vv_spec_fits(ward->spec, options)) {
        return VIVERO_E_INVALID;
    }
    if (vv_supervisor_is_dynamic(supervisor)) {
        return options->children_max > 0 &&
                       vv_decide_count(&supervisor->loop.decide) >=
                           options->children_max
                   ? VIVERO_E_LIMIT
                   : VIVERO_OK;
    }
    same = vv_ward_find(supervisor, ward->spec->id);
    if (same == NULL) {
        return VIVERO_OK;
    }
    error = start_conflict(same, call);
    return error != VIVERO_OK ? error : VIVERO_E_AGAIN;
}

static int serve_start(struct vv_supervisor *supervisor, struct vv_call *call)
{
    struct vv_ward *ward = call->ward;
    int error = check_new(supervisor, call);

    if (error == VIVERO_OK) {
        ward->supervisor = supervisor;
        error = vv_ward_attach(ward);
    }
    if (error != VIVERO_OK) {
        return error;
    }
    call->ward = NULL;
    wait_for(ward, call);
    feed(ward, VV_EVENT_ADD);
    return 1;
}

static int serve_terminate(struct vv_supervisor *supervisor,
                           struct vv_call *call, struct vv_ward *ward)
{
    if (ward->child.phase == VV_CHILD_STOPPED) {
        return VIVERO_OK;
    }
    if (vv_ward_above(supervisor, call->request.from) == ward) {
        return VIVERO_E_DEADLOCK;
    }
    call->request.kind = VV_CALL_TERMINATE;
    wait_for(ward, call);
    feed(ward, VV_EVENT_REMOVE);
    return 1;
}

static int serve_restart(struct vv_call *call, struct vv_ward *ward)
{
    int error = start_conflict(ward, call);

    if (error == VIVERO_OK) {
        ward->refused = false;
        wait_for(ward, call);
        feed(ward, VV_EVENT_ADD);
        return 1;
    }
    return error;
}

static int serve_delete(struct vv_supervisor *supervisor, struct vv_call *call,
                        struct vv_ward *ward)
{
    int error = start_conflict(ward, call);

    if (error == VIVERO_OK && supervisor->partitions != NULL) {
        error = VIVERO_E_UNSUPPORTED;
    }
    if (error == VIVERO_OK) {
        vv_loop_detach(&supervisor->loop, &ward->child);
        vv_supervisor_forget(ward);
    }
    return error;
}

/* By id, of a static supervisor. */
static int serve_by_id(struct vv_supervisor *supervisor, struct vv_call *call)
{
    struct vv_ward *ward;

    if (vv_supervisor_is_dynamic(supervisor)) {
        return VIVERO_E_UNSUPPORTED;
    }
    ward = vv_ward_find(supervisor, call->id);
    if (ward == NULL) {
        return VIVERO_E_NOT_FOUND;
    }
    switch ((enum vv_call_kind)call->request.kind) {
    case VV_CALL_TERMINATE:
        return serve_terminate(supervisor, call, ward);
    case VV_CALL_RESTART:
        return serve_restart(call, ward);
    case VV_CALL_DELETE:
        return serve_delete(supervisor, call, ward);
    case VV_CALL_WHICH:
        vv_info_fill(supervisor, call);
        break;
    case VV_CALL_START:
    case VV_CALL_TERMINATE_REF:
    case VV_CALL_COUNT:
    case VV_CALL_STOP:
        break;
    }
    return VIVERO_OK;
}

static int serve_terminate_ref(struct vv_supervisor *supervisor,
                               struct vv_call *call)
{
    struct vv_ward *ward;

    if (!vv_supervisor_is_dynamic(supervisor)) {
        return VIVERO_E_UNSUPPORTED;
    }
    ward = vv_ward_find_ref(supervisor, call->ref);
    if (ward == NULL) {
        return vivero_is_alive(call->ref) ? VIVERO_E_NOT_FOUND : VIVERO_OK;
    }
    return serve_terminate(supervisor, call, ward);
}

/* 1: it will be answered later. */
static int serve(struct vv_supervisor *supervisor, struct vv_call *call)
{
    if (vv_decide_is_leaving(&supervisor->loop.decide) ||
        supervisor->stopping) {
        return VIVERO_E_CLOSING;
    }
    switch ((enum vv_call_kind)call->request.kind) {
    case VV_CALL_START:
        return serve_start(supervisor, call);
    case VV_CALL_TERMINATE_REF:
        return serve_terminate_ref(supervisor, call);
    case VV_CALL_WHICH:
        if (call->one) {
            return serve_by_id(supervisor, call);
        }
        vv_info_fill(supervisor, call);
        return VIVERO_OK;
    case VV_CALL_COUNT:
        vv_info_count(supervisor, &call->counts);
        return VIVERO_OK;
    case VV_CALL_TERMINATE:
    case VV_CALL_RESTART:
    case VV_CALL_DELETE:
        return serve_by_id(supervisor, call);
    case VV_CALL_STOP:
        break;
    }
    return VIVERO_OK;
}

void vv_call_serve(struct vv_supervisor *supervisor, struct vv_call *call)
{
    int result = serve(supervisor, call);

    if (result <= 0) {
        answer(call, result);
    }
}
