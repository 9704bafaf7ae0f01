/* SPDX-License-Identifier: MIT */
/* future_watch: one thread that waits for any of several futures.
 *
 * Model.    There are 32 words to sleep on, and each slot has a bit for each of
 *           them. A thread takes the next word, reads it, sets its bit in every
 *           slot, and sleeps while the word is as it was. Whoever answers a
 *           slot, or uses it up, changes the words whose bits it finds.
 * Threads.  More than 32 at once share words, and wake for one another's
 *           answers: they look once more and sleep again. So they do for bits
 *           that were left behind by a wait that is over.
 * Invariants.
 *   I1 A bit is set under the futures' lock in a slot that is pending and
 *      watched; such a slot is answered and left under the lock. So either the
 *      bit is seen, or who sets it sees that it comes too late.
 *   I2 The word is read before the first bit is set: a change that a bit caused
 *      is never slept through.
 * Sync.     future.watch: the slot is answered. */
#include <vivero/time.h>

#include "mailbox/future_private.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/park.h"
#include "os/thread.h"

#include <limits.h>

#define WORDS 32u

/* atomic: sequences */
static _Atomic uint32_t words[WORDS];
/* guarded by vv_future_lock */
static uint32_t next_word;

static uint32_t load_watch_word(uint32_t n)
{
    /* sync(future.watch): whatever it was changed for is seen. */
    return atomic_load_explicit(&words[n], memory_order_acquire);
}

void vv_watchers_poke(uint32_t watchers)
{
    for (uint32_t n = 0; watchers != 0 && n < WORDS; n++) {
        if ((watchers >> n & 1) != 0) {
            /* sync(future.watch): after the slot's step. */
            atomic_fetch_add_explicit(&words[n], 1, memory_order_release);
            vv_unpark(&words[n], VV_UNPARK_ALL);
        }
    }
}

static uint32_t take_word(void)
{
    uint32_t n;

    vv_mutex_lock(&vv_future_lock);
    n = next_word++ % WORDS;
    vv_mutex_unlock(&vv_future_lock);
    return n;
}

static enum vv_fate look(struct vivero_future future)
{
    const struct vv_reply *reply = vv_reply_find(future.slot);

    return reply != NULL ? vv_future_fate(load_word(reply), future.generation)
                         : VV_FATE_OVER;
}

/* Set a word's bit while the future is pending. */
static enum vv_fate watch(struct vivero_future future, uint32_t n)
{
    struct vv_reply *reply = vv_reply_find(future.slot);
    enum vv_fate fate = VV_FATE_OVER;
    uint32_t word;

    if (reply == NULL) {
        return fate;
    }
    vv_mutex_lock(&vv_future_lock);
    word = load_word(reply);
    do {
        fate = vv_future_fate(word, future.generation);
    } while (fate == VV_FATE_PENDING && (word & WATCHED) == 0 &&
             !step(reply, &word, word | WATCHED));
    if (fate == VV_FATE_PENDING) {
        reply->future.watchers |= UINT32_C(1) << n;
    }
    vv_mutex_unlock(&vv_future_lock);
    return fate;
}

/* The first that is answered; AGAIN: none; GONE: there are no others. With a
 * word the pending ones before it are watched. */
static int find_answered(const struct vivero_future *futures, size_t count,
                         const uint32_t *word)
{
    int result = VIVERO_E_GONE;

    for (size_t i = 0; i < count; i++) {
        switch (word != NULL ? watch(futures[i], *word) : look(futures[i])) {
        case VV_FATE_ANSWERED:
            return (int)i;
        case VV_FATE_PENDING:
            result = VIVERO_E_AGAIN;
            break;
        case VV_FATE_OVER:
            break;
        }
    }
    return result;
}

static int watch_all(const struct vivero_future *futures, size_t count,
                     int64_t deadline_ns)
{
    uint32_t n = take_word();
    bool in_time = true;
    int result;

    do {
        uint32_t seen = load_watch_word(n);

        result = find_answered(futures, count, &n);
        if (result == VIVERO_E_AGAIN && in_time) {
            in_time =
                vv_here_park(&words[n], seen, deadline_ns) == VV_WAKE_CALLED;
        } else {
            break;
        }
    } while (true);
    return result;
}

int vivero_future_wait_any(const struct vivero_future *futures, size_t count,
                           int64_t timeout_ns)
{
    int refused = vv_here_may_act();
    int result;

    if (refused != VIVERO_OK) {
        return refused;
    }
    if (count == 0 || count > INT_MAX) {
        return VIVERO_E_INVALID;
    }
    if (!vv_reply_try_retain()) {
        return VIVERO_E_GONE;
    }
    result = find_answered(futures, count, NULL);
    if (result == VIVERO_E_AGAIN && timeout_ns > 0) {
        result = watch_all(futures, count,
                           vv_deadline_after(vivero_now(), timeout_ns));
    }
    vv_reply_release();
    return result;
}
