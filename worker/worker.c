/* SPDX-License-Identifier: MIT */
/* worker: one message after another, on a payload of its own.
 *
 * Model.    A worker sits in a seat of a crew and runs its messages. This file
 *           is what happens with one message: run it, apply the verdict, settle
 *           its caller. carrier.c is the life around it.
 * Threads.  Everything from vv_worker_run_current() down runs on the carrier,
 *           or on a caller's thread that borrowed the idle worker; never on
 *           both: the seat's idle bit passes the worker from one to the other.
 * Invariants.
 *   I1 A message that has begun is settled once: here, by the fencing of its
 *      reply slot, or by whoever pays its debt.
 *   I2 A handler writes its answer to the worker's scratch, never to the reply
 *      slot: when it was fenced, the slot may belong to somebody else by then.
 *   I3 Whoever ends the ticket owns the end of the message: its handler's return
 *      (or jump), or the supervisor that fenced it. See ticket.h, fence.c.
 * Sync.     worker.ticket: what a snapshot reads belongs to one message.
 *           worker.running_reply: the token with which a running call can be
 *           fenced.
 * Failure.  No memory for a large answer: the call is answered NO_MEMORY and its
 *           handler does not run. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "worker/ticket.h"

#include <pthread.h>
#include <string.h>

/* ---- Exit reasons -------------------------------------------------------------- */

void vv_exit_set(struct vivero_exit *exit, enum vivero_exit_kind kind, int code,
                 const char *text)
{
    *exit = vivero_reason(kind, code, text);
}

/* ---- Counters: one writer at a time, relaxed readers ------------------------------ */

void vv_worker_count(_Atomic uint64_t *counter)
{
    /* relaxed: one writer at a time; readers want a number, not an order. */
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);

    /* relaxed: as above. */
    atomic_store_explicit(counter, value + 1, memory_order_relaxed);
}

static uint64_t counted(const _Atomic uint64_t *counter)
{
    /* relaxed: as in count(). */
    return atomic_load_explicit(counter, memory_order_relaxed);
}

uint64_t vv_worker_take_count(_Atomic uint64_t *counter)
{
    /* relaxed: as in count(). */
    return atomic_exchange_explicit(counter, 0, memory_order_relaxed);
}

/* ---- The stage: what runs the messages of one worker ------------------------------ */

void vv_worker_init_stage(struct vivero_entity *worker,
                          const struct vv_worker_spec *spec)
{
    worker->self.entity = worker;
    worker->spec = spec;
    worker->out = worker->scratch;
    worker->out_size = VV_SCRATCH;
    worker->debts = &worker->own_debts;
    vv_mutex_init(&worker->lock, VV_RANK_WORKER);
}

void vv_worker_fini_stage(struct vivero_entity *worker)
{
    if (worker->out != worker->scratch) {
        vv_release(worker->spec->account, worker->out, worker->out_size,
                   _Alignof(max_align_t));
    }
    vv_mutex_fini(&worker->lock);
}

/* ---- One message -------------------------------------------------------------------- */

static void set_busy(struct vivero_entity *worker)
{
    const struct vv_reply *reply = worker->current.reply;

    /* relaxed: for snapshots, which check the ticket around them. */
    atomic_store_explicit(&worker->busy_since_ns, vv_clock_coarse(),
                          memory_order_relaxed);
    /* relaxed: as above. */
    atomic_store_explicit(&worker->operation, worker->current.operation,
                          memory_order_relaxed);
    if (reply != NULL) {
        /* sync(worker.running_reply): the slot is begun. */
        atomic_store_explicit(&worker->running_reply,
                              ((uint64_t)reply->index + 1) << 32 |
                                  worker->current.generation,
                              memory_order_release);
    }
    worker->current.attempt++;
    worker->in_flight = true;
    vv_ticket_begin(worker, worker->inline_call);
}

/* The message is over for whoever looks; its caller is told next, so that what
 * a caller sees after its answer includes its own call. False: it was taken
 * away before, and nothing of it is ours any more. */
static bool set_idle(struct vivero_entity *worker)
{
    worker->in_flight = false;
    if (!vv_ticket_end(worker)) {
        vv_worker_notice_fence(worker);
        return false;
    }
    return true;
}

/* Its caller has been told. */
static void clear_current(struct vivero_entity *worker)
{
    if (worker->current.reply != NULL) {
        /* sync(worker.running_reply): settled; a stale token is harmless. */
        atomic_store_explicit(&worker->running_reply, 0, memory_order_release);
    }
    vv_message_fini(&worker->current);
    if (worker->seat != NULL) {
        vv_crew_finished(worker->seat);
    }
}

