/* SPDX-License-Identifier: MIT */
/* supervisor: a loop that is an entity, and whose children are wards.
 *
 * Model.    A blueprint is what a supervisor is made from: options and specs,
 *           checked and copied. The supervisor is an entity without messages, a
 *           loop with its thread, and one ward for each child. What decide()
 *           asks for is done to wards (ward.c); what others ask of it comes as
 *           requests through the entity's control lane (calls.c).
 * Threads.  Its own does everything. Others tell it (vv_loop_tell, a request, an
 *           exit signal) and look at `partitions`.
 * Invariants.
 *   I1 The reason of its end is settled by whatever comes first: a stop, an exit
 *      signal, a spent budget, a significant child, a first start that failed.
 *   I2 A call is answered once: when it is served, or when the ward it waits for
 *      has come to rest, or at the end.
 *   I3 A ward that was dropped is freed when the event that dropped it has been
 *      dealt with.
 * Locks.    The entity's, then the loop's (VV_RANK_SUPERVISOR). None is held over
 *           an operation of a child, a report, a hook.
 * Failure.  What is told needs no memory: notices are in the wards. A restart
 *           that gets no reference, or no memory for its entity, is tried again
 *           like one that gets no thread.
 * Shutdown. 1 vv_supervisor_begin_stop() settles the reason and tells STOP;
 *           2 children are stopped, calls answered CLOSING; 3 on DOWN the wards
 *           are freed and what children shared is closed; 4 the entity ends: its
 *           name is free, links fire, the owner is told; 5 the thread leaves its
 *           memory to the last reference, and itself to whoever reaps. Somebody
 *           who asks between 3 and 4 is told by the end.
 * Rejected. A supervisor on a shared carrier: a child's start may block it for as
 *           long as its time-out. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "os/thread.h"
#include "supervisor/supervisor_private.h"

#include <stdlib.h>
#include <string.h>

/* ---- Its end ---------------------------------------------------------------------- */

void vv_supervisor_begin_stop(struct vv_supervisor *supervisor,
                              const struct vivero_exit *reason)
{
    if (!supervisor->stopping) {
        supervisor->stopping = true;
        supervisor->reason = *reason;
        vv_loop_tell(&supervisor->loop, &supervisor->stop_notice, NULL,
                     VV_EVENT_STOP, NULL);
    }
}

/* decide() is stopping everything already. */
static void settle_reason(struct vv_supervisor *supervisor)
{
    if (!supervisor->stopping) {
        supervisor->stopping = true;
        supervisor->reason = vivero_reason(VIVERO_EXIT_SHUTDOWN, 0, NULL);
    }
}

/* ---- What decide() asks for --------------------------------------------------------- */

/* Why the ward of an action ended: the cause, if that was it. */
static const struct vivero_exit *reason_of(const struct vv_ward *ward,
                                           const struct vv_notice *cause)
{
    return cause->child == &ward->child && cause->event == VV_EVENT_EXITED
               ? &cause->exit
               : &ward->exit;
}

static void shutdown_error(struct vv_ward *ward,
                           const struct vivero_exit *reason)
{
    if (vv_supervisor_is_dynamic(ward->supervisor) &&
        vv_decide_is_leaving(&ward->supervisor->loop.decide)) {
        vv_report_collect(ward, reason);
    } else {
        vv_report(ward, VIVERO_REPORT_SHUTDOWN_ERROR, reason);
    }
}

static int error_of(const struct vivero_exit *exit)
{
    if (exit->kind == VIVERO_EXIT_TIMED_OUT) {
        return VIVERO_E_TIMED_OUT;
    }
    return exit->code < 0 ? exit->code : VIVERO_E_DOWN;
}

static void refused(struct vv_ward *ward, const struct vivero_exit *reason)
{
    struct vv_supervisor *supervisor = ward->supervisor;

    ward->refused = true;
    ward->exit = *reason;
    if (!supervisor->up && supervisor->open_error == VIVERO_OK) {
        supervisor->open_error = error_of(reason);
        supervisor->stopping = true;
        supervisor->reason = vivero_reason(
            VIVERO_EXIT_SHUTDOWN_WITH, supervisor->open_error, ward->spec->id);
        if (supervisor->failed != NULL) {
            memcpy(supervisor->failed, ward->spec->id, VV_NAME_SIZE);
        }
    }
}

