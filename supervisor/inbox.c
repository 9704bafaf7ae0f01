/* SPDX-License-Identifier: MIT */
/* inbox: what comes in through a supervisor's entity: requests, exit signals, the
 * word of the supervisor above it. */
#include "supervisor/supervisor_private.h"

/* ---- What comes in --------------------------------------------------------------------- */

/* An exit signal that is no child's own. Normal ones mean nothing to others. */
static void heed_exit(struct vv_supervisor *supervisor,
                      const struct vv_envelope *envelope)
{
    if (envelope->kind == VV_ENVELOPE_EXIT &&
        envelope->exit.kind != VIVERO_EXIT_NORMAL &&
        vv_ward_find_ref(supervisor, envelope->from) == NULL) {
        vv_supervisor_begin_stop(supervisor, &envelope->exit);
    }
}

static void heed_supervisor_above(struct vv_supervisor *supervisor)
{
    struct vivero_exit reason;
    bool told;

    vv_mutex_lock(&supervisor->loop.lock);
    told = supervisor->told_to_stop;
    reason = supervisor->told_reason;
    vv_mutex_unlock(&supervisor->loop.lock);
    if (told) {
        vv_supervisor_begin_stop(supervisor, &reason);
    }
}

/* One whose end has been declared by the supervisor above it has nothing to take
 * any more, but children to stop. */
void vv_supervisor_look(void *ctx)
{
    static const struct vivero_exit killed = {.kind = VIVERO_EXIT_KILLED};
    struct vv_supervisor *supervisor = ctx;
    struct vv_mail mail = {.over = false};

    heed_supervisor_above(supervisor);
    while (!mail.over && vv_entity_take(&supervisor->entity, &mail)) {
        if (mail.over) {
            vv_supervisor_begin_stop(supervisor, &killed);
        } else if (mail.request != NULL) {
            vv_call_arrived(supervisor, (struct vv_call *)mail.request);
        } else if (mail.verdict != NULL) {
            vv_supervisor_begin_stop(supervisor, &mail.verdict->exit);
            vv_envelope_free(mail.verdict);
        } else {
            heed_exit(supervisor, mail.envelope);
            vv_envelope_free(mail.envelope);
        }
    }
}
