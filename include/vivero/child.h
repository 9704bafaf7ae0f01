/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_CHILD_H
#define VIVERO_CHILD_H

/* Kinds of children: what a supervisor has to know of a worker, a pool, another
 * supervisor, or the program's own thing. */

#include <vivero/api.h>
#include <vivero/exit.h>
#include <vivero/ref.h>

/* What a kind of child is given to start with. */
struct vivero_child_start {
    struct vivero_ref child; /* names this incarnation, in all that follows */
    const void *options;     /* the spec's, as copied */
    const void *argument;    /* given to start_child; NULL: none */
    size_t argument_size;
    void *shared;         /* open_shared's; NULL: none */
    uint64_t incarnation; /* 0 at first */
};

/* How a supervisor starts and ends one kind of child. All but copy and release
 * are called on the supervisor's thread, under no lock, and must not block for
 * long: what takes time says so and reports later, from any thread, with
 * vivero_child_started() and vivero_child_ended(). What is asked of a child that
 * has just ended is to be ignored. Static, as long as the supervisor lives. */
struct vivero_child_ops {
    size_t size;      /* sizeof(struct vivero_child_ops) */
    const char *kind; /* for reports: "worker", "pool" */
    /* Returns 0: it is up; VIVERO_CHILD_STARTING: vivero_child_started() will
     * tell; VIVERO_IGNORE: there will be none, and that is fine; negative: it
     * could not, and nothing of it is left. */
    int (*start)(const struct vivero_child_start *start);
    /* Have it end for this reason; vivero_child_ended() tells. NULL: it is
     * killed. */
    void (*stop)(struct vivero_ref child, const struct vivero_exit *reason,
                 const void *options);
    /* Its time is up, or it is to be killed brutally: the supervisor counts it
     * as ended when this returns, and whatever it reports later as nothing.
     * NULL: nothing is done, it is forgotten. */
    void (*kill)(struct vivero_ref child, const void *options);
    /* A copy of options that the supervisor keeps; NULL: no memory. And its
     * release. Both NULL: the options stay where they are for as long as the
     * supervisor lives. Thread: any. */
    void *(*copy)(const void *options);
    void (*release)(void *options);
    /* What all children of this kind under one dynamic supervisor share, but
     * those with own_thread: made with the first of them, from the supervisor's
     * .carriers; closed when the last child has ended. NULL: nothing. */
    int (*open_shared)(uint32_t carriers, void **shared);
    void (*close_shared)(void *shared);
};

/* What start may return besides 0 and errors. */
#define VIVERO_IGNORE 1
#define VIVERO_CHILD_STARTING 2

VIVERO_BEGIN

/* After VIVERO_CHILD_STARTING: it is up (0), VIVERO_IGNORE, or failed (negative).
 * Thread: any. Harmless when it was given up meanwhile. */
VIVERO_API void vivero_child_started(struct vivero_ref child, int error);

/* It has ended, by itself or because it was asked. */
VIVERO_API void vivero_child_ended(struct vivero_ref child,
                                   const struct vivero_exit *reason);

VIVERO_END

#endif
