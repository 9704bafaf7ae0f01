/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_POOL_H
#define VIVERO_POOL_H

/* A pool: like workers, each with a payload and a bounded mailbox, a message
 * goes to one that is free, a supervisor replants those that fail.
 *
 *              own | call  cast  cancel  suspend  resize  drain  close
 *   call/cast      |  -     -      -       -        -       -      1
 *   everything     |  -     -      -       -        -       -      1
 *
 * `-`: any number of threads at once. `1`: close wants the handle for itself:
 * callers that wait inside are let go with VIVERO_E_CLOSING and have left when
 * it returns, but nobody may enter once it has begun. */

#include <vivero/api.h>
#include <vivero/child.h>
#include <vivero/error.h>
#include <vivero/exit.h>
#include <vivero/fault.h>
#include <vivero/future.h>
#include <vivero/memory.h>
#include <vivero/operation.h>
#include <vivero/send.h>
#include <vivero/time.h>
#include <vivero/worker_self.h>
#include <vivero/worker_defer.h>

#include <stdbool.h>
#include <stdio.h>

struct vivero_pool;

/* Which worker gets a message that names neither worker nor key. */
enum vivero_pick {
    VIVERO_PICK_FREE = 0, /* one that is free, else a mailbox with room */
    VIVERO_PICK_RANDOM,   /* any, evenly */
    VIVERO_PICK_KEY       /* by the operation and its first argument */
};

/* The pool spent its restart budget and went down; reason is the last failure.
 * Runs once, on the supervisor's thread, after everybody who waited was told.
 * The pool must still be closed, by another thread; a supervisor's child is
 * closed by that. */
typedef void vivero_pool_down_fn(struct vivero_pool *pool,
                                 const struct vivero_exit *reason, void *ctx);

/* Where "VIVERO_NONE" is allowed it is an explicit zero. */
struct vivero_pool_options {
    size_t size;      /* set by VIVERO_POOL_OPTIONS */
    const char *name; /* copied, cut to 31 bytes; NULL: "pool" */

    uint32_t workers;       /* 0: one per usable CPU (affinity, cgroup quota) */
    uint32_t workers_max;   /* bound of vivero_pool_resize; 0: workers or 64,
                               whichever is more; at most 4096 */
    uint32_t mailbox_depth; /* messages that may wait per worker; 0: 1024; at
                               most 1048576 */
    enum vivero_pick pick;
    enum vivero_full full_call; /* default WAIT */
    enum vivero_full full_cast; /* default REJECT */
    int64_t call_timeout_ns;    /* 0: five seconds; VIVERO_NONE: do not wait;
                                   VIVERO_FOREVER: no limit */

    size_t payload_size; /* 0: none */
    vivero_init_fn *init;
    vivero_terminate_fn *terminate;
    vivero_destroy_fn *destroy;
    vivero_print_payload_fn *print_payload;
    vivero_pool_down_fn *on_down;
    void *ctx; /* handed to all callbacks above */

    /* Restarts: more than restarts_max within restart_period_ns and the pool
     * goes down. Counted for the whole pool, or for each worker alone. */
    int32_t restarts_max;      /* 0: 3; VIVERO_NONE: none is allowed;
                                  VIVERO_UNLIMITED: no bound */
    bool restarts_per_worker;
    bool caller_runs;          /* a call may run on the caller's own thread when
                                  a worker is free: the handler sees a foreign
                                  thread and the caller's own arguments, and no
                                  time-out ends the call while it runs */
    bool own_threads;          /* make no worker threads: the program brings
                                  them with vivero_pool_run_here(), and open
                                  does not wait for them; no runner */
    bool arena;                /* a jemalloc arena of its own, for statistics */
    int64_t restart_period_ns; /* 0: five seconds */
    int64_t backoff_ns;        /* delay before the second restart in a row,
                                  doubling from there with jitter; 0: none */
    int64_t backoff_max_ns;    /* 0: one second */

    int64_t spin_ns;      /* how long an idle worker or a caller may look for
                             work before it sleeps, at most: it adapts; 0: 50
                             microseconds; VIVERO_NONE: never */
    int64_t linger_ns;    /* how long a worker that resize took away stays,
                             in case it is wanted again; 0: leaves at once */
    int64_t shutdown_ns;  /* how long close waits for running handlers; 0: five
                             seconds; VIVERO_NONE: not at all; VIVERO_FOREVER:
                             as long as it takes */

