/* SPDX-License-Identifier: MIT */
/* child_supervisor: supervisors as children. Each incarnation is made anew from
 * one blueprint: what was added to it at run time is lost with it. */
#include <vivero/error.h>

#include "supervisor/supervisor_private.h"

static int start(const struct vivero_child_start *start)
{
    /* The copy that the spec keeps. */
    struct vv_blueprint *blueprint =
        (struct vv_blueprint *)(uintptr_t)start->options;
    const struct vv_birth birth = {.ref = start->child, .is_child = true};
    int error = vv_supervisor_open(blueprint, &birth);

    return error == VIVERO_OK ? VIVERO_CHILD_STARTING : error;
}

/* Tell it without a message, since there may be no memory for one. */
static void tell_to_stop(struct vivero_ref child,
                         const struct vivero_exit *reason)
{
    int error;
    struct vv_supervisor *supervisor = vv_supervisor_find(child, &error);

    if (supervisor == NULL) {
        return;
    }
    vv_mutex_lock(&supervisor->loop.lock);
    if (!supervisor->told_to_stop) {
        supervisor->told_to_stop = true;
        supervisor->told_reason = *reason;
    }
    vv_mutex_unlock(&supervisor->loop.lock);
    vv_loop_poke(&supervisor->loop);
    vv_entity_release(&supervisor->entity);
}

static void stop(struct vivero_ref child, const struct vivero_exit *reason,
                 const void *options)
{
    (void)options;
    tell_to_stop(child, reason);
}

/* It goes on stopping its children, as their specs say. */
static void do_kill(struct vivero_ref child, const void *options)
{
    static const struct vivero_exit killed = {.kind = VIVERO_EXIT_KILLED};

    (void)options;
    tell_to_stop(child, &killed);
}

static void *copy(const void *options)
{
    struct vv_blueprint *blueprint;

    return vv_blueprint_new(options, &blueprint) == VIVERO_OK ? blueprint
                                                              : NULL;
}

static void release(void *options)
{
    vv_blueprint_release(options);
}

const struct vivero_child_ops vivero_child_supervisor = {
    .size = sizeof(struct vivero_child_ops),
    .kind = "supervisor",
    .start = start,
    .stop = stop,
    .kill = do_kill,
    .copy = copy,
    .release = release};
