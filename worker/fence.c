/* SPDX-License-Identifier: MIT */
/* fence: a worker's seat is taken from under a handler that does not come back.
 *
 * Model.    A thread cannot be stopped, so it is shut out. What it has is left to
 *           it: its struct, its payload, its arguments. What others wait for is
 *           taken from it: the message in flight, the debts, the seat, which a
 *           spare worker gets. The old one is a zombie; when its handler comes
 *           back it finds its message gone, runs its defers, terminate and
 *           destroy with the reason FENCED, and its thread ends.
 * Threads.  take_away to release: the supervisor's. Everything the zombie does is
 *           on its own thread.
 * Invariants.
 *   I1 Whoever changes the ticket from the busy word, the handler's return or
 *      take_away, ends the message: nobody else answers, counts or frees for it.
 *   I2 A zombie touches its seat no more. Its ways there: ending a message
 *      (I1), its news (fate, under its lock), waiting for an answer (a record
 *      of its own, which the seat does not name any more), the calls of
 *      <vivero/...> (refused by vv_here_may_act(), in whatever module, or begun
 *      before the fence).
 *   I3 A zombie waits in notice_fence() until the supervisor has finished with
 *      what it lent: arguments, defers, the struct.
 *   I4 Spares and zombies are never freed while the pool is there, so a stale
 *      pointer hits a worker. Whoever is not the supervisor looks one up and
 *      uses it under the owner's lock, under which seats change hands.
 * Locks.    The worker's lock: fate, debts are closed under the depot's.
 * Sync.     worker.ticket: I1. worker.settled: I3.
 * Failure.  Nothing is allocated: the spare was there before. None left: the
 *           owner gives up.
 * Rejected. pthread_cancel, a signal and a jump: locks stay locked, and malloc
 *           dies within a few kills. A new struct at the time: it may fail when
 *           it is needed most. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "os/park.h"
#include "worker/fault.h"
#include "worker/ticket.h"

#include <string.h>

/* ---- The supervisor's side ------------------------------------------------------ */

bool vv_worker_take_away(struct vivero_entity *worker, uint64_t ticket)
{
    bool taken;

    vv_mutex_lock(&worker->lock);
    taken = worker->fate == FATE_OPEN && vv_ticket_fence(worker, ticket);
    if (taken) {
        worker->fate = FATE_FENCED;
    }
    vv_mutex_unlock(&worker->lock);
    return taken;
}

