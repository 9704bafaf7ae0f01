/* SPDX-License-Identifier: MIT */
/* partitions: a supervisor of like children, one of which a key belongs to. */
#include <vivero/error.h>

#include "base/check.h"
#include "base/hash.h"
#include "mailbox/here.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "supervisor/supervisor_private.h"

#include <stddef.h>
#include <stdio.h>

#define PARTITIONS_MAX 65536u

struct partition_specs {
    struct vivero_child_spec spec;
    char id[12];
};

/* The options with count children like spec; the caller keeps both lists. */
static int make_blueprint(struct vivero_supervisor_options options,
                          const struct vivero_child_spec *spec, uint32_t count,
                          struct vv_blueprint **blueprint)
{
    const struct vivero_child_spec **list =
        vv_allocate(NULL, count * sizeof(struct vivero_child_spec *),
                    _Alignof(max_align_t));
    struct partition_specs *specs =
        vv_allocate(NULL, count * sizeof(*specs), _Alignof(max_align_t));
    int error = VIVERO_E_NO_MEMORY;

    if (list != NULL && specs != NULL) {
        for (uint32_t i = 0; i < count; i++) {
            (void)snprintf(specs[i].id, sizeof(specs[i].id), "%u", i);
            specs[i].spec = *spec;
            specs[i].spec.id = specs[i].id;
            list[i] = &specs[i].spec;
        }
        options.children = list;
        options.child_count = count;
        error = vv_blueprint_new(&options, blueprint);
    }
    vv_release(NULL, specs, count * sizeof(*specs), _Alignof(max_align_t));
    vv_release(NULL, (void *)list, count * sizeof(*list),
               _Alignof(max_align_t));
    return error;
}

static bool fit(const struct vivero_supervisor_options *options,
                const struct vivero_child_spec *spec, uint32_t count)
{
    return options->child_count == 0 && options->template_ == NULL &&
           options->strategy == VIVERO_ONE_FOR_ONE &&
           options->auto_shutdown == VIVERO_AUTO_NEVER &&
           spec->size == sizeof(*spec) && count <= PARTITIONS_MAX;
}

int vivero_partitions_start(const struct vivero_supervisor_options *given,
                            const struct vivero_child_spec *spec,
                            uint32_t count, struct vivero_ref *ref)
{
    int refused = vv_here_may_act();
    struct vivero_supervisor_options options;
    struct vv_blueprint *blueprint;
    int error;

    VV_CHECK(spec != NULL && ref != NULL,
             "vivero_partitions_start(): the spec, or the place for the "
             "reference, is NULL");
    if (refused != VIVERO_OK) {
        return refused;
    }
    count = count > 0 ? count : vv_cpu_usable();
    vivero_supervisor_options_init(&options);
    if (given != NULL) {
        if (given->size != sizeof(options)) {
            return VIVERO_E_INVALID;
        }
        options = *given;
    }
    if (!fit(&options, spec, count)) {
        return VIVERO_E_INVALID;
    }
    error = make_blueprint(options, spec, count, &blueprint);
    if (error == VIVERO_OK) {
        blueprint->partitions = count;
        error = vv_supervisor_start(blueprint, ref, NULL);
        vv_blueprint_release(blueprint);
    }
    return error;
}

static int pick(struct vivero_ref ref, uint64_t number,
                struct vivero_ref *child)
{
    int error = VIVERO_OK;
    struct vv_supervisor *supervisor = vv_supervisor_find(ref, &error);

    if (supervisor == NULL) {
        return error;
    }
    if (supervisor->partitions != NULL) {
        vv_mutex_lock(&supervisor->loop.lock);
        *child =
            supervisor->partitions[number % supervisor->blueprint->partitions];
        vv_mutex_unlock(&supervisor->loop.lock);
    } else {
        error = VIVERO_E_INVALID;
    }
    vv_entity_release(&supervisor->entity);
    return error;
}

int vivero_partition_of_number(struct vivero_ref ref, int64_t key,
                               struct vivero_ref *child)
{
    return pick(ref, key < 0 ? 0 - (uint64_t)key : (uint64_t)key, child);
}

int vivero_partition_of(struct vivero_ref ref, const void *key, size_t size,
                        struct vivero_ref *child)
{
    return pick(ref, vv_hash_bytes(key, size, 0), child);
}
