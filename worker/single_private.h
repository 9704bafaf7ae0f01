/* SPDX-License-Identifier: MIT */
#ifndef WORKER_SINGLE_PRIVATE_H
#define WORKER_SINGLE_PRIVATE_H

/* A worker on its own: an entity whose messages a stage runs. See single.c. */

#include <vivero/worker.h>
#include <vivero/worker_spawn.h>

#include "entity/entity.h"
#include "mailbox/spin.h"
#include "timer/timer.h"
#include "worker/watchdog.h"
#include "worker/worker_private.h"

struct vivero_carriers;

enum vv_single_kind {
    VV_SINGLE_CALLBACKS = 0, /* the library takes its messages */
    VV_SINGLE_FUNCTION,      /* it receives by hand, on a thread of its own */
    VV_SINGLE_ATTACHED       /* the same, on a thread of somebody else's */
};

/* What its thread is asked for, between two messages. */
enum vv_single_request {
    VV_REQUEST_STOP = 1,
    VV_REQUEST_SUSPEND,
    VV_REQUEST_RESUME,
    VV_REQUEST_GET_STATE,
    VV_REQUEST_REPLACE_STATE
};

/* With the bytes of a state behind it, or a reason to stop. */
struct vv_state_request {
    struct vv_request request;
    struct vivero_exit reason;
    size_t state_size;
    _Alignas(max_align_t) unsigned char state[];
};

struct vv_dictionary_entry {
    struct vv_dictionary_entry *next;
    void *value;
    char key[];
};

struct vv_single {
    struct vv_entity entity;
    /* fixed at start */
    enum vv_single_kind kind;
    struct vivero_worker_options
        options; /* its strings and argument are ours */
    struct vv_worker_spec spec;
    struct vv_spin spin;
    char label[64];
    vivero_spawn_fn *function;
    void *function_argument;
    struct vivero_carriers *carriers; /* NULL: a thread of its own */
    void *payload;
    struct vv_waiter waiter;
    struct vv_debts debts;
    struct vivero_defer *defers; /* on carriers, between two slices */
    struct vivero_defer *supervised;
    struct vv_thread thread;
    /* guarded by the entity's lock */
    struct vivero_entity *stage; /* that runs it; on carriers only then */
    bool scheduled;              /* in the ready queue, or running */
    uint64_t handled;            /* on carriers: of the stages before */
    uint64_t failed;
    /* the watch's; see single_watch.c */
    struct vv_watch watch;
    struct vv_watched watched_as;
    bool is_watched; /* its thread only */
    bool is_judged;  /* guarded by the watch's lock, as the next two are */
    struct vv_single *next_watched;
    struct vv_single *previous_watched;
    /* atomic */
    _Atomic bool awake;    /* it runs something, or is about to */
    _Atomic bool given_up; /* it was declared dead */
    /* guarded by the carriers' lock */
    struct vv_single *next_ready;
    struct vv_single *next_carried;
    struct vv_single *previous_carried;
    bool uncarried; /* it has left the list of carried ones */
    /* its thread only */
    bool begun; /* init has run */
    bool up;    /* and succeeded: terminate and destroy will run */
    bool ended;
    bool terminates; /* this end is one that terminate hears of */
    bool terminated; /* and has heard of */
    bool continues;
    bool suspended; /* as its entity's flag says */
    uint32_t continue_tag;
    int64_t idle_timeout_ns; /* asked for by the running callback; -1: none */
    int64_t idle_deadline_ns;
    struct vv_timer idle_timer; /* on carriers */
    struct vivero_exit exit;
    struct vv_request *stop;  /* answered when all is over */
    struct vv_envelope *held; /* what info points into */
    struct vivero_info info;
    struct vv_dictionary_entry *dictionary;
    /* guarded by the entity's lock */
    struct vv_envelope farewell; /* its supervisor's word; has its own room */
    bool told_farewell;
};

/* ---- single.c: beginning and end ---- */

/* Owner on a starter's stack. */
struct vv_starter {
    struct vv_owner owner;
    _Atomic uint32_t word; /* 1: started() was told; 2: ended() too */
    int error;
    struct vivero_exit exit;
};
void vv_starter_init(struct vv_starter *starter);
/* Until started() was told. Errors: TIMED_OUT, DEADLOCK. */
int vv_starter_await_start(struct vv_starter *starter, int64_t deadline_ns);
/* Until ended() was, after a start that failed. */
void vv_starter_await_end(struct vv_starter *starter);

/* A single with copies of what the options borrow. */
int vv_single_new(const struct vivero_worker_options *options,
                  enum vv_single_kind kind, struct vv_single **single);
