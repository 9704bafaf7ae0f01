/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_SEND_H
#define VIVERO_SEND_H

/* How a message is sent, to a pool or to a worker on its own. */

#include <vivero/api.h>
#include <vivero/future.h>
#include <vivero/operation.h>

/* What to do with a message when every mailbox that may take it is full. */
enum vivero_full {
    VIVERO_FULL_DEFAULT = 0,
    VIVERO_FULL_WAIT,        /* wait for room until the deadline: TIMED_OUT */
    VIVERO_FULL_REJECT,      /* answer FULL at once */
    VIVERO_FULL_DROP_OLDEST, /* the oldest queued message makes room; if it was
                                a call, its caller is answered FULL */
    VIVERO_FULL_DROP_NEWEST  /* this one is dropped: a cast returns 0 all the
                                same, a call answers FULL; both are counted */
};

/* How one message wants to be sent. NULL or all zero: as the pool says. */
struct vivero_send {
    size_t size;        /* set by VIVERO_SEND */
    const void *key;    /* same key, same worker, in order, while the number of
                           workers does not change; NULL: none */
    uint32_t key_size;  /* bytes of key */
    uint32_t worker;    /* this worker and no other; 0: any */
    int64_t timeout_ns; /* of a call: 0: the pool's; of a cast: how long it may
                           wait for room and then in the queue, 0: the pool's
                           call_timeout_ns for room, for ever in the queue.
                           VIVERO_NONE: do not wait */
    const void *owner;  /* tag for vivero_pool_cancel_owner; NULL: none */
    struct vivero_message *message; /* where to put the message's handle for
                                       vivero_pool_cancel; may be NULL */
    struct vivero_completions *completions; /* of vivero_pool_call_async, which
                                       puts the call there when it is finished;
                                       NULL: nowhere. INVALID elsewhere */
    void *tag; /* comes back with that completion */
};

#define VIVERO_SEND(...)                                                       \
    (&(const struct vivero_send){.size = sizeof(struct vivero_send),           \
                                 __VA_ARGS__})

VIVERO_BEGIN

/* For languages without designated initialisers: all defaults, and size. */
VIVERO_API void vivero_send_init(struct vivero_send *send);

VIVERO_END

#endif
