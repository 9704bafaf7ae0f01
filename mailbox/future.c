/* SPDX-License-Identifier: MIT */
/* future: the caller's side of a reply slot, for many threads at once.
 *
 * Model.    A future is the index and the generation of a slot. The thread that
 *           made it does not stand by, so each step of the caller's side in
 *           the drawing of reply.c is a CAS here:
 *
 *             DONE -> TAKEN -> FREE     the answer is read, or thrown away
 *             CUT -> DEAD               the same, of a cancelled message
 *             QUEUED -> DEAD            abandoned: its room is free
 *             RUNNING, OWED -> ABANDONED
 *
 *           The one who does it uses the future up. A future is pending in the
 *           states before, and over in those after, and in other generations.
 *           Who waits for one future sleeps on its word, as a caller does. Who
 *           waits for several, or for a queue, has the slot `watched`.
 * Threads.  Anybody, at any time, also when the pool or all pools are gone.
 * Invariants.
 *   I1 The depot is retained by each future until it is used up, and by
 *      whoever looks at one. So the word may always be read; the rest of a slot
 *      only by whom a state gives it, and what is read before is atomic.
 *   I2 A watched slot leaves the states of a future under the futures' lock, so
 *      who holds it and has seen the generation may use the slot's lists.
 *   I3 What is needed of the object that the message was sent to, its credit,
 *      is used by who is marked as inside of it and then has done a step out of
 *      a pending state: whoever ends the message afterwards, which a close
 *      waits for, acquires that step and so sees the mark.
 * Locks.    futures (VV_RANK_FUTURES): watchers, lists of completions. One for
 *           the process; only watched slots take it.
 * Sync.     reply.word, as in reply.c.
 * Rejected. Waking whoever waits for several through links of its own: they
 *           would have to be allocated, and a wait could fail for want of
 *           memory. A lock for each queue: a name that comes too late would
 *           lead to a lock that is gone. */
#include "mailbox/future.h"

#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/crew.h"
#include "mailbox/future_private.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/park.h"
#include "os/thread.h"

struct vv_mutex vv_future_lock = VV_MUTEX_INIT(VV_RANK_FUTURES);

/* ---- Making them ------------------------------------------------------------- */

static const void *object_of(const struct vv_reply *reply)
{
    /* relaxed: as credit_of(). */
    return atomic_load_explicit(&reply->future.object, memory_order_relaxed);
}

static struct vv_crew *crew_of(const struct vv_reply *reply)
{
    /* relaxed: as credit_of(). */
    return atomic_load_explicit(&reply->future.crew, memory_order_relaxed);
}

static void set_target(struct vv_reply *reply,
                       const struct vv_future_target *target)
{
    struct vv_future_part *part = &reply->future;

    /* relaxed: published with the cell, or with the future. */
    atomic_store_explicit(&part->object, target->object, memory_order_relaxed);
    atomic_store_explicit(&part->crew, target->crew, memory_order_relaxed);
    atomic_store_explicit(&part->single, target->single, memory_order_relaxed);
    atomic_store_explicit(&part->addressed, target->addressed,
                          memory_order_relaxed);
}

void vv_future_begin(struct vv_reply *reply,
                     const struct vv_future_target *target,
                     struct vivero_completions *queue, void *tag)
{
    uint32_t word = load_word(reply);
    bool retained = vv_reply_try_retain();

    VV_ASSERT(retained); /* by the object it is sent to */
    (void)retained;
    set_target(reply, target);
    reply->future.watchers = 0;
    reply->future.completions = queue;
    reply->future.tag = tag;
    reply->future.list = NULL;
    if (queue != NULL) {
        vv_mutex_lock(&vv_future_lock);
        vv_completions_add_locked(queue, reply);
        while (!step(reply, &word, word | WATCHED)) {
        }
        vv_mutex_unlock(&vv_future_lock);
    }
}

void vv_future_undo(struct vv_reply *reply)
{
    if ((load_word(reply) & WATCHED) != 0) {
        vv_mutex_lock(&vv_future_lock);
        vv_completions_remove_locked(reply);
        vv_mutex_unlock(&vv_future_lock);
    }
    vv_reply_release();
}

