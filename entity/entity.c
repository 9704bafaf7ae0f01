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
 * Sync.     entity.park: whoever put something wakes the sleeper. entity.room:
 *           whoever took something wakes those who wait for room.
 * Failure.  An end allocates nothing: a link's notice lives in the link.
 * Shutdown. Whoever has a reference to an entity keeps ties, envelopes and reply
 *           slots from being freed; the last reference frees them.
 * Rejected. A lock-free inbox: the lock costs as much as the two atomic steps
 *           that would replace it, and makes order, bound and end one thing. */
#include "entity/entity.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "entity/entity_private.h"
#include "mailbox/here.h"
#include "mailbox/spin.h"
#include "os/clock.h"
#include "os/park.h"
#include "os/thread.h"

/* How the thread of an entity waits: word `park` of its slot. */
enum park { AWAKE = 0, LOOKING, ASLEEP };

static _Atomic uint32_t count; /* of entities and reserved references */

/* ---- The process-wide part --------------------------------------------------- */

bool vv_entities_exist(void)
{
    /* relaxed: see vv_errands_end(). */
    return atomic_load_explicit(&count, memory_order_relaxed) > 0;
}

static int retain_runtime(void)
{
    int error;

    vv_memory_retain();
    error = vv_reply_retain();
    if (error != VIVERO_OK) {
        vv_memory_release();
        return error;
    }
    vv_fork_watch();
    /* relaxed: only the last one's decrement decides anything. */
    atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
    return VIVERO_OK;
}

