/* SPDX-License-Identifier: MIT */
/* pool_snapshot: a picture of a running pool.
 *
 * Numbers are read one by one from counters that have one writer each; nothing
 * is stopped. Only a payload's text needs its worker to hold still: an idle
 * worker is borrowed for it, as a caller that runs its own call would, a busy
 * one is left alone.
 *
 * The picture is one block: the struct, the workers, their texts. */
#include <vivero/error.h>

#include "os/cpu.h"
#include "os/thread.h"
#include "pool/pool_private.h"

#include <inttypes.h>
#include <string.h>

#define TEXT_MAX 128
#define LOOKS_MAX 1000

struct picture {
    struct vivero_pool_snapshot snapshot;
    size_t size;
    char name[32];
    char (*texts)[TEXT_MAX];
    struct vivero_worker_snapshot workers[];
};

/* ---- Workers ------------------------------------------------------------------------- */

void vv_pool_snapshot_worker(struct vv_pool *pool, uint32_t index,
                             struct vivero_worker_snapshot *snapshot)
{
    struct vivero_entity *worker;

    vv_mutex_lock(&pool->lock);
    worker = vv_pool_worker(pool, index);
    if (worker != NULL) {
        vv_worker_snapshot(worker, snapshot);
    }
    vv_mutex_unlock(&pool->lock);
}

/* A worker that has nothing to do may still be looking for work; it will be idle
 * in a moment. */
static struct vv_seat *borrow_unless_busy(struct vv_pool *pool, uint32_t index)
{
    struct vv_crew *crew = &pool->crew;
    struct vv_seat *seat = vv_crew_borrow(crew, index);

    for (int looks = 0; looks < LOOKS_MAX && seat == NULL; looks++) {
        struct vivero_worker_snapshot worker = {0};

        vv_pool_snapshot_worker(pool, index, &worker);
        if (worker.state != VIVERO_WORKER_IDLE) {
            return NULL;
        }
        vv_cpu_yield();
        seat = vv_crew_borrow(crew, index);
    }
    return seat;
}

static const char *print_payload(struct vv_pool *pool, uint32_t index,
                                 char *text)
{
    struct vv_seat *seat;
    FILE *out;

    if (pool->options.print_payload == NULL) {
        return NULL;
    }
    seat = borrow_unless_busy(pool, index);
    if (seat == NULL) {
        return NULL;
    }
    out = fmemopen(text, TEXT_MAX, "w");
    if (out != NULL) {
        pool->options.print_payload(vv_worker_payload(vv_worker_of(seat)), out,
                                    pool->options.ctx);
        (void)fclose(out);
        text[TEXT_MAX - 1] = '\0';
    }
    vv_crew_give_back(seat, false);
    return out != NULL ? text : NULL;
}

static void picture_worker(struct vv_pool *pool, uint32_t index,
                           struct vivero_worker_snapshot *worker, char *text)
{
    const struct vv_seat *seat = vv_crew_seat(&pool->crew, index);
    struct vv_mailbox *mailbox = seat->mailbox;

    vv_pool_snapshot_worker(pool, index, worker);
    worker->queued = vv_mailbox_queued(mailbox);
    worker->oldest_age_ns =
        worker->queued > 0 ? vv_mailbox_oldest_age(mailbox) : 0;
    worker->payload = print_payload(pool, index, text);
}

/* ---- The pool -------------------------------------------------------------------------- */

