/* SPDX-License-Identifier: MIT */
/* reply: where the answer to one message is written and waited for.
 *
 * Model.    A slot has two sides, the caller's and the message's. Its word
 *           holds a generation (26 bits), a `caller` bit (there is one), a
 *           `parked` bit and the state:
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
 *           QUEUED -> DEAD when cancelled.
 * Threads.  Each step is one CAS on the word, so each step has one winner, and
 *           the state tells the loser that the rest is the other's: exactly one
 *           answer, exactly one free.
 * Invariants.
 *   I1 Only the side named in the drawing leaves a state.
 *   I2 result, exit and out are written by who holds RUNNING or SETTLING,
 *      before DONE; the caller reads them after DONE.
 *   I3 A word is only changed from its exact value, so a token or handle of an
 *      older generation fails. Generations wrap after 2^26 uses of one slot.
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
#include "mailbox/here.h"
#include "mailbox/mailbox.h"
#include "mailbox/spin.h"
#include "os/cpu.h"
#include "os/mutex.h"
#include "os/park.h"
#include "os/thread.h"

#include <string.h>

enum reply_state {
    FREE = 0,
    QUEUED,
    RUNNING,
    OWED,
    SETTLING,
    DONE,
    ABANDONED,
    CUT,
    DEAD
};

#define STATE_MASK UINT32_C(0xf)
#define PARKED UINT32_C(0x10) /* the caller sleeps on the word */
#define CALLER UINT32_C(0x20) /* somebody waits for the answer, or did */
#define GENERATION_SHIFT 6
#define GENERATION_MASK (UINT32_MAX >> GENERATION_SHIFT)

#define CHUNK_SLOTS 64u
#define CHUNKS_MAX 16384u
#define CACHE_MAX 64u
#define CACHE_REFILL 16u

static struct vv_mutex depot_lock = VV_MUTEX_INIT(VV_RANK_REPLY);
/* guarded by depot_lock */
static struct vv_reply *chunks[CHUNKS_MAX];
static uint32_t chunk_count;
static struct vv_reply *depot;
static uint32_t retained;
static uint32_t first_generation = 1;
/* atomic: which life of the depot caches belong to; 0: never retained */
static _Atomic uint32_t depot_epoch;

static enum reply_state state_of(uint32_t word)
{
    return (enum reply_state)(word & STATE_MASK);
}

static uint32_t generation_of(uint32_t word)
{
    return word >> GENERATION_SHIFT;
}

/* 0 is nobody's, so that a zeroed handle names nothing. */
static uint32_t after(uint32_t generation)
{
    return generation < GENERATION_MASK ? generation + 1 : 1;
}

static uint32_t with_state(uint32_t word, enum reply_state state)
{
    return (word & ~(STATE_MASK | PARKED)) | (uint32_t)state;
}

static uint32_t load_word(const struct vv_reply *reply)
{
    /* sync(reply.word): whatever the state says has been written. */
    return atomic_load_explicit(&reply->word, memory_order_acquire);
}

/* One step of the drawing; false: *word is what stands there now. Leaving a
 * state keeps the parked bit only where a caller still waits. */
static bool step(struct vv_reply *reply, uint32_t *word, uint32_t to)
{
    /* sync(reply.word): releases what the stepper wrote, acquires what the
     * other side wrote. */
    return atomic_compare_exchange_strong_explicit(
        &reply->word, word, to, memory_order_acq_rel, memory_order_acquire);
}

/* ---- Depot and caches --------------------------------------------------- */

static uint32_t current_epoch(void)
{
    /* relaxed: ordered by the mutexes between close and open. */
    return atomic_load_explicit(&depot_epoch, memory_order_relaxed);
}

int vv_reply_retain(void)
{
    if (!vv_here_prepare()) {
        return VIVERO_E_LIMIT;
    }
    vv_mutex_lock(&depot_lock);
    if (retained++ == 0) {
        /* relaxed: as in current_epoch. */
        atomic_fetch_add_explicit(&depot_epoch, 1, memory_order_relaxed);
    }
    vv_mutex_unlock(&depot_lock);
    return VIVERO_OK;
}

/* Take all chunks out, linked through their first slots; generations go on from
 * the highest there was. */
