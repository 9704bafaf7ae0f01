/* SPDX-License-Identifier: MIT */
#ifndef SUPERVISOR_DECIDE_H
#define SUPERVISOR_DECIDE_H

/* What a supervisor should do, as a pure function: (state, event, now) ->
 * actions. No thread, no lock, no clock. */

#include <vivero/exit.h>

#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>

/* Restarts allowed in a window: at most `intensity` within `period_ns`. */
struct vv_budget {
    int64_t *times; /* ring of the latest restarts */
    uint32_t intensity;
    uint32_t count;
    uint32_t next;
    int64_t period_ns;
};

#define VV_INTENSITY_UNLIMITED UINT32_MAX

/* One restart at now. False: that is one too many: the ring is full and its
 * oldest entry is not older than the period (t >= now - period counts). */
bool vv_budget_spend(struct vv_budget *budget, int64_t now_ns);

/* Delay before restart number `in_a_row` (0: the first), doubling from base up
 * to max, each with up to a quarter of jitter taken off. base 0: none. */
int64_t vv_backoff_delay(int64_t base_ns, int64_t max_ns, uint32_t in_a_row,
                         uint64_t *random);

enum vv_child_phase {
    VV_CHILD_STOPPED = 0,
    VV_CHILD_STARTING,
    VV_CHILD_RUNNING,
    VV_CHILD_WAITING, /* to be started when its time has come */
    VV_CHILD_STOPPING,
    VV_CHILD_PHASE_COUNT
};

struct vv_child {
    enum vv_child_phase phase;
    bool was_up;       /* a failing start is a restart that failed */
    uint32_t in_a_row; /* failures without a stable run between them */
    uint32_t starved;  /* starts in a row refused for want of resources */
    int64_t started_ns;
    int64_t due_ns; /* of WAITING */
    struct vv_budget own;
};

enum vv_event_kind {
    VV_EVENT_ADD = 0,      /* start this child, which is stopped */
    VV_EVENT_STARTED,      /* it is up */
    VV_EVENT_START_FAILED, /* its init failed */
    VV_EVENT_STARVED,      /* it could not be started for want of a thread */
    VV_EVENT_EXITED,       /* it failed */
    VV_EVENT_FINISHED,     /* it ended and is not to be started again */
    VV_EVENT_EXHAUSTED,    /* it failed, and nothing can be put in its place */
    VV_EVENT_REMOVE,       /* stop this child */
    VV_EVENT_TICK,         /* time has passed */
    VV_EVENT_STOP,         /* stop everything */
    VV_EVENT_COUNT
};

enum vv_action_kind {
    VV_ACTION_START,
    VV_ACTION_STOP,
    VV_ACTION_REFUSE,  /* the first start of this child failed: forget it */
    VV_ACTION_GIVE_UP, /* the budget is spent; STOPs follow */
    VV_ACTION_DOWN     /* stopping, and the last child has ended */
};

struct vv_action {
    enum vv_action_kind kind;
    uint32_t child;
};

struct vv_decide_options {
    uint32_t children_max;
    uint32_t intensity; /* VV_INTENSITY_UNLIMITED: no bound */
    bool budget_per_child;
    int64_t period_ns;
    int64_t backoff_ns;
    int64_t backoff_max_ns;
    uint64_t seed;
};

struct vv_decide {
    struct vv_decide_options options;
    struct vv_account *account;
    struct vv_child *children; /* children_max of them */
    int64_t *times;            /* of all budgets */
    struct vv_budget shared;
    bool stopping;
    bool down;
    uint64_t random;
};

/* Errors: NO_MEMORY, and then there is nothing to undo. */
int vv_decide_init(struct vv_decide *decide,
                   const struct vv_decide_options *options,
                   struct vv_account *account);
void vv_decide_fini(struct vv_decide *decide);

/* At most this many actions come of one event. */
uint32_t vv_decide_actions_max(const struct vv_decide *decide);

/* Feed one event; writes the actions in the order they are to be performed and
 * returns how many. child does not matter for TICK and STOP. */
uint32_t vv_decide(struct vv_decide *decide, enum vv_event_kind event,
                   uint32_t child, int64_t now_ns, struct vv_action *actions);

/* When the next TICK is due; VIVERO_FOREVER: never. */
int64_t vv_decide_next(const struct vv_decide *decide);

#endif
