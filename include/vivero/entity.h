/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_ENTITY_H
#define VIVERO_ENTITY_H

/* What can be addressed: references, names, messages outside any protocol,
 * exit signals, links, monitors, timers.
 *
 * Workers on their own, supervisors and attached threads are entities. What is
 * said of "the caller" needs one: a worker's own thread, in a callback or a
 * spawned function, or a thread that has attached itself; elsewhere such a
 * call is misuse. Everything else may be called by any thread.
 *
 * Nothing here blocks, unless it says so. */

#include <vivero/api.h>
#include <vivero/error.h>
#include <vivero/exit.h>
#include <vivero/operation.h>
#include <vivero/ref.h>

#include <stdbool.h>

enum vivero_info_kind {
    VIVERO_INFO_MESSAGE = 1, /* vivero_tell() and its timers */
    VIVERO_INFO_REQUEST,     /* a call or cast, seen by a spawned function */
    VIVERO_INFO_EXIT,        /* a linked one ended, or an exit signal came,
                                and the receiver traps exits */
    VIVERO_INFO_DOWN,        /* a monitored one ended */
    VIVERO_INFO_TIMEOUT      /* nothing came for vivero_idle_timeout() */
};

/* What a worker is told outside calls and casts. Valid, with all it points to,
 * until the callback returns or the receiver receives again. */
struct vivero_info {
    enum vivero_info_kind kind;
    uint32_t tag;                  /* MESSAGE: the sender's */
    const void *data;              /* MESSAGE: a copy; REQUEST: the arguments;
                                      NULL: none. Aligned for any type */
    size_t size;                   /* of data */
    struct vivero_ref from;        /* MESSAGE, REQUEST: the sender, nobody if
                                      it was no entity; EXIT, DOWN: who ended */
    struct vivero_exit exit;       /* EXIT, DOWN: why */
    struct vivero_monitor monitor; /* DOWN */
    const struct vivero_operation *operation; /* REQUEST */
    struct vivero_reply_token token; /* REQUEST: of a call, for vivero_reply();
                                        all zero for a cast */
};

VIVERO_BEGIN

/* ---- References and names ------------------------------------------------- */

/* The entity that the calling thread is; nobody if it is none. */
VIVERO_API struct vivero_ref vivero_current(void);

/* Whether it has not ended. May be stale at once. */
VIVERO_API bool vivero_is_alive(struct vivero_ref ref);

static inline bool vivero_ref_equal(struct vivero_ref a, struct vivero_ref b)
{
    return a.slot == b.slot && a.generation == b.generation;
}

static inline bool vivero_ref_is_nobody(struct vivero_ref ref)
{
    return ref.generation == 0;
}

/* Give a living entity a name of its own, up to 63 bytes, copied; it is free
 * again when the entity ends, before anybody is told of that.
 * Errors: EXISTS when the name is taken or the entity has one; GONE; INVALID
 * for an empty or longer name; NO_MEMORY; FORKED. */
VIVERO_API VIVERO_MUST_USE int vivero_register(struct vivero_ref ref,
                                               const char *name);
/* Errors: NOT_FOUND, FORKED. */
VIVERO_API int vivero_unregister(const char *name);

/* Who has this name; nobody if it is free. */
VIVERO_API struct vivero_ref vivero_whereis(const char *name);

/* ---- Messages -------------------------------------------------------------- */

/* Send it a message outside any protocol: size bytes at data, copied. What one
 * sender sends to one receiver arrives in order, calls and casts included.
 * Ignoring the result is fine.
 *
 * Errors: GONE; FULL when its mailbox is full; LIMIT when size is larger than a
 * mebibyte; NO_MEMORY; FORKED. */
VIVERO_API int vivero_tell(struct vivero_ref to, uint32_t tag, const void *data,
                           size_t size);

/* The same after a while, or at an instant of vivero_now(); at once when that
 * has passed. To an entity that has ended by then it goes nowhere; in a full
 * mailbox there is room for it. timer may be NULL.
 * Errors: GONE, LIMIT, NO_MEMORY, FORKED. */
VIVERO_API int vivero_tell_after(struct vivero_ref to, int64_t delay_ns,
                                 uint32_t tag, const void *data, size_t size,
                                 struct vivero_timer *timer);
VIVERO_API int vivero_tell_at(struct vivero_ref to, int64_t instant_ns,
                              uint32_t tag, const void *data, size_t size,
                              struct vivero_timer *timer);
/* To whoever has the name when the time has come. GONE when nobody has it now
 * and the caller is no entity; INVALID for a name that cannot be. */
VIVERO_API int vivero_tell_name_after(const char *name, int64_t delay_ns,
                                      uint32_t tag, const void *data,
                                      size_t size, struct vivero_timer *timer);

/* Take a timer back; *left_ns, if not NULL, is what was left of its time. What
 * has been delivered stays where it is. Errors: GONE: it has fired, or was
 * taken back. */
VIVERO_API int vivero_timer_cancel(struct vivero_timer timer, int64_t *left_ns);
/* How much is left. Errors: GONE as above; FORKED in both. */
VIVERO_API int vivero_timer_read(struct vivero_timer timer, int64_t *left_ns);

/* ---- Exit signals and links -------------------------------------------------- */

/* Ask it to end for a reason. KILL ends it before its next message, whatever it
 * says; others see KILLED. Of any other reason one that traps exits is told by
 * VIVERO_INFO_EXIT; one that does not ends with it before its next message, but
 * NORMAL is ignored, unless the caller means itself. A worker with callbacks
 * that traps exits ends all the same when its parent signals: its supervisor, or
 * who started it linked.
 *
 * Never interrupts a running callback; vivero_should_stop() sees it.
 * Errors: GONE; INVALID for kind NONE; NO_MEMORY; FORKED. */
VIVERO_API int vivero_signal(struct vivero_ref to,
                             const struct vivero_exit *reason);

/* The signal KILL. Errors: GONE, NO_MEMORY, FORKED. */
VIVERO_API int vivero_kill(struct vivero_ref to);

/* Whether the caller is told of exits instead of ending with them; returns what
 * it was before. */
VIVERO_API bool vivero_trap_exits(bool trap);

/* Tie the caller's end to another's: when one ends, the other gets its reason
 * as an exit signal. Idempotent; one unlink removes it. Linking to one that has
 * ended sends the caller NOBODY as a signal.
 * Errors: NO_MEMORY, FORKED; FENCED when the caller was declared dead; GONE when
 * the other has ended and the caller does not trap exits: it is about to end. */
VIVERO_API int vivero_link(struct vivero_ref other);

/* No signal of this link arrives after this, except one that stands in the
 * caller's mailbox already; with flush that one is taken out, too.
 * Returns 0, also when there was no link. */
VIVERO_API int vivero_unlink(struct vivero_ref other, bool flush);

/* ---- Monitors ------------------------------------------------------------------ */

/* Have the caller told once, by VIVERO_INFO_DOWN, when target ends: after all
 * that target sent it, before anything that its successor sends. At once, with
 * NOBODY, when it has ended already. Each call is a monitor of its own.
 * Errors: NO_MEMORY, FORKED; FENCED when the caller was declared dead. */
VIVERO_API VIVERO_MUST_USE int vivero_monitor(struct vivero_ref target,
                                              struct vivero_monitor *monitor);

/* No DOWN of this monitor arrives after this; with flush one that stands in the
 * caller's mailbox already is taken out, and that is success.
 * Errors: GONE when it had fired, or was never the caller's; FORKED. */
VIVERO_API int vivero_demonitor(struct vivero_monitor monitor, bool flush);

VIVERO_END

#endif
