/* SPDX-License-Identifier: MIT */
/* supervisor_open: how a supervisor is made, and started. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "os/thread.h"
#include "supervisor/supervisor_private.h"

#include <string.h>

/* ---- Making one ------------------------------------------------------------------------- */

static void poke(struct vv_entity *entity)
{
    vv_loop_poke(&((struct vv_supervisor *)entity)->loop);
}

static size_t wards_size(const struct vv_blueprint *blueprint)
{
    return blueprint->count * sizeof(struct vv_ward);
}

static size_t partitions_size(const struct vv_blueprint *blueprint)
{
    return blueprint->partitions * sizeof(struct vivero_ref);
}

static void free_parts(struct vv_supervisor *supervisor)
{
    vv_release(NULL, supervisor->partitions,
               partitions_size(supervisor->blueprint), _Alignof(max_align_t));
    vv_release(NULL, supervisor->wards, wards_size(supervisor->blueprint),
               _Alignof(max_align_t));
    vv_loop_fini(&supervisor->loop);
    vv_blueprint_release(supervisor->blueprint);
    vv_release(NULL, supervisor, sizeof(*supervisor), _Alignof(max_align_t));
}

static void free_supervisor(struct vv_entity *entity)
{
    free_parts((struct vv_supervisor *)entity);
}

static const struct vv_entity_ops entity_ops = {.poke = poke,
                                                .free = free_supervisor};

/* Wards for the blueprint's children, attached. */
static int make_wards(struct vv_supervisor *supervisor)
{
    struct vv_blueprint *blueprint = supervisor->blueprint;
    size_t made = 0;
    int error = VIVERO_OK;

    if (blueprint->partitions > 0) {
        supervisor->partitions = vv_allocate(NULL, partitions_size(blueprint),
                                             _Alignof(max_align_t));
        if (supervisor->partitions == NULL) {
            return VIVERO_E_NO_MEMORY;
        }
    }
    if (blueprint->count > 0) {
        supervisor->wards =
            vv_allocate(NULL, wards_size(blueprint), _Alignof(max_align_t));
        if (supervisor->wards == NULL) {
            return VIVERO_E_NO_MEMORY;
        }
    }
    while (made < blueprint->count && error == VIVERO_OK) {
        struct vv_ward *ward = &supervisor->wards[made++];

        vv_ward_init(ward, supervisor, blueprint->specs[made - 1]);
        error = vv_ward_attach(ward);
    }
    while (error != VIVERO_OK && made > 0) {
        vv_ward_fini(&supervisor->wards[--made]);
    }
    return error;
}

static int new_supervisor(struct vv_blueprint *blueprint,
                          struct vv_supervisor **fresh)
{
    const struct vivero_supervisor_options *options = &blueprint->options;
    const struct vv_decide_options decide = {
        .strategy = (enum vv_strategy)options->strategy,
        .auto_shutdown = options->auto_shutdown,
        .intensity = options->intensity == VIVERO_UNLIMITED
                         ? VV_INTENSITY_UNLIMITED
                         : (uint32_t)options->intensity,
        .period_ns = options->period_ns,
        .seed = (uint64_t)vivero_now()};
    struct vv_supervisor *supervisor =
        vv_allocate(NULL, sizeof(*supervisor), _Alignof(max_align_t));
    int error;

