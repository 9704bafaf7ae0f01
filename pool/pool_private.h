/* SPDX-License-Identifier: MIT */
#ifndef POOL_POOL_PRIVATE_H
#define POOL_POOL_PRIVATE_H

#include <vivero/pool.h>

#include "base/check.h"
#include "mailbox/crew.h"
#include "mailbox/here.h"
#include "os/mutex.h"
#include "supervisor/loop.h"
#include "worker/watchdog.h"
#include "worker/worker.h"

#include <stdatomic.h>

/* Where a pool is in its life; only forwards. */
enum vv_pool_phase {
    VV_POOL_OPENING = 0,
    VV_POOL_OPEN,
    VV_POOL_DRAINING,
    VV_POOL_HALTED, /* its last worker halted */
    VV_POOL_DOWN,   /* its restart budget was spent */
    VV_POOL_CLOSING
};

enum vv_pool_notice {
    VV_NOTICE_UP,    /* the worker's: it has started */
    VV_NOTICE_FAIL,  /* the worker's: it failed, or could not start */
    VV_NOTICE_END,   /* the worker's: it finished; a close may tell it so before
                        its failure was heard of */
    VV_NOTICE_OWNER, /* the pool's: add, remove */
    VV_NOTICE_SELF,  /* the supervisor's to itself, and of abandoned ones */
    VV_NOTICE_COUNT
};

enum vv_post {
    VV_POST_NONE = 0, /* nobody */
    VV_POST_STARTING,
    VV_POST_UP,
    VV_POST_REFUSED /* its first start failed; being stopped */
};

/* What the pool knows of each worker. Guarded by the pool's lock. */
struct vv_pool_child {
    struct vv_child child;     /* the supervisor's view of it; first */
    struct vv_budget budget;   /* restarts_per_worker: its own */
    struct vv_watched watched; /* supervisor only */
    struct vv_notice notices[VV_NOTICE_COUNT];
    enum vv_post post;
    bool open_to_threads; /* own_threads: it waits for a thread to run it */
    bool has_carrier;
    bool spoken_for; /* VV_NOTICE_SELF is under way; supervisor only */
    bool asked;      /* VV_NOTICE_OWNER is under way */
    int error;       /* of its refused start */
    struct vivero_exit failure; /* the latest; supervisor only */
};

struct vv_pool {
    /* fixed at open */
    struct vivero_pool *handle;
    struct vivero_pool_options options; /* defaults filled in */
    char name[32];
    const char *public_name; /* stays as long as the handle */
    struct vivero_ref child; /* of a supervisor, that it is; nobody */
    struct vv_account account;
    struct vv_worker_spec spec;
    struct vv_watch watch;
    struct vv_dead_hook dead_hook;
    struct vv_pool_child *children; /* workers_max */
    struct vv_crew crew;
    struct vv_policy policy; /* of all children */
    struct vv_loop supervisor;
    bool supervised; /* it was started */
    bool drains;   /* as its option, and it may; it holds the faults' thread */
    bool contains; /* the same */
    bool patient;  /* a close waits for as long as it takes */
    /* atomic */
    _Atomic uint32_t phase;
    _Atomic uint32_t references; /* the handle's, and of abandoned threads */
    _Atomic uint64_t rejected;
    _Atomic uint64_t dropped_newest;
    _Atomic uint64_t boxed;
    _Atomic uint64_t random_picks;
    _Atomic uint32_t abandoned; /* replaced, and not back yet */
    /* supervisor only */
    struct vv_ticker ticker;
    /* guarded by lock */
    struct vv_mutex lock;
    struct vv_cond changed;
    bool resizing;
    bool stop_heard; /* nothing is started any more */
    bool gone;       /* the supervisor has left */
    bool asked;      /* its owner wants it closed */
    bool given_up;   /* its owner does not wait: what runs is abandoned */
    bool gave_up;
    struct vivero_exit down_exit; /* written once, before phase DOWN */
    struct vivero_exit last_failure;
    struct vv_notice stop_notice;
    struct vivero_entity **spares; /* room for abandoned_max */
    uint32_t spare_count;
    uint32_t fallen_count; /* kept at the end of that room */
};

/* The pool behind a handle the calling thread means to use, and a mark that it
 * does, until leave(). Stops the program if it is NULL or closed. */
struct vv_pool_visit {
    struct vv_pool *pool;
    struct vv_here *here;
    const void *previous;
};

/* A handle: a place in a static table; pool NULL: closed. Reused in turn, so a
 * stale one is noticed for long. */
struct vivero_pool {
    _Atomic(struct vv_pool *) pool;
    _Atomic bool moves; /* other pools may come to stand behind it, and the old
                           ones go, while it is in use; never NULL */
    bool taken;         /* such a one is in use; guarded by the handles' lock */
};

static inline struct vv_pool *vv_pool_of(const struct vivero_pool *handle)
{
    /* sync(pool.handle): the pool is whole. */
    return atomic_load_explicit(&handle->pool, memory_order_acquire);
}

static inline bool vv_handle_moves(const struct vivero_pool *handle)
{
    /* relaxed: written before anybody was given the handle. */
    return atomic_load_explicit(&handle->moves, memory_order_relaxed);
}

/* ---- pool_handle.c ---- */

/* A place in the table. Errors: LIMIT. */
int vv_handle_take(struct vivero_pool **handle, struct vv_pool *pool,
                   bool moves);
/* Put another pool behind it, or NULL. */
void vv_handle_set(struct vivero_pool *handle, struct vv_pool *pool);
/* One that moves: nothing more will come behind it. */
void vv_handle_retire(struct vivero_pool *handle);
/* The pool behind one that moves, with a mark that keeps it. */
struct vv_pool *vv_handle_protect(const struct vivero_pool *handle,
                                  struct vv_here *here);
