/* SPDX-License-Identifier: MIT */
/* tell: what users do with references: messages outside any protocol, signals,
 * links, monitors. */
#include <vivero/error.h>

#include "base/check.h"
#include "entity/entity_private.h"
#include "mailbox/here.h"
#include "os/thread.h"

static struct vv_entity *caller(const char *what)
{
    struct vv_entity *self = vv_entity_here();

    VV_CHECK(self != NULL,
             "%s(): the calling thread is no worker on its own, and was not "
             "attached",
             what);
    return self;
}

struct vivero_ref vivero_current(void)
{
    const struct vv_entity *self = vv_entity_here();

    return self != NULL ? self->ref : (struct vivero_ref){0, 0};
}

bool vivero_is_alive(struct vivero_ref ref)
{
    struct vv_entity *entity = vv_forked() ? NULL : vv_entity_lock(ref);

    if (entity != NULL) {
        vv_entity_unlock(entity);
    }
    return entity != NULL;
}

/* ---- Messages ------------------------------------------------------------------ */

static int tell(struct vv_entity *to, uint32_t tag, const void *data,
                size_t size)
{
    struct vv_envelope *envelope;
    int error = vv_envelope_tell(tag, data, size, &envelope);

    if (error != VIVERO_OK) {
        return error;
    }
    envelope->from = vivero_current();
    error = vv_entity_put(to, envelope);
    if (error != VIVERO_OK) {
        vv_envelope_free(envelope);
    }
    return error;
}

int vivero_tell(struct vivero_ref to, uint32_t tag, const void *data,
                size_t size)
{
    int refused = vv_here_may_act();
    struct vv_entity *entity;
    int error;

    VV_CHECK(data != NULL || size == 0, "vivero_tell(): %zu bytes at NULL",
             size);
    if (refused != VIVERO_OK) {
        return refused;
    }
    entity = vv_entity_retain(to);
    if (entity == NULL) {
        return VIVERO_E_GONE;
    }
    error = tell(entity, tag, data, size);
    vv_entity_release(entity);
    return error;
}

/* ---- Signals and links ------------------------------------------------------------- */

static int send_signal(struct vivero_ref to, const struct vivero_exit *reason)
{
    struct vv_envelope *note = vv_envelope_new(VV_ENVELOPE_EXIT);

    if (note == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    note->from = vivero_current();
    note->exit = *reason;
    return vv_entity_signal(to, note);
}

int vivero_signal(struct vivero_ref to, const struct vivero_exit *reason)
{
    int refused = vv_here_may_act();
    struct vv_entity *entity;
    int error;

    VV_CHECK(reason != NULL, "vivero_signal(): the reason is NULL");
    if (refused != VIVERO_OK) {
        return refused;
    }
    if (reason->kind == VIVERO_EXIT_NONE) {
        return VIVERO_E_INVALID;
    }
    entity = vv_entity_retain(to); /* and with it the envelopes */
    if (entity == NULL) {
        return VIVERO_E_GONE;
    }
    error = send_signal(to, reason);
    vv_entity_release(entity);
    return error;
}

int vivero_kill(struct vivero_ref to)
{
    static const struct vivero_exit kill = {.kind = VIVERO_EXIT_KILL};

    return vivero_signal(to, &kill);
}

bool vivero_trap_exits(bool trap)
{
    struct vv_entity *self = caller("vivero_trap_exits");
    bool before;

    vv_mutex_lock(&self->slot->lock);
    before = (self->flags & VV_ENTITY_TRAPS) != 0;
    self->flags = trap ? self->flags | VV_ENTITY_TRAPS
                       : self->flags & ~(uint32_t)VV_ENTITY_TRAPS;
    vv_mutex_unlock(&self->slot->lock);
    return before;
}

bool vv_entity_traps(struct vv_entity *self)
{
    bool does;

    vv_mutex_lock(&self->slot->lock);
    does = (self->flags & VV_ENTITY_TRAPS) != 0;
    vv_mutex_unlock(&self->slot->lock);
    return does;
}

int vivero_link(struct vivero_ref other)
{
    struct vv_entity *self = caller("vivero_link");
    int error = vv_here_may_act();

    if (error == VIVERO_OK) {
        error = vv_entity_link(self, other);
    }
    return error == VIVERO_E_GONE && vv_entity_traps(self) ? VIVERO_OK : error;
}

static bool is_exit_from(const struct vv_envelope *envelope, const void *other)
{
    const struct vivero_ref *from = other;

    return envelope->kind == VV_ENVELOPE_EXIT &&
           vivero_ref_equal(envelope->from, *from);
}

int vivero_unlink(struct vivero_ref other, bool flush)
{
    int refused = vv_here_may_act();
    struct vv_entity *self = caller("vivero_unlink");
    struct vv_envelope *told = NULL;

    if (refused != VIVERO_OK) {
        return refused;
    }
    vv_entity_unlink(self, other);
    if (flush) {
        told = vv_entity_take_if(self, is_exit_from, &other);
    }
    if (told != NULL) {
        vv_envelope_free(told);
    }
    return VIVERO_OK;
}

/* ---- Monitors ------------------------------------------------------------------------ */

int vivero_monitor(struct vivero_ref target, struct vivero_monitor *monitor)
{
    struct vv_entity *self = caller("vivero_monitor");
    int refused = vv_here_may_act();

    VV_CHECK(monitor != NULL, "vivero_monitor(): its place is NULL");
    return refused != VIVERO_OK ? refused
                                : vv_entity_monitor(self, target, monitor);
}

static bool is_down_of(const struct vv_envelope *envelope, const void *monitor)
{
    const struct vivero_monitor *of = monitor;

    return envelope->kind == VV_ENVELOPE_DOWN &&
           envelope->monitor.slot == of->slot &&
           envelope->monitor.generation == of->generation;
}

int vivero_demonitor(struct vivero_monitor monitor, bool flush)
{
    struct vv_entity *self = caller("vivero_demonitor");
    struct vv_envelope *told = NULL;
    int error = vv_here_may_act();

    if (error == VIVERO_OK) {
        error = vv_entity_demonitor(self, monitor);
    }
    if (error == VIVERO_E_GONE && flush) {
        told = vv_entity_take_if(self, is_down_of, &monitor);
    }
    if (told != NULL) {
        vv_envelope_free(told);
        error = VIVERO_OK;
    }
    return error;
}
