/* SPDX-License-Identifier: MIT */
/* single_step: what a worker on its own does next.
 *
 * In this order: init; what a callback asked to continue with; a request of
 * those who look after it; an exit signal; a message; the idle time-out. Each
 * step is one callback at most, so whoever runs the steps can look around in
 * between. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/log.h"
#include "mailbox/here.h"
#include "worker/single_private.h"

#include <string.h>

/* ---- Ends ------------------------------------------------------------------------- */

void vv_single_set_end(struct vv_single *single, const struct vivero_exit *exit)
{
    single->exit = *exit;
    single->ended = true;
}

/* What the stage ended for: its callback said so, so terminate hears of it. */
static void end_by_callback(struct vv_single *single)
{
    single->terminates = true;
    vv_single_set_end(single, &single->stage->exit);
}

/* ---- Callbacks: as operations of the library's own -------------------------------------- */

static int run_info(struct vivero_self *self, const void *in, void *out)
{
    struct vv_single *single = self->entity->single;

    (void)in;
    (void)out;
    return single->options.on_info(self, &single->info, single->spec.ctx);
}

static int run_continue(struct vivero_self *self, const void *in, void *out)
{
    struct vv_single *single = self->entity->single;

    (void)in;
    (void)out;
    return single->options.on_continue(self, single->continue_tag,
                                       single->spec.ctx);
}

static const struct vivero_operation info_operation = {
    .name = "info", .run = run_info, .file = __FILE__, .line = __LINE__};
static const struct vivero_operation continue_operation = {.name = "continue",
                                                           .run = run_continue,
                                                           .file = __FILE__,
                                                           .line = __LINE__};

/* A callback has returned: what it asked for holds from now. */
static void arm_idle_timeout(struct vv_single *single)
{
    if (single->idle_timeout_ns >= 0) {
        int64_t now = vivero_now();

        single->idle_deadline_ns =
            single->idle_timeout_ns < VIVERO_FOREVER - now
                ? now + single->idle_timeout_ns
                : VIVERO_FOREVER;
        single->idle_timeout_ns = -1;
    }
}

static void run_operation(struct vv_single *single)
{
    single->idle_deadline_ns = VIVERO_FOREVER;
    if (!vv_worker_run_current(single->stage)) {
        end_by_callback(single);
    }
    arm_idle_timeout(single);
}

static void run_own(struct vv_single *single,
                    const struct vivero_operation *operation)
{
    single->stage->current = (struct vv_message){.operation = operation};
    run_operation(single);
}

/* ---- init ---------------------------------------------------------------------------------- */

static void start_failed(struct vv_single *single, int error,
                         const struct vivero_exit *exit)
{
    vv_single_set_end(single, exit);
    /* The starter hears by the result, not by the link. */
    vv_entity_unlink(&single->entity, single->entity.parent);
    vv_entity_started(single->entity.ref, error, exit);
}

static void initialise(struct vv_single *single)
{
    struct vivero_entity *stage = single->stage;
    int result = VIVERO_OK;

    single->begun = true;
    if (single->spec.init != NULL) {
        result =
            single->spec.init(&stage->self, single->payload, single->spec.ctx);
    }
    if (result == VIVERO_OK) {
        single->up = true;
        arm_idle_timeout(single);
        vv_entity_started(single->entity.ref, VIVERO_OK, NULL);
    } else if (result == VIVERO_IGNORE) {
        const struct vivero_exit ignored =
            vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);

        start_failed(single, VIVERO_IGNORE, &ignored);
    } else if (result < 0) {
        const struct vivero_exit failed = vivero_reason(
            VIVERO_EXIT_INIT_FAILED, result, vivero_strerror(result));

        start_failed(single, result, &failed);
    } else {
        const struct vivero_exit bad =
            vivero_reason(VIVERO_EXIT_BAD_VALUE, result,
                          "init returned no error and no known verdict");

        start_failed(single, VIVERO_E_DOWN, &bad);
    }
}

