/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_WORKER_H
#define VIVERO_WORKER_H

/* A worker on its own: a state, a bounded mailbox, callbacks that handle one
 * message at a time. What a handler sees of its worker is in worker_self.h.
 *
 *             call  cast  tell  suspend  get_state  stop
 *   all        -     -     -      -         -        -
 *
 * `-`: any number of threads at once. Every function takes a reference and
 * answers GONE when the worker has ended. */

#include <vivero/api.h>
#include <vivero/child.h>
#include <vivero/entity.h>
#include <vivero/error.h>
#include <vivero/fault.h>
#include <vivero/future.h>
#include <vivero/send.h>
#include <vivero/time.h>
#include <vivero/worker_self.h>

#include <stdbool.h>

struct vivero_carriers; /* threads that many workers share */

/* A message from outside calls and casts: what vivero_tell() sent, exits and
 * monitors, the idle time-out. Returns what a handler does, without a reply.
 * One that has no on_info logs what it is told, except exits of its own
 * parent's making, and goes on. */
typedef int vivero_info_fn(struct vivero_self *self,
                           const struct vivero_info *info, void *ctx);

/* What vivero_continue() asked for: runs before the next message. Returns what a
 * handler does, without a reply. */
typedef int vivero_continue_fn(struct vivero_self *self, uint32_t tag,
                               void *ctx);

/* "VIVERO_NONE" is an explicit zero where it is allowed. */
struct vivero_worker_options {
    size_t size;
    const char *name;    /* registered before init runs; NULL: none */
    const char *label;   /* for reports and the thread's name; NULL: the name,
                            else "worker" */
    size_t payload_size; /* 0: none */
    vivero_init_fn *init;
    vivero_terminate_fn *terminate; /* the OTP rule: see vivero_worker.3 */
    vivero_destroy_fn *destroy;     /* always; of one that was given up when its
                                       callback has come back */
    vivero_info_fn *on_info;
    vivero_continue_fn *on_continue;
    void *ctx;            /* handed to all callbacks above */
    const void *argument; /* of this start, for vivero_argument(); copied */
    size_t argument_size;
    uint32_t mailbox_depth;     /* 0: 1024; at most 1048576 */
    enum vivero_full full_call; /* default WAIT */
    enum vivero_full full_cast; /* default REJECT */
    int64_t call_timeout_ns;    /* 0: five seconds */
    int64_t start_timeout_ns;   /* how long start waits for init; 0: for ever */
    int64_t spin_ns;            /* as a pool's */
    bool trap_exits;
    bool quiet; /* an init that fails is not logged */
    struct vivero_carriers
        *carriers;          /* share these; NULL: a thread of its own */
    size_t stack_size;      /* bytes; 0: 256 KiB */
    int64_t hang_report_ns; /* a callback that runs so long is logged, once; 0:
                               ten seconds; VIVERO_NONE: never */
    int64_t deadline_ns;    /* of one callback, from its begin or its latest
                               vivero_alive(); 0: none; at least 10 ms */
    enum vivero_on_hang on_hang; /* at the deadline; REPLACE: declared dead, a
                                    supervisor starts another one */
    uint32_t reserved;
};

#define VIVERO_WORKER_OPTIONS(...)                                             \
    (&(const struct vivero_worker_options){                                    \
        .size = sizeof(struct vivero_worker_options), __VA_ARGS__})

VIVERO_BEGIN

VIVERO_API void
vivero_worker_options_init(struct vivero_worker_options *options);

/* ---- Life ------------------------------------------------------------------ */

/* Start a worker: its init has run when this returns. init may return
 * VIVERO_IGNORE: it wants no worker.
 *
 * The link of start_link stands before init runs: the caller (which must be an
 * entity) cannot miss the end. When the start fails its name is free again
 * before the caller has the answer, and the link sends nothing.
 *
 * Returns 0 and *ref; VIVERO_IGNORE, then *ref is nobody.
 * Blocks: until init has returned, at most start_timeout_ns.
 * Errors: EXISTS when the name is taken, and *ref is its holder; TIMED_OUT, and
 * the worker is killed; DOWN when it was ended before it was up:
 * vivero_last_exit(); INVALID, NO_MEMORY, LIMIT, FORKED; or the negative code
 * with which init failed. */
VIVERO_API VIVERO_MUST_USE int
vivero_worker_start(const struct vivero_worker_options *options,
                    struct vivero_ref *ref);
VIVERO_API VIVERO_MUST_USE int
vivero_worker_start_link(const struct vivero_worker_options *options,
                         struct vivero_ref *ref);
VIVERO_API VIVERO_MUST_USE int
vivero_worker_start_monitor(const struct vivero_worker_options *options,
                            struct vivero_ref *ref,
                            struct vivero_monitor *monitor);

/* The same with payload_size set to the given one, whatever options says, and
 * linked if `link`: what VIVERO_WORKER_TYPE's functions call. */
VIVERO_API VIVERO_MUST_USE int
vivero_worker_start_payload(const struct vivero_worker_options *options,
                            size_t payload_size, int link,
                            struct vivero_ref *ref);

/* As a supervisor's child: .ops = &vivero_child_worker, .options = its options,
 * which are copied with their strings and the argument. In a dynamic supervisor
 * it shares the supervisor's carriers unless its spec says own_thread or its
 * options name others. Asked to stop it ends as an exit signal of its parent
 * ends it: terminate hears of that if it traps exits. */
VIVERO_API extern const struct vivero_child_ops vivero_child_worker;

