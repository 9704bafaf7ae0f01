/* SPDX-License-Identifier: MIT */
/* ties: links and monitors.
 *
 * Model.    A tie has two ends, each in the list of its entity. When an entity
 *           ends, each of its ties is taken off both lists and becomes what the
 *           other end is told: an EXIT signal for a link, a DOWN for a monitor
 *           whose target ended. The envelope of that is part of the tie, so an
 *           end allocates nothing, and it is freed when the receiver has read
 *           it.
 *
 *             FREE -> TIED -> TOLD (in an inbox) -> FREE
 *                       \-> FREE (unlink, demonitor, the watcher ended)
 *
 * Invariants.
 *   I1 A tie is in both lists or in none. Only TIED ones are.
 *   I2 An entity whose end has begun gets no new tie, not even from itself: that
 *      is looked at under the ties' lock, and the end fires its ties under the
 *      same lock later.
 *   I3 What an entity sent before its end stands in the receiver's inbox before
 *      its DOWN or EXIT: both are appended to the same list, in this order.
 * Locks.    lock (VV_RANK_TIES), one for the process, then one entity's at a
 *           time. Millions of workers without ties pay one look each.
 * Rejected. A lock per pair: two entities' locks at once, ordered by address,
 *           for what happens once in a life. */
#include <vivero/error.h>

#include "base/check.h"
#include "entity/entity_private.h"
#include "os/thread.h"

#include <string.h>

#define CHUNK_TIES 64u
#define CHUNKS_MAX 65536u

enum tie_state { FREE = 0, TIED, TOLD };

struct tie;

struct vv_tie_end {
    struct vv_entity *entity; /* who has it in its list */
    struct tie *tie;
    struct vv_tie_end *next;
    struct vv_tie_end *previous;
};

struct tie {
    uint32_t index; /* fixed */
    uint32_t generation;
    enum tie_state state;
    bool is_link;
    struct vv_tie_end end[2]; /* of a monitor: the watcher, the target */
    struct vv_envelope notice;
    struct tie *next_free;
};

struct tie_chunk {
    struct tie_chunk *next; /* on its way out */
    struct tie tie[CHUNK_TIES];
};

static struct vv_mutex lock = VV_MUTEX_INIT(VV_RANK_TIES);
/* guarded by lock */
static struct tie_chunk *chunks[CHUNKS_MAX];
static uint32_t chunk_count;
static struct tie *free_ties;
static uint32_t used; /* ties that are not free */
static uint32_t first_generation = 1;

/* ---- Where ties come from ------------------------------------------------------ */

static void free_tie_locked(struct tie *tie)
{
    vv_mutex_assert_held(&lock);
    used--;
    tie->state = FREE;
    tie->generation = tie->generation < UINT32_MAX ? tie->generation + 1 : 1;
    tie->next_free = free_ties;
    free_ties = tie;
}

static void add_chunk_locked(struct tie_chunk *chunk)
{
    for (uint32_t i = CHUNK_TIES; i-- > 0;) {
        chunk->tie[i].index = chunk_count * CHUNK_TIES + i;
        chunk->tie[i].generation = first_generation;
        chunk->tie[i].next_free = free_ties;
        free_ties = &chunk->tie[i];
    }
    chunks[chunk_count++] = chunk;
}

/* The allocator may be the user's: not under the lock. */
static bool add_chunk(void)
{
    struct tie_chunk *chunk =
        vv_allocate(NULL, sizeof(*chunk), _Alignof(max_align_t));
    bool added = false;

    if (chunk == NULL) {
        return false;
    }
    vv_mutex_lock(&lock);
    if (chunk_count < CHUNKS_MAX) {
        add_chunk_locked(chunk);
        added = true;
    }
    vv_mutex_unlock(&lock);
    if (!added) {
        vv_release(NULL, chunk, sizeof(*chunk), _Alignof(max_align_t));
    }
    return added;
}

/* Lock, with a free tie at hand. False: no memory, and not locked. */
static bool lock_with_tie(void)
{
    vv_mutex_lock(&lock);
    while (free_ties == NULL) {
        vv_mutex_unlock(&lock);
        if (!add_chunk()) {
            return false;
        }
        vv_mutex_lock(&lock);
    }
    return true;
}

static void remember_generations(const struct tie_chunk *chunk)
{
    for (uint32_t i = 0; i < CHUNK_TIES; i++) {
        if (chunk->tie[i].generation >= first_generation) {
            first_generation = chunk->tie[i].generation + 1;
        }
    }
}