    /* Threads. */
    const char *thread_name;     /* "%s" the pool, "%u" the worker; at most one
                                    each, in this order; NULL: "%s/%u". Cut to
                                    the system's 15 characters */
    const uint16_t *cpus;        /* CPUs the workers may run on; NULL: the
                                    creator's */
    size_t cpu_count;            /* entries of cpus */
    size_t stack_size;           /* bytes; 0: 256 KiB */
    int32_t scheduling_policy;   /* SCHED_...; 0: as the creator. Refused by
                                    the system: logged, the thread goes on */
    int32_t scheduling_priority;
    vivero_thread_hook_fn *on_thread_start;
    vivero_thread_hook_fn *on_thread_stop;
    vivero_runner_fn *runner;
    void *thread_ctx;            /* handed to these three */
    uint64_t seed;               /* of random picks and jitter */

    /* Failures: see <vivero/fault.h>. */
    int64_t hang_report_ns;  /* a handler that runs so long is logged, once; 0:
                                ten seconds; VIVERO_NONE: never */
    int64_t deadline_ns;     /* of one handler or init, from its begin or its
                                last vivero_alive(); 0: none; at least 10 ms */
    int64_t drain_ns;        /* of VIVERO_FAULT_DRAIN; 0: five seconds */
    vivero_dead_fn *on_dead; /* with ctx */
    enum vivero_on_hang on_hang; /* at the deadline; REPORT without one */
    uint32_t abandoned_max;  /* replaced handlers that have not come back; 0: 4;
                                at most 1024. 16 in the process. One more, and
                                the pool goes down as by a spent budget */
    int32_t nudge_signal;    /* sent to a late handler's thread once, before it
                                is fenced, to interrupt a system call; 0: none.
                                The program must have a handler for it, without
                                SA_RESTART */
    uint32_t retries;        /* how often a message whose handler failed is given
                                to the next incarnation, at most 3; its caller
                                goes on waiting. Only with idempotent */
    enum vivero_state state;
    enum vivero_mailbox mailbox;
    enum vivero_fault fault;
    uint32_t fault_budget;   /* of VIVERO_FAULT_UNSAFE_CONTAIN: how many faults
                                the process may have contained, with this one;
                                0: 1 */
    enum vivero_isolation isolation;
    bool idempotent;         /* running a message twice does no harm */
    bool reserved[3];        /* false */
};

#define VIVERO_POOL_OPTIONS(...)          \
    (&(const struct vivero_pool_options){ \
        .size = sizeof(struct vivero_pool_options), __VA_ARGS__})

VIVERO_BEGIN

/* ---- Life -------------------------------------------------------------- */

/* Open a pool: its workers' init has run when this returns.
 *
 * options NULL: all defaults. *pool is written only on success; on failure
 * nothing is left behind. Besides its workers a pool has one thread, its
 * supervisor, named "NAME/keeper" (NAME cut to 8 bytes).
 *
 * Blocks: until every init has returned.
 * Errors: INVALID for impossible options; NO_MEMORY; LIMIT when the system
 * gives no more threads; UNSUPPORTED for an arena without jemalloc, and for
 * what is not built yet; DENIED for a nudge_signal that the program does not
 * handle, and for a fault other than DIE without vivero_fault_install(); FORKED
 * in a forked child; FENCED in a handler that was replaced; TIMED_OUT when an
 * init was replaced; or the code with which an init failed. */
VIVERO_API VIVERO_MUST_USE int
vivero_pool_open(const struct vivero_pool_options *options,
                 struct vivero_pool **pool);

/* The same with payload_size set to the given one, whatever options says: what
 * VIVERO_POOL_TYPE's open calls. */
VIVERO_API VIVERO_MUST_USE int
vivero_pool_open_payload(const struct vivero_pool_options *options,
                         size_t payload_size, struct vivero_pool **pool);

/* For languages without designated initialisers: all defaults, and size. */
VIVERO_API void vivero_pool_options_init(struct vivero_pool_options *options);

/* Stop the pool and free it. Queued messages are not handled: calls are
 * answered CLOSING. Running handlers may finish within shutdown_ns; a worker
 * that does not is abandoned: its thread goes on, is reported, and frees what
 * it needs when it returns at last. Using the handle afterwards is misuse, and
 * noticed until tens of thousands of other pools have been opened.
 *
 * Thread: any but a worker of this pool (misuse). Blocks: up to shutdown_ns.
 * Errors: TIMED_OUT when a worker was abandoned; the pool is closed then, too.
 * FORKED in a forked child, where the pool's threads never were. */
VIVERO_API int vivero_pool_close(struct vivero_pool *pool);

