/* SPDX-License-Identifier: MIT */
/* fault: what the fault handler decides about a worker's thread.
 *
 * Runs in a signal handler, at any instruction: it reads this thread's own
 * fields, changes the ticket, and wakes the thread that drains. A fault in this
 * library, in the C library or in the allocator is nobody's to survive: locks
 * are held there. */
#include "worker/fault.h"

#include <vivero/error.h>

#include "mailbox/here.h"
#include "os/fault.h"
#include "os/park.h"
#include "os/thread.h"
#include "worker/ticket.h"

static _Atomic(struct vivero_entity *) victim;
static _Atomic uint32_t happened; /* the signal; 0: nothing yet */

static bool is_in_handler(const struct vv_here *here)
{
    const struct vivero_entity *worker = here->worker;
    /* relaxed: this thread's own doing. */
    const void *inside =
        atomic_load_explicit(&here->inside, memory_order_relaxed);

    return worker != NULL && worker->spec->drains && inside == NULL &&
           !vv_forked() && worker->in_flight && !worker->inline_call;
}

static bool decide(int signal, const void *context)
{
    struct vivero_entity *worker = vv_this_thread.worker;
    struct vivero_entity *nobody = NULL;

    if (!is_in_handler(&vv_this_thread) ||
        !vv_fault_is_in_program(context, (uintptr_t)vv_worker_run_current) ||
        !vv_ticket_fence(worker, vv_ticket_own(worker))) {
        return false;
    }
    /* sync(fault.victim): its message was taken from it. */
    if (!atomic_compare_exchange_strong_explicit(&victim, &nobody, worker,
                                                 memory_order_acq_rel,
                                                 memory_order_acquire)) {
        return true; /* the second one: the end is near anyway */
    }
    /* sync(fault.happened): and who it was. */
    atomic_store_explicit(&happened, (uint32_t)signal, memory_order_release);
    vv_unpark(&happened, 1);
    return true;
}

int vv_worker_fault_install(void)
{
    return vv_fault_install(decide);
}

_Atomic uint32_t *vv_worker_fault_word(void)
{
    return &happened;
}

struct vivero_entity *vv_worker_fault_victim(void)
{
    /* sync(fault.victim): see decide(). */
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