/* Unless somebody new uses them already. */
static struct tie_chunk *take_unused_chunks(void)
{
    struct tie_chunk *taken = NULL;

    vv_mutex_lock(&lock);
    while (used == 0 && chunk_count > 0) {
        struct tie_chunk *chunk = chunks[--chunk_count];

        chunks[chunk_count] = NULL;
        remember_generations(chunk);
        chunk->next = taken;
        taken = chunk;
        free_ties = NULL;
    }
    vv_mutex_unlock(&lock);
    return taken;
}

void vv_ties_free_all(void)
{
    struct tie_chunk *chunk = take_unused_chunks();

    while (chunk != NULL) {
        struct tie_chunk *next = chunk->next;

        vv_release(NULL, chunk, sizeof(*chunk), _Alignof(max_align_t));
        chunk = next;
    }
}

static struct tie *tie_of(const struct vv_envelope *notice)
{
    return (struct tie *)((unsigned char *)(uintptr_t)notice -
                          offsetof(struct tie, notice));
}

/* The receiver has read the notice. */
static void dispose(struct vv_envelope *notice)
{
    vv_mutex_lock(&lock);
    free_tie_locked(tie_of(notice));
    vv_mutex_unlock(&lock);
}

static struct tie *take_tie_locked(bool is_link)
{
    struct tie *tie = free_ties;

    free_ties = tie->next_free;
    used++;
    tie->is_link = is_link;
    memset(&tie->notice, 0, sizeof(tie->notice));
    tie->notice.kind = is_link ? VV_ENVELOPE_EXIT : VV_ENVELOPE_DOWN;
    tie->notice.reserved = true;
    tie->notice.dispose = dispose;
    if (!is_link) {
        tie->notice.monitor =
            (struct vivero_monitor){tie->index, tie->generation};
    }
    return tie;
}

/* ---- Tying ------------------------------------------------------------------------ */

static void push_end(struct tie *tie, int which, struct vv_entity *entity)
{
    struct vv_tie_end *end = &tie->end[which];

    end->entity = entity;
    end->tie = tie;
    end->previous = NULL;
    end->next = entity->ties;
    if (entity->ties != NULL) {
        entity->ties->previous = end;
    }
    entity->ties = end;
}

static void pull_end(struct vv_tie_end *end)
{
    if (end->previous != NULL) {
        end->previous->next = end->next;
    } else {
        end->entity->ties = end->next;
    }
    if (end->next != NULL) {
        end->next->previous = end->previous;
    }
}

static void untie(struct tie *tie)
{
    pull_end(&tie->end[0]);
    pull_end(&tie->end[1]);
}

/* The living entity behind a reference; the ties' lock keeps its end from
 * passing by. NULL: gone. */
static struct vv_entity *find_living(struct vivero_ref ref)
{
    struct vv_entity *entity = vv_entity_lock(ref);

    if (entity != NULL) {
        vv_entity_unlock(entity);
    }
    return entity;
}

static struct tie *find_link(const struct vv_entity *self,
                             struct vivero_ref other)
{
    for (struct vv_tie_end *at = self->ties; at != NULL; at = at->next) {
        struct tie *tie = at->tie;
        const struct vv_tie_end *far = &tie->end[at == &tie->end[0] ? 1 : 0];

        if (tie->is_link && vivero_ref_equal(far->entity->ref, other)) {
            return tie;
        }
    }
    return NULL;
}

static void tie_locked(struct tie *tie, struct vv_entity *first,
                       struct vv_entity *second)
{
    tie->state = TIED;
    push_end(tie, 0, first);
    push_end(tie, 1, second);
}

/* The notice goes to whoever it is for; if he is gone too it is over. */
static void tell(struct tie *tie, struct vivero_ref to, struct vivero_ref from,
                 const struct vivero_exit *exit)
{
    struct vv_entity *entity = vv_entity_lock(to);
    struct vv_envelope *unused = &tie->notice;

    tie->notice.from = from;
    tie->notice.exit = *exit;
    if (entity != NULL && tie->is_link) {
        unused = vv_entity_signal_locked(entity, &tie->notice);
    } else if (entity != NULL) {
        vv_entity_append_locked(entity, &tie->notice);
        unused = NULL;
        vv_entity_poke_locked(entity);
    }
    if (entity != NULL) {
        vv_entity_unlock(entity);
    }
    tie->state = TOLD;
    if (unused != NULL) {
        free_tie_locked(tie);
    }
}