struct vivero_future vv_future_of(const struct vv_reply *reply)
{
    return (struct vivero_future){reply->index, vv_reply_generation(reply)};
}

/* ---- Answering a watched one --------------------------------------------------- */

bool vv_future_answer(struct vv_reply *reply, uint32_t *word,
                      enum reply_state to)
{
    uint32_t watchers = 0;
    bool done;

    vv_mutex_lock(&vv_future_lock);
    done = step(reply, word, with_state(*word, to));
    if (done) {
        watchers = reply->future.watchers;
        vv_completions_finish_locked(reply);
    }
    vv_mutex_unlock(&vv_future_lock);
    if (done) {
        if ((*word & PARKED) != 0) {
            vv_unpark(&reply->word, VV_UNPARK_ALL);
        }
        vv_watchers_poke(watchers);
    }
    return done;
}

/* ---- Looking --------------------------------------------------------------------- */

struct vv_reply *vv_future_enter(struct vivero_future future)
{
    struct vv_reply *reply;

    if (!vv_reply_try_retain()) {
        return NULL;
    }
    reply = vv_reply_find(future.slot);
    if (reply == NULL) {
        vv_reply_release();
    }
    return reply;
}

enum vv_fate vv_future_fate(uint32_t word, uint32_t generation)
{
    if (generation_of(word) == generation && (word & CALLER) != 0) {
        switch (state_of(word)) {
        case QUEUED:
        case RUNNING:
        case OWED:
        case SETTLING:
            return VV_FATE_PENDING;
        case DONE:
        case CUT:
            return VV_FATE_ANSWERED;
        case FREE:
        case ABANDONED:
        case DEAD:
        case TAKEN:
            break;
        }
    }
    return VV_FATE_OVER;
}

bool vivero_future_is_ready(struct vivero_future future)
{
    struct vv_reply *reply = vv_forked() ? NULL : vv_future_enter(future);
    bool ready = false;

    if (reply != NULL) {
        ready = vv_future_fate(load_word(reply), future.generation) ==
                VV_FATE_ANSWERED;
        vv_reply_release();
    }
    return ready;
}

/* ---- Using them up ------------------------------------------------------------------ */

/* The word after the caller's side has left a state; the same: not now. */
static uint32_t word_after(uint32_t word)
{
    switch (state_of(word)) {
    case QUEUED:
        /* Only who can be seen inside may give credit. Else the message
         * becomes one that nobody waits for. */
        return vv_here_is_listed(vv_here()) ? with_state(word, DEAD)
                                            : word & ~(CALLER | PARKED);
    case CUT:
        return with_state(word, DEAD);
    case RUNNING:
    case OWED:
        return with_state(word, ABANDONED);
    case DONE:
        return with_state(word, TAKEN);
    case SETTLING: /* a few instructions away from DONE, unless preempted */
    case FREE:
    case ABANDONED:
    case DEAD:
    case TAKEN:
        break;
    }
    return word;
}

enum left {
    LEFT,
    LEFT_BEFORE, /* by somebody else */
    NOT_YET
};

/* Try to be the one who leaves. If the slot is watched the lock is held. *word:
 * what stood there before; *watchers: whom to tell. */
static enum left try_leave(struct vv_reply *reply, uint32_t generation,
                           uint32_t *word, uint32_t *watchers)
{
    uint32_t next;

    if (vv_future_fate(*word, generation) == VV_FATE_OVER) {
        return LEFT_BEFORE;
    }
    next = word_after(*word);
    if (next == *word) {
        return NOT_YET;
    }
    if ((*word & WATCHED) != 0) {
        /* Before the step, after which the slot may be another message's. It is
         * not taken back if the step fails: we will leave all the same. */
        vv_mutex_assert_held(&vv_future_lock);
        *watchers = reply->future.watchers;
        vv_completions_remove_locked(reply);
    }
    return step(reply, word, next) ? LEFT : NOT_YET;
}

