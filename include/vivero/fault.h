/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_FAULT_H
#define VIVERO_FAULT_H

/* What a pool does about handlers that fail, hang or break the process. Four
 * classes, with a promise each:
 *
 *   A reported   vivero_fail(), vivero_exit()    restarted in place
 *   B left       pthread_exit() in a handler     restarted on a new thread
 *   C late       the handler does not come back  reported; with a deadline and
 *                                                HANG_REPLACE survived, but it
 *                                                cannot be stopped
 *   D undefined  a memory error, abort()         the process dies; at most in
 *                                                better order
 *
 * The options are members of struct vivero_pool_options. */

#include <vivero/api.h>
#include <vivero/exit.h>
#include <vivero/operation.h>

struct vivero_pool;

/* What to do about a handler that runs past deadline_ns. */
enum vivero_on_hang {
    VIVERO_HANG_REPORT = 0, /* log it, once for each message */
    VIVERO_HANG_REPLACE,    /* fence it: its caller is told DOWN, its seat gets
                               a new incarnation on a new thread. Two handlers
                               of the same worker run at once until the old one
                               comes back: see vivero_generation() */
    VIVERO_HANG_ABORT       /* log it and abort(), for a core */
};

/* What the next incarnation's payload is. */
enum vivero_state {
    VIVERO_STATE_INIT = 0, /* a new one: init runs again */
    VIVERO_STATE_COMMIT    /* the last committed value, byte for byte: init does
                              not run again. The payload must be flat: own
                              nothing, point to nothing that dies with it. A
                              handler works on a copy: returning 0 or a verdict
                              commits it; an error code or a failure does not.
                              terminate sees the failed copy at every failure;
                              destroy runs once, for the last value */
};

/* What becomes of queued messages when a worker fails. */
enum vivero_mailbox {
    VIVERO_MAILBOX_KEEP = 0, /* the next incarnation handles them */
    VIVERO_MAILBOX_FLUSH /* those addressed to this worker fail with the same
                                reason; in a pool of one worker all do */
};

/* What a memory error or an abort() in a handler does. */
enum vivero_fault {
    VIVERO_FAULT_DIE = 0,       /* the process dies, with a true core */
    VIVERO_FAULT_DRAIN,         /* the process dies in better order, within
                                   drain_ns: see vivero_fault_install() */
    VIVERO_FAULT_UNSAFE_CONTAIN /* the worker is replaced and the process goes
                                   on, with no guarantee whatever */
};

enum vivero_fault_flag {
    VIVERO_FAULT_FORCE = 1 /* drain or contain although a sanitizer watches,
                              whose report that hides */
};

enum vivero_isolation {
    VIVERO_ISOLATION_THREAD = 0,
    VIVERO_ISOLATION_PROCESS /* not built yet: answers UNSUPPORTED */
};

/* A message that came to nothing: consumed by a failure, or discarded while it
 * was queued because its worker or the pool went away. Not one that was
 * cancelled, dropped by the overflow policy or too old. */
struct vivero_dead {
    const struct vivero_operation *operation;
    const void *in; /* its arguments; NULL: none */
    const struct vivero_exit *reason;
    uint32_t attempt; /* how often its handler began; 0: never */
};

/* Called once for each dead message, before it counts as ended, under no lock.
 * Everything dead points to is valid until it returns.
 *
 * Thread: of the message in flight: the worker that failed (a caller that ran
 * it in the worker's place), or the supervisor after a hang; of a queued one:
 * whoever discards it, that is the supervisor, the failing worker, or the
 * thread in close. It must not call vivero_exit() or vivero_pool_close(), and
 * not wait for this pool. */
typedef void vivero_dead_fn(struct vivero_pool *pool,
                            const struct vivero_dead *dead, void *ctx);

VIVERO_BEGIN

/* Allow VIVERO_FAULT_DRAIN and _UNSAFE_CONTAIN: install handlers for SIGSEGV, SIGBUS, SIGILL, SIGFPE
 * and SIGABRT in this process, for good. The library has none before. flags: of
 * enum vivero_fault_flag.
 *
 * A fault in a handler of a pool that drains, in the program's own code: its
 * thread stands still, its caller is told DOWN (VIVERO_EXIT_FAULT, the code is
 * the signal), no pool takes or begins a message any more, what is queued is
 * answered DRAINING, running handlers may finish, and after that, or drain_ns,
 * the process aborts. It is an end in better order and nothing more: handlers
 * that still run may see or write out damaged memory. Workers on their own go on
 * until the end.
 *
 * In a pool that contains, without any guarantee: the thread stands still for
 * ever, with its stack, its locks and all that its handler had; the worker is
 * fenced and replaced as by VIVERO_HANG_REPLACE, within abandoned_max and the
 * restart budget. The message is never tried again, and the next payload begins
 * with init even if the state is committed; of the fallen worker nothing is run,
 * no terminate, destroy or vivero_defer(), but what a supervisor may undo. A call
 * of abort() in the handler's own code counts as a fault. The thread is counted
 * by vivero_abandoned_threads() for ever; a close does not wait for it, and frees
 * everything that is the library's. Memory that the fault has damaged stays
 * damaged, and the next to notice may be anybody.
 * The process dies after all, of that fault, when fault_budget faults have been
 * contained in it before, or when the fresh thread has not shown within 100 ms
 * that it can use memory and the standard streams.
 *
 * Every other fault goes to whoever handled the signal before, as if the library
 * were not there: elsewhere; in other pools; in a handler that was fenced; in
 * code of this library, the C library, the loader or the allocator (so abort(),
 * too, in a pool that drains); where the frames cannot be looked at. So does
 * everything under a sanitizer.
 *
 * Call it after the program's own handlers are installed, and once.
 * Errors: INVALID for unknown flags; FORKED. */
VIVERO_API VIVERO_MUST_USE int vivero_fault_install(uint32_t flags);

VIVERO_END

#endif
