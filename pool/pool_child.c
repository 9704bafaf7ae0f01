/* SPDX-License-Identifier: MIT */
/* pool_child: pools as children of supervisors.
 *
 * Model.    An incarnation of the child is a pool and a thread that opens it,
 *           reports, sleeps until the pool is over or somebody wants it to be,
 *           closes it and reports. What the incarnations of one child have in
 *           common is a place (pool_place.c): a handle that moves from one pool to
 *           the next. A pool that is over stays behind the handle, without
 *           threads, so that who comes is told why it ended; its successor sees
 *           its last callers off and frees it, or the end of the place does.
 * Threads.  The child's ("NAME/child"); start, stop and kill on the supervisor's,
 *           which never waits.
 * Invariants.
 *   I1 An incarnation is in the list until its pool is over. Whoever finds it
 *      there, under the lock, may use its pool.
 *   I2 A pool comes behind the handle when the one before it is over: no message
 *      is queued there any more, so what is cancelled by the handle is in the
 *      pool that is visited.
 *   I3 After a kill the incarnation reports nothing, and puts nothing behind the
 *      handle; it still closes its pool.
 * Locks.    vv_pool_children (VV_RANK_CHILDREN): incarnations and places; then a pool's.
 * Failure.  What cannot be had is missed by start, but for the pool's threads.
 *           Stop and kill need nothing.
 * Shutdown. 1 stop: `asked`; 2 the thread closes the pool; 3 kill, if that takes
 *           too long: `given_up` cuts the waiting, what runs is abandoned; 4 the
 *           incarnation leaves the list, the pool is over; 5 the thread gives
 *           back what it holds, leaves itself to whoever reaps, and reports last
 *           of all, since after that nobody waits for it.
 * Rejected. A user's handle for each incarnation: who calls all the time would
 *           have to be told of each of them, and would use the old one until
 *           then. Closing on the supervisor's thread: siblings would wait. */
#include "pool/pool_child.h"

#include <vivero/error.h>

#include "os/thread.h"

#include <stdio.h>

struct incarnation {
    struct vivero_ref child;
    struct vv_pool *pool;
    struct vv_pool_place *place;
    struct vv_thread thread;
    /* guarded by vv_pool_children */
    struct incarnation *next;
    bool killed;
    struct vivero_exit reason; /* it was asked to end for */
};

static struct vv_cond changed = {PTHREAD_COND_INITIALIZER};
static struct incarnation *first; /* guarded by vv_pool_children */

static struct incarnation *find_locked(struct vivero_ref child)
{
    struct incarnation *at = first;

    while (at != NULL && !vivero_ref_equal(at->child, child)) {
        at = at->next;
    }
    return at;
}

/* ---- Behind the handle ------------------------------------------------------------- */

/* Wait until what is behind the handle is over. False: killed meanwhile. */
static bool await_predecessor(struct incarnation *incarnation)
{
    const struct vv_pool_place *place = incarnation->place;
    bool killed;

    vv_mutex_lock(&vv_pool_children);
    while (place->behind != NULL && !place->is_over && !incarnation->killed) {
        vv_cond_wait(&changed, &vv_pool_children);
    }
    killed = incarnation->killed;
    vv_mutex_unlock(&vv_pool_children);
    return !killed;
}

/* Put its open pool behind the handle. False: it was killed. */
static bool show(struct incarnation *incarnation)
{
    struct vv_pool_place *place = incarnation->place;
    struct vv_pool *before = NULL;
    bool killed;

    vv_mutex_lock(&vv_pool_children);
    killed = incarnation->killed;
    if (!killed) {
        before = place->behind;
        place->behind = incarnation->pool;
        place->is_over = false;
        vv_handle_set(place->handle, incarnation->pool);
        if (place->shown != NULL && !place->is_shown) {
            *place->shown = place->handle;
        }
        place->is_shown = true;
    }
    vv_mutex_unlock(&vv_pool_children);
    if (before != NULL) {
        vv_pool_dispose(before);
    }
    return !killed;
}

