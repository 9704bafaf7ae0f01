/* SPDX-License-Identifier: MIT */
#ifndef WORKER_WORKER_PRIVATE_H
#define WORKER_WORKER_PRIVATE_H

#include "os/fault.h"
#include "os/mutex.h"
#include "worker/worker.h"

#include <setjmp.h>
#include <stdatomic.h>

#define VV_SCRATCH 256 /* replies up to this size need no memory of their own */
#define VV_WORKER_NAME_MAX 64

struct vv_single;

enum vv_worker_phase {
    PHASE_ABSENT = 0,
    PHASE_STARTING,
    PHASE_RUNNING,
    PHASE_RESTARTING,
    PHASE_LEAVING
};

enum vv_worker_fate {
    FATE_OPEN = 0,
    FATE_LEFT,      /* the worker left; it said so */
    FATE_ABANDONED, /* its owner gave it up; whatever it says comes too late */
    FATE_FENCED     /* its message was taken from it: the same, and the seat
                       is somebody else's */
};

/* A message whose handler failed and that the next incarnation runs first. */
struct vv_again {
    bool full;
    struct vv_message message;
};

/* The pool's entity: what bodies know as self->entity. */
struct vivero_entity {
    /* fixed */
    struct vivero_self self;
    const struct vv_worker_spec *spec;
    struct vv_seat *seat;     /* NULL: a worker on its own */
    struct vv_waiter *waiter; /* own_waiter; the single worker's */
    struct vv_single *single; /* the worker on its own; NULL: a pool's */
    char name[VV_WORKER_NAME_MAX];
    void *payload;
    /* who runs the worker: its carrier, or a borrower of its idle bit */
    struct vv_message current;
    bool in_flight;    /* current has begun and is not settled */
    bool inline_call;  /* current runs on its caller's thread */
    bool ends;         /* the incarnation is over, for `exit` */
    bool final;        /* and so is the worker */
    bool owes_current; /* current's answer became a debt */
    bool fenced;       /* it has noticed that it is a zombie */
    uint64_t generation;
    struct vivero_defer *defers;
    void *committed; /* the last good payload; NULL: none is kept */
    bool has_committed;
    bool expects_again; /* a message was kept for it; it may be gone by now */
    bool answers_last;  /* current is done, and answered after terminate */
    struct vivero_reply_token debt;
    int result;            /* of current, once it is settled */
    const void *inline_in; /* of an inline call: the caller's own bytes */
    int64_t inline_deadline_ns;
    struct vv_reply *inline_reply; /* of an inline call answered later */
    struct vivero_exit exit;
    sigjmp_buf *recovery; /* where vivero_exit() goes */
    void *out;            /* scratch, or larger memory of its own */
    size_t out_size;
    _Alignas(max_align_t) unsigned char scratch[VV_SCRATCH];
    struct vv_debts *debts; /* own_debts; on a shared carrier the worker's */
    struct vv_debts own_debts;
    struct vv_waiter own_waiter;
    struct vv_fault_stack fault_stack; /* of its carrier */
    _Atomic uint32_t *fallen_watch;    /* published by `fault` */
    _Atomic uint32_t *proves_to; /* its carrier has to pass a proof for this
                                    one first; NULL: no */
    bool alive;                  /* the payload is initialised */
    bool retiring;               /* as far as it has noticed `retire` */
    /* supervisor's thread, and open before it exists */
    struct vv_thread thread;
    bool has_thread;
    /* atomic */
    VV_CACHELINE_ALIGNED _Atomic uint64_t ticket; /* see ticket.h */
    _Atomic int64_t busy_since_ns;
    _Atomic int64_t alive_ns; /* its handler was well */
    _Atomic uint32_t awake;   /* its carrier is between two long sleeps */
    _Atomic bool lost_thread; /* a handler ended it; its owner was told */
    _Atomic uint32_t settled; /* of a fenced one: all has been taken from it */
    _Atomic int fault; /* the signal with which its thread stands still */
    _Atomic int32_t thread_number; /* the carrier's, as of vv_probe_self() */
    _Atomic(const struct vivero_operation *) operation;
    _Atomic uint32_t command;
    _Atomic uint32_t phase;
    _Atomic uint64_t running_reply; /* slot + 1 and generation; 0: none */
    _Atomic uint64_t handled;
    _Atomic uint64_t failed;
    _Atomic uint64_t incarnation;
    /* guarded by lock */
    struct vv_mutex lock;
    enum vv_worker_fate fate;
    bool retire;  /* it should leave when it has nothing to do */
    bool leaving; /* and is past being called back */
    struct vivero_exit last_exit;
    struct vv_again again;
    struct vivero_defer *supervised; /* defers that its supervisor may run */
};

