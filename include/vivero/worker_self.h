/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_WORKER_SELF_H
#define VIVERO_WORKER_SELF_H

/* A worker: its callbacks, what a handler sees of it, a picture of it. */

#include <vivero/api.h>
#include <vivero/exit.h>
#include <vivero/operation.h>

#include <stdio.h>

/* A callback on a worker's own thread, between messages.
 *
 * init fills payload (zeroed, payload_size bytes) before the first message of
 * every incarnation; negative: this start failed. terminate sees the reason of
 * an incarnation's end while the payload is still whole. destroy releases what
 * the payload owns; it runs for every payload whose init succeeded, last. */
typedef int vivero_init_fn(struct vivero_self *self, void *payload, void *ctx);
typedef void vivero_terminate_fn(struct vivero_self *self, void *payload,
                                 const struct vivero_exit *reason, void *ctx);
typedef void vivero_destroy_fn(void *payload, void *ctx);

/* Writes one line, without newline, about a payload. Called by snapshots while
 * the worker is held between two messages, on the snapshot's thread. */
typedef void vivero_print_payload_fn(const void *payload, FILE *out, void *ctx);

/* Around a worker's thread. on_start and on_stop are its first and last act; a
 * runner encloses its whole life and must call body(arg) exactly once. */
typedef void vivero_thread_hook_fn(uint32_t worker, void *ctx);
typedef void vivero_runner_fn(void (*body)(void *arg), void *arg, void *ctx);

enum vivero_worker_state {
    VIVERO_WORKER_ABSENT = 0, /* no thread yet, or ended for good */
    VIVERO_WORKER_STARTING,   /* in init */
    VIVERO_WORKER_IDLE,
    VIVERO_WORKER_BUSY,       /* in a handler */
    VIVERO_WORKER_RESTARTING, /* failed, waits for its supervisor */
    VIVERO_WORKER_LEAVING     /* taken away by resize, busy or not */
};

struct vivero_worker_snapshot {
    uint32_t id;
    enum vivero_worker_state state;
    uint32_t queued; /* messages waiting in its mailbox */
    uint32_t reserved;
    int64_t oldest_age_ns; /* of the first of them; 0: none. Good to 4 ms */
    int64_t busy_for_ns;   /* in the running handler; 0: none. Good to 4 ms */
    const char *operation; /* name of the running one; NULL: none */
    const char *payload;   /* print_payload's text; NULL: no printer, or the
                               worker was busy */
    uint64_t handled;      /* handlers that returned */
    uint64_t failed;       /* handlers that failed */
    uint64_t stolen;       /* of both, taken from a sibling's mailbox */
    uint64_t restarts;
    struct vivero_exit last_exit; /* of its latest incarnation that ended */
};

VIVERO_BEGIN

/* This worker's number in its pool, from 1; 0: a worker on its own. */
#define vivero_id(self_) vivero_entity_id((self_)->entity)
VIVERO_API uint32_t vivero_entity_id(const struct vivero_entity *entity);

/* This worker's payload: payload_size bytes, aligned for any type.
 * Owns: the worker; valid until the handler returns. */
#define vivero_payload(self_) vivero_entity_payload((self_)->entity)
VIVERO_API void *vivero_entity_payload(const struct vivero_entity *entity);

/* The name of the worker as in reports: "thumbs/3". */
#define vivero_name(self_) vivero_entity_name((self_)->entity)
VIVERO_API const char *vivero_entity_name(const struct vivero_entity *entity);

/* How many incarnations this worker had before this one; 0 at first, and of a
 * worker on its own, which is a new one each time. */
#define vivero_incarnation(self_) vivero_entity_incarnation((self_)->entity)
VIVERO_API uint64_t
vivero_entity_incarnation(const struct vivero_entity *entity);

/* Replace the payload: the pool's destroy callback releases the old one, the
 * bytes of the new one are copied in. Use as `return vivero_replace(...)`.
 * Misuse: from outside this worker's handler. */
#define vivero_replace(self_, payload_)                                        \
    vivero_entity_replace((self_)->entity, (payload_))
VIVERO_API VIVERO_MUST_USE int
vivero_entity_replace(struct vivero_entity *entity, const void *payload);

/* End this incarnation with a reason: `return vivero_fail(self, 13, "why")`.
 * The caller of the message gets VIVERO_E_DOWN with the reason, the pool's
 * supervisor starts the worker anew. text is copied; NULL is "". */
#define vivero_fail(self_, code_, text_)                                       \
    vivero_entity_fail((self_)->entity, (code_), (text_))
VIVERO_API VIVERO_MUST_USE int vivero_entity_fail(struct vivero_entity *entity,
                                                  int code, const char *text);

/* The same from a deep call, without returning through it: a jump to the
 * worker's loop. The rules of longjmp hold: no C++ frame with destructors, no
 * open pthread_cleanup_push and no lock held in between.
 * In init it makes the start fail, with code if that is negative, else DOWN.
 * In terminate of a worker on its own its reason takes the place of the other.
 * Misuse: elsewhere. */
VIVERO_NORETURN VIVERO_API void vivero_exit(int code, const char *text);

/* Answer the running call later, from any thread: take the token, hand it to
 * whoever will answer, `return VIVERO_NO_REPLY`. Should the worker end before
 * the answer is given, the caller gets VIVERO_E_DOWN.
 * Errors: INVALID when the running message is a cast. */
#define vivero_reply_later(self_, token_)                                      \
    vivero_entity_reply_later((self_)->entity, (token_))
VIVERO_API VIVERO_MUST_USE int
vivero_entity_reply_later(struct vivero_entity *entity,
                          struct vivero_reply_token *token);

/* Give the owed answer: size bytes at reply, which must be the operation's
 * out_size; or an error code of any kind (negative).
 *
 * Thread: any. Blocks: never.
 * Errors: GONE when the caller gave up, the worker ended or the answer was
 * given before; INVALID when the size or the sign is wrong, and then the
 * answer is still owed. */
VIVERO_API int vivero_reply(struct vivero_reply_token token, const void *reply,
                            size_t size);
VIVERO_API int vivero_reply_error(struct vivero_reply_token token, int error);

/* Threads that were given up, since a callback did not return in time, and still
 * run; process-wide. */
VIVERO_API uint32_t vivero_abandoned_threads(void);

VIVERO_END

#endif
