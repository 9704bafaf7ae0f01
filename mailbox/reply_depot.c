/* SPDX-License-Identifier: MIT */
/* reply_depot: where reply slots come from and go to.
 *
 * Slots live in chunks that stay where they are until the last object of the
 * process is closed and the last future used up, so that a late wake-up hits a
 * slot and not somebody's stack, and a stale token finds one to be refused by.
 * Who looks at a slot without a right to it, which is who has but a future,
 * retains the depot meanwhile. Threads keep a few slots in a cache; the rest is
 * in the depot. Generations go on over a re-open, and 0 is nobody's. The
 * allocator, which may be the user's, is not called under the lock. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/envelope.h"
#include "mailbox/here.h"
#include "mailbox/reply_private.h"

#define CHUNK_SLOTS 64u
#define CHUNKS_MAX 16384u
#define CACHE_MAX 64u
#define CACHE_REFILL 16u

struct vv_mutex vv_reply_lock = VV_MUTEX_INIT(VV_RANK_REPLY);
/* atomic: written under vv_reply_lock */
static _Atomic(struct vv_reply *) chunks[CHUNKS_MAX];
/* guarded by vv_reply_lock */
static uint32_t chunk_count;
static struct vv_reply *depot;
static bool is_alive;
static uint32_t first_generation = 1;
/* atomic: who retains it: objects, futures, and who looks at a future */
static _Atomic uint32_t retained;
/* atomic: which life of the depot caches belong to */
static _Atomic uint32_t depot_epoch;

static uint32_t current_epoch(void)
{
    /* relaxed: ordered by the mutexes between close and open. */
    return atomic_load_explicit(&depot_epoch, memory_order_relaxed);
}

static struct vv_reply *chunk_at(uint32_t i)
{
    /* sync(depot.chunks): its slots are whole. */
    return atomic_load_explicit(&chunks[i], memory_order_acquire);
}

static void set_chunk(uint32_t i, struct vv_reply *chunk)
{
    /* sync(depot.chunks): its slots are whole. */
    atomic_store_explicit(&chunks[i], chunk, memory_order_release);
}

/* It goes from 0 to 1 here only, under the lock; and it is freed under the lock,
 * when it is 0. */
int vv_reply_retain(void)
{
    int error = VIVERO_E_LIMIT;

    vv_mutex_lock(&vv_reply_lock);
    if (vv_here_prepare()) {
        if (!is_alive) {
            is_alive = true;
            vv_memory_retain();
            vv_envelope_depot_open();
        }
        /* relaxed: who frees it looks under the lock. */
        atomic_fetch_add_explicit(&retained, 1, memory_order_relaxed);
        error = VIVERO_OK;
    }
    vv_mutex_unlock(&vv_reply_lock);
    return error;
}

