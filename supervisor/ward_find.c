/* SPDX-License-Identifier: MIT */
#include "supervisor/supervisor_private.h"

#include <stddef.h>
#include <string.h>

/* ---- Finding ----------------------------------------------------------------------- */

struct vv_ward *vv_ward_find(struct vv_supervisor *supervisor, const char *id)
{
    struct vv_child *child = supervisor->loop.decide.head;

    while (child != NULL && strcmp(vv_ward_of(child)->spec->id, id) != 0) {
        child = child->next;
    }
    return child != NULL ? vv_ward_of(child) : NULL;
}

/* The ward that owns a living entity, if the supervisor is this one. */
static struct vv_ward *owner_of(struct vv_supervisor *supervisor,
                                struct vivero_ref ref,
                                struct vivero_ref *parent)
{
    struct vv_entity *entity = vv_entity_lock(ref);
    struct vv_ward *ward = NULL;

    *parent = (struct vivero_ref){0, 0};
    if (entity == NULL) {
        return NULL;
    }
    *parent = entity->parent;
    if (entity->owner != NULL && vv_ward_of_owner(entity->owner) != NULL &&
        vv_ward_of_owner(entity->owner)->supervisor == supervisor) {
        ward = vv_ward_of_owner(entity->owner);
    }
    vv_entity_unlock(entity);
    return ward;
}

struct vv_ward *vv_ward_find_ref(struct vv_supervisor *supervisor,
                                 struct vivero_ref ref)
{
    struct vivero_ref parent;
    struct vv_ward *ward = owner_of(supervisor, ref, &parent);
    struct vv_child *child = supervisor->loop.decide.head;

    if (ward != NULL || vivero_is_alive(ref)) {
        return ward;
    }
    /* Its end is on the way here, or it is being restarted. */
    for (; child != NULL && ward == NULL; child = child->next) {
        if (vivero_ref_equal(vv_ward_of(child)->ref, ref) ||
            (vivero_ref_equal(vv_ward_of(child)->past, ref) &&
             child->phase != VV_CHILD_RUNNING)) {
            ward = vv_ward_of(child);
        }
    }
    return ward;
}

struct vv_ward *vv_ward_above(struct vv_supervisor *supervisor,
                              struct vivero_ref ref)
{
    struct vv_ward *ward = NULL;

    while (ward == NULL && !vivero_ref_is_nobody(ref)) {
        struct vivero_ref parent;

        ward = owner_of(supervisor, ref, &parent);
        ref = parent;
    }
    return ward;
}