static void start(struct vv_ward *ward)
{
    ward->by_request = ward->calls != NULL;
    if (ward->incarnation > 0) {
        ward->restarts++;
    }
    vv_ward_start(ward);
}

static void gave_up(struct vv_ward *ward, const struct vivero_exit *reason)
{
    ward->supervisor->gave_up = !ward->supervisor->stopping;
    vv_report(ward, VIVERO_REPORT_GAVE_UP, reason);
    settle_reason(ward->supervisor);
}

static void drop(struct vv_ward *ward)
{
    ward->next_dropped = ward->supervisor->dropped;
    ward->supervisor->dropped = ward;
}

static void perform_on(struct vv_ward *ward, enum vv_action_kind kind,
                       const struct vv_notice *cause)
{
    const struct vivero_exit *reason = reason_of(ward, cause);

    switch (kind) {
    case VV_ACTION_REPORT_ENDED:
        vv_report(ward, VIVERO_REPORT_ENDED, reason);
        break;
    case VV_ACTION_REPORT_START_ERROR:
        vv_report(ward, VIVERO_REPORT_START_ERROR, reason);
        break;
    case VV_ACTION_REPORT_SHUTDOWN_ERROR:
        shutdown_error(ward, reason);
        break;
    case VV_ACTION_REFUSE:
        refused(ward, reason);
        break;
    case VV_ACTION_QUARANTINE:
        vv_report(ward, VIVERO_REPORT_QUARANTINED, reason);
        break;
    case VV_ACTION_GIVE_UP:
        gave_up(ward, reason);
        break;
    case VV_ACTION_AUTO_SHUTDOWN:
        settle_reason(ward->supervisor);
        break;
    case VV_ACTION_START:
        start(ward);
        break;
    case VV_ACTION_STOP:
        vv_call_refuse_below(ward);
        vv_ward_stop(ward);
        break;
    case VV_ACTION_KILL:
        vv_call_refuse_below(ward);
        vv_ward_kill(ward);
        break;
    case VV_ACTION_DROP:
        drop(ward);
        break;
    case VV_ACTION_LATER:
    case VV_ACTION_UP:
    case VV_ACTION_DOWN:
    case VV_ACTION_COUNT:
        break;
    }
}

static void perform(void *ctx, const struct vv_action *action,
                    const struct vv_notice *cause)
{
    struct vv_supervisor *supervisor = ctx;

    if (action->child != NULL) {
        perform_on(vv_ward_of(action->child), action->kind, cause);
    } else if (action->kind == VV_ACTION_UP) {
        supervisor->up = true;
        supervisor->failed = NULL;
        supervisor->tells_up = true;
    }
}

/* ---- After an event ------------------------------------------------------------------ */

static bool is_own_ward(const struct vv_supervisor *supervisor,
                        const struct vv_ward *ward)
{
    return ward >= supervisor->wards &&
           ward < supervisor->wards + supervisor->blueprint->count;
}

static void publish_partition(struct vv_ward *ward, struct vivero_ref ref)
{
    struct vv_supervisor *supervisor = ward->supervisor;

    if (supervisor->partitions != NULL) {
        vv_mutex_lock(&supervisor->loop.lock);
        supervisor->partitions[ward - supervisor->wards] = ref;
        vv_mutex_unlock(&supervisor->loop.lock);
    }
}

static void follow(struct vv_ward *ward, const struct vv_notice *notice)
{
    bool over =
        notice->event == VV_EVENT_EXITED || notice->event == VV_EVENT_IGNORED;

    if (notice->event == VV_EVENT_STARTED &&
        ward->child.phase == VV_CHILD_RUNNING) {
        publish_partition(ward, ward->ref);
        vv_report(ward, VIVERO_REPORT_STARTED, NULL);
    }
    if (over) {
        publish_partition(ward, (struct vivero_ref){0, 0});
    }
    if (notice->event == VV_EVENT_EXITED) {
        ward->exit = notice->exit;
    }
    if (over && ward->child.phase != VV_CHILD_STARTING) {
        vv_ward_clear(ward); /* and no new one has been started */
    }
    vv_call_follow(ward, notice->event);
}

