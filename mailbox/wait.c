/* SPDX-License-Identifier: MIT */
/* wait: finds calls that could never be answered, before they wait.
 *
 * Model.    A worker in a call waits for one seat or for any seat of a crew. It
 *           is stuck if everybody it waits for is stuck; one worker that does
 *           not wait, anywhere down the line, is enough to go on. So: walk from
 *           the wanted seats along the waits; if only waiting workers and the
 *           caller itself are met, the wait would never end. This covers a call
 *           to oneself, cycles of any length and the last free worker of a pool
 *           that calls its own pool.
 * Threads.  Only workers wait visibly; a foreign thread is in nobody's way. A
 *           caller whose answer is owed may be answered by anybody: not stuck.
 * Locks.    VV_RANK_WAITS, one for the process: of two workers about to close a
 *           cycle one comes second and sees it. Calls between workers pay for
 *           it, calls from outside do not.
 * Rejected. Following the chain without a lock: both could miss the other. */
#include "base/check.h"
#include "mailbox/crew.h"
#include "os/mutex.h"

static struct vv_mutex waits = VV_MUTEX_INIT(VV_RANK_WAITS);
/* guarded by waits */
static uint64_t walk;

/* Seats met but not yet walked from, linked through the seats themselves. */
struct path {
    struct vv_seat *next;
};

static bool is_free(const struct vv_seat *seat)
{
    return !seat->absent && (seat->wait.crew == NULL ||
                             (seat->wait.reply != NULL &&
                              !vv_reply_is_with_worker(seat->wait.reply,
                                                       seat->wait.generation)));
}

/* Meet the seats a wait is for. True: one of them is free. */
static bool meet(const struct vv_wait *wait, struct path *path)
{
    uint32_t first = wait->index == VV_ANY_SEAT ? 0 : wait->index;
    uint32_t end =
        wait->index == VV_ANY_SEAT ? vv_crew_used(wait->crew) : wait->index + 1;

    for (uint32_t i = first; i < end; i++) {
        struct vv_seat *seat = vv_crew_seat(wait->crew, i);

        if (seat->visited == walk ||
            (wait->index == VV_ANY_SEAT && seat->leaving)) {
            continue;
        }
        if (is_free(seat)) {
            return true;
        }
        seat->visited = walk;
        if (!seat->absent) {
            seat->walk_next = path->next;
            path->next = seat;
        }
    }
    return false;
}

static bool may_end_locked(struct vv_seat *self, const struct vv_wait *wait)
{
    struct path path = {NULL};
    const struct vv_wait *from = wait;

    vv_mutex_assert_held(&waits);
    walk++;
    self->visited = walk;
    for (;;) {
        struct vv_seat *seat;

        if (meet(from, &path)) {
            return true;
        }
        seat = path.next;
        if (seat == NULL) {
            return false;
        }
        path.next = seat->walk_next;
        from = &seat->wait;
    }
}

bool vv_wait_begin(struct vv_seat *seat, struct vv_crew *crew, uint32_t index,
                   struct vv_reply *reply)
{
    struct vv_wait wait = {crew, index, reply, vv_reply_generation(reply)};
    bool may_end;

    vv_mutex_lock(&waits);
    may_end = may_end_locked(seat, &wait);
    if (may_end) {
        seat->wait = wait;
    }
    vv_mutex_unlock(&waits);
    return may_end;
}

void vv_wait_for_seat(struct vv_seat *seat, const struct vv_seat *other)
{
    vv_mutex_lock(&waits);
    seat->wait = (struct vv_wait){other->crew, other->index, NULL, 0};
    vv_mutex_unlock(&waits);
}

void vv_wait_end(struct vv_seat *seat)
{
    vv_mutex_lock(&waits);
    seat->wait.crew = NULL;
    vv_mutex_unlock(&waits);
}

void vv_wait_set_absent(struct vv_seat *seat, bool absent)
{
    vv_mutex_lock(&waits);
    seat->absent = absent;
    vv_mutex_unlock(&waits);
}

void vv_wait_set_leaving(struct vv_seat *seat, bool leaving)
{
    vv_mutex_lock(&waits);
    seat->leaving = leaving;
    vv_mutex_unlock(&waits);
}
