/* SPDX-License-Identifier: MIT */
/* carrier: the thread that runs a worker, from its first incarnation to its
 * last.
 *
 * Model.    STARTING --init--> RUNNING --fail, exit, halt, stop--> the death
 *           path --> RESTARTING (waits for START or STOP) or LEAVING.
 *           Every ending goes through die(): the caller of the running message
 *           was told before; then debts default, terminate, destroy, report,
 *           and the owner is given the news.
 * Threads.  One carrier per worker. Commands come from the owner's supervisor.
 * Invariants.
 *   I1 init succeeded <=> destroy will run, once (`alive`).
 *   I2 A recovery point is armed exactly while init or handlers may run.
 *   I3 Whatever leaves the loop, also pthread_exit() in a handler, ends in die().
 * Sync.     worker.command: the owner's word; its attention or the futex says
 *           that there is one.
 * Rejected. Arming the recovery point for each message: 5 ns for nothing. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/log.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/park.h"
#include "os/probe.h"
#include "worker/ticket.h"

#include <stdio.h>
#include <string.h>

/* ---- Commands ---------------------------------------------------------------------- */

static enum vv_worker_command next_command(struct vivero_entity *worker)
{
    /* sync(worker.command): see vv_worker_command. */
    return (enum vv_worker_command)atomic_exchange_explicit(
        &worker->command, VV_COMMAND_NONE, memory_order_acq_rel);
}

/* The next command other than NONE. */
static enum vv_worker_command wait_for_command(struct vivero_entity *worker)
{
    enum vv_worker_command command = next_command(worker);

    while (command == VV_COMMAND_NONE) {
        (void)vv_park(&worker->command, VV_COMMAND_NONE, VIVERO_FOREVER);
        command = next_command(worker);
    }
    return command;
}

static void end_with(struct vivero_entity *worker, enum vivero_exit_kind kind)
{
    vv_exit_set(&worker->exit, kind, 0, NULL);
    worker->ends = true;
    worker->final = true;
}

static bool is_to_retire(struct vivero_entity *worker)
{
    bool retire;

    vv_mutex_lock(&worker->lock);
    retire = worker->retire;
    vv_mutex_unlock(&worker->lock);
    return retire;
}

/* ---- The loop ------------------------------------------------------------------------ */

static void notice_retirement(struct vivero_entity *worker)
{
    worker->retiring = is_to_retire(worker);
    vv_wait_set_leaving(worker->waiter, worker->retiring);
    vv_worker_set_phase(worker,
                        worker->retiring ? PHASE_LEAVING : PHASE_RUNNING);
}

static bool heed_attention(struct vivero_entity *worker)
{
    if (!vv_crew_take_attention(worker->seat)) {
        return false;
    }
    notice_retirement(worker);
    /* START is for those that wait for it. */
    if (next_command(worker) == VV_COMMAND_STOP) {
        end_with(worker, VIVERO_EXIT_SHUTDOWN);
    }
    return true;
}

/* The last moment to be called back. While it is to retire its mailbox is
 * closed, so a lane that is empty now stays empty: the worker may have been
 * called back and dismissed again since it looked before. */
static void leave_for_good(struct vivero_entity *worker)
{
    vv_mutex_lock(&worker->lock);
    worker->leaving =
        worker->retire && !vv_mailbox_has(worker->seat->mailbox, VV_LANE_OWN);
    vv_mutex_unlock(&worker->lock);
    if (worker->leaving) {
        end_with(worker, VIVERO_EXIT_SHUTDOWN);
    }
}

static void rest(struct vivero_entity *worker)
{
    (void)vv_crew_rest(worker->seat, VIVERO_FOREVER);
    vv_watch_arm(worker->spec->watch);
}

static bool wait_for_attention(struct vivero_entity *worker)
{
    bool called;

    vv_watch_set_awake(worker, false);
    called = vv_crew_wait_for_attention(
        worker->seat, vv_deadline_after(vivero_now(), worker->spec->linger_ns));
    vv_watch_set_awake(worker, true);
    return called;
}

