/* SPDX-License-Identifier: MIT */
/* pool_keeper: what the pool's supervisor does to its workers.
 *
 * Model.    The supervisor knows children 0..workers_max-1; child i is the
 *           worker in seat i. Workers give news on their own threads, which only
 *           passes it on; the operations below run on the supervisor's thread.
 * Invariants.
 *   I1 has_carrier: a thread runs the worker, or is about to. Only then a
 *      command is obeyed; without one the supervisor tells itself FINISHED.
 *   I2 The seat of a worker that ended is closed before anybody is told that
 *      it is free, so a resize that fills it again opens it last.
 * Locks.    The pool's lock for the children's fields; never over an operation
 *           that can call the user. */
#include <vivero/error.h>

#include "base/check.h"
#include "base/log.h"
#include "pool/pool_private.h"

#include <stdio.h>

static uint32_t index_of(const struct vv_pool *pool,
                         const struct vv_child *child)
{
    return (uint32_t)((const struct vv_pool_child *)child - pool->children);
}

static void tell(struct vv_pool *pool, uint32_t index,
                 enum vv_pool_notice notice, enum vv_event_kind event,
                 const struct vivero_exit *exit)
{
    struct vv_pool_child *child = &pool->children[index];

    vv_loop_tell(&pool->supervisor, &child->notices[notice], &child->child,
                 event, exit);
}

static void tell_self(struct vv_pool *pool, uint32_t index,
                      enum vv_event_kind event)
{
    pool->children[index].spoken_for = true;
    tell(pool, index, VV_NOTICE_SELF, event, NULL);
}

static void set_carrier(struct vv_pool *pool, uint32_t index, bool has)
{
    vv_mutex_lock(&pool->lock);
    pool->children[index].has_carrier = has;
    vv_mutex_unlock(&pool->lock);
}

/* ---- News from workers --------------------------------------------------------------- */

void vv_pool_news(struct vivero_entity *worker, enum vv_worker_news news,
                  const struct vivero_exit *exit, void *owner)
{
    static const struct {
        enum vv_event_kind event;
        enum vv_pool_notice notice;
    } news_to_tell[] = {
        [VV_NEWS_STARTED] = {VV_EVENT_STARTED, VV_NOTICE_UP},
        [VV_NEWS_START_FAILED] = {VV_EVENT_EXITED, VV_NOTICE_FAIL},
        [VV_NEWS_FAILED] = {VV_EVENT_EXITED, VV_NOTICE_FAIL},
        [VV_NEWS_FINISHED] = {VV_EVENT_FINISHED, VV_NOTICE_END}};
    struct vv_pool *pool = owner;
    uint32_t index = vv_worker_index(worker);

    if (news == VV_NEWS_LEFT_LATE) {
        vv_pool_zombie_left(pool, worker);
        vv_worker_count_given_up(-1);
        vv_pool_release(pool);
        return;
    }
    tell(pool, index, news_to_tell[news].notice, news_to_tell[news].event,
         exit);
}

/* ---- Starting and stopping --------------------------------------------------------------- */

static void offer_to_threads(struct vv_pool *pool, uint32_t index)
{
    vv_mutex_lock(&pool->lock);
    pool->children[index].open_to_threads = true;
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
}

static void start_thread(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];
    int error;

    set_carrier(pool, index, true);
    error = vv_worker_start_thread(vv_pool_worker(pool, index));
    if (error != VIVERO_OK) {
        vv_mutex_lock(&pool->lock);
        child->has_carrier = false;
        child->error = error;
        vv_mutex_unlock(&pool->lock);
        vv_log(VIVERO_LOG_WARNING, "pool", pool->name, NULL, 0,
               "no thread for worker %u: %s", index + 1,
               vivero_strerror(error));
        tell_self(pool, index, VV_EVENT_STARVED);
    }
}

/* Whether somebody will obey a command to this child. */
static bool will_obey(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];
    bool will;

    vv_mutex_lock(&pool->lock);
    child->open_to_threads = false;
    child->has_carrier = child->has_carrier &&
                         !vv_worker_lost_thread(vv_pool_worker(pool, index));
    will = child->has_carrier;
    vv_mutex_unlock(&pool->lock);
    return will;
}

