/* SPDX-License-Identifier: MIT */
#ifndef WORKER_WORKER_PRIVATE_H
#define WORKER_WORKER_PRIVATE_H

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
    FATE_LEFT,     /* the worker left; it said so */
    FATE_ABANDONED /* its owner gave it up; whatever it says comes too late */
};

/* The pool's entity: what bodies know as self->entity. */
struct vivero_entity {
    /* fixed */
    struct vivero_self self;
    const struct vv_worker_spec *spec;
    struct vv_seat *seat;     /* NULL: a worker on its own */
    struct vv_waiter *waiter; /* the seat's, or its own */
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
    bool answers_last; /* current is done, and answered after terminate */
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
    bool alive;    /* the payload is initialised */
    bool retiring; /* as far as it has noticed `retire` */
    /* supervisor's thread, and open before it exists */
    struct vv_thread thread;
    bool has_thread;
    /* atomic */
    _Atomic uint32_t command;
    _Atomic uint32_t phase;
    _Atomic uint64_t ticket; /* sequence << 1 | busy */
    _Atomic int64_t busy_since_ns;
    _Atomic(const struct vivero_operation *) operation;
    _Atomic uint64_t running_reply; /* slot + 1 and generation; 0: none */
    _Atomic uint64_t handled;
    _Atomic uint64_t failed;
    _Atomic uint64_t incarnation;
    /* guarded by lock */
    struct vv_mutex lock;
    enum vv_worker_fate fate;
    bool lost_thread; /* a handler ended it; its owner was told */
    bool retire;      /* it should leave when it has nothing to do */
    bool leaving;     /* and is past being called back */
    struct vivero_exit last_exit;
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

void vv_exit_set(struct vivero_exit *exit, enum vivero_exit_kind kind, int code,
                 const char *text);
void vv_worker_set_phase(struct vivero_entity *worker,
                         enum vv_worker_phase phase);

#endif
