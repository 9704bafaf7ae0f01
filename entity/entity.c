/* SPDX-License-Identifier: MIT */
/* entity: what everything that can be addressed is.
 *
 * Model.    A reference names a slot and a generation. Behind it stands, for one
 *           incarnation, an entity: an inbox in order of arrival, a control lane
 *           of requests, at most one verdict (the exit signal that ends it), and
 *           its links and monitors (ties.c).
 *
 *             reserved --bind--> alive --end--> ending --> slot free, next
 *                                                          generation
 *
 *           A mailbox of messages that count is bounded by `depth`; notices of
 *           links, monitors and timers bring their own room.
 * Threads.  Its thread takes; everybody puts. One thread at a time is "its
 *           thread": the worker's own, or the carrier that runs it.
 * Invariants.
 *   I1 Whoever finds the entity behind a reference holds the slot's lock, and
 *      then its end has not begun: after that nothing more comes in.
 *   I2 The end is done once, by whoever set ENDING; the owner is told last, and
 *      only then the slot's generation moves on.
 *   I3 queued counts the envelopes in the inbox that are not reserved;
 *      tombstones of them have given their room back.
 *   I4 An entity is freed by the last reference to it, never before its end; its
 *      slot stays its own until then, so the lock and the words that its thread
 *      sleeps on are nobody else's.
 * Locks.    VV_RANK_ENTITY, one in each slot, never two at once. Ties and names
 *           come before it, so what fires at an end takes theirs first.
 * Failure.  An end allocates nothing: a link's notice lives in the link.
 * Shutdown. Whoever has a reference to an entity keeps ties, envelopes and reply
 *           slots from being freed; the last reference frees them.
 * Rejected. A lock-free inbox: the lock costs as much as the two atomic steps
 *           that would replace it, and makes order, bound and end one thing. */
#include "entity/entity.h"

#include <vivero/error.h>

#include "base/check.h"
#include "entity/entity_private.h"
#include "mailbox/here.h"
#include "os/park.h"
#include "os/thread.h"

static _Atomic uint32_t count; /* of entities and reserved references */

/* ---- The process-wide part --------------------------------------------------- */

bool vv_entities_exist(void)
{
    /* relaxed: see vv_errands_end(). */
    return atomic_load_explicit(&count, memory_order_relaxed) > 0;
}

/* The parts before the count and after it, so that whoever is counted has them. */
static int retain_parts(void)
{
    int error;

    vv_memory_retain();
    error = vv_reply_retain();
    if (error != VIVERO_OK) {
        vv_memory_release();
        return error;
    }
    vv_fork_watch();
    return VIVERO_OK;
}

static void release_parts(void)
{
    vv_fork_unwatch();
    vv_reply_release();
    vv_memory_release();
}

static int retain_runtime(void)
{
    int error = retain_parts();

    if (error == VIVERO_OK) {
        /* relaxed: only the last one's decrement decides anything. */
        atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    }
    return error;
}

bool vv_runtime_share(void)
{
    /* relaxed: only a guess for the exchange below. */
    uint32_t sharers = atomic_load_explicit(&count, memory_order_relaxed);

    if (sharers == 0 || retain_parts() != VIVERO_OK) {
        return false;
    }
    /* relaxed: as in retain_runtime(). */
    while (sharers > 0 && !atomic_compare_exchange_weak_explicit(
                              &count, &sharers, sharers + 1,
                              memory_order_relaxed, memory_order_relaxed)) {
    }
    if (sharers == 0) {
        release_parts();
    }
    return sharers > 0;
}

