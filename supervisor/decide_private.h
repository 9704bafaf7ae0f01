/* SPDX-License-Identifier: MIT */
#ifndef SUPERVISOR_DECIDE_PRIVATE_H
#define SUPERVISOR_DECIDE_PRIVATE_H

#include "supervisor/decide.h"

/* Whether children are started and stopped without waiting for each other. */
static inline bool vv_decide_is_parallel(const struct vv_decide *decide)
{
    return decide->options.strategy >= VV_DYNAMIC;
}

void vv_decide_act(struct vv_decide *decide, struct vv_child *child,
                   enum vv_action_kind kind);
void vv_decide_set_phase(struct vv_decide *decide, struct vv_child *child,
                         enum vv_child_phase phase);
/* delay after now, which may be for ever. */
void vv_decide_set_due(struct vv_decide *decide, struct vv_child *child,
                       int64_t now_ns, int64_t delay_ns);

/* ---- One child: decide_child.c ------------------------------------------------ */

void vv_decide_start(struct vv_decide *decide, struct vv_child *child,
                     int64_t now_ns);
/* Have it down: it is STOPPED, or dropped, or STOPPING after this. */
void vv_decide_stop(struct vv_decide *decide, struct vv_child *child,
                    int64_t now_ns);
/* It is down. */
void vv_decide_stopped(struct vv_decide *decide, struct vv_child *child);
/* Its turn comes later. */
void vv_decide_later(struct vv_decide *decide, struct vv_child *child);
/* One that was stopping has ended. */
void vv_decide_obeyed(struct vv_decide *decide, struct vv_child *child);
/* One that was up has ended, and it is its turn. */
void vv_decide_fell(struct vv_decide *decide, struct vv_child *child,
                    int64_t now_ns);
/* One that waits is to be started, if the budget allows it, now or later. */
void vv_decide_restart(struct vv_decide *decide, struct vv_child *child,
                       int64_t now_ns);
/* It failed, and can not be replaced: as if the budget were spent. */
void vv_decide_exhausted(struct vv_decide *decide, struct vv_child *child,
                         int64_t now_ns);
/* Its start failed. */
void vv_decide_failed_to_start(struct vv_decide *decide, struct vv_child *child,
                               int64_t now_ns);
/* Its start was refused by the system. */
void vv_decide_starved(struct vv_decide *decide, struct vv_child *child,
                       int64_t now_ns);

/* ---- All children: decide_group.c ---------------------------------------------- */

/* Start all. */
void vv_decide_open(struct vv_decide *decide);
/* What the strategy says about a child that is to be started again. */
void vv_decide_revive(struct vv_decide *decide, struct vv_child *child,
                      int64_t now_ns);
/* Stop all, for good. */
void vv_decide_leave(struct vv_decide *decide, int64_t now_ns);
/* Do the next thing of the round, if the last one is done. */
void vv_decide_advance(struct vv_decide *decide, int64_t now_ns);

#endif
