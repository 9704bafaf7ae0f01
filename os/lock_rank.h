/* SPDX-License-Identifier: MIT */
#ifndef OS_LOCK_RANK_H
#define OS_LOCK_RANK_H

/* Every mutex has a rank; a thread that holds one may only take higher ranks,
 * so this list is the order of acquisition, top to bottom. */
enum vv_lock_rank {
    VV_RANK_NONE = 0,
    VV_RANK_FAULT,      /* how many pools drain after a fault */
    VV_RANK_RUNTIME,    /* opening the first object, closing the last */
    VV_RANK_CHILDREN,   /* pools that are children of supervisors */
    VV_RANK_POOL,       /* a pool's size and phase: resize, drain, close */
    VV_RANK_WORKER,     /* a worker's last word and last exit */
    VV_RANK_NAMES,      /* which entity has which name */
    VV_RANK_TIES,       /* links and monitors, process-wide */
    VV_RANK_ERRANDS,    /* messages that wait for their time */
    VV_RANK_WATCH,      /* which workers are looked at for how long they run */
    VV_RANK_ENTITY,     /* one entity: its inbox, its end */
    VV_RANK_CARRIERS,   /* the ready queue of shared carriers */
    VV_RANK_SUPERVISOR, /* a supervisor's inbox */
    VV_RANK_DIRECTORY,  /* free slots of entities */
    VV_RANK_WAITS,      /* who waits for whom, process-wide */
    VV_RANK_REPLY,      /* the depot of reply slots */
    VV_RANK_FUTURES,    /* who is told about which future, process-wide */
    VV_RANK_ENVELOPES,  /* the depot of envelopes */
    VV_RANK_HEIRS,      /* threads that ended and are to be joined */
    VV_RANK_THREADS,    /* the list of threads that use the library */
    VV_RANK_TIMER,      /* armed timers: started under any other mutex */
    VV_RANK_COUNT
};

#endif