void vv_single_jumped(struct vv_single *single)
{
    struct vivero_entity *stage = single->stage;

    if (single->up || single->kind != VV_SINGLE_CALLBACKS) {
        end_by_callback(single);
        return;
    }
    if (stage->exit.kind == VIVERO_EXIT_FAILED) {
        stage->exit.kind = VIVERO_EXIT_INIT_FAILED;
    }
    start_failed(single,
                 stage->exit.code < 0 ? stage->exit.code : VIVERO_E_DOWN,
                 &stage->exit);
}

void vv_single_given_up(struct vv_single *single)
{
    const struct vivero_exit fenced = vivero_reason(
        VIVERO_EXIT_FENCED, VIVERO_E_FENCED, "it was given up by others");

    single->terminates = true;
    vv_single_set_end(single, &fenced);
}

void vv_single_left(struct vv_single *single, const struct vivero_exit *exit)
{
    single->terminates = true;
    if (single->up || single->ended || single->kind != VV_SINGLE_CALLBACKS) {
        vv_single_set_end(single, exit);
    } else {
        start_failed(single, VIVERO_E_DOWN, exit);
    }
}

/* ---- Information ------------------------------------------------------------------------------ */

static enum vivero_info_kind info_kind(enum vv_envelope_kind kind)
{
    switch (kind) {
    case VV_ENVELOPE_OPERATION:
        return VIVERO_INFO_REQUEST;
    case VV_ENVELOPE_TELL:
        return VIVERO_INFO_MESSAGE;
    case VV_ENVELOPE_EXIT:
        return VIVERO_INFO_EXIT;
    case VV_ENVELOPE_DOWN:
        return VIVERO_INFO_DOWN;
    }
    return VIVERO_INFO_MESSAGE;
}

void vv_single_drop_info(struct vv_single *single)
{
    if (single->held != NULL) {
        vv_envelope_free(single->held);
        single->held = NULL;
    }
}

void vv_single_fill_info(struct vv_single *single, struct vv_envelope *envelope)
{
    struct vivero_info *info = &single->info;

    vv_single_drop_info(single);
    memset(info, 0, sizeof(*info));
    single->held = envelope;
    info->kind = info_kind(envelope->kind);
    info->from = envelope->from;
    switch (envelope->kind) {
    case VV_ENVELOPE_TELL:
        info->tag = envelope->tag;
        info->data = vv_envelope_bytes(envelope);
        info->size = envelope->size;
        break;
    case VV_ENVELOPE_OPERATION:
        info->operation = envelope->message.operation;
        info->size = info->operation->in_size;
        if (info->size > 0) {
            info->data = envelope->message.box != NULL
                             ? envelope->message.box->bytes
                             : envelope->message.args;
        }
        break;
    case VV_ENVELOPE_EXIT:
    case VV_ENVELOPE_DOWN:
        info->exit = envelope->exit;
        info->monitor = envelope->monitor;
        break;
    }
}

static void log_unheard(const struct vv_single *single)
{
    static const char *const names[] = {
        [VIVERO_INFO_MESSAGE] = "message", [VIVERO_INFO_REQUEST] = "request",
        [VIVERO_INFO_EXIT] = "exit",       [VIVERO_INFO_DOWN] = "down",
        [VIVERO_INFO_TIMEOUT] = "timeout",
    };
    const struct vivero_log_field fields[] = {
        {"kind", names[single->info.kind]}};

    vv_log(VIVERO_LOG_ERROR, "worker", single->label, fields, 1,
           "was told something and has no on_info");
}

static void tell_info(struct vv_single *single)
{
    if (single->options.on_info != NULL) {
        run_own(single, &info_operation);
    } else {
        single->idle_deadline_ns = VIVERO_FOREVER;
        log_unheard(single);
    }
    vv_single_drop_info(single);
}

static void tell_idle(struct vv_single *single)
{
    vv_single_drop_info(single);
    memset(&single->info, 0, sizeof(single->info));
    single->info.kind = VIVERO_INFO_TIMEOUT;
    tell_info(single);
}

