/* SPDX-License-Identifier: MIT */
/* decide_child: what becomes of one child. The drawing is in decide.c.
 *
 * Ended by itself, from RUNNING:
 *
 *                 permanent          transient           temporary
 *   gracefully    report, restart    stopped             forgotten
 *   otherwise     report, restart    report, restart     report, forgotten
 *
 * "Gracefully" is normal, shutdown, shutdown with a reason. A significant child
 * that is not restarted may be the end of the supervisor. A dynamic supervisor
 * forgets what is stopped. */
#include <vivero/time.h>

#include "supervisor/decide_private.h"

/* A start that the system refused is tried again after so long, doubling. */
#define STARVED_BASE_NS VIVERO_MILLISECONDS(10)
#define STARVED_MAX_NS VIVERO_SECONDS(1)

static bool is_graceful(enum vivero_exit_kind kind)
{
    return kind == VIVERO_EXIT_NORMAL || kind == VIVERO_EXIT_SHUTDOWN ||
           kind == VIVERO_EXIT_SHUTDOWN_WITH;
}

/* ---- Starting and stopping --------------------------------------------------- */

void vv_decide_start(struct vv_decide *decide, struct vv_child *child,
                     int64_t now_ns)
{
    vv_decide_set_phase(decide, child, VV_CHILD_STARTING);
    vv_decide_set_due(decide, child, now_ns, child->policy->start_timeout_ns);
    child->paid = false;
    child->killed = false;
    vv_decide_act(decide, child, VV_ACTION_START);
}

static bool is_kept(const struct vv_decide *decide,
                    const struct vv_child *child)
{
    return decide->options.strategy == VV_CREW ||
           (decide->options.strategy != VV_DYNAMIC &&
            child->policy->restart != VIVERO_TEMPORARY);
}

static void drop(struct vv_decide *decide, struct vv_child *child)
{
    vv_decide_detach(decide, child);
    vv_decide_act(decide, child, VV_ACTION_DROP);
}

void vv_decide_stopped(struct vv_decide *decide, struct vv_child *child)
{
    bool was_stopped = child->phase == VV_CHILD_STOPPED;

    vv_decide_set_phase(decide, child, VV_CHILD_STOPPED);
    child->asked = false;
    child->paid = false;
    child->starved = 0;
    if (!was_stopped && !is_kept(decide, child)) {
        drop(decide, child);
    }
}

static void tell_to_stop(struct vv_decide *decide, struct vv_child *child,
                         int64_t now_ns)
{
    int64_t shutdown_ns = child->policy->shutdown_ns;

    vv_decide_set_phase(decide, child, VV_CHILD_STOPPING);
    child->killed = shutdown_ns == VIVERO_BRUTAL_KILL;
    if (child->killed) {
        vv_decide_act(decide, child, VV_ACTION_KILL);
    } else {
        vv_decide_act(decide, child, VV_ACTION_STOP);
        vv_decide_set_due(decide, child, now_ns, shutdown_ns);
    }
}

static bool ended_as_asked(const struct vv_child *child)
{
    bool brutal = child->policy->shutdown_ns == VIVERO_BRUTAL_KILL;
    enum vivero_exit_kind due =
        brutal ? VIVERO_EXIT_KILLED : VIVERO_EXIT_SHUTDOWN;

    return child->ended_as == due ||
           (is_graceful(child->ended_as) &&
            child->policy->restart != VIVERO_PERMANENT);
}

void vv_decide_obeyed(struct vv_decide *decide, struct vv_child *child)
{
    if (decide->options.strategy == VV_CREW) {
        vv_decide_act(decide, child, VV_ACTION_STOP);
        return;
    }
    if (!ended_as_asked(child)) {
        vv_decide_act(decide, child, VV_ACTION_REPORT_SHUTDOWN_ERROR);
    }
    vv_decide_stopped(decide, child);
}

void vv_decide_stop(struct vv_decide *decide, struct vv_child *child,
                    int64_t now_ns)
{
    switch (child->phase) {
    case VV_CHILD_STARTING:
    case VV_CHILD_RUNNING:
        tell_to_stop(decide, child, now_ns);
        break;
    case VV_CHILD_WAITING:
        /* In a crew it failed before and stays for the word to leave. */
        if (decide->options.strategy == VV_CREW) {
            tell_to_stop(decide, child, now_ns);
        } else {
            vv_decide_stopped(decide, child);
        }
        break;
    case VV_CHILD_FALLEN:
        vv_decide_obeyed(decide, child);
        break;
    case VV_CHILD_STOPPED:
    case VV_CHILD_STOPPING:
    case VV_CHILD_PHASE_COUNT:
        break;
    }
}

void vv_decide_later(struct vv_decide *decide, struct vv_child *child)
{
    if (!child->queued) {
        child->queued = true;
        vv_decide_act(decide, child, VV_ACTION_LATER);
    }
}

/* ---- Restarting ------------------------------------------------------------------ */

static void check_auto_shutdown(struct vv_decide *decide,
                                struct vv_child *child, int64_t now_ns)
{
    enum vivero_auto_shutdown when = decide->options.auto_shutdown;

    if (child->policy->significant &&
        (when == VIVERO_AUTO_ANY_SIGNIFICANT ||
         (when == VIVERO_AUTO_ALL_SIGNIFICANT && decide->significant == 0))) {
        vv_decide_act(decide, child, VV_ACTION_AUTO_SHUTDOWN);
        vv_decide_leave(decide, now_ns);
    }
}

static void give_up(struct vv_decide *decide, struct vv_child *child,
                    int64_t now_ns)
{
    vv_decide_act(decide, child, VV_ACTION_GIVE_UP);
    if (decide->options.strategy != VV_CREW) {
        vv_decide_stopped(decide, child);
    }
    vv_decide_leave(decide, now_ns);
}

