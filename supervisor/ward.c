/* SPDX-License-Identifier: MIT */
/* ward: one child, as its supervisor keeps it.
 *
 * Model.    Each incarnation has a reference, which the supervisor reserves. It
 *           puts a bare entity behind it, so that the child can be monitored and
 *           found; a kind that brings an entity of its own puts that in its
 *           place, in its start operation. Either way the ward is the owner: it
 *           is told whether the child came up, and when it has ended, and passes
 *           that on to the loop by two notices of its own.
 * Threads.  The supervisor's; owner_started() and owner_ended() on any, under
 *           the entity's lock.
 * Invariants.
 *   I1 Between START and the EXITED or IGNORED that answers it there is one
 *      incarnation, and its notices are in use for it only.
 *   I2 After vv_entity_disown() the owner's functions are not called any more,
 *      so `ended` says whether the last word has been said. */
#include <vivero/error.h>

#include "base/check.h"
#include "supervisor/supervisor_private.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- The owner -------------------------------------------------------------------- */

static struct vv_ward *ward_of_owner(struct vv_owner *owner)
{
    return (struct vv_ward *)((char *)owner - offsetof(struct vv_ward, owner));
}

static void owner_started(struct vv_owner *owner, int error,
                          const struct vivero_exit *exit)
{
    struct vv_ward *ward = ward_of_owner(owner);

    if (error == VIVERO_OK) {
        vv_loop_tell(&ward->supervisor->loop, &ward->up, &ward->child,
                     VV_EVENT_STARTED, NULL);
        return;
    }
    /* ended() follows */
    ward->start_result = error;
    ward->start_exit = exit != NULL
                           ? *exit
                           : vivero_reason(VIVERO_EXIT_INIT_FAILED, error,
                                           vivero_strerror(error));
}

static void owner_ended(struct vv_owner *owner, const struct vivero_exit *exit)
{
    struct vv_ward *ward = ward_of_owner(owner);
    bool ignored = ward->start_result == VIVERO_IGNORE;

    ward->ended = true;
    vv_loop_tell(&ward->supervisor->loop, &ward->end, &ward->child,
                 ignored ? VV_EVENT_IGNORED : VV_EVENT_EXITED,
                 ward->start_result < 0 ? &ward->start_exit : exit);
}

struct vv_ward *vv_ward_of_owner(struct vv_owner *owner)
{
    return owner->ended == owner_ended ? ward_of_owner(owner) : NULL;
}

/* ---- Life -------------------------------------------------------------------------- */

void vv_ward_init(struct vv_ward *ward, struct vv_supervisor *supervisor,
                  struct vv_spec *spec)
{
    ward->supervisor = supervisor;
    ward->spec = vv_spec_retain(spec);
    ward->owner = (struct vv_owner){owner_started, owner_ended};
}

int vv_ward_attach(struct vv_ward *ward)
{
    const struct vv_spec *spec = ward->spec;
    int error = VIVERO_OK;

    if (spec->has_budget) {
        error = vv_budget_init(&ward->budget, spec->intensity,
                               spec->given.period_ns, NULL);
    }
    if (error == VIVERO_OK) {
        vv_decide_attach(&ward->supervisor->loop.decide, &ward->child,
                         &spec->policy,
                         spec->has_budget ? &ward->budget : NULL);
    }
    return error;
}

void vv_ward_fini(struct vv_ward *ward)
{
    vv_ward_clear(ward);
    vv_budget_fini(&ward->budget, NULL);
    vv_spec_release(ward->spec);
    if (ward->argument != NULL) {
        vv_release(NULL, ward->argument, ward->argument_size,
                   _Alignof(max_align_t));
    }
}

void vv_ward_free(struct vv_ward *ward)
{
    if (ward != NULL) {
        vv_ward_fini(ward);
        vv_release(NULL, ward, sizeof(*ward), _Alignof(max_align_t));
    }
}

/* ---- The bare entity --------------------------------------------------------------- */

/* The last reference was given back; or a kind has put its own in its place, on
 * this thread, in its start operation. */
static void free_bare(struct vv_entity *entity)
{
    struct vv_bare *bare = (struct vv_bare *)entity;

    if (bare->ward != NULL) {
        bare->ward->bare = NULL;
    }
    vv_release(NULL, bare, sizeof(*bare), _Alignof(max_align_t));
}

static const struct vv_entity_ops bare_ops = {.free = free_bare};

/* Put one behind a new reference. Errors: NO_MEMORY, LIMIT, FORKED. */
static int make_bare(struct vv_ward *ward)
{
    struct vv_bare *bare;
    struct vivero_ref ref;
    int error = vv_entity_reserve(&ref);

    if (error != VIVERO_OK) {
        return error;
    }
    bare = vv_allocate(NULL, sizeof(*bare), _Alignof(max_align_t));
    if (bare == NULL) {
        vv_entity_unreserve(ref);
        return VIVERO_E_NO_MEMORY;
    }
    bare->ward = ward;
    bare->entity.ops = &bare_ops;
    bare->entity.flags = VV_ENTITY_DEAF;
    bare->entity.owner = &ward->owner;
    bare->entity.parent = ward->supervisor->entity.ref;
    (void)vv_entity_bind(&bare->entity, ref);
    ward->bare = bare;
    ward->ref = ref;
    return VIVERO_OK;
}

