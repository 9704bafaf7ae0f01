/* SPDX-License-Identifier: MIT */
/* reply: where the answer to one message is written and waited for.
 *
 * Model.    A slot has two sides, the caller's and the message's. Its word
 *           holds a generation (25 bits), a `caller` bit (there is one), a
 *           `parked` and a `watched` bit and the state:
 *
 *             FREE -> QUEUED -> RUNNING ------------> DONE -> FREE (caller)
 *                        |         |  \-> OWED -> SETTLING -^
 *                        |         |       |
 *              gave up   |         +-------+--> ABANDONED -> FREE (settler)
 *                        +--> DEAD -> FREE (whoever passes the cell)
 *              cancelled +--> CUT --> DEAD (caller told first)
 *                               \---> DONE (cell passed first)
 *
 *           A slot without a caller goes RUNNING -> FREE when settled, and
 *           QUEUED -> DEAD when cancelled. A future has any number of
 *           threads on the caller's side: see future.c.
 * Threads.  Each step is one CAS on the word, so each step has one winner, and
 *           the state tells the loser that the rest is the other's: exactly one
 *           answer, exactly one free.
 * Invariants.
 *   I1 Only the side named in the drawing leaves a state.
 *   I2 result, exit and out are written by who holds RUNNING or SETTLING,
 *      before DONE; the caller reads them after DONE.
 *   I3 A word is only changed from its exact value, so a token or handle of an
 *      older generation fails. Generations wrap after 2^25 uses of one slot.
 * Memory.   Slots live in chunks that stay where they are until the last object
 *           of the process is closed, so a wake-up that comes late hits a slot,
 *           not somebody's stack. Threads keep a few in a cache; the rest is
 *           in the depot. Generations continue over a re-open.
 * Locks.    depot (VV_RANK_REPLY): chunks, free list, debts, and every step
 *           that starts from a token instead of a pointer.
 * Sync.     reply.word: DONE publishes result, exit and out to the caller; FREE
 *           in the drawing publishes the end of the other side's use.
 * Rejected. Slots on the caller's stack (a caller that times out leaves).
 *           Counting references: two writes where one word does. */
#include "mailbox/reply.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/future_private.h"
#include "mailbox/here.h"
#include "mailbox/reply_private.h"
#include "mailbox/spin.h"
#include "os/cpu.h"
#include "os/park.h"
#include "os/thread.h"

#include <string.h>

/* ---- The message's side -------------------------------------------------- */

static void *out_of(struct vv_reply *reply)
{
    return reply->out_box != NULL ? reply->out_box : reply->out;
}

/* The caller is answered by this step. Whoever waits for a future may be many. */
static bool step_to_answer(struct vv_reply *reply, uint32_t *word,
                           enum reply_state to)
{
    if (__builtin_expect((*word & WATCHED) != 0, 0)) {
        return vv_future_answer(reply, word, to);
    }
    if (!step(reply, word, with_state(*word, to))) {
        return false;
    }
    if ((*word & PARKED) != 0) {
        vv_unpark(&reply->word, VV_UNPARK_ALL);
    }
    return true;
}

/* The answer stands in the slot: let the caller see it. From SETTLING, which
 * the calling thread holds; the caller waits for it to end. */
void vv_reply_publish(struct vv_reply *reply)
{
    uint32_t word = load_word(reply);

    if ((word & CALLER) == 0) {
        vv_reply_free_slot(reply);
        return;
    }
    while (!step_to_answer(reply, &word, DONE)) {
    }
}

void vv_reply_fill(struct vv_reply *reply, int result, const void *out,
                   const struct vivero_exit *exit)
{
    reply->result = result;
    if (result == VIVERO_OK && out_size_of(reply) > 0) {
        memcpy(out_of(reply), out, out_size_of(reply));
    }
    if (result == VIVERO_E_DOWN && exit != NULL) {
        reply->exit = *exit;
    }
}

/* RUNNING -> SETTLING: the right to answer. False: somebody else answered, or
 * the caller left and the slot has been freed. */
static bool claim(struct vv_reply *reply, uint32_t generation)
{
    uint32_t word = load_word(reply);

    while (generation_of(word) == generation && state_of(word) == RUNNING) {
        if (step(reply, &word, (word & ~STATE_MASK) | (uint32_t)SETTLING)) {
            return true;
        }
    }
    if (generation_of(word) == generation && state_of(word) == ABANDONED) {
        vv_reply_free_slot(reply);
    }
    return false;
}

void vv_reply_settle(struct vv_reply *reply, uint32_t generation, int result,
                     const void *out, const struct vivero_exit *exit)
{
    if (claim(reply, generation)) {
        vv_reply_fill(reply, result, out, exit);
        vv_reply_publish(reply);
    }
}

void vv_reply_bury(struct vv_reply *reply)
{
    uint32_t word = load_word(reply);

    while (state_of(word) == CUT) {
        uint32_t parked = word & PARKED;

        /* The caller has not looked yet: the slot becomes its business. */
        reply->result = VIVERO_E_CANCELLED;
        if (step(reply, &word, with_state(word, DONE))) {
            if (parked != 0) {
                vv_unpark(&reply->word, VV_UNPARK_ALL);
            }
            return;
        }
    }
    VV_ASSERT(state_of(word) == DEAD);
    vv_reply_free_slot(reply);
}

bool vv_reply_begin(struct vv_reply *reply, uint32_t *generation,
                    struct vv_box **box)
{
    uint32_t word = load_word(reply);

