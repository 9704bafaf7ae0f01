/* SPDX-License-Identifier: MIT */
/* pool_watch: what the pool's supervisor does about handlers that hang, or fell.
 *
 * Model.    At each tick it looks at every worker (worker/watchdog.c). One that
 *           runs long is logged; one past its deadline is replaced, if the pool
 *           says so: fenced (worker/fence.c), its seat given to a spare worker,
 *           its end told to the supervisor as that of any other that failed. So
 *           budget, backoff and the new thread are ordinary supervision. One
 *           whose thread stands still after a memory error, in a pool that
 *           contains those, is replaced likewise; it has fenced itself.
 * Threads.  The supervisor's; the zombie's own when it leaves.
 * Invariants.
 *   I1 A spare is in `spares`, in a seat, a zombie, or fell. But for those in
 *      seats they are abandoned_max together, so a zombie that left always
 *      finds its place, and one that fell its own at the other end.
 *   I2 A zombie holds a reference to the pool until its last word. One that
 *      fell has none, holds nothing of ours, and is freed with the pool.
 * Locks.    The pool's: spares, and which worker has which seat.
 * Failure.  No spare or too many zombies in the process: the worker is fenced
 *           all the same, its callers are told, and the pool goes down as by a
 *           spent budget. */
#include <vivero/error.h>

#include "base/check.h"
#include "base/log.h"
#include "pool/pool_private.h"
#include "worker/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ABANDONED_MAX_PROCESS 16u
/* Workers lie apart: most of a tick is waiting for memory. */
#define LOOK_AHEAD 8u

/* ---- Spares ---------------------------------------------------------------------- */

/* From the end of the room: whoever fell was a spare or is followed by one, and
 * never comes back. */
static struct vivero_entity **place_of_fallen(const struct vv_pool *pool,
                                              uint32_t index)
{
    return &pool->spares[pool->options.abandoned_max - 1 - index];
}

static size_t spares_size(const struct vv_pool *pool)
{
    return pool->options.abandoned_max * sizeof(struct vivero_entity *);
}

