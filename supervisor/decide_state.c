/* SPDX-License-Identifier: MIT */
/* decide_state: what decide() knows, and the actions that wait to be taken. */
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
    if (vv_heap_has(&decide->dues, &child->due)) {
        vv_heap_remove(&decide->dues, &child->due);
    }
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
        vv_heap_insert(&decide->dues, &child->due, now_ns + delay_ns);
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
    const struct vv_heap_node *due = vv_heap_first(&decide->dues);

    return due != NULL ? due->due_ns : VIVERO_FOREVER;
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