/* Leave: I2. False: somebody else did. *before: the word left. */
static bool leave(struct vv_reply *reply, uint32_t generation, uint32_t *before)
{
    enum left left = NOT_YET;
    uint32_t watchers = 0;

    while (left == NOT_YET) {
        *before = load_word(reply);
        if (state_of(*before) == SETTLING) {
            vv_cpu_yield();
        }
        if ((*before & WATCHED) != 0) {
            vv_mutex_lock(&vv_future_lock);
            *before = load_word(reply);
            left = try_leave(reply, generation, before, &watchers);
            vv_mutex_unlock(&vv_future_lock);
        } else {
            left = try_leave(reply, generation, before, &watchers);
        }
    }
    if (left == LEFT) {
        if ((*before & PARKED) != 0) {
            vv_unpark(&reply->word, VV_UNPARK_ALL);
        }
        vv_watchers_poke(watchers);
    }
    return left == LEFT;
}

/* A queued message became a tombstone: I3. */
static void give_room(struct vv_crew *crew, struct vv_credit *credit,
                      struct vv_box *box)
{
    vv_box_free(box);
    credit->give(credit, VV_SETTLED_CANCELLED);
    if (crew != NULL) {
        vv_crew_poke_quiet(crew);
    }
}

bool vv_future_leave(struct vv_reply *reply, uint32_t generation)
{
    struct vv_here *here = vv_here();
    const void *previous = vv_here_enter(here, object_of(reply));
    struct vv_crew *crew = crew_of(reply);
    struct vv_credit *credit = credit_of(reply);
    struct vv_box *box = box_of(reply);
    uint32_t before;
    bool left = leave(reply, generation, &before);

    if (left && state_of(before) == QUEUED && vv_here_is_listed(here)) {
        give_room(crew, credit, box);
    }
    vv_here_leave(here, previous);
    if (left && state_of(before) == DONE) {
        vv_reply_free_slot(reply);
    }
    if (left) {
        vv_reply_release();
    }
    return left;
}

void vivero_future_abandon(struct vivero_future future)
{
    struct vv_reply *reply = vv_forked() ? NULL : vv_future_enter(future);

    if (reply != NULL) {
        (void)vv_future_leave(reply, future.generation);
        vv_reply_release();
    }
}

/* Of one that is answered. */
static int take(struct vv_reply *reply, uint32_t generation, void *out)
{
    int result = VIVERO_E_CANCELLED;
    uint32_t before;

    if (!leave(reply, generation, &before)) {
        return VIVERO_E_GONE;
    }
    if (state_of(before) == DONE) {
        result = vv_reply_read(reply, out);
        vv_reply_free_slot(reply);
    }
    vv_reply_release();
    return result;
}

/* ---- Waiting ------------------------------------------------------------------------ */

/* Sleep until it is not pending. False: the deadline passed. */
static bool sleep_until_answered(struct vv_reply *reply, uint32_t generation,
                                 int64_t deadline_ns)
{
    uint32_t word = load_word(reply);
    bool in_time = true;

    while (in_time && vv_future_fate(word, generation) == VV_FATE_PENDING) {
        if ((word & PARKED) == 0 && !step(reply, &word, word | PARKED)) {
            continue;
        }
        in_time = vv_here_park(&reply->word, word | PARKED, deadline_ns) ==
                  VV_WAKE_CALLED;
        word = load_word(reply);
    }
    return vv_future_fate(word, generation) != VV_FATE_PENDING;
}

static uint32_t seat_with(const struct vv_crew *crew,
                          const struct vv_credit *credit)
{
    uint32_t used = vv_crew_used(crew);
    uint32_t i = 0;

    while (i < used && &vv_crew_seat(crew, i)->mailbox->credit != credit) {
        i++;
    }
    return i < used ? i : VV_ANY_SEAT;
}

/* Whom a worker that waits for it waits for. */
static struct vv_wait wait_of(struct vv_reply *reply)
{
    const struct vv_future_part *part = &reply->future;
    struct vv_wait wait = {
        .crew = crew_of(reply), .index = VV_ANY_SEAT, .reply = reply};

