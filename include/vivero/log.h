/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_LOG_H
#define VIVERO_LOG_H

#include <vivero/api.h>

/* The library itself prints nothing. What it has to say goes to one sink. */
enum vivero_log_level {
    VIVERO_LOG_ERROR = 1, /* something was lost or went down */
    VIVERO_LOG_WARNING,   /* a worker failed, a bound was hit, a soft failure */
    VIVERO_LOG_INFO,      /* pools opened and closed, workers restarted */
    VIVERO_LOG_DEBUG      /* everything else */
};

struct vivero_log_field {
    const char *name;
    const char *value;
};

struct vivero_log_event {
    enum vivero_log_level level;
    const char *component; /* "pool", "worker", "supervisor", ... */
    const char *object;    /* the object's name: "thumbs", "thumbs/3" */
    const char *message;   /* one sentence, no newline */
    const struct vivero_log_field *fields;
    size_t field_count;
};

/* A sink is called on the thread that has something to say, never while the
 * library holds a lock; the event is valid during the call only. It must not
 * call into the object it is told about. */
typedef void vivero_log_fn(const struct vivero_log_event *event, void *ctx);

VIVERO_BEGIN

/* Send events up to and including level to sink; NULL: to nobody, which is
 * how the library starts. Thread: any; an event already under way may still
 * reach the old sink. */
VIVERO_API void vivero_log_set_sink(enum vivero_log_level level,
                                    vivero_log_fn *sink, void *ctx);

/* Ready sinks; ctx is not used by any of them.
 *
 * stderr:  one line "vivero: warning: worker thumbs/3: text key=value ...".
 * syslog:  the same line through syslog(3), facility of the program.
 * journal: the native protocol of systemd-journald, one journal field per
 *          field; falls back to syslog when there is no journal. */
VIVERO_API void vivero_log_to_stderr(const struct vivero_log_event *event,
                                     void *ctx);
VIVERO_API void vivero_log_to_syslog(const struct vivero_log_event *event,
                                     void *ctx);
VIVERO_API void vivero_log_to_journal(const struct vivero_log_event *event,
                                      void *ctx);

/* "error", "warning", "info", "debug". Static text. */
VIVERO_API const char *vivero_log_level_name(enum vivero_log_level level);

VIVERO_END

#endif