    *generation = generation_of(word);
    *box = box_of(reply);
    while (state_of(word) == QUEUED) {
        /* The parked bit stays: the caller goes on waiting. */
        if (step(reply, &word, (word & ~STATE_MASK) | (uint32_t)RUNNING)) {
            return true;
        }
    }
    vv_reply_bury(reply);
    return false;
}

/* ---- Cancelling ---------------------------------------------------------- */

static bool cut_exactly(struct vv_reply *reply, uint32_t generation)
{
    uint32_t word = load_word(reply);

    while (generation_of(word) == generation && state_of(word) == QUEUED) {
        struct vv_box *box = box_of(reply);

        if ((word & CALLER) != 0 ? step_to_answer(reply, &word, CUT)
                                 : step(reply, &word, with_state(word, DEAD))) {
            vv_box_free(box);
            return true;
        }
    }
    return false;
}

bool vv_reply_cut(struct vv_reply *reply)
{
    return cut_exactly(reply, vv_reply_generation(reply));
}

bool vv_reply_cancel(struct vivero_message message)
{
    struct vv_credit *credit = NULL;
    struct vv_reply *reply;
    bool done = false;

    vv_mutex_lock(&vv_reply_lock);
    reply = vv_reply_find(message.slot);
    if (reply != NULL &&
        generation_of(load_word(reply)) == message.generation) {
        /* Read before the step: afterwards the slot may be gone. While it is
         * QUEUED under this generation it cannot change. */
        credit = credit_of(reply);
        done = cut_exactly(reply, message.generation);
    }
    vv_mutex_unlock(&vv_reply_lock);
    if (done) {
        credit->give(credit, VV_SETTLED_CANCELLED);
    }
    return done;
}

/* ---- The caller's side ---------------------------------------------------- */

static bool is_answered(void *ctx)
{
    enum reply_state state = state_of(load_word(ctx));

    return state == DONE || state == CUT;
}

/* The deadline passed. True: this side has left the slot to the other one. */
static bool give_up(struct vv_reply *reply, bool *expired)
{
    struct vv_credit *credit = credit_of(reply);
    struct vv_box *box = box_of(reply);
    uint32_t word = load_word(reply);

    for (;;) {
        switch (state_of(word)) {
        case QUEUED:
            if (step(reply, &word, with_state(word, DEAD))) {
                vv_box_free(box);
                credit->give(credit, VV_SETTLED_EXPIRED);
                *expired = true;
                return true;
            }
            break;
        case RUNNING:
        case OWED:
            if (step(reply, &word, with_state(word, ABANDONED))) {
                return true;
            }
            break;
        case SETTLING:
            /* A few instructions away from DONE, unless preempted. */
            vv_cpu_yield();
            word = load_word(reply);
            break;
        case DONE:
        case CUT:
            return false;
        case FREE:
        case ABANDONED:
        case DEAD:
        case TAKEN:
            vv_misuse("internal: reply slot in state %d has a caller",
                      (int)state_of(word));
        }
    }
}

static enum vv_wake sleep_until_answered(struct vv_reply *reply)
{
    uint32_t word = load_word(reply);
    enum vv_wake wake = VV_WAKE_CALLED;

    while (wake == VV_WAKE_CALLED && state_of(word) != DONE &&
           state_of(word) != CUT) {
        if ((word & PARKED) == 0) {
            if (!step(reply, &word, word | PARKED)) {
                continue;
            }
            word |= PARKED;
        }
        wake = vv_here_park(&reply->word, word, reply->deadline_ns);
        word = load_word(reply);
    }
    return wake;
}

int vv_reply_read(const struct vv_reply *reply, void *out)
{
    uint32_t out_size = out_size_of(reply);

    if (reply->result == VIVERO_OK && out != NULL && out_size > 0) {
        memcpy(out, reply->out_box != NULL ? reply->out_box : reply->out,
               out_size);
    }
    if (reply->result == VIVERO_E_DOWN) {
        vv_here()->last_exit = reply->exit;
    }
    return reply->result;
}

static int collect(struct vv_reply *reply, void *out)
{
    uint32_t word = load_word(reply);
    int result;

    while (state_of(word) == CUT) {
        if (step(reply, &word, with_state(word, DEAD))) {
            return VIVERO_E_CANCELLED;
        }
    }
    result = vv_reply_read(reply, out);
    vv_reply_free_slot(reply);
    return result;
}

int vv_reply_wait(struct vv_reply *reply, const struct vv_spin *spin, void *out,
                  bool *expired)
{
    *expired = false;
    if (!vv_spin_until(spin, is_answered, reply)) {
        enum vv_wake wake = sleep_until_answered(reply);

        if (!is_answered(reply) && give_up(reply, expired)) {
            return wake == VV_WAKE_REFUSED ? VIVERO_E_DEADLOCK
                                           : VIVERO_E_TIMED_OUT;
        }
    }
    return collect(reply, out);
}

/* ---- Looking -------------------------------------------------------------- */

bool vv_reply_is_tombstone(const struct vv_reply *reply)
{
    enum reply_state state = state_of(load_word(reply));

    return state == CUT || state == DEAD;
}

uint32_t vv_reply_generation(const struct vv_reply *reply)
{
    return generation_of(load_word(reply));
}

bool vv_reply_is_with_worker(const struct vv_reply *reply, uint32_t generation)
{
    uint32_t word = load_word(reply);

    return generation_of(word) == generation &&
           (state_of(word) == QUEUED || state_of(word) == RUNNING);
}