static void start(struct vv_pool *pool, uint32_t index)
{
    if (will_obey(pool, index)) {
        vv_log(VIVERO_LOG_INFO, "pool", pool->name, NULL, 0,
               "worker %u starts anew", index + 1);
        vv_worker_command(vv_pool_worker(pool, index), VV_COMMAND_START);
    } else if (pool->options.own_threads) {
        offer_to_threads(pool, index);
    } else {
        start_thread(pool, index);
    }
}

static void stop(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];

    if (child->spoken_for) {
        return; /* STARVED or FINISHED is under way; either ends it */
    }
    if (!will_obey(pool, index)) {
        tell_self(pool, index, VV_EVENT_FINISHED);
    } else {
        vv_worker_command(vv_pool_worker(pool, index), VV_COMMAND_STOP);
    }
}

static void refused(struct vv_pool *pool, uint32_t index,
                    const struct vv_notice *cause)
{
    struct vv_pool_child *child = &pool->children[index];

    vv_mutex_lock(&pool->lock);
    if (cause->event == VV_EVENT_STARVED) {
        child->post = VV_POST_NONE; /* and start_thread() left the error */
    } else {
        child->post = VV_POST_REFUSED;
        child->error = cause->exit.code < 0 ? cause->exit.code : VIVERO_E_DOWN;
    }
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
}

/* ---- Endings -------------------------------------------------------------------------------- */

/* A worker ended for good. What was addressed to it alone is told so; the
 * others' share stays for its siblings. */
static void close_seat(struct vv_pool *pool, uint32_t index)
{
    struct vv_mailbox *mailbox = vv_crew_seat(&pool->crew, index)->mailbox;

    vv_mailbox_close(mailbox);
    (void)vv_mailbox_flush_lane(mailbox, VV_LANE_OWN, VIVERO_E_GONE, NULL,
                                VV_SETTLED_DEAD);
    vv_crew_poke_quiet(&pool->crew);
}

static bool anybody_left(struct vv_pool *pool)
{
    bool left = false;

    vv_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->options.workers_max && !left; i++) {
        left = pool->children[i].post != VV_POST_NONE;
    }
    vv_mutex_unlock(&pool->lock);
    return left;
}

/* Who waits for its end looks again. */
static void tell_owner(struct vv_pool *pool)
{
    vv_mutex_lock(&pool->lock);
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
}

static void all_halted(struct vv_pool *pool)
{
    if (vv_pool_advance(pool, VV_POOL_HALTED)) {
        vv_pool_close_mailboxes(pool);
        (void)vv_pool_flush(pool, VIVERO_E_CLOSING, NULL, VV_SETTLED_DEAD);
        vv_log(VIVERO_LOG_INFO, "pool", pool->name, NULL, 0,
               "its last worker halted");
        tell_owner(pool);
    }
}

static void finished(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];
    bool open = vv_pool_phase(pool) == VV_POOL_OPEN ||
                vv_pool_phase(pool) == VV_POOL_DRAINING;

    if (open) {
        close_seat(pool, index);
    }
    vv_worker_forget(vv_pool_worker(pool, index));
    vv_mutex_lock(&pool->lock);
    child->post = VV_POST_NONE;
    child->has_carrier = false;
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
    if (open && !anybody_left(pool)) {
        all_halted(pool);
    }
}

static void started(struct vv_pool *pool, uint32_t index)
{
    vv_mutex_lock(&pool->lock);
    if (pool->children[index].post == VV_POST_STARTING) {
        pool->children[index].post = VV_POST_UP;
    }
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
}

static void heard(struct vv_pool *pool, uint32_t index)
{
    vv_mutex_lock(&pool->lock);
    pool->children[index].asked = false;
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
}

static void stop_heard(struct vv_pool *pool)
{
    vv_mutex_lock(&pool->lock);
    pool->stop_heard = true;
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
}