int vv_entity_link(struct vv_entity *self, struct vivero_ref other)
{
    static const struct vivero_exit nobody = {.kind = VIVERO_EXIT_NOBODY};
    struct vv_entity *far;
    int error = VIVERO_OK;

    if (vivero_ref_equal(self->ref, other)) {
        return VIVERO_OK;
    }
    if (!lock_with_tie()) {
        return VIVERO_E_NO_MEMORY;
    }
    far = find_living(other);
    if (find_living(self->ref) == NULL) {
        error = VIVERO_E_FENCED;
    } else if (far == NULL) {
        tell(take_tie_locked(true), self->ref, other, &nobody);
        error = VIVERO_E_GONE;
    } else if (find_link(self, other) == NULL) {
        tie_locked(take_tie_locked(true), self, far);
    }
    vv_mutex_unlock(&lock);
    return error;
}

void vv_entity_unlink(struct vv_entity *self, struct vivero_ref other)
{
    struct tie *tie;

    vv_mutex_lock(&lock);
    tie = find_link(self, other);
    if (tie != NULL) {
        untie(tie);
        free_tie_locked(tie);
    }
    vv_mutex_unlock(&lock);
}

/* False: the watcher has ended. */
static bool watch_locked(struct vv_entity *self, struct vivero_ref target,
                         struct vivero_monitor *monitor)
{
    static const struct vivero_exit nobody = {.kind = VIVERO_EXIT_NOBODY};
    struct vv_entity *far = find_living(target);
    struct tie *tie;

    if (find_living(self->ref) == NULL) {
        return false;
    }
    tie = take_tie_locked(false);
    *monitor = tie->notice.monitor;
    if (far == NULL) {
        tell(tie, self->ref, target, &nobody);
    } else {
        tie_locked(tie, self, far);
    }
    return true;
}

int vv_entity_monitor(struct vv_entity *self, struct vivero_ref target,
                      struct vivero_monitor *monitor)
{
    bool watches;

    if (!lock_with_tie()) {
        return VIVERO_E_NO_MEMORY;
    }
    watches = watch_locked(self, target, monitor);
    vv_mutex_unlock(&lock);
    return watches ? VIVERO_OK : VIVERO_E_FENCED;
}

int vv_entity_demonitor(struct vv_entity *self, struct vivero_monitor monitor)
{
    struct tie *tie = NULL;
    int error = VIVERO_E_GONE;

    vv_mutex_lock(&lock);
    if (monitor.slot / CHUNK_TIES < chunk_count) {
        tie =
            &chunks[monitor.slot / CHUNK_TIES]->tie[monitor.slot % CHUNK_TIES];
    }
    if (tie != NULL && tie->generation == monitor.generation &&
        tie->state == TIED && tie->end[0].entity == self) {
        untie(tie);
        free_tie_locked(tie);
        error = VIVERO_OK;
    }
    vv_mutex_unlock(&lock);
    return error;
}

/* ---- Firing ----------------------------------------------------------------------------- */

static void fire(struct vv_tie_end *end, const struct vivero_exit *exit)
{
    struct tie *tie = end->tie;
    bool was_watcher = end == &tie->end[0];
    struct vivero_ref ended = end->entity->ref;
    struct vivero_ref other = tie->end[was_watcher ? 1 : 0].entity->ref;

    untie(tie);
    if (!tie->is_link && was_watcher) {
        free_tie_locked(tie);
    } else {
        tell(tie, other, ended, exit);
    }
}

void vv_ties_fire(struct vv_entity *entity, const struct vivero_exit *exit)
{
    vv_mutex_lock(&lock);
    while (entity->ties != NULL) {
        fire(entity->ties, exit);
    }
    vv_mutex_unlock(&lock);
}

void vv_entity_count_ties(struct vv_entity *entity, uint32_t *links,
                          uint32_t *monitors, uint32_t *monitored)
{
    *links = 0;
    *monitors = 0;
    *monitored = 0;
    vv_mutex_lock(&lock);
    for (const struct vv_tie_end *at = entity->ties; at != NULL;
         at = at->next) {
        if (at->tie->is_link) {
            ++*links;
        } else if (at == &at->tie->end[0]) {
            ++*monitored;
        } else {
            ++*monitors;
        }
    }
    vv_mutex_unlock(&lock);
}
