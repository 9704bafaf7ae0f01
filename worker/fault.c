/* SPDX-License-Identifier: MIT */
/* fault: what the fault handler decides about a worker's thread.
 *
 * Model.    The handler takes the message by the ticket, as a supervisor fences
 *           (fence.c), and posts what has happened. In a family that drains, the
 *           process then ends. In one that contains, the thread stands still and
 *           its supervisor puts a spare worker into its seat, on a fresh thread;
 *           the fallen thread watches over that: from when it fell until its
 *           supervisor has heard of it, and from when the fresh thread is made
 *           until that has shown that memory and streams can be used, it counts
 *           100 ms. Longer, and it goes back into its fault: the process dies of
 *           what was to be contained, with a true core.
 * Threads.  decide, contain: the fallen one, in a signal handler, at any
 *           instruction: it reads this thread's own fields, changes the ticket
 *           and wakes a thread by a futex; no lock, no memory. prove: the fresh
 *           one. Everything else: the supervisor's.
 * Invariants.
 *   I1 A fault in this library, in the C library or in the allocator is nobody's
 *      to survive: locks are held there. Nor is one for which nobody comes: a
 *      worker that was given up, or fenced.
 *   I2 What others write of a fallen thread is its `watch`, which is its own and
 *      never goes, since the thread never ends: its worker may be freed.
 * Sync.     worker.fault: the message was taken from it. fault.word: something
 *           was posted. fault.watch: I2.
 * Failure.  Whatever goes wrong here ends the process.
 * Rejected. The supervisor as judge: what was damaged may hold up its own next
 *           allocation, and then nobody would judge. */
#include "worker/fault.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/here.h"
#include "os/fault.h"
#include "os/park.h"
#include "os/probe.h"
#include "os/thread.h"
#include "worker/ticket.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define PATIENCE VIVERO_MILLISECONDS(100)

/* The words of a watch. */
enum watch { COUNTING = 0, WAITING, SURVIVED };

static _Atomic(struct vivero_entity *) victim;
static _Atomic uint32_t posted; /* bits VV_FAULT_... */
static _Atomic uint32_t contained;
static _Thread_local _Atomic uint32_t own_watch
    __attribute__((tls_model("initial-exec")));

/* ---- In the signal handler ---------------------------------------------------- */

static bool is_in_handler(const struct vv_here *here)
{
    const struct vivero_entity *worker = here->worker;
    /* relaxed: this thread's own doing. */
    const void *inside =
        atomic_load_explicit(&here->inside, memory_order_relaxed);

    return worker != NULL && inside == NULL && !vv_forked() &&
           worker->in_flight && !worker->inline_call &&
           vv_ticket_is_running(vv_ticket_own(worker));
}

static void post(uint32_t what)
{
    /* sync(fault.word): and what led to it. */
    atomic_fetch_or_explicit(&posted, what, memory_order_release);
    vv_unpark(&posted, 1);
}

static bool drain(struct vivero_entity *worker, int signal)
{
    struct vivero_entity *nobody = NULL;

    if (!vv_ticket_fence(worker, vv_ticket_own(worker))) {
        return false;
    }
    /* sync(fault.victim): its message was taken from it. The second one only
     * stands still: the end is near anyway. */
    if (atomic_compare_exchange_strong_explicit(&victim, &nobody, worker,
                                                memory_order_acq_rel,
                                                memory_order_acquire)) {
        post((uint32_t)signal & VV_FAULT_SIGNAL);
    }
    return true;
}

/* Watch over the one that takes our place. False: it came to nothing. */
static bool outlive(_Atomic uint32_t *watch)
{
    for (;;) {
        /* sync(fault.watch): what was done meanwhile. */
        uint32_t now = atomic_load_explicit(watch, memory_order_acquire);

        if (now == SURVIVED) {
            return true;
        }
        if (!vv_park(watch, now,
                     now == COUNTING ? vivero_now() + PATIENCE
                                     : VIVERO_FOREVER) &&
            /* sync(fault.watch): as above. */
            atomic_load_explicit(watch, memory_order_acquire) == COUNTING) {
            return false;
        }
    }
}