void vv_runtime_unshare(void)
{
    /* sync(entity.count): the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&count, 1, memory_order_acq_rel) == 1) {
        vv_errands_end();
        vv_ties_free_all();
    }
    release_parts();
}

/* ---- Finding ---------------------------------------------------------------- */

bool vv_entity_is_ending_locked(const struct vv_entity *entity)
{
    return (entity->flags & VV_ENTITY_ENDING) != 0;
}

/* The slot of a reference, locked; NULL: it names nothing. */
static struct vv_slot *lock_slot(struct vivero_ref ref)
{
    struct vv_slot *slot = ref.generation != 0 ? vv_slot_find(ref.slot) : NULL;

    if (slot == NULL) {
        return NULL;
    }
    vv_mutex_lock(&slot->lock);
    if (slot->generation != ref.generation) {
        vv_mutex_unlock(&slot->lock);
        return NULL;
    }
    return slot;
}

struct vv_entity *vv_entity_lock(struct vivero_ref ref)
{
    struct vv_slot *slot = lock_slot(ref);

    if (slot == NULL) {
        return NULL;
    }
    if (slot->entity == NULL || vv_entity_is_ending_locked(slot->entity)) {
        vv_mutex_unlock(&slot->lock);
        return NULL;
    }
    return slot->entity;
}

void vv_entity_hold(struct vv_entity *entity)
{
    vv_mutex_lock(&entity->slot->lock);
}

void vv_entity_unlock(struct vv_entity *entity)
{
    vv_mutex_unlock(&entity->slot->lock);
}

struct vv_entity *vv_entity_retain(struct vivero_ref ref)
{
    struct vv_entity *entity = vv_entity_lock(ref);

    if (entity != NULL) {
        entity->references++;
        vv_entity_unlock(entity);
    }
    return entity;
}

void vv_entity_release(struct vv_entity *entity)
{
    struct vv_slot *slot = entity->slot;
    bool last;
    bool has_slot;

    vv_mutex_lock(&slot->lock);
    VV_ASSERT(entity->references > 0);
    last = --entity->references == 0;
    has_slot = (entity->flags & VV_ENTITY_REPLACED) == 0;
    vv_mutex_unlock(&slot->lock);
    if (!last) {
        return;
    }
    entity->ops->free(entity);
    if (has_slot) {
        vv_slot_free(slot);
    }
    vv_runtime_unshare();
}

struct vv_entity *vv_entity_here(void)
{
    return vv_here()->entity;
}

void vv_entity_set_here(struct vv_entity *entity)
{
    vv_here()->entity = entity;
}

struct vivero_ref vv_entity_asker(void)
{
    const struct vv_here *here = vv_here();

    if (vivero_ref_is_nobody(here->within) && here->entity != NULL) {
        return here->entity->ref;
    }
    return here->within;
}

static struct vivero_ref parent_of(struct vivero_ref ref)
{
    struct vivero_ref parent = {0, 0};
    struct vv_entity *entity = vv_entity_lock(ref);

    if (entity != NULL) {
        parent = entity->parent;
        vv_entity_unlock(entity);
    }
    return parent;
}

bool vv_entity_is_below(struct vivero_ref ref, struct vivero_ref ancestor)
{
    while (!vivero_ref_is_nobody(ref) && !vivero_ref_equal(ref, ancestor)) {
        ref = parent_of(ref);
    }
    return !vivero_ref_is_nobody(ref);
}

bool vv_entity_is_above_here(struct vivero_ref ref)
{
    const struct vv_here *here = vv_here();

    return (here->entity != NULL &&
            vv_entity_is_below(here->entity->ref, ref)) ||
           vv_entity_is_below(here->within, ref);
}

/* ---- Beginning ----------------------------------------------------------------- */

int vv_entity_reserve(struct vivero_ref *ref)
{
    struct vv_slot *slot;
    int error = vv_forked() ? VIVERO_E_FORKED : retain_runtime();

    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_slot_take(&slot);
    if (error != VIVERO_OK) {
        vv_runtime_unshare();
        return error;
    }
    vv_mutex_lock(&slot->lock);
    slot->credit.give = vv_inbox_give_credit;
    *ref = (struct vivero_ref){slot->index, slot->generation};
    vv_mutex_unlock(&slot->lock);
    return VIVERO_OK;
}

/* The reference is nobody's from now on. */
static void retire_slot(struct vv_slot *slot)
{
    vv_mutex_assert_held(&slot->lock);
    slot->entity = NULL;
    slot->generation = slot->generation < UINT32_MAX ? slot->generation + 1 : 1;
}

void vv_entity_unreserve(struct vivero_ref ref)
{
    struct vv_slot *slot = lock_slot(ref);

    VV_ASSERT(slot != NULL && slot->entity == NULL);
    if (slot != NULL) {
        retire_slot(slot);
        vv_mutex_unlock(&slot->lock);
        vv_slot_free(slot);
        vv_runtime_unshare();
    }
}

/* What the bare one had is its successor's, and the slot, too. Somebody may have
 * a reference to the bare one: for him it has ended. */
static void replace_locked(struct vv_entity *bare, struct vv_entity *entity)
{
    entity->owner = bare->owner;
    entity->parent = bare->parent;
    entity->flags |= bare->flags & (VV_ENTITY_TOLD | VV_ENTITY_POKED);
    entity->queued = bare->queued;
    entity->first = bare->first;
    entity->last = bare->last;
    entity->requests = bare->requests;
    entity->verdict = bare->verdict;
    entity->watches = bare->watches;
    bare->flags |= VV_ENTITY_ENDING | VV_ENTITY_REPLACED;
    bare->queued = 0;
    bare->first = NULL;
    bare->requests = NULL;
    bare->verdict = NULL;
    bare->watches = NULL;
}

static void release_replaced(struct vv_entity *bare)
{
    /* Each has a share of its own of the runtime; with the bare one's at hand
     * there is another. */
    int error = retain_runtime();

    VV_ASSERT(error == VIVERO_OK);
    (void)error;
    vv_entity_release(bare);
}

bool vv_entity_bind(struct vv_entity *entity, struct vivero_ref ref)
{
    struct vv_slot *slot = lock_slot(ref);
    struct vv_entity *bare;

    if (slot == NULL) {
        return false;
    }
    bare = slot->entity;
    if (bare != NULL && vv_entity_is_ending_locked(bare)) {
        vv_mutex_unlock(&slot->lock);
        return false;
    }
    entity->slot = slot;
    entity->ref = ref;
    entity->references = 1;
    if (bare != NULL) {
        replace_locked(bare, entity);
    }
    slot->entity = entity;
    /* relaxed: its thread begins after this. */
    atomic_store_explicit(&slot->park, VV_AWAKE, memory_order_relaxed);
    vv_mutex_unlock(&slot->lock);
    if (bare != NULL) {
        release_replaced(bare);
    }
    return true;
}

bool vv_entity_disown(struct vivero_ref ref)
{
    struct vv_slot *slot = lock_slot(ref);
    bool disowned = false;

    if (slot != NULL) {
        if (slot->entity != NULL) {
            disowned = !vv_entity_is_ending_locked(slot->entity);
            slot->entity->owner = NULL;
        }
        vv_mutex_unlock(&slot->lock);
    }
    return disowned;
}

void vv_entity_started(struct vivero_ref ref, int error,
                       const struct vivero_exit *exit)
{
    struct vv_entity *entity = vv_entity_lock(ref);

    if (entity == NULL) {
        return;
    }
    if (entity->owner != NULL && (entity->flags & VV_ENTITY_TOLD) == 0) {
        entity->owner->started(entity->owner, error, exit);
    }
    entity->flags |= VV_ENTITY_TOLD;
    vv_entity_unlock(entity);
}

/* ---- The end ----------------------------------------------------------------------------- */

struct remains {
    struct vv_envelope *inbox;
    struct vv_request *requests;
    struct vv_envelope *verdict;
};

static bool begin_end(struct vv_entity *entity, struct remains *remains)
{
    bool first;
    bool wake = false;

    vv_entity_hold(entity);
    first = !vv_entity_is_ending_locked(entity);
    if (first) {
        entity->flags |= VV_ENTITY_ENDING;
        wake =
            vv_inbox_rouse_locked(entity); /* its thread may not know of it */
        *remains =
            (struct remains){entity->first, entity->requests, entity->verdict};
        entity->first = NULL;
        entity->requests = NULL;
        entity->verdict = NULL;
        entity->queued = 0;
    }
    vv_inbox_unlock_and_wake(entity, wake);
    return first;
}

static void settle_remains(struct vv_slot *slot, const struct remains *remains,
                           const struct vivero_exit *exit)
{
    for (struct vv_envelope *at = remains->inbox; at != NULL;) {
        struct vv_envelope *next = at->next;

        vv_inbox_discard(slot, at, VIVERO_E_DOWN, exit);
        at = next;
    }
    for (struct vv_request *at = remains->requests; at != NULL;) {
        struct vv_request *next = at->next;

        vv_request_answer(at, VIVERO_E_DOWN, exit);
        at = next;
    }
    if (remains->verdict != NULL) {
        vv_envelope_free(remains->verdict);
    }
}

/* The last word about it, and its slot is somebody else's. */
static void finish_end(struct vv_entity *entity, const struct vivero_exit *exit)
{
    struct vv_slot *slot = entity->slot;
    bool room;

    vv_mutex_lock(&slot->lock);
    if (entity->owner != NULL) {
        entity->owner->ended(entity->owner, exit);
    }
    vv_end_watches_tell_locked(entity, exit);
    room = vv_inbox_offer_room_locked(slot, entity);
    retire_slot(slot);
    vv_mutex_unlock(&slot->lock);
    if (room) {
        vv_unpark(&slot->room, VV_UNPARK_ALL);
    }
}

bool vv_entity_end(struct vv_entity *entity, const struct vivero_exit *reason)
{
    struct vivero_exit exit = *reason;
    struct remains remains;

    if (!begin_end(entity, &remains)) {
        return false;
    }
    /* It is no signal any more, which would be one to those linked. */
    if (exit.kind == VIVERO_EXIT_KILL) {
        exit.kind = VIVERO_EXIT_KILLED;
    }
    vv_name_forget(entity);
    settle_remains(entity->slot, &remains, &exit);
    vv_ties_fire(entity, &exit);
    finish_end(entity, &exit);
    return true;
}

/* A bare one may be replaced between the look and the end. */
bool vv_entity_end_ref(struct vivero_ref ref, const struct vivero_exit *exit)
{
    struct vv_entity *entity = vv_entity_retain(ref);
    bool ended = false;

    while (entity != NULL && !ended) {
        ended = vv_entity_end(entity, exit);
        vv_entity_release(entity);
        entity = ended ? NULL : vv_entity_retain(ref);
    }
    return ended;
}
