/* SPDX-License-Identifier: MIT */
/* envelope: nodes of inboxes, and where they come from.
 *
 * Envelopes are made in chunks that stay until the last object of the process is
 * closed. Threads keep a few in a cache, so that a message costs no lock where
 * senders and receivers are the same threads; where they are not, batches go
 * through the depot. As many exist as ever were under way at once: the bounds of
 * the inboxes bound them. The allocator, which may be the user's, is not called
 * under the lock. */
#include "mailbox/envelope.h"

#include <vivero/error.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "os/mutex.h"

#include <string.h>

#define CHUNK_ENVELOPES 32u
#define CACHE_MAX 64u
#define CACHE_REFILL 32u

struct vv_envelope_chunk {
    struct vv_envelope_chunk *next;
    struct vv_envelope envelope[CHUNK_ENVELOPES];
};

static struct vv_mutex lock = VV_MUTEX_INIT(VV_RANK_ENVELOPES);
/* guarded by lock */
static struct vv_envelope_chunk *chunks;
static struct vv_envelope *depot;
/* atomic: which life of the depot caches belong to; odd while it is open */
static _Atomic uint32_t depot_epoch;

static uint32_t current_epoch(void)
{
    /* relaxed: ordered by the mutexes between close and open. */
    return atomic_load_explicit(&depot_epoch, memory_order_relaxed);
}

static void next_epoch(void)
{
    /* relaxed: as in current_epoch(). */
    atomic_fetch_add_explicit(&depot_epoch, 1, memory_order_relaxed);
}

void vv_envelope_depot_open(void)
{
    vv_mutex_lock(&lock);
    next_epoch();
    vv_mutex_unlock(&lock);
}

struct vv_envelope_chunk *vv_envelope_depot_close(void)
{
    struct vv_envelope_chunk *taken;

    vv_mutex_lock(&lock);
    next_epoch();
    taken = chunks;
    chunks = NULL;
    depot = NULL;
    vv_mutex_unlock(&lock);
    return taken;
}

void vv_envelope_free_chunks(struct vv_envelope_chunk *chunk)
{
    while (chunk != NULL) {
        struct vv_envelope_chunk *next = chunk->next;

        vv_release(NULL, chunk, sizeof(*chunk), VV_CACHELINE);
        chunk = next;
    }
}

/* ---- The caches ------------------------------------------------------------- */

static void check_epoch(struct vv_here *here)
{
    uint32_t epoch = current_epoch();

    if (__builtin_expect(here->envelope_epoch != epoch, 0)) {
        here->envelopes = NULL;
        here->envelope_count = 0;
        here->envelope_epoch = epoch;
    }
}

static void drain_to(struct vv_here *here, uint32_t count)
{
    vv_mutex_lock(&lock);
    check_epoch(here);
    while (here->envelope_count > count) {
        struct vv_envelope *envelope = here->envelopes;

        here->envelopes = envelope->next;
        here->envelope_count--;
        envelope->next = depot;
        depot = envelope;
    }
    vv_mutex_unlock(&lock);
}

void vv_envelope_cache_flush(struct vv_here *here)
{
    drain_to(here, 0);
}

static void refill(struct vv_here *here)
{
    vv_mutex_lock(&lock);
    for (uint32_t i = 0; i < CACHE_REFILL && depot != NULL; i++) {
        struct vv_envelope *envelope = depot;

        depot = envelope->next;
        envelope->next = here->envelopes;
        here->envelopes = envelope;
        here->envelope_count++;
    }
    vv_mutex_unlock(&lock);
}

static bool add_chunk(void)
{
    struct vv_envelope_chunk *chunk =
        vv_allocate(NULL, sizeof(*chunk), VV_CACHELINE);

    if (chunk == NULL) {
        return false;
    }
    vv_mutex_lock(&lock);
    chunk->next = chunks;
    chunks = chunk;
    for (uint32_t i = 0; i < CHUNK_ENVELOPES; i++) {
        chunk->envelope[i].next = depot;
        depot = &chunk->envelope[i];
    }
    vv_mutex_unlock(&lock);
    return true;
}

/* ---- Envelopes ---------------------------------------------------------------- */

struct vv_envelope *vv_envelope_new(enum vv_envelope_kind kind)
{
    struct vv_here *here = vv_here();
    struct vv_envelope *envelope;

    check_epoch(here);
    while (here->envelopes == NULL) {
        refill(here);
        if (here->envelopes == NULL && !add_chunk()) {
            return NULL;
        }
    }
    envelope = here->envelopes;
    here->envelopes = envelope->next;
    here->envelope_count--;
    memset(envelope, 0, offsetof(struct vv_envelope, message.args));
    envelope->kind = kind;
    return envelope;
}

static bool has_message(const struct vv_envelope *envelope)
{
    return envelope->kind == VV_ENVELOPE_OPERATION ||
           envelope->kind == VV_ENVELOPE_TELL;
}

void vv_envelope_free(struct vv_envelope *envelope)
{
    struct vv_here *here = vv_here();

    if (has_message(envelope)) {
        vv_message_fini(&envelope->message);
    }
    if (envelope->dispose != NULL) {
        envelope->dispose(envelope);
        return;
    }
    check_epoch(here);
    envelope->next = here->envelopes;
    here->envelopes = envelope;
    if (++here->envelope_count > CACHE_MAX) {
        drain_to(here, CACHE_MAX / 2);
    }
}

int vv_envelope_tell(uint32_t tag, const void *data, size_t size,
                     struct vv_envelope **envelope)
{
    struct vv_envelope *fresh;

    if (size > VV_BOX_MAX) {
        return VIVERO_E_LIMIT;
    }
    fresh = vv_envelope_new(VV_ENVELOPE_TELL);
    if (fresh == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    fresh->tag = tag;
    fresh->size = (uint32_t)size;
    if (size > VV_ARGS_MAX) {
        fresh->message.box = vv_box_new(size, NULL);
        if (fresh->message.box == NULL) {
            vv_envelope_free(fresh);
            return VIVERO_E_NO_MEMORY;
        }
        memcpy(fresh->message.box->bytes, data, size);
    } else if (size > 0) {
        memcpy(fresh->message.args, data, size);
    }
    *envelope = fresh;
    return VIVERO_OK;
}

const void *vv_envelope_bytes(const struct vv_envelope *envelope)
{
    if (envelope->size == 0) {
        return NULL;
    }
    return envelope->message.box != NULL ? envelope->message.box->bytes
                                         : envelope->message.args;
}
