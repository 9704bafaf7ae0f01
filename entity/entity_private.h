/* SPDX-License-Identifier: MIT */
#ifndef ENTITY_ENTITY_PRIVATE_H
#define ENTITY_ENTITY_PRIVATE_H

#include "entity/entity.h"
#include "mailbox/reply.h"

/* How the thread of an entity waits: word `park` of its slot. */
enum vv_park_state { VV_AWAKE = 0, VV_LOOKING, VV_ASLEEP };

/* What a reference names. Slots stay where they are for as long as the process
 * lives, so a stale reference finds one to be refused by. */
struct vv_slot {
    struct vv_mutex lock; /* "the entity's lock" */
    uint32_t index;       /* fixed */
    /* guarded by lock */
    uint32_t generation;
    struct vv_entity *entity; /* NULL: free, or only reserved */
    int32_t tombstones; /* in the inbox; runs on from entity to entity, since a
                           caller may give up a moment after an end */
    uint32_t room_waiters;
    /* guarded by the directory's lock */
    struct vv_slot *next_free;
    /* atomic: futex words */
    _Atomic uint32_t park; /* enum vv_park_state */
    _Atomic uint32_t room; /* sequence: there may be room */
    struct vv_credit credit;
};

/* ---- directory.c ---- */

/* Errors: NO_MEMORY, LIMIT. */
int vv_slot_take(struct vv_slot **slot);
/* Its generation has moved on. */
void vv_slot_free(struct vv_slot *slot);
/* The slot of an index; NULL: there never was one. */
struct vv_slot *vv_slot_find(uint32_t index);

/* ---- entity.c ---- */

/* Keep reply slots, envelopes and ties for a while, without an entity. False:
 * they are gone, or about to go. */
bool vv_runtime_share(void);
void vv_runtime_unshare(void);
/* Whether there is any, or a reference to one that was. */
bool vv_entities_exist(void);
/* Whether its end has begun. */
bool vv_entity_is_ending_locked(const struct vv_entity *entity);
void vv_entity_append_locked(struct vv_entity *entity,
                             struct vv_envelope *envelope);

/* ---- inbox.c ---- */

/* There is something new. True: its thread sleeps and is to be woken. */
bool vv_inbox_rouse_locked(struct vv_entity *entity);
/* Leave the lock, and wake its thread if need be. */
void vv_inbox_unlock_and_wake(struct vv_entity *entity, bool wake);
/* True: somebody waits for room and there is enough now to wake him. */
bool vv_inbox_offer_room_locked(struct vv_slot *slot,
                                const struct vv_entity *entity);
/* A message ends unhandled; its caller is told. */
void vv_inbox_discard(struct vv_slot *slot, struct vv_envelope *envelope,
                      int result, const struct vivero_exit *exit);
/* What a slot's credit does. */
void vv_inbox_give_credit(struct vv_credit *credit, enum vv_settled how);

/* ---- ties.c ---- */

/* Links and monitors of an entity that ends. */
void vv_ties_fire(struct vv_entity *entity, const struct vivero_exit *exit);
/* Memory that ends with the last entity. */
void vv_ties_free_all(void);

/* ---- tell_timer.c ---- */

/* The last entity is gone, and with it whom timers could tell. */
void vv_errands_end(void);

/* ---- request.c ---- */

/* Wake those who wait for its end. */
void vv_end_watches_tell_locked(struct vv_entity *entity,
                                const struct vivero_exit *exit);

#endif