/* Room for the answer, zeroed. NULL: no memory. */
static void *prepare_out(struct vivero_entity *worker, uint32_t size)
{
    if (size > worker->out_size) {
        void *larger =
            vv_allocate(worker->spec->account, size, _Alignof(max_align_t));

        if (larger == NULL) {
            return NULL;
        }
        if (worker->out != worker->scratch) {
            vv_release(worker->spec->account, worker->out, worker->out_size,
                       _Alignof(max_align_t));
        }
        worker->out = larger;
        worker->out_size = size;
    }
    memset(worker->out, 0, size);
    return worker->out;
}

static void answer(struct vivero_entity *worker, int result)
{
    worker->result = result;
    if (worker->owes_current) {
        (void)vv_reply_pay(worker->debt, result, worker->out,
                           worker->current.operation->out_size);
    } else if (worker->current.reply != NULL) {
        vv_reply_settle(worker->current.reply, worker->current.generation,
                        result, worker->out, &worker->exit);
    }
}

const void *vv_worker_arguments(const struct vivero_entity *worker)
{
    if (worker->current.operation->in_size == 0) {
        return NULL;
    }
    if (worker->inline_call) {
        return worker->inline_in;
    }
    return worker->current.box != NULL ? worker->current.box->bytes
                                       : worker->current.args;
}

void vv_worker_tell_dead(struct vivero_entity *worker,
                         const struct vv_message *message, const void *in,
                         const struct vivero_exit *reason)
{
    sigjmp_buf *recovery = worker->recovery;

    if (worker->spec->dead == NULL) {
        return;
    }
    worker->recovery = NULL; /* it must not jump out of the hook */
    worker->spec->dead(message, in, reason, worker->spec->owner);
    worker->recovery = recovery;
}

void vv_worker_fail_in_flight(struct vivero_entity *worker)
{
    if (!worker->in_flight) {
        return;
    }
    if (!set_idle(worker) || vv_worker_keep_current(worker)) {
        return;
    }
    vv_worker_count(&worker->failed);
    if (!worker->owes_current) {
        answer(worker, VIVERO_E_DOWN);
    } /* else it is among the debts, which default as a whole */
    vv_worker_tell_dead(worker, &worker->current, vv_worker_arguments(worker),
                        &worker->exit);
    clear_current(worker);
}

/* The caller of a pool is told at once, since siblings go on; that of a worker
 * on its own after terminate, when its name is free. */
static bool end_failed(struct vivero_entity *worker)
{
    if (worker->single == NULL) {
        vv_worker_fail_in_flight(worker);
    }
    worker->ends = true;
    return false;
}

/* Its handler came back with something. False: too late. */
static bool handled(struct vivero_entity *worker, bool good)
{
    if (!set_idle(worker)) {
        return false;
    }
    if (worker->spec->commits) {
        vv_worker_commit(worker, good);
    }
    vv_worker_count(&worker->handled);
    return true;
}

static bool fail(struct vivero_entity *worker, int code, const char *text)
{
    vv_exit_set(&worker->exit,
                worker->single != NULL ? VIVERO_EXIT_BAD_VALUE
                                       : VIVERO_EXIT_FAILED,
                code, text);
    return end_failed(worker);
}

static bool done(struct vivero_entity *worker, int result)
{
    if (!handled(worker, result == VIVERO_OK)) {
        return false;
    }
    answer(worker, result);
    clear_current(worker);
    return true;
}

/* It ends for good, and worker->exit says why. */
static bool stop(struct vivero_entity *worker)
{
    worker->ends = true;
    worker->final = true;
    if (worker->single == NULL) {
        return done(worker, VIVERO_OK) && false;
    }
    if (!handled(worker, true)) {
        return false;
    }
    worker->answers_last = true;
    return false;
}

void vv_worker_answer_last(struct vivero_entity *worker)
{
    if (worker->answers_last) {
        worker->answers_last = false;
        answer(worker, VIVERO_OK);
        clear_current(worker);
    }
}

static bool stop_without_reply(struct vivero_entity *worker)
{
    worker->final = true;
    return end_failed(worker);
}

