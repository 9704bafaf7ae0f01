/* SPDX-License-Identifier: MIT */
#ifndef WORKER_TICKET_H
#define WORKER_TICKET_H

/* The ticket of a worker: which message it runs, and whose the end of it is.
 *
 *   idle ---begin---> busy ---end---> idle, the next sequence number
 *                        \---fence---> fenced, for good
 *
 * begin and end are by the thread that runs the worker, fence by its owner's
 * supervisor. Where nothing can be fenced end is a plain store; else end and
 * fence are a CAS from the exact busy word, so one of them happens. */

#include "worker/watchdog.h"
#include "worker/worker_private.h"

#define VV_TICKET_BUSY UINT64_C(1)
#define VV_TICKET_INLINE UINT64_C(2) /* on its caller's thread */
#define VV_TICKET_FENCED UINT64_C(4)
#define VV_TICKET_FLAGS UINT64_C(7)
#define VV_TICKET_STEP UINT64_C(8)

static inline uint64_t vv_ticket_load(const struct vivero_entity *worker)
{
    /* sync(worker.ticket): what was written before it can be read. */
    return atomic_load_explicit(&worker->ticket, memory_order_acquire);
}

static inline bool vv_ticket_is_running(uint64_t ticket)
{
    return (ticket & (VV_TICKET_BUSY | VV_TICKET_FENCED)) == VV_TICKET_BUSY;
}

/* What the running thread itself wrote last, unless it was fenced. */
static inline uint64_t vv_ticket_own(const struct vivero_entity *worker)
{
    /* relaxed: this thread's own store, or the fence, which acts by CAS. */
    return atomic_load_explicit(&worker->ticket, memory_order_relaxed);
}

static inline void vv_ticket_begin(struct vivero_entity *worker, bool is_inline)
{
    uint64_t flags =
        is_inline ? VV_TICKET_BUSY | VV_TICKET_INLINE : VV_TICKET_BUSY;

    /* sync(worker.ticket): the fields of this message are written. */
    atomic_store_explicit(&worker->ticket, vv_ticket_own(worker) | flags,
                          memory_order_release);
}

/* False: it was fenced before. */
static inline bool vv_ticket_end(struct vivero_entity *worker)
{
    uint64_t busy = vv_ticket_own(worker);
    uint64_t idle = (busy & ~VV_TICKET_FLAGS) + VV_TICKET_STEP;

    if (worker->spec->watch == NULL || !worker->spec->watch->replaces) {
        /* sync(worker.ticket): the message is over. */
        atomic_store_explicit(&worker->ticket, idle, memory_order_release);
        return true;
    }
    /* sync(worker.ticket): the message is over. The failure order is that of
     * vv_ticket_load(). */
    return (busy & VV_TICKET_FENCED) == 0 &&
           atomic_compare_exchange_strong_explicit(&worker->ticket, &busy, idle,
                                                   memory_order_release,
                                                   memory_order_acquire);
}

/* False: it has ended, or is another message by now. */
static inline bool vv_ticket_fence(struct vivero_entity *worker, uint64_t busy)
{
    /* sync(worker.ticket): acquires what the worker wrote before it began. */
    return atomic_compare_exchange_strong_explicit(
        &worker->ticket, &busy, busy | VV_TICKET_FENCED, memory_order_acq_rel,
        memory_order_acquire);
}

#endif
