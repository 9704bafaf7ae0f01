/* SPDX-License-Identifier: MIT */
/* owner: what the owner of a worker does to it: make it, tell it, let it go.
 *
 * Threads.  The owner's supervisor, and whoever resizes or closes; never the
 *           worker's own, but for what carrier.c calls.
 * Locks.    The worker's: its fate, and whether it is to retire. */
#include <vivero/error.h>

#include "base/check.h"
#include "os/park.h"
#include "worker/fault.h"
#include "worker/worker_private.h"

#include <stdio.h>

/* ---- Life ------------------------------------------------------------------------- */

static size_t payload_size(const struct vv_worker_spec *spec)
{
    return spec->payload_size > 0 ? spec->payload_size : 1;
}

static void free_parts(const struct vv_worker_spec *spec,
                       struct vivero_entity *worker, void *payload,
                       void *committed)
{
    vv_release(spec->account, committed, payload_size(spec), VV_CACHELINE);
    vv_release(spec->account, payload, payload_size(spec), VV_CACHELINE);
    vv_release(spec->account, worker, sizeof(*worker), VV_CACHELINE);
}

static void sit(struct vivero_entity *worker, struct vv_seat *seat)
{
    worker->seat = seat;
    (void)snprintf(worker->name, sizeof(worker->name), "%s/%u",
                   worker->spec->family, seat->index + 1);
    vv_wait_take_seat(worker->waiter, seat);
    /* sync(seat.worker): it is whole. */
    atomic_store_explicit(&seat->worker, worker, memory_order_release);
}

int vv_worker_new(const struct vv_worker_spec *spec, struct vv_seat *seat,
                  struct vivero_entity **worker)
{
    struct vivero_entity *fresh =
        vv_allocate(spec->account, sizeof(*fresh), VV_CACHELINE);
    void *payload =
        vv_allocate(spec->account, payload_size(spec), VV_CACHELINE);
    void *committed =
        spec->commits
            ? vv_allocate(spec->account, payload_size(spec), VV_CACHELINE)
            : NULL;

    if (fresh == NULL || payload == NULL ||
        (spec->commits && committed == NULL)) {
        free_parts(spec, fresh, payload, committed);
        return VIVERO_E_NO_MEMORY;
    }
    vv_worker_init_stage(fresh, spec);
    fresh->waiter = &fresh->own_waiter;
    fresh->payload = payload;
    fresh->committed = committed;
    if (seat != NULL) {
        sit(fresh, seat);
    }
    *worker = fresh;
    return VIVERO_OK;
}

void vv_worker_free(struct vivero_entity *worker)
{
    const struct vv_worker_spec *spec;

    if (worker == NULL) {
        return;
    }
    spec = worker->spec;
    if (vv_worker_fault(worker) != 0) {
        /* Its thread stands still: nobody cleans up its payload. */
        worker->alive = false;
        worker->has_committed = false;
        vv_message_fini(&worker->current);
    }
    VV_ASSERT(!worker->alive);
    worker->final = true;
    if (worker->has_committed) {
        vv_worker_destroy_payload(worker); /* its thread left, and none came */
    }
    vv_worker_fini_stage(worker);
    free_parts(spec, worker, worker->payload, worker->committed);
}

void vv_worker_thread_name(const struct vivero_entity *worker, char *name,
                           size_t size)
{
    const char *from = worker->spec->thread_name;
    size_t length = 0;

    name[0] = '\0';
    for (; *from != '\0' && length + 1 < size; from++) {
        int written;

        if (from[0] == '%' && from[1] == 's') {
            written = snprintf(name + length, size - length, "%s",
                               worker->spec->family);
            from++;
        } else if (from[0] == '%' && from[1] == 'u') {
            written = snprintf(name + length, size - length, "%u",
                               worker->seat->index + 1);
            from++;
        } else {
            written = snprintf(name + length, size - length, "%c", *from);
        }
        length += (size_t)written;
    }
}

/* ---- Telling it ------------------------------------------------------------------- */

void vv_worker_command(struct vivero_entity *worker,
                       enum vv_worker_command command)
{
    /* sync(worker.command): what the owner prepared for it. */
    atomic_store_explicit(&worker->command, (uint32_t)command,
                          memory_order_release);
    vv_unpark(&worker->command, 1);
    vv_crew_call_attention(worker->seat->crew, worker->seat->index);
}

static void set_retire(struct vivero_entity *worker, bool retire)
{
    vv_mutex_assert_held(&worker->lock);
    worker->retire = retire;
}

