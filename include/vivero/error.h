/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_ERROR_H
#define VIVERO_ERROR_H

#include <vivero/api.h>

/* The one list of error codes. Functions return 0 or a count on success and
 * one of these negative numbers on failure. Numbers are never reused. */
#define VIVERO_ERRORS(E)                                                      \
    E(NO_MEMORY, -1, "out of memory")                                         \
    E(INVALID, -2, "an argument or option is not valid")                      \
    E(FULL, -3, "the mailbox is full")                                        \
    E(TIMED_OUT, -4, "the deadline passed")                                   \
    E(GONE, -5, "the worker this reference names has ended")                  \
    E(DOWN, -6, "the worker failed while it held the message")                \
    E(CLOSING, -7, "the object is shutting down")                             \
    E(DRAINING, -8, "the object is being drained and takes nothing new")      \
    E(DEADLOCK, -9, "waiting here could never end")                           \
    E(EXISTS, -10, "the name or key is taken")                                \
    E(NOT_FOUND, -11, "no such worker, child, name or key")                   \
    E(LIMIT, -12, "a limit of the object or of the system is reached")        \
    E(AGAIN, -13, "not now, try again")                                       \
    E(UNSUPPORTED, -14, "not supported by this build or system")              \
    E(DENIED, -15, "not permitted")                                           \
    E(FENCED, -16, "the caller has been replaced and may not act any more")   \
    E(FORKED, -17, "this is a forked child, its parent's threads are absent") \
    E(CANCELLED, -18, "cancelled before it was handled")                      \
    E(MALFORMED, -19, "the text or data cannot be understood")                \
    E(NEVER, -20, "there is no such instant")                                 \
    E(CORRUPT, -21, "stored data is damaged")                                 \
    E(IO, -22, "an input or output operation failed")

enum vivero_error {
    VIVERO_OK = 0,
#define VIVERO_ERROR_ENTRY(name_, value_, text_) VIVERO_E_##name_ = (value_),
    VIVERO_ERRORS(VIVERO_ERROR_ENTRY)
#undef VIVERO_ERROR_ENTRY
};

VIVERO_BEGIN

/* The English sentence for a code; "ok" for 0 and for counts, and a fixed
 * "error N of the application" (without the number) for a negative code that
 * is not in the list, since handlers may answer with codes of their own. The
 * text is static. */
VIVERO_API const char *vivero_strerror(int error);

/* The name of a code as written in the source, without its prefix:
 * "TIMED_OUT"; "OK" for 0 and counts, "APPLICATION" for unlisted codes. */
VIVERO_API const char *vivero_error_name(int error);

/* A caller's bug (NULL where forbidden, a closed pool, a close from inside a
 * handler) stops the program: the library calls this hook with the sentence
 * and, if the hook returns, aborts. NULL restores the default, which writes
 * the sentence to standard error.
 *
 * A test may leave the hook by longjmp; the object named in the sentence must
 * not be used again after that. Thread: any, but not while pools are open. */
typedef void vivero_misuse_fn(const char *sentence, void *ctx);
VIVERO_API void vivero_set_misuse_hook(vivero_misuse_fn *hook, void *ctx);

VIVERO_END

#endif
