/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_WORKER_SPAWN_H
#define VIVERO_WORKER_SPAWN_H

/* Plain functions as workers, which receive by hand; and foreign threads, main
 * among them, that attach themselves to receive messages, too. */

#include <vivero/entity.h>

struct vivero_self;

/* Runs on a thread of its own; its return is a normal end. */
typedef void vivero_spawn_fn(struct vivero_self *self, void *argument);

struct vivero_spawn_options {
    size_t size;
    const char *name;       /* registered; NULL: none */
    const char *label;      /* NULL: the name, else "spawned" */
    uint32_t mailbox_depth; /* 0: 1024 */
    bool trap_exits;
    size_t stack_size; /* bytes; 0: 256 KiB */
};

#define VIVERO_SPAWN_OPTIONS(...)                                              \
    (&(const struct vivero_spawn_options){                                     \
        .size = sizeof(struct vivero_spawn_options), __VA_ARGS__})

VIVERO_BEGIN

VIVERO_API void vivero_spawn_options_init(struct vivero_spawn_options *options);

/* Run fn as a worker; options NULL: all defaults. argument is handed over as it
 * is. spawn_link and spawn_monitor leave no moment in which the end could be
 * missed. Returns at once.
 * Errors: EXISTS (and *ref is the holder), INVALID, NO_MEMORY, LIMIT, FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_spawn(const struct vivero_spawn_options *options, vivero_spawn_fn *fn,
             void *argument, struct vivero_ref *ref);
VIVERO_API VIVERO_MUST_USE int
vivero_spawn_link(const struct vivero_spawn_options *options,
                  vivero_spawn_fn *fn, void *argument, struct vivero_ref *ref);
VIVERO_API VIVERO_MUST_USE int
vivero_spawn_monitor(const struct vivero_spawn_options *options,
                     vivero_spawn_fn *fn, void *argument,
                     struct vivero_ref *ref, struct vivero_monitor *monitor);

/* The next message of the caller, a spawned function or an attached thread.
 *
 * An exit signal that is not trapped ends a spawned function here: it does not
 * return. An attached thread is told DOWN by its result, with the reason in
 * vivero_last_exit(), and has been detached by it.
 *
 * Blocks: up to timeout_ns; 0 or less: not at all.
 * Errors: TIMED_OUT; DOWN; FORKED. Misuse: in a worker with callbacks. */
VIVERO_API VIVERO_MUST_USE int vivero_receive(const struct vivero_info **info,
                                              int64_t timeout_ns);

/* Make the calling thread an entity; it traps exits from the start. options'
 * trap_exits and stack_size do not matter.
 * Errors: EXISTS when it is one already, or the name is taken; INVALID,
 * NO_MEMORY, FORKED. */
VIVERO_API VIVERO_MUST_USE int
vivero_attach(const struct vivero_spawn_options *options,
              struct vivero_ref *ref);

/* And end it, for a reason (NULL: normal), as a worker ends; the thread goes on.
 * Also done when the thread ends. Misuse: it was not attached. */
VIVERO_API void vivero_detach(const struct vivero_exit *reason);

VIVERO_END

#endif
