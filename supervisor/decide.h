/* SPDX-License-Identifier: MIT */
#ifndef SUPERVISOR_DECIDE_H
#define SUPERVISOR_DECIDE_H

/* What a supervisor should do, as a pure function: (state, event, now) ->
 * actions. No thread, no lock, no clock. Model and invariants: decide.c. */

#include <vivero/exit.h>
#include <vivero/supervisor.h>

#include "base/memory.h"
#include "supervisor/budget.h"
#include "timer/heap.h"

#include <stdbool.h>
#include <stdint.h>

/* The first three stop and start children one after another, the others all at
 * once. */
enum vv_strategy {
    VV_ONE_FOR_ONE = VIVERO_ONE_FOR_ONE,
    VV_ONE_FOR_ALL = VIVERO_ONE_FOR_ALL,
    VV_REST_FOR_ONE = VIVERO_REST_FOR_ONE,
    VV_DYNAMIC = VIVERO_DYNAMIC, /* who has ended is forgotten */
    VV_CREW /* a pool's: nobody is forgotten; one that failed, or could not
               start, stays until it is told to START or STOP; a spent budget of
               its own is the end for all */
};

enum vv_child_phase {
    VV_CHILD_STOPPED = 0,
    VV_CHILD_STARTING,
    VV_CHILD_RUNNING,
    VV_CHILD_FALLEN,  /* ended while others had their turn; its own comes */
    VV_CHILD_WAITING, /* is to be started: when its turn comes, or is due */
    VV_CHILD_STOPPING,
    VV_CHILD_PHASE_COUNT
};

/* What like children have in common. */
struct vv_policy {
    enum vivero_restart restart;
    bool significant;
    int64_t shutdown_ns;      /* VIVERO_FOREVER, VIVERO_BRUTAL_KILL */
    int64_t start_timeout_ns; /* VIVERO_FOREVER: none */
    int64_t backoff_ns;       /* 0: none */
    int64_t backoff_max_ns;
};

/* A place in the queue of those whose turn comes later. */
struct vv_turn {
    struct vv_turn *previous;
    struct vv_turn *next;
    struct vv_child *child; /* NULL: the queue knows what it is for */
};

/* Lives in whatever the child is for its supervisor. Only decide writes it. */
struct vv_child {
    struct vv_turn turn;       /* but this: the caller's, for LATER */
    struct vv_child *previous; /* in start order */
    struct vv_child *next;
    struct vv_child *next_to_do; /* among those with actions to take */
    const struct vv_policy *policy;
    struct vv_budget *own; /* NULL: the supervisor's counts */
    struct vv_heap_node due;
    int64_t started_ns;
    enum vv_child_phase phase;
    enum vivero_exit_kind ended_as;
    uint32_t to_do;    /* bits of actions not yet taken */
    uint32_t in_a_row; /* failures without a stable run between them */
    uint32_t starved;  /* starts in a row refused for want of resources */
    bool fresh;        /* has never been up: not kept when it can not start */
    bool asked;        /* this start was asked for: is not tried again */
    bool paid;         /* the budget was spent for the start it waits for */
    bool killed;       /* this start, or stop, has run out of time */
    bool queued;       /* a LATER has not been answered by its TURN */
    bool quarantined;
};

enum vv_event_kind {
    VV_EVENT_OPEN = 0,  /* start all, in order */
    VV_EVENT_ADD,       /* start this child, which is stopped */
    VV_EVENT_STARTED,   /* it is up */
    VV_EVENT_IGNORED,   /* it wants not to exist, and that is fine */
    VV_EVENT_STARVED,   /* it could not be started for want of a thread */
    VV_EVENT_EXITED,    /* it has ended, failed, or could not start */
    VV_EVENT_FINISHED,  /* it has ended and is not to be started again */
    VV_EVENT_EXHAUSTED, /* it failed, and nothing can be put in its place */
    VV_EVENT_REMOVE,    /* stop this child */
    VV_EVENT_TURN,      /* the answer to LATER */
    VV_EVENT_TICK,      /* time has passed */
    VV_EVENT_STOP,      /* stop everything */
    VV_EVENT_COUNT
};

