/* SPDX-License-Identifier: MIT */
/* single_watch: workers on their own that run too long.
 *
 * Model.    Watched workers are in one list. A timer ticks while any of them is
 *           awake, and looks at each as a pool's supervisor looks at its own
 *           (watchdog.c). One that runs long is logged; one past its deadline
 *           is, if it says so, fenced by its ticket and declared dead: its caller
 *           and whoever is linked to it or watches it are told HUNG_CPU or
 *           HUNG_BLOCKED, and its supervisor starts another one.
 * Threads.  tick: the timers'. Everything else: the worker's.
 * Invariants.
 *   I1 A worker that is being judged stays: whoever ends it waits until that is
 *      over, so the timers' thread needs no reference, which it could not give
 *      back.
 *   I2 While a watched worker is awake the tick runs, or its thread has yet to
 *      arm it: `awake` is set before `armed` is read, `armed` is cleared before
 *      `awake` is looked at, all in the one order of seq_cst.
 * Locks.    lock (VV_RANK_WATCH), then an entity's.
 * Failure.  No timer: the worker cannot be started. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/log.h"
#include "os/park.h"
#include "os/probe.h"
#include "worker/single_private.h"
#include "worker/ticket.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define ABANDONED_MAX_PROCESS 16u
#define JUDGED_MAX 16u

static void tick(struct vv_timer *timer);

static struct vv_mutex lock = VV_MUTEX_INIT(VV_RANK_WATCH);
static pthread_cond_t judged_less = PTHREAD_COND_INITIALIZER;
static struct vv_timer timer = {.fire = tick};
/* guarded by lock */
static struct vv_single *watched;
static int64_t shortest_ns = VIVERO_FOREVER;
static struct vv_ticker ticker;
/* atomic */
static _Atomic uint32_t armed;

/* ---- Arming ------------------------------------------------------------------- */

static bool is_awake(const struct vv_single *single)
{
    /* sync(single.awake): seq_cst, total order because of I2. */
    return atomic_load_explicit(&single->awake, memory_order_seq_cst);
}

static void start_ticking_locked(void)
{
    vv_timer_start(&timer, vivero_now() + shortest_ns);
}

static void arm(void)
{
    /* sync(single.armed): seq_cst, total order because of I2. */
    if (atomic_exchange_explicit(&armed, 1, memory_order_seq_cst) == 0) {
        vv_mutex_lock(&lock);
        ticker.due_ns = 0;
        start_ticking_locked();
        vv_mutex_unlock(&lock);
    }
}

void vv_single_wake(struct vv_single *single)
{
    if (!single->is_watched) {
        return;
    }
    /* sync(single.awake): seq_cst, I2. */
    atomic_store_explicit(&single->awake, true, memory_order_seq_cst);
    /* sync(single.armed): seq_cst, I2. */
    if (atomic_load_explicit(&armed, memory_order_seq_cst) == 0) {
        arm();
    }
}

void vv_single_sleep(struct vv_single *single)
{
    if (single->is_watched) {
        /* sync(single.awake): seq_cst, I2. */
        atomic_store_explicit(&single->awake, false, memory_order_seq_cst);
    }
}

static bool anybody_awake_locked(void)
{
    const struct vv_single *at = watched;

    while (at != NULL && !is_awake(at)) {
        at = at->next_watched;
    }
    return at != NULL;
}

/* True: there is nobody to look at until somebody arms the tick. */
static bool disarm_locked(void)
{
    if (anybody_awake_locked()) {
        return false;
    }
    /* sync(single.armed): seq_cst, I2. */
    atomic_store_explicit(&armed, 0, memory_order_seq_cst);
    if (!anybody_awake_locked()) {
        return true;
    }
    /* sync(single.armed): seq_cst, I2. If somebody armed it before, he has
     * started the timer as well, which is harmless. */
    atomic_store_explicit(&armed, 1, memory_order_seq_cst);
    return false;
}

/* ---- Judging ---------------------------------------------------------------------- */

struct judged {
    struct vv_single *single;
    enum vv_watch_verdict verdict;
    struct vv_look look;
};

static void log_hang(const struct judged *judged, const char *what)
{
    char busy[32];
    const struct vivero_log_field fields[] = {
        {"operation", judged->look.operation != NULL
                          ? judged->look.operation->name
                          : "init"},
        {"busy_ms", busy},
        {"kind", vivero_exit_kind_name(judged->look.kind)}};

    (void)snprintf(busy, sizeof(busy), "%" PRId64,
                   judged->look.busy_ns / 1000000);
    vv_log(VIVERO_LOG_WARNING, "worker", judged->single->label, fields, 3, "%s",
           what);
}

/* The message is fenced: nobody but us ends it. */
static void replace(const struct judged *judged)
{
    struct vv_single *single = judged->single;
    struct vivero_entity *stage = judged->look.stage;
    struct vivero_exit exit = {.kind = judged->look.kind,
                               .code = VIVERO_E_TIMED_OUT};

    (void)snprintf(exit.text, sizeof(exit.text), "%.30s after %" PRId64 " ms",
                   judged->look.operation != NULL ? judged->look.operation->name
                                                  : "init",
                   judged->look.busy_ns / 1000000);
    log_hang(judged, "past its deadline: given up");
    (void)vv_single_declare_dead(single, &exit);
    vv_worker_run_supervised_defers(stage);
    /* sync(worker.settled): nobody looks at what it lent any more. */
    atomic_store_explicit(&stage->settled, 1, memory_order_release);
    vv_unpark(&stage->settled, 1);
}

