/* SPDX-License-Identifier: MIT */
/* single_start: starting a worker on its own, and waiting until it is up. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/options.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "worker/single_private.h"

#include <string.h>

#define DEPTH_DEFAULT 1024u
#define DEPTH_MAX 1048576u
#define CALL_TIMEOUT_DEFAULT VIVERO_SECONDS(5)
#define DEADLINE_MIN VIVERO_MILLISECONDS(10)
#define HANG_REPORT_DEFAULT VIVERO_SECONDS(10)
#define SPIN_DEFAULT VIVERO_MICROSECONDS(50)

VV_NO_TAIL_PADDING(struct vivero_worker_options, reserved);

void vivero_worker_options_init(struct vivero_worker_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

/* ---- Options ------------------------------------------------------------------- */

static bool is_time(int64_t time_ns)
{
    return time_ns >= 0 || time_ns == VIVERO_NONE;
}

static bool are_lengths_valid(const struct vivero_worker_options *options)
{
    return is_time(options->hang_report_ns) &&
           (options->deadline_ns == 0 ||
            options->deadline_ns >= DEADLINE_MIN) &&
           (options->deadline_ns > 0 ||
            options->on_hang == VIVERO_HANG_REPORT) &&
           (unsigned)options->on_hang <= VIVERO_HANG_ABORT &&
           options->reserved == 0;
}

static bool are_valid(const struct vivero_worker_options *options)
{
    return (options->name == NULL || options->name[0] != '\0') &&
           options->mailbox_depth <= DEPTH_MAX &&
           options->full_call <= VIVERO_FULL_DROP_NEWEST &&
           options->full_cast <= VIVERO_FULL_DROP_NEWEST &&
           is_time(options->call_timeout_ns) && is_time(options->spin_ns) &&
           options->start_timeout_ns >= 0 && are_lengths_valid(options) &&
           (options->argument != NULL || options->argument_size == 0) &&
           options->payload_size < SIZE_MAX / 2;
}

static void default_time(int64_t *time_ns, int64_t value_ns)
{
    if (*time_ns == 0) {
        *time_ns = value_ns;
    } else if (*time_ns == VIVERO_NONE) {
        *time_ns = 0;
    }
}

int vv_worker_fill_options(struct vivero_worker_options *to,
                           const struct vivero_worker_options *from)
{
    int error = vv_options_copy(to, sizeof(*to), from);

    if (error != VIVERO_OK || !are_valid(to)) {
        return VIVERO_E_INVALID;
    }
    if (to->mailbox_depth == 0) {
        to->mailbox_depth = DEPTH_DEFAULT;
    }
    if (to->full_call == VIVERO_FULL_DEFAULT) {
        to->full_call = VIVERO_FULL_WAIT;
    }
    if (to->full_cast == VIVERO_FULL_DEFAULT) {
        to->full_cast = VIVERO_FULL_REJECT;
    }
    default_time(&to->call_timeout_ns, CALL_TIMEOUT_DEFAULT);
    default_time(&to->spin_ns, SPIN_DEFAULT);
    default_time(&to->hang_report_ns, HANG_REPORT_DEFAULT);
    if (to->hang_report_ns == 0) {
        to->hang_report_ns = VIVERO_FOREVER; /* VIVERO_NONE: never */
    }
    if (to->start_timeout_ns == 0) {
        to->start_timeout_ns = VIVERO_FOREVER;
    }
    return VIVERO_OK;
}

/* ---- Starting ------------------------------------------------------------------------ */

/* Tie it before it runs, so that its end cannot be missed. */
static int tie(struct vv_single *single, const struct vv_tie_wish *wish)
{
    struct vv_entity *self = vv_entity_here();
    int error = VIVERO_OK;

    if (wish->link) {
        error = vv_entity_link(self, single->entity.ref);
    }
    if (error == VIVERO_OK && wish->monitor != NULL) {
        error = vv_entity_monitor(self, single->entity.ref, wish->monitor);
    }
    return error;
}

/* A start that failed leaves nothing behind with the starter. */
static void untie(struct vivero_ref ref, const struct vv_tie_wish *wish)
{
    if (wish->link) {
        (void)vivero_unlink(ref, true);
    }
    if (wish->monitor != NULL) {
        (void)vivero_demonitor(*wish->monitor, true);
    }
}