struct vv_event {
    enum vv_event_kind kind;
    struct vv_child *child;       /* NULL for OPEN, TICK, STOP */
    enum vivero_exit_kind reason; /* of EXITED */
    int64_t now_ns;
};

/* In the order in which those of one child are to be performed. */
enum vv_action_kind {
    VV_ACTION_REPORT_ENDED = 0,      /* it ended against its restart type */
    VV_ACTION_REPORT_START_ERROR,    /* it could not start */
    VV_ACTION_REPORT_SHUTDOWN_ERROR, /* it did not end as it was asked to */
    VV_ACTION_REFUSE,     /* the start that was asked for failed: that is all */
    VV_ACTION_QUARANTINE, /* its own budget is spent, it is left alone */
    VV_ACTION_GIVE_UP,    /* the budget is spent; all are stopped */
    VV_ACTION_AUTO_SHUTDOWN, /* it was significant; all are stopped */
    VV_ACTION_START,
    VV_ACTION_STOP,
    VV_ACTION_KILL,  /* answered by EXITED at once */
    VV_ACTION_LATER, /* answered by TURN, after what is queued already and when
                        vv_decide_is_busy() does not hold */
    VV_ACTION_DROP,  /* it is forgotten; its memory is the caller's again */
    VV_ACTION_UP,    /* of OPEN: all have started */
    VV_ACTION_DOWN,  /* stopping, and the last child has ended */
    VV_ACTION_COUNT
};

struct vv_action {
    enum vv_action_kind kind;
    struct vv_child *child; /* NULL for UP, DOWN */
};

struct vv_decide_options {
    enum vv_strategy strategy;
    enum vivero_auto_shutdown auto_shutdown;
    uint32_t intensity; /* VV_INTENSITY_UNLIMITED: no bound */
    int64_t period_ns;
    uint64_t seed; /* of the jitter */
};

/* What all are doing. */
enum vv_round {
    VV_ROUND_NONE = 0,
    VV_ROUND_OPENING,  /* the first start */
    VV_ROUND_HALTING,  /* a group restart: the stops */
    VV_ROUND_REVIVING, /* and the starts */
    VV_ROUND_LEAVING   /* the last stop */
};

struct vv_decide {
    struct vv_decide_options options;
    struct vv_account *account;
    struct vv_child *head; /* in start order */
    struct vv_child *tail;
    struct vv_child *to_do_head;
    struct vv_child *to_do_tail;
    struct vv_heap dues;
    struct vv_budget shared;
    uint64_t random;
    uint32_t counts[VV_CHILD_PHASE_COUNT];
    uint32_t significant; /* significant children that are not stopped */
    enum vv_round round;
    struct vv_child *cursor; /* of the round: who is next; NULL: nobody */
    struct vv_child *first;  /* HALTING: the group's first; NULL: all */
    bool up;                 /* actions not yet taken */
    bool down;
    bool gone; /* DOWN was said */
};

/* Errors: NO_MEMORY, and then there is nothing to undo. */
int vv_decide_init(struct vv_decide *decide,
                   const struct vv_decide_options *options,
                   struct vv_account *account);
void vv_decide_fini(struct vv_decide *decide);

/* Put a stopped child behind the others. policy, and own if not NULL, stay as
 * long as the child. */
void vv_decide_attach(struct vv_decide *decide, struct vv_child *child,
                      const struct vv_policy *policy, struct vv_budget *own);
/* And take it out again; it is stopped. */
void vv_decide_detach(struct vv_decide *decide, struct vv_child *child);

/* Feed one event. The actions that follow from it must all be taken before the
 * next one. */
void vv_decide(struct vv_decide *decide, const struct vv_event *event);
/* The next action to perform. False: there is none left. */
bool vv_decide_take(struct vv_decide *decide, struct vv_action *action);

/* When the next TICK is due; VIVERO_FOREVER: never. */
int64_t vv_decide_due(const struct vv_decide *decide);
/* Whether something is under way for which OPEN, ADD, REMOVE, TURN and detaching
 * have to wait. */
bool vv_decide_is_busy(const struct vv_decide *decide);
/* Whether it is stopping everything, or has. */
bool vv_decide_is_leaving(const struct vv_decide *decide);
/* All children, whatever their phase. */
uint32_t vv_decide_count(const struct vv_decide *decide);

#endif
