/* SPDX-License-Identifier: MIT */
/* signal: what an exit signal does to whom it reaches.
 *
 *     reason        from itself   from the parent of     to one that   to one that
 *                                 one that obeys         traps         does not
 *     NORMAL        ends          ends if it traps       message       nothing
 *     KILL          ends, KILLED  ends, KILLED           ends, KILLED  ends, KILLED
 *     any other     as of others  ends                   message       ends
 *
 * What ends it is its verdict, looked at before its next message. Workers with
 * callbacks obey their parent, since it is their terminate that has to know;
 * spawned functions see to that themselves. */
#include <vivero/error.h>

#include "base/check.h"
#include "entity/entity_private.h"
#include "os/thread.h"

enum effect { ENDS, TELLS, NOTHING };

static enum effect effect_of(const struct vv_entity *to,
                             const struct vv_envelope *note)
{
    const bool traps = (to->flags & VV_ENTITY_TRAPS) != 0;
    const bool obeys = (to->flags & VV_ENTITY_OBEYS) != 0 &&
                       !vivero_ref_is_nobody(note->from) &&
                       vivero_ref_equal(note->from, to->parent);
    const bool normal = note->exit.kind == VIVERO_EXIT_NORMAL;

    if (note->exit.kind == VIVERO_EXIT_KILL ||
        (normal && vivero_ref_equal(note->from, to->ref))) {
        return ENDS;
    }
    if (obeys && (traps || !normal)) {
        return ENDS;
    }
    if (traps) {
        return TELLS;
    }
    return normal ? NOTHING : ENDS;
}

struct vv_envelope *vv_entity_signal_locked(struct vv_entity *to,
                                            struct vv_envelope *note)
{
    enum effect effect = effect_of(to, note);
    bool kills = note->exit.kind == VIVERO_EXIT_KILL;
    struct vv_envelope *unused = note;

    note->reserved = true;
    if (effect == TELLS) {
        vv_entity_append_locked(to, note);
        unused = NULL;
    } else if (effect == ENDS && (kills || to->verdict == NULL)) {
        unused = to->verdict;
        to->verdict = note;
        if (kills) {
            note->exit.kind = VIVERO_EXIT_KILLED;
        }
    }
    if (unused != note) {
        vv_entity_poke_locked(to);
    }
    return unused;
}

int vv_entity_signal(struct vivero_ref ref, struct vv_envelope *note)
{
    struct vv_entity *to = vv_entity_lock(ref);
    struct vv_envelope *unused = note;

    if (to != NULL) {
        unused = vv_entity_signal_locked(to, note);
        vv_entity_unlock(to);
    }
    if (unused != NULL) {
        vv_envelope_free(unused);
    }
    return to != NULL ? VIVERO_OK : VIVERO_E_GONE;
}
