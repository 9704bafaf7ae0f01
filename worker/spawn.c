/* SPDX-License-Identifier: MIT */
/* spawn: plain functions as workers, foreign threads as entities, and receiving
 * by hand.
 *
 * Both take their mail in vivero_receive(). A verdict that reaches a spawned
 * function there ends it by the jump that vivero_exit() uses; an attached thread
 * is nobody's to end: it is detached and told so. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/options.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "worker/single_private.h"

#include <setjmp.h>
#include <string.h>

/* ---- Spawning ------------------------------------------------------------------------------ */

VV_NO_TAIL_PADDING(struct vivero_spawn_options, stack_size);

void vivero_spawn_options_init(struct vivero_spawn_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

static int fill_options(struct vivero_worker_options *to,
                        const struct vivero_spawn_options *from,
                        const char *label)
{
    struct vivero_spawn_options spawn;
    int error = vv_options_copy(&spawn, sizeof(spawn), from);

    if (error != VIVERO_OK) {
        return error;
    }
    if (spawn.label != NULL) {
        label = spawn.label;
    } else if (spawn.name != NULL) {
        label = spawn.name;
    }
    return vv_worker_fill_options(
        to, VIVERO_WORKER_OPTIONS(.name = spawn.name, .label = label,
                                  .mailbox_depth = spawn.mailbox_depth,
                                  .trap_exits = spawn.trap_exits,
                                  .stack_size = spawn.stack_size));
}

struct spawning {
    const struct vivero_spawn_options *options;
    vivero_spawn_fn *fn;
    void *argument;
    struct vv_tie_wish wish;
};

static int spawn(const struct spawning *spawning, struct vivero_ref *ref)
{
    int refused = vv_here_may_act();
    struct vivero_worker_options filled;
    struct vv_single *single;
    int error;

    if (refused != VIVERO_OK) {
        return refused;
    }
    error = fill_options(&filled, spawning->options, "spawned");
    if (error == VIVERO_OK) {
        error = vv_single_new(&filled, VV_SINGLE_FUNCTION, &single);
    }
    if (error != VIVERO_OK) {
        return error;
    }
    single->function = spawning->fn;
    single->function_argument = spawning->argument;
    return vv_single_set_going(single, NULL, &spawning->wish, ref);
}

static void check_fn(vivero_spawn_fn *fn, const char *what)
{
    VV_CHECK(fn != NULL, "%s(): the function is NULL", what);
}

int vivero_spawn(const struct vivero_spawn_options *options,
                 vivero_spawn_fn *fn, void *argument, struct vivero_ref *ref)
{
    const struct spawning spawning = {options, fn, argument, {false, NULL}};

    check_fn(fn, "vivero_spawn");
    vv_single_check_place(ref, "vivero_spawn");
    return spawn(&spawning, ref);
}

int vivero_spawn_link(const struct vivero_spawn_options *options,
                      vivero_spawn_fn *fn, void *argument,
                      struct vivero_ref *ref)
{
    const struct spawning spawning = {options, fn, argument, {true, NULL}};

    check_fn(fn, "vivero_spawn_link");
    vv_single_check_place(ref, "vivero_spawn_link");
    vv_single_check_caller("vivero_spawn_link");
    return spawn(&spawning, ref);
}

int vivero_spawn_monitor(const struct vivero_spawn_options *options,
                         vivero_spawn_fn *fn, void *argument,
                         struct vivero_ref *ref, struct vivero_monitor *monitor)
{
    const struct spawning spawning = {options, fn, argument, {false, monitor}};

    check_fn(fn, "vivero_spawn_monitor");
    vv_single_check_place(ref, "vivero_spawn_monitor");
    vv_single_check_place(monitor, "vivero_spawn_monitor");
    vv_single_check_caller("vivero_spawn_monitor");
    return spawn(&spawning, ref);
}

/* ---- Receiving --------------------------------------------------------------------------------- */

/* It is to end. Does not return in a spawned function. */
static int end_for(const struct vv_single *single,
                   const struct vivero_exit *reason)
{
    const struct vivero_exit exit = *reason;

    if (single->kind == VV_SINGLE_FUNCTION) {
        vivero_exit_with(&exit);
    }
    vivero_detach(&exit);
    vv_here()->last_exit = exit;
    return VIVERO_E_DOWN;
}

static int obey(const struct vv_single *single, struct vv_envelope *verdict)
{
    const struct vivero_exit exit = verdict->exit;

    vv_envelope_free(verdict);
    return end_for(single, &exit);
}

/* A call becomes a debt, which is paid by its token. */
static void give_token(struct vv_single *single, struct vv_envelope *envelope)
{
    const struct vv_message *message = &envelope->message;

    if (envelope->kind == VV_ENVELOPE_OPERATION && message->reply != NULL) {
        (void)vv_reply_owe(message->reply, message->generation, &single->debts,
                           &single->info.token);
    }
}

/* VIVERO_OK: info is filled in. AGAIN: there was something else. */
static int take(struct vv_single *single)
{
    struct vv_mail mail;

    if (!vv_entity_take(&single->entity, &mail)) {
        return VIVERO_E_NOT_FOUND;
    }
    if (mail.over) {
        vv_single_given_up(single);
        return end_for(single, &single->exit);
    }
    if (mail.request != NULL) {
        vv_single_serve(single, mail.request);
        return single->ended ? end_for(single, &single->exit) : VIVERO_E_AGAIN;
    }
    if (mail.verdict != NULL) {
        return obey(single, mail.verdict);
    }
    vv_single_fill_info(single, mail.envelope);
    give_token(single, mail.envelope);
    return VIVERO_OK;
}

static bool wait_for_mail(struct vv_single *single, int64_t deadline_ns)
{
    bool came;

    if (deadline_ns == 0) {
        return false;
    }
    came = vv_entity_rest(&single->entity, &single->spin, deadline_ns);
    return came || vv_entity_has_mail(&single->entity);
}

int vivero_receive(const struct vivero_info **info, int64_t timeout_ns)
{
    struct vv_single *single = vv_single_here("vivero_receive");
    int64_t deadline =
        timeout_ns > 0 ? vv_deadline_after(vivero_now(), timeout_ns) : 0;

    VV_CHECK(info != NULL, "vivero_receive(): the place for it is NULL");
    VV_CHECK(single->kind != VV_SINGLE_CALLBACKS,
             "vivero_receive() in worker %s, which has callbacks",
             single->label);
    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    vv_single_drop_info(single);
    for (;;) {
        int result = take(single);

        if (result == VIVERO_OK) {
            *info = &single->info;
            return VIVERO_OK;
        }
        if (result == VIVERO_E_DOWN) {
            return result;
        }
        if (result == VIVERO_E_NOT_FOUND && !wait_for_mail(single, deadline)) {
            return VIVERO_E_TIMED_OUT;
        }
    }
}

/* ---- Attaching ------------------------------------------------------------------------------------- */

static void thread_ends(void)
{
    vivero_detach(NULL);
}

static int attach(struct vv_single *single, struct vivero_ref *ref)
{
    struct vivero_ref fresh;
    struct vivero_ref holder = {0, 0};
    int error = vv_entity_reserve(&fresh);

    if (error != VIVERO_OK) {
        vv_single_free(single);
        return error;
    }
    error = vv_single_bind(single, fresh, &holder);
    if (error != VIVERO_OK) {
        return error;
    }
    vv_entity_set_here(&single->entity);
    vv_here()->on_end = thread_ends;
    *ref = fresh;
    return VIVERO_OK;
}

int vivero_attach(const struct vivero_spawn_options *options,
                  struct vivero_ref *ref)
{
    struct vivero_worker_options filled;
    struct vv_single *single;
    int error;

    vv_single_check_place(ref, "vivero_attach");
    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    if (vv_entity_here() != NULL || vv_here()->worker != NULL) {
        return VIVERO_E_EXISTS;
    }
    error = fill_options(&filled, options, "attached");
    filled.trap_exits = true;
    if (error == VIVERO_OK) {
        error = vv_single_new(&filled, VV_SINGLE_ATTACHED, &single);
    }
    return error == VIVERO_OK ? attach(single, ref) : error;
}

void vivero_detach(const struct vivero_exit *reason)
{
    struct vv_single *single = vv_single_here("vivero_detach");

    VV_CHECK(single->kind == VV_SINGLE_ATTACHED,
             "vivero_detach() on worker %s, which was not attached",
             single->label);
    vv_here()->on_end = NULL;
    vv_entity_set_here(NULL);
    single->exit =
        reason != NULL ? *reason : vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);
    vv_single_finish(single);
    vv_thread_reap();
}