void vv_decide_exhausted(struct vv_decide *decide, struct vv_child *child,
                         int64_t now_ns)
{
    if (child->phase == VV_CHILD_STOPPING) {
        vv_decide_obeyed(decide, child);
    } else if (child->phase == VV_CHILD_STARTING ||
               child->phase == VV_CHILD_RUNNING) {
        vv_decide_act(decide, child, VV_ACTION_REPORT_ENDED);
        vv_decide_set_phase(decide, child, VV_CHILD_WAITING);
        give_up(decide, child, now_ns);
    }
}

static void spent(struct vv_decide *decide, struct vv_child *child,
                  int64_t now_ns)
{
    if (child->own == NULL || decide->options.strategy == VV_CREW) {
        give_up(decide, child, now_ns);
        return;
    }
    vv_decide_act(decide, child, VV_ACTION_QUARANTINE);
    child->quarantined = true;
    vv_decide_stopped(decide, child);
    check_auto_shutdown(decide, child, now_ns);
}

/* Before an attempt: its price, its delay. True: it may be made now. */
static bool prepare(struct vv_decide *decide, struct vv_child *child,
                    int64_t now_ns)
{
    struct vv_budget *budget =
        child->own != NULL ? child->own : &decide->shared;
    int64_t delay;

    if (!vv_budget_spend(budget, now_ns)) {
        spent(decide, child, now_ns);
        return false;
    }
    delay = vv_backoff_delay(child->policy->backoff_ns,
                             child->policy->backoff_max_ns, child->in_a_row,
                             &decide->random);
    child->in_a_row++;
    if (delay > 0) {
        child->paid = true;
        vv_decide_set_due(decide, child, now_ns, delay);
    }
    return delay == 0;
}

void vv_decide_restart(struct vv_decide *decide, struct vv_child *child,
                       int64_t now_ns)
{
    if (child->paid || prepare(decide, child, now_ns)) {
        vv_decide_revive(decide, child, now_ns);
    }
}

/* A run that outlasted the period was stable. */
static void end_run(const struct vv_decide *decide, struct vv_child *child,
                    int64_t now_ns)
{
    int64_t period_ns =
        child->own != NULL ? child->own->period_ns : decide->options.period_ns;

    if (now_ns - child->started_ns > period_ns) {
        child->in_a_row = 0;
    }
}

void vv_decide_fell(struct vv_decide *decide, struct vv_child *child,
                    int64_t now_ns)
{
    enum vivero_restart type = child->policy->restart;
    bool graceful = is_graceful(child->ended_as);

    if (type == VIVERO_PERMANENT || !graceful) {
        vv_decide_act(decide, child, VV_ACTION_REPORT_ENDED);
    }
    if (type == VIVERO_PERMANENT || (type == VIVERO_TRANSIENT && !graceful)) {
        end_run(decide, child, now_ns);
        vv_decide_set_phase(decide, child, VV_CHILD_WAITING);
        vv_decide_restart(decide, child, now_ns);
    } else {
        vv_decide_stopped(decide, child);
        check_auto_shutdown(decide, child, now_ns);
    }
}

/* ---- Starts that fail ----------------------------------------------------------------- */

/* lingers: what failed stays until it is told to stop. */
static void refuse(struct vv_decide *decide, struct vv_child *child,
                   bool lingers, int64_t now_ns)
{
    bool opening = decide->round == VV_ROUND_OPENING;

    vv_decide_act(decide, child, VV_ACTION_REFUSE);
    child->asked = false;
    vv_decide_set_phase(decide, child,
                        lingers ? VV_CHILD_STOPPING : VV_CHILD_STOPPED);
    if (lingers) {
        vv_decide_act(decide, child, VV_ACTION_STOP);
    } else if (opening) {
        vv_decide_leave(decide, now_ns);
    } else if (child->fresh && decide->options.strategy != VV_CREW) {
        drop(decide, child);
    }
}

void vv_decide_failed_to_start(struct vv_decide *decide, struct vv_child *child,
                               int64_t now_ns)
{
    vv_decide_act(decide, child, VV_ACTION_REPORT_START_ERROR);
    if (vv_decide_is_leaving(decide)) {
        vv_decide_stopped(decide, child);
    } else if (child->asked) {
        refuse(decide, child, decide->options.strategy == VV_CREW, now_ns);
    } else {
        vv_decide_set_phase(decide, child, VV_CHILD_WAITING);
        if (decide->round == VV_ROUND_REVIVING) {
            decide->round = VV_ROUND_NONE;
        }
        vv_decide_later(decide, child);
    }
}

static void wait_for_resources(struct vv_decide *decide, struct vv_child *child,
                               int64_t now_ns)
{
    vv_decide_set_phase(decide, child, VV_CHILD_WAITING);
    if (decide->round == VV_ROUND_REVIVING) {
        decide->round = VV_ROUND_NONE;
    }
    child->paid = true;
    vv_decide_set_due(decide, child, now_ns,
                      vv_backoff_delay(STARVED_BASE_NS, STARVED_MAX_NS,
                                       ++child->starved, &decide->random));
}

void vv_decide_starved(struct vv_decide *decide, struct vv_child *child,
                       int64_t now_ns)
{
    if (child->phase == VV_CHILD_STOPPING ||
        (child->phase == VV_CHILD_STARTING && vv_decide_is_leaving(decide))) {
        vv_decide_stopped(decide, child);
    } else if (child->phase == VV_CHILD_STARTING && child->asked) {
        refuse(decide, child, false, now_ns);
    } else if (child->phase == VV_CHILD_STARTING) {
        wait_for_resources(decide, child, now_ns);
    }
}
