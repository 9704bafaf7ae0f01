/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_OPERATION_H
#define VIVERO_OPERATION_H

/* What a message asks for: a handler, its arguments, its reply. */

#include <vivero/api.h>

struct vivero_entity; /* the worker; only the library looks inside */

/* A handler's own worker. VIVERO_POOL_TYPE makes a distinct type with this same
 * shape for each kind of pool, so that workers of different pools cannot be
 * mixed up; the vivero_...(self, ...) macros below accept all of them. */
struct vivero_self {
    struct vivero_entity *entity;
};

/* Runs on one worker, one message at a time.
 *
 * in is the copied argument struct (NULL when the operation has none), out is
 * zeroed room for the reply (NULL for casts and for operations without one).
 * Both are valid until the handler returns.
 *
 * Returns 0: done, out is the reply. A negative number: that number is the
 * caller's result, nothing else happens, the worker lives on. A verdict: see
 * below. Any other positive number fails the worker. */
typedef int vivero_handler_fn(struct vivero_self *self, const void *in,
                              void *out);

enum vivero_verdict {
    VIVERO_REPLACE = 1, /* from vivero_replace(): the payload is a new one */
    VIVERO_HALT,        /* out is the reply, then this worker ends for good; a
                           pool whose last worker halts answers CLOSING */
    VIVERO_NO_REPLY,    /* vivero_reply_later() was called: answered later */
    VIVERO_FAIL,        /* from vivero_fail(): this incarnation ends */
    VIVERO_STOP,        /* from vivero_stop(): out is the reply, and this worker
                           ends for good, for that reason */
    VIVERO_STOP_NO_REPLY /* the same, but the caller is told DOWN instead */
};

/* One operation: what defsynch and defasynch write for a body, and what a
 * program without the macros writes by hand. Must live as long as messages
 * with it do; normally static. */
struct vivero_operation {
    const char *name;
    vivero_handler_fn *run;
    uint32_t in_size;  /* bytes of the argument struct; 0: none */
    uint32_t out_size; /* bytes of the reply; 0: none */
    uint32_t key_size; /* leading bytes of in that are the key for pools that
                          pick by key; 0: the name alone is */
    uint32_t line;     /* where it was written, for reports */
    const char *file;
};

/* An answer that is owed. A plain value: copy it, keep it, use it from any
 * thread. Using it a second time, or after the caller gave up, is harmless. */
struct vivero_reply_token {
    uint32_t slot;
    uint32_t generation;
};

/* A message in a mailbox; a plain value that may outlive it. */
struct vivero_message {
    uint32_t slot;
    uint32_t generation;
};

#endif
