/* SPDX-License-Identifier: MIT */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

/* A worker: a seat of a crew, a payload, a life cycle. Its carrier is the
 * thread that runs it. */

#include <vivero/exit.h>
#include <vivero/worker.h>

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
    struct vv_account *account;
};

enum vv_worker_command {
    VV_COMMAND_NONE = 0,
    VV_COMMAND_START, /* begin a new incarnation */
    VV_COMMAND_STOP   /* after the running message: end for good */
};

int vv_worker_new(const struct vv_worker_spec *spec, struct vv_seat *seat,
                  struct vivero_entity **worker);
/* No thread runs it. NULL is fine. */
void vv_worker_free(struct vivero_entity *worker);

/* Make a thread for it, which starts its first incarnation. Joins the thread it
 * had before, if a handler left that one. Errors: LIMIT, NO_MEMORY. */
int vv_worker_start_thread(struct vivero_entity *worker);
/* It is about to get a carrier, again or for the first time. */
void vv_worker_renew(struct vivero_entity *worker);
/* Be its thread; returns when the worker has ended for good. */
void vv_worker_carry(struct vivero_entity *worker);
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

/* Numbers for a snapshot; queued, oldest age and payload are not filled in. */
void vv_worker_snapshot(struct vivero_entity *worker,
                        struct vivero_worker_snapshot *snapshot);
void *vv_worker_payload(struct vivero_entity *worker);

#endif
