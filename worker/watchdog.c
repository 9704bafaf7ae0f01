/* SPDX-License-Identifier: MIT */
/* watchdog: who runs too long.
 *
 * Model.    A worker's ticket says which message it runs, `busy_since_ns` since
 *           when, `alive_ns` when its handler last said that it is well. At each
 *           tick the owner's thread looks at all of them. A message that is
 *           still running after a length is reported, or overdue.
 * Threads.  The owner's supervising thread: ticker, watched, look. arm: any
 *           worker.
 * Invariants.
 *   I1 A verdict is about one message: the exact word of the ticket, which is
 *      what a fence has to find there.
 *   I2 While a worker may run something, the tick runs (armed), or its thread
 *      has yet to arm it. Whoever goes from rest to work is out of the idle set
 *      (or `awake`) first and then reads `armed`; who disarms clears it first
 *      and then looks at those: in the one order of seq_cst one sees the other.
 *      So nothing is paid for a message, a load for each rest.
 *   I3 Nobody is punished for time in which the watcher did not run either: it
 *      came more than four ticks late (SIGSTOP, a paused machine), or a
 *      debugger is attached.
 * Sync.     watch.armed: I2. worker.alive: a stamp, nothing behind it.
 * Failure.  None: no memory, no lock. A clock that cannot be read counts as
 *           blocked.
 * Rejected. A tick that always runs (an idle process must cost nothing). A
 *           thread of its own: the supervisor has nothing else to do. A stamp by
 *           the exact clock for each message: 20 ns. */
#include "worker/watchdog.h"

#include <vivero/error.h>
#include <vivero/time.h>
#include <vivero/worker_defer.h>

#include "mailbox/here.h"
#include "os/clock.h"
#include "os/probe.h"
#include "worker/ticket.h"

#define TICK_MIN VIVERO_MILLISECONDS(1)
#define TICK_MAX VIVERO_SECONDS(1)
#define TICKS_PER_LENGTH 4
#define FORGIVEN_TICKS 4
/* A thread that used a twentieth of the time was computing: it may share its
 * CPU with many. */
#define CPU_SHARE 20

/* ---- The tick ----------------------------------------------------------------- */

int64_t vv_watch_tick(int64_t report_ns, int64_t deadline_ns)
{
    int64_t shorter = report_ns < deadline_ns ? report_ns : deadline_ns;
    int64_t tick = shorter / TICKS_PER_LENGTH;

    return tick < TICK_MIN ? TICK_MIN : tick > TICK_MAX ? TICK_MAX : tick;
}

bool vv_watch_tick_begin(struct vv_ticker *ticker, const struct vv_watch *watch,
                         int64_t now_ns)
{
    if (ticker->due_ns == 0) {
        /* Just woken: the first tick comes in a while. */
        ticker->due_ns = now_ns + watch->tick_ns;
        return false;
    }
    if (now_ns < ticker->due_ns) {
        return false;
    }
    if (now_ns - ticker->due_ns > FORGIVEN_TICKS * watch->tick_ns) {
        ticker->forgiven_ns = now_ns;
    }
    ticker->due_ns = now_ns + watch->tick_ns;
    ticker->close = false;
    return true;
}

void vv_watch_tick_end(struct vv_ticker *ticker, const struct vv_watch *watch,
                       int64_t now_ns)
{
    int64_t later = 2 * watch->tick_ns;

    if (!ticker->close) {
        ticker->due_ns = now_ns + (later < TICK_MAX ? later : TICK_MAX);
    }
}

bool vv_watch_is_armed(const struct vv_watch *watch)
{
    /* sync(watch.armed): seq_cst, I2. */
    return atomic_load_explicit(&watch->armed, memory_order_seq_cst) != 0;
}

void vv_watch_arm_slowly(struct vv_watch *watch)
{
    /* sync(watch.armed): seq_cst, I2. */
    if (atomic_exchange_explicit(&watch->armed, 1, memory_order_seq_cst) == 0) {
        watch->ring(watch->owner);
    }
}

bool vv_watch_disarm(struct vv_watch *watch, struct vv_ticker *ticker,
                     bool (*active)(void *owner))
{
    if (active(watch->owner)) {
        return false;
    }
    /* sync(watch.armed): seq_cst, I2. */
    atomic_store_explicit(&watch->armed, 0, memory_order_seq_cst);
    if (active(watch->owner)) {
        /* sync(watch.armed): seq_cst. If it was quicker it has rung as well. */
        atomic_store_explicit(&watch->armed, 1, memory_order_seq_cst);
        return false;
    }
    ticker->due_ns = 0;
    return true;
}

bool vv_watch_is_active(const struct vivero_entity *worker)
{
    /* sync(worker.awake): seq_cst, I2. */
    return atomic_load_explicit(&worker->awake, memory_order_seq_cst) != 0 &&
           !vv_crew_is_idle(worker->seat);
}

void vv_watch_set_awake(struct vivero_entity *worker, bool awake)
{
    /* sync(worker.awake): seq_cst, I2. */
    atomic_store_explicit(&worker->awake, awake, memory_order_seq_cst);
    if (awake) {
        vv_watch_arm(worker->spec->watch);
    }
}

