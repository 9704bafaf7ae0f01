/* SPDX-License-Identifier: MIT */
/* directory: the slots that references name.
 *
 * Chunks of slots are made when all are in use and never freed: a reference may
 * outlive everything, and whoever uses it must find a lock and a generation to
 * be refused by. What stays is one cache line and a half for each entity that
 * ever existed at the same time as all the others; the first chunk is static. A
 * slot's generation moves on when its entity has ended, and 0 is nobody's. */
#include <vivero/error.h>

#include "base/check.h"
#include "entity/entity_private.h"
#include "os/pages.h"

#define CHUNK_SLOTS 256u
#define CHUNKS_MAX 65536u

static struct vv_mutex lock = VV_MUTEX_INIT(VV_RANK_DIRECTORY);
static struct vv_slot first_chunk[CHUNK_SLOTS];
static _Atomic(struct vv_slot *) chunks[CHUNKS_MAX];
/* guarded by lock */
static uint32_t chunk_count;
static struct vv_slot *free_slots;
static struct vv_slot *last_free; /* slots are reused in turn */

static void push_free_locked(struct vv_slot *slot)
{
    vv_mutex_assert_held(&lock);
    slot->next_free = NULL;
    if (free_slots == NULL) {
        free_slots = slot;
    } else {
        last_free->next_free = slot;
    }
    last_free = slot;
}

static void add_chunk_locked(struct vv_slot *chunk)
{
    for (uint32_t i = 0; i < CHUNK_SLOTS; i++) {
        vv_mutex_init(&chunk[i].lock, VV_RANK_ENTITY);
        chunk[i].index = chunk_count * CHUNK_SLOTS + i;
        chunk[i].generation = 1;
        push_free_locked(&chunk[i]);
    }
    /* sync(directory.chunk): its slots are whole. */
    atomic_store_explicit(&chunks[chunk_count], chunk, memory_order_release);
    chunk_count++;
}

static int add_chunk(void)
{
    struct vv_slot *chunk = vv_pages_map(CHUNK_SLOTS * sizeof(*chunk));
    bool added = false;

    if (chunk == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    vv_mutex_lock(&lock);
    if (chunk_count < CHUNKS_MAX) {
        add_chunk_locked(chunk);
        added = true;
    }
    vv_mutex_unlock(&lock);
    if (!added) {
        vv_pages_unmap(chunk, CHUNK_SLOTS * sizeof(*chunk));
        return VIVERO_E_LIMIT;
    }
    return VIVERO_OK;
}

int vv_slot_take(struct vv_slot **slot)
{
    int error = VIVERO_OK;

    *slot = NULL;
    while (*slot == NULL && error == VIVERO_OK) {
        vv_mutex_lock(&lock);
        if (chunk_count == 0) {
            add_chunk_locked(first_chunk);
        }
        *slot = free_slots;
        if (*slot != NULL) {
            free_slots = (*slot)->next_free;
        }
        vv_mutex_unlock(&lock);
        if (*slot == NULL) {
            error = add_chunk();
        }
    }
    return error;
}

void vv_slot_free(struct vv_slot *slot)
{
    vv_mutex_lock(&lock);
    push_free_locked(slot);
    vv_mutex_unlock(&lock);
}

struct vv_slot *vv_slot_find(uint32_t index)
{
    struct vv_slot *chunk;

    if (index / CHUNK_SLOTS >= CHUNKS_MAX) {
        return NULL;
    }
    /* sync(directory.chunk): its slots are whole. */
    chunk = atomic_load_explicit(&chunks[index / CHUNK_SLOTS],
                                 memory_order_acquire);
    return chunk != NULL ? &chunk[index % CHUNK_SLOTS] : NULL;
}