static struct vv_reply *take_chunks_locked(void)
{
    struct vv_reply *taken = NULL;

    vv_mutex_assert_held(&depot_lock);
    for (uint32_t i = 0; i < chunk_count; i++) {
        for (uint32_t k = 0; k < CHUNK_SLOTS; k++) {
            uint32_t generation = generation_of(load_word(&chunks[i][k]));

            if (generation >= first_generation) {
                first_generation = after(generation);
            }
        }
        chunks[i]->next = taken;
        taken = chunks[i];
        chunks[i] = NULL;
    }
    chunk_count = 0;
    depot = NULL;
    return taken;
}

static void free_chunks(struct vv_reply *chunk)
{
    while (chunk != NULL) {
        struct vv_reply *next = chunk->next;

        vv_release(NULL, chunk, CHUNK_SLOTS * sizeof(struct vv_reply),
                   VV_CACHELINE);
        chunk = next;
    }
}

void vv_reply_release(void)
{
    struct vv_reply *taken = NULL;
    bool last;

    vv_mutex_lock(&depot_lock);
    VV_ASSERT(retained > 0);
    last = --retained == 0;
    if (last) {
        taken = take_chunks_locked();
        /* relaxed: as in current_epoch. */
        atomic_fetch_add_explicit(&depot_epoch, 1, memory_order_relaxed);
    }
    vv_mutex_unlock(&depot_lock);
    if (last) {
        free_chunks(taken);
        vv_here_forget_all();
    }
}

static void add_chunk_locked(struct vv_reply *chunk)
{
    vv_mutex_assert_held(&depot_lock);
    for (uint32_t k = CHUNK_SLOTS; k-- > 0;) {
        chunk[k].index = chunk_count * CHUNK_SLOTS + k;
        /* relaxed: nobody else knows the slot yet. */
        atomic_init(&chunk[k].word, first_generation << GENERATION_SHIFT);
        chunk[k].next = depot;
        depot = &chunk[k];
    }
    chunks[chunk_count++] = chunk;
}

/* The allocator may be the user's: not under the lock. */
static bool add_chunk(void)
{
    struct vv_reply *chunk =
        vv_allocate(NULL, CHUNK_SLOTS * sizeof(struct vv_reply), VV_CACHELINE);
    bool added = false;

    if (chunk == NULL) {
        return false;
    }
    vv_mutex_lock(&depot_lock);
    if (chunk_count < CHUNKS_MAX) {
        add_chunk_locked(chunk);
        added = true;
    }
    vv_mutex_unlock(&depot_lock);
    if (!added) {
        vv_release(NULL, chunk, CHUNK_SLOTS * sizeof(struct vv_reply),
                   VV_CACHELINE);
    }
    return added;
}

static void cache_refill(struct vv_here *here)
{
    vv_mutex_lock(&depot_lock);
    for (uint32_t i = 0; i < CACHE_REFILL && depot != NULL; i++) {
        struct vv_reply *reply = depot;

        depot = reply->next;
        reply->next = here->replies;
        here->replies = reply;
        here->reply_count++;
    }
    vv_mutex_unlock(&depot_lock);
}

static void cache_check_epoch(struct vv_here *here)
{
    uint32_t epoch = current_epoch();

    if (__builtin_expect(here->epoch != epoch, 0)) {
        here->replies = NULL;
        here->reply_count = 0;
        here->epoch = epoch;
    }
}

/* A thread that ends may do this while the last object is being closed. */
static void cache_drain_to(struct vv_here *here, uint32_t count)
{
    vv_mutex_lock(&depot_lock);
    cache_check_epoch(here);
    while (here->reply_count > count) {
        struct vv_reply *reply = here->replies;

        here->replies = reply->next;
        here->reply_count--;
        reply->next = depot;
        depot = reply;
    }
    vv_mutex_unlock(&depot_lock);
}

void vv_reply_cache_flush(struct vv_here *here)
{
    cache_drain_to(here, 0);
}

/* End the slot's generation. */
static void clear_slot(struct vv_reply *reply)
{
    uint32_t generation = after(generation_of(load_word(reply)));

    if (reply->out_box != NULL) {
        vv_release(NULL, reply->out_box, reply->out_size,
                   _Alignof(max_align_t));
        reply->out_box = NULL;
    }
    /* sync(reply.word): the old generation is over. */
    atomic_store_explicit(&reply->word, generation << GENERATION_SHIFT,
                          memory_order_release);
}

