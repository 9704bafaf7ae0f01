/* SPDX-License-Identifier: MIT */
/* single_child: a worker on its own as a supervisor's child.
 *
 * The supervisor made the reference and is told through its owner, so what is
 * here only starts and ends: a stop is an exit signal of the parent, whose
 * envelope is part of the worker; a kill declares it dead. */
#include <vivero/error.h>
#include <vivero/worker_carriers.h>

#include "worker/single_private.h"

#include <string.h>

/* ---- Options that the supervisor keeps ------------------------------------------- */

struct kept {
    struct vivero_worker_options options; /* first */
    size_t size;                          /* of the whole */
    unsigned char bytes[];
};

static size_t string_size(const char *string)
{
    return string != NULL ? strlen(string) + 1 : 0;
}

/* Move what *from points to behind the options. */
static const void *keep(unsigned char **at, const void *from, size_t size)
{
    void *kept = *at;

    if (from == NULL) {
        return NULL;
    }
    memcpy(kept, from, size);
    *at += size;
    return kept;
}

static void *copy(const void *from)
{
    struct vivero_worker_options options;
    struct kept *kept;
    unsigned char *at;
    size_t size;

    if (vv_worker_fill_options(&options, from) != VIVERO_OK) {
        /* Said by start, which is asked with the same. */
        memset(&options, 0, sizeof(options));
        options.mailbox_depth = UINT32_MAX;
    }
    size = sizeof(*kept) + options.argument_size + string_size(options.name) +
           string_size(options.label);
    kept = vv_allocate(NULL, size, _Alignof(max_align_t));
    if (kept == NULL) {
        return NULL;
    }
    at = kept->bytes;
    kept->options = options;
    kept->size = size;
    kept->options.argument = keep(&at, options.argument, options.argument_size);
    kept->options.name = keep(&at, options.name, string_size(options.name));
    kept->options.label = keep(&at, options.label, string_size(options.label));
    return kept;
}

static void release(void *options)
{
    struct kept *kept = options;

    vv_release(NULL, kept, kept->size, _Alignof(max_align_t));
}

/* ---- Starting ----------------------------------------------------------------------- */

static struct vivero_worker_options
options_of(const struct vivero_child_start *start)
{
    struct vivero_worker_options options =
        ((const struct kept *)start->options)->options;

    if (start->argument != NULL) {
        options.argument = start->argument;
        options.argument_size = start->argument_size;
    }
    if (options.carriers == NULL) {
        options.carriers = start->shared;
    }
    return options;
}

static int start(const struct vivero_child_start *start)
{
    const struct vivero_worker_options options = options_of(start);
    struct vv_single *single;
    int error = VIVERO_E_INVALID;

    if (options.mailbox_depth != UINT32_MAX) {
        error = vv_single_new(&options, VV_SINGLE_CALLBACKS, &single);
    }
    if (error == VIVERO_OK) {
        error = vv_single_bind(single, start->child, NULL);
    }
    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_single_launch(single);
    if (error != VIVERO_OK) {
        vv_single_cancel(single, error);
        return error;
    }
    return VIVERO_CHILD_STARTING;
}

/* ---- Ending ----------------------------------------------------------------------------- */

/* The worker goes only after this. */
static void leave_in_place(struct vv_envelope *envelope)
{
    (void)envelope;
}

static void stop(struct vivero_ref child, const struct vivero_exit *reason,
                 const void *options)
{
    struct vv_entity *entity = vv_entity_lock(child);
    struct vv_single *single = entity != NULL ? vv_single_of(entity) : NULL;
    struct vv_envelope *unused = NULL;

    (void)options;
    if (single != NULL && !single->told_farewell) {
        struct vv_envelope *note = &single->farewell;

        single->told_farewell = true;
        note->kind = VV_ENVELOPE_EXIT;
        note->reserved = true;
        note->dispose = leave_in_place;
        note->from = entity->parent;
        note->exit = *reason;
        unused = vv_entity_signal_locked(entity, note);
    }
    if (entity != NULL) {
        vv_entity_unlock(entity);
    }
    if (unused != NULL) {
        vv_envelope_free(unused);
    }
}

static void kill(struct vivero_ref child, const void *options)
{
    static const struct vivero_exit killed = {.kind = VIVERO_EXIT_KILLED};

    (void)options;
    (void)vv_single_kill(child, &killed);
}

/* ---- Shared carriers --------------------------------------------------------------------- */

static int open_shared(uint32_t carriers, void **shared)
{
    struct vivero_carriers *opened;
    int error = vivero_carriers_open(
        VIVERO_CARRIERS_OPTIONS(.name = "children", .threads = carriers),
        &opened);

    if (error == VIVERO_OK) {
        *shared = opened;
    }
    return error;
}

static void close_shared(void *shared)
{
    vivero_carriers_close(shared);
}

const struct vivero_child_ops vivero_child_worker = {
    .size = sizeof(struct vivero_child_ops),
    .kind = "worker",
    .start = start,
    .stop = stop,
    .kill = kill,
    .copy = copy,
    .release = release,
    .open_shared = open_shared,
    .close_shared = close_shared};
