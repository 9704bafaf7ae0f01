/* SPDX-License-Identifier: MIT */
/* spec: what is wrong with a spec, or with a supervisor's options. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/options.h"
#include "supervisor/supervisor_private.h"

#include <stddef.h>
#include <string.h>

VV_NO_TAIL_PADDING(struct vivero_child_spec, backoff_max_ns);
VV_NO_TAIL_PADDING(struct vivero_supervisor_options, ctx);

/* ---- What is wrong with a spec -------------------------------------------------- */

const char *vivero_spec_fault_text(enum vivero_spec_fault fault)
{
    static const char *const texts[VIVERO_SPEC_FAULT_COUNT] = {
        [VIVERO_SPEC_OK] = "nothing",
        [VIVERO_SPEC_MISSING_ID] = "missing id",
        [VIVERO_SPEC_LONG_ID] = "id too long",
        [VIVERO_SPEC_DUPLICATE_ID] = "duplicate id",
        [VIVERO_SPEC_MISSING_OPS] = "no operations, or none to start",
        [VIVERO_SPEC_BAD_SIZE] = "size of a struct",
        [VIVERO_SPEC_BAD_RESTART] = "restart type",
        [VIVERO_SPEC_BAD_TYPE] = "child type",
        [VIVERO_SPEC_BAD_SHUTDOWN] = "shutdown time",
        [VIVERO_SPEC_BAD_START_TIMEOUT] = "start time-out",
        [VIVERO_SPEC_BAD_SIGNIFICANT] = "significant",
        [VIVERO_SPEC_BAD_BUDGET] = "the child's intensity or period",
        [VIVERO_SPEC_BAD_BACKOFF] = "backoff",
        [VIVERO_SPEC_BAD_STRATEGY] = "strategy",
        [VIVERO_SPEC_BAD_INTENSITY] = "intensity",
        [VIVERO_SPEC_BAD_PERIOD] = "period",
        [VIVERO_SPEC_BAD_AUTO_SHUTDOWN] = "auto_shutdown",
        [VIVERO_SPEC_BAD_CHILDREN] = "the children do not fit the strategy",
        [VIVERO_SPEC_BAD_NAME] = "name"};

    return (unsigned)fault < VIVERO_SPEC_FAULT_COUNT ? texts[fault] : "unknown";
}

static enum vivero_spec_fault check_id(const struct vivero_child_spec *spec,
                                       enum vivero_strategy strategy)
{
    if (strategy == VIVERO_DYNAMIC) {
        return VIVERO_SPEC_OK;
    }
    if (spec->id == NULL || spec->id[0] == '\0') {
        return VIVERO_SPEC_MISSING_ID;
    }
    return strnlen(spec->id, VV_NAME_SIZE) < VV_NAME_SIZE ? VIVERO_SPEC_OK
                                                          : VIVERO_SPEC_LONG_ID;
}

static enum vivero_spec_fault check_ops(const struct vivero_child_ops *ops)
{
    if (ops == NULL) {
        return VIVERO_SPEC_MISSING_OPS;
    }
    if (ops->size != sizeof(*ops)) {
        return VIVERO_SPEC_BAD_SIZE;
    }
    return ops->start != NULL && (ops->copy == NULL) == (ops->release == NULL)
               ? VIVERO_SPEC_OK
               : VIVERO_SPEC_MISSING_OPS;
}

static enum vivero_spec_fault check_times(const struct vivero_child_spec *spec)
{
    if (spec->shutdown_ns < 0 && spec->shutdown_ns != VIVERO_NONE &&
        spec->shutdown_ns != VIVERO_BRUTAL_KILL) {
        return VIVERO_SPEC_BAD_SHUTDOWN;
    }
    if (spec->start_timeout_ns < 0) {
        return VIVERO_SPEC_BAD_START_TIMEOUT;
    }
    if ((spec->intensity < 0 && spec->intensity != VIVERO_NONE) ||
        spec->period_ns < 0 || (spec->intensity == 0 && spec->period_ns > 0)) {
        return VIVERO_SPEC_BAD_BUDGET;
    }
    return spec->backoff_ns < 0 || spec->backoff_max_ns < 0
               ? VIVERO_SPEC_BAD_BACKOFF
               : VIVERO_SPEC_OK;
}

static bool may_be_significant(const struct vivero_child_spec *spec,
                               enum vivero_strategy strategy,
                               enum vivero_auto_shutdown auto_shutdown)
{
    return !spec->significant ||
           (spec->restart != VIVERO_PERMANENT &&
            auto_shutdown != VIVERO_AUTO_NEVER && strategy != VIVERO_DYNAMIC);
}

enum vivero_spec_fault
vivero_child_spec_check(const struct vivero_child_spec *given,
                        enum vivero_strategy strategy,
                        enum vivero_auto_shutdown auto_shutdown)
{
    struct vivero_child_spec spec;
    enum vivero_spec_fault fault;