/* A pool that was closed long ago, to stand behind handles that moved. */
struct vv_pool *vv_pool_closed(void);

static inline struct vv_pool_visit
vv_pool_enter(const struct vivero_pool *handle, const char *what)
{
    struct vv_pool_visit visit;

    VV_CHECK(handle != NULL, "%s(): the pool is NULL or was closed", what);
    visit.pool = vv_pool_of(handle);
    VV_CHECK(visit.pool != NULL, "%s(): the pool was closed", what);
    visit.here = vv_here();
    visit.previous = vv_here_enter(visit.here, visit.pool);
    if (__builtin_expect(vv_handle_moves(handle), 0)) {
        visit.pool = vv_handle_protect(handle, visit.here);
        VV_CHECK(visit.pool != NULL, "%s(): the pool was closed", what);
    }
    return visit;
}

static inline void vv_pool_leave(const struct vv_pool_visit *visit)
{
    vv_here_leave(visit->here, visit->previous);
}

/* Stops the program when the calling thread is one of the pool's own. */
void vv_pool_refuse_own_threads(const struct vv_pool_visit *visit,
                                const char *what);

enum vv_pool_phase vv_pool_phase(const struct vv_pool *pool);
/* Moves the phase forward. False: it was as far already. */
bool vv_pool_advance(struct vv_pool *pool, enum vv_pool_phase phase);
/* What senders are answered in a phase that takes nothing. DOWN also sets the
 * thread's last exit. */
int vv_pool_refusal(struct vv_pool *pool, struct vv_here *here);

/* No put succeeds any more; those who wait for room leave. */
void vv_pool_close_mailboxes(struct vv_pool *pool);
uint32_t vv_pool_flush(struct vv_pool *pool, int result,
                       const struct vivero_exit *exit, enum vv_settled how);

/* Where one message goes. */
struct vv_route {
    uint32_t seat; /* VV_ANY_SEAT: any that is free */
    enum vv_lane lane;
};

/* By the send options and the pool's strategy. NOT_FOUND. */
int vv_pool_route(struct vv_pool *pool, struct vv_here *here,
                  const struct vivero_operation *operation, const void *in,
                  const struct vivero_send *send, struct vv_route *route);

/* The worker of a seat that has been shown to others: a resize may be making
 * more of them. NULL: there is none. Seats change hands when a worker is fenced:
 * whoever is not the supervisor holds the pool's lock while it uses it. */
static inline struct vivero_entity *vv_pool_worker(const struct vv_pool *pool,
                                                   uint32_t index)
{
    return index < vv_crew_used(&pool->crew)
               ? vv_worker_of(vv_crew_seat(&pool->crew, index))
               : NULL;
}

/* How many seats below the size have a worker. */
uint32_t vv_pool_staff(struct vv_pool *pool);

/* Start the workers first..end-1 and wait; the pool's lock is not held. *up:
 * how many are up from the front. Errors: as vivero_pool_resize. */
int vv_pool_add_workers(struct vv_pool *pool, uint32_t first, uint32_t end,
                        uint32_t *up);
extern const struct vv_loop_ops vv_pool_supervisor_ops;
vv_worker_news_fn vv_pool_news;

/* ---- pool_watch.c: hangs ---- */

/* Make the spare workers that replace hung or fallen ones. NO_MEMORY. */
int vv_pool_make_spares(struct vv_pool *pool);
void vv_pool_free_spares(struct vv_pool *pool);
void vv_pool_fill_watch(struct vv_pool *pool);
/* vv_loop_ops.watch. */
int64_t vv_pool_watch(void *ctx, int64_t now_ns);
/* A replaced worker's thread is gone. */
void vv_pool_zombie_left(struct vv_pool *pool, struct vivero_entity *worker);

/* ---- pool_fault.c: memory errors ---- */

/* Do as option `fault` says, if it does anything in this process: have a thread
 * that waits for faults. Errors: LIMIT, NO_MEMORY. */
int vv_pool_fault_hold(struct vv_pool *pool);
void vv_pool_fault_let_go(const struct vv_pool *pool);
/* Call fn for each pool that is open. */
void vv_pool_each_open(void (*fn)(struct vv_pool *pool, void *ctx), void *ctx);

/* ---- pool_dead.c: dead letters ---- */

void vv_pool_fill_dead(struct vv_pool *pool);

/* A snapshot of one worker; zero when there is none. */
void vv_pool_snapshot_worker(struct vv_pool *pool, uint32_t index,
                             struct vivero_worker_snapshot *snapshot);

/* Fill in pool->options and its name. payload_size NULL: as options says. */
int vv_pool_fill_options(struct vv_pool *pool,
                         const struct vivero_pool_options *options,
                         const size_t *payload_size);

/* ---- Life: pool.c, pool_close.c ---- */

/* A pool without threads and handle. Errors: as vivero_pool_open. */
int vv_pool_new(const struct vivero_pool_options *options,
                const size_t *payload_size, struct vv_pool **fresh);
/* Start it. On failure its threads are gone again. Blocks: until every init has
 * returned, or it is given up (CLOSING). Errors: as vivero_pool_open. */
int vv_pool_open(struct vv_pool *pool);
/* Close it but for its memory: who comes is told why, by its phase. Blocks: up
 * to shutdown_ns, or until it is given up. Errors: TIMED_OUT: abandoned
 * workers. */
int vv_pool_end(struct vv_pool *pool);
/* Nobody can enter any more: wait until all have left, and let go of it. */
void vv_pool_dispose(struct vv_pool *pool);
void vv_pool_retain(struct vv_pool *pool);
void vv_pool_release(struct vv_pool *pool);

#endif
