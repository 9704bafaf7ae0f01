/* SPDX-License-Identifier: MIT */
/* pool_fault: what becomes of the process after a memory error.
 *
 * Model.    While a pool is open that drains or contains, a thread waits for a
 *           fault ("vivero/fault"). In one that drains: the thread at fault
 *           stands still, its caller is told DOWN; no pool takes or begins a
 *           message any more, what is queued is answered DRAINING; handlers that
 *           run may finish; after that, or after drain_ns, abort(). In one that
 *           contains: its supervisor is woken, which replaces the worker
 *           (pool_watch.c, worker/fault.c).
 * Threads.  The faults' thread; the fault handler only wakes it, as it may take
 *           no lock.
 * Locks.    lock (VV_RANK_FAULT): how many pools want it. Held over the join, so
 *           that nobody starts a second one: told to quit it takes no lock.
 * Failure.  All of this happens in a process whose memory may be damaged. If it
 *           goes wrong the process ends a little earlier.
 * Rejected. Going on by default: what else is damaged is not known. */
#include <vivero/error.h>

#include "base/log.h"
#include "os/clock.h"
#include "os/fault.h"
#include "os/park.h"
#include "os/thread.h"
#include "pool/pool_private.h"
#include "worker/fault.h"

#include <stdio.h>
#include <stdlib.h>

static struct vv_mutex lock = VV_MUTEX_INIT(VV_RANK_FAULT);
/* guarded by lock */
static uint32_t users;
static int64_t longest_ns;
static struct vv_thread thread;
static _Atomic bool forced;

/* ---- Draining -------------------------------------------------------------------- */

static int64_t drain_length(void)
{
    int64_t length;

    vv_mutex_lock(&lock);
    length = longest_ns;
    vv_mutex_unlock(&lock);
    return length;
}

static void stop_pool(struct vv_pool *pool, void *ctx)
{
    (void)ctx;
    vv_crew_suspend(&pool->crew, true);
    (void)vv_pool_advance(pool, VV_POOL_DRAINING);
    vv_pool_close_mailboxes(pool);
    (void)vv_pool_flush(pool, VIVERO_E_DRAINING, NULL, VV_SETTLED_DEAD);
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

static void wait_for_pool(struct vv_pool *pool, void *ctx)
{
    (void)vv_crew_wait_quiet(&pool->crew, *(const int64_t *)ctx, never, NULL);
}

static _Noreturn void drain(uint32_t signal)
{
    struct vivero_entity *victim = vv_worker_fault_victim();
    int64_t deadline = vv_deadline_after(vivero_now(), drain_length());
    struct vivero_exit exit = {.kind = VIVERO_EXIT_FAULT, .code = (int)signal};

    (void)snprintf(exit.text, sizeof(exit.text), "signal %u", signal);
    vv_pool_each_open(stop_pool, NULL);
    if (victim != NULL) {
        vv_worker_settle_fault(victim, &exit);
    }
    vv_log(VIVERO_LOG_ERROR, "fault", "process", NULL, 0,
           "signal %u in a handler: the process is drained and ends", signal);
    vv_pool_each_open(wait_for_pool, &deadline);
    abort();
}

static void look_for_fallen(struct vv_pool *pool, void *ctx)
{
    (void)ctx;
    if (pool->contains) {
        vv_loop_poke(&pool->supervisor);
    }
}

static void wait_for_faults(void *ctx)
{
    _Atomic uint32_t *word = ctx;
    uint32_t posted;

    do {
        /* sync(fault.word): who it was is known. */
        posted = atomic_fetch_and_explicit(
            word, ~(VV_FAULT_CONTAIN | VV_FAULT_QUIT), memory_order_acquire);
        if ((posted & VV_FAULT_SIGNAL) != 0) {
            drain(posted & VV_FAULT_SIGNAL);
        }
        if ((posted & VV_FAULT_CONTAIN) != 0) {
            vv_pool_each_open(look_for_fallen, NULL);
        }
        if (posted == 0) {
            (void)vv_park(word, 0, VIVERO_FOREVER);
        }
    } while ((posted & VV_FAULT_QUIT) == 0);
}

/* ---- Who wants it ------------------------------------------------------------------ */

int vivero_fault_install(uint32_t flags)
{
    if ((flags & ~(uint32_t)VIVERO_FAULT_FORCE) != 0) {
        return VIVERO_E_INVALID;
    }
    if ((flags & VIVERO_FAULT_FORCE) != 0) {
        /* relaxed: read at a later open. */
        atomic_store_explicit(&forced, true, memory_order_relaxed);
    }
    return vv_forked() ? VIVERO_E_FORKED : vv_worker_fault_install();
}

/* A sanitizer's report must not be hidden, unless that is wanted. */
static bool may_survive(void)
{
    /* relaxed: see vivero_fault_install. */
    return !vv_fault_is_sanitized() ||
           atomic_load_explicit(&forced, memory_order_relaxed);
}

static int retain(int64_t drain_ns)
{
    const struct vv_thread_options options = {.name = "vivero/fault"};
    int error = VIVERO_OK;

    vv_mutex_lock(&lock);
    if (users == 0) {
        longest_ns = 0;
        error = vv_thread_start(&thread, &options, wait_for_faults,
                                vv_worker_fault_word());
    }
    if (error == VIVERO_OK) {
        users++;
        longest_ns = drain_ns > longest_ns ? drain_ns : longest_ns;
    }
    vv_mutex_unlock(&lock);
    return error;
}

int vv_pool_fault_hold(struct vv_pool *pool)
{
    const struct vivero_pool_options *options = &pool->options;
    bool drains = options->fault == VIVERO_FAULT_DRAIN;
    int error;

    if (options->fault == VIVERO_FAULT_DIE || !may_survive()) {
        return VIVERO_OK;
    }
    error = retain(drains ? options->drain_ns : 0);
    pool->drains = error == VIVERO_OK && drains;
    pool->contains = error == VIVERO_OK && !drains;
    return error;
}

void vv_pool_fault_let_go(const struct vv_pool *pool)
{
    if (!pool->drains && !pool->contains) {
        return;
    }
    vv_mutex_lock(&lock);
    /* sync(fault.word): nothing is posted any more. A drain that has begun takes
     * the lock, and does not end. */
    if (--users == 0 &&
        (atomic_fetch_or_explicit(vv_worker_fault_word(), VV_FAULT_QUIT,
                                  memory_order_release) &
         VV_FAULT_SIGNAL) == 0) {
        vv_unpark(vv_worker_fault_word(), 1);
        vv_thread_join(&thread);
    }
    vv_mutex_unlock(&lock);
}
