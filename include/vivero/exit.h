/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_EXIT_H
#define VIVERO_EXIT_H

#include <vivero/api.h>

/* Why a worker's incarnation ended. The kind decides whether it is restarted,
 * the code and the text are for callers and reports. */
enum vivero_exit_kind {
    VIVERO_EXIT_NONE = 0,      /* it has not ended */
    VIVERO_EXIT_NORMAL,        /* it was finished (VIVERO_HALT) */
    VIVERO_EXIT_SHUTDOWN,      /* it was asked to stop */
    VIVERO_EXIT_FAILED,        /* vivero_fail() or vivero_exit() in a handler */
    VIVERO_EXIT_INIT_FAILED,   /* its init callback returned an error */
    VIVERO_EXIT_THREAD_LEFT,   /* a handler called pthread_exit() */
    VIVERO_EXIT_RESTART_LIMIT, /* the restart budget was spent */
    VIVERO_EXIT_SHUTDOWN_WITH, /* it was asked to stop, and told why: code */
    VIVERO_EXIT_KILLED,        /* VIVERO_EXIT_KILL reached it, or the time to
                                  stop ran out */
    VIVERO_EXIT_KILL,          /* only as a signal: cannot be trapped; what
                                  others see of it is KILLED */
    VIVERO_EXIT_NOBODY,        /* there was no such worker ("noproc") */
    VIVERO_EXIT_TIMED_OUT,    /* its init took too long, or a wait of its own */
    VIVERO_EXIT_BAD_VALUE,    /* a callback returned no known verdict */
    VIVERO_EXIT_IGNORED,      /* its init wanted no worker */
    VIVERO_EXIT_HUNG_CPU,     /* fenced: its handler computed for too long */
    VIVERO_EXIT_HUNG_BLOCKED, /* fenced: its handler waited for too long */
    VIVERO_EXIT_FENCED,       /* what a fenced one sees of its own end */
    VIVERO_EXIT_FAULT,        /* a signal of its own making; code: which */
    VIVERO_EXIT_DRAINED       /* the process is being drained after a fault */
};

#define VIVERO_EXIT_TEXT_MAX 56

struct vivero_exit {
    enum vivero_exit_kind kind;
    int code;                        /* the application's number */
    char text[VIVERO_EXIT_TEXT_MAX]; /* ends in NUL, truncated if need be */
};

VIVERO_BEGIN

/* A kind as one lower-case word: "failed", "restart_limit". Static text. */
VIVERO_API const char *vivero_exit_kind_name(enum vivero_exit_kind kind);

/* A reason as a value; text is copied and cut, NULL is "". */
VIVERO_API struct vivero_exit vivero_reason(enum vivero_exit_kind kind,
                                            int code, const char *text);

/* Whether an ending is no failure: normal, shutdown, shutdown with a reason. */
VIVERO_API int vivero_exit_is_clean(const struct vivero_exit *exit);

/* The reason behind the latest VIVERO_E_DOWN this thread was given.
 *
 * Owns: nothing; valid until this thread's next call into a pool. All zero
 * (kind NONE) when there has been none. */
VIVERO_API const struct vivero_exit *vivero_last_exit(void);

VIVERO_END

#endif