struct vivero_pool *vivero_pool_of_child(struct vivero_ref child)
{
    struct vivero_pool *handle = NULL;
    const struct incarnation *incarnation;

    if (vv_forked()) {
        return NULL;
    }
    vv_mutex_lock(&vv_pool_children);
    incarnation = find_locked(child);
    if (incarnation != NULL &&
        incarnation->place->behind == incarnation->pool) {
        handle = incarnation->place->handle;
    }
    vv_mutex_unlock(&vv_pool_children);
    return handle;
}

/* ---- The child's thread -------------------------------------------------------------- */

/* Sleep until the pool is over, or somebody wants it to be. */
static void await_end(struct vv_pool *pool)
{
    vv_mutex_lock(&pool->lock);
    while (!pool->asked && vv_pool_phase(pool) < VV_POOL_HALTED) {
        vv_cond_wait(&pool->changed, &pool->lock);
    }
    vv_mutex_unlock(&pool->lock);
}

static struct vivero_exit reason_of(struct incarnation *incarnation,
                                    int end_error)
{
    const struct vv_pool *pool = incarnation->pool;
    struct vivero_exit reason;

    if (pool->gave_up) {
        return pool->down_exit;
    }
    if (vv_pool_phase(pool) == VV_POOL_HALTED) {
        return vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);
    }
    if (end_error != VIVERO_OK) {
        return vivero_reason(VIVERO_EXIT_KILLED, end_error,
                             "a handler did not end in time");
    }
    vv_mutex_lock(&vv_pool_children);
    reason = incarnation->reason;
    vv_mutex_unlock(&vv_pool_children);
    return reason;
}

static int open_and_show(struct incarnation *incarnation)
{
    int error = await_predecessor(incarnation) ? vv_pool_open(incarnation->pool)
                                               : VIVERO_E_CLOSING;

    if (error == VIVERO_OK && !show(incarnation)) {
        (void)vv_pool_end(incarnation->pool);
        error = VIVERO_E_CLOSING;
    }
    return error;
}

/* Out of the list; nobody asks anything of it any more. True: it was killed. */
static bool leave_list(struct incarnation *incarnation, bool shown)
{
    struct incarnation **at = &first;
    bool killed;

    vv_mutex_lock(&vv_pool_children);
    while (*at != incarnation) {
        at = &(*at)->next;
    }
    *at = incarnation->next;
    killed = incarnation->killed;
    if (!killed) {
        incarnation->place->occupied = false;
    }
    if (shown) {
        incarnation->place->is_over = true;
    }
    vv_cond_broadcast(&changed);
    vv_mutex_unlock(&vv_pool_children);
    return killed;
}

static void release_incarnation(struct incarnation *incarnation)
{
    vv_release(NULL, incarnation, sizeof(*incarnation), _Alignof(max_align_t));
}

static void run(void *ctx)
{
    struct incarnation *incarnation = ctx;
    struct vv_pool_place *place = incarnation->place;
    struct vivero_ref child = incarnation->child;
    struct vivero_exit reason = {0};
    bool killed;
    int error;

    vv_here()->within = child; /* on_dead may run here */
    error = open_and_show(incarnation);
    if (error == VIVERO_OK) {
        vivero_child_started(child, VIVERO_OK);
        await_end(incarnation->pool);
        reason = reason_of(incarnation, vv_pool_end(incarnation->pool));
    }
    killed = leave_list(incarnation, error == VIVERO_OK);
    if (error != VIVERO_OK) {
        vv_pool_dispose(incarnation->pool);
    }
    if (killed) {
        vv_thread_detach(&incarnation->thread);
    }
    release_incarnation(incarnation);
    vv_pool_place_release(place);
    if (killed) {
        return;
    }
    vv_thread_bequeath(); /* whoever hears of the end may join us */
    if (error == VIVERO_OK) {
        vivero_child_ended(child, &reason);
    } else {
        vivero_child_started(child, error);
    }
}

/* ---- What the supervisor asks for ------------------------------------------------------ */