/* A retiring worker found nothing addressed to it. */
static void linger(struct vivero_entity *worker)
{
    vv_crew_stop_searching(worker->seat);
    vv_crew_poke_quiet(worker->seat->crew);
    if (vv_crew_is_suspended(worker->seat->crew)) {
        rest(worker);
    } else if (vv_mailbox_has(worker->seat->mailbox, VV_LANE_OWN)) {
        vv_cpu_yield(); /* its sender is still writing it */
    } else if (!wait_for_attention(worker)) {
        leave_for_good(worker);
    }
}

/* The message of a failed incarnation, which was kept for this one. */
static bool take_kept(struct vivero_entity *worker)
{
    if (vv_crew_is_suspended(worker->seat->crew)) {
        return false;
    }
    worker->expects_again = false;
    return vv_worker_take_kept(worker, &worker->current);
}

static bool take(struct vivero_entity *worker)
{
    if (worker->expects_again && take_kept(worker)) {
        return true;
    }
    return worker->retiring ? vv_crew_take_own(worker->seat, &worker->current)
                            : vv_crew_take(worker->seat, &worker->current);
}

static __attribute__((noinline)) void loop(struct vivero_entity *worker)
{
    while (!worker->ends) {
        if (heed_attention(worker)) {
            continue;
        }
        if (take(worker)) {
            (void)vv_worker_run_current(worker);
        } else if (worker->retiring) {
            linger(worker);
        } else {
            rest(worker);
        }
    }
}

/* ---- Incarnations ---------------------------------------------------------------------- */

static void log_end(const struct vivero_entity *worker)
{
    char code[16];
    const struct vivero_log_field fields[] = {
        {"reason", vivero_exit_kind_name(worker->exit.kind)},
        {"code", code},
        {"text", worker->exit.text}};

    (void)snprintf(code, sizeof(code), "%d", worker->exit.code);
    vv_log(worker->final ? VIVERO_LOG_DEBUG : VIVERO_LOG_WARNING, "worker",
           worker->name, fields, 3, "%s", worker->final ? "ended" : "failed");
}

/* Once abandoned a worker has no owner to tell anything. */
static void tell(struct vivero_entity *worker, enum vv_worker_news news)
{
    vv_mutex_lock(&worker->lock);
    if (worker->fate == FATE_OPEN) {
        worker->spec->news(worker, news, &worker->exit, worker->spec->owner);
    }
    vv_mutex_unlock(&worker->lock);
}

/* The last word of a thread: nothing of the worker is touched after it. */
static void tell_last(struct vivero_entity *worker, enum vv_worker_news news)
{
    const struct vv_worker_spec *spec = worker->spec;
    bool late;

    vv_mutex_lock(&worker->lock);
    late = worker->fate == FATE_ABANDONED || worker->fate == FATE_FENCED;
    if (!late) {
        vv_worker_set_lost_thread(worker, news != VV_NEWS_FINISHED);
        if (news == VV_NEWS_FINISHED) {
            worker->fate = FATE_LEFT;
        }
        spec->news(worker, news, &worker->exit, spec->owner);
    }
    vv_mutex_unlock(&worker->lock);
    if (late) {
        spec->news(worker, VV_NEWS_LEFT_LATE, &worker->exit, spec->owner);
    }
}

static void end_payload(struct vivero_entity *worker)
{
    const struct vv_worker_spec *spec = worker->spec;

    vv_worker_run_defers(worker);
    if (!worker->alive) {
        return;
    }
    worker->alive = false;
    if (spec->terminate != NULL) {
        spec->terminate(&worker->self, worker->payload, &worker->exit,
                        spec->ctx);
    }
    vv_worker_destroy_payload(worker);
}

/* The ticket of an init, which ended in whatever way. */
static void end_init(struct vivero_entity *worker)
{
    if (!worker->fenced && (vv_ticket_own(worker) & VV_TICKET_BUSY) != 0 &&
        !vv_ticket_end(worker)) {
        vv_worker_notice_fence(worker);
    }
}