int vv_pool_make_spares(struct vv_pool *pool)
{
    int error = VIVERO_OK;

    if (!pool->watch.replaces && !pool->contains) {
        return VIVERO_OK;
    }
    pool->spares = vv_allocate(&pool->account, spares_size(pool),
                               _Alignof(struct vivero_entity *));
    if (pool->spares == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    while (pool->spare_count < pool->options.abandoned_max &&
           error == VIVERO_OK) {
        error =
            vv_worker_new(&pool->spec, NULL, &pool->spares[pool->spare_count]);
        pool->spare_count += error == VIVERO_OK;
    }
    return error; /* the caller frees what there is, with the pool */
}

void vv_pool_free_spares(struct vv_pool *pool)
{
    if (pool->spares == NULL) {
        return;
    }
    while (pool->spare_count > 0) {
        vv_worker_free(pool->spares[--pool->spare_count]);
    }
    while (pool->fallen_count > 0) {
        vv_worker_free(*place_of_fallen(pool, --pool->fallen_count));
    }
    vv_release(&pool->account, pool->spares, spares_size(pool),
               _Alignof(struct vivero_entity *));
}

static struct vivero_entity *take_spare(struct vv_pool *pool)
{
    struct vivero_entity *spare = NULL;

    vv_mutex_lock(&pool->lock);
    if (pool->spare_count > 0 &&
        vivero_abandoned_threads() < ABANDONED_MAX_PROCESS) {
        spare = pool->spares[--pool->spare_count];
    }
    vv_mutex_unlock(&pool->lock);
    return spare;
}

static void give_spare(struct vv_pool *pool, struct vivero_entity *spare)
{
    vv_mutex_lock(&pool->lock);
    VV_ASSERT(pool->spare_count < pool->options.abandoned_max);
    pool->spares[pool->spare_count++] = spare;
    vv_mutex_unlock(&pool->lock);
}

static void count_zombie(struct vv_pool *pool, uint32_t change)
{
    /* relaxed: a statistic. */
    atomic_fetch_add_explicit(&pool->abandoned, change, memory_order_relaxed);
}

void vv_pool_zombie_left(struct vv_pool *pool, struct vivero_entity *worker)
{
    if (!vv_worker_is_zombie(worker)) {
        return; /* a close gave it up, in its own seat */
    }
    count_zombie(pool, UINT32_MAX);
    if (vv_worker_of(vv_worker_seat(worker)) != worker) {
        vv_worker_make_spare(worker);
        give_spare(pool, worker);
    }
}

/* ---- Replacing ---------------------------------------------------------------------- */

static void set_exit(struct vivero_exit *exit, const struct vv_look *look)
{
    *exit =
        (struct vivero_exit){.kind = look->kind, .code = VIVERO_E_TIMED_OUT};
    (void)snprintf(exit->text, sizeof(exit->text), "%.30s after %" PRId64 " ms",
                   look->operation != NULL ? look->operation->name : "init",
                   look->busy_ns / 1000000);
}

/* Nobody will be found under this number who obeys. */
static void swap_worker(struct vv_pool *pool, uint32_t index,
                        struct vivero_entity *old, struct vivero_entity *spare)
{
    vv_mutex_lock(&pool->lock);
    if (spare != NULL) {
        vv_worker_succeed(old, spare);
    }
    pool->children[index].has_carrier = false;
    vv_mutex_unlock(&pool->lock);
}

static enum vv_event_kind event_of(const struct vivero_entity *spare)
{
    return spare == NULL ? VV_EVENT_EXHAUSTED : VV_EVENT_EXITED;
}

/* Its message was taken from the old worker: all that follows. */
static void put_in_place(struct vv_pool *pool, uint32_t index,
                         struct vivero_entity *old, struct vivero_entity *spare,
                         const struct vivero_exit *exit)
{
    vv_worker_count_given_up(1);
    count_zombie(pool, 1);
    swap_worker(pool, index, old, spare);
    vv_worker_settle_fenced(old, spare, exit);
    vv_log(VIVERO_LOG_ERROR, "watchdog", pool->name, NULL, 0,
           "worker %u was replaced in %s (%s)", index + 1, exit->text,
           vivero_exit_kind_name(exit->kind));
    vv_loop_tell(&pool->supervisor,
                 &pool->children[index].notices[VV_NOTICE_FAIL],
                 &pool->children[index].child, event_of(spare), exit);
    vv_worker_release_fenced(old);
}

static void replace(struct vv_pool *pool, uint32_t index,
                    const struct vv_look *look)
{
    struct vivero_entity *old = vv_pool_worker(pool, index);
    struct vivero_entity *spare = take_spare(pool);
    struct vivero_exit exit;

    if (!vv_worker_take_away(old, look->ticket)) {
        if (spare != NULL) {
            give_spare(pool, spare);
        }
        return; /* it came back in the last moment */
    }
    vv_pool_retain(pool);
    set_exit(&exit, look);
    put_in_place(pool, index, old, spare, &exit);
}

/* ---- Faults --------------------------------------------------------------------------- */

static void keep_fallen(struct vv_pool *pool, struct vivero_entity *worker)
{
    vv_mutex_lock(&pool->lock);
    *place_of_fallen(pool, pool->fallen_count++) = worker;
    vv_mutex_unlock(&pool->lock);
}

/* It holds no reference to the pool, since it never gives one back. */
static void contain(struct vv_pool *pool, uint32_t index)
{
    struct vivero_entity *old = vv_pool_worker(pool, index);
    struct vivero_entity *spare;
    struct vivero_exit exit;

    if (vv_worker_fault(old) == 0 || !vv_worker_take_fallen(old, &exit)) {
        return;
    }
    spare = take_spare(pool);
    put_in_place(pool, index, old, spare, &exit);
    if (spare != NULL) {
        keep_fallen(pool, old);
    }
}

static void contain_all(struct vv_pool *pool)
{
    uint32_t used = vv_crew_used(&pool->crew);

    for (uint32_t i = 0; i < used; i++) {
        if (vv_pool_worker(pool, i) != NULL) {
            contain(pool, i);
        }
    }
}

/* ---- Looking --------------------------------------------------------------------------- */

static void report(const struct vv_pool *pool, uint32_t index,
                   const struct vv_look *look, const char *what)
{
    char busy[24];
    const struct vivero_log_field fields[] = {
        {"operation", look->operation != NULL ? look->operation->name : "init"},
        {"busy_ms", busy},
        {"kind", vivero_exit_kind_name(look->kind)}};

    (void)snprintf(busy, sizeof(busy), "%" PRId64, look->busy_ns / 1000000);
    vv_log(VIVERO_LOG_WARNING, "watchdog", pool->name, fields, 3,
           "worker %u %s", index + 1, what);
}

static void overdue(struct vv_pool *pool, uint32_t index,
                    const struct vv_look *look)
{
    struct vv_watched *watched = &pool->children[index].watched;
    bool first = !watched->overdue;

    watched->overdue = true;
    if (first) {
        report(pool, index, look, "is past its deadline");
    }
    switch (pool->options.on_hang) {
    case VIVERO_HANG_REPORT:
        break;
    case VIVERO_HANG_REPLACE:
        if (!look->is_inline) {
            replace(pool, index, look);
        }
        break;
    case VIVERO_HANG_ABORT:
        abort();
    }
}

static void look_at(struct vv_pool *pool, uint32_t index, int64_t now_ns)
{
    struct vivero_entity *worker = vv_pool_worker(pool, index);
    struct vv_look look;

    if (worker == NULL) {
        return;
    }
    switch (vv_watch_look(&pool->watch, &pool->ticker,
                          &pool->children[index].watched, worker, now_ns,
                          &look)) {
    case VV_WATCH_FINE:
        break;
    case VV_WATCH_REPORT:
        report(pool, index, &look, "runs long");
        break;
    case VV_WATCH_NUDGE:
        vv_worker_nudge(worker);
        break;
    case VV_WATCH_OVERDUE:
        overdue(pool, index, &look);
        break;
    }
}

static bool anybody_active(void *owner)
{
    const struct vv_pool *pool = owner;
    uint32_t used = vv_crew_used(&pool->crew);
    bool active = false;

    for (uint32_t i = 0; i < used && !active; i++) {
        active = vv_watch_is_active(vv_pool_worker(pool, i));
    }
    return active;
}

int64_t vv_pool_watch(void *ctx, int64_t now_ns)
{
    struct vv_pool *pool = ctx;
    struct vv_watch *watch = &pool->watch;
    uint32_t used = vv_crew_used(&pool->crew);

    if (pool->contains) {
        contain_all(pool);
    }
    if (!vv_watch_is_armed(watch)) {
        return VIVERO_FOREVER;
    }
    if (!vv_watch_tick_begin(&pool->ticker, watch, now_ns)) {
        return pool->ticker.due_ns;
    }
    for (uint32_t i = 0; i < used; i++) {
        if (i + LOOK_AHEAD < used) {
            vv_watch_prefetch(vv_pool_worker(pool, i + LOOK_AHEAD));
        }
        look_at(pool, i, now_ns);
    }
    vv_watch_tick_end(&pool->ticker, watch, now_ns);
    return vv_watch_disarm(watch, &pool->ticker, anybody_active)
               ? VIVERO_FOREVER
               : pool->ticker.due_ns;
}

/* ---- Options ----------------------------------------------------------------------------- */

static void ring(void *owner)
{
    struct vv_pool *pool = owner;

    vv_loop_poke(&pool->supervisor);
}

static int64_t length_or_never(int64_t length_ns)
{
    return length_ns > 0 ? length_ns : VIVERO_FOREVER;
}

void vv_pool_fill_watch(struct vv_pool *pool)
{
    const struct vivero_pool_options *options = &pool->options;
    struct vv_watch *watch = &pool->watch;

    watch->report_ns = length_or_never(options->hang_report_ns);
    watch->deadline_ns = length_or_never(options->deadline_ns);
    watch->tick_ns = vv_watch_tick(watch->report_ns, watch->deadline_ns);
    watch->replaces = options->on_hang == VIVERO_HANG_REPLACE;
    watch->nudge_signal = options->nudge_signal;
    watch->ring = ring;
    watch->owner = pool;
    if (watch->report_ns != VIVERO_FOREVER ||
        watch->deadline_ns != VIVERO_FOREVER) {
        pool->spec.watch = watch;
    }
}