/* ---- As the child of a supervisor ---------------------------------------- */

/* A pool as a child: .ops = &vivero_child_pool, .options = one of these, or NULL
 * for all defaults. Zero is the default of all fields. */
struct vivero_child_pool_options {
    size_t size; /* set by VIVERO_CHILD_POOL_OPTIONS */
    const struct vivero_pool_options *options; /* copied, with its strings and
                                                  CPUs; ctx and thread_ctx are
                                                  not; NULL: all defaults.
                                                  shutdown_ns 0: the spec's */
    size_t payload_size;       /* in place of options' one; 0: that */
    struct vivero_pool **pool; /* gets the handle; NULL: see
                                  vivero_pool_of_child() */
};

#define VIVERO_CHILD_POOL_OPTIONS(...)          \
    (&(const struct vivero_child_pool_options){ \
        .size = sizeof(struct vivero_child_pool_options), __VA_ARGS__})

/* The kind. A thread of the child's own ("NAME/child") opens the pool, waits,
 * and closes it, so the supervisor never waits for an init or a handler.
 *
 * *pool is written once, before the child is first up, and is the handle of all
 * its incarnations. It may be used by any thread until the supervisor forgets
 * the child's spec, and after that: with a living pool behind it, calls are
 * handled; after it went down they are answered DOWN, and vivero_last_exit()
 * says why, until the next incarnation is up; while it is being stopped, after
 * its last worker halted, and when there will be no other, CLOSING. Each
 * incarnation begins with empty mailboxes. A worker's own handle means its own
 * incarnation. To close it is misuse: that is the supervisor's. What is true of
 * a closed pool's handle, that it is noticed until tens of thousands of others
 * have been opened, is true from the moment when the spec is forgotten.
 *
 * With pool there is one such child at a time: while one is alive, a start from
 * the same copy of these options fails with EXISTS. In a template, from which
 * many are started, pool is NULL, and each incarnation has a handle of its own.
 *
 * How it ends: its budget was spent: RESTART_LIMIT, with code and text of the
 * last failure, which is abnormal, so permanent and transient ones are started
 * again, after on_down has returned; its last worker halted: NORMAL; asked to:
 * for that reason, or KILLED if shutdown_ns of options passed. When the spec's
 * shutdown_ns passes its running handlers are abandoned, as by a close, without
 * anybody waiting; so are those of an init that exceeds start_timeout_ns.
 *
 * Start fails with what vivero_pool_open() returns; with UNSUPPORTED if it is
 * given an argument; with EXISTS, see above. */
VIVERO_API extern const struct vivero_child_ops vivero_child_pool;

/* The handle of a child's living pool; NULL: it is not up, or no pool. The
 * child may end at any time: the handle answers CLOSING then, or as above.
 * Thread: any. Never blocks. */
VIVERO_API struct vivero_pool *vivero_pool_of_child(struct vivero_ref child);

VIVERO_API void
vivero_child_pool_options_init(struct vivero_child_pool_options *options);

/* ---- Draining ------------------------------------------------------------ */

/* What became of the messages that were in the pool when a drain began. */
struct vivero_drain_report {
    uint64_t done;       /* handled during the drain */
    uint64_t cancelled;  /* still queued at the deadline, not handled */
    uint32_t stragglers; /* workers whose handler was still running then */
    uint32_t reserved;
};

/* Take nothing new (senders are answered DRAINING), handle what is queued, and
 * return when all is done or the time is up; what is queued then is cancelled
 * (calls are answered CANCELLED). Only close makes sense afterwards.
 *
 * A time-out of 0 cancels at once. report may be NULL.
 *
 * Thread: any but a worker of this pool (misuse). Blocks: up to timeout_ns.
 * Errors: TIMED_OUT when something was cancelled or a handler still runs;
 * DOWN, CLOSING, FORKED as for a call. */
VIVERO_API int vivero_pool_drain(struct vivero_pool *pool, int64_t timeout_ns,
                                 struct vivero_drain_report *report);

/* Lend the calling thread to a pool opened with own_threads: it becomes the
 * next worker that has no thread, and comes back when that worker ends.
 *
 * Blocks: until then.
 * Returns 0 when the worker was stopped or halted; LIMIT when every worker has
 * a thread; UNSUPPORTED without own_threads; CLOSING; DOWN when the pool went
 * down; FORKED; or the code with which init failed. */
VIVERO_API int vivero_pool_run_here(struct vivero_pool *pool);

/* ---- Messages ---------------------------------------------------------- */