static int new_incarnation(const struct vivero_child_start *start,
                           struct vv_pool_place *place,
                           struct incarnation **fresh)
{
    const struct vv_pool_kept *kept = start->options;
    struct incarnation *incarnation =
        vv_allocate(NULL, sizeof(*incarnation), _Alignof(max_align_t));
    int error;

    if (incarnation == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    error = vv_pool_new(kept != NULL ? &kept->options : NULL, NULL,
                        &incarnation->pool);
    if (error != VIVERO_OK) {
        release_incarnation(incarnation);
        return error;
    }
    error = vv_pool_place_lend(place, incarnation->pool);
    if (error != VIVERO_OK) {
        vv_pool_release(incarnation->pool);
        release_incarnation(incarnation);
        return error;
    }
    incarnation->child = start->child;
    incarnation->place = place;
    incarnation->pool->child = start->child;
    incarnation->pool->patient = kept == NULL || kept->options.shutdown_ns == 0;
    *fresh = incarnation;
    return VIVERO_OK;
}

static int launch(struct incarnation *incarnation)
{
    struct vv_thread_options options = {0};
    char name[48];
    int error;

    (void)snprintf(name, sizeof(name), "%.8s/child", incarnation->pool->name);
    options.name = name;
    vv_mutex_lock(&vv_pool_children);
    incarnation->next = first;
    first = incarnation;
    error = vv_thread_start(&incarnation->thread, &options, run, incarnation);
    if (error != VIVERO_OK) {
        first = incarnation->next;
    }
    vv_mutex_unlock(&vv_pool_children);
    return error;
}

static int start(const struct vivero_child_start *start)
{
    const struct vv_pool_kept *kept = start->options;
    struct vv_pool_place *place;
    struct incarnation *incarnation;
    int error = kept != NULL ? kept->error : VIVERO_OK;

    if (error == VIVERO_OK && start->argument != NULL) {
        error = VIVERO_E_UNSUPPORTED;
    }
    if (error == VIVERO_OK) {
        error = vv_pool_place_occupy(kept, &place);
    }
    if (error != VIVERO_OK) {
        return error;
    }
    error = new_incarnation(start, place, &incarnation);
    if (error == VIVERO_OK) {
        error = launch(incarnation);
        if (error != VIVERO_OK) {
            vv_pool_release(incarnation->pool);
            release_incarnation(incarnation);
        }
    }
    if (error != VIVERO_OK) {
        vv_pool_place_vacate(place);
        return error;
    }
    return VIVERO_CHILD_STARTING;
}

static void ask_to_end(struct vv_pool *pool, bool give_up)
{
    vv_mutex_lock(&pool->lock);
    pool->asked = true;
    pool->given_up = pool->given_up || give_up;
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
}

static void stop(struct vivero_ref child, const struct vivero_exit *reason,
                 const void *options)
{
    struct incarnation *incarnation;

    (void)options;
    vv_mutex_lock(&vv_pool_children);
    incarnation = find_locked(child);
    if (incarnation != NULL) {
        incarnation->reason = *reason;
        ask_to_end(incarnation->pool, false);
    }
    vv_mutex_unlock(&vv_pool_children);
}

static void do_kill(struct vivero_ref child, const void *options)
{
    struct incarnation *incarnation;

    (void)options;
    vv_mutex_lock(&vv_pool_children);
    incarnation = find_locked(child);
    if (incarnation != NULL) {
        incarnation->killed = true;
        incarnation->place->occupied = false;
        (void)vv_pool_advance(incarnation->pool, VV_POOL_CLOSING);
        vv_pool_close_mailboxes(incarnation->pool);
        ask_to_end(incarnation->pool, true);
        vv_cond_broadcast(&changed);
    }
    vv_mutex_unlock(&vv_pool_children);
}

const struct vivero_child_ops vivero_child_pool = {
    .size = sizeof(struct vivero_child_ops),
    .kind = "pool",
    .start = start,
    .stop = stop,
    .kill = do_kill,
    .copy = vv_pool_child_copy,
    .release = vv_pool_child_release};
