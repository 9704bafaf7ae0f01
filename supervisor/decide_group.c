/* SPDX-License-Identifier: MIT */
/* decide_group: what concerns all children, or those from one on.
 *
 * Model.    A round walks over the children with a cursor. Opening and reviving
 *           go forwards: start a child, wait until it is up, go on. Halting and
 *           leaving go backwards: stop one, wait until it has ended, go on.
 *           A group's restart is halting, then reviving:
 *
 *             one for all:    all children
 *             rest for one:   the one that failed and those after it
 *
 *           Reviving also starts children that were stopped before; those in
 *           quarantine stay there. Temporary ones are gone after halting.
 *           A child that can not start ends the reviving: those before it stay
 *           up, and it will try the whole round again when its turn comes.
 *           Leaving interrupts any other round; what runs in parallel is told
 *           to leave all at once. */
#include "base/check.h"
#include "supervisor/decide_private.h"

static void begin(struct vv_decide *decide, enum vv_round round,
                  struct vv_child *cursor)
{
    decide->round = round;
    decide->cursor = cursor;
}

void vv_decide_open(struct vv_decide *decide)
{
    VV_ASSERT(decide->round == VV_ROUND_NONE);
    begin(decide, VV_ROUND_OPENING, decide->head);
}

void vv_decide_revive(struct vv_decide *decide, struct vv_child *child,
                      int64_t now_ns)
{
    switch (decide->options.strategy) {
    case VV_ONE_FOR_ONE:
    case VV_DYNAMIC:
    case VV_CREW:
        vv_decide_start(decide, child, now_ns);
        break;
    case VV_ONE_FOR_ALL:
    case VV_REST_FOR_ONE:
        child->paid = false;
        vv_decide_set_phase(decide, child, VV_CHILD_STOPPED);
        decide->first =
            decide->options.strategy == VV_REST_FOR_ONE ? child : NULL;
        begin(decide, VV_ROUND_HALTING, decide->tail);
        break;
    }
}

static void tell_all_to_leave(struct vv_decide *decide, int64_t now_ns)
{
    struct vv_child *child = decide->tail;

    while (child != NULL) {
        struct vv_child *previous = child->previous;

        vv_decide_stop(decide, child, now_ns);
        child = previous;
    }
}

void vv_decide_leave(struct vv_decide *decide, int64_t now_ns)
{
    if (vv_decide_is_leaving(decide)) {
        return;
    }
    decide->first = NULL;
    begin(decide, VV_ROUND_LEAVING, decide->tail);
    if (vv_decide_is_parallel(decide)) {
        tell_all_to_leave(decide, now_ns);
    }
}

/* ---- The cursor ------------------------------------------------------------------- */

/* The next one to start; NULL: all are up. */
static struct vv_child *next_to_start(struct vv_decide *decide)
{
    struct vv_child *child = decide->cursor;

    while (child != NULL &&
           (child->phase != VV_CHILD_STOPPED || child->quarantined)) {
        child = child->next;
    }
    decide->cursor = child != NULL ? child->next : NULL;
    return child;
}

static void advance_starts(struct vv_decide *decide, int64_t now_ns)
{
    bool opening = decide->round == VV_ROUND_OPENING;
    struct vv_child *child = next_to_start(decide);

    if (child == NULL) {
        decide->round = VV_ROUND_NONE;
        decide->up = opening;
    } else {
        child->asked = opening;
        vv_decide_start(decide, child, now_ns);
    }
}

/* Stop the next one that runs. False: all of them are down. */
static bool advance_stops(struct vv_decide *decide, int64_t now_ns)
{
    while (decide->cursor != NULL && decide->counts[VV_CHILD_STOPPING] == 0) {
        struct vv_child *child = decide->cursor;

        decide->cursor = child == decide->first ? NULL : child->previous;
        vv_decide_stop(decide, child, now_ns);
    }
    return decide->counts[VV_CHILD_STOPPING] > 0;
}

static void advance_halting(struct vv_decide *decide, int64_t now_ns)
{
    if (!advance_stops(decide, now_ns)) {
        struct vv_child *first =
            decide->first != NULL ? decide->first : decide->head;

        decide->first = NULL;
        begin(decide, VV_ROUND_REVIVING, first);
        advance_starts(decide, now_ns);
    }
}

static void check_down(struct vv_decide *decide)
{
    if (decide->counts[VV_CHILD_STOPPED] == vv_decide_count(decide) &&
        !decide->gone) {
        decide->gone = true;
        decide->down = true;
    }
}

void vv_decide_advance(struct vv_decide *decide, int64_t now_ns)
{
    switch (decide->round) {
    case VV_ROUND_OPENING:
    case VV_ROUND_REVIVING:
        if (decide->counts[VV_CHILD_STARTING] == 0) {
            advance_starts(decide, now_ns);
        }
        break;
    case VV_ROUND_HALTING:
        advance_halting(decide, now_ns);
        break;
    case VV_ROUND_LEAVING:
        if (vv_decide_is_parallel(decide) || !advance_stops(decide, now_ns)) {
            check_down(decide);
        }
        break;
    case VV_ROUND_NONE:
        break;
    }
}
