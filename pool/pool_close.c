/* SPDX-License-Identifier: MIT */
/* pool_close: the end of a pool, in bounded time. The steps are numbered in
 * pool.c. */
#include <vivero/error.h>

#include "base/log.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "pool/pool_private.h"

static bool is_gone(const struct vv_pool *pool)
{
    return pool->gone;
}

/* Wait until the supervisor has seen all workers off. False: the deadline, or
 * nobody wants to wait any longer. */
static bool wait_for_workers(struct vv_pool *pool, int64_t deadline_ns)
{
    bool gone;

    vv_mutex_lock(&pool->lock);
    while (!is_gone(pool) && !pool->given_up &&
           vv_cond_wait_until(&pool->changed, &pool->lock, deadline_ns)) {
    }
    gone = is_gone(pool);
    vv_mutex_unlock(&pool->lock);
    return gone;
}

static void wait_until_gone(struct vv_pool *pool)
{
    vv_mutex_lock(&pool->lock);
    while (!is_gone(pool)) {
        vv_cond_wait(&pool->changed, &pool->lock);
    }
    vv_mutex_unlock(&pool->lock);
}

static void stop_workers(struct vv_pool *pool)
{
    vv_loop_tell(&pool->supervisor, &pool->stop_notice, NULL, VV_EVENT_STOP,
                 NULL);
    vv_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->options.workers_max; i++) {
        /* A worker that lingers after a resize is told by nobody else. */
        struct vivero_entity *worker = vv_pool_worker(pool, i);

        if (worker != NULL) {
            vv_worker_command(worker, VV_COMMAND_STOP);
        }
    }
    vv_mutex_unlock(&pool->lock);
}

static void abandon(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];
    struct vivero_entity *worker;
    bool abandoned;

    vv_pool_retain(pool);
    vv_worker_count_given_up(1);
    vv_mutex_lock(&pool->lock);
    worker = vv_pool_worker(pool, index);
    abandoned = vv_worker_abandon(worker);
    vv_mutex_unlock(&pool->lock);
    if (!abandoned) {
        /* It leaves by itself after all, and has said so or is about to. */
        vv_worker_count_given_up(-1);
        vv_pool_release(pool);
        return;
    }
    /* Whoever has but a future is not inside, and is told now. */
    vv_worker_fence(worker);
    vv_log(VIVERO_LOG_ERROR, "pool", pool->name, NULL, 0,
           "worker %u did not end in time and was abandoned", index + 1);
    vv_loop_tell(&pool->supervisor, &child->notices[VV_NOTICE_SELF],
                 &child->child, VV_EVENT_FINISHED, NULL);
}

/* Whether a thread runs the worker. Nothing is started any more, and one that
 * lost its thread is seen off by the supervisor. */
static bool has_carrier(struct vv_pool *pool, uint32_t index)
{
    bool has;

    vv_mutex_lock(&pool->lock);
    while (!pool->stop_heard) {
        vv_cond_wait(&pool->changed, &pool->lock);
    }
    has = pool->children[index].has_carrier &&
          !vv_worker_lost_thread(vv_pool_worker(pool, index));
    vv_mutex_unlock(&pool->lock);
    return has;
}

static int see_workers_off(struct vv_pool *pool)
{
    bool patient = pool->patient && vv_pool_phase(pool) == VV_POOL_CLOSING;
    int64_t deadline = vv_deadline_after(
        vivero_now(), patient ? VIVERO_FOREVER : pool->options.shutdown_ns);

    if (wait_for_workers(pool, deadline)) {
        return VIVERO_OK;
    }
    for (uint32_t i = 0; i < pool->options.workers_max; i++) {
        if (has_carrier(pool, i)) {
            abandon(pool, i);
        }
    }
    wait_until_gone(pool);
    return VIVERO_E_TIMED_OUT;
}

static void join_threads(struct vv_pool *pool)
{
    vv_loop_join(&pool->supervisor);
    for (uint32_t i = 0; i < pool->options.workers_max; i++) {
        struct vivero_entity *worker = vv_pool_worker(pool, i);

        if (worker != NULL) {
            vv_worker_join(worker);
        }
    }
}

/* Callers inside are on their way out. One may wait for an abandoned worker
 * that had just taken its message when we looked before. */
static void see_callers_off(struct vv_pool *pool)
{
    while (vv_here_somebody_inside(pool)) {
        for (uint32_t i = 0; i < pool->options.workers_max; i++) {
            struct vivero_entity *worker = vv_pool_worker(pool, i);

            if (worker != NULL) {
                vv_worker_fence(worker);
            }
        }
        vv_cpu_yield();
    }
}

/* Nobody handles what is queued any more. */
static void flush(struct vv_pool *pool)
{
    if (vv_pool_phase(pool) == VV_POOL_DOWN) {
        (void)vv_pool_flush(pool, VIVERO_E_DOWN, &pool->down_exit,
                            VV_SETTLED_DEAD);
    } else {
        (void)vv_pool_flush(pool, VIVERO_E_CLOSING, NULL, VV_SETTLED_DEAD);
    }
}

int vv_pool_end(struct vv_pool *pool)
{
    int error;

    if (vv_pool_phase(pool) < VV_POOL_HALTED) {
        (void)vv_pool_advance(pool, VV_POOL_CLOSING);
    }
    vv_pool_close_mailboxes(pool);
    flush(pool);
    vv_crew_poke_quiet(&pool->crew);
    stop_workers(pool);
    error = see_workers_off(pool);
    join_threads(pool);
    /* What a last failure kept for an incarnation that never came. */
    flush(pool);
    return error;
}

void vv_pool_dispose(struct vv_pool *pool)
{
    see_callers_off(pool);
    vv_pool_release(pool);
}

int vivero_pool_close(struct vivero_pool *handle)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_close");
    struct vv_pool *pool = visit.pool;
    int error;

    VV_CHECK(!vv_handle_moves(handle),
             "vivero_pool_close(): pool %s is the child of a supervisor, which "
             "closes it",
             pool->name);
    if (vv_forked()) {
        vv_pool_leave(&visit);
        return VIVERO_E_FORKED;
    }
    vv_pool_refuse_own_threads(&visit, "vivero_pool_close");
    (void)vv_pool_advance(pool, VV_POOL_CLOSING);
    error = vv_pool_end(pool);
    vv_handle_set(handle, NULL);
    vv_pool_leave(&visit);
    vv_log(VIVERO_LOG_INFO, "pool", pool->name, NULL, 0, "closed");
    vv_pool_dispose(pool);
    return error;
}