void vv_supervisor_forget(struct vv_ward *ward)
{
    if (is_own_ward(ward->supervisor, ward)) {
        vv_ward_clear(ward); /* the rest goes with the others */
    } else {
        vv_ward_free(ward);
    }
}

static void free_dropped(struct vv_supervisor *supervisor)
{
    while (supervisor->dropped != NULL) {
        struct vv_ward *ward = supervisor->dropped;

        supervisor->dropped = ward->next_dropped;
        vv_call_follow(ward, VV_EVENT_FINISHED);
        vv_supervisor_forget(ward);
    }
}

static void noticed(void *ctx, const struct vv_notice *notice)
{
    struct vv_supervisor *supervisor = ctx;

    if (notice->child != NULL) {
        follow(vv_ward_of(notice->child), notice);
    }
    if (supervisor->tells_up) {
        supervisor->tells_up = false; /* all its children were reported */
        vv_entity_started(supervisor->entity.ref, VIVERO_OK, NULL);
    }
    free_dropped(supervisor);
}

static void serve(void *ctx, struct vv_turn *turn)
{
    vv_call_serve(
        ctx, (struct vv_call *)((char *)turn - offsetof(struct vv_call, turn)));
}

/* ---- Its thread -------------------------------------------------------------------------- */

static void begin(void *ctx)
{
    struct vv_supervisor *supervisor = ctx;

    vv_entity_set_here(&supervisor->entity);
    vv_loop_tell(&supervisor->loop, &supervisor->open_notice, NULL,
                 VV_EVENT_OPEN, NULL);
}

void vv_supervisor_free_wards(struct vv_supervisor *supervisor)
{
    struct vv_child *child = supervisor->loop.decide.head;

    while (child != NULL) {
        struct vv_ward *ward = vv_ward_of(child);

        child = child->next;
        if (!is_own_ward(supervisor, ward)) {
            vv_decide_detach(&supervisor->loop.decide, &ward->child);
            vv_ward_free(ward);
        }
    }
    for (size_t i = 0; i < supervisor->blueprint->count; i++) {
        vv_ward_fini(&supervisor->wards[i]);
    }
}

static void say_why_not_up(struct vv_supervisor *supervisor)
{
    int error = supervisor->open_error != VIVERO_OK ? supervisor->open_error
                                                    : VIVERO_E_CLOSING;
    const struct vivero_exit exit =
        vivero_reason(VIVERO_EXIT_INIT_FAILED, error, supervisor->reason.text);

    vv_entity_started(supervisor->entity.ref, error, &exit);
}

static void last_word(const struct vv_supervisor *supervisor)
{
    const struct vivero_supervisor_options *options =
        &supervisor->blueprint->options;

    if (!supervisor->gave_up || supervisor->is_child) {
        return;
    }
    if (options->on_gave_up != NULL) {
        options->on_gave_up(supervisor->entity.ref, &supervisor->reason,
                            options->ctx);
    }
    if (options->abort_on_give_up) {
        abort();
    }
}

static void down(void *ctx)
{
    struct vv_supervisor *supervisor = ctx;

    vv_report_collected(supervisor);
    vv_supervisor_free_wards(supervisor);
    for (uint32_t i = supervisor->shared_count; i-- > 0;) {
        supervisor->shared[i].ops->close_shared(supervisor->shared[i].shared);
    }
    if (!supervisor->up) {
        say_why_not_up(supervisor);
    }
    last_word(supervisor);
    vv_entity_set_here(NULL);
    vv_thread_bequeath(); /* whoever hears of the end may join us */
    (void)vv_entity_end(&supervisor->entity, &supervisor->reason);
    vv_entity_release(&supervisor->entity);
}

const struct vv_loop_ops vv_supervisor_loop_ops = {.begin = begin,
                                                   .perform = perform,
                                                   .noticed = noticed,
                                                   .look = vv_supervisor_look,
                                                   .serve = serve,
                                                   .down = down};