static void release_runtime(void)
{
    /* sync(entity.count): the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&count, 1, memory_order_acq_rel) == 1) {
        vv_errands_end();
        vv_ties_free_all();
    }
    vv_fork_unwatch();
    vv_reply_release();
    vv_memory_release();
}

/* ---- Finding ---------------------------------------------------------------- */

bool vv_entity_is_ending_locked(const struct vv_entity *entity)
{
    return (entity->flags & VV_ENTITY_ENDING) != 0;
}

/* The slot of a reference, locked; NULL: it names nothing. */
static struct vv_slot *lock_slot(struct vivero_ref ref)
{
    struct vv_slot *slot =
        ref.generation != 0 ? vv_slot_find(ref.slot) : NULL;

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

    vv_mutex_lock(&slot->lock);
    VV_ASSERT(entity->references > 0);
    last = --entity->references == 0;
    vv_mutex_unlock(&slot->lock);
    if (last) {
        entity->ops->free(entity);
        vv_slot_free(slot);
        release_runtime();
    }
}

struct vv_entity *vv_entity_here(void)
{
    return vv_here()->entity;
}

void vv_entity_set_here(struct vv_entity *entity)
{
    vv_here()->entity = entity;
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
    const struct vv_entity *here = vv_entity_here();

    return here != NULL && vv_entity_is_below(here->ref, ref);
}

/* ---- Beginning ----------------------------------------------------------------- */

static void give_credit(struct vv_credit *credit, enum vv_settled how);

int vv_entity_reserve(struct vivero_ref *ref)
{
    struct vv_slot *slot;
    int error = vv_forked() ? VIVERO_E_FORKED : retain_runtime();

    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_slot_take(&slot);
    if (error != VIVERO_OK) {
        release_runtime();
        return error;
    }
    vv_mutex_lock(&slot->lock);
    slot->credit.give = give_credit;
    *ref = (struct vivero_ref){slot->index, slot->generation};
    vv_mutex_unlock(&slot->lock);
    return VIVERO_OK;
}

/* The reference is nobody's from now on. */
static void retire_slot(struct vv_slot *slot)
{
    vv_mutex_assert_held(&slot->lock);
    slot->entity = NULL;
    slot->generation =
        slot->generation < UINT32_MAX ? slot->generation + 1 : 1;
}

void vv_entity_unreserve(struct vivero_ref ref)
{
    struct vv_slot *slot = lock_slot(ref);

    VV_ASSERT(slot != NULL && slot->entity == NULL);
    if (slot != NULL) {
        retire_slot(slot);
        vv_mutex_unlock(&slot->lock);
        vv_slot_free(slot);
        release_runtime();
    }
}

/* Its successor takes over its share of the runtime. Nobody else has a
 * reference: it was never shown. */
static void free_replaced(struct vv_entity *bare)
{
    VV_ASSERT(bare->references == 1);
    bare->ops->free(bare);
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
        entity->owner = bare->owner;
        entity->parent = bare->parent;
        bare->flags |= VV_ENTITY_ENDING;
    }
    slot->entity = entity;
    /* relaxed: its thread begins after this. */
    atomic_store_explicit(&slot->park, AWAKE, memory_order_relaxed);
    vv_mutex_unlock(&slot->lock);
    if (bare != NULL) {
        free_replaced(bare);
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

/* ---- Waking and sleeping -------------------------------------------------------- */

/* True: its thread sleeps and is to be woken, without the lock. */
static bool rouse_locked(struct vv_entity *entity)
{
    vv_mutex_assert_held(&entity->slot->lock);
    if (entity->ops->poke != NULL) {
        entity->ops->poke(entity);
        return false;
    }
    /* sync(entity.park): what was put stands in the inbox; the sleeper's own
     * step to ASLEEP comes before or fails. */
    return atomic_exchange_explicit(&entity->slot->park, AWAKE,
                                    memory_order_acq_rel) == ASLEEP;
}

/* Leave the lock, and wake its thread if need be. The slot stays. */
static void unlock_and_wake(struct vv_entity *entity, bool wake)
{
    struct vv_slot *slot = entity->slot;

    vv_mutex_unlock(&slot->lock);
    if (wake) {
        vv_unpark(&slot->park, 1);
    }
}

void vv_entity_poke_locked(struct vv_entity *entity)
{
    entity->flags |= VV_ENTITY_POKED;
    if (rouse_locked(entity)) {
        vv_unpark(&entity->slot->park, 1);
    }
}

void vv_entity_poke(struct vv_entity *entity)
{
    vv_mutex_lock(&entity->slot->lock);
    vv_entity_poke_locked(entity);
    vv_mutex_unlock(&entity->slot->lock);
}

bool vv_entity_has_mail_locked(const struct vv_entity *entity)
{
    return vv_entity_is_ending_locked(entity) || entity->requests != NULL ||
           entity->verdict != NULL ||
           (entity->first != NULL &&
            (entity->flags & VV_ENTITY_SUSPENDED) == 0);
}

bool vv_entity_has_mail(struct vv_entity *entity)
{
    bool has;

    vv_mutex_lock(&entity->slot->lock);
    has = vv_entity_has_mail_locked(entity);
    vv_mutex_unlock(&entity->slot->lock);
    return has;
}

/* True: there is something; else the slot says that its thread is looking. */
static bool look_before_sleep(struct vv_entity *entity)
{
    bool something;

    vv_mutex_lock(&entity->slot->lock);
    something =
        vv_entity_has_mail_locked(entity) || (entity->flags & VV_ENTITY_POKED) != 0;
    entity->flags &= ~(uint32_t)VV_ENTITY_POKED;
    /* relaxed: guarded by the lock until the next line of whoever wakes. */
    atomic_store_explicit(&entity->slot->park, something ? AWAKE : LOOKING,
                          memory_order_relaxed);
    vv_mutex_unlock(&entity->slot->lock);
    return something;
}

static uint32_t load_park(struct vv_slot *slot)
{
    /* sync(entity.park): what was put stands in the inbox. */
    return atomic_load_explicit(&slot->park, memory_order_acquire);
}

static bool is_roused(void *ctx)
{
    return load_park(ctx) == AWAKE;
}

bool vv_entity_rest(struct vv_entity *entity, const struct vv_spin *spin,
                    int64_t deadline_ns)
{
    struct vv_slot *slot = entity->slot;
    uint32_t looking = LOOKING;

    if (look_before_sleep(entity)) {
        return true;
    }
    if (deadline_ns <= 0 || vv_spin_until(spin, is_roused, slot)) {
        return is_roused(slot);
    }
    /* sync(entity.park): after this a put wakes; a failed step has seen what
     * was put. */
    if (!atomic_compare_exchange_strong_explicit(&slot->park, &looking, ASLEEP,
                                                 memory_order_acq_rel,
                                                 memory_order_acquire)) {
        return true;
    }
    while (load_park(slot) == ASLEEP) {
        if (!vv_park(&slot->park, ASLEEP, deadline_ns)) {
            return look_before_sleep(entity);
        }
    }
    return true;
}

void vv_entity_suspend(struct vv_entity *entity, bool suspended)
{
    vv_mutex_lock(&entity->slot->lock);
    entity->flags = suspended
                        ? entity->flags | VV_ENTITY_SUSPENDED
                        : entity->flags & ~(uint32_t)VV_ENTITY_SUSPENDED;
    vv_entity_poke_locked(entity);
    vv_mutex_unlock(&entity->slot->lock);
}

/* ---- Putting ------------------------------------------------------------------------ */

/* Between the taking of a tombstone and its burial the difference is off by
 * one. */
static uint32_t used_locked(const struct vv_entity *entity)
{
    int64_t used = (int64_t)entity->queued - entity->slot->tombstones;

    return used > 0 ? (uint32_t)used : 0;
}

void vv_entity_append_locked(struct vv_entity *entity,
                             struct vv_envelope *envelope)
{
    envelope->next = NULL;
    if (entity->first == NULL) {
        entity->first = envelope;
    } else {
        entity->last->next = envelope;
    }
    entity->last = envelope;
    entity->queued += envelope->reserved ? 0 : 1;
}

int vv_entity_put(struct vv_entity *entity, struct vv_envelope *envelope)
{
    int error = VIVERO_OK;
    bool wake = false;

    vv_mutex_lock(&entity->slot->lock);
    if (vv_entity_is_ending_locked(entity)) {
        error = VIVERO_E_GONE;
    } else if ((entity->flags & VV_ENTITY_DEAF) != 0) {
        error = VIVERO_E_UNSUPPORTED;
    } else if (!envelope->reserved && used_locked(entity) >= entity->depth) {
        error = VIVERO_E_FULL;
    } else {
        vv_entity_append_locked(entity, envelope);
        wake = rouse_locked(entity);
    }
    unlock_and_wake(entity, wake);
    return error;
}

/* Register as somebody who waits for room. True: there is some already, or
 * never will be. */
static bool begin_room_wait(struct vv_entity *entity, uint32_t *sequence)
{
    struct vv_slot *slot = entity->slot;
    bool over;

    vv_mutex_lock(&slot->lock);
    over = vv_entity_is_ending_locked(entity) ||
           used_locked(entity) < entity->depth;
    if (!over) {
        slot->room_waiters++;
        /* relaxed: changed under the lock only. */
        *sequence = atomic_load_explicit(&slot->room, memory_order_relaxed);
    }
    vv_mutex_unlock(&slot->lock);
    return over;
}

int vv_entity_wait_for_room(struct vv_entity *entity, int64_t deadline_ns)
{
    struct vv_slot *slot = entity->slot;
    uint32_t sequence;
    bool in_time = true;
    bool gone;

    if (!begin_room_wait(entity, &sequence)) {
        in_time = vv_park(&slot->room, sequence, deadline_ns);
        vv_mutex_lock(&slot->lock);
        slot->room_waiters--;
        vv_mutex_unlock(&slot->lock);
    }
    vv_mutex_lock(&slot->lock);
    gone = vv_entity_is_ending_locked(entity);
    vv_mutex_unlock(&slot->lock);
    if (gone) {
        return VIVERO_E_GONE;
    }
    return in_time ? VIVERO_OK : VIVERO_E_TIMED_OUT;
}

/* True: somebody waits for room and there is enough now to wake him. */
static bool offer_room_locked(struct vv_slot *slot,
                              const struct vv_entity *entity)
{
    if (slot->room_waiters == 0 ||
        (!vv_entity_is_ending_locked(entity) &&
         used_locked(entity) > entity->depth / 2)) {
        return false;
    }
    /* relaxed: the lock orders it; the word is only slept on. */
    atomic_fetch_add_explicit(&slot->room, 1, memory_order_relaxed);
    return true;
}

struct vv_credit *vv_entity_credit(struct vv_entity *entity)
{
    return &entity->slot->credit;
}

/* A message in the inbox became a tombstone. Its entity may have ended since;
 * then the burial has been counted and this makes up for it. */
static void give_credit(struct vv_credit *credit, enum vv_settled how)
{
    struct vv_slot *slot =
        (struct vv_slot *)((unsigned char *)credit -
                           offsetof(struct vv_slot, credit));
    bool wake;

    (void)how;
    vv_mutex_lock(&slot->lock);
    slot->tombstones++;
    wake = slot->entity != NULL && offer_room_locked(slot, slot->entity);
    vv_mutex_unlock(&slot->lock);
    if (wake) {
        vv_unpark(&slot->room, VV_UNPARK_ALL);
    }
}

/* ---- Taking ---------------------------------------------------------------------------- */

static struct vv_envelope *pop_locked(struct vv_entity *entity)
{
    struct vv_envelope *envelope = entity->first;

    if (envelope != NULL) {
        entity->first = envelope->next;
        entity->queued -= envelope->reserved ? 0 : 1;
    }
    return envelope;
}

static void count_burial(struct vv_slot *slot)
{
    vv_mutex_lock(&slot->lock);
    slot->tombstones--;
    vv_mutex_unlock(&slot->lock);
}

/* A call that nobody waits for any more, or whose time is up, is not handled. */
static bool begin(struct vv_slot *slot, struct vv_envelope *envelope)
{
    struct vv_message *message = &envelope->message;

    if (envelope->kind != VV_ENVELOPE_OPERATION || message->reply == NULL) {
        return true;
    }
    if (!vv_reply_begin(message->reply, &message->generation, &message->box)) {
        message->box = NULL;
        count_burial(slot);
        return false;
    }
    if (message->reply->deadline_ns <= vv_clock_coarse()) {
        vv_reply_settle(message->reply, message->generation,
                        VIVERO_E_TIMED_OUT, NULL, NULL);
        return false;
    }
    return true;
}

static struct vv_envelope *take_envelope(struct vv_entity *entity)
{
    struct vv_slot *slot = entity->slot;

    for (;;) {
        struct vv_envelope *envelope;
        bool room = false;

        vv_mutex_lock(&slot->lock);
        envelope = (entity->flags & VV_ENTITY_SUSPENDED) == 0
                       ? pop_locked(entity)
                       : NULL;
        room = envelope != NULL && offer_room_locked(slot, entity);
        vv_mutex_unlock(&slot->lock);
        if (room) {
            vv_unpark(&slot->room, VV_UNPARK_ALL);
        }
        if (envelope == NULL || begin(slot, envelope)) {
            return envelope;
        }
        vv_envelope_free(envelope);
    }
}

/* The control lane, which comes first. */
static bool take_control(struct vv_entity *entity, struct vv_mail *mail)
{
    vv_mutex_lock(&entity->slot->lock);
    mail->over = vv_entity_is_ending_locked(entity);
    mail->request = entity->requests;
    if (mail->request != NULL) {
        entity->requests = mail->request->next;
    } else {
        mail->verdict = entity->verdict;
        entity->verdict = NULL;
    }
    vv_mutex_unlock(&entity->slot->lock);
    return mail->over || mail->request != NULL || mail->verdict != NULL;
}

bool vv_entity_take(struct vv_entity *entity, struct vv_mail *mail)
{
    *mail = (struct vv_mail){.over = false};
    if (take_control(entity, mail)) {
        return true;
    }
    mail->envelope = take_envelope(entity);
    return mail->envelope != NULL;
}

struct vv_envelope *
vv_entity_take_if(struct vv_entity *entity,
                  bool (*matches)(const struct vv_envelope *, const void *),
                  const void *ctx)
{
    struct vv_envelope *found = NULL;
    struct vv_envelope *before = NULL;

    vv_mutex_lock(&entity->slot->lock);
    for (struct vv_envelope *at = entity->first; at != NULL && found == NULL;
         at = at->next) {
        if (!matches(at, ctx)) {
            before = at;
            continue;
        }
        found = at;
        if (before == NULL) {
            entity->first = at->next;
        } else {
            before->next = at->next;
        }
        if (entity->last == at) {
            entity->last = before;
        }
        entity->queued -= at->reserved ? 0 : 1;
    }
    vv_mutex_unlock(&entity->slot->lock);
    return found;
}

/* A message ends unhandled; its caller is told. */
static void discard(struct vv_slot *slot, struct vv_envelope *envelope,
                    int result, const struct vivero_exit *exit)
{
    if (begin(slot, envelope) && envelope->kind == VV_ENVELOPE_OPERATION &&
        envelope->message.reply != NULL) {
        vv_reply_settle(envelope->message.reply, envelope->message.generation,
                        result, NULL, exit);
    }
    vv_envelope_free(envelope);
}

static bool counts(const struct vv_envelope *envelope, const void *ctx)
{
    (void)ctx;
    return !envelope->reserved;
}

void vv_entity_drop_oldest(struct vv_entity *entity)
{
    struct vv_envelope *oldest = vv_entity_take_if(entity, counts, NULL);

    if (oldest != NULL) {
        discard(entity->slot, oldest, VIVERO_E_FULL, NULL);
    }
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
        wake = rouse_locked(entity); /* its thread may not know of it */
        *remains = (struct remains){entity->first, entity->requests,
                                    entity->verdict};
        entity->first = NULL;
        entity->requests = NULL;
        entity->verdict = NULL;
        entity->queued = 0;
    }
    unlock_and_wake(entity, wake);
    return first;
}

static void settle_remains(struct vv_slot *slot, const struct remains *remains,
                           const struct vivero_exit *exit)
{
    for (struct vv_envelope *at = remains->inbox; at != NULL;) {
        struct vv_envelope *next = at->next;

        discard(slot, at, VIVERO_E_DOWN, exit);
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
    room = offer_room_locked(slot, entity);
    retire_slot(slot);
    vv_mutex_unlock(&slot->lock);
    if (room) {
        vv_unpark(&slot->room, VV_UNPARK_ALL);
    }
}

bool vv_entity_end(struct vv_entity *entity, const struct vivero_exit *exit)
{
    struct remains remains;

    if (!begin_end(entity, &remains)) {
        return false;
    }
    vv_name_forget(entity);
    settle_remains(entity->slot, &remains, exit);
    vv_ties_fire(entity, exit);
    finish_end(entity, exit);
    return true;
}

bool vv_entity_end_ref(struct vivero_ref ref, const struct vivero_exit *exit)
{
    struct vv_entity *entity = vv_entity_retain(ref);
    bool ended;

    if (entity == NULL) {
        return false;
    }
    ended = vv_entity_end(entity, exit);
    vv_entity_release(entity);
    return ended;
}