/* ---- Messages ------------------------------------------------------------------------------------ */

static void handle(struct vv_single *single, struct vv_envelope *envelope)
{
    if (envelope->kind == VV_ENVELOPE_OPERATION) {
        single->stage->current = envelope->message;
        envelope->message.box = NULL;
        vv_envelope_free(envelope);
        run_operation(single);
    } else {
        vv_single_fill_info(single, envelope);
        tell_info(single);
    }
}

/* One that traps exits hears of its parent's; a kill is not heard of. */
static void obey(struct vv_single *single, struct vv_envelope *verdict)
{
    single->terminates = vv_entity_traps(&single->entity) &&
                         verdict->exit.kind != VIVERO_EXIT_KILLED;
    vv_single_set_end(single, &verdict->exit);
    vv_envelope_free(verdict);
}

int64_t vv_single_idle_deadline(const struct vv_single *single)
{
    return single->suspended ? VIVERO_FOREVER : single->idle_deadline_ns;
}

static bool idle_is_over(const struct vv_single *single)
{
    int64_t due = vv_single_idle_deadline(single);

    return due != VIVERO_FOREVER && vivero_now() >= due;
}

/* A message, a request, a signal; or the time without any is over. */
static enum vv_step next_mail(struct vv_single *single)
{
    struct vv_mail mail;

    if (!vv_entity_take(&single->entity, &mail)) {
        if (!idle_is_over(single)) {
            return VV_STEP_NOTHING;
        }
        tell_idle(single);
    } else if (mail.over) {
        vv_single_given_up(single);
    } else if (mail.request != NULL) {
        vv_single_serve(single, mail.request);
    } else if (mail.verdict != NULL) {
        obey(single, mail.verdict);
    } else {
        handle(single, mail.envelope);
    }
    return VV_STEP_DONE;
}

/* Between messages vv_entity_take() says so. */
static bool was_declared_dead(struct vv_single *single)
{
    bool dead;

    vv_entity_hold(&single->entity);
    dead = (single->entity.flags & VV_ENTITY_ENDING) != 0;
    vv_entity_unlock(&single->entity);
    return dead;
}

enum vv_step vv_single_step(struct vv_single *single)
{
    enum vv_step step = VV_STEP_DONE;

    if (single->ended) {
        return VV_STEP_ENDED;
    }
    if ((!single->begun || single->continues) && was_declared_dead(single)) {
        vv_single_given_up(single);
    } else if (!single->begun) {
        initialise(single);
    } else if (single->continues) {
        single->continues = false;
        run_own(single, &continue_operation);
    } else {
        step = next_mail(single);
    }
    return single->ended ? VV_STEP_ENDED : step;
}

/* ---- What a callback may ask for ------------------------------------------------------------------- */

static struct vv_single *calling(struct vivero_entity *entity, const char *what)
{
    VV_CHECK(entity != NULL && entity == vv_here()->worker,
             "%s() outside the worker's own callback", what);
    VV_CHECK(entity->single != NULL, "%s() in a pool's worker", what);
    return entity->single;
}

const void *vivero_entity_argument(const struct vivero_entity *entity)
{
    VV_CHECK(entity != NULL && entity->single != NULL,
             "vivero_argument() in a pool's worker");
    return entity->single->options.argument;
}

void vivero_entity_continue(struct vivero_entity *entity, uint32_t tag)
{
    struct vv_single *single = calling(entity, "vivero_continue");

    VV_CHECK(single->options.on_continue != NULL,
             "vivero_continue() in worker %s, which has no on_continue",
             single->label);
    single->continues = true;
    single->continue_tag = tag;
}

void vivero_entity_idle_timeout(struct vivero_entity *entity,
                                int64_t timeout_ns)
{
    calling(entity, "vivero_idle_timeout")->idle_timeout_ns =
        timeout_ns > 0 ? timeout_ns : 0;
}
