/* SPDX-License-Identifier: MIT */
/* decide: what a supervisor should do, as a pure function.
 *
 * Model.   Children in start order, each in a phase:
 *
 *            STOPPED --ADD, OPEN--> STARTING --STARTED--> RUNNING
 *             ^   ^                  |  ^                 |    |
 *             |   '--EXITED, asked---'  |          EXITED |    | EXITED,
 *             |                  EXITED |                 |    | others busy
 *             |            (not asked)  v                 v    v
 *             |                       WAITING <--restart?-+-- FALLEN
 *             |                          |
 *             '--EXITED-- STOPPING <--REMOVE, STOP, a group's restart
 *
 *          Only one of children that are started and stopped one after another
 *          is STARTING or STOPPING at any time. What concerns many of them is a
 *          round (decide_group.c): a cursor walks over the children, to the next
 *          one when the last has answered.
 * Budget.  Each attempt to start a child again, and so each restart of a group,
 *          costs one unit: of the child's own budget if it has one, of all
 *          children's otherwise. A start that was asked for costs nothing and
 *          is not tried again. A start that the system refused (STARVED) waits
 *          and costs nothing. A child that can not be replaced (EXHAUSTED)
 *          is like a budget that is spent.
 * Turns.   What has to wait while the supervisor is busy, and an attempt that
 *          follows a failed one, is put off by LATER: the caller answers by TURN
 *          after all that was queued before. A TURN that has lost its meaning
 *          is ignored.
 * Time.    A child waits for one instant at most: the end of its start, of its
 *          stop, of its delay. All of them are in one heap.
 * Invariants.
 *   I1 START is only asked for a child in STARTING, STOP and KILL only in
 *      STOPPING; KILL also in STARTING, when the start takes too long.
 *   I2 In a crew a child that fails while it is being stopped is told again:
 *      what should have obeyed may be gone.
 *   I3 Every START is answered by STARTED, IGNORED, STARVED, EXITED or FINISHED,
 *      every STOP and KILL by EXITED or FINISHED.
 *   I4 After LEAVING began nothing is started. DOWN comes once.
 *   I5 An event touches the child it is about; all others only when all are
 *      stopped or a group restarts. So its cost does not depend on how many
 *      children there are, but for the heap's logarithm.
 * Rejected. An array of actions: its bound is the number of children, which
 *          grows while nothing may be allocated. Actions are bits in the child,
 *          each at most once in an event. */
#include <vivero/time.h>

#include "base/check.h"
#include "supervisor/decide_private.h"

#include <string.h>

/* ---- Events ------------------------------------------------------------------------ */

static void add(struct vv_decide *decide, struct vv_child *child,
                int64_t now_ns)
{
    if (vv_decide_is_busy(decide) || child->phase != VV_CHILD_STOPPED) {
        return;
    }
    if (child->quarantined) {
        child->quarantined = false;
        vv_budget_reset(child->own);
    }
    child->in_a_row = 0;
    child->asked = true;
    vv_decide_start(decide, child, now_ns);
}

static void started(struct vv_child *child, struct vv_decide *decide,
                    int64_t now_ns)
{
    if (child->phase == VV_CHILD_STARTING) {
        vv_decide_set_phase(decide, child, VV_CHILD_RUNNING);
        child->fresh = false;
        child->asked = false;
        child->starved = 0;
        child->started_ns = now_ns;
    }
}

static void ignored(struct vv_decide *decide, struct vv_child *child)
{
    if (child->phase == VV_CHILD_STARTING ||
        child->phase == VV_CHILD_STOPPING) {
        child->fresh = false;
        vv_decide_stopped(decide, child);
    }
}

static void exited(struct vv_decide *decide, const struct vv_event *event)
{
    struct vv_child *child = event->child;

    child->ended_as = event->reason;
    switch (child->phase) {
    case VV_CHILD_STARTING:
        vv_decide_failed_to_start(decide, child, event->now_ns);
        break;
    case VV_CHILD_RUNNING:
        if (vv_decide_is_busy(decide)) {
            vv_decide_set_phase(decide, child, VV_CHILD_FALLEN);
            vv_decide_later(decide, child);
        } else {
            vv_decide_fell(decide, child, event->now_ns);
        }
        break;
    case VV_CHILD_STOPPING:
        vv_decide_obeyed(decide, child);
        break;
    case VV_CHILD_STOPPED:
    case VV_CHILD_FALLEN:
    case VV_CHILD_WAITING:
    case VV_CHILD_PHASE_COUNT:
        break;
    }
}

static void turn(struct vv_decide *decide, struct vv_child *child,
                 int64_t now_ns)
{
    child->queued = false;
    if (vv_decide_is_leaving(decide)) {
        return;
    }
    VV_ASSERT(!vv_decide_is_busy(decide));
    if (child->phase == VV_CHILD_FALLEN) {
        vv_decide_fell(decide, child, now_ns);
    } else if (child->phase == VV_CHILD_WAITING &&
               !vv_heap_has(&decide->dues, &child->due)) {
        vv_decide_restart(decide, child, now_ns);
    }
}

/* The heap's nodes are in the children. */
static struct vv_child *child_of(struct vv_heap_node *due)
{
    return (struct vv_child *)((char *)due - offsetof(struct vv_child, due));
}

static void tick(struct vv_decide *decide, int64_t now_ns)
{
    struct vv_heap_node *due;

    while ((due = vv_heap_first(&decide->dues)) != NULL &&
           due->due_ns <= now_ns) {
        struct vv_child *child = child_of(due);

        vv_heap_remove(&decide->dues, due);
        if (child->phase == VV_CHILD_WAITING) {
            vv_decide_later(decide, child);
        } else {
            child->killed = true;
            vv_decide_act(decide, child, VV_ACTION_KILL);
        }
    }
}

static void dispatch(struct vv_decide *decide, const struct vv_event *event)
{
    switch (event->kind) {
    case VV_EVENT_OPEN:
        vv_decide_open(decide);
        break;
    case VV_EVENT_ADD:
        add(decide, event->child, event->now_ns);
        break;
    case VV_EVENT_STARTED:
        started(event->child, decide, event->now_ns);
        break;
    case VV_EVENT_IGNORED:
        ignored(decide, event->child);
        break;
    case VV_EVENT_STARVED:
        vv_decide_starved(decide, event->child, event->now_ns);
        break;
    case VV_EVENT_EXITED:
        exited(decide, event);
        break;
    case VV_EVENT_EXHAUSTED:
        event->child->ended_as = event->reason;
        vv_decide_exhausted(decide, event->child, event->now_ns);
        break;
    case VV_EVENT_FINISHED:
        vv_decide_stopped(decide, event->child);
        break;
    case VV_EVENT_REMOVE:
        vv_decide_stop(decide, event->child, event->now_ns);
        break;
    case VV_EVENT_TURN:
        turn(decide, event->child, event->now_ns);
        break;
    case VV_EVENT_TICK:
        tick(decide, event->now_ns);
        break;
    case VV_EVENT_STOP:
        vv_decide_leave(decide, event->now_ns);
        break;
    case VV_EVENT_COUNT:
        break;
    }
}

void vv_decide(struct vv_decide *decide, const struct vv_event *event)
{
    VV_ASSERT(decide->to_do_head == NULL);
    dispatch(decide, event);
    vv_decide_advance(decide, event->now_ns);
}
