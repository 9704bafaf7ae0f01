/* SPDX-License-Identifier: MIT */
/* pool_fault: the end of the process after a memory error, in better order.
 *
 * Model.    While a pool with VIVERO_FAULT_DRAIN is open a thread waits for a
 *           fault ("vivero/drain"). Then: the thread at fault stands still, its
 *           caller is told DOWN; no pool takes or begins a message any more,
 *           what is queued is answered DRAINING; handlers that run may finish;
 *           after that, or after drain_ns, abort().
 * Threads.  The draining thread; the fault handler only wakes it.
 * Locks.    lock (VV_RANK_FAULT): how many pools want it. Held over the join, so
 *           that nobody starts a second one: told to quit it takes no lock.
 * Failure.  All of this happens in a process whose memory may be damaged. If it
 *           goes wrong the process ends a little earlier.
 * Rejected. Going on without the worker: what else is damaged is not known. */
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

#define QUIT UINT32_MAX

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

static void wait_for_fault(void *ctx)
{
    _Atomic uint32_t *word = ctx;

    for (;;) {
        /* sync(fault.happened): who it was is known. */
        uint32_t signal = atomic_load_explicit(word, memory_order_acquire);

        if (signal == QUIT) {
            return;
        }
        if (signal != 0) {
            drain(signal);
        }
        (void)vv_park(word, 0, VIVERO_FOREVER);
    }
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

bool vv_pool_may_drain(void)
{
    /* relaxed: see vivero_fault_install. */
    return !vv_fault_is_sanitized() ||
           atomic_load_explicit(&forced, memory_order_relaxed);
}

int vv_pool_fault_retain(int64_t drain_ns)
{
    const struct vv_thread_options options = {.name = "vivero/drain"};
    int error = VIVERO_OK;

    vv_mutex_lock(&lock);
    if (users == 0) {
        longest_ns = 0;
        /* relaxed: nobody looks, and no fault can be: no pool drains yet. */
        atomic_store_explicit(vv_worker_fault_word(), 0, memory_order_relaxed);
        error = vv_thread_start(&thread, &options, wait_for_fault,
                                vv_worker_fault_word());
    }
    if (error == VIVERO_OK) {
        users++;
        longest_ns = drain_ns > longest_ns ? drain_ns : longest_ns;
    }
    vv_mutex_unlock(&lock);
    return error;
}

void vv_pool_fault_release(void)
{
    uint32_t nothing = 0;

    vv_mutex_lock(&lock);
    /* sync(fault.happened): nothing happens any more. Unless it has. */
    if (--users == 0 && atomic_compare_exchange_strong_explicit(
                            vv_worker_fault_word(), &nothing, QUIT,
                            memory_order_acq_rel, memory_order_acquire)) {
        vv_unpark(vv_worker_fault_word(), 1);
        vv_thread_join(&thread);
    }
    vv_mutex_unlock(&lock);
}
