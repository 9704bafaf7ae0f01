/* SPDX-License-Identifier: MIT */
/* reply_depot: where reply slots come from and go to.
 *
 * Slots live in chunks that stay where they are until the last object of the
 * process is closed, so that a late wake-up hits a slot and not somebody's
 * stack, and a stale token finds one to be refused by. Threads keep a few in a
 * cache; the rest is in the depot. Generations go on over a re-open, and 0 is
 * nobody's. The allocator, which may be the user's, is not called under the
 * lock. */
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
/* guarded by vv_reply_lock */
static struct vv_reply *chunks[CHUNKS_MAX];
static uint32_t chunk_count;
static struct vv_reply *depot;
static uint32_t retained;
static uint32_t first_generation = 1;
/* atomic: which life of the depot caches belong to; 0: never retained */
static _Atomic uint32_t depot_epoch;

static uint32_t current_epoch(void)
{
    /* relaxed: ordered by the mutexes between close and open. */
    return atomic_load_explicit(&depot_epoch, memory_order_relaxed);
}

int vv_reply_retain(void)
{
    bool prepared;

    vv_mutex_lock(&vv_reply_lock);
    prepared = vv_here_prepare();
    if (prepared && retained++ == 0) {
        /* relaxed: as in current_epoch. */
        atomic_fetch_add_explicit(&depot_epoch, 1, memory_order_relaxed);
        vv_envelope_depot_open();
    }
    vv_mutex_unlock(&vv_reply_lock);
    return prepared ? VIVERO_OK : VIVERO_E_LIMIT;
}

/* Take all chunks out, linked through their first slots; generations go on from
 * the highest there was. */
static struct vv_reply *take_chunks_locked(void)
{
    struct vv_reply *taken = NULL;

    vv_mutex_assert_held(&vv_reply_lock);
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

/* All that ends with the last object is taken out under the lock, so that a
 * first object that is opened meanwhile finds a clean slate; the allocator is
 * called after it. */
void vv_reply_release(void)
{
    struct vv_reply *replies = NULL;
    struct vv_envelope_chunk *envelopes = NULL;

    vv_mutex_lock(&vv_reply_lock);
    VV_ASSERT(retained > 0);
    if (--retained == 0) {
        replies = take_chunks_locked();
        envelopes = vv_envelope_depot_close();
        /* relaxed: as in current_epoch. */
        atomic_fetch_add_explicit(&depot_epoch, 1, memory_order_relaxed);
        vv_here_forget_all();
    }
    vv_mutex_unlock(&vv_reply_lock);
    free_chunks(replies);
    vv_envelope_free_chunks(envelopes);
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
        vv_release(NULL, reply->out_box, reply->out_size,
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

struct vv_reply *vv_reply_find_locked(uint32_t index)
{
    vv_mutex_assert_held(&vv_reply_lock);
    return index / CHUNK_SLOTS < chunk_count
               ? &chunks[index / CHUNK_SLOTS][index % CHUNK_SLOTS]
               : NULL;
}