    /* relaxed: as credit_of(). */
    wait.single = atomic_load_explicit(&part->single, memory_order_relaxed);
    if (wait.crew != NULL &&
        atomic_load_explicit(&part->addressed, memory_order_relaxed)) {
        wait.index = seat_with(wait.crew, credit_of(reply));
    }
    return wait;
}

/* A worker says whom it waits for, as it does in a call. */
static int sleep_as_worker(struct vv_here *here, struct vv_reply *reply,
                           uint32_t generation, int64_t deadline_ns)
{
    const void *previous = vv_here_enter(here, object_of(reply));
    uint32_t word = load_word(reply);
    int error = VIVERO_OK;

    /* I3: the step changes nothing but who is ordered after whom. */
    while (vv_future_fate(word, generation) == VV_FATE_PENDING &&
           !step(reply, &word, word | PARKED)) {
    }
    if (vv_future_fate(word, generation) == VV_FATE_PENDING) {
        const struct vv_wait wait = wait_of(reply);

        if (!vv_wait_begin(here->waiter, &wait)) {
            error = VIVERO_E_DEADLOCK;
        } else {
            error = sleep_until_answered(reply, generation, deadline_ns)
                        ? VIVERO_OK
                        : VIVERO_E_AGAIN;
            vv_wait_end(here->waiter);
        }
    }
    vv_here_leave(here, previous);
    return error;
}

/* OK: it is not pending any more. */
static int await(struct vv_reply *reply, uint32_t generation,
                 int64_t deadline_ns)
{
    struct vv_here *here = vv_here();

    if (vv_future_fate(load_word(reply), generation) != VV_FATE_PENDING) {
        return VIVERO_OK;
    }
    if (deadline_ns == 0) {
        return VIVERO_E_AGAIN;
    }
    if (here->waiter != NULL) {
        return sleep_as_worker(here, reply, generation, deadline_ns);
    }
    return sleep_until_answered(reply, generation, deadline_ns)
               ? VIVERO_OK
               : VIVERO_E_AGAIN;
}

/* 0: do not wait. */
static int64_t deadline_of(int64_t timeout_ns)
{
    return timeout_ns > 0 ? vv_deadline_after(vivero_now(), timeout_ns) : 0;
}

static int wait_and_take(struct vv_reply *reply, struct vivero_future future,
                         void *out, size_t out_size, int64_t timeout_ns)
{
    int error;

    if (vv_future_fate(load_word(reply), future.generation) == VV_FATE_OVER) {
        return VIVERO_E_GONE;
    }
    if (out == NULL ? out_size > 0 : out_size_of(reply) != out_size) {
        return VIVERO_E_INVALID;
    }
    error = await(reply, future.generation, deadline_of(timeout_ns));
    return error == VIVERO_OK ? take(reply, future.generation, out) : error;
}

int vivero_future_wait(struct vivero_future future, void *out, size_t out_size,
                       int64_t timeout_ns)
{
    int refused = vv_here_may_act();
    struct vv_reply *reply;
    int result = VIVERO_E_GONE;

    if (refused != VIVERO_OK) {
        return refused;
    }
    reply = vv_future_enter(future);
    if (reply != NULL) {
        result = wait_and_take(reply, future, out, out_size, timeout_ns);
        vv_reply_release();
    }
    return result;
}

int vivero_future_wait_all(const struct vivero_future *futures, size_t count,
                           int64_t timeout_ns)
{
    int refused = vv_here_may_act();
    int64_t deadline_ns = deadline_of(timeout_ns);
    int error = VIVERO_OK;

    if (refused != VIVERO_OK) {
        return refused;
    }
    for (size_t i = 0; i < count && error == VIVERO_OK; i++) {
        struct vv_reply *reply = vv_future_enter(futures[i]);

        if (reply != NULL) {
            error = await(reply, futures[i].generation, deadline_ns);
            vv_reply_release();
        }
    }
    return error;
}
