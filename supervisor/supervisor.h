/* SPDX-License-Identifier: MIT */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

/* A thread that feeds decide() and performs its actions. It knows children by
 * their number and a table of operations. */

#include <vivero/exit.h>

#include "os/mutex.h"
#include "os/thread.h"
#include "supervisor/decide.h"

#include <stdbool.h>
#include <stdint.h>

/* All called on the supervisor's thread, under no lock. They must not block for
 * long: what takes time reports back by vv_supervisor_tell(). */
struct vv_supervisor_ops {
    /* Start this child. It will tell STARTED, START_FAILED, STARVED, ... */
    void (*start)(void *ctx, uint32_t child);
    /* Have it end. It will tell FINISHED. */
    void (*stop)(void *ctx, uint32_t child);
    /* Its first start failed, for exit: STOP follows; or it could not be made at
     * all (starved), and then nothing of it is left. */
    void (*refused)(void *ctx, uint32_t child, bool starved,
                    const struct vivero_exit *exit);
    /* What the supervisor was told, after it has dealt with it. */
    void (*noticed)(void *ctx, uint32_t child, enum vv_event_kind event);
    /* The budget is spent; exit is the last failure. */
    void (*gave_up)(void *ctx, uint32_t child, const struct vivero_exit *exit);
    /* All children have ended. The supervisor's thread is about to leave. */
    void (*down)(void *ctx);
    /* NULL: never. Look at whatever has to be looked at from time to time; when
     * to come again, VIVERO_FOREVER: after the next vv_supervisor_wake(). */
    int64_t (*watch)(void *ctx, int64_t now_ns);
};

/* News of one kind about one child, on its way. Lives in the child, so it can
 * not be refused; a child tells each kind at most once before it is answered. */
struct vv_notice {
    struct vv_notice *next;
    uint32_t child;
    enum vv_event_kind event;
    struct vivero_exit exit;
    bool queued;
};

struct vv_supervisor {
    struct vv_thread thread;
    struct vv_decide decide;
    const struct vv_supervisor_ops *ops;
    void *ctx;
    struct vv_action *actions;
    struct vv_account *account;
    struct vv_mutex lock;
    struct vv_cond wake;
    /* guarded by lock */
    struct vv_notice *first;
    struct vv_notice *last;
    bool woken;
};

/* Start the thread, named name. Errors: NO_MEMORY, LIMIT. */
int vv_supervisor_open(struct vv_supervisor *supervisor, const char *name,
                       const struct vv_decide_options *options,
                       const struct vv_supervisor_ops *ops, void *ctx,
                       struct vv_account *account);

/* Wait for the thread, which leaves after ops->down. */
void vv_supervisor_join(struct vv_supervisor *supervisor);
/* After that, when nobody can tell it anything any more. */
void vv_supervisor_close(struct vv_supervisor *supervisor);

/* Tell it something; exit may be NULL. Thread: any. Never blocks for long. */
void vv_supervisor_tell(struct vv_supervisor *supervisor,
                        struct vv_notice *notice, uint32_t child,
                        enum vv_event_kind event,
                        const struct vivero_exit *exit);

/* Have it call ops->watch. Thread: any. */
void vv_supervisor_wake(struct vv_supervisor *supervisor);

bool vv_supervisor_is_self(const struct vv_supervisor *supervisor);

#endif
