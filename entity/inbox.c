/* SPDX-License-Identifier: MIT */
/* inbox: what comes to an entity, and its thread that waits for it.
 *
 * Everything here is under the entity's lock, but sleeping. Whoever puts rouses:
 * an exchange of the word `park` says whether the thread sleeps and has to be
 * woken, which is done without the lock; the slot stays. A tombstone is a call
 * whose caller gave up: its room is free at once, its place in the list when it
 * is passed. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "entity/entity.h"
#include "entity/entity_private.h"
#include "mailbox/here.h"
#include "mailbox/spin.h"
#include "os/clock.h"
#include "os/park.h"

#include <stddef.h>

/* ---- Waking and sleeping -------------------------------------------------------- */

/* True: its thread sleeps and is to be woken, without the lock. */
bool vv_inbox_rouse_locked(struct vv_entity *entity)
{
    vv_mutex_assert_held(&entity->slot->lock);
    if (entity->ops->poke != NULL) {
        entity->ops->poke(entity);
        return false;
    }
    /* sync(entity.park): what was put stands in the inbox; the sleeper's own
     * step to VV_ASLEEP comes before or fails. */
    return atomic_exchange_explicit(&entity->slot->park, VV_AWAKE,
                                    memory_order_acq_rel) == VV_ASLEEP;
}

/* Leave the lock, and wake its thread if need be. The slot stays. */
void vv_inbox_unlock_and_wake(struct vv_entity *entity, bool wake)
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
    if (vv_inbox_rouse_locked(entity)) {
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
    something = vv_entity_has_mail_locked(entity) ||
                (entity->flags & VV_ENTITY_POKED) != 0;
    entity->flags &= ~(uint32_t)VV_ENTITY_POKED;
    /* relaxed: guarded by the lock until the next line of whoever wakes. */
    atomic_store_explicit(&entity->slot->park,
                          something ? VV_AWAKE : VV_LOOKING,
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
    return load_park(ctx) == VV_AWAKE;
}

bool vv_entity_rest(struct vv_entity *entity, const struct vv_spin *spin,
                    int64_t deadline_ns)
{
    struct vv_slot *slot = entity->slot;
    uint32_t looking = VV_LOOKING;

    if (look_before_sleep(entity)) {
        return true;
    }
    if (deadline_ns <= 0 || vv_spin_until(spin, is_roused, slot)) {
        return is_roused(slot);
    }
    /* sync(entity.park): after this a put wakes; a failed step has seen what
     * was put. */
    if (!atomic_compare_exchange_strong_explicit(
            &slot->park, &looking, VV_ASLEEP, memory_order_acq_rel,
            memory_order_acquire)) {
        return true;
    }
    while (load_park(slot) == VV_ASLEEP) {
        if (!vv_park(&slot->park, VV_ASLEEP, deadline_ns)) {
            return look_before_sleep(entity);
        }
    }
    return true;
}

void vv_entity_suspend(struct vv_entity *entity, bool suspended)
{
    vv_mutex_lock(&entity->slot->lock);
    entity->flags = suspended ? entity->flags | VV_ENTITY_SUSPENDED
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
        wake = vv_inbox_rouse_locked(entity);
    }
    vv_inbox_unlock_and_wake(entity, wake);
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
        in_time =
            vv_here_park(&slot->room, sequence, deadline_ns) == VV_WAKE_CALLED;
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
bool vv_inbox_offer_room_locked(struct vv_slot *slot,
                                const struct vv_entity *entity)
{
    if (slot->room_waiters == 0 || (!vv_entity_is_ending_locked(entity) &&
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
void vv_inbox_give_credit(struct vv_credit *credit, enum vv_settled how)
{
    struct vv_slot *slot = (struct vv_slot *)((unsigned char *)credit -
                                              offsetof(struct vv_slot, credit));
    bool wake;

    (void)how;
    vv_mutex_lock(&slot->lock);
    slot->tombstones++;
    wake =
        slot->entity != NULL && vv_inbox_offer_room_locked(slot, slot->entity);
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
        vv_reply_settle(message->reply, message->generation, VIVERO_E_TIMED_OUT,
                        NULL, NULL);
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
        room = envelope != NULL && vv_inbox_offer_room_locked(slot, entity);
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
    struct vv_slot *slot = entity->slot;
    struct vv_envelope *found = NULL;
    struct vv_envelope *before = NULL;
    bool room;

    vv_mutex_lock(&slot->lock);
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
    room = found != NULL && vv_inbox_offer_room_locked(slot, entity);
    vv_mutex_unlock(&slot->lock);
    if (room) {
        vv_unpark(&slot->room, VV_UNPARK_ALL);
    }
    return found;
}

/* A message ends unhandled; its caller is told. */
void vv_inbox_discard(struct vv_slot *slot, struct vv_envelope *envelope,
                      int result, const struct vivero_exit *exit)
{
    if (begin(slot, envelope) && envelope->kind == VV_ENVELOPE_OPERATION &&
        envelope->message.reply != NULL) {
        vv_reply_settle(envelope->message.reply, envelope->message.generation,
                        result, NULL, exit);
    }
    vv_envelope_free(envelope);
}

/* A tombstone has given its room back already. */
static bool holds_room(const struct vv_envelope *envelope, const void *ctx)
{
    const struct vv_reply *reply = envelope->kind == VV_ENVELOPE_OPERATION
                                       ? envelope->message.reply
                                       : NULL;

    (void)ctx;
    return !envelope->reserved &&
           (reply == NULL || !vv_reply_is_tombstone(reply));
}

void vv_entity_drop_oldest(struct vv_entity *entity)
{
    struct vv_envelope *oldest = vv_entity_take_if(entity, holds_room, NULL);

    if (oldest != NULL) {
        vv_inbox_discard(entity->slot, oldest, VIVERO_E_FULL, NULL);
    }
}