static bool contain(struct vivero_entity *worker, int signal)
{
    /* relaxed: a number; whoever is one too many dies. */
    if (atomic_fetch_add_explicit(&contained, 1, memory_order_relaxed) >=
            worker->spec->contain_max ||
        !vv_ticket_fence(worker, vv_ticket_own(worker))) {
        return false;
    }
    worker->fallen_watch = &own_watch;
    /* sync(worker.fault): its message was taken from it. */
    atomic_store_explicit(&worker->fault, signal, memory_order_release);
    post(VV_FAULT_CONTAIN);
    return outlive(&own_watch);
}

static bool decide(int signal, const void *context)
{
    struct vivero_entity *worker = vv_this_thread.worker;

    if (!is_in_handler(&vv_this_thread) ||
        (!worker->spec->drains && worker->spec->contain_max == 0) ||
        !vv_fault_is_in_program(signal, context,
                                (uintptr_t)vv_worker_run_current)) {
        return false;
    }
    if (worker->spec->contain_max > 0) {
        return contain(worker, signal);
    }
    /* abort() means now. */
    return signal != SIGABRT && drain(worker, signal);
}

int vv_worker_fault_install(void)
{
    return vv_fault_install(decide);
}

_Atomic uint32_t *vv_worker_fault_word(void)
{
    return &posted;
}

/* ---- Draining --------------------------------------------------------------------- */

struct vivero_entity *vv_worker_fault_victim(void)
{
    /* sync(fault.victim): see drain(). */
    return atomic_load_explicit(&victim, memory_order_acquire);
}

void vv_worker_settle_fault(struct vivero_entity *worker,
                            const struct vivero_exit *exit)
{
    (void)vv_reply_fence(vv_worker_running_call(worker), VIVERO_E_DOWN, exit);
    vv_reply_close_debts(worker->debts);
    vv_reply_default(worker->debts, VIVERO_E_DOWN, exit);
    vv_worker_count(&worker->failed);
    vv_crew_finished(worker->seat);
    vv_crew_poke_quiet(worker->seat->crew);
}

/* ---- Containing --------------------------------------------------------------------- */

int vv_worker_fault(const struct vivero_entity *worker)
{
    /* sync(worker.fault): see contain(). */
    return atomic_load_explicit(&worker->fault, memory_order_acquire);
}

static void set_watch(_Atomic uint32_t *watch, enum watch to)
{
    /* sync(fault.watch): what was done. */
    atomic_store_explicit(watch, (uint32_t)to, memory_order_release);
    vv_unpark(watch, 1);
}

static void set_exit(struct vivero_exit *exit,
                     const struct vivero_entity *worker)
{
    int signal = vv_worker_fault(worker);

    *exit = (struct vivero_exit){.kind = VIVERO_EXIT_FAULT, .code = signal};
    (void)snprintf(exit->text, sizeof(exit->text), "%.30s by signal %d",
                   worker->current.operation->name, signal);
}

bool vv_worker_take_fallen(struct vivero_entity *worker,
                           struct vivero_exit *exit)
{
    bool taken;

    vv_mutex_lock(&worker->lock);
    taken = worker->fate == FATE_OPEN;
    if (taken) {
        worker->fate = FATE_FENCED;
    }
    vv_mutex_unlock(&worker->lock);
    if (taken) {
        set_exit(exit, worker);
        set_watch(worker->fallen_watch, WAITING);
        vv_watch_set_awake(worker, false);
    }
    return taken;
}

void vv_worker_follow(struct vivero_entity *spare,
                      const struct vivero_entity *fallen)
{
    spare->proves_to = fallen->fallen_watch;
}

void vv_worker_begin_proof(struct vivero_entity *worker)
{
    if (worker->proves_to != NULL) {
        set_watch(worker->proves_to, COUNTING);
    }
}

void vv_worker_put_off_proof(struct vivero_entity *worker)
{
    if (worker->proves_to != NULL) {
        set_watch(worker->proves_to, WAITING);
    }
}

void vv_worker_prove(struct vivero_entity *worker)
{
    if (worker->proves_to == NULL) {
        return;
    }
    vv_worker_begin_proof(worker); /* a thread that was lent, and comes late */
    vv_memory_try();
    vv_streams_try();
    if (!vv_mailbox_is_sound(worker->seat->mailbox)) {
        abort();
    }
    set_watch(worker->proves_to, SURVIVED);
    worker->proves_to = NULL;
}
