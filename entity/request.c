/* SPDX-License-Identifier: MIT */
/* request: something an entity's thread does between two messages while somebody
 * waits; and waiting for an end.
 *
 * A request has two references, the asker's and the receiver's, since an asker
 * may give up first. Watches of an end stand on the waiter's stack and are taken
 * off the list, under the entity's lock, by whoever comes first. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "entity/entity_private.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/park.h"
#include "os/thread.h"

struct vv_request *vv_request_new(size_t size, int kind)
{
    struct vv_request *request = vv_allocate(NULL, size, _Alignof(max_align_t));

    if (request != NULL) {
        request->size = size;
        request->kind = kind;
        /* relaxed: nobody else knows it. */
        atomic_store_explicit(&request->references, 1, memory_order_relaxed);
        request->from = vv_entity_asker();
    }
    return request;
}

void vv_request_release(struct vv_request *request)
{
    /* sync(request.references): the last one sees what the other did. */
    if (atomic_fetch_sub_explicit(&request->references, 1,
                                  memory_order_acq_rel) == 1) {
        if (request->fini != NULL) {
            request->fini(request);
        }
        vv_release(NULL, request, request->size, _Alignof(max_align_t));
    }
}

void vv_request_answer(struct vv_request *request, int result,
                       const struct vivero_exit *exit)
{
    request->result = result;
    if (exit != NULL) {
        request->exit = *exit;
    }
    /* sync(request.word): the result stands. */
    atomic_store_explicit(&request->word, 1, memory_order_release);
    vv_unpark(&request->word, 1);
    vv_request_release(request);
}

static void push_locked(struct vv_entity *entity, struct vv_request *request)
{
    struct vv_request **at = &entity->requests;

    while (*at != NULL) {
        at = &(*at)->next;
    }
    request->next = NULL;
    *at = request;
}

static bool is_raised(_Atomic uint32_t *word)
{
    /* sync(request.word): and sync(entity.ended): what was written before. */
    return atomic_load_explicit(word, memory_order_acquire) != 0;
}

/* Until the word is 1. Errors: TIMED_OUT, DEADLOCK. */
static int await(_Atomic uint32_t *word, int64_t deadline_ns)
{
    enum vv_wake wake = VV_WAKE_CALLED;

    while (wake == VV_WAKE_CALLED && !is_raised(word)) {
        wake = vv_here_park(word, 0, deadline_ns);
    }
    if (is_raised(word)) {
        return VIVERO_OK;
    }
    return wake == VV_WAKE_REFUSED ? VIVERO_E_DEADLOCK : VIVERO_E_TIMED_OUT;
}

/* The asker may not wait: unless it has been taken, nobody has been asked. */
static void take_request_back(struct vivero_ref to, struct vv_request *request)
{
    struct vv_entity *entity = vv_entity_lock(to);
    struct vv_request **at;
    bool found;

    if (entity == NULL) {
        return;
    }
    at = &entity->requests;
    while (*at != NULL && *at != request) {
        at = &(*at)->next;
    }
    found = *at != NULL;
    if (found) {
        *at = request->next;
    }
    vv_entity_unlock(entity);
    if (found) {
        vv_request_release(request);
    }
}

bool vv_entity_is_asked_to_end(struct vv_entity *entity)
{
    const struct vv_request *request;
    bool asked;

    vv_entity_hold(entity);
    asked = entity->verdict != NULL || vv_entity_is_ending_locked(entity);
    for (request = entity->requests; request != NULL; request = request->next) {
        asked = asked || request->ends;
    }
    vv_entity_unlock(entity);
    return asked;
}

int vv_request_send(struct vv_request *request, struct vivero_ref to,
                    int64_t timeout_ns)
{
    int64_t deadline = vv_deadline_after(vivero_now(), timeout_ns);
    struct vv_entity *entity;
    int error;

    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    entity = vv_entity_lock(to);
    if (entity == NULL) {
        return VIVERO_E_GONE;
    }
    /* relaxed: handed over by the lock. */
    atomic_fetch_add_explicit(&request->references, 1, memory_order_relaxed);
    push_locked(entity, request);
    vv_entity_poke_locked(entity);
    vv_entity_unlock(entity);
    error = await(&request->word, deadline);
    if (error == VIVERO_E_DEADLOCK) {
        take_request_back(to, request);
    }
    return error == VIVERO_OK ? request->result : error;
}

/* ---- Ends ------------------------------------------------------------------------ */

void vv_end_watches_tell_locked(struct vv_entity *entity,
                                const struct vivero_exit *exit)
{
    while (entity->watches != NULL) {
        struct vv_end_watch *watch = entity->watches;

        entity->watches = watch->next;
        watch->exit = *exit;
        /* sync(entity.ended): and its exit; the waiter may leave at once, a
         * wake-up that comes late hits a stack that is mapped. */
        atomic_store_explicit(&watch->word, 1, memory_order_release);
        vv_unpark(&watch->word, 1);
    }
}

static void take_back(struct vivero_ref ref, struct vv_end_watch *watch)
{
    struct vv_slot *slot = vv_slot_find(ref.slot);
    struct vv_end_watch **at;

    vv_mutex_lock(&slot->lock);
    /* Not told yet, so the entity is still there, though it may be ending. */
    /* relaxed: changed under the lock only. */
    if (atomic_load_explicit(&watch->word, memory_order_relaxed) == 0) {
        at = &slot->entity->watches;
        while (*at != watch) {
            at = &(*at)->next;
        }
        *at = watch->next;
    }
    vv_mutex_unlock(&slot->lock);
}

int vv_entity_await_end(struct vivero_ref ref, int64_t deadline_ns,
                        struct vivero_exit *exit)
{
    struct vv_end_watch watch = {.word = 0};
    struct vv_slot *slot = ref.generation != 0 ? vv_slot_find(ref.slot) : NULL;
    bool watched = false;

    if (slot == NULL) {
        return VIVERO_E_GONE;
    }
    vv_mutex_lock(&slot->lock);
    if (slot->generation == ref.generation && slot->entity != NULL) {
        watch.next = slot->entity->watches;
        slot->entity->watches = &watch;
        watched = true;
    }
    vv_mutex_unlock(&slot->lock);
    if (watched && await(&watch.word, deadline_ns) != VIVERO_OK) {
        take_back(ref, &watch);
    }
    vv_thread_reap();
    if (!watched) {
        return VIVERO_E_GONE;
    }
    if (!is_raised(&watch.word)) {
        return VIVERO_E_TIMED_OUT;
    }
    *exit = watch.exit;
    return VIVERO_OK;
}