void vv_ward_clear(struct vv_ward *ward)
{
    struct vv_bare *bare = ward->bare;

    ward->bare = NULL;
    if (!vivero_ref_is_nobody(ward->ref)) {
        ward->past = ward->ref;
        ward->ref = (struct vivero_ref){0, 0};
    }
    if (bare != NULL) {
        bare->ward = NULL;
        vv_entity_release(&bare->entity);
    }
}

/* ---- Starting ---------------------------------------------------------------------- */

/* What its kind's children share; made by the first of them. */
static int get_shared(struct vv_ward *ward, void **shared)
{
    struct vv_supervisor *supervisor = ward->supervisor;
    const struct vivero_child_ops *ops = ward->spec->given.ops;
    uint32_t i = 0;
    int error;

    *shared = NULL;
    if (ops->open_shared == NULL || ward->spec->given.own_thread ||
        !vv_supervisor_is_dynamic(supervisor)) {
        return VIVERO_OK;
    }
    while (i < supervisor->shared_count && supervisor->shared[i].ops != ops) {
        i++;
    }
    if (i == supervisor->shared_count) {
        if (i == VV_SHARED_MAX) {
            return VIVERO_E_LIMIT;
        }
        error = ops->open_shared(supervisor->blueprint->options.carriers,
                                 &supervisor->shared[i].shared);
        if (error != VIVERO_OK) {
            return error;
        }
        supervisor->shared[i].ops = ops;
        supervisor->shared_count++;
    }
    *shared = supervisor->shared[i].shared;
    return VIVERO_OK;
}

/* What is in the way of a start, besides the child itself. */
static int prepare_start(struct vv_ward *ward, struct vivero_child_start *start)
{
    int error;

    vv_ward_clear(ward);
    ward->start_result = VIVERO_OK;
    ward->ended = false;
    error = get_shared(ward, &start->shared);
    if (error == VIVERO_OK) {
        error = make_bare(ward);
    }
    start->child = ward->ref;
    start->options = ward->spec->given.options;
    start->argument = ward->argument;
    start->argument_size = ward->argument_size;
    start->incarnation = ward->incarnation++;
    return error;
}

void vv_ward_start(struct vv_ward *ward)
{
    struct vivero_child_start start;
    int error = prepare_start(ward, &start);
    int result;

    if (error != VIVERO_OK) {
        const struct vivero_exit exit = vivero_reason(
            VIVERO_EXIT_INIT_FAILED, error, vivero_strerror(error));

        ward->ended = true;
        ward->exit = exit;
        vv_loop_tell(&ward->supervisor->loop, &ward->end, &ward->child,
                     VV_EVENT_STARVED, &exit);
        return;
    }
    result = ward->spec->given.ops->start(&start);
    if (result != VIVERO_CHILD_STARTING) {
        vivero_child_started(start.child, result);
    }
}

void vivero_child_started(struct vivero_ref child, int error)
{
    struct vivero_exit exit = {0};

    if (error == VIVERO_OK) {
        vv_entity_started(child, VIVERO_OK, NULL);
        return;
    }
    if (error == VIVERO_IGNORE) {
        exit = vivero_reason(VIVERO_EXIT_IGNORED, 0, NULL);
    } else {
        error = error < 0 ? error : VIVERO_E_INVALID;
        exit = vivero_reason(VIVERO_EXIT_INIT_FAILED, error,
                             vivero_strerror(error));
    }
    vv_entity_started(child, error, &exit);
    (void)vv_entity_end_ref(child, &exit);
}

void vivero_child_ended(struct vivero_ref child,
                        const struct vivero_exit *reason)
{
    static const struct vivero_exit normal = {.kind = VIVERO_EXIT_NORMAL};

    (void)vv_entity_end_ref(child, reason != NULL ? reason : &normal);
}

/* ---- Stopping ---------------------------------------------------------------------- */

void vv_ward_stop(struct vv_ward *ward)
{
    const struct vivero_child_spec *spec = &ward->spec->given;
    static const struct vivero_exit shutdown = {.kind = VIVERO_EXIT_SHUTDOWN};

    if (vivero_ref_is_nobody(ward->ref)) {
        return; /* it could not be started; the notice of that is under way */
    }
    if (spec->ops->stop == NULL) {
        vv_ward_kill(ward);
    } else if (vivero_is_alive(ward->ref)) {
        spec->ops->stop(ward->ref, &shutdown, spec->options);
    }
}

void vv_ward_kill(struct vv_ward *ward)
{
    const struct vivero_child_spec *spec = &ward->spec->given;
    const struct vivero_exit exit = vivero_reason(
        ward->child.phase == VV_CHILD_STARTING ? VIVERO_EXIT_TIMED_OUT
                                               : VIVERO_EXIT_KILLED,
        0,
        ward->child.phase == VV_CHILD_STARTING ? "it took too long to start"
                                               : NULL);

    if (vivero_ref_is_nobody(ward->ref)) {
        return;
    }
    /* What it ends for is ours to say, whatever its kind does to it. */
    (void)vv_entity_disown(ward->ref);
    if (spec->ops->kill != NULL) {
        spec->ops->kill(ward->ref, spec->options);
    }
    if (!ward->ended) {
        ward->ended = true;
        (void)vv_entity_end_ref(
            ward->ref, &(const struct vivero_exit){.kind = VIVERO_EXIT_KILLED});
        vv_loop_tell(&ward->supervisor->loop, &ward->end, &ward->child,
                     VV_EVENT_EXITED, &exit);
    }
}