static uint64_t read_counter(const _Atomic uint64_t *counter)
{
    /* relaxed: its writer is fenced, and the ticket said so. */
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void copy_counter(_Atomic uint64_t *to, const _Atomic uint64_t *from)
{
    /* relaxed: for snapshots. */
    atomic_store_explicit(to, read_counter(from), memory_order_relaxed);
}

static void take_state_over(struct vivero_entity *spare,
                            struct vivero_entity *old)
{
    if (old->has_committed) {
        memcpy(spare->committed, old->committed, old->spec->payload_size);
        old->has_committed = false;
        spare->has_committed = true;
    }
}

void vv_worker_succeed(struct vivero_entity *old, struct vivero_entity *spare)
{
    spare->seat = old->seat;
    memcpy(spare->name, old->name, sizeof(spare->name));
    copy_counter(&spare->handled, &old->handled);
    copy_counter(&spare->failed, &old->failed);
    copy_counter(&spare->incarnation, &old->incarnation);
    spare->generation = old->generation;
    if (vv_worker_fault(old) != 0) {
        vv_worker_follow(spare, old); /* and its state is not to be trusted */
    } else {
        take_state_over(spare, old);
    }
    vv_worker_set_phase(spare, PHASE_RESTARTING);
    vv_mutex_lock(&old->lock);
    spare->retire = old->retire;
    vv_mutex_unlock(&old->lock);
    vv_worker_set_lost_thread(spare, true);
    vv_wait_take_seat(spare->waiter, spare->seat);
    /* sync(seat.worker): it is whole. */
    atomic_store_explicit(&spare->seat->worker, spare, memory_order_release);
}

static void keep_for(struct vivero_entity *next,
                     const struct vivero_entity *old)
{
    vv_mutex_lock(&next->lock);
    next->again.message = old->current;
    next->again.message.box = vv_box_share(old->current.box);
    next->again.full = true;
    vv_mutex_unlock(&next->lock);
}

static void end_message(struct vivero_entity *old, struct vivero_entity *next,
                        const struct vivero_exit *exit)
{
    const struct vv_reply *reply = old->current.reply;

    if (next != NULL && vv_worker_fault(old) == 0 &&
        vv_worker_may_retry(next, &old->current)) {
        keep_for(next, old);
        return;
    }
    vv_worker_count(next != NULL ? &next->failed : &old->failed);
    if (reply != NULL) {
        const struct vivero_reply_token token = {reply->index,
                                                 old->current.generation};

        (void)vv_reply_fence(token, VIVERO_E_DOWN, exit);
    }
    if (old->spec->dead != NULL) {
        old->spec->dead(&old->current, vv_worker_arguments(old), exit,
                        old->spec->owner);
    }
    vv_crew_finished(old->seat);
}

void vv_worker_settle_fenced(struct vivero_entity *old,
                             struct vivero_entity *next,
                             const struct vivero_exit *exit)
{
    struct vivero_entity *visible = next != NULL ? next : old;
    /* relaxed: the ticket was taken, so it is of that message; NULL: init. */
    const struct vivero_operation *operation =
        atomic_load_explicit(&old->operation, memory_order_relaxed);

    if (next == NULL) {
        vv_worker_set_phase(old, PHASE_ABSENT);
    }
    vv_reply_close_debts(old->debts);
    if (operation != NULL) {
        end_message(old, next, exit);
    }
    vv_reply_default(old->debts, VIVERO_E_DOWN, exit);
    vv_mutex_lock(&visible->lock);
    visible->last_exit = *exit;
    vv_mutex_unlock(&visible->lock);
    vv_worker_run_supervised_defers(old);
    vv_worker_flush_lanes(visible, exit);
    vv_crew_poke_quiet(old->seat->crew);
}

void vv_worker_release_fenced(struct vivero_entity *old)
{
    if (old->has_thread) {
        old->has_thread = false;
        vv_thread_detach(&old->thread);
    }
    /* sync(worker.settled): all that was taken from it. */
    atomic_store_explicit(&old->settled, 1, memory_order_release);
    vv_unpark(&old->settled, 1);
}

bool vv_worker_is_zombie(struct vivero_entity *worker)
{
    bool zombie;

    vv_mutex_lock(&worker->lock);
    zombie = worker->fate == FATE_FENCED;
    vv_mutex_unlock(&worker->lock);
    return zombie;
}

void vv_worker_make_spare(struct vivero_entity *old)
{
    uint64_t ticket = vv_ticket_own(old);

    vv_reply_open_debts(old->debts);
    old->fenced = false;
    old->exit = (struct vivero_exit){0};
    vv_mutex_lock(&old->lock);
    old->fate = FATE_OPEN;
    old->retire = false;
    old->leaving = false;
    old->last_exit = (struct vivero_exit){0};
    vv_mutex_unlock(&old->lock);
    /* relaxed: the owner's lock hands the spare on. */
    atomic_store_explicit(&old->settled, 0, memory_order_relaxed);
    /* relaxed: as above. */
    atomic_store_explicit(&old->running_reply, 0, memory_order_relaxed);
    /* relaxed: as above; a number it never had. */
    atomic_store_explicit(&old->ticket,
                          (ticket & ~VV_TICKET_FLAGS) + VV_TICKET_STEP,
                          memory_order_relaxed);
}

/* ---- The zombie's side ------------------------------------------------------------- */

bool vv_worker_is_fenced(const struct vivero_entity *worker)
{
    return (vv_ticket_load(worker) & VV_TICKET_FENCED) != 0;
}

static bool is_settled(const struct vivero_entity *worker)
{
    /* sync(worker.settled): nobody looks at what it lent any more. */
    return atomic_load_explicit(&worker->settled, memory_order_acquire) != 0;
}

void vv_worker_await_settled(struct vivero_entity *worker)
{
    while (!is_settled(worker)) {
        (void)vv_park(&worker->settled, 0, VIVERO_FOREVER);
    }
}

void vv_worker_notice_fence(struct vivero_entity *worker)
{
    vv_worker_await_settled(worker);
    worker->fenced = true;
    worker->ends = true;
    worker->final = true;
    worker->in_flight = false;
    vv_exit_set(&worker->exit, VIVERO_EXIT_FENCED, VIVERO_E_FENCED,
                "it was replaced while its handler ran");
    vv_message_fini(&worker->current);
}

static bool may_not_act(const struct vivero_entity *worker)
{
    return vv_worker_is_fenced(worker) || vv_single_is_given_up(worker);
}

void vv_worker_set_here(struct vv_here *here, struct vivero_entity *worker)
{
    here->worker = worker;
    here->is_fenced = may_not_act;
}
