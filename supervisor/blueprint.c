/* SPDX-License-Identifier: MIT */
/* blueprint: copies of specs and options that have been checked, with defaults
 * filled in. They are shared by what is made from them, and counted. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/options.h"
#include "supervisor/supervisor_private.h"

#include <stddef.h>
#include <string.h>

#define PERIOD_NS VIVERO_SECONDS(5)
#define SHUTDOWN_NS VIVERO_SECONDS(5)
#define BACKOFF_MAX_NS VIVERO_SECONDS(1)
#define INTENSITY 3u

/* ---- Copies of specs -------------------------------------------------------------- */

static int64_t shutdown_of(const struct vivero_child_spec *spec)
{
    if (spec->shutdown_ns == 0) {
        return spec->type == VIVERO_CHILD_SUPERVISOR ? VIVERO_FOREVER
                                                     : SHUTDOWN_NS;
    }
    return spec->shutdown_ns == VIVERO_NONE ? 0 : spec->shutdown_ns;
}

static void fill_policy(struct vv_spec *spec, int64_t period_ns)
{
    const struct vivero_child_spec *given = &spec->given;

    spec->policy = (struct vv_policy){
        .restart = given->restart,
        .significant = given->significant,
        .shutdown_ns = shutdown_of(given),
        .start_timeout_ns = given->start_timeout_ns > 0
                                ? given->start_timeout_ns
                                : VIVERO_FOREVER,
        .backoff_ns = given->backoff_ns,
        .backoff_max_ns =
            given->backoff_max_ns > 0 ? given->backoff_max_ns : BACKOFF_MAX_NS};
    spec->has_budget = given->intensity != 0;
    spec->intensity = given->intensity > 0 ? (uint32_t)given->intensity : 0;
    if (spec->given.period_ns == 0) {
        spec->given.period_ns = period_ns;
    }
}

int vv_spec_new(const struct vivero_child_spec *given, int64_t period_ns,
                struct vv_spec **copy)
{
    struct vv_spec *spec =
        vv_allocate(NULL, sizeof(*spec), _Alignof(max_align_t));

    if (spec == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    (void)vv_options_copy(&spec->given, sizeof(spec->given), given);
    if (spec->given.id != NULL) {
        memcpy(spec->id, spec->given.id,
               strnlen(spec->given.id, VV_NAME_SIZE - 1));
    }
    spec->given.id = spec->id;
    if (spec->given.ops == &vivero_child_supervisor) {
        spec->given.type = VIVERO_CHILD_SUPERVISOR;
    }
    fill_policy(spec, period_ns);
    if (spec->given.ops->copy != NULL && spec->given.options != NULL) {
        spec->copy = spec->given.ops->copy(spec->given.options);
        if (spec->copy == NULL) {
            vv_release(NULL, spec, sizeof(*spec), _Alignof(max_align_t));
            return VIVERO_E_NO_MEMORY;
        }
        spec->given.options = spec->copy;
    }
    /* relaxed: nobody else knows it. */
    atomic_store_explicit(&spec->references, 1, memory_order_relaxed);
    *copy = spec;
    return VIVERO_OK;
}

struct vv_spec *vv_spec_retain(struct vv_spec *spec)
{
    /* relaxed: the caller's reference keeps it. */
    atomic_fetch_add_explicit(&spec->references, 1, memory_order_relaxed);
    return spec;
}

void vv_spec_release(struct vv_spec *spec)
{
    /* sync(spec.references): the last one sees what the others did. */
    if (spec != NULL && atomic_fetch_sub_explicit(&spec->references, 1,
                                                  memory_order_acq_rel) == 1) {
        if (spec->copy != NULL) {
            spec->given.ops->release(spec->copy);
        }
        vv_release(NULL, spec, sizeof(*spec), _Alignof(max_align_t));
    }
}

/* ---- Copies of options ----------------------------------------------------------- */

static int copy_specs(struct vv_blueprint *blueprint)
{
    const struct vivero_supervisor_options *options = &blueprint->options;
    int error = VIVERO_OK;

    if (options->child_count > 0) {
        blueprint->specs =
            vv_allocate(NULL, options->child_count * sizeof(struct vv_spec *),
                        _Alignof(max_align_t));
        if (blueprint->specs == NULL) {
            return VIVERO_E_NO_MEMORY;
        }
    }
    while (blueprint->count < options->child_count && error == VIVERO_OK) {
        error =
            vv_spec_new(options->children[blueprint->count], options->period_ns,
                        &blueprint->specs[blueprint->count]);
        blueprint->count += error == VIVERO_OK;
    }
    if (error == VIVERO_OK && options->template_ != NULL) {
        error = vv_spec_new(options->template_, options->period_ns,
                            &blueprint->template_);
    }
    return error;
}

static void fill_options(struct vv_blueprint *blueprint)
{
    struct vivero_supervisor_options *options = &blueprint->options;

    if (options->name != NULL) {
        memcpy(blueprint->name, options->name, strlen(options->name));
        options->name = blueprint->name;
    }
    if (options->intensity == 0) {
        options->intensity = INTENSITY;
    } else if (options->intensity == VIVERO_NONE) {
        options->intensity = 0;
    }
    if (options->period_ns == 0) {
        options->period_ns = PERIOD_NS;
    }
}

int vv_blueprint_new(const struct vivero_supervisor_options *given,
                     struct vv_blueprint **copy)
{
    struct vivero_supervisor_options options;
    struct vv_blueprint *blueprint;
    int error;

    if (vv_options_take(&options, given) != VIVERO_SPEC_OK) {
        return VIVERO_E_INVALID;
    }
    blueprint = vv_allocate(NULL, sizeof(*blueprint), _Alignof(max_align_t));
    if (blueprint == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    blueprint->options = options;
    fill_options(blueprint);
    /* relaxed: nobody else knows it. */
    atomic_store_explicit(&blueprint->references, 1, memory_order_relaxed);
    error = copy_specs(blueprint);
    if (error != VIVERO_OK) {
        vv_blueprint_release(blueprint);
        return error;
    }
    blueprint->options.children = NULL;
    blueprint->options.template_ = NULL;
    *copy = blueprint;
    return VIVERO_OK;
}

struct vv_blueprint *vv_blueprint_retain(struct vv_blueprint *blueprint)
{
    /* relaxed: the caller's reference keeps it. */
    atomic_fetch_add_explicit(&blueprint->references, 1, memory_order_relaxed);
    return blueprint;
}

void vv_blueprint_release(struct vv_blueprint *blueprint)
{
    /* sync(blueprint.references): the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&blueprint->references, 1,
                                  memory_order_acq_rel) != 1) {
        return;
    }
    for (size_t i = 0; i < blueprint->count; i++) {
        vv_spec_release(blueprint->specs[i]);
    }
    vv_spec_release(blueprint->template_);
    vv_release(NULL, blueprint->specs,
               blueprint->options.child_count * sizeof(struct vv_spec *),
               _Alignof(max_align_t));
    vv_release(NULL, blueprint, sizeof(*blueprint), _Alignof(max_align_t));
}
