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

/* ---- Life ------------------------------------------------------------------- */

int vv_decide_init(struct vv_decide *decide,
                   const struct vv_decide_options *options,
                   struct vv_account *account)
{
    memset(decide, 0, sizeof(*decide));
    decide->options = *options;
    decide->account = account;
    decide->random = options->seed;
    return vv_budget_init(&decide->shared, options->intensity,
                          options->period_ns, account);
}

void vv_decide_fini(struct vv_decide *decide)
{
    vv_budget_fini(&decide->shared, decide->account);
}

void vv_decide_attach(struct vv_decide *decide, struct vv_child *child,
                      const struct vv_policy *policy, struct vv_budget *own)
{
    *child = (struct vv_child){
        .previous = decide->tail, .policy = policy, .own = own, .fresh = true};
    if (decide->tail != NULL) {
        decide->tail->next = child;
    } else {
        decide->head = child;
    }
    decide->tail = child;
    decide->counts[VV_CHILD_STOPPED]++;
}

/* A round walks backwards while it stops, forwards while it starts. */
static struct vv_child *beside(const struct vv_decide *decide,
                               const struct vv_child *child)
{
    return decide->round == VV_ROUND_OPENING ||
                   decide->round == VV_ROUND_REVIVING
               ? child->next
               : child->previous;
}

void vv_decide_detach(struct vv_decide *decide, struct vv_child *child)
{
    VV_ASSERT(child->phase == VV_CHILD_STOPPED && child != decide->first);
    if (decide->cursor == child) {
        decide->cursor = beside(decide, child);
    }
    if (child->previous != NULL) {
        child->previous->next = child->next;
    } else {
        decide->head = child->next;
    }
    if (child->next != NULL) {
        child->next->previous = child->previous;
    } else {
        decide->tail = child->previous;
    }
    decide->counts[VV_CHILD_STOPPED]--;
}

/* ---- Phases, dues, actions ---------------------------------------------------- */

void vv_decide_set_phase(struct vv_decide *decide, struct vv_child *child,
                         enum vv_child_phase phase)
{
    vv_due_clear(&decide->dues, &child->due);
    if (child->policy->significant) {
        decide->significant -= child->phase != VV_CHILD_STOPPED;
        decide->significant += phase != VV_CHILD_STOPPED;
    }
    decide->counts[child->phase]--;
    decide->counts[phase]++;
    child->phase = phase;
}

void vv_decide_set_due(struct vv_decide *decide, struct vv_child *child,
                       int64_t now_ns, int64_t delay_ns)
{
    if (delay_ns < VIVERO_FOREVER - now_ns) {
        vv_due_set(&decide->dues, &child->due, now_ns + delay_ns);
    }
}

void vv_decide_act(struct vv_decide *decide, struct vv_child *child,
                   enum vv_action_kind kind)
{
    if (child->to_do == 0) {
        child->next_to_do = NULL;
        if (decide->to_do_head == NULL) {
            decide->to_do_head = child;
        } else {
            decide->to_do_tail->next_to_do = child;
        }
        decide->to_do_tail = child;
    }
    child->to_do |= UINT32_C(1) << kind;
}

static enum vv_action_kind lowest_action(uint32_t bits)
{
    uint32_t kind = 0;

    while ((bits >> kind & 1) == 0) {
        kind++;
    }
    return (enum vv_action_kind)kind;
}

static bool take_bit(bool *bit)
{
    bool was = *bit;

    *bit = false;
    return was;
}

bool vv_decide_take(struct vv_decide *decide, struct vv_action *action)
{
    struct vv_child *child = decide->to_do_head;

    if (child != NULL) {
        *action = (struct vv_action){lowest_action(child->to_do), child};
        child->to_do &= child->to_do - 1;
        if (child->to_do == 0) {
            decide->to_do_head = child->next_to_do;
        }
        return true;
    }
    if (take_bit(&decide->up)) {
        *action = (struct vv_action){VV_ACTION_UP, NULL};
        return true;
    }
    if (take_bit(&decide->down)) {
        *action = (struct vv_action){VV_ACTION_DOWN, NULL};
        return true;
    }
    return false;
}

/* ---- Looking -------------------------------------------------------------------- */

int64_t vv_decide_due(const struct vv_decide *decide)
{
    return decide->dues.root != NULL ? decide->dues.root->at_ns
                                     : VIVERO_FOREVER;
}

bool vv_decide_is_leaving(const struct vv_decide *decide)
{
    return decide->round == VV_ROUND_LEAVING;
}

bool vv_decide_is_busy(const struct vv_decide *decide)
{
    return vv_decide_is_parallel(decide)
               ? vv_decide_is_leaving(decide)
               : decide->round != VV_ROUND_NONE ||
                     decide->counts[VV_CHILD_STARTING] > 0 ||
                     decide->counts[VV_CHILD_STOPPING] > 0;
}

uint32_t vv_decide_count(const struct vv_decide *decide)
{
    uint32_t count = 0;

    for (int phase = 0; phase < VV_CHILD_PHASE_COUNT; phase++) {
        count += decide->counts[phase];
    }
    return count;
}

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
    } else if (child->phase == VV_CHILD_WAITING && !child->due.is_set) {
        vv_decide_restart(decide, child, now_ns);
    }
}

/* The heap's nodes are in the children. */
static struct vv_child *child_of(struct vv_due *due)
{
    return (struct vv_child *)((char *)due - offsetof(struct vv_child, due));
}

static void tick(struct vv_decide *decide, int64_t now_ns)
{
    while (decide->dues.root != NULL && decide->dues.root->at_ns <= now_ns) {
        struct vv_child *child = child_of(decide->dues.root);

        vv_due_clear(&decide->dues, &child->due);
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
