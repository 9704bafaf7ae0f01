/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_WORKER_DEFER_H
#define VIVERO_WORKER_DEFER_H

/* What a handler does to fail well and to be stopped: things to undo, whether it
 * should stop, which attempt this is. */

#include <vivero/api.h>
#include <vivero/operation.h>

#include <stdbool.h>

typedef void vivero_defer_fn(void *ctx);

enum vivero_defer_flag {
    /* Runs on the supervisor's thread the moment the worker is fenced, while
     * its handler still runs: for what must be let go at once (a token, a lock
     * file). ctx must not point into what that handler uses. */
    VIVERO_DEFER_SUPERVISOR = 1
};

/* Something to undo. The caller's memory, which must be there until fn has run or
 * the node is taken off; only the library looks inside meanwhile. The payload is
 * a good place. A handler's stack is one too if the handler takes the node off
 * before it returns: vivero_fail() and vivero_exit() run what is deferred while
 * the stack is still whole, pthread_exit() and a bare VIVERO_FAIL do not. */
struct vivero_defer {
    vivero_defer_fn *fn;
    void *ctx;
    struct vivero_defer *next;
    struct vivero_defer *previous;
    struct vivero_entity *entity; /* NULL: not registered */
    uint32_t flags;
    uint32_t reserved;
};

VIVERO_BEGIN

/* Have fn(ctx) run if this incarnation ends before vivero_undefer(node), last
 * one first, before terminate: in vivero_fail() and vivero_exit() themselves,
 * after pthread_exit(), at a stop; for a fenced one when it comes back. What is
 * left when a handler returns normally belongs to the incarnation and runs at its
 * end, whatever that is.
 *
 * node must not be registered already. flags: of enum vivero_defer_flag.
 * Thread: the worker's, in init or a handler (else misuse).
 * Errors: FENCED, and then nothing is registered. */
#define vivero_defer(self_, node_, fn_, ctx_)                                  \
    vivero_entity_defer((self_)->entity, (node_), (fn_), (ctx_), 0)
#define vivero_defer_flags(self_, node_, fn_, ctx_, flags_)                    \
    vivero_entity_defer((self_)->entity, (node_), (fn_), (ctx_), (flags_))
VIVERO_API int vivero_entity_defer(struct vivero_entity *entity,
                                   struct vivero_defer *node,
                                   vivero_defer_fn *fn, void *ctx,
                                   uint32_t flags);

/* Take it off without running it. True: fn will not run and has not; false: it
 * has run, or was not registered. Afterwards node is the caller's again.
 * Thread: as above. */
VIVERO_API bool vivero_undefer(struct vivero_defer *node);

/* Whether the handler should come to an end: it was fenced, its worker is to
 * stop, or it has run past the pool's deadline_ns. Cheap enough for a loop; the
 * deadline is looked at with a clock good to 4 ms. Thread: the worker's. */
#define vivero_should_stop(self_) vivero_entity_should_stop((self_)->entity)
VIVERO_API bool vivero_entity_should_stop(const struct vivero_entity *entity);

/* The handler is well and needs longer: its deadline, and the time after which
 * it is reported, start anew now. Thread: the worker's. */
#define vivero_alive(self_) vivero_entity_alive((self_)->entity)
VIVERO_API void vivero_entity_alive(struct vivero_entity *entity);

/* Grows with each incarnation of a pool's worker, from 1; 0 for a worker on its
 * own, whose ref is as good. Hand it to whatever
 * outside the process must not obey an incarnation that was replaced while its
 * handler was running: a fencing token. Thread: the worker's. */
#define vivero_generation(self_) vivero_entity_generation((self_)->entity)
VIVERO_API uint64_t
vivero_entity_generation(const struct vivero_entity *entity);

/* Which run of this message it is: 1, and one more each time the pool's
 * retries give it to a handler again. 0 in init. Thread: the worker's. */
#define vivero_attempt(self_) vivero_entity_attempt((self_)->entity)
VIVERO_API uint32_t vivero_entity_attempt(const struct vivero_entity *entity);

VIVERO_END

#endif