static void noticed(void *ctx, const struct vv_notice *notice)
{
    struct vv_pool *pool = ctx;
    uint32_t index = notice->child != NULL ? index_of(pool, notice->child) : 0;

    switch (notice->event) {
    case VV_EVENT_STARTED:
        started(pool, index);
        break;
    case VV_EVENT_FINISHED:
        pool->children[index].spoken_for = false;
        finished(pool, index);
        break;
    case VV_EVENT_STARVED:
        pool->children[index].spoken_for = false;
        break;
    case VV_EVENT_ADD:
    case VV_EVENT_REMOVE:
        heard(pool, index);
        break;
    case VV_EVENT_STOP:
        stop_heard(pool);
        break;
    case VV_EVENT_OPEN:
    case VV_EVENT_IGNORED:
    case VV_EVENT_EXITED:
    case VV_EVENT_TURN:
    case VV_EVENT_EXHAUSTED:
    case VV_EVENT_TICK:
    case VV_EVENT_COUNT:
        break;
    }
}

static void gave_up(struct vv_pool *pool, uint32_t index,
                    const struct vivero_exit *exit)
{
    pool->gave_up = vv_pool_phase(pool) < VV_POOL_CLOSING;
    pool->down_exit = *exit;
    pool->down_exit.kind = VIVERO_EXIT_RESTART_LIMIT;
    pool->last_failure = *exit;
    (void)vv_pool_advance(pool, VV_POOL_DOWN);
    vv_pool_close_mailboxes(pool);
    (void)vv_pool_flush(pool, VIVERO_E_DOWN, &pool->down_exit, VV_SETTLED_DEAD);
    vv_log(VIVERO_LOG_ERROR, "pool", pool->name, NULL, 0,
           "worker %u failed once too often, the pool goes down", index + 1);
    tell_owner(pool);
}

static void perform(void *ctx, const struct vv_action *action,
                    const struct vv_notice *cause)
{
    struct vv_pool *pool = ctx;
    uint32_t index = action->child != NULL ? index_of(pool, action->child) : 0;

    switch (action->kind) {
    case VV_ACTION_START:
        start(pool, index);
        break;
    case VV_ACTION_STOP:
        stop(pool, index);
        break;
    case VV_ACTION_REFUSE:
        refused(pool, index, cause);
        break;
    case VV_ACTION_GIVE_UP:
        gave_up(pool, index, &pool->children[index].failure);
        break;
    case VV_ACTION_REPORT_ENDED:
    case VV_ACTION_REPORT_START_ERROR:
        pool->children[index].failure = cause->exit;
        break;
    case VV_ACTION_REPORT_SHUTDOWN_ERROR:
    case VV_ACTION_QUARANTINE:
    case VV_ACTION_AUTO_SHUTDOWN:
    case VV_ACTION_KILL:
    case VV_ACTION_LATER:
    case VV_ACTION_DROP:
    case VV_ACTION_UP:
    case VV_ACTION_DOWN:
    case VV_ACTION_COUNT:
        break;
    }
}

/* Callbacks run on this thread, too. */
static void begin(void *ctx)
{
    const struct vv_pool *pool = ctx;

    vv_here()->within = pool->spec.within;
}

static void down(void *ctx)
{
    struct vv_pool *pool = ctx;

    /* What reached a mailbox between its worker's end and its closing. */
    if (pool->gave_up) {
        (void)vv_pool_flush(pool, VIVERO_E_DOWN, &pool->down_exit,
                            VV_SETTLED_DEAD);
        if (pool->options.on_down != NULL) {
            pool->options.on_down(pool->handle, &pool->last_failure,
                                  pool->options.ctx);
        }
    }
    vv_mutex_lock(&pool->lock);
    pool->stop_heard = true;
    pool->gone = true;
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
    vv_crew_poke_quiet(&pool->crew);
}

const struct vv_loop_ops vv_pool_supervisor_ops = {.begin = begin,
                                                   .perform = perform,
                                                   .noticed = noticed,
                                                   .down = down,
                                                   .watch = vv_pool_watch};
