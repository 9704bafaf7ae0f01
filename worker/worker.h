/* SPDX-License-Identifier: MIT */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

/* A worker: a seat of a crew, a payload, a life cycle. Its carrier is the
 * thread that runs it. */

#include <vivero/exit.h>
#include <vivero/ref.h>
#include <vivero/worker_self.h>

#include "base/memory.h"
#include "mailbox/crew.h"
#include "os/thread.h"

#include <stdbool.h>
#include <stdint.h>

struct vv_worker_spec;

enum vv_worker_news {
    VV_NEWS_STARTED,
    VV_NEWS_START_FAILED, /* init failed; waits for START or STOP */
    VV_NEWS_FAILED,       /* its incarnation ended; waits for START or STOP */
    VV_NEWS_FINISHED,     /* it ended for good; its thread is on its way out */
    VV_NEWS_LEFT_LATE     /* the same, of one that was abandoned */
};

/* On the worker's thread, under no lock. */
typedef void vv_worker_news_fn(struct vivero_entity *worker,
                               enum vv_worker_news news,
                               const struct vivero_exit *exit, void *owner);

/* A message came to nothing; see vivero_dead_fn. On the worker's thread, or on
 * its supervisor's, under no lock. */
typedef void vv_worker_dead_fn(const struct vv_message *message, const void *in,
                               const struct vivero_exit *reason, void *owner);

struct vv_watch;

/* What all workers of a pool have in common; fixed while they exist. */
struct vv_worker_spec {
    const char *family; /* "thumbs": a worker's name is "thumbs/3" */
    size_t payload_size;
    vivero_init_fn *init;
    vivero_terminate_fn *terminate;
    vivero_destroy_fn *destroy;
    void *ctx;
    int64_t linger_ns;
    struct vv_thread_options thread; /* without the name */
    const char *thread_name;         /* template */
    vivero_thread_hook_fn *on_thread_start;
    vivero_thread_hook_fn *on_thread_stop;
    vivero_runner_fn *runner;
    void *thread_ctx;
    vv_worker_news_fn *news;
    void *owner;
    struct vivero_ref within; /* the child that the owner is; nobody */
    struct vv_account *account;
    struct vv_watch *watch;  /* NULL: nobody looks how long handlers run */
    vv_worker_dead_fn *dead; /* NULL: nobody wants dead letters */
    uint32_t retries;
    bool commits; /* payloads are flat; failures go back to the last good one */
    bool flushes; /* a failure fails what is queued as well */
    bool drains;  /* a memory error ends the process in better order */
    uint32_t contain_max; /* memory errors in the process up to which those of
                             its handlers are contained; 0: none */
    int nudge_signal;     /* its threads take this one; 0: none */
};

enum vv_worker_command {
    VV_COMMAND_NONE = 0,
    VV_COMMAND_START, /* begin a new incarnation */
    VV_COMMAND_STOP   /* after the running message: end for good */
};

/* seat NULL: a spare one, for vv_worker_succeed(). */
int vv_worker_new(const struct vv_worker_spec *spec, struct vv_seat *seat,
                  struct vivero_entity **worker);
/* No thread runs it. NULL is fine. */
void vv_worker_free(struct vivero_entity *worker);

/* Make a thread for it, which starts its first incarnation. Joins the thread it
 * had before, if a handler left that one. Errors: LIMIT, NO_MEMORY. */
int vv_worker_start_thread(struct vivero_entity *worker);
/* It is about to get a carrier, again or for the first time. */
void vv_worker_renew(struct vivero_entity *worker);
/* Be its thread; returns when the worker has ended for good. False: it was
 * fenced meanwhile. */
bool vv_worker_carry(struct vivero_entity *worker);
/* Whether START needs a new thread: a handler left the old one. */
bool vv_worker_lost_thread(struct vivero_entity *worker);
/* Join its thread, if it has one. */
void vv_worker_join(struct vivero_entity *worker);

void vv_worker_command(struct vivero_entity *worker,
                       enum vv_worker_command command);

/* Its mailbox is closed: let it handle what is addressed to it, linger, and end
 * for good. */
void vv_worker_retire(struct vivero_entity *worker);
/* Let it stay after all. False: it is leaving, news of that will come. */
bool vv_worker_stay(struct vivero_entity *worker);

/* Stop waiting for it: its thread is let go. False: it is leaving by itself
 * right now. */
bool vv_worker_abandon(struct vivero_entity *worker);
/* Tell all who wait for an answer of an abandoned worker CLOSING. */
void vv_worker_fence(struct vivero_entity *worker);

/* ---- Fencing: its supervisor takes a worker's seat from under a handler that
 * does not come back. Supervisor's thread, in this order; nothing in between
 * but the owner's own accounts. ---- */

/* Take the running message of exactly this ticket. From here on the old worker
 * can end nothing. False: it has ended, or its owner gave it up. */
bool vv_worker_take_away(struct vivero_entity *worker, uint64_t ticket);
/* Put a spare one into its seat, with its numbers; a start makes a thread. */
void vv_worker_succeed(struct vivero_entity *old, struct vivero_entity *spare);
/* Tell everybody who waits for the old one, keep or end its message; next: its
 * successor, NULL: it has none. */
void vv_worker_settle_fenced(struct vivero_entity *old,
                             struct vivero_entity *next,
                             const struct vivero_exit *exit);
/* The old thread may go, when it comes back. */
void vv_worker_release_fenced(struct vivero_entity *old);
/* Whether it was fenced, rather than abandoned in its own seat. */
bool vv_worker_is_zombie(struct vivero_entity *worker);
/* Its thread is gone (VV_NEWS_LEFT_LATE): make a spare of it. */
void vv_worker_make_spare(struct vivero_entity *old);

/* It has ended for good, and its owner has heard of it; supervisor's thread. */
void vv_worker_forget(struct vivero_entity *worker);

/* Take the message that was kept for its next incarnation. False: there is
 * none. */
bool vv_worker_take_kept(struct vivero_entity *worker,
                         struct vv_message *message);
/* The call its handler runs, by a token for vv_reply_fence(); all zero: none. */
struct vivero_reply_token
vv_worker_running_call(const struct vivero_entity *worker);
/* Threads that were given up and still run, process-wide. */
void vv_worker_count_given_up(int change);

/* Run one call in place of an idle worker, on the calling thread. False: none
 * is idle and nothing happened. */
bool vv_worker_try_here(struct vv_crew *crew, uint32_t seat,
                        const struct vivero_operation *operation,
                        const void *in, void *out, int64_t deadline_ns,
                        int *result);

/* The name its thread gets, from the template. */
void vv_worker_thread_name(const struct vivero_entity *worker, char *name,
                           size_t size);

/* The worker in a seat. */
struct vivero_entity *vv_worker_of(const struct vv_seat *seat);
struct vv_seat *vv_worker_seat(const struct vivero_entity *worker);
/* What the search for deadlocks knows it by. */
struct vv_waiter *vv_worker_waiter(struct vivero_entity *worker);
const struct vv_worker_spec *
vv_worker_spec_of(const struct vivero_entity *worker);
uint32_t vv_worker_index(const struct vivero_entity *worker);

/* Numbers for a snapshot; queued, oldest age and payload are not filled in. The
 * second one leaves out its last exit, and takes no lock. */
void vv_worker_snapshot(struct vivero_entity *worker,
                        struct vivero_worker_snapshot *snapshot);
void vv_worker_look(struct vivero_entity *worker,
                    struct vivero_worker_snapshot *snapshot);
void *vv_worker_payload(struct vivero_entity *worker);

#endif