int vv_single_set_going(struct vv_single *single, struct vv_starter *starter,
                        const struct vv_tie_wish *wish, struct vivero_ref *ref)
{
    struct vivero_ref fresh;
    struct vivero_ref holder = {0, 0};
    int error = vv_entity_reserve(&fresh);

    if (error != VIVERO_OK) {
        vv_single_free(single);
        return error;
    }
    single->entity.owner = starter != NULL ? &starter->owner : NULL;
    if (wish->link) {
        single->entity.parent = vivero_current();
    }
    error = vv_single_bind(single, fresh, &holder);
    if (error != VIVERO_OK) {
        if (error == VIVERO_E_EXISTS) {
            *ref = holder;
        }
        return error;
    }
    error = tie(single, wish);
    if (error == VIVERO_OK) {
        error = vv_single_launch(single);
    }
    if (error != VIVERO_OK) {
        untie(fresh, wish);
        vv_single_cancel(single, error);
        return error;
    }
    *ref = fresh;
    return VIVERO_OK;
}

/* It is still in its init: from now on it is dead to all others. */
static void give_up(struct vv_starter *starter, struct vivero_ref ref,
                    const struct vv_tie_wish *wish)
{
    const struct vivero_exit late = vivero_reason(
        VIVERO_EXIT_KILLED, VIVERO_E_TIMED_OUT, "its init took too long");

    untie(ref, wish);
    (void)vv_single_kill(ref, &late);
    /* Or it is ending by itself: then its last word comes in a moment. */
    vv_starter_await_end(starter);
    vv_thread_reap();
}

static int start_failed(struct vv_starter *starter, struct vivero_ref ref,
                        const struct vv_tie_wish *wish)
{
    vv_starter_await_end(starter);
    untie(ref, wish);
    vv_thread_reap();
    if (starter->error == VIVERO_E_DOWN) {
        vv_here()->last_exit = starter->exit;
    }
    return starter->error;
}

static int await_start(struct vv_starter *starter, struct vivero_ref ref,
                       const struct vv_tie_wish *wish, int64_t timeout_ns)
{
    int error = vv_starter_await_start(
        starter, vv_deadline_after(vivero_now(), timeout_ns));

    if (error != VIVERO_OK) {
        give_up(starter, ref, wish);
        return error;
    }
    if (starter->error != VIVERO_OK) {
        return start_failed(starter, ref, wish);
    }
    (void)vv_entity_disown(ref);
    return VIVERO_OK;
}

static int start(const struct vivero_worker_options *options,
                 const struct vv_tie_wish *wish, struct vivero_ref *ref)
{
    struct vivero_worker_options filled;
    struct vv_starter starter;
    struct vv_single *single;
    int error = vv_here_may_act();

    if (error == VIVERO_OK) {
        error = vv_worker_fill_options(&filled, options);
    }
    if (error == VIVERO_OK) {
        error = vv_single_new(&filled, VV_SINGLE_CALLBACKS, &single);
    }
    if (error != VIVERO_OK) {
        return error;
    }
    vv_starter_init(&starter);
    error = vv_single_set_going(single, &starter, wish, ref);
    if (error == VIVERO_OK) {
        error = await_start(&starter, *ref, wish, filled.start_timeout_ns);
        if (error != VIVERO_OK) {
            *ref = (struct vivero_ref){0, 0};
        }
    }
    return error;
}

void vv_single_check_place(const void *place, const char *what)
{
    VV_CHECK(place != NULL, "%s(): the place for the result is NULL", what);
}

void vv_single_check_caller(const char *what)
{
    VV_CHECK(vv_entity_here() != NULL,
             "%s(): the calling thread is no worker on its own, and was not "
             "attached",
             what);
}

int vivero_worker_start(const struct vivero_worker_options *options,
                        struct vivero_ref *ref)
{
    const struct vv_tie_wish none = {false, NULL};

    vv_single_check_place(ref, "vivero_worker_start");
    return start(options, &none, ref);
}

int vivero_worker_start_link(const struct vivero_worker_options *options,
                             struct vivero_ref *ref)
{
    const struct vv_tie_wish link = {true, NULL};

    vv_single_check_place(ref, "vivero_worker_start_link");
    vv_single_check_caller("vivero_worker_start_link");
    return start(options, &link, ref);
}

int vivero_worker_start_payload(const struct vivero_worker_options *options,
                                size_t payload_size, int link,
                                struct vivero_ref *ref)
{
    struct vivero_worker_options sized;
    int error = vv_options_copy(&sized, sizeof(sized), options);

    if (error != VIVERO_OK) {
        return error;
    }
    sized.payload_size = payload_size;
    return link != 0 ? vivero_worker_start_link(&sized, ref)
                     : vivero_worker_start(&sized, ref);
}

int vivero_worker_start_monitor(const struct vivero_worker_options *options,
                                struct vivero_ref *ref,
                                struct vivero_monitor *monitor)
{
    const struct vv_tie_wish wish = {false, monitor};

    vv_single_check_place(ref, "vivero_worker_start_monitor");
    vv_single_check_place(monitor, "vivero_worker_start_monitor");
    vv_single_check_caller("vivero_worker_start_monitor");
    return start(options, &wish, ref);
}
