/* SPDX-License-Identifier: MIT */
/* info: what is told of children to those who ask. */
#include "supervisor/supervisor_private.h"

#include <string.h>

static enum vivero_child_state state_of(const struct vv_ward *ward)
{
    switch (ward->child.phase) {
    case VV_CHILD_RUNNING:
    case VV_CHILD_STOPPING:
        return VIVERO_CHILD_RUNNING;
    case VV_CHILD_STARTING:
    case VV_CHILD_FALLEN:
    case VV_CHILD_WAITING:
        return VIVERO_CHILD_RESTARTING;
    case VV_CHILD_STOPPED:
    case VV_CHILD_PHASE_COUNT:
        break;
    }
    return ward->child.quarantined ? VIVERO_CHILD_QUARANTINED
                                   : VIVERO_CHILD_STOPPED;
}

static void fill(const struct vv_ward *ward, struct vivero_child_info *info)
{
    const struct vivero_child_spec *spec = &ward->spec->given;

    *info = (struct vivero_child_info){.state = state_of(ward),
                                       .type = spec->type,
                                       .restart = spec->restart,
                                       .significant = spec->significant,
                                       .restarts = ward->restarts,
                                       .kind = spec->ops->kind};
    memcpy(info->id, ward->spec->id, sizeof(info->id));
    if (info->state == VIVERO_CHILD_RUNNING) {
        info->ref = ward->ref;
    }
}

void vv_info_fill(struct vv_supervisor *supervisor, struct vv_call *call)
{
    struct vv_child *child = supervisor->loop.decide.tail;

    call->count = vv_decide_count(&supervisor->loop.decide);
    if (call->one) {
        child = &vv_ward_find(supervisor, call->id)->child;
        fill(vv_ward_of(child), &call->info[0]);
        return;
    }
    for (size_t i = 0; i < call->room && child != NULL; i++) {
        fill(vv_ward_of(child), &call->info[i]);
        child = child->previous;
    }
}

void vv_info_count(struct vv_supervisor *supervisor,
                   struct vivero_child_counts *counts)
{
    struct vv_child *child = supervisor->loop.decide.head;

    *counts = (struct vivero_child_counts){0};
    for (; child != NULL; child = child->next) {
        const struct vv_ward *ward = vv_ward_of(child);
        bool is_supervisor = ward->spec->given.type == VIVERO_CHILD_SUPERVISOR;

        counts->specs++;
        counts->active += state_of(ward) == VIVERO_CHILD_RUNNING &&
                          vivero_is_alive(ward->ref);
        counts->supervisors += is_supervisor;
        counts->workers += !is_supervisor;
    }
}