/* The seat's part in the end of an incarnation. */
static void clear_seat(struct vivero_entity *worker)
{
    vv_crew_stop_searching(worker->seat);
    vv_reply_default(worker->debts, VIVERO_E_DOWN, &worker->exit);
    if (!worker->final) {
        vv_worker_flush_lanes(worker, &worker->exit);
    }
    vv_crew_poke_quiet(worker->seat->crew);
    vv_mutex_lock(&worker->lock);
    worker->last_exit = worker->exit;
    vv_mutex_unlock(&worker->lock);
}

/* The one way to the end of an incarnation. */
static void die(struct vivero_entity *worker)
{
    worker->recovery = NULL;
    vv_worker_fail_in_flight(worker);
    end_init(worker);
    if (!worker->fenced) {
        clear_seat(worker);
    }
    end_payload(worker);
    log_end(worker);
}

/* Its ticket is that of a message without operation. */
static void begin_init(struct vivero_entity *worker)
{
    /* relaxed: for snapshots and the watchdog, which check the ticket. */
    atomic_store_explicit(&worker->busy_since_ns, vv_clock_coarse(),
                          memory_order_relaxed);
    /* relaxed: as above. */
    atomic_store_explicit(&worker->operation, NULL, memory_order_relaxed);
    vv_ticket_begin(worker, false);
}

static int run_init(struct vivero_entity *worker)
{
    const struct vv_worker_spec *spec = worker->spec;

    if (vv_worker_restore(worker)) {
        return VIVERO_OK;
    }
    memset(worker->payload, 0, spec->payload_size);
    return spec->init != NULL
               ? spec->init(&worker->self, worker->payload, spec->ctx)
               : VIVERO_OK;
}

static bool initialise(struct vivero_entity *worker)
{
    int error;

    vv_worker_set_phase(worker, PHASE_STARTING);
    begin_init(worker);
    error = run_init(worker);
    worker->alive = error >= 0;
    end_init(worker);
    if (worker->fenced) {
        return false;
    }
    if (error < 0) {
        vv_exit_set(&worker->exit, VIVERO_EXIT_INIT_FAILED, error,
                    vivero_strerror(error));
        return false;
    }
    vv_worker_commit(worker, true);
    return true;
}

static __attribute__((noinline)) void live(struct vivero_entity *worker)
{
    notice_retirement(worker);
    worker->expects_again = worker->spec->retries > 0;
    tell(worker, VV_NEWS_STARTED);
    loop(worker);
}

/* One incarnation. True: it was alive, or at least ended; false: init failed. */
static __attribute__((noinline)) bool
run_incarnation(struct vivero_entity *worker)
{
    sigjmp_buf recovery;

    worker->ends = false;
    worker->final = false;
    worker->generation++;
    vv_watch_set_awake(worker, true);
    vv_exit_set(&worker->exit, VIVERO_EXIT_NONE, 0, NULL);
    worker->recovery = &recovery;
    if (sigsetjmp(recovery, 0) == 0) {
        if (!initialise(worker)) {
            return false;
        }
        live(worker);
        return true;
    }
    /* vivero_exit() brought us here. */
    if (!worker->alive) {
        worker->exit.kind = VIVERO_EXIT_INIT_FAILED;
        if (worker->exit.code >= 0) {
            worker->exit.code = VIVERO_E_DOWN;
        }
    }
    return worker->alive;
}

/* After a failure: wait for the supervisor's word. True: once more. */
static bool wait_for_restart(struct vivero_entity *worker)
{
    vv_watch_set_awake(worker, false);
    if (wait_for_command(worker) == VV_COMMAND_STOP) {
        worker->final = true;
        return false;
    }
    /* relaxed: a statistic of one writer. */
    atomic_fetch_add_explicit(&worker->incarnation, 1, memory_order_relaxed);
    return true;
}

static void run_incarnations(struct vivero_entity *worker)
{
    do {
        bool was_up = run_incarnation(worker);

        die(worker);
        if (worker->final) {
            return;
        }
        vv_worker_set_phase(worker, PHASE_RESTARTING);
        tell(worker, was_up ? VV_NEWS_FAILED : VV_NEWS_START_FAILED);
    } while (wait_for_restart(worker));
}