    if (given == NULL) {
        return VIVERO_SPEC_BAD_CHILDREN;
    }
    if (vv_options_copy(&spec, sizeof(spec), given) != VIVERO_OK) {
        return VIVERO_SPEC_BAD_SIZE;
    }
    fault = check_id(&spec, strategy);
    if (fault == VIVERO_SPEC_OK) {
        fault = check_ops(spec.ops);
    }
    if (fault != VIVERO_SPEC_OK) {
        return fault;
    }
    if ((unsigned)spec.restart > VIVERO_TEMPORARY) {
        return VIVERO_SPEC_BAD_RESTART;
    }
    if ((unsigned)spec.type > VIVERO_CHILD_SUPERVISOR) {
        return VIVERO_SPEC_BAD_TYPE;
    }
    fault = check_times(&spec);
    if (fault != VIVERO_SPEC_OK) {
        return fault;
    }
    if (!may_be_significant(&spec, strategy, auto_shutdown)) {
        return VIVERO_SPEC_BAD_SIGNIFICANT;
    }
    if (spec.ops == &vivero_child_supervisor) {
        return spec.options != NULL ? vivero_supervisor_check(spec.options)
                                    : VIVERO_SPEC_BAD_CHILDREN;
    }
    return VIVERO_SPEC_OK;
}

/* ---- And with a supervisor's options -------------------------------------------- */

static bool is_duplicate(const struct vivero_supervisor_options *options,
                         size_t index)
{
    const char *id = options->children[index]->id;

    for (size_t i = 0; i < index; i++) {
        if (strcmp(options->children[i]->id, id) == 0) {
            return true;
        }
    }
    return false;
}

static enum vivero_spec_fault
check_children(const struct vivero_supervisor_options *options)
{
    bool dynamic = options->strategy == VIVERO_DYNAMIC;
    enum vivero_spec_fault fault = VIVERO_SPEC_OK;

    if ((options->child_count > 0 && (dynamic || options->children == NULL)) ||
        (!dynamic &&
         (options->template_ != NULL || options->children_max > 0))) {
        return VIVERO_SPEC_BAD_CHILDREN;
    }
    for (size_t i = 0; i < options->child_count && fault == VIVERO_SPEC_OK;
         i++) {
        fault = vivero_child_spec_check(options->children[i], options->strategy,
                                        options->auto_shutdown);
        if (fault == VIVERO_SPEC_OK && is_duplicate(options, i)) {
            fault = VIVERO_SPEC_DUPLICATE_ID;
        }
    }
    if (fault == VIVERO_SPEC_OK && options->template_ != NULL) {
        fault = vivero_child_spec_check(options->template_, options->strategy,
                                        options->auto_shutdown);
    }
    return fault;
}

static enum vivero_spec_fault
check_options(const struct vivero_supervisor_options *options)
{
    if (options->name != NULL &&
        (options->name[0] == '\0' ||
         strnlen(options->name, VV_NAME_SIZE) == VV_NAME_SIZE)) {
        return VIVERO_SPEC_BAD_NAME;
    }
    if ((unsigned)options->strategy > VIVERO_DYNAMIC) {
        return VIVERO_SPEC_BAD_STRATEGY;
    }
    if ((unsigned)options->auto_shutdown > VIVERO_AUTO_ALL_SIGNIFICANT ||
        (options->auto_shutdown != VIVERO_AUTO_NEVER &&
         options->strategy == VIVERO_DYNAMIC)) {
        return VIVERO_SPEC_BAD_AUTO_SHUTDOWN;
    }
    if (options->intensity < VIVERO_UNLIMITED) {
        return VIVERO_SPEC_BAD_INTENSITY;
    }
    return options->period_ns < 0 ? VIVERO_SPEC_BAD_PERIOD
                                  : check_children(options);
}

enum vivero_spec_fault
vv_options_take(struct vivero_supervisor_options *options,
                const struct vivero_supervisor_options *given)
{
    if (vv_options_copy(options, sizeof(*options), given) != VIVERO_OK) {
        return VIVERO_SPEC_BAD_SIZE;
    }
    return check_options(options);
}

enum vivero_spec_fault
vivero_supervisor_check(const struct vivero_supervisor_options *given)
{
    struct vivero_supervisor_options options;

    return vv_options_take(&options, given);
}

void vivero_child_spec_init(struct vivero_child_spec *spec)
{
    *spec = (struct vivero_child_spec){.size = sizeof(*spec)};
}

void vivero_supervisor_options_init(struct vivero_supervisor_options *options)
{
    *options = (struct vivero_supervisor_options){.size = sizeof(*options)};
}

bool vv_spec_fits(const struct vv_spec *spec,
                  const struct vivero_supervisor_options *options)
{
    return check_id(&spec->given, options->strategy) == VIVERO_SPEC_OK &&
           may_be_significant(&spec->given, options->strategy,
                              options->auto_shutdown);
}