/* Run worker->current and settle it. False: the incarnation ends, for
 * worker->exit. Whoever calls this has a recovery point. */
bool vv_worker_run_current(struct vivero_entity *worker);
/* The running message will not finish: tell its caller worker->exit. */
void vv_worker_fail_in_flight(struct vivero_entity *worker);
/* The message that ended the worker is answered, after terminate. */
void vv_worker_answer_last(struct vivero_entity *worker);
/* Set up what runs the messages of a worker, zeroed before. */
void vv_worker_init_stage(struct vivero_entity *worker,
                          const struct vv_worker_spec *spec);
void vv_worker_fini_stage(struct vivero_entity *worker);

/* The counter's value, which begins anew. */
uint64_t vv_worker_take_count(_Atomic uint64_t *counter);

/* Its end comes too late: the message belongs to whoever fenced it. Waits until
 * that one is done with it. */
void vv_worker_notice_fence(struct vivero_entity *worker);
/* Wait until the supervisor that fenced it has finished with it. */
void vv_worker_await_settled(struct vivero_entity *worker);
/* The calling thread runs this worker from now on; NULL: none. */
struct vv_here;
void vv_worker_set_here(struct vv_here *here, struct vivero_entity *worker);
/* Whether its message was taken from it. Thread: any. */
bool vv_worker_is_fenced(const struct vivero_entity *worker);

/* Stops the program unless the calling thread runs this worker. */
void vv_worker_check_is_here(const struct vivero_entity *worker,
                             const char *what);
/* Tell the owner's dead letter hook about the current message. */
void vv_worker_tell_dead(struct vivero_entity *worker,
                         const struct vv_message *message, const void *in,
                         const struct vivero_exit *reason);
void vv_worker_count(_Atomic uint64_t *counter);
/* The arguments of the current message; NULL: none. */
const void *vv_worker_arguments(const struct vivero_entity *worker);
void vv_worker_set_lost_thread(struct vivero_entity *worker, bool lost);

/* ---- single_control.c: of a worker on its own; false for a pool's ---- */

/* It was declared dead, and may not act any more. Its thread only. */
bool vv_single_is_given_up(const struct vivero_entity *worker);
/* That, or it was asked to stop, or a signal will end it. Its thread only. */
bool vv_single_is_asked_to_end(const struct vivero_entity *worker);

/* ---- commit.c: VIVERO_STATE_COMMIT ---- */

/* Whether the next incarnation goes on with a value of an earlier one. */
bool vv_worker_restore(struct vivero_entity *worker);
/* The current message is done: keep the payload, or what it was before. */
void vv_worker_commit(struct vivero_entity *worker, bool good);
/* The end of a payload, unless it outlives this incarnation. */
void vv_worker_destroy_payload(struct vivero_entity *worker);

/* ---- defer.c ---- */

/* Run what was deferred, last one first. */
void vv_worker_run_defers(struct vivero_entity *worker);
/* Those that a supervisor may run, of a fenced worker. Supervisor's thread. */
void vv_worker_run_supervised_defers(struct vivero_entity *worker);

/* ---- retry.c ---- */

/* Keep the failed current message for the next incarnation. False: it has come
 * to its end. */
bool vv_worker_keep_current(struct vivero_entity *worker);
/* Whether a message that failed so often may run once more. */
bool vv_worker_may_retry(const struct vivero_entity *worker,
                         const struct vv_message *message);
/* Its failure fails what is queued for it, if its spec says so. */
void vv_worker_flush_lanes(struct vivero_entity *worker,
                           const struct vivero_exit *exit);

/* ---- fault.c: whoever follows one that fell has to prove, on a fresh thread,
 * that the process can go on. Nothing for others. ---- */

void vv_worker_follow(struct vivero_entity *spare,
                      const struct vivero_entity *fallen);
/* Its thread is about to be made; could not be made. */
void vv_worker_begin_proof(struct vivero_entity *worker);
void vv_worker_put_off_proof(struct vivero_entity *worker);
/* On its thread, before anything else: returns if all is well. */
void vv_worker_prove(struct vivero_entity *worker);

/* ---- watchdog.c ---- */

/* Before the carrier goes to work, and before it waits for long. */
void vv_watch_set_awake(struct vivero_entity *worker, bool awake);

void vv_exit_set(struct vivero_exit *exit, enum vivero_exit_kind kind, int code,
                 const char *text);
void vv_worker_set_phase(struct vivero_entity *worker,
                         enum vv_worker_phase phase);

#endif
