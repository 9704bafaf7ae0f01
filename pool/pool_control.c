/* SPDX-License-Identifier: MIT */
/* pool_control: cancelling, coming to rest, suspending, draining.
 *
 * A drain closes the mailboxes first, so that what is to be done is a fixed
 * amount; then it waits for rest; what is left at the deadline is cancelled. */
#include <vivero/error.h>

#include "base/log.h"
#include "os/clock.h"
#include "os/thread.h"
#include "pool/pool_private.h"

/* ---- Cancelling ------------------------------------------------------------------------ */

int vivero_pool_cancel(struct vivero_pool *handle,
                       struct vivero_message message)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_cancel");
    int error = vv_here_may_act();

    if (error == VIVERO_OK) {
        error = vv_reply_cancel(message) ? VIVERO_OK : VIVERO_E_GONE;
    }
    if (error == VIVERO_OK) {
        vv_crew_poke_quiet(&visit.pool->crew);
    }
    vv_pool_leave(&visit);
    return error;
}

int vivero_pool_cancel_owner(struct vivero_pool *handle, const void *owner)
{
    struct vv_pool_visit visit =
        vv_pool_enter(handle, "vivero_pool_cancel_owner");
    struct vv_crew *crew = &visit.pool->crew;
    uint32_t used = vv_crew_used(crew);
    int error = vv_here_may_act();
    uint32_t count = 0;

    if (error != VIVERO_OK) {
        vv_pool_leave(&visit);
        return error;
    }
    for (uint32_t i = 0; i < used && owner != NULL; i++) {
        count += vv_mailbox_cancel_owner(vv_crew_seat(crew, i)->mailbox, owner);
    }
    vv_crew_poke_quiet(crew);
    vv_pool_leave(&visit);
    return (int)count;
}

int vivero_pool_cancel_all(struct vivero_pool *handle)
{
    struct vv_pool_visit visit =
        vv_pool_enter(handle, "vivero_pool_cancel_all");
    int result = vv_here_may_act();

    if (result == VIVERO_OK) {
        result = (int)vv_pool_flush(visit.pool, VIVERO_E_CANCELLED, NULL,
                                    VV_SETTLED_CANCELLED);
    }
    vv_pool_leave(&visit);
    return result;
}

/* ---- Rest --------------------------------------------------------------------------------- */

static bool is_down(void *ctx)
{
    return vv_pool_phase(ctx) >= VV_POOL_DOWN;
}

static int wait_idle(const struct vv_pool_visit *visit, int64_t timeout_ns)
{
    switch (vv_crew_wait_quiet(&visit->pool->crew,
                               vv_deadline_after(vivero_now(), timeout_ns),
                               is_down, visit->pool)) {
    case 1:
        return VIVERO_OK;
    case 0:
        return VIVERO_E_TIMED_OUT;
    default:
        return vv_pool_refusal(visit->pool, visit->here);
    }
}

int vivero_pool_wait_idle(struct vivero_pool *handle, int64_t timeout_ns)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_wait_idle");
    int error;

    vv_pool_refuse_own_threads(&visit, "vivero_pool_wait_idle");
    error = vv_here_may_act();
    if (error == VIVERO_OK) {
        error = wait_idle(&visit, timeout_ns);
    }
    vv_pool_leave(&visit);
    return error;
}

void vivero_pool_suspend(struct vivero_pool *handle)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_suspend");

    vv_crew_suspend(&visit.pool->crew, true);
    vv_pool_leave(&visit);
}

void vivero_pool_resume(struct vivero_pool *handle)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_resume");

    vv_crew_suspend(&visit.pool->crew, false);
    vv_pool_leave(&visit);
}

/* ---- Draining -------------------------------------------------------------------------------- */

static uint64_t finished(const struct vv_crew *crew)
{
    uint32_t used = vv_crew_used(crew);
    uint64_t sum = 0;

    for (uint32_t i = 0; i < used; i++) {
        sum += vv_crew_finished_count(vv_crew_seat(crew, i));
    }
    return sum;
}

static uint32_t busy_workers(struct vv_pool *pool)
{
    uint32_t used = vv_crew_used(&pool->crew);
    uint32_t busy = 0;

    for (uint32_t i = 0; i < used; i++) {
        struct vivero_worker_snapshot snapshot = {0};

        vv_pool_snapshot_worker(pool, i, &snapshot);
        busy += snapshot.operation != NULL;
    }
    return busy;
}

static int drain(const struct vv_pool_visit *visit, int64_t timeout_ns,
                 struct vivero_drain_report *report)
{
    struct vv_pool *pool = visit->pool;
    uint64_t before = finished(&pool->crew);
    int error;

    if (!vv_pool_advance(pool, VV_POOL_DRAINING) &&
        vv_pool_phase(pool) != VV_POOL_DRAINING) {
        return vv_pool_refusal(pool, visit->here);
    }
    vv_pool_close_mailboxes(pool);
    error = wait_idle(visit, timeout_ns);
    if (error != VIVERO_OK && error != VIVERO_E_TIMED_OUT) {
        return error;
    }
    report->cancelled =
        vv_pool_flush(pool, VIVERO_E_CANCELLED, NULL, VV_SETTLED_CANCELLED);
    report->done = finished(&pool->crew) - before;
    report->stragglers = busy_workers(pool);
    return report->cancelled > 0 || report->stragglers > 0 ? VIVERO_E_TIMED_OUT
                                                           : VIVERO_OK;
}

int vivero_pool_drain(struct vivero_pool *handle, int64_t timeout_ns,
                      struct vivero_drain_report *report)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_drain");
    struct vivero_drain_report mine = {0};
    int error;

    vv_pool_refuse_own_threads(&visit, "vivero_pool_drain");
    error = vv_here_may_act();
    if (error == VIVERO_OK) {
        error = drain(&visit, timeout_ns, &mine);
    }
    if (report != NULL) {
        *report = mine;
    }
    vv_pool_leave(&visit);
    return error;
}