static void free_slot(struct vv_reply *reply)
{
    struct vv_here *here = vv_here();

    clear_slot(reply);
    cache_check_epoch(here);
    reply->next = here->replies;
    here->replies = reply;
    if (++here->reply_count > CACHE_MAX) {
        cache_drain_to(here, CACHE_MAX / 2);
    }
}

static void free_slot_locked(struct vv_reply *reply)
{
    vv_mutex_assert_held(&depot_lock);
    clear_slot(reply);
    reply->next = depot;
    depot = reply;
}

void vv_reply_set_mailbox(struct vv_reply *reply, struct vv_mailbox *mailbox)
{
    /* relaxed: published with the cell; a canceller with a stale handle reads
     * it too, but does not use what it read. */
    atomic_store_explicit(&reply->mailbox, mailbox, memory_order_relaxed);
}

static struct vv_mailbox *mailbox_of(struct vv_reply *reply)
{
    /* relaxed: as above. */
    return atomic_load_explicit(&reply->mailbox, memory_order_relaxed);
}

static struct vv_box *box_of(struct vv_reply *reply)
{
    /* relaxed: as mailbox_of(). */
    return atomic_load_explicit(&reply->box, memory_order_relaxed);
}

void vv_reply_give_box(struct vv_reply *reply, struct vv_box *box)
{
    /* relaxed: as vv_reply_set_mailbox(). */
    atomic_store_explicit(&reply->box, box, memory_order_relaxed);
}

struct vv_box *vv_box_new(size_t size, struct vv_account *account)
{
    struct vv_box *box =
        vv_allocate(account, sizeof(*box) + size, _Alignof(max_align_t));

    if (box != NULL) {
        box->account = account;
        box->size = sizeof(*box) + size;
    }
    return box;
}

void vv_box_free(struct vv_box *box)
{
    if (box != NULL) {
        vv_release(box->account, box, box->size, _Alignof(max_align_t));
    }
}

struct vv_reply *vv_reply_new(uint32_t out_size, bool has_caller)
{
    struct vv_here *here = vv_here();
    struct vv_reply *reply;

    cache_check_epoch(here);
    while (here->replies == NULL) {
        cache_refill(here);
        if (here->replies == NULL && !add_chunk()) {
            return NULL;
        }
    }
    reply = here->replies;
    reply->out_size = out_size;
    if (out_size > VV_REPLY_INLINE) {
        reply->out_box = vv_allocate(NULL, out_size, _Alignof(max_align_t));
        if (reply->out_box == NULL) {
            return NULL;
        }
    }
    here->replies = reply->next;
    here->reply_count--;
    reply->owner = NULL;
    vv_reply_set_mailbox(reply, NULL);
    vv_reply_give_box(reply, NULL);
    reply->deadline_ns = VIVERO_FOREVER;
    reply->debts = NULL;
    /* sync(reply.word): a token of an older generation that looks now finds
     * that its own is over. */
    atomic_store_explicit(&reply->word,
                          with_state(load_word(reply), QUEUED) |
                              (has_caller ? CALLER : 0),
                          memory_order_release);
    return reply;
}

void vv_reply_discard(struct vv_reply *reply)
{
    vv_box_free(box_of(reply));
    free_slot(reply);
}

/* ---- The message's side -------------------------------------------------- */

static void *out_of(struct vv_reply *reply)
{
    return reply->out_box != NULL ? reply->out_box : reply->out;
}

/* The answer stands in the slot: let the caller see it. From SETTLING, which
 * the calling thread holds; the caller waits for it to end. */
static void publish(struct vv_reply *reply)
{
    uint32_t word = load_word(reply);

    if ((word & CALLER) == 0) {
        free_slot(reply);
        return;
    }
    while (!step(reply, &word, with_state(word, DONE))) {
    }
    if ((word & PARKED) != 0) {
        vv_unpark(&reply->word, 1);
    }
}

static void fill(struct vv_reply *reply, int result, const void *out,
                 const struct vivero_exit *exit)
{
    reply->result = result;
    if (result == VIVERO_OK && reply->out_size > 0) {
        memcpy(out_of(reply), out, reply->out_size);
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
        free_slot(reply);
    }
    return false;
}

