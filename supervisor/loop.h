/* SPDX-License-Identifier: MIT */
#ifndef SUPERVISOR_LOOP_H
#define SUPERVISOR_LOOP_H

/* A thread that feeds decide() and has its actions performed: what a supervisor
 * and a pool's keeper have in common. */

#include <vivero/exit.h>

#include "os/mutex.h"
#include "os/thread.h"
#include "supervisor/decide.h"

#include <stdbool.h>
#include <stdint.h>

/* News of one kind about one child, on its way. Lives in the child, so it can
 * not be refused; a child tells each kind at most once before it is answered. */
struct vv_notice {
    struct vv_notice *next;
    struct vv_child *child;
    enum vv_event_kind event;
    struct vivero_exit exit;
    bool queued;
};

/* All called on the loop's thread, under no lock. They must not block for long:
 * what takes time reports back by vv_loop_tell(). */
struct vv_loop_ops {
    /* First of all. NULL: nothing. */
    void (*begin)(void *ctx);
    /* Every action but LATER and DOWN. cause: what led to it; its child may
     * be another one, and has not been dropped yet. */
    void (*perform)(void *ctx, const struct vv_action *action,
                    const struct vv_notice *cause);
    /* What was told has been dealt with. NULL: nothing. */
    void (*noticed)(void *ctx, const struct vv_notice *notice);
    /* vv_loop_poke() was called: look for what else there is to do, and queue
     * it. Also before anything is queued that comes after it. NULL: nothing. */
    void (*look)(void *ctx);
    /* The turn of something that was queued by vv_loop_queue(). */
    void (*serve)(void *ctx, struct vv_turn *turn);
    /* All children have ended, nothing is queued. The thread is about to
     * leave. */
    void (*down)(void *ctx);
    /* Look at what has to be looked at from time to time; when to come again,
     * VIVERO_FOREVER: after the next vv_loop_poke(). NULL: never. */
    int64_t (*watch)(void *ctx, int64_t now_ns);
};

struct vv_loop {
    struct vv_thread thread;
    struct vv_decide decide;
    const struct vv_loop_ops *ops;
    void *ctx;
    bool fleeting; /* ops->down frees it: whoever tells it wakes it under the
                      lock, and looks at nothing after that */
    /* its thread only */
    struct vv_turn *first_turn;
    struct vv_turn *last_turn;
    bool down;
    int64_t watch_due_ns;
    /* guarded by lock */
    struct vv_mutex lock;
    struct vv_cond wake;
    struct vv_notice *first;
    struct vv_notice *last;
    bool poked;
};

/* Make what the thread needs. Errors: NO_MEMORY, and then there is nothing to
 * undo. */
int vv_loop_init(struct vv_loop *loop, const struct vv_decide_options *options,
                 const struct vv_loop_ops *ops, void *ctx,
                 struct vv_account *account);
/* Nobody can tell it anything any more. */
void vv_loop_fini(struct vv_loop *loop);

/* Start the thread, named name. Errors: NO_MEMORY, LIMIT. */
int vv_loop_start(struct vv_loop *loop, const char *name);
/* Wait for the thread, which leaves after ops->down. */
void vv_loop_join(struct vv_loop *loop);

/* Tell it something; child is NULL for OPEN, TICK and STOP, exit may be NULL.
 * Thread: any. Never blocks for long. */
void vv_loop_tell(struct vv_loop *loop, struct vv_notice *notice,
                  struct vv_child *child, enum vv_event_kind event,
                  const struct vivero_exit *exit);
/* Have ops->look and ops->watch called. Thread: any. */
void vv_loop_poke(struct vv_loop *loop);

/* Put something, whose turn->child is NULL, behind what is queued. It is served
 * when the loop is not busy with children, or when it is leaving. Its thread. */
void vv_loop_queue(struct vv_loop *loop, struct vv_turn *turn);
/* And take it out before its turn. */
void vv_loop_unqueue(struct vv_loop *loop, struct vv_turn *turn);
/* vv_decide_detach(), and out of the queue. Its thread. */
void vv_loop_detach(struct vv_loop *loop, struct vv_child *child);
/* Feed an event of its own making, and perform what follows. Not from
 * ops->perform. Its thread. */
void vv_loop_feed(struct vv_loop *loop, const struct vv_notice *notice);

bool vv_loop_is_self(const struct vv_loop *loop);

#endif