void vv_worker_retire(struct vivero_entity *worker)
{
    vv_mutex_lock(&worker->lock);
    set_retire(worker, true);
    vv_mutex_unlock(&worker->lock);
    vv_crew_call_attention(worker->seat->crew, worker->seat->index);
}

bool vv_worker_stay(struct vivero_entity *worker)
{
    bool stays;

    vv_mutex_lock(&worker->lock);
    stays = !worker->leaving;
    if (stays) {
        set_retire(worker, false);
    }
    vv_mutex_unlock(&worker->lock);
    vv_crew_call_attention(worker->seat->crew, worker->seat->index);
    return stays;
}

/* ---- Its thread -------------------------------------------------------------------- */

bool vv_worker_lost_thread(struct vivero_entity *worker)
{
    /* sync(worker.lost_thread): what its thread did last. Without the lock,
     * which the worker holds while it gives news. */
    return atomic_load_explicit(&worker->lost_thread, memory_order_acquire);
}

void vv_worker_set_lost_thread(struct vivero_entity *worker, bool lost)
{
    /* sync(worker.lost_thread): see vv_worker_lost_thread. */
    atomic_store_explicit(&worker->lost_thread, lost, memory_order_release);
}

void vv_worker_renew(struct vivero_entity *worker)
{
    vv_mutex_lock(&worker->lock);
    if (vv_worker_lost_thread(worker)) {
        /* relaxed: a statistic; nobody runs the worker now. */
        atomic_fetch_add_explicit(&worker->incarnation, 1,
                                  memory_order_relaxed);
    }
    worker->retire = worker->retire && vv_worker_lost_thread(worker);
    vv_worker_set_lost_thread(worker, false);
    worker->fate = FATE_OPEN;
    worker->leaving = false;
    vv_mutex_unlock(&worker->lock);
    /* relaxed: published to the new carrier by its creation, or by the mutex
     * under which it takes the worker. */
    atomic_store_explicit(&worker->command, VV_COMMAND_NONE,
                          memory_order_relaxed);
}

void vv_worker_forget(struct vivero_entity *worker)
{
    bool gone;

    vv_mutex_lock(&worker->lock);
    gone = worker->fate == FATE_OPEN || worker->fate == FATE_LEFT;
    if (gone) {
        vv_worker_set_lost_thread(worker, false);
        worker->retire = false;
    }
    vv_mutex_unlock(&worker->lock);
    if (!gone) {
        return; /* its thread still runs */
    }
    vv_worker_set_phase(worker, PHASE_ABSENT);
    if (worker->has_committed) {
        /* Its thread was lost before, and no other one came. */
        worker->final = true;
        vv_worker_destroy_payload(worker);
    }
}

void vv_worker_join(struct vivero_entity *worker)
{
    if (worker->has_thread) {
        worker->has_thread = false;
        vv_thread_join(&worker->thread);
    }
}

bool vv_worker_abandon(struct vivero_entity *worker)
{
    bool in_time;

    vv_mutex_lock(&worker->lock);
    in_time = worker->fate == FATE_OPEN;
    if (in_time) {
        worker->fate = FATE_ABANDONED;
    }
    vv_mutex_unlock(&worker->lock);
    if (in_time && worker->has_thread) {
        worker->has_thread = false;
        vv_thread_detach(&worker->thread);
    }
    return in_time;
}

static bool is_abandoned(struct vivero_entity *worker)
{
    bool abandoned;

    vv_mutex_lock(&worker->lock);
    abandoned = worker->fate == FATE_ABANDONED;
    vv_mutex_unlock(&worker->lock);
    return abandoned;
}

struct vivero_reply_token
vv_worker_running_call(const struct vivero_entity *worker)
{
    struct vivero_reply_token token = {0, 0};
    /* sync(worker.running_reply): the slot it names is begun. */
    uint64_t running =
        atomic_load_explicit(&worker->running_reply, memory_order_acquire);

    if (running != 0) {
        token.slot = (uint32_t)(running >> 32) - 1;
        token.generation = (uint32_t)running;
    }
    return token;
}

void vv_worker_fence(struct vivero_entity *worker)
{
    const struct vivero_reply_token running = vv_worker_running_call(worker);

    if (is_abandoned(worker)) {
        (void)vv_reply_fence(running, VIVERO_E_CLOSING, NULL);
        vv_reply_default(worker->debts, VIVERO_E_CLOSING, NULL);
    }
}