    if (supervisor == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    error = vv_loop_init(&supervisor->loop, &decide, &vv_supervisor_loop_ops,
                         supervisor, NULL);
    if (error != VIVERO_OK) {
        vv_release(NULL, supervisor, sizeof(*supervisor),
                   _Alignof(max_align_t));
        return error;
    }
    supervisor->loop.fleeting = true;
    supervisor->blueprint = vv_blueprint_retain(blueprint);
    error = make_wards(supervisor);
    if (error != VIVERO_OK) {
        free_parts(supervisor);
        return error;
    }
    *fresh = supervisor;
    return VIVERO_OK;
}

/* It was never shown to anybody who would use it: undo all of it. */
static void undo(struct vv_supervisor *supervisor, int error)
{
    const struct vivero_exit exit =
        vivero_reason(VIVERO_EXIT_INIT_FAILED, error, vivero_strerror(error));

    vv_supervisor_free_wards(supervisor);
    if (!supervisor->is_child) {
        (void)vv_entity_disown(supervisor->entity.ref);
    }
    vv_entity_started(supervisor->entity.ref, error, &exit);
    (void)vv_entity_end(&supervisor->entity, &exit);
    vv_entity_release(&supervisor->entity);
}

int vv_supervisor_open(struct vv_blueprint *blueprint,
                       const struct vv_birth *birth)
{
    struct vv_supervisor *supervisor;
    int error = new_supervisor(blueprint, &supervisor);

    if (error != VIVERO_OK) {
        if (!birth->is_child) {
            vv_entity_unreserve(birth->ref);
        }
        return error;
    }
    supervisor->is_child = birth->is_child;
    supervisor->failed = birth->failed;
    supervisor->entity.ops = &entity_ops;
    supervisor->entity.flags =
        VV_ENTITY_TRAPS | VV_ENTITY_OBEYS | VV_ENTITY_DEAF;
    supervisor->entity.owner = birth->owner;
    supervisor->entity.parent = birth->parent;
    if (!vv_entity_bind(&supervisor->entity, birth->ref)) {
        vv_supervisor_free_wards(supervisor);
        free_parts(supervisor);
        return VIVERO_E_GONE;
    }
    if (blueprint->name[0] != '\0') {
        error = vv_name_give(birth->ref, blueprint->name, NULL);
    }
    if (error == VIVERO_OK) {
        error = vv_loop_start(&supervisor->loop, blueprint->name[0] != '\0'
                                                     ? blueprint->name
                                                     : "supervisor");
    }
    if (error != VIVERO_OK) {
        undo(supervisor, error);
    }
    return error;
}

/* ---- Starting one, and waiting ---------------------------------------------------------- */

static struct vv_opener *opener_of(struct vv_owner *owner)
{
    return (struct vv_opener *)((char *)owner -
                                offsetof(struct vv_opener, owner));
}

static void tell_opener(struct vv_opener *opener, int error, bool done)
{
    vv_mutex_lock(&opener->lock);
    if (error != VIVERO_OK) {
        opener->error = error;
    }
    opener->done = opener->done || done;
    vv_cond_broadcast(&opener->changed);
    vv_mutex_unlock(&opener->lock);
}

/* One that failed is not done before it has ended. */
static void opener_started(struct vv_owner *owner, int error,
                           const struct vivero_exit *exit)
{
    (void)exit;
    tell_opener(opener_of(owner), error, error == VIVERO_OK);
}

static void opener_ended(struct vv_owner *owner, const struct vivero_exit *exit)
{
    (void)exit;
    tell_opener(opener_of(owner), VIVERO_OK, true);
}

static int open_and_wait(struct vv_blueprint *blueprint,
                         struct vv_opener *opener, struct vivero_ref ref,
                         char *failed)
{
    const struct vv_entity *here = vv_entity_here();
    struct vv_birth birth = {
        .ref = ref, .owner = &opener->owner, .failed = failed};
    int error;

    if (blueprint->options.link) {
        birth.parent = here->ref;
    }
    error = vv_supervisor_open(blueprint, &birth);
    if (error != VIVERO_OK) {
        return error;
    }
    vv_mutex_lock(&opener->lock);
    while (!opener->done) {
        vv_cond_wait(&opener->changed, &opener->lock);
    }
    error = opener->error;
    vv_mutex_unlock(&opener->lock);
    (void)vv_entity_disown(ref);
    return error;
}

static int link_to(struct vivero_ref ref)
{
    struct vv_entity *here = vv_entity_here();
    int error = vv_entity_link(here, ref);

    if (error == VIVERO_E_NO_MEMORY) {
        (void)vivero_supervisor_stop(ref, NULL, VIVERO_FOREVER);
    }
    return error;
}

int vv_supervisor_start(struct vv_blueprint *blueprint, struct vivero_ref *ref,
                        char *failed)
{
    struct vv_opener opener = {.owner = {opener_started, opener_ended}};
    struct vivero_ref fresh;
    int error;

    VV_CHECK(!blueprint->options.link || vv_entity_here() != NULL,
             "vivero_supervisor_start(): .link on a thread that is no entity");
    error = vv_cond_init(&opener.changed);
    if (error != VIVERO_OK) {
        return error;
    }
    vv_mutex_init(&opener.lock, VV_RANK_SUPERVISOR);
    error = vv_entity_reserve(&fresh);
    if (error == VIVERO_OK) {
        error = open_and_wait(blueprint, &opener, fresh, failed);
        vv_thread_reap();
    }
    vv_mutex_fini(&opener.lock);
    vv_cond_fini(&opener.changed);
    if (error == VIVERO_OK && blueprint->options.link) {
        error = link_to(fresh);
    }
    if (error == VIVERO_OK) {
        *ref = fresh;
    }
    return error;
}

int vivero_supervisor_start(const struct vivero_supervisor_options *options,
                            struct vivero_ref *ref, char failed[64])
{
    int refused = vv_here_may_act();
    struct vv_blueprint *blueprint;
    int error;

    VV_CHECK(ref != NULL, "vivero_supervisor_start(): the place for the "
                          "reference is NULL");
    if (failed != NULL) {
        failed[0] = '\0';
    }
    if (refused != VIVERO_OK) {
        return refused;
    }
    error = vv_blueprint_new(options, &blueprint);
    if (error == VIVERO_OK) {
        error = vv_supervisor_start(blueprint, ref, failed);
        vv_blueprint_release(blueprint);
    }
    return error;
}

/* ---- Finding one -------------------------------------------------------------------------- */

struct vv_supervisor *vv_supervisor_find(struct vivero_ref ref, int *error)
{
    struct vv_entity *entity = vv_entity_retain(ref);

    if (entity == NULL) {
        *error = VIVERO_E_GONE;
        return NULL;
    }
    if (entity->ops != &entity_ops) {
        vv_entity_release(entity);
        *error = VIVERO_E_INVALID;
        return NULL;
    }
    return (struct vv_supervisor *)entity;
}