/* ---- Looking -------------------------------------------------------------------- */

/* When the running message began, or its handler last said that it is well. */
static int64_t began(const struct vivero_entity *worker)
{
    /* relaxed: checked by the ticket. */
    int64_t since =
        atomic_load_explicit(&worker->busy_since_ns, memory_order_relaxed);
    /* relaxed: a stamp; one of an earlier message is before `since`. */
    int64_t alive =
        atomic_load_explicit(&worker->alive_ns, memory_order_relaxed);

    return alive > since ? alive : since;
}

static struct vv_probe probe_of(const struct vivero_entity *worker)
{
    /* relaxed: written before the first ticket. */
    struct vv_probe probe = {
        atomic_load_explicit(&worker->thread_number, memory_order_relaxed)};

    return probe;
}

void vv_worker_nudge(const struct vivero_entity *worker)
{
    struct vv_probe probe = probe_of(worker);

    vv_probe_signal(&probe, worker->spec->nudge_signal);
}

/* Read the clock of its thread. False: this was the first time. */
static bool measure(struct vv_watched *watched, struct vivero_entity *worker,
                    int64_t now_ns, enum vivero_exit_kind *kind)
{
    struct vv_probe probe = probe_of(worker);
    int64_t cpu_ns = vv_probe_cpu_ns(&probe);

    if (watched->read_ns == 0) {
        watched->cpu_ns = cpu_ns;
        watched->read_ns = now_ns;
        return false;
    }
    *kind = cpu_ns - watched->cpu_ns > (now_ns - watched->read_ns) / CPU_SHARE
                ? VIVERO_EXIT_HUNG_CPU
                : VIVERO_EXIT_HUNG_BLOCKED;
    return true;
}

/* By how long it has run; both readings of its clock are there. Whether
 * somebody debugs us is looked up last: it reads a file. */
static enum vv_watch_verdict judge(const struct vv_watch *watch,
                                   struct vv_watched *watched, int64_t busy_ns)
{
    if (busy_ns >= watch->deadline_ns &&
        (watch->replaces || !watched->overdue) && !vv_process_is_traced()) {
        if (watch->nudge_signal != 0 && !watched->nudged) {
            watched->nudged = true;
            return VV_WATCH_NUDGE;
        }
        return VV_WATCH_OVERDUE;
    }
    if (busy_ns >= watch->report_ns && !watched->reported) {
        watched->reported = true;
        return VV_WATCH_REPORT;
    }
    return VV_WATCH_FINE;
}

void vv_watch_prefetch(const struct vivero_entity *worker)
{
    __builtin_prefetch(&worker->ticket, 0, 3);
}

enum vv_watch_verdict vv_watch_look(const struct vv_watch *watch,
                                    struct vv_ticker *ticker,
                                    struct vv_watched *watched,
                                    struct vivero_entity *worker,
                                    int64_t now_ns, struct vv_look *look)
{
    uint64_t ticket = vv_ticket_load(worker);
    int64_t since = began(worker);
    int64_t length = watch->report_ns < watch->deadline_ns ? watch->report_ns
                                                           : watch->deadline_ns;

    look->busy_ns = now_ns - since;
    since = ticker->forgiven_ns > since ? ticker->forgiven_ns : since;
    if (!vv_ticket_is_running(ticket) || now_ns - since < length / 2) {
        return VV_WATCH_FINE; /* nearly always; one cache line was read */
    }
    ticker->close = true;
    /* relaxed: checked by the ticket. */
    look->operation =
        atomic_load_explicit(&worker->operation, memory_order_relaxed);
    if (vv_ticket_load(worker) != ticket) {
        return VV_WATCH_FINE;
    }
    if (watched->ticket != ticket) {
        *watched = (struct vv_watched){.ticket = ticket};
    }
    look->ticket = ticket;
    look->is_inline = (ticket & VV_TICKET_INLINE) != 0;
    return measure(watched, worker, now_ns, &look->kind)
               ? judge(watch, watched, now_ns - since)
               : VV_WATCH_FINE;
}

/* ---- What a handler may ask for ---------------------------------------------------- */

static bool is_overdue(const struct vivero_entity *worker)
{
    const struct vv_watch *watch = worker->spec->watch;

    return watch != NULL && watch->deadline_ns != VIVERO_FOREVER &&
           vv_clock_coarse() - began(worker) > watch->deadline_ns;
}

bool vivero_entity_should_stop(const struct vivero_entity *entity)
{
    /* relaxed: a question that is asked again. */
    return atomic_load_explicit(&entity->command, memory_order_relaxed) ==
               VV_COMMAND_STOP ||
           vv_worker_is_fenced(entity) || vv_single_is_asked_to_end(entity) ||
           is_overdue(entity);
}

void vivero_entity_alive(struct vivero_entity *entity)
{
    vv_worker_check_is_here(entity, "vivero_alive");
    /* relaxed: a stamp, nothing behind it. */
    atomic_store_explicit(&entity->alive_ns, vv_clock_coarse(),
                          memory_order_relaxed);
}