void vv_reply_settle(struct vv_reply *reply, uint32_t generation, int result,
                     const void *out, const struct vivero_exit *exit)
{
    if (claim(reply, generation)) {
        fill(reply, result, out, exit);
        publish(reply);
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
                vv_unpark(&reply->word, 1);
            }
            return;
        }
    }
    VV_ASSERT(state_of(word) == DEAD);
    free_slot(reply);
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

/* ---- Debts --------------------------------------------------------------- */

static void debt_unlink_locked(struct vv_reply *reply)
{
    vv_mutex_assert_held(&depot_lock);
    if (reply->previous != NULL) {
        reply->previous->next = reply->next;
    } else {
        reply->debts->first = reply->next;
    }
    if (reply->next != NULL) {
        reply->next->previous = reply->previous;
    }
    reply->debts = NULL;
}

static void debt_link_locked(struct vv_reply *reply, struct vv_debts *debts)
{
    vv_mutex_assert_held(&depot_lock);
    reply->debts = debts;
    reply->previous = NULL;
    reply->next = debts->first;
    if (debts->first != NULL) {
        debts->first->previous = reply;
    }
    debts->first = reply;
}

bool vv_reply_owe(struct vv_reply *reply, uint32_t generation,
                  struct vv_debts *debts, struct vivero_reply_token *token)
{
    uint32_t word;
    bool has_caller = true;

    token->slot = reply->index;
    token->generation = generation;
    vv_mutex_lock(&depot_lock);
    word = load_word(reply);
    /* Fencing takes the same lock, so if the slot is ours now it stays so. */
    if (generation_of(word) == generation && state_of(word) != SETTLING &&
        state_of(word) != DONE) {
        has_caller = (word & CALLER) != 0;
        if (has_caller) {
            debt_link_locked(reply, debts);
        }
        while (has_caller && state_of(word) == RUNNING &&
               !step(reply, &word, (word & ~STATE_MASK) | (uint32_t)OWED)) {
        }
    }
    vv_mutex_unlock(&depot_lock);
    return has_caller;
}

/* OWED -> SETTLING, off the list; NULL: not owed (any more). A slot whose
 * caller left is freed on the way. */
static bool collect_locked(struct vv_reply *reply, uint32_t generation,
                           struct vv_debts **debts)
{
    uint32_t word = load_word(reply);

    while (generation_of(word) == generation && state_of(word) == OWED) {
        if (step(reply, &word, (word & ~STATE_MASK) | (uint32_t)SETTLING)) {
            *debts = reply->debts;
            debt_unlink_locked(reply);
            return true;
        }
    }
    if (generation_of(word) == generation && state_of(word) == ABANDONED &&
        reply->debts != NULL) {
        debt_unlink_locked(reply);
        free_slot_locked(reply);
    }
    return false;
}

/* SETTLING -> OWED: it was not an answer after all. */
static void put_back_locked(struct vv_reply *reply, struct vv_debts *debts)
{
    uint32_t word = load_word(reply);

    debt_link_locked(reply, debts);
    while (!step(reply, &word, (word & ~STATE_MASK) | (uint32_t)OWED)) {
    }
}

static struct vv_reply *find_locked(uint32_t index)
{
    vv_mutex_assert_held(&depot_lock);
    return index / CHUNK_SLOTS < chunk_count
               ? &chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS]
               : NULL;
}

int vv_reply_pay(struct vivero_reply_token token, int result, const void *out,
                 size_t size)
{
    struct vv_reply *reply;
    struct vv_debts *debts = NULL;
    int error = VIVERO_E_GONE;

    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    vv_mutex_lock(&depot_lock);
    reply = find_locked(token.slot);
    if (reply != NULL && collect_locked(reply, token.generation, &debts)) {
        if (result == VIVERO_OK && size != reply->out_size) {
            put_back_locked(reply, debts);
            error = VIVERO_E_INVALID;
        } else {
            fill(reply, result, out, NULL);
            error = VIVERO_OK;
        }
    }
    vv_mutex_unlock(&depot_lock);
    if (error == VIVERO_OK) {
        publish(reply);
    }
    return error;
}

