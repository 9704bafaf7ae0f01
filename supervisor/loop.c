/* SPDX-License-Identifier: MIT */
/* loop: the thread that feeds decide() and has its actions performed.
 *
 * Model.    Notices come in through a list; each lives in the child it is about,
 *           so no notice can be refused for want of room. The loop takes them,
 *           or a tick that is due, or what has its turn, asks decide(), and
 *           performs the actions in order. Nothing else happens on this thread.
 *           Turns are what had to wait: children by LATER, and what the ops
 *           queued (requests), in one queue, so that a request that came before
 *           a child's next attempt is served before it.
 * Threads.  tell, poke: any. Everything else: the loop's own.
 * Invariants.
 *   I1 What was told before something was queued is dealt with before it. All
 *      news are taken at once, then one turn is served: neither can starve the
 *      other.
 *   I2 Whoever is dropped has left the queue of turns.
 * Locks.    lock (VV_RANK_SUPERVISOR) guards the list of notices and `poked`
 *           only; operations are called without it.
 * Shutdown. When decide() is leaving, turns are served at once, so that they
 *           are answered; after its DOWN and the last turn comes ops->down, the
 *           last thing the thread does. */
#include "supervisor/loop.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"

#include <string.h>

/* ---- Turns ---------------------------------------------------------------------- */

static void append(struct vv_loop *loop, struct vv_turn *turn)
{
    turn->next = NULL;
    turn->previous = loop->last_turn;
    if (loop->last_turn != NULL) {
        loop->last_turn->next = turn;
    } else {
        loop->first_turn = turn;
    }
    loop->last_turn = turn;
}

static void take_out(struct vv_loop *loop, struct vv_turn *turn)
{
    if (turn->previous != NULL) {
        turn->previous->next = turn->next;
    } else {
        loop->first_turn = turn->next;
    }
    if (turn->next != NULL) {
        turn->next->previous = turn->previous;
    } else {
        loop->last_turn = turn->previous;
    }
}

void vv_loop_unqueue(struct vv_loop *loop, struct vv_turn *turn)
{
    VV_ASSERT(turn->child == NULL);
    take_out(loop, turn);
}

void vv_loop_detach(struct vv_loop *loop, struct vv_child *child)
{
    if (child->queued) {
        take_out(loop, &child->turn);
        child->queued = false;
    }
    vv_decide_detach(&loop->decide, child);
}

static void look(struct vv_loop *loop)
{
    if (loop->ops->look != NULL) {
        loop->ops->look(loop->ctx);
    }
}

void vv_loop_queue(struct vv_loop *loop, struct vv_turn *turn)
{
    VV_ASSERT(turn->child == NULL);
    append(loop, turn);
}

static void queue_child(struct vv_loop *loop, struct vv_child *child)
{
    look(loop); /* what came before goes before */
    child->turn.child = child;
    append(loop, &child->turn);
}

/* ---- Deciding --------------------------------------------------------------------- */

static void perform(struct vv_loop *loop, const struct vv_action *action,
                    const struct vv_notice *cause)
{
    switch (action->kind) {
    case VV_ACTION_LATER:
        queue_child(loop, action->child);
        break;
    case VV_ACTION_DOWN:
        loop->down = true;
        break;
    case VV_ACTION_DROP:
        if (action->child->queued) {
            take_out(loop, &action->child->turn);
        }
        loop->ops->perform(loop->ctx, action, cause);
        break;
    case VV_ACTION_REPORT_ENDED:
    case VV_ACTION_REPORT_START_ERROR:
    case VV_ACTION_REPORT_SHUTDOWN_ERROR:
    case VV_ACTION_REFUSE:
    case VV_ACTION_QUARANTINE:
    case VV_ACTION_GIVE_UP:
    case VV_ACTION_AUTO_SHUTDOWN:
    case VV_ACTION_START:
    case VV_ACTION_STOP:
    case VV_ACTION_KILL:
    case VV_ACTION_UP:
    case VV_ACTION_COUNT:
        loop->ops->perform(loop->ctx, action, cause);
        break;
    }
}

void vv_loop_feed(struct vv_loop *loop, const struct vv_notice *notice)
{
    const struct vv_event event = {notice->event, notice->child,
                                   notice->exit.kind, vivero_now()};
    struct vv_action action;

    vv_decide(&loop->decide, &event);
    while (vv_decide_take(&loop->decide, &action)) {
        perform(loop, &action, notice);
    }
    if (loop->ops->noticed != NULL) {
        loop->ops->noticed(loop->ctx, notice);
    }
}

/* ---- The thread ------------------------------------------------------------------- */

static bool may_serve(const struct vv_loop *loop)
{
    return loop->first_turn != NULL && (!vv_decide_is_busy(&loop->decide) ||
                                        vv_decide_is_leaving(&loop->decide));
}

static bool has_news(const struct vv_loop *loop)
{
    return loop->first != NULL || loop->poked;
}