static void overdue(const struct judged *judged)
{
    switch (judged->single->options.on_hang) {
    case VIVERO_HANG_REPORT:
        log_hang(judged, "past its deadline");
        break;
    case VIVERO_HANG_REPLACE:
        if (vivero_abandoned_threads() >= ABANDONED_MAX_PROCESS) {
            log_hang(judged, "past its deadline; too many threads were given "
                             "up, so it stays");
        } else if (vv_ticket_fence(judged->look.stage, judged->look.ticket)) {
            replace(judged);
        }
        break;
    case VIVERO_HANG_ABORT:
        log_hang(judged, "past its deadline: the process ends");
        abort();
    }
}

static void judge(const struct judged *judged)
{
    switch (judged->verdict) {
    case VV_WATCH_REPORT:
        log_hang(judged, "runs long");
        break;
    case VV_WATCH_OVERDUE:
        overdue(judged);
        break;
    case VV_WATCH_NUDGE:
    case VV_WATCH_FINE:
        break;
    }
}

/* ---- The tick ------------------------------------------------------------------------ */

/* On carriers the stage is somebody else's as soon as the entity's lock is let
 * go, unless it hangs in this very message. */
static enum vv_watch_verdict look_at(struct vv_single *single,
                                     struct vv_look *look, int64_t now_ns)
{
    enum vv_watch_verdict verdict = VV_WATCH_FINE;

    vv_entity_hold(&single->entity);
    look->stage = single->stage;
    if (single->stage != NULL && is_awake(single)) {
        verdict = vv_watch_look(&single->watch, &ticker, &single->watched_as,
                                single->stage, now_ns, look);
    }
    vv_entity_unlock(&single->entity);
    return verdict;
}

static uint32_t look_at_all_locked(struct judged *judged, int64_t now_ns)
{
    uint32_t count = 0;

    for (struct vv_single *at = watched; at != NULL && count < JUDGED_MAX;
         at = at->next_watched) {
        struct judged *next = &judged[count];

        next->single = at;
        next->verdict = look_at(at, &next->look, now_ns);
        if (next->verdict != VV_WATCH_FINE) {
            at->is_judged = true;
            count++;
        }
    }
    return count;
}

static void let_go(struct judged *judged, uint32_t count)
{
    vv_mutex_lock(&lock);
    for (uint32_t i = 0; i < count; i++) {
        judged[i].single->is_judged = false;
    }
    (void)pthread_cond_broadcast(&judged_less);
    if (!disarm_locked()) {
        start_ticking_locked();
    }
    vv_mutex_unlock(&lock);
}

static void tick(struct vv_timer *unused)
{
    struct judged judged[JUDGED_MAX];
    struct vv_watch pace = {.tick_ns = VIVERO_SECONDS(1)};
    int64_t now = vivero_now();
    uint32_t count = 0;

    (void)unused;
    vv_mutex_lock(&lock);
    pace.tick_ns = shortest_ns;
    if (ticker.due_ns == 0) {
        ticker.due_ns = now;
    }
    if (vv_watch_tick_begin(&ticker, &pace, now)) {
        count = look_at_all_locked(judged, now);
    }
    vv_mutex_unlock(&lock);
    for (uint32_t i = 0; i < count; i++) {
        judge(&judged[i]);
    }
    let_go(judged, count);
}

/* ---- Coming and going -------------------------------------------------------------------- */

static bool wants_watch(const struct vv_single *single)
{
    return single->kind == VV_SINGLE_CALLBACKS &&
           (single->options.hang_report_ns != VIVERO_FOREVER ||
            single->options.deadline_ns != 0);
}

int vv_single_watch(struct vv_single *single)
{
    const struct vivero_worker_options *options = &single->options;
    int64_t deadline =
        options->deadline_ns != 0 ? options->deadline_ns : VIVERO_FOREVER;
    int error;

    if (!wants_watch(single)) {
        return VIVERO_OK;
    }
    error = vv_timer_retain();
    if (error != VIVERO_OK) {
        return error;
    }
    single->watch = (struct vv_watch){
        .report_ns = options->hang_report_ns,
        .deadline_ns = deadline,
        .tick_ns = vv_watch_tick(options->hang_report_ns, deadline),
        .replaces = options->on_hang == VIVERO_HANG_REPLACE};
    single->spec.watch = &single->watch;
    single->is_watched = true;
    vv_mutex_lock(&lock);
    single->previous_watched = NULL;
    single->next_watched = watched;
    if (watched != NULL) {
        watched->previous_watched = single;
    }
    watched = single;
    if (single->watch.tick_ns < shortest_ns) {
        shortest_ns = single->watch.tick_ns;
    }
    vv_mutex_unlock(&lock);
    return VIVERO_OK;
}

static void unlink_locked(struct vv_single *single)
{
    if (single->previous_watched != NULL) {
        single->previous_watched->next_watched = single->next_watched;
    } else {
        watched = single->next_watched;
    }
    if (single->next_watched != NULL) {
        single->next_watched->previous_watched = single->previous_watched;
    }
    if (watched == NULL) {
        shortest_ns = VIVERO_FOREVER;
        (void)vv_timer_cancel(&timer);
        /* relaxed: nobody is left who could read it before the next one has
         * come in, under the lock. */
        atomic_store_explicit(&armed, 0, memory_order_relaxed);
    }
}

void vv_single_unwatch(struct vv_single *single)
{
    if (!single->is_watched) {
        return;
    }
    vv_mutex_lock(&lock);
    while (single->is_judged) {
        (void)pthread_cond_wait(&judged_less, &lock.mutex);
    }
    unlink_locked(single);
    single->is_watched = false;
    vv_mutex_unlock(&lock);
    vv_timer_release();
}

void vv_single_meet_the_watch(struct vivero_entity *stage)
{
    struct vv_probe probe = vv_probe_self();

    /* relaxed: published with the first ticket. */
    atomic_store_explicit(&stage->thread_number, probe.thread,
                          memory_order_relaxed);
}
