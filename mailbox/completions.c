/* SPDX-License-Identifier: MIT */
/* completions: finished calls, queued for an event loop.
 *
 * Model.    A slot sent with a queue is in one of its two lists until it is used
 *           up or given out: under way, then, from the step that answers it on,
 *           finished. The links are in the slot: finishing cannot fail. Those
 *           who wait sleep on a sequence; the descriptor, once there is one, is
 *           set while there are finished ones.
 * Locks.    futures: everything here. Also over the one system call that sets
 *           the descriptor, which comes with the first of several answers only.
 * Shutdown. close abandons slot after slot, each under its own name; who is
 *           about to finish one of them does so under the lock, before or after,
 *           and then uses the queue no more. */
#include <vivero/time.h>

#include "base/check.h"
#include "base/memory.h"
#include "mailbox/future_private.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/park.h"
#include "os/pollable.h"
#include "os/thread.h"

struct vivero_completions {
    /* guarded by vv_future_lock */
    struct vv_future_list under_way;
    struct vv_future_list finished;
    struct vv_pollable pollable;
    bool is_pollable; /* the descriptor is there */
    uint32_t sleepers;
    /* atomic: a sequence, changed under the lock */
    _Atomic uint32_t word;
};

/* ---- Lists ---------------------------------------------------------------------- */

static void append(struct vv_future_list *list, struct vv_reply *reply)
{
    reply->future.list = list;
    reply->future.next = NULL;
    reply->future.previous = list->last;
    if (list->last != NULL) {
        list->last->future.next = reply;
    } else {
        list->first = reply;
    }
    list->last = reply;
}

static void unlink_from(struct vv_future_list *list, struct vv_reply *reply)
{
    struct vv_reply *next = reply->future.next;
    struct vv_reply *previous = reply->future.previous;

    if (previous != NULL) {
        previous->future.next = next;
    } else {
        list->first = next;
    }
    if (next != NULL) {
        next->future.previous = previous;
    } else {
        list->last = previous;
    }
    reply->future.list = NULL;
}

static void show_level_locked(struct vivero_completions *queue)
{
    if (queue->is_pollable) {
        vv_pollable_set(&queue->pollable, queue->finished.first != NULL);
    }
}

void vv_completions_add_locked(struct vivero_completions *queue,
                               struct vv_reply *reply)
{
    vv_mutex_assert_held(&vv_future_lock);
    append(&queue->under_way, reply);
}

void vv_completions_finish_locked(struct vv_reply *reply)
{
    struct vivero_completions *queue = reply->future.completions;

    vv_mutex_assert_held(&vv_future_lock);
    if (reply->future.list == NULL) {
        return; /* no queue, or about to be abandoned */
    }
    unlink_from(&queue->under_way, reply);
    append(&queue->finished, reply);
    show_level_locked(queue);
    if (queue->sleepers > 0) {
        /* relaxed: under the lock, which who was woken takes. */
        atomic_fetch_add_explicit(&queue->word, 1, memory_order_relaxed);
        vv_unpark(&queue->word, 1);
    }
}

void vv_completions_remove_locked(struct vv_reply *reply)
{
    vv_mutex_assert_held(&vv_future_lock);
    if (reply->future.list != NULL) {
        unlink_from(reply->future.list, reply);
        show_level_locked(reply->future.completions);
    }
}

/* ---- Life ------------------------------------------------------------------------ */

int vivero_completions_open(struct vivero_completions **queue)
{
    int refused = vv_here_may_act();
    struct vivero_completions *fresh;
    int error;

    VV_CHECK(queue != NULL,
             "vivero_completions_open(): the place for the queue "
             "is NULL");
    if (refused != VIVERO_OK) {
        return refused;
    }
    error = vv_reply_retain();
    if (error != VIVERO_OK) {
        return error;
    }
    fresh = vv_allocate(NULL, sizeof(*fresh), _Alignof(max_align_t));
    if (fresh == NULL) {
        vv_reply_release();
        return VIVERO_E_NO_MEMORY;
    }
    vv_fork_watch();
    *queue = fresh;
    return VIVERO_OK;
}

/* One that is still in a list; false: none is. */
static bool find_any(const struct vivero_completions *queue,
                     struct vivero_future *future)
{
    const struct vv_reply *reply;

    vv_mutex_lock(&vv_future_lock);
    reply = queue->under_way.first != NULL ? queue->under_way.first
                                           : queue->finished.first;
    if (reply != NULL) {
        *future = vv_future_of(reply);
    }
    vv_mutex_unlock(&vv_future_lock);
    return reply != NULL;
}

void vivero_completions_close(struct vivero_completions *queue)
{
    struct vivero_future future;

    if (queue == NULL || vv_forked()) {
        return;
    }
    while (find_any(queue, &future)) {
        vivero_future_abandon(future);
    }
    if (queue->is_pollable) {
        vv_pollable_close(&queue->pollable);
    }
    vv_release(NULL, queue, sizeof(*queue), _Alignof(max_align_t));
    vv_fork_unwatch();
    vv_reply_release();
}

/* ---- Taking ---------------------------------------------------------------------- */

/* False: the deadline passed, and there is none. */
static bool wait_for_one_locked(struct vivero_completions *queue,
                                int64_t deadline_ns)
{
    bool in_time = deadline_ns > 0;

    queue->sleepers++;
    while (queue->finished.first == NULL && in_time) {
        /* relaxed: it changes under the lock. */
        uint32_t seen =
            atomic_load_explicit(&queue->word, memory_order_relaxed);

        vv_mutex_unlock(&vv_future_lock);
        in_time =
            vv_here_park(&queue->word, seen, deadline_ns) == VV_WAKE_CALLED;
        vv_mutex_lock(&vv_future_lock);
    }
    queue->sleepers--;
    return queue->finished.first != NULL;
}

static void take_first_locked(struct vivero_completions *queue,
                              struct vivero_completion *completion)
{
    struct vv_reply *reply = queue->finished.first;

    *completion = (struct vivero_completion){
        .tag = reply->future.tag,
        .future = vv_future_of(reply),
        .result = state_of(load_word(reply)) == DONE ? reply->result
                                                     : VIVERO_E_CANCELLED};
    vv_completions_remove_locked(reply);
}

int vivero_completions_next(struct vivero_completions *queue,
                            struct vivero_completion *completion,
                            int64_t timeout_ns)
{
    int refused = vv_here_may_act();
    int64_t deadline_ns =
        timeout_ns > 0 ? vv_deadline_after(vivero_now(), timeout_ns) : 0;
    int error = VIVERO_E_AGAIN;

    VV_CHECK(queue != NULL && completion != NULL,
             "vivero_completions_next(): the queue or the place for the "
             "completion is NULL");
    if (refused != VIVERO_OK) {
        return refused;
    }
    vv_mutex_lock(&vv_future_lock);
    if (wait_for_one_locked(queue, deadline_ns)) {
        take_first_locked(queue, completion);
        error = VIVERO_OK;
    }
    vv_mutex_unlock(&vv_future_lock);
    return error;
}

int vivero_completions_fd(struct vivero_completions *queue)
{
    int result = VIVERO_OK;

    VV_CHECK(queue != NULL, "vivero_completions_fd(): the queue is NULL");
    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    vv_mutex_lock(&vv_future_lock);
    if (!queue->is_pollable) {
        result = vv_pollable_open(&queue->pollable);
        queue->is_pollable = result == VIVERO_OK;
        show_level_locked(queue);
    }
    if (queue->is_pollable) {
        result = queue->pollable.fd;
    }
    vv_mutex_unlock(&vv_future_lock);
    return result;
}