static uint64_t number(const _Atomic uint64_t *counter)
{
    /* relaxed: a statistic. */
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void picture_totals(struct vv_pool *pool,
                           struct vivero_pool_snapshot *snapshot)
{
    const struct vv_crew *crew = &pool->crew;
    uint64_t newest = number(&pool->dropped_newest);

    snapshot->expired = vv_crew_settled(crew, VV_SETTLED_EXPIRED);
    snapshot->cancelled = vv_crew_settled(crew, VV_SETTLED_CANCELLED);
    snapshot->dropped = vv_crew_settled(crew, VV_SETTLED_DROPPED) + newest;
    snapshot->dead = vv_crew_settled(crew, VV_SETTLED_DEAD);
    snapshot->accepted = vv_crew_accepted(crew) + newest;
    snapshot->rejected = number(&pool->rejected);
    snapshot->boxed = number(&pool->boxed);
    snapshot->wake_ups = number(&crew->wake_ups);
    /* relaxed: a statistic. */
    snapshot->abandoned =
        atomic_load_explicit(&pool->abandoned, memory_order_relaxed);
    vv_account_stats(&pool->account, &snapshot->memory);
}

static void picture_workers(struct vv_pool *pool, struct picture *picture)
{
    struct vivero_pool_snapshot *snapshot = &picture->snapshot;

    for (uint32_t i = 0; i < snapshot->worker_count; i++) {
        struct vivero_worker_snapshot *worker = &picture->workers[i];

        picture_worker(pool, i, worker, picture->texts[i]);
        snapshot->handled += worker->handled;
        snapshot->failed += worker->failed;
        snapshot->queued += worker->queued;
        snapshot->running += worker->operation != NULL;
        snapshot->restarts += worker->restarts;
    }
}

static struct picture *new_picture(const struct vv_pool *pool)
{
    uint32_t count = vv_crew_used(&pool->crew);
    size_t head =
        sizeof(struct picture) + count * sizeof(struct vivero_worker_snapshot);
    size_t size = head + count * (size_t)TEXT_MAX;
    struct picture *picture;

    vv_memory_retain(); /* it may be freed after the pool */
    picture = vv_allocate(NULL, size, _Alignof(max_align_t));
    if (picture == NULL) {
        vv_memory_release();
    } else {
        picture->size = size;
        picture->texts =
            (char(*)[TEXT_MAX])(void *)((unsigned char *)picture + head);
        picture->snapshot.worker_count = count;
        picture->snapshot.worker = picture->workers;
        picture->snapshot.name = picture->name;
        memcpy(picture->name, pool->name, sizeof(picture->name));
    }
    return picture;
}

int vivero_pool_snapshot(struct vivero_pool *handle,
                         const struct vivero_pool_snapshot **snapshot)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_snapshot");
    int error = vv_here_may_act();
    struct picture *picture;

    if (error != VIVERO_OK) {
        vv_pool_leave(&visit);
        return error;
    }
    picture = new_picture(visit.pool);

    if (picture != NULL) {
        picture->snapshot.workers = vv_pool_staff(visit.pool);
        picture_workers(visit.pool, picture);
        picture_totals(visit.pool, &picture->snapshot);
        *snapshot = &picture->snapshot;
    }
    vv_pool_leave(&visit);
    return picture != NULL ? VIVERO_OK : VIVERO_E_NO_MEMORY;
}

void vivero_pool_snapshot_free(const struct vivero_pool_snapshot *snapshot)
{
    /* The snapshot is the picture's first member. */
    struct picture *picture = (struct picture *)(uintptr_t)snapshot;

    if (picture != NULL) {
        vv_release(NULL, picture, picture->size, _Alignof(max_align_t));
        vv_memory_release();
    }
}

/* ---- Printing ----------------------------------------------------------------------------- */

static const char *state_name(enum vivero_worker_state state)
{
    switch (state) {
    case VIVERO_WORKER_ABSENT:
        return "absent";
    case VIVERO_WORKER_STARTING:
        return "starting";
    case VIVERO_WORKER_IDLE:
        return "idle";
    case VIVERO_WORKER_BUSY:
        return "busy";
    case VIVERO_WORKER_RESTARTING:
        return "restarting";
    case VIVERO_WORKER_LEAVING:
        return "leaving";
    }
    return "?";
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static void print_worker(const struct vivero_worker_snapshot *worker, FILE *out)
{
    (void)fprintf(out,
                  "  worker %" PRIu32 ": %s, %" PRIu64 " handled, %" PRIu64
                  " failed, %" PRIu32 " queued, %" PRIu64 " restart%s",
                  worker->id, state_name(worker->state), worker->handled,
                  worker->failed, worker->queued, worker->restarts,
                  plural(worker->restarts));
    if (worker->operation != NULL) {
        (void)fprintf(out, ", in %s for %" PRId64 " ms", worker->operation,
                      worker->busy_for_ns / 1000000);
    }
    if (worker->payload != NULL) {
        (void)fprintf(out, ", payload %s", worker->payload);
    }
    if (worker->last_exit.kind != VIVERO_EXIT_NONE) {
        (void)fprintf(out, ", last exit %s %d \"%s\"",
                      vivero_exit_kind_name(worker->last_exit.kind),
                      worker->last_exit.code, worker->last_exit.text);
    }
    (void)fprintf(out, "\n");
}

int vivero_pool_print(struct vivero_pool *pool, FILE *out)
{
    const struct vivero_pool_snapshot *snapshot;
    int error = vivero_pool_snapshot(pool, &snapshot);

    if (error != VIVERO_OK) {
        return error;
    }
    (void)fprintf(out,
                  "pool %s: %" PRIu32 " worker%s, %" PRIu64
                  " accepted, %" PRIu64 " handled, %" PRIu64 " failed, %" PRIu64
                  " queued, %" PRIu64 " rejected, %" PRIu64 " restart%s\n",
                  snapshot->name, snapshot->workers, plural(snapshot->workers),
                  snapshot->accepted, snapshot->handled, snapshot->failed,
                  snapshot->queued, snapshot->rejected, snapshot->restarts,
                  plural(snapshot->restarts));
    for (uint32_t i = 0; i < snapshot->worker_count; i++) {
        if (snapshot->worker[i].state != VIVERO_WORKER_ABSENT) {
            print_worker(&snapshot->worker[i], out);
        }
    }
    vivero_pool_snapshot_free(snapshot);
    return ferror(out) ? VIVERO_E_IO : VIVERO_OK;
}
