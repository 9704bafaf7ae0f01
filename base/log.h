/* SPDX-License-Identifier: MIT */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <vivero/log.h>

#include <stdbool.h>

/* Cheap: one relaxed load. */
bool vv_log_wants(enum vivero_log_level level);

/* Sends an event to the sink, if it is wanted. fields is `count` name/value
 * pairs. Never under a lock. */
void vv_log(enum vivero_log_level level, const char *component,
            const char *object, const struct vivero_log_field *fields,
            size_t field_count, const char *format, ...) VIVERO_PRINTF(6, 7);

/* Where vivero_log_to_journal() finds the journal; tests put theirs here. */
extern const char *vv_log_journal_path;

#endif