void vv_reply_default(struct vv_debts *debts, int result,
                      const struct vivero_exit *exit)
{
    for (;;) {
        struct vv_reply *reply;
        struct vv_debts *whose;
        bool mine = false;

        vv_mutex_lock(&depot_lock);
        reply = debts->first;
        if (reply != NULL) {
            mine =
                collect_locked(reply, generation_of(load_word(reply)), &whose);
        }
        vv_mutex_unlock(&depot_lock);
        if (reply == NULL) {
            return;
        }
        if (mine) {
            fill(reply, result, NULL, exit);
            publish(reply);
        }
    }
}

bool vv_reply_fence(struct vivero_reply_token token, int result)
{
    struct vv_reply *reply;
    uint32_t word;
    bool mine = false;

    vv_mutex_lock(&depot_lock);
    reply = find_locked(token.slot);
    if (reply != NULL) {
        word = load_word(reply);
        while (!mine && generation_of(word) == token.generation &&
               state_of(word) == RUNNING) {
            mine =
                step(reply, &word, (word & ~STATE_MASK) | (uint32_t)SETTLING);
        }
    }
    vv_mutex_unlock(&depot_lock);
    if (mine) {
        fill(reply, result, NULL, NULL);
        publish(reply);
    }
    return mine;
}

/* ---- Cancelling ---------------------------------------------------------- */

static bool cut_exactly(struct vv_reply *reply, uint32_t generation)
{
    uint32_t word = load_word(reply);

    while (generation_of(word) == generation && state_of(word) == QUEUED) {
        uint32_t parked = word & PARKED;
        enum reply_state to = (word & CALLER) != 0 ? CUT : DEAD;
        struct vv_box *box = box_of(reply);

        if (step(reply, &word, with_state(word, to))) {
            vv_box_free(box);
            if (parked != 0) {
                vv_unpark(&reply->word, 1);
            }
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
    struct vv_mailbox *mailbox = NULL;
    struct vv_reply *reply;
    bool done = false;

    vv_mutex_lock(&depot_lock);
    reply = find_locked(message.slot);
    if (reply != NULL &&
        generation_of(load_word(reply)) == message.generation) {
        /* Read before the step: afterwards the slot may be gone. While it is
         * QUEUED under this generation it cannot change. */
        mailbox = mailbox_of(reply);
        done = cut_exactly(reply, message.generation);
    }
    vv_mutex_unlock(&depot_lock);
    if (done) {
        vv_mailbox_credit(mailbox, VV_SETTLED_CANCELLED);
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
    struct vv_mailbox *mailbox = mailbox_of(reply);
    struct vv_box *box = box_of(reply);
    uint32_t word = load_word(reply);

    for (;;) {
        switch (state_of(word)) {
        case QUEUED:
            if (step(reply, &word, with_state(word, DEAD))) {
                vv_box_free(box);
                vv_mailbox_credit(mailbox, VV_SETTLED_EXPIRED);
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
            vv_misuse("internal: reply slot in state %d has a caller",
                      (int)state_of(word));
        }
    }
}

static void sleep_until_answered(struct vv_reply *reply)
{
    uint32_t word = load_word(reply);

    while (state_of(word) != DONE && state_of(word) != CUT) {
        if ((word & PARKED) == 0) {
            if (!step(reply, &word, word | PARKED)) {
                continue;
            }
            word |= PARKED;
        }
        if (!vv_park(&reply->word, word, reply->deadline_ns)) {
            return;
        }
        word = load_word(reply);
    }
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
    result = reply->result;
    if (result == VIVERO_OK && out != NULL && reply->out_size > 0) {
        memcpy(out, out_of(reply), reply->out_size);
    }
    if (result == VIVERO_E_DOWN) {
        vv_here()->last_exit = reply->exit;
    }
    free_slot(reply);
    return result;
}

int vv_reply_wait(struct vv_reply *reply, const struct vv_spin *spin, void *out,
                  bool *expired)
{
    *expired = false;
    if (!vv_spin_until(spin, is_answered, reply)) {
        sleep_until_answered(reply);
        if (!is_answered(reply) && give_up(reply, expired)) {
            return VIVERO_E_TIMED_OUT;
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
