/* SPDX-License-Identifier: MIT */
/* timer: the thread that waits for deadlines.
 *
 * Model.    All armed timers are in one heap. The driver takes the first one
 *           out when it is due, calls it, and sleeps until the next; with none
 *           it sleeps for ever. `awaited_ns` is the instant it sleeps for:
 *           only a start that comes before it wakes it. A cancelled timer is
 *           not worth a wake-up: the driver sees it when it wakes.
 *           Phases: NONE -> STARTING -> RUNNING -> ENDING -> NONE, where
 *           STARTING falls back to NONE if there is no thread.
 * Threads.  The driver calls; everything else is called by anybody. Who
 *           retains or releases while the driver comes or goes waits for that.
 * Invariants.
 *   I1 A timer is armed exactly while it is in the heap.
 *   I2 `firing` is the timer whose callback runs, for comparing only: from the
 *      call on it may be freed, or its place be another timer's. That one's
 *      cancel_and_wait may then wait for a callback that is not its own, which
 *      ends all the same.
 * Locks.    lock (VV_RANK_TIMER), the last of all: guards everything here. Not
 *           held while a callback runs, the driver is made or joined.
 * Sync.     driver_word and others_word are sequences: changed under the lock,
 *           read under it before sleeping; the futex compares once more, so a
 *           change in between is not slept through.
 * Shutdown. The last release finds an empty heap, says ENDING and joins.
 * Rejected. timerfd and a poll loop: a system call for each start. Firing on
 *           the thread that starts late timers: it holds locks. Conditions:
 *           they have to be made, and that may fail. */
#include "timer/timer.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "os/mutex.h"
#include "os/park.h"
#include "os/thread.h"

#include <stddef.h>

/* Nobody is due before. */
#define AWAITS_NOBODY INT64_MIN

enum phase { NONE = 0, STARTING, RUNNING, ENDING };

static struct vv_mutex lock = VV_MUTEX_INIT(VV_RANK_TIMER);
/* guarded by lock */
static enum phase phase;
static uint32_t retained;
static struct vv_heap armed;
static const struct vv_timer *firing;
static bool somebody_waits; /* until firing changes */
static int64_t awaited_ns = AWAITS_NOBODY;
/* atomic: what the driver, and what all others sleep on */
static _Atomic uint32_t driver_word;
static _Atomic uint32_t others_word;
/* of who brings about STARTING and ENDING */
static struct vv_thread driver;

static _Thread_local bool is_driver;

/* ---- Sleeping and waking ---------------------------------------------------- */

/* The lock is held, but not meanwhile. May return for no reason. */
static void sleep_locked(_Atomic uint32_t *word, int64_t deadline_ns)
{
    /* relaxed: it changes under the lock. */
    uint32_t seen = atomic_load_explicit(word, memory_order_relaxed);

    vv_mutex_unlock(&lock);
    (void)vv_park(word, seen, deadline_ns);
    vv_mutex_lock(&lock);
}

static void wake_locked(_Atomic uint32_t *word)
{
    vv_mutex_assert_held(&lock);
    /* relaxed: under the lock, which who was woken takes before it looks. */
    atomic_fetch_add_explicit(word, 1, memory_order_relaxed);
    vv_unpark(word, VV_UNPARK_ALL);
}

static void set_phase_locked(enum phase next)
{
    phase = next;
    wake_locked(&others_word);
}

/* ---- The driver --------------------------------------------------------------- */

static struct vv_timer *timer_of(struct vv_heap_node *node)
{
    return (struct vv_timer *)(void *)((unsigned char *)node -
                                       offsetof(struct vv_timer, node));
}

/* The first timer, out of the heap, if it is due; else sleep for it. */
static struct vv_timer *next_due_locked(void)
{
    struct vv_heap_node *first = vv_heap_first(&armed);
    int64_t due_ns = first != NULL ? first->due_ns : VIVERO_FOREVER;

    if (due_ns != VIVERO_FOREVER && due_ns <= vivero_now()) {
        vv_heap_remove(&armed, first);
        return timer_of(first);
    }
    awaited_ns = due_ns;
    sleep_locked(&driver_word, due_ns);
    awaited_ns = AWAITS_NOBODY;
    return NULL;
}