void vv_single_free(struct vv_single *single);
/* Bind it to a reference, give it its name. */
int vv_single_bind(struct vv_single *single, struct vivero_ref ref,
                   struct vivero_ref *holder);
/* Have it run: on its own thread, or on its carriers. */
int vv_single_launch(struct vv_single *single);
/* It ends on its thread, for single->exit. */
void vv_single_finish(struct vv_single *single);
/* Undo a single that was bound and never ran; its owner is told the error. */
void vv_single_cancel(struct vv_single *single, int error);
/* Declare it dead from outside: what its handler does is nobody's business any
 * more, its thread is given up. False: it has ended by itself. */
bool vv_single_kill(struct vivero_ref ref, const struct vivero_exit *exit);
/* The same of one that cannot go away meanwhile. */
bool vv_single_declare_dead(struct vv_single *single,
                            const struct vivero_exit *exit);

/* ---- single_start.c ---- */

/* How the starter is tied to what it starts. */
struct vv_tie_wish {
    bool link;
    struct vivero_monitor *monitor; /* NULL: none */
};
/* With defaults filled in. Errors: INVALID. */
int vv_worker_fill_options(struct vivero_worker_options *to,
                           const struct vivero_worker_options *from);
/* From a new single to one that runs. On failure nothing is left of it; EXISTS
 * sets *ref to the holder of its name. */
int vv_single_set_going(struct vv_single *single, struct vv_starter *starter,
                        const struct vv_tie_wish *wish, struct vivero_ref *ref);
/* Stop the program: no place for a result; the caller is no entity. */
void vv_single_check_place(const void *place, const char *what);
void vv_single_check_caller(const char *what);

extern const struct vv_entity_ops vv_single_ops;
extern const struct vv_entity_ops vv_single_carried_ops;
/* The single behind an entity; NULL: it is something else. */
struct vv_single *vv_single_of(struct vv_entity *entity);
/* The single the calling thread is; stops the program if it is none. */
struct vv_single *vv_single_here(const char *what);

/* ---- single_control.c ---- */

/* A request to stop, to be used again and again. NULL: no memory. */
struct vv_state_request *vv_single_new_stop(void);
/* Have one end for this reason, and wait until it has. Needs no memory. */
void vv_single_stop_by(struct vivero_ref ref, struct vv_state_request *request,
                       const struct vivero_exit *reason);

/* ---- single_step.c: one thing after another ---- */

enum vv_step { VV_STEP_DONE, VV_STEP_NOTHING, VV_STEP_ENDED };

/* Do the next thing there is to do. Whoever calls has a recovery point. */
enum vv_step vv_single_step(struct vv_single *single);
/* A verdict or a stop came: it ends for this. */
void vv_single_set_end(struct vv_single *single,
                       const struct vivero_exit *exit);
/* Somebody declared it dead. */
void vv_single_given_up(struct vv_single *single);
/* Its callback took its thread away. */
void vv_single_left(struct vv_single *single, const struct vivero_exit *exit);
/* After vivero_exit() jumped. */
void vv_single_jumped(struct vv_single *single);
void vv_single_serve(struct vv_single *single, struct vv_request *request);
void vv_single_fill_info(struct vv_single *single,
                         struct vv_envelope *envelope);
void vv_single_drop_info(struct vv_single *single);
/* When its idle time-out is due; VIVERO_FOREVER: never, or it is suspended, for
 * then its messages wait and it is told nothing. */
int64_t vv_single_idle_deadline(const struct vv_single *single);

/* ---- single_watch.c ---- */

/* From its launch to its finish. Errors: NO_MEMORY, LIMIT. */
int vv_single_watch(struct vv_single *single);
void vv_single_unwatch(struct vv_single *single);
/* Before it runs something, and before it waits for something to run. */
void vv_single_wake(struct vv_single *single);
void vv_single_sleep(struct vv_single *single);
/* A stage's thread introduces itself. */
void vv_single_meet_the_watch(struct vivero_entity *stage);

/* ---- dictionary.c ---- */

void vv_dictionary_free(struct vv_single *single);

/* ---- carriers.c ---- */

void vv_carriers_add(struct vivero_carriers *carriers,
                     struct vv_single *single);
void vv_carriers_remove(struct vivero_carriers *carriers,
                        struct vv_single *single);
/* It was declared dead; if a thread runs it that one is lost. */
void vv_carriers_give_up(struct vivero_carriers *carriers,
                         struct vv_single *single);
/* Have some thread run it. Under its entity's lock. */
void vv_carriers_schedule(struct vv_single *single);

#endif
