/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_FUTURE_H
#define VIVERO_FUTURE_H

/* The answers to calls that are not waited for on the spot.
 *
 *                  future | wait  wait_any  is_ready  abandon
 *   the same or another    |  -      -         -         -
 *
 *             completions | next   fd    close    a call with it
 *   next, fd, a call       |  -     -      1           -
 *
 * `-`: any number of threads at once. `1`: close wants the queue for itself. */

#include <vivero/api.h>
#include <vivero/error.h>
#include <vivero/exit.h>
#include <vivero/time.h>

#include <stdbool.h>

/* The answer to one call, some day: from vivero_pool_call_async(). A plain
 * value: copy it, keep it, use it from any thread. It has to be used up, by a
 * wait that returns the call's result or by vivero_future_abandon(); until then
 * it holds some memory, also when its pool was closed, which answers it
 * CLOSING. A used one stays harmless for ever. All zero: used up. */
struct vivero_future {
    uint32_t slot;
    uint32_t generation;
};

/* A queue of finished calls, for an event loop. */
struct vivero_completions;

/* One finished call. */
struct vivero_completion {
    void *tag; /* as given with the call */
    struct vivero_future future;
    int32_t result; /* what vivero_future_wait() will return */
    uint32_t reserved;
};

VIVERO_BEGIN

/* Wait for the answer, and use the future up. out receives the reply, only when
 * the result is 0; out_size is the size of the operation's reply. NULL and 0: it
 * is not wanted.
 *
 * Returns the call's result: 0 or a code as of vivero_pool_call(); a DOWN sets
 * vivero_last_exit(). TIMED_OUT: the deadline of the call passed while it was
 * queued. Apart from that,
 * AGAIN when this wait's own time-out passed: the future stays as it is;
 * DEADLOCK in a handler, when nobody but workers that wait for one another could
 * answer: the future stays;
 * INVALID for a wrong out_size: the future stays;
 * GONE when it was used up before, by anybody; FORKED.
 *
 * Blocks: up to timeout_ns; 0: not at all. */
VIVERO_API VIVERO_MUST_USE int vivero_future_wait(struct vivero_future future,
                                                  void *out, size_t out_size,
                                                  int64_t timeout_ns);

/* Wait until one of several futures has its answer. None is used up by this.
 * Those that were used up before are passed over.
 *
 * Its effort grows with count; for many futures, again and again, take a
 * completion queue.
 *
 * Blocks: up to timeout_ns; 0: not at all. A handler is not told of a deadlock
 * here.
 * Returns the index of one that is ready, the first of them; AGAIN when the
 * time-out passed; GONE when all were used up; INVALID for a count of 0 or more
 * than INT_MAX; FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_future_wait_any(const struct vivero_future *futures, size_t count,
                       int64_t timeout_ns);

/* The same, until each of them has its answer or was used up.
 * Returns 0; AGAIN; DEADLOCK as vivero_future_wait(); FORKED. */
VIVERO_API int vivero_future_wait_all(const struct vivero_future *futures,
                                      size_t count, int64_t timeout_ns);

/* Whether the answer is there, and was not used up. In a forked child: no. */
VIVERO_API bool vivero_future_is_ready(struct vivero_future future);

/* Use the future up without its answer. If the message is still queued it is
 * cancelled and its room is free at once; if its handler runs, that goes on, and
 * its reply is dropped. Harmless if it was used up before. */
VIVERO_API void vivero_future_abandon(struct vivero_future future);

/* ---- Completion queues --------------------------------------------------- */

/* Open a queue: vivero_pool_call_async() takes it in send->completions, with a
 * send->tag. It needs no bound: finished calls stand in the room they had while
 * they were under way. *queue is written only on success.
 * Errors: NO_MEMORY, LIMIT, FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_completions_open(struct vivero_completions **queue);

/* Abandon the futures of this queue that vivero_completions_next() has not
 * given out, and free it. Nobody else may use it any more. NULL is fine. */
VIVERO_API void vivero_completions_close(struct vivero_completions *queue);

/* Take the call that finished first. Its future is still to be used up, which
 * does not wait any more. Calls whose futures were used up already are not
 * among them.
 *
 * Blocks: up to timeout_ns; 0: not at all.
 * Errors: AGAIN when the time-out passed; FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_completions_next(struct vivero_completions *queue,
                        struct vivero_completion *completion,
                        int64_t timeout_ns);

/* A descriptor for poll(2), epoll(7) and the like: readable exactly while there
 * is something to take. Made on first use, closed with the queue. The program
 * never reads, writes or closes it (misuse).
 * Returns it, or LIMIT when there are no more descriptors, NO_MEMORY, FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_completions_fd(struct vivero_completions *queue);

VIVERO_END

#endif
