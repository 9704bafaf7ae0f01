/* SPDX-License-Identifier: MIT */
#ifndef WORKER_WATCHDOG_H
#define WORKER_WATCHDOG_H

/* Who runs too long. The owner of the workers provides the thread that looks:
 * it calls vv_watch_look() for each worker at each tick. */

#include "worker/worker.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* What a family of workers is watched for. Fixed, but for `armed`. */
struct vv_watch {
    int64_t report_ns;   /* VIVERO_FOREVER: never */
    int64_t deadline_ns; /* VIVERO_FOREVER: none */
    int64_t tick_ns;
    bool replaces;    /* what is overdue is fenced: finishing needs a CAS */
    int nudge_signal; /* 0: none */
    void (*ring)(void *owner); /* there is something to watch again */
    void *owner;
    _Atomic uint32_t armed; /* the owner's tick is running */
};

/* The ticks of one owner; its thread only. */
struct vv_ticker {
    int64_t due_ns;      /* of the next tick; 0: dormant */
    int64_t forgiven_ns; /* what happened before does not count */
    bool close;          /* in this tick somebody was past half of a length */
};

/* What the watching thread remembers of one seat. Zeroed: nothing. */
struct vv_watched {
    uint64_t ticket; /* the running message it is about */
    int64_t cpu_ns;  /* the first reading of its thread's clock */
    int64_t read_ns; /* and when that was; 0: not yet */
    bool reported;
    bool overdue;
    bool nudged;
};

/* What the worker was doing when we looked. */
struct vv_look {
    struct vivero_entity *stage; /* whom we looked at, for those that lend it */
    uint64_t ticket;
    const struct vivero_operation *operation; /* NULL: init */
    int64_t busy_ns;
    enum vivero_exit_kind kind; /* HUNG_CPU or HUNG_BLOCKED */
    bool is_inline;             /* on its caller's thread: cannot be replaced */
};

enum vv_watch_verdict {
    VV_WATCH_FINE,
    VV_WATCH_REPORT, /* say once that it runs long */
    VV_WATCH_NUDGE,  /* interrupt it, once; overdue at the next tick */
    VV_WATCH_OVERDUE /* it is past its deadline, still */
};

/* From the two lengths in the options, VIVERO_FOREVER for none. */
int64_t vv_watch_tick(int64_t report_ns, int64_t deadline_ns);

/* Begin a tick at now. False: it is not time yet. Forgives all when it comes so
 * late that the process itself must have stood still. */
bool vv_watch_tick_begin(struct vv_ticker *ticker, const struct vv_watch *watch,
                         int64_t now_ns);

/* After the last look of a tick: while nobody is past half of a length the next
 * tick may come later. */
void vv_watch_tick_end(struct vv_ticker *ticker, const struct vv_watch *watch,
                       int64_t now_ns);

/* Look at one worker. Reads its thread's clock only if it has run for long. */
enum vv_watch_verdict vv_watch_look(const struct vv_watch *watch,
                                    struct vv_ticker *ticker,
                                    struct vv_watched *watched,
                                    struct vivero_entity *worker,
                                    int64_t now_ns, struct vv_look *look);

/* It is about to be looked at. */
void vv_watch_prefetch(const struct vivero_entity *worker);

/* Whether a worker may be running something now or before it arms the watch. */
bool vv_watch_is_active(const struct vivero_entity *worker);

/* Stop ticking, unless somebody is active: `active` looks at all workers. True:
 * the ticks have ended until `ring`. */
bool vv_watch_disarm(struct vv_watch *watch, struct vv_ticker *ticker,
                     bool (*active)(void *owner));

bool vv_watch_is_armed(const struct vv_watch *watch);
void vv_watch_arm_slowly(struct vv_watch *watch);
/* Interrupt the system call its thread may stand in. */
void vv_worker_nudge(const struct vivero_entity *worker);

/* By whoever is about to run a worker that was at rest. NULL: not watched. */
static inline void vv_watch_arm(struct vv_watch *watch)
{
    if (watch != NULL &&
        /* sync(watch.armed): seq_cst, total order because the worker's idle bit
         * was cleared (or `awake` set) before, and who disarms looks at those
         * afterwards. */
        atomic_load_explicit(&watch->armed, memory_order_seq_cst) == 0) {
        vv_watch_arm_slowly(watch);
    }
}

#endif