/* Have it end for a reason, NULL: normal, and wait until it has: after the
 * running message, before the next, terminate is called with it.
 *
 * Blocks: up to timeout_ns. Thread: any; on itself DEADLOCK.
 * Errors: GONE; TIMED_OUT, it will still end; DOWN when it ended for another
 * reason: vivero_last_exit(); UNSUPPORTED: no worker; NO_MEMORY; FORKED. */
VIVERO_API int vivero_worker_stop(struct vivero_ref ref,
                                  const struct vivero_exit *reason,
                                  int64_t timeout_ns);

/* ---- Messages ---------------------------------------------------------------- */

/* As vivero_pool_call and vivero_pool_cast, for one worker; send's worker, key
 * and owner do not matter, a cast's result may be ignored.
 *
 * Errors of a call: GONE at once when there is no such worker; UNSUPPORTED when
 * ref names an entity of another kind; DOWN when it ends
 * before the answer, vivero_last_exit() says why; TIMED_OUT; FULL; DEADLOCK for
 * a call on itself or in a circle; CANCELLED; NO_MEMORY; LIMIT; FORKED; or what
 * the handler returned. */
VIVERO_API int vivero_worker_call(struct vivero_ref ref,
                                  const struct vivero_operation *operation,
                                  const void *in, void *out,
                                  const struct vivero_send *send);
VIVERO_API int vivero_worker_cast(struct vivero_ref ref,
                                  const struct vivero_operation *operation,
                                  const void *in,
                                  const struct vivero_send *send);

/* A call that is not waited for: see <vivero/future.h>. future may be NULL with
 * send->completions. Never waits for an answer; in a worker not for room either.
 * Errors: as of a call, for what is known before the message is queued. */
VIVERO_API VIVERO_MUST_USE int
vivero_worker_call_async(struct vivero_ref ref,
                         const struct vivero_operation *operation,
                         const void *in, const struct vivero_send *send,
                         struct vivero_future *future);

/* Take back a message that is still queued, by the handle that send->message
 * received; its caller, if any, is answered CANCELLED.
 * Errors: GONE when its handler has begun, or it has ended any other way;
 * FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_worker_cancel(struct vivero_ref ref, struct vivero_message message);

/* ---- For those who look after it ------------------------------------------------ */

/* Let it handle no message, until resumed; it can still be looked at, and
 * stopped. Waits until the running message is over.
 * Errors of these four: GONE, DOWN, TIMED_OUT, DEADLOCK on itself, UNSUPPORTED,
 * NO_MEMORY, FORKED; INVALID when size is not its payload's. */
VIVERO_API int vivero_worker_suspend(struct vivero_ref ref, int64_t timeout_ns);
VIVERO_API int vivero_worker_resume(struct vivero_ref ref, int64_t timeout_ns);
/* Copy its payload's bytes, between two messages; or replace them, after
 * destroy has released the old ones. */
VIVERO_API int vivero_worker_get_state(struct vivero_ref ref, void *payload,
                                       size_t size, int64_t timeout_ns);
VIVERO_API int vivero_worker_replace_state(struct vivero_ref ref,
                                           const void *payload, size_t size,
                                           int64_t timeout_ns);

/* What can be seen of it from outside, without its help. */
struct vivero_worker_info {
    struct vivero_worker_snapshot worker; /* payload is always NULL, id and
                                             oldest_age_ns 0 */
    char name[64];                        /* "" without one */
    char label[64];
    uint32_t links;
    uint32_t monitors;  /* that others hold on it */
    uint32_t monitored; /* that it holds on others */
    bool traps_exits;
    bool suspended;
    bool shares_carriers;
    unsigned char reserved;
};
/* Errors: GONE, FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_worker_info(struct vivero_ref ref, struct vivero_worker_info *info);

/* ---- In a callback of the worker -------------------------------------------------- */

/* The bytes given as its start's argument; NULL: none. */
#define vivero_argument(self_) vivero_entity_argument((self_)->entity)
VIVERO_API const void *
vivero_entity_argument(const struct vivero_entity *entity);

/* End for good with a reason, after terminate: `return vivero_stop(self, &why)`.
 * In a call the reply is sent after terminate has run. To leave the caller with
 * DOWN and the reason instead, return VIVERO_STOP_NO_REPLY after it. */
#define vivero_stop(self_, reason_)                                            \
    vivero_entity_stop((self_)->entity, (reason_))
VIVERO_API VIVERO_MUST_USE int
vivero_entity_stop(struct vivero_entity *entity,
                   const struct vivero_exit *reason);

/* As vivero_exit(), with any reason. */
VIVERO_NORETURN VIVERO_API void
vivero_exit_with(const struct vivero_exit *reason);

/* Have on_continue run after this callback, before any message. */
#define vivero_continue(self_, tag_)                                           \
    vivero_entity_continue((self_)->entity, (tag_))
VIVERO_API void vivero_entity_continue(struct vivero_entity *entity,
                                       uint32_t tag);

/* If no message at all comes within this time, on_info is told TIMEOUT, once.
 * Any message ends the wait; 0: if none waits already. */
#define vivero_idle_timeout(self_, timeout_ns_)                                \
    vivero_entity_idle_timeout((self_)->entity, (timeout_ns_))
VIVERO_API void vivero_entity_idle_timeout(struct vivero_entity *entity,
                                           int64_t timeout_ns);

/* The caller's own dictionary, gone when it ends. The key is copied; *old, if
 * not NULL, is what stood there before: NULL if nothing did. get and delete
 * return it. Misuse: the caller is no entity. Errors: NO_MEMORY. */
VIVERO_API int vivero_dictionary_put(const char *key, void *value, void **old);
VIVERO_API void *vivero_dictionary_get(const char *key);
VIVERO_API void *vivero_dictionary_delete(const char *key);

VIVERO_END

#endif
