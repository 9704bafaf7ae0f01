/* SPDX-License-Identifier: MIT */
/* manage: the public functions that ask a supervisor for something. What it does
 * then is in calls.c. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/thread.h"
#include "supervisor/supervisor_private.h"

#include <stddef.h>
#include <string.h>

/* ---- Asking ---------------------------------------------------------------------- */

/* What is left in it when its last holder lets go. */
static void fini_call(struct vv_request *request)
{
    vv_ward_free(((struct vv_call *)request)->ward);
}

static int new_call(enum vv_call_kind kind, size_t room, struct vv_call **fresh)
{
    int refused = vv_here_may_act();
    struct vv_call *call;

    if (refused != VIVERO_OK) {
        return refused;
    }
    if (room > SIZE_MAX / 2 / sizeof(struct vivero_child_info)) {
        return VIVERO_E_NO_MEMORY;
    }
    call = (struct vv_call *)vv_request_new(
        sizeof(*call) + room * sizeof(struct vivero_child_info), (int)kind);
    if (call == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    call->request.fini = fini_call;
    call->room = room;
    *fresh = call;
    return VIVERO_OK;
}

/* Ask, and wait; the call is still to be released. */
static int ask(struct vv_call *call, struct vivero_ref ref, int64_t timeout_ns)
{
    const struct vv_entity *here = vv_entity_here();
    struct vv_supervisor *supervisor;
    int error = VIVERO_OK;

    if (here != NULL && vivero_ref_equal(here->ref, ref)) {
        return VIVERO_E_DEADLOCK;
    }
    supervisor = vv_supervisor_find(ref, &error);
    if (supervisor == NULL) {
        return error;
    }
    error = vv_request_send(&call->request, ref, timeout_ns);
    vv_entity_release(&supervisor->entity);
    return error == VIVERO_E_DOWN && call->request.exit.kind != 0
               ? VIVERO_E_GONE /* it ended before it had heard of it */
               : error;
}

static void release(struct vv_call *call)
{
    vv_request_release(&call->request);
}

static int ask_about(enum vv_call_kind kind, struct vivero_ref ref,
                     const char *id, int64_t timeout_ns,
                     struct vv_call **answered)
{
    struct vv_call *call;
    int error;

    VV_CHECK(id != NULL,
             "a call about a child of a supervisor: its id is NULL");
    error = new_call(kind, 1, &call);
    if (error != VIVERO_OK) {
        return error;
    }
    if (strnlen(id, VV_NAME_SIZE) == VV_NAME_SIZE) {
        release(call);
        return VIVERO_E_NOT_FOUND;
    }
    memcpy(call->id, id, strlen(id));
    call->one = true;
    error = ask(call, ref, timeout_ns);
    *answered = call;
    if (error != VIVERO_OK && error != VIVERO_E_EXISTS) {
        release(call);
        *answered = NULL;
    }
    return error;
}

/* ---- Stopping -------------------------------------------------------------------------- */

int vivero_supervisor_stop(struct vivero_ref ref,
                           const struct vivero_exit *reason, int64_t timeout_ns)
{
    static const struct vivero_exit normal = {.kind = VIVERO_EXIT_NORMAL};
    int64_t deadline = vv_deadline_after(vivero_now(), timeout_ns);
    struct vivero_exit exit;
    struct vv_call *call;
    int error = new_call(VV_CALL_STOP, 0, &call);

    if (error != VIVERO_OK) {
        return error;
    }
    call->reason = reason != NULL ? *reason : normal;
    error = vv_entity_is_above_here(ref) ? VIVERO_E_DEADLOCK
                                         : ask(call, ref, timeout_ns);
    release(call);
    if (error == VIVERO_OK) {
        error = vv_entity_await_end(ref, deadline, &exit);
        return error == VIVERO_E_GONE ? VIVERO_OK : error;
    }
    if (error == VIVERO_E_GONE) {
        vv_thread_reap(); /* it has ended, maybe a moment ago */
    }
    return error;
}

/* ---- Children -------------------------------------------------------------------------- */

static int start_child(struct vivero_ref ref, struct vv_ward *ward,
                       int64_t timeout_ns, struct vivero_ref *child)
{
    struct vv_call *call;
    int error = new_call(VV_CALL_START, 0, &call);

    if (error != VIVERO_OK) {
        vv_ward_free(ward);
        return error;
    }
    call->ward = ward;
    error = ask(call, ref, timeout_ns);
    if ((error == VIVERO_OK || error == VIVERO_E_EXISTS) && child != NULL) {
        *child = call->ref;
    }
    release(call);
    return error;
}

static struct vv_ward *new_ward(void)
{
    return vv_allocate(NULL, sizeof(struct vv_ward), _Alignof(max_align_t));
}

/* Before it asks: the spec alone; the supervisor looks at how it fits. */
static bool is_plausible(const struct vivero_child_spec *spec)
{
    enum vivero_spec_fault as_child = vivero_child_spec_check(
        spec, VIVERO_ONE_FOR_ONE, VIVERO_AUTO_ANY_SIGNIFICANT);

    return as_child == VIVERO_SPEC_OK ||
           vivero_child_spec_check(spec, VIVERO_DYNAMIC, VIVERO_AUTO_NEVER) ==
               VIVERO_SPEC_OK;
}

int vivero_supervisor_start_child(struct vivero_ref ref,
                                  const struct vivero_child_spec *spec,
                                  int64_t timeout_ns, struct vivero_ref *child)
{
    struct vv_supervisor *supervisor;
    struct vv_ward *ward;
    struct vv_spec *copy;
    int error = VIVERO_OK;

    if (spec == NULL) {
        return vivero_supervisor_start_child_with(ref, NULL, 0, timeout_ns,
                                                  child);
    }
    if (!is_plausible(spec)) {
        return VIVERO_E_INVALID;
    }
    supervisor = vv_supervisor_find(ref, &error);
    if (supervisor == NULL) {
        return error;
    }
    ward = new_ward();
    error =
        ward != NULL
            ? vv_spec_new(spec, supervisor->blueprint->options.period_ns, &copy)
            : VIVERO_E_NO_MEMORY;
    if (error == VIVERO_OK) {
        vv_ward_init(ward, supervisor, copy);
        vv_spec_release(copy);
        error = start_child(ref, ward, timeout_ns, child);
    } else {
        vv_ward_free(ward);
    }
    vv_entity_release(&supervisor->entity);
    return error;
}

int vivero_supervisor_start_child_with(struct vivero_ref ref,
                                       const void *argument, size_t size,
                                       int64_t timeout_ns,
                                       struct vivero_ref *child)
{
    struct vv_ward *ward = new_ward();

    if (ward == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    if (size > 0) {
        ward->argument = vv_allocate(NULL, size, _Alignof(max_align_t));
        if (ward->argument == NULL) {
            vv_ward_free(ward);
            return VIVERO_E_NO_MEMORY;
        }
        memcpy(ward->argument, argument, size);
        ward->argument_size = size;
    }
    return start_child(ref, ward, timeout_ns, child);
}

int vivero_supervisor_terminate_child(struct vivero_ref ref, const char *id,
                                      int64_t timeout_ns)
{
    struct vv_call *call = NULL;
    int error = ask_about(VV_CALL_TERMINATE, ref, id, timeout_ns, &call);

    if (call != NULL) {
        release(call);
    }
    return error;
}

int vivero_supervisor_terminate_ref(struct vivero_ref ref,
                                    struct vivero_ref child, int64_t timeout_ns)
{
    struct vv_call *call;
    int error = new_call(VV_CALL_TERMINATE_REF, 0, &call);

    if (error != VIVERO_OK) {
        return error;
    }
    call->ref = child;
    error = ask(call, ref, timeout_ns);
    release(call);
    return error;
}

int vivero_supervisor_restart_child(struct vivero_ref ref, const char *id,
                                    int64_t timeout_ns,
                                    struct vivero_ref *child)
{
    struct vv_call *call = NULL;
    int error = ask_about(VV_CALL_RESTART, ref, id, timeout_ns, &call);

    if (call != NULL) {
        if (child != NULL) {
            *child = call->ref;
        }
        release(call);
    }
    return error;
}

int vivero_supervisor_delete_child(struct vivero_ref ref, const char *id,
                                   int64_t timeout_ns)
{
    struct vv_call *call = NULL;
    int error = ask_about(VV_CALL_DELETE, ref, id, timeout_ns, &call);

    if (call != NULL) {
        release(call);
    }
    return error;
}

/* ---- Looking ----------------------------------------------------------------------------- */

int vivero_supervisor_which_children(struct vivero_ref ref,
                                     struct vivero_child_info *info,
                                     size_t room, size_t *count,
                                     int64_t timeout_ns)
{
    struct vv_call *call;
    int error = new_call(VV_CALL_WHICH, room, &call);

    if (error != VIVERO_OK) {
        return error;
    }
    error = ask(call, ref, timeout_ns);
    if (error == VIVERO_OK) {
        size_t copied = call->count < room ? call->count : room;

        if (copied > 0) {
            memcpy(info, call->info, copied * sizeof(*info));
        }
        *count = call->count;
    }
    release(call);
    return error;
}

int vivero_supervisor_which_child(struct vivero_ref ref, const char *id,
                                  struct vivero_child_info *info,
                                  int64_t timeout_ns)
{
    struct vv_call *call = NULL;
    int error = ask_about(VV_CALL_WHICH, ref, id, timeout_ns, &call);

    if (call != NULL) {
        *info = call->info[0];
        release(call);
    }
    return error;
}

int vivero_supervisor_count_children(struct vivero_ref ref,
                                     struct vivero_child_counts *counts,
                                     int64_t timeout_ns)
{
    struct vv_call *call;
    int error = new_call(VV_CALL_COUNT, 0, &call);

    if (error != VIVERO_OK) {
        return error;
    }
    error = ask(call, ref, timeout_ns);
    if (error == VIVERO_OK) {
        *counts = call->counts;
    }
    release(call);
    return error;
}