/* Apply what the handler returned. */
static bool conclude(struct vivero_entity *worker, int verdict)
{
    if (verdict <= 0 || verdict == VIVERO_REPLACE) {
        return done(worker, verdict < 0 ? verdict : VIVERO_OK);
    }
    switch (verdict) {
    case VIVERO_HALT:
        vv_exit_set(&worker->exit, VIVERO_EXIT_NORMAL, 0, NULL);
        return stop(worker);
    case VIVERO_STOP:
    case VIVERO_STOP_NO_REPLY:
        if (worker->exit.kind == VIVERO_EXIT_NONE) {
            vv_exit_set(&worker->exit, VIVERO_EXIT_NORMAL, 0, NULL);
        }
        return verdict == VIVERO_STOP ? stop(worker)
                                      : stop_without_reply(worker);
    case VIVERO_NO_REPLY:
        if (!worker->owes_current) {
            return fail(worker, verdict, "no reply and no token for one");
        }
        if (!handled(worker, true)) {
            return false;
        }
        clear_current(worker);
        return true;
    case VIVERO_FAIL:
        if (worker->exit.kind != VIVERO_EXIT_FAILED) {
            /* A bare verdict; vivero_fail() would have set the reason. */
            vv_exit_set(&worker->exit, VIVERO_EXIT_FAILED, 0, NULL);
        }
        return end_failed(worker);
    default:
        return fail(worker, verdict, "the handler returned no known verdict");
    }
}

bool vv_worker_run_current(struct vivero_entity *worker)
{
    const struct vivero_operation *operation = worker->current.operation;
    const void *in = vv_worker_arguments(worker);
    void *out = NULL;

    worker->owes_current = false;
    set_busy(worker);
    if (operation->out_size > 0) {
        out = prepare_out(worker, operation->out_size);
        if (out == NULL) {
            return done(worker, VIVERO_E_NO_MEMORY);
        }
    }
    return conclude(worker, operation->run(&worker->self, in, out));
}

/* ---- In a caller's place ----------------------------------------------------------------- */

/* A handler left the caller's own thread with pthread_exit(): the worker goes
 * back to its carrier, which finds it ended. */
static void caller_left(void *ctx)
{
    struct vivero_entity *worker = ctx;

    vv_exit_set(&worker->exit, VIVERO_EXIT_THREAD_LEFT, 0,
                "the handler ended its caller's thread");
    vv_worker_fail_in_flight(worker);
    worker->ends = true;
    worker->inline_call = false;
    vv_crew_give_back(worker->seat, true);
}

static __attribute__((noinline)) void
run_with_recovery(struct vivero_entity *worker)
{
    sigjmp_buf recovery;
    sigjmp_buf *volatile carriers = worker->recovery;

    worker->recovery = &recovery;
    if (sigsetjmp(recovery, 0) == 0) {
        (void)vv_worker_run_current(worker);
    } else {
        vv_worker_fail_in_flight(worker);
    }
    worker->recovery = carriers;
}

/* Take an idle worker's place. NULL: none is idle. */
static struct vivero_entity *step_in(struct vv_crew *crew, uint32_t index,
                                     const struct vivero_operation *operation,
                                     const void *in, int64_t deadline_ns)
{
    struct vv_seat *seat = vv_crew_borrow(crew, index);
    struct vivero_entity *worker;

    if (seat == NULL) {
        return NULL;
    }
    if (!vv_crew_lend(seat)) {
        vv_crew_give_back(seat, false);
        return NULL;
    }
    worker = vv_worker_of(seat);
    vv_watch_arm(worker->spec->watch);
    worker->current = (struct vv_message){.operation = operation};
    worker->inline_call = true;
    worker->inline_in = in;
    worker->inline_reply = NULL;
    worker->inline_deadline_ns = deadline_ns;
    return worker;
}

/* Leave it; the result of the call. */
static int step_out(struct vivero_entity *worker, void *out, uint32_t out_size)
{
    struct vv_reply *reply = worker->inline_reply;
    int result = worker->result;
    bool ends = worker->ends;

    if (reply == NULL && ends && !worker->final) {
        vv_here()->last_exit = worker->exit;
        result = VIVERO_E_DOWN;
    } else if (reply == NULL && result == VIVERO_OK && out != NULL) {
        memcpy(out, worker->out, out_size);
    }
    worker->inline_call = false;
    vv_crew_give_back(worker->seat, ends);
    if (reply != NULL) {
        const struct vv_spin none = {0, 0};
        bool expired;

        result = vv_reply_wait(reply, &none, out, &expired);
        vv_reply_release();
    }
    return result;
}

