/* SPDX-License-Identifier: MIT */
/* wait: finds calls that could never be answered, before they wait.
 *
 * Model.    A worker in a call waits for one worker or for any seat of a crew. It
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
#include "mailbox/wait.h"

#include "base/check.h"
#include "mailbox/crew.h"
#include "os/mutex.h"

static struct vv_mutex waits = VV_MUTEX_INIT(VV_RANK_WAITS);
/* guarded by waits */
static uint64_t walk;

/* Workers met but not yet walked from, linked through themselves. */
struct path {
    struct vv_waiter *next;
};

static bool is_free(const struct vv_waiter *worker)
{
    return !worker->absent &&
           (!worker->waits ||
            (worker->wait.reply != NULL &&
             !vv_reply_is_with_worker(worker->wait.reply,
                                      worker->wait.generation)));
}

static struct vv_waiter *sitting_in(struct vv_seat *seat)
{
    vv_mutex_assert_held(&waits);
    return seat->sitting != NULL ? seat->sitting : &seat->waiter;
}

/* Meet one worker. True: it is free. */
static bool meet_one(struct vv_waiter *worker, struct path *path)
{
    if (worker->visited == walk) {
        return false;
    }
    if (is_free(worker)) {
        return true;
    }
    worker->visited = walk;
    if (!worker->absent) {
        worker->walk_next = path->next;
        path->next = worker;
    }
    return false;
}

static bool meet_any(struct vv_crew *crew, struct path *path)
{
    uint32_t end = vv_crew_used(crew);

    for (uint32_t i = 0; i < end; i++) {
        struct vv_waiter *worker = sitting_in(vv_crew_seat(crew, i));

        if (!worker->leaving && meet_one(worker, path)) {
            return true;
        }
    }
    return false;
}

/* Meet the workers a wait is for. True: one of them is free. */
static bool meet(const struct vv_wait *wait, struct path *path)
{
    if (wait->crew == NULL) {
        /* Somebody who is not known cannot be known to be stuck. */
        return wait->single == NULL || meet_one(wait->single, path);
    }
    if (wait->index == VV_ANY_SEAT) {
        return meet_any(wait->crew, path);
    }
    return meet_one(sitting_in(vv_crew_seat(wait->crew, wait->index)), path);
}

static bool may_end_locked(struct vv_waiter *self, const struct vv_wait *wait)
{
    struct path path = {NULL};
    const struct vv_wait *from = wait;

    vv_mutex_assert_held(&waits);
    walk++;
    self->visited = walk;
    for (;;) {
        struct vv_waiter *worker;

        if (meet(from, &path)) {
            return true;
        }
        worker = path.next;
        if (worker == NULL) {
            return false;
        }
        path.next = worker->walk_next;
        from = &worker->wait;
    }
}

bool vv_wait_begin(struct vv_waiter *self, const struct vv_wait *wait)
{
    bool may_end;

    vv_mutex_lock(&waits);
    may_end = may_end_locked(self, wait);
    if (may_end) {
        self->wait = *wait;
        self->wait.generation =
            wait->reply != NULL ? vv_reply_generation(wait->reply) : 0;
        self->waits = true;
    }
    vv_mutex_unlock(&waits);
    return may_end;
}

void vv_wait_for_seat(struct vv_waiter *self, const struct vv_seat *other)
{
    vv_mutex_lock(&waits);
    self->wait = (struct vv_wait){.crew = other->crew, .index = other->index};
    self->waits = true;
    vv_mutex_unlock(&waits);
}

void vv_wait_end(struct vv_waiter *self)
{
    vv_mutex_lock(&waits);
    self->waits = false;
    vv_mutex_unlock(&waits);
}

void vv_wait_set_absent(struct vv_waiter *self, bool absent)
{
    vv_mutex_lock(&waits);
    self->absent = absent;
    vv_mutex_unlock(&waits);
}

void vv_wait_set_leaving(struct vv_waiter *self, bool leaving)
{
    vv_mutex_lock(&waits);
    self->leaving = leaving;
    vv_mutex_unlock(&waits);
}

void vv_wait_take_seat(struct vv_waiter *self, struct vv_seat *seat)
{
    const struct vv_waiter *before;

    vv_mutex_lock(&waits);
    before = sitting_in(seat);
    self->waits = false;
    self->absent = before->absent;
    self->leaving = before->leaving;
    seat->sitting = self;
    vv_mutex_unlock(&waits);
}