static int64_t next_due(const struct vv_loop *loop)
{
    int64_t due = vv_decide_due(&loop->decide);

    return loop->watch_due_ns < due ? loop->watch_due_ns : due;
}

struct news {
    bool poked;
    struct vv_notice *first;
};

/* All that is new; waits for it until the next tick, unless a turn may be
 * served. */
static struct news take_news(struct vv_loop *loop)
{
    int64_t due = may_serve(loop) ? 0 : next_due(loop);
    struct news news;

    vv_mutex_lock(&loop->lock);
    while (due > 0 && !has_news(loop) &&
           vv_cond_wait_until(&loop->wake, &loop->lock, due)) {
    }
    news = (struct news){loop->poked, loop->first};
    loop->poked = false;
    loop->first = NULL;
    vv_mutex_unlock(&loop->lock);
    return news;
}

/* Dealing with a notice may be the end of what it lives in. */
static void feed_all(struct vv_loop *loop, struct vv_notice *first)
{
    while (first != NULL) {
        struct vv_notice notice = *first;

        vv_mutex_lock(&loop->lock);
        first->queued = false;
        vv_mutex_unlock(&loop->lock);
        vv_loop_feed(loop, &notice);
        first = notice.next;
    }
}

static void serve_turn(struct vv_loop *loop)
{
    struct vv_turn *turn = loop->first_turn;

    take_out(loop, turn);
    if (turn->child != NULL) {
        vv_loop_feed(loop, &(struct vv_notice){.event = VV_EVENT_TURN,
                                               .child = turn->child});
    } else {
        loop->ops->serve(loop->ctx, turn);
    }
}

static void step(struct vv_loop *loop)
{
    struct news news = take_news(loop);

    if (news.poked) {
        look(loop);
    }
    feed_all(loop, news.first);
    if (vv_decide_due(&loop->decide) <= vivero_now()) {
        vv_loop_feed(loop, &(struct vv_notice){.event = VV_EVENT_TICK});
    }
    if (may_serve(loop)) {
        serve_turn(loop);
    }
    if (loop->ops->watch != NULL && !loop->down) {
        loop->watch_due_ns = loop->ops->watch(loop->ctx, vivero_now());
    }
}

static void run(void *ctx)
{
    struct vv_loop *loop = ctx;

    if (loop->ops->begin != NULL) {
        loop->ops->begin(loop->ctx);
    }
    while (!loop->down || loop->first_turn != NULL) {
        step(loop);
    }
    loop->ops->down(loop->ctx);
}

/* ---- Life ------------------------------------------------------------------------- */

int vv_loop_init(struct vv_loop *loop, const struct vv_decide_options *options,
                 const struct vv_loop_ops *ops, void *ctx,
                 struct vv_account *account)
{
    int error;

    memset(loop, 0, sizeof(*loop));
    error = vv_cond_init(&loop->wake);
    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_decide_init(&loop->decide, options, account);
    if (error != VIVERO_OK) {
        vv_cond_fini(&loop->wake);
        return error;
    }
    vv_mutex_init(&loop->lock, VV_RANK_SUPERVISOR);
    loop->ops = ops;
    loop->ctx = ctx;
    loop->watch_due_ns = VIVERO_FOREVER;
    return VIVERO_OK;
}

void vv_loop_fini(struct vv_loop *loop)
{
    vv_decide_fini(&loop->decide);
    vv_cond_fini(&loop->wake);
    vv_mutex_fini(&loop->lock);
}

int vv_loop_start(struct vv_loop *loop, const char *name)
{
    const struct vv_thread_options options = {.name = name};

    return vv_thread_start(&loop->thread, &options, run, loop);
}

void vv_loop_join(struct vv_loop *loop)
{
    vv_thread_join(&loop->thread);
}

bool vv_loop_is_self(const struct vv_loop *loop)
{
    return vv_thread_is_self(&loop->thread);
}

/* ---- News ------------------------------------------------------------------------- */

void vv_loop_tell(struct vv_loop *loop, struct vv_notice *notice,
                  struct vv_child *child, enum vv_event_kind event,
                  const struct vivero_exit *exit)
{
    vv_mutex_lock(&loop->lock);
    VV_ASSERT(!notice->queued);
    notice->queued = true;
    notice->child = child;
    notice->event = event;
    notice->exit = exit != NULL ? *exit : (struct vivero_exit){0};
    notice->next = NULL;
    if (loop->first == NULL) {
        loop->first = notice;
    } else {
        loop->last->next = notice;
    }
    loop->last = notice;
    if (loop->fleeting) {
        vv_cond_broadcast(&loop->wake);
        vv_mutex_unlock(&loop->lock);
        return;
    }
    /* Without the lock, or it would wake only to wait for that. */
    vv_mutex_unlock(&loop->lock);
    vv_cond_broadcast(&loop->wake);
}

void vv_loop_poke(struct vv_loop *loop)
{
    vv_mutex_lock(&loop->lock);
    loop->poked = true;
    vv_cond_broadcast(&loop->wake);
    vv_mutex_unlock(&loop->lock);
}