/* Have a free worker run operation and wait for its answer.
 *
 * in is copied before anybody waits; out receives the reply, only on success.
 * Either is NULL when the operation has no such part.
 *
 * Thread: any. In a handler: a call that could only be served by workers that
 * wait for one another, this one included, is answered DEADLOCK at once.
 * Blocks: up to the time-out, for room and for the answer together.
 * Errors: TIMED_OUT, the handler may still run it; FULL by the pool's policy;
 * DOWN when the worker failed with it, or the pool went down: see
 * vivero_last_exit(); CANCELLED; CLOSING; DRAINING; DEADLOCK; NO_MEMORY;
 * LIMIT when in is larger than a mebibyte; FORKED; NOT_FOUND for a worker id
 * that does not exist, GONE for one that halted; AGAIN while the pool opens (in
 * an init); FENCED in a handler that was replaced, as everything here but
 * close; or what the handler returned. */
VIVERO_API int vivero_pool_call(struct vivero_pool *pool,
                                const struct vivero_operation *operation,
                                const void *in, void *out,
                                const struct vivero_send *send);

/* The same with an absolute deadline on the monotonic clock. */
VIVERO_API int vivero_pool_call_until(struct vivero_pool *pool,
                                      const struct vivero_operation *operation,
                                      const void *in, void *out,
                                      int64_t deadline_ns);

/* Have a free worker run operation and do not wait for its answer: *future is
 * its name, to be used up by the functions of <vivero/future.h>. It is written
 * before this returns and only on success, but the call may be finished, and its
 * completion taken, before that; NULL if send has completions, which bring it.
 *
 * The time-out is how long it may wait for room and then in the queue; what has
 * not begun by then is not run and answered TIMED_OUT, when its turn comes. 0:
 * the pool's. VIVERO_NONE: not for room, for ever in the queue. The handler
 * never runs on this thread.
 *
 * Blocks: for room, as a call, with VIVERO_FULL_WAIT; but not in a worker of
 * this library, where it answers FULL. Never for the answer.
 * Errors: FULL, TIMED_OUT, DOWN, CLOSING, DRAINING, NO_MEMORY, LIMIT, FORKED,
 * NOT_FOUND, GONE, AGAIN as above: there is no future then. INVALID. */
VIVERO_API VIVERO_MUST_USE int
vivero_pool_call_async(struct vivero_pool *pool,
                       const struct vivero_operation *operation, const void *in,
                       const struct vivero_send *send,
                       struct vivero_future *future);

/* Have a free worker run operation, without waiting for it. 0: accepted, that
 * is, it stands in a mailbox.
 *
 * Blocks: never by default; up to the time-out for room with VIVERO_FULL_WAIT,
 * and not even then in a worker of this library, where it answers FULL.
 * Errors: FULL, TIMED_OUT, DOWN, CLOSING, DRAINING, NO_MEMORY, LIMIT, FORKED,
 * NOT_FOUND, GONE, AGAIN as above. */
VIVERO_API VIVERO_MUST_USE int
vivero_pool_cast(struct vivero_pool *pool,
                 const struct vivero_operation *operation, const void *in,
                 const struct vivero_send *send);

/* Cast the same operation once for each of count argument structs that stand
 * one after another at in: one claim for many. Never waits.
 *
 * Returns how many were accepted, from the front; fewer than count when the
 * mailboxes are full; a negative code when none was, as vivero_pool_cast. */
VIVERO_API VIVERO_MUST_USE int
vivero_pool_cast_batch(struct vivero_pool *pool,
                       const struct vivero_operation *operation, const void *in,
                       size_t count);

/* Cast to every worker once. Never waits, drops nothing.
 * Returns the number of workers whose mailbox took it; negative as above. */
VIVERO_API VIVERO_MUST_USE int
vivero_pool_broadcast(struct vivero_pool *pool,
                      const struct vivero_operation *operation, const void *in);

/* Run fn(self, index, ctx) once for every index in 0..count-1, on as many workers
 * as are free, and wait for all of them: a parallel loop. Each worker claims
 * chunk indices at a time; 0: large chunks first, small ones at the end.
 *
 * A fn that fails its worker leaves the rest of that chunk undone; the other
 * chunks are done all the same.
 *
 * Thread: any but a worker of this pool: DEADLOCK. Blocks: until all is done.
 * Errors: as vivero_pool_call without FULL and TIMED_OUT; of several, one. */
typedef void vivero_each_fn(struct vivero_self *self, size_t index, void *ctx);
VIVERO_API VIVERO_MUST_USE int vivero_pool_each(struct vivero_pool *pool,
                                                size_t count, size_t chunk,
                                                vivero_each_fn *fn, void *ctx);