/* ---- The thread ---------------------------------------------------------------------------- */

static void stop_thread(struct vivero_entity *worker)
{
    const struct vv_worker_spec *spec = worker->spec;

    vv_watch_set_awake(worker, false);
    vv_fault_stack_leave(&worker->fault_stack);
    vv_worker_set_here(vv_here(), NULL);
    vv_here()->waiter = NULL;
    vv_here()->within = (struct vivero_ref){0, 0};
    if (spec->on_thread_stop != NULL) {
        spec->on_thread_stop(worker->seat->index + 1, spec->thread_ctx);
    }
}

/* True: as a worker; false: as a zombie, whose seat is somebody else's. */
static bool leave(struct vivero_entity *worker)
{
    bool fenced = worker->fenced;

    if (!fenced) {
        vv_worker_set_phase(worker, PHASE_ABSENT);
        vv_wait_set_absent(worker->waiter, true);
        if (worker->has_committed) {
            vv_worker_destroy_payload(worker); /* of a failed incarnation */
        }
    }
    stop_thread(worker);
    tell_last(worker, VV_NEWS_FINISHED);
    return !fenced;
}

/* A handler called pthread_exit(): this thread is lost, the worker is not. */
static void thread_left(void *ctx)
{
    struct vivero_entity *worker = ctx;

    bool was_up = worker->alive;

    vv_exit_set(&worker->exit, VIVERO_EXIT_THREAD_LEFT, VIVERO_E_DOWN,
                "a handler ended its thread");
    worker->ends = true;
    vv_wait_end(worker->waiter); /* of a call that the exit cut short */
    die(worker);
    vv_worker_set_phase(worker, PHASE_RESTARTING);
    stop_thread(worker);
    tell_last(worker, was_up ? VV_NEWS_FAILED : VV_NEWS_START_FAILED);
}

static void meet_the_watch(struct vivero_entity *worker)
{
    struct vv_probe probe = vv_probe_self();

    /* relaxed: published with the first ticket. */
    atomic_store_explicit(&worker->thread_number, probe.thread,
                          memory_order_relaxed);
    if (worker->spec->nudge_signal != 0) {
        vv_signal_unblock(worker->spec->nudge_signal);
    }
    if (worker->spec->drains || worker->spec->contain_max > 0) {
        vv_fault_stack_enter(&worker->fault_stack);
    }
}

bool vv_worker_carry(struct vivero_entity *worker)
{
    bool as_a_worker;

    vv_worker_prove(worker);
    vv_worker_set_here(vv_here(), worker);
    vv_here()->waiter = worker->waiter;
    vv_here()->within = worker->spec->within;
    meet_the_watch(worker);
    vv_wait_set_absent(worker->waiter, false);
    if (worker->spec->on_thread_start != NULL) {
        worker->spec->on_thread_start(worker->seat->index + 1,
                                      worker->spec->thread_ctx);
    }
    pthread_cleanup_push(thread_left, worker);
    run_incarnations(worker);
    pthread_cleanup_pop(0);
    as_a_worker = leave(worker);
    return as_a_worker;
}

static void carry(void *ctx)
{
    (void)vv_worker_carry(ctx);
}

static void run_thread(void *ctx)
{
    struct vivero_entity *worker = ctx;

    if (worker->spec->runner != NULL) {
        worker->spec->runner(carry, worker, worker->spec->thread_ctx);
    } else {
        carry(worker);
    }
}

int vv_worker_start_thread(struct vivero_entity *worker)
{
    char name[32];
    struct vv_thread_options options = worker->spec->thread;
    int error;

    vv_worker_join(worker);
    vv_worker_thread_name(worker, name, sizeof(name));
    options.name = name;
    vv_worker_renew(worker);
    vv_worker_begin_proof(worker);
    error = vv_thread_start(&worker->thread, &options, run_thread, worker);
    worker->has_thread = error == VIVERO_OK;
    if (error != VIVERO_OK) {
        vv_worker_put_off_proof(worker);
    }
    return error;
}
