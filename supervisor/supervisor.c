/* SPDX-License-Identifier: MIT */
/* supervisor: the thread that feeds decide() and performs its actions.
 *
 * Model.    Notices come in through a list; each lives in the child it is about,
 *           so no notice can be refused for want of room. The loop takes one,
 *           or a tick that is due, asks decide(), and performs the actions in
 *           order; then ops->watch looks, if it is time. Nothing else happens on
 *           this thread.
 * Threads.  tell: any. Everything else: the supervisor's own.
 * Locks.    lock (VV_RANK_SUPERVISOR) guards the list only; operations are
 *           called without it.
 * Shutdown. decide() says DOWN when it is stopping and the last child is gone;
 *           ops->down is the last thing the thread does. */
#include "supervisor/supervisor.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "os/clock.h"

static void perform(struct vv_supervisor *supervisor,
                    const struct vv_action *action,
                    const struct vv_notice *cause, bool *down)
{
    const struct vv_supervisor_ops *ops = supervisor->ops;

    switch (action->kind) {
    case VV_ACTION_START:
        ops->start(supervisor->ctx, action->child);
        break;
    case VV_ACTION_STOP:
        ops->stop(supervisor->ctx, action->child);
        break;
    case VV_ACTION_REFUSE:
        ops->refused(supervisor->ctx, action->child,
                     cause->event == VV_EVENT_STARVED, &cause->exit);
        break;
    case VV_ACTION_GIVE_UP:
        ops->gave_up(supervisor->ctx, action->child, &cause->exit);
        break;
    case VV_ACTION_DOWN:
        *down = true;
        break;
    }
}

static bool has_notice(const struct vv_supervisor *supervisor)
{
    return supervisor->first != NULL;
}

/* The next notice, or a tick when one is due first or somebody woke us. */
static struct vv_notice next_notice(struct vv_supervisor *supervisor,
                                    int64_t watch_due)
{
    struct vv_notice notice = {.event = VV_EVENT_TICK};
    int64_t due = vv_decide_next(&supervisor->decide);

    due = watch_due < due ? watch_due : due;
    vv_mutex_lock(&supervisor->lock);
    while (!has_notice(supervisor) && !supervisor->woken &&
           vv_cond_wait_until(&supervisor->wake, &supervisor->lock, due)) {
    }
    supervisor->woken = false;
    if (has_notice(supervisor)) {
        notice = *supervisor->first;
        supervisor->first->queued = false;
        supervisor->first = notice.next;
    }
    vv_mutex_unlock(&supervisor->lock);
    return notice;
}

static void run(void *ctx)
{
    struct vv_supervisor *supervisor = ctx;
    int64_t watch_due = VIVERO_FOREVER;
    bool down = false;

    while (!down) {
        struct vv_notice notice = next_notice(supervisor, watch_due);
        uint32_t count =
            vv_decide(&supervisor->decide, notice.event, notice.child,
                      vivero_now(), supervisor->actions);

        for (uint32_t i = 0; i < count; i++) {
            perform(supervisor, &supervisor->actions[i], &notice, &down);
        }
        supervisor->ops->noticed(supervisor->ctx, notice.child, notice.event);
        if (supervisor->ops->watch != NULL && !down) {
            watch_due = supervisor->ops->watch(supervisor->ctx, vivero_now());
        }
    }
    supervisor->ops->down(supervisor->ctx);
}

static void free_parts(struct vv_supervisor *supervisor)
{
    vv_release(supervisor->account, supervisor->actions,
               vv_decide_actions_max(&supervisor->decide) *
                   sizeof(struct vv_action),
               _Alignof(max_align_t));
    vv_decide_fini(&supervisor->decide);
    vv_cond_fini(&supervisor->wake);
    vv_mutex_fini(&supervisor->lock);
}

int vv_supervisor_open(struct vv_supervisor *supervisor, const char *name,
                       const struct vv_decide_options *options,
                       const struct vv_supervisor_ops *ops, void *ctx,
                       struct vv_account *account)
{
    const struct vv_thread_options thread = {.name = name};
    int error = vv_cond_init(&supervisor->wake);

    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_decide_init(&supervisor->decide, options, account);
    if (error != VIVERO_OK) {
        vv_cond_fini(&supervisor->wake);
        return error;
    }
    vv_mutex_init(&supervisor->lock, VV_RANK_SUPERVISOR);
    supervisor->ops = ops;
    supervisor->ctx = ctx;
    supervisor->account = account;
    supervisor->first = NULL;
    supervisor->woken = false;
    supervisor->actions = vv_allocate(
        account,
        vv_decide_actions_max(&supervisor->decide) * sizeof(struct vv_action),
        _Alignof(max_align_t));
    error = supervisor->actions != NULL
                ? vv_thread_start(&supervisor->thread, &thread, run, supervisor)
                : VIVERO_E_NO_MEMORY;
    if (error != VIVERO_OK) {
        free_parts(supervisor);
    }
    return error;
}

void vv_supervisor_join(struct vv_supervisor *supervisor)
{
    vv_thread_join(&supervisor->thread);
}

void vv_supervisor_close(struct vv_supervisor *supervisor)
{
    free_parts(supervisor);
}

void vv_supervisor_tell(struct vv_supervisor *supervisor,
                        struct vv_notice *notice, uint32_t child,
                        enum vv_event_kind event,
                        const struct vivero_exit *exit)
{
    vv_mutex_lock(&supervisor->lock);
    VV_ASSERT(!notice->queued);
    notice->queued = true;
    notice->child = child;
    notice->event = event;
    notice->exit = exit != NULL ? *exit : (struct vivero_exit){0};
    notice->next = NULL;
    if (supervisor->first == NULL) {
        supervisor->first = notice;
    } else {
        supervisor->last->next = notice;
    }
    supervisor->last = notice;
    vv_mutex_unlock(&supervisor->lock);
    /* Without the lock, or it would wake only to wait for that. */
    vv_cond_broadcast(&supervisor->wake);
}

void vv_supervisor_wake(struct vv_supervisor *supervisor)
{
    vv_mutex_lock(&supervisor->lock);
    supervisor->woken = true;
    vv_cond_broadcast(&supervisor->wake);
    vv_mutex_unlock(&supervisor->lock);
}

bool vv_supervisor_is_self(const struct vv_supervisor *supervisor)
{
    return vv_thread_is_self(&supervisor->thread);
}