bool vv_worker_try_here(struct vv_crew *crew, uint32_t seat,
                        const struct vivero_operation *operation,
                        const void *in, void *out, int64_t deadline_ns,
                        int *result)
{
    struct vivero_entity *worker =
        step_in(crew, seat, operation, in, deadline_ns);
    struct vv_here *here = vv_here();
    struct vivero_entity *previous = here->worker;
    struct vivero_ref within = here->within;
    const void *inside;

    if (worker == NULL) {
        return false;
    }
    if (previous != NULL) {
        vv_wait_for_seat(vv_worker_waiter(previous), worker->seat);
    }
    /* The worker cannot leave while it is lent, so its pool stays; should the
     * handler never return, a close that gave up need not wait for us. */
    inside = vv_here_enter(here, worker);
    vv_worker_set_here(here, worker);
    here->waiter = worker->waiter;
    here->within = worker->spec->within;
    pthread_cleanup_push(caller_left, worker);
    run_with_recovery(worker);
    pthread_cleanup_pop(0);
    vv_worker_set_here(here, previous);
    here->waiter = previous != NULL ? previous->waiter : NULL;
    here->within = within;
    vv_here_leave(here, inside);
    if (previous != NULL) {
        vv_wait_end(vv_worker_waiter(previous));
    }
    *result = step_out(worker, out, operation->out_size);
    return true;
}

/* ---- Threads that were given up ----------------------------------------------------------- */

static _Atomic uint32_t given_up;

void vv_worker_count_given_up(int change)
{
    /* relaxed: a number to look at. */
    atomic_fetch_add_explicit(&given_up, (uint32_t)change,
                              memory_order_relaxed);
}

uint32_t vivero_abandoned_threads(void)
{
    /* relaxed: a number to look at. */
    return atomic_load_explicit(&given_up, memory_order_relaxed);
}

/* ---- Looking ------------------------------------------------------------------------------- */

struct vivero_entity *vv_worker_of(const struct vv_seat *seat)
{
    /* sync(seat.worker): it is whole. */
    return atomic_load_explicit(&seat->worker, memory_order_acquire);
}

struct vv_seat *vv_worker_seat(const struct vivero_entity *worker)
{
    return worker->seat;
}

struct vv_waiter *vv_worker_waiter(struct vivero_entity *worker)
{
    return worker->waiter;
}

const struct vv_worker_spec *
vv_worker_spec_of(const struct vivero_entity *worker)
{
    return worker->spec;
}

uint32_t vv_worker_index(const struct vivero_entity *worker)
{
    return worker->seat->index;
}

void *vv_worker_payload(struct vivero_entity *worker)
{
    return worker->payload;
}

void vv_worker_set_phase(struct vivero_entity *worker,
                         enum vv_worker_phase phase)
{
    /* relaxed: for snapshots. */
    atomic_store_explicit(&worker->phase, (uint32_t)phase,
                          memory_order_relaxed);
}

static enum vivero_worker_state state_of(struct vivero_entity *worker,
                                         bool busy)
{
    /* relaxed: a picture, not an order. */
    uint32_t phase = atomic_load_explicit(&worker->phase, memory_order_relaxed);

    switch ((enum vv_worker_phase)phase) {
    case PHASE_STARTING:
        return VIVERO_WORKER_STARTING;
    case PHASE_RUNNING:
        return busy ? VIVERO_WORKER_BUSY : VIVERO_WORKER_IDLE;
    case PHASE_RESTARTING:
        return VIVERO_WORKER_RESTARTING;
    case PHASE_LEAVING:
        return VIVERO_WORKER_LEAVING;
    case PHASE_ABSENT:
        break;
    }
    return VIVERO_WORKER_ABSENT;
}

void vv_worker_look(struct vivero_entity *worker,
                    struct vivero_worker_snapshot *snapshot)
{
    uint64_t ticket = vv_ticket_load(worker);
    bool busy = vv_ticket_is_running(ticket);
    int64_t now = vv_clock_coarse();
    /* relaxed: checked by the ticket. */
    int64_t since =
        atomic_load_explicit(&worker->busy_since_ns, memory_order_relaxed);
    /* relaxed: checked by the ticket. */
    const struct vivero_operation *operation =
        atomic_load_explicit(&worker->operation, memory_order_relaxed);

    busy = busy && operation != NULL && vv_ticket_load(worker) == ticket;
    snapshot->id = vivero_entity_id(worker);
    snapshot->state = state_of(worker, busy);
    if (busy) {
        snapshot->operation = operation->name;
        snapshot->busy_for_ns = now > since ? now - since : 1;
    }
    snapshot->handled = counted(&worker->handled);
    snapshot->failed = counted(&worker->failed);
    snapshot->stolen = worker->seat != NULL ? counted(&worker->seat->taken) : 0;
    snapshot->restarts = counted(&worker->incarnation);
}

void vv_worker_snapshot(struct vivero_entity *worker,
                        struct vivero_worker_snapshot *snapshot)
{
    vv_worker_look(worker, snapshot);
    vv_mutex_lock(&worker->lock);
    snapshot->last_exit = worker->last_exit;
    if (worker->retire && snapshot->state != VIVERO_WORKER_ABSENT) {
        snapshot->state = VIVERO_WORKER_LEAVING;
    }
    vv_mutex_unlock(&worker->lock);
}