/* ---- Cancelling what is still queued ----------------------------------- */

/* One message. Its caller, if any, is answered CANCELLED.
 * Errors: GONE when its handler has begun or it has ended any other way;
 * FORKED. */
VIVERO_API VIVERO_MUST_USE int vivero_pool_cancel(struct vivero_pool *pool,
                                                  struct vivero_message message);

/* All queued messages sent with this owner, or all there are.
 * Returns how many. */
VIVERO_API int vivero_pool_cancel_owner(struct vivero_pool *pool,
                                        const void *owner);
VIVERO_API int vivero_pool_cancel_all(struct vivero_pool *pool);

/* ---- The whole pool ---------------------------------------------------- */

/* Wait until every accepted message has been dealt with.
 * Misuse: in a worker of this pool. Blocks: up to timeout_ns.
 * Errors: TIMED_OUT; DOWN when the pool went down; CLOSING; FORKED. */
VIVERO_API VIVERO_MUST_USE int vivero_pool_wait_idle(struct vivero_pool *pool,
                                                     int64_t timeout_ns);

/* Let workers finish the message they run and take no other until resumed;
 * senders still queue. Idempotent. Does not wait. */
VIVERO_API void vivero_pool_suspend(struct vivero_pool *pool);
VIVERO_API void vivero_pool_resume(struct vivero_pool *pool);

/* Change the number of workers, to between 1 and workers_max; ids 1 to that
 * number. Growing returns when the new workers' init has run; it replaces those
 * that halted, and keeps those that were still leaving. Shrinking returns at
 * once and takes the highest ids away: no message is sent to them any more, what
 * is addressed to them is handled first, a running handler is not disturbed, and
 * they leave after linger_ns. Ids beyond the size answer NOT_FOUND.
 *
 * Errors: INVALID, LIMIT (the size is then what could be started), NO_MEMORY,
 * DOWN, CLOSING, DRAINING, FORKED, or the code with which an init failed.
 * Misuse: in a worker of this pool. */
VIVERO_API VIVERO_MUST_USE int vivero_pool_resize(struct vivero_pool *pool,
                                                  uint32_t workers);

/* How many workers messages are sent to: its size, less those that halted. */
VIVERO_API uint32_t vivero_pool_size(const struct vivero_pool *pool);

/* The pool's name. Valid until close; a child's until its spec is forgotten. */
VIVERO_API const char *vivero_pool_name(const struct vivero_pool *pool);

/* The pool whose handler the calling thread runs; NULL elsewhere. */
VIVERO_API struct vivero_pool *vivero_pool_current(void);

/* ---- Looking at it ----------------------------------------------------- */

/* accepted = handled + failed + expired + cancelled + dropped + dead + queued
 * + running, exactly when the pool is at rest. */
struct vivero_pool_snapshot {
    const char *name;
    uint32_t workers;      /* messages are sent to so many */
    uint32_t worker_count; /* entries of worker: those that still exist */
    uint64_t accepted;
    uint64_t rejected;     /* refused with FULL, or timed out for room */
    uint64_t handled;
    uint64_t failed;       /* the handler failed; its caller was told DOWN */
    uint64_t expired;      /* the deadline passed in the queue */
    uint64_t cancelled;
    uint64_t dropped;      /* by an overflow policy */
    uint64_t dead;         /* discarded because the pool went down or closed */
    uint64_t queued;
    uint64_t running;
    uint64_t boxed;        /* arguments that did not fit a cell: allocated */
    uint64_t restarts;
    uint64_t wake_ups;     /* sleeping workers woken */
    struct vivero_memory_stats memory;
    const struct vivero_worker_snapshot *worker;
    uint32_t abandoned;    /* replaced handlers that have not come back */
    uint32_t reserved;
};

/* Take a picture of the pool without stopping it; each number is true on its
 * own, together they are only when the pool is at rest.
 *
 * Owns: the caller, until vivero_pool_snapshot_free(). Blocks: never.
 * Errors: NO_MEMORY, FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_pool_snapshot(struct vivero_pool *pool,
                     const struct vivero_pool_snapshot **snapshot);
VIVERO_API void
vivero_pool_snapshot_free(const struct vivero_pool_snapshot *snapshot);

/* Print a snapshot for people: a line for the pool, one for each worker.
 * Errors: NO_MEMORY; IO when out refuses. */
VIVERO_API int vivero_pool_print(struct vivero_pool *pool, FILE *out);

VIVERO_END

#endif
