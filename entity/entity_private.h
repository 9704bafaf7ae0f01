/* SPDX-License-Identifier: MIT */
#ifndef ENTITY_ENTITY_PRIVATE_H
#define ENTITY_ENTITY_PRIVATE_H

#include "entity/entity.h"
#include "mailbox/reply.h"

/* What a reference names. Slots stay where they are for as long as the process
 * lives, so a stale reference finds one to be refused by. */
struct vv_slot {
    struct vv_mutex lock;     /* "the entity's lock" */
    uint32_t index;           /* fixed */
    /* guarded by lock */
    uint32_t generation;
    struct vv_entity *entity; /* NULL: free, or only reserved */
    int32_t tombstones; /* in the inbox; runs on from entity to entity, since a
                           caller may give up a moment after an end */
    uint32_t room_waiters;
    /* guarded by the directory's lock */
    struct vv_slot *next_free;
    /* atomic: futex words */
    _Atomic uint32_t park; /* enum park */
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

/* Whether there is any, or a reference to one that was. */
bool vv_entities_exist(void);
/* Whether its end has begun. */
bool vv_entity_is_ending_locked(const struct vv_entity *entity);
void vv_entity_append_locked(struct vv_entity *entity,
                             struct vv_envelope *envelope);

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
