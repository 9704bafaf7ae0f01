/* SPDX-License-Identifier: MIT */
#ifndef WORKER_CARRIERS_PRIVATE_H
#define WORKER_CARRIERS_PRIVATE_H

/* Threads that many workers share: carriers.c has the essay. */

#include <vivero/worker_carriers.h>

#include "os/mutex.h"
#include "worker/single_private.h"

struct vv_carrier {
    struct vivero_carriers *carriers;
    struct vv_carrier *next; /* of all; guarded by the carriers' lock */
    struct vv_thread thread;
    struct vivero_entity stage;
    struct vv_worker_spec none; /* of a stage without a worker */
    /* guarded by the carriers' lock */
    bool lost;    /* the worker it runs was given up, and it with that */
    bool blocked; /* it sleeps for somebody else */
};

struct vivero_carriers {
    /* fixed at open */
    char name[32];
    uint32_t threads;
    uint32_t threads_max;
    size_t stack_size;
    /* guarded by lock */
    struct vv_mutex lock;
    struct vv_cond work;    /* something is queued, or to be closed */
    struct vv_cond spare;   /* a spare thread is wanted */
    struct vv_cond changed; /* a worker or a thread has gone */
    struct vv_single *ready;
    struct vv_single *last_ready;
    struct vv_single *carried; /* all workers */
    struct vv_carrier *all;
    uint32_t existing;   /* threads, and places of those being started */
    uint32_t blocked;    /* of these, in a wait */
    uint32_t spares;     /* of these, standing by */
    uint32_t leaving;    /* of these, on their way out */
    uint32_t called;     /* were spares, and have not noticed yet */
    uint32_t number;     /* of the thread started last */
    uint32_t references; /* the opener's, and of lost threads */
    struct vv_state_request *farewell; /* close asks each worker with it; made
                                          at open, so that it cannot fail */
    bool closing;
};

/* ---- carriers.c ---- */

void vv_carriers_push_locked(struct vivero_carriers *carriers,
                             struct vv_single *single);
/* To look whether they are to leave. */
void vv_carriers_wake_all_locked(struct vivero_carriers *carriers);
/* Whether all workers have gone, and nobody will come. */
bool vv_carriers_are_over_locked(const struct vivero_carriers *carriers);
void vv_carriers_unlink_locked(struct vv_carrier *carrier);
/* Give back a reference; the last one frees. */
void vv_carriers_release(struct vivero_carriers *carriers);

/* ---- carriers_threads.c ---- */

/* For a place that is counted as existing; without a thread it is given back.
 * Errors: NO_MEMORY, LIMIT. */
int vv_carriers_start_thread(struct vivero_carriers *carriers);
/* The same for a thread that was lost: a failure is logged. */
void vv_carriers_fill_place(struct vivero_carriers *carriers);
/* Somebody for the place of a thread that sleeps or is lost. True: a further
 * thread is to be started, whose place is counted. */
bool vv_carriers_replace_locked(struct vivero_carriers *carriers);
/* Whether the calling thread is one of these. */
bool vv_carriers_are_here(const struct vivero_carriers *carriers);

#endif
