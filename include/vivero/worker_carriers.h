/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_WORKER_CARRIERS_H
#define VIVERO_WORKER_CARRIERS_H

/* Threads that many workers share: one with mail waits in a queue until a
 * thread is free, runs a few messages, and makes room for the next. */

#include <vivero/api.h>
#include <vivero/error.h>

struct vivero_carriers;

struct vivero_carriers_options {
    size_t size;
    const char *name;     /* of the threads: "NAME/1"; NULL: "carriers" */
    uint32_t threads;     /* 0: one per usable CPU */
    uint32_t threads_max; /* with those that stand in for threads whose worker
                             waits in a call; 0: 64 or threads, whichever is
                             more */
    size_t stack_size;    /* bytes; 0: 256 KiB */
};

#define VIVERO_CARRIERS_OPTIONS(...)                                           \
    (&(const struct vivero_carriers_options){                                  \
        .size = sizeof(struct vivero_carriers_options), __VA_ARGS__})

VIVERO_BEGIN

VIVERO_API void
vivero_carriers_options_init(struct vivero_carriers_options *options);

/* Errors: INVALID, NO_MEMORY, LIMIT, FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_carriers_open(const struct vivero_carriers_options *options,
                     struct vivero_carriers **carriers);

/* Stop the workers that are still carried, with reason shutdown, and then the
 * threads. Blocks: until all have ended. Misuse: on one of these threads. */
VIVERO_API void vivero_carriers_close(struct vivero_carriers *carriers);

VIVERO_END

#endif