static void fire_locked(struct vv_timer *timer)
{
    vv_timer_fn *fire = timer->fire;

    firing = timer;
    vv_mutex_unlock(&lock);
    fire(timer);
    vv_mutex_lock(&lock);
    firing = NULL;
    if (somebody_waits) {
        somebody_waits = false;
        wake_locked(&others_word);
    }
}

static void drive(void *ctx)
{
    (void)ctx;
    is_driver = true;
    vv_mutex_lock(&lock);
    while (phase != ENDING) {
        struct vv_timer *timer = next_due_locked();

        if (timer != NULL) {
            fire_locked(timer);
        }
    }
    vv_mutex_unlock(&lock);
}

/* ---- Its life ------------------------------------------------------------------- */

/* Nobody is making or ending the driver. */
static void wait_for_settled_phase_locked(void)
{
    while (phase == STARTING || phase == ENDING) {
        sleep_locked(&others_word, VIVERO_FOREVER);
    }
}

static int start_driver_locked(void)
{
    const struct vv_thread_options options = {.name = "vivero/timer"};
    int error;

    set_phase_locked(STARTING);
    vv_mutex_unlock(&lock);
    error = vv_thread_start(&driver, &options, drive, NULL);
    vv_mutex_lock(&lock);
    set_phase_locked(error == VIVERO_OK ? RUNNING : NONE);
    return error;
}

int vv_timer_retain(void)
{
    int error = VIVERO_OK;

    vv_mutex_lock(&lock);
    wait_for_settled_phase_locked();
    if (phase == NONE) {
        error = start_driver_locked();
    }
    if (error == VIVERO_OK) {
        retained++;
    }
    vv_mutex_unlock(&lock);
    return error;
}

static void end_driver_locked(void)
{
    VV_ASSERT(vv_heap_first(&armed) == NULL);
    set_phase_locked(ENDING);
    wake_locked(&driver_word);
    vv_mutex_unlock(&lock);
    vv_thread_join(&driver);
    vv_mutex_lock(&lock);
    set_phase_locked(NONE);
}

void vv_timer_release(void)
{
    VV_CHECK(!is_driver, "internal: the timers' thread is released by one of "
                         "its own callbacks");
    vv_mutex_lock(&lock);
    VV_ASSERT(retained > 0);
    if (--retained == 0) {
        end_driver_locked();
    }
    vv_mutex_unlock(&lock);
}

/* ---- Timers ----------------------------------------------------------------------- */

static bool disarm_locked(struct vv_timer *timer)
{
    bool was_armed = vv_heap_has(&armed, &timer->node);

    if (was_armed) {
        vv_heap_remove(&armed, &timer->node);
    }
    return was_armed;
}

void vv_timer_init(struct vv_timer *timer, vv_timer_fn *fire)
{
    *timer = (struct vv_timer){.fire = fire};
}

void vv_timer_start(struct vv_timer *timer, int64_t due_ns)
{
    /* 0 is kept for those that are not armed. */
    int64_t due = due_ns > 0 ? due_ns : 1;

    VV_ASSERT(timer->fire != NULL);
    vv_mutex_lock(&lock);
    VV_ASSERT(retained > 0);
    (void)disarm_locked(timer);
    vv_heap_insert(&armed, &timer->node, due);
    if (due < awaited_ns) {
        awaited_ns = AWAITS_NOBODY;
        wake_locked(&driver_word);
    }
    vv_mutex_unlock(&lock);
}

bool vv_timer_cancel(struct vv_timer *timer)
{
    bool cancelled;

    vv_mutex_lock(&lock);
    cancelled = disarm_locked(timer);
    vv_mutex_unlock(&lock);
    return cancelled;
}

bool vv_timer_cancel_and_wait(struct vv_timer *timer)
{
    bool cancelled;

    vv_mutex_lock(&lock);
    cancelled = disarm_locked(timer);
    while (firing == timer && !is_driver) {
        somebody_waits = true;
        sleep_locked(&others_word, VIVERO_FOREVER);
        (void)disarm_locked(timer);
    }
    vv_mutex_unlock(&lock);
    return cancelled;
}

int64_t vv_timer_due(struct vv_timer *timer)
{
    int64_t due_ns;

    vv_mutex_lock(&lock);
    due_ns = vv_heap_has(&armed, &timer->node) ? timer->node.due_ns : 0;
    vv_mutex_unlock(&lock);
    return due_ns;
}
