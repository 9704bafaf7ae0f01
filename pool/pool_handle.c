/* SPDX-License-Identifier: MIT */
/* pool_handle: what the program holds of a pool.
 *
 * Model.    A handle is a place in a static table that is never freed, so a call
 *           on a closed pool is recognised. That of a pool which is a
 *           supervisor's child moves: each incarnation of the child is another
 *           pool behind it, and after the last of them the one that is always
 *           closed.
 * Invariants.
 *   I1 One that moves is never empty while it is in use.
 *   I2 Who is inside of a pool behind a moving handle has marked it and seen it
 *      there after that. So who puts another one in its place, and then sees no
 *      mark, may free it.
 * Locks.    handles_lock (VV_RANK_RUNTIME): which places are taken.
 * Sync.     pool.handle: an opened pool is whole; with here.inside, I2.
 * Rejected. A reference for each visit: two contended writes per message. */
#include <vivero/error.h>

#include "pool/pool_private.h"

#define HANDLES_MAX 65536u

static struct vv_mutex handles_lock = VV_MUTEX_INIT(VV_RANK_RUNTIME);
static struct vivero_pool handles[HANDLES_MAX]; /* entries: atomic */
static uint32_t next_handle;                    /* guarded by handles_lock */

/* Has no workers, so whatever is asked of it is refused. */
static struct vv_pool closed = {
    .options = {.workers_max = VV_SEATS_MAX, .own_threads = true},
    .name = "closed",
    .public_name = "closed",
    .phase = VV_POOL_CLOSING,
    .references = 1,
    .lock = VV_MUTEX_INIT(VV_RANK_POOL),
    .changed = {PTHREAD_COND_INITIALIZER}};

struct vv_pool *vv_pool_closed(void)
{
    return &closed;
}

void vv_handle_set(struct vivero_pool *handle, struct vv_pool *pool)
{
    /* sync(pool.handle): the pool is whole; seq_cst, see vv_here_protect(). */
    atomic_store_explicit(&handle->pool, pool, memory_order_seq_cst);
}

int vv_handle_take(struct vivero_pool **taken, struct vv_pool *pool, bool moves)
{
    int error = VIVERO_E_LIMIT;

    vv_mutex_lock(&handles_lock);
    for (uint32_t i = 0; i < HANDLES_MAX && error != VIVERO_OK; i++) {
        struct vivero_pool *handle = &handles[(next_handle + i) % HANDLES_MAX];
        const struct vv_pool *behind = vv_pool_of(handle);
        bool retired = behind == &closed && !handle->taken;

        if (behind == NULL || retired) {
            next_handle = (next_handle + i + 1) % HANDLES_MAX;
            handle->taken = moves;
            /* relaxed: nobody has been given it yet. */
            atomic_store_explicit(&handle->moves, moves, memory_order_relaxed);
            vv_handle_set(handle, pool);
            *taken = handle;
            error = VIVERO_OK;
        }
    }
    vv_mutex_unlock(&handles_lock);
    return error;
}

void vv_handle_retire(struct vivero_pool *handle)
{
    vv_handle_set(handle, &closed);
    vv_mutex_lock(&handles_lock);
    handle->taken = false;
    vv_mutex_unlock(&handles_lock);
}

/* The pool whose worker the calling thread runs, if it is an incarnation of this
 * handle's: a worker never means its predecessors or successors. It stays as
 * long as the worker. */
static struct vv_pool *own_pool(const struct vivero_pool *handle,
                                const struct vv_here *here)
{
    struct vv_pool *pool =
        here->worker != NULL ? vv_worker_spec_of(here->worker)->owner : NULL;

    return pool != NULL && pool->handle == handle ? pool : NULL;
}

static struct vv_pool *look_again(const struct vivero_pool *handle)
{
    /* sync(pool.handle): the pool is whole; seq_cst, see vv_here_protect(). */
    return atomic_load_explicit(&handle->pool, memory_order_seq_cst);
}

struct vv_pool *vv_handle_protect(const struct vivero_pool *handle,
                                  struct vv_here *here)
{
    struct vv_pool *pool = own_pool(handle, here);
    struct vv_pool *seen;

    if (pool == NULL && !vv_here_is_listed(here)) {
        pool = &closed; /* its marks are seen by nobody */
    }
    if (pool != NULL) {
        vv_here_protect(here, pool);
        return pool;
    }
    seen = look_again(handle);
    while (pool != seen) {
        pool = seen;
        vv_here_protect(here, pool);
        seen = look_again(handle);
    }
    return pool;
}

void vv_pool_each_open(void (*fn)(struct vv_pool *pool, void *ctx), void *ctx)
{
    struct vv_here *here = vv_here();

    for (uint32_t i = 0; i < HANDLES_MAX; i++) {
        struct vv_pool *pool = vv_pool_of(&handles[i]);

        if (pool != NULL && pool != &closed) {
            const void *previous = vv_here_enter(here, pool);

            vv_here_protect(here, pool);
            if (look_again(&handles[i]) == pool) {
                fn(pool, ctx);
            }
            vv_here_leave(here, previous);
        }
    }
}