bool vv_reply_try_retain(void)
{
    /* relaxed: a guess for the exchange. */
    uint32_t count = atomic_load_explicit(&retained, memory_order_relaxed);

    while (count > 0) {
        /* relaxed: while it is not 0 the depot stays; what slots say is read
         * with their words. */
        if (atomic_compare_exchange_weak_explicit(&retained, &count, count + 1,
                                                  memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return true;
        }
    }
    return false;
}

/* Take all chunks out, linked through their first slots; generations go on from
 * the highest there was. */
static struct vv_reply *take_chunks_locked(void)
{
    struct vv_reply *taken = NULL;

    vv_mutex_assert_held(&vv_reply_lock);
    for (uint32_t i = 0; i < chunk_count; i++) {
        struct vv_reply *chunk = chunk_at(i);

        for (uint32_t k = 0; k < CHUNK_SLOTS; k++) {
            uint32_t generation = generation_of(load_word(&chunk[k]));

            if (generation >= first_generation) {
                first_generation = after(generation);
            }
        }
        chunk->next = taken;
        taken = chunk;
        set_chunk(i, NULL);
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

/* Whoever was the last: somebody else may have come or gone meanwhile. All that
 * ends is taken out under the lock, so that a first object that is opened
 * meanwhile finds a clean slate; the allocator is called after it. */
static void free_if_unused(void)
{
    struct vv_reply *replies = NULL;
    struct vv_envelope_chunk *envelopes = NULL;
    bool is_over;

    vv_mutex_lock(&vv_reply_lock);
    /* sync(depot.retained): all that others did with slots is over. */
    is_over =
        is_alive && atomic_load_explicit(&retained, memory_order_acquire) == 0;
    if (is_over) {
        is_alive = false;
        replies = take_chunks_locked();
        envelopes = vv_envelope_depot_close();
        vv_here_forget_all();
        /* relaxed: as in current_epoch. */
        atomic_fetch_add_explicit(&depot_epoch, 1, memory_order_relaxed);
    }
    vv_mutex_unlock(&vv_reply_lock);
    if (is_over) {
        free_chunks(replies);
        vv_envelope_free_chunks(envelopes);
        vv_memory_release();
    }
}

void vv_reply_release(void)
{
    /* sync(depot.retained): what this thread did with slots is over. */
    uint32_t before =
        atomic_fetch_sub_explicit(&retained, 1, memory_order_release);

    VV_ASSERT(before > 0);
    if (before == 1) {
        free_if_unused();
    }
}

static void add_chunk_locked(struct vv_reply *chunk)
{
    vv_mutex_assert_held(&vv_reply_lock);
    for (uint32_t k = CHUNK_SLOTS; k-- > 0;) {
        chunk[k].index = chunk_count * CHUNK_SLOTS + k;
        /* relaxed: nobody else knows the slot yet. */
        atomic_init(&chunk[k].word, first_generation << GENERATION_SHIFT);
        chunk[k].next = depot;
        depot = &chunk[k];
    }
    set_chunk(chunk_count++, chunk);
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
    vv_mutex_lock(&vv_reply_lock);
    if (chunk_count < CHUNKS_MAX) {
        add_chunk_locked(chunk);
        added = true;
    }
    vv_mutex_unlock(&vv_reply_lock);
    if (!added) {
        vv_release(NULL, chunk, CHUNK_SLOTS * sizeof(struct vv_reply),
                   VV_CACHELINE);
    }
    return added;
}

static void cache_refill(struct vv_here *here)
{
    vv_mutex_lock(&vv_reply_lock);
    for (uint32_t i = 0; i < CACHE_REFILL && depot != NULL; i++) {
        struct vv_reply *reply = depot;

        depot = reply->next;
        reply->next = here->replies;
        here->replies = reply;
        here->reply_count++;
    }
    vv_mutex_unlock(&vv_reply_lock);
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
    vv_mutex_lock(&vv_reply_lock);
    cache_check_epoch(here);
    while (here->reply_count > count) {
        struct vv_reply *reply = here->replies;

        here->replies = reply->next;
        here->reply_count--;
        reply->next = depot;
        depot = reply;
    }
    vv_mutex_unlock(&vv_reply_lock);
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
        vv_release(NULL, reply->out_box, out_size_of(reply),
                   _Alignof(max_align_t));
        reply->out_box = NULL;
    }
    /* sync(reply.word): the old generation is over. */
    atomic_store_explicit(&reply->word, generation << GENERATION_SHIFT,
                          memory_order_release);
}

void vv_reply_free_slot(struct vv_reply *reply)
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

void vv_reply_free_slot_locked(struct vv_reply *reply)
{
    vv_mutex_assert_held(&vv_reply_lock);
    clear_slot(reply);
    reply->next = depot;
    depot = reply;
}

void vv_reply_set_credit(struct vv_reply *reply, struct vv_credit *credit)
{
    /* relaxed: published with the cell; a canceller with a stale handle reads
     * it too, but does not use what it read. */
    atomic_store_explicit(&reply->credit, credit, memory_order_relaxed);
}

void vv_reply_give_box(struct vv_reply *reply, struct vv_box *box)
{
    /* relaxed: as vv_reply_set_credit(). */
    atomic_store_explicit(&reply->box, box, memory_order_relaxed);
}

struct vv_box *vv_box_new(size_t size, struct vv_account *account)
{
    struct vv_box *box =
        vv_allocate(account, sizeof(*box) + size, _Alignof(max_align_t));

    if (box != NULL) {
        box->account = account;
        box->size = sizeof(*box) + size;
        /* relaxed: nobody else knows the box. */
        atomic_store_explicit(&box->shares, 1, memory_order_relaxed);
    }
    return box;
}

struct vv_box *vv_box_share(struct vv_box *box)
{
    if (box != NULL) {
        /* relaxed: the caller's own share keeps it. */
        atomic_fetch_add_explicit(&box->shares, 1, memory_order_relaxed);
    }
    return box;
}

void vv_box_free(struct vv_box *box)
{
    if (box != NULL &&
        /* sync(box.shares): the last one sees that the others are done. */
        atomic_fetch_sub_explicit(&box->shares, 1, memory_order_acq_rel) == 1) {
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
    /* relaxed: published with the cell. */
    atomic_store_explicit(&reply->out_size, out_size, memory_order_relaxed);
    if (out_size > VV_REPLY_INLINE) {
        reply->out_box = vv_allocate(NULL, out_size, _Alignof(max_align_t));
        if (reply->out_box == NULL) {
            return NULL;
        }
    }
    here->replies = reply->next;
    here->reply_count--;
    reply->owner = NULL;
    vv_reply_set_credit(reply, NULL);
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
    vv_reply_free_slot(reply);
}

struct vv_reply *vv_reply_find(uint32_t index)
{
    struct vv_reply *chunk =
        index / CHUNK_SLOTS < CHUNKS_MAX ? chunk_at(index / CHUNK_SLOTS) : NULL;

    return chunk != NULL ? &chunk[index % CHUNK_SLOTS] : NULL;
}
