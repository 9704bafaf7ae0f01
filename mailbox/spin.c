/* SPDX-License-Identifier: MIT */
/* spin: how long to look before sleeping.
 *
 * A parked thread on another CPU costs tens of microseconds, one that looks is
 * there in a tenth of one. But a thread that looks in vain takes the CPU from
 * the one it waits for. So looking is short, gives way between its bursts, and
 * adapts: its share of the allowed time grows when it paid off and shrinks, to
 * a fiftieth now and then, when it did not. */
#include "mailbox/spin.h"

#include <vivero/time.h>

#include "mailbox/here.h"
#include "os/cpu.h"

#define PERMILLE_MIN 20u
/* At the minimum even that is tried only so often. */
#define PROBE_EVERY 16u
#define PERMILLE_MAX 1000u

static bool look(const struct vv_spin *spin, int64_t until,
                 bool (*ready)(void *ctx), void *ctx)
{
    do {
        for (uint32_t i = 0; i < spin->pauses; i++) {
            if (ready(ctx)) {
                return true;
            }
            vv_cpu_relax();
        }
        vv_cpu_yield();
        if (ready(ctx)) {
            return true;
        }
    } while (vivero_now() < until);
    return false;
}

bool vv_spin_until(const struct vv_spin *spin, bool (*ready)(void *ctx),
                   void *ctx)
{
    struct vv_here *here = vv_here();
    int64_t budget;
    bool paid;

    if (ready(ctx)) {
        return true;
    }
    if (spin->limit_ns <= 0 || (here->spin_permille == PERMILLE_MIN &&
                                ++here->spin_skips % PROBE_EVERY != 0)) {
        return false;
    }
    budget = spin->limit_ns * (int64_t)here->spin_permille / PERMILLE_MAX;
    paid = look(spin, vivero_now() + budget, ready, ctx);
    if (paid) {
        here->spin_permille += (PERMILLE_MAX - here->spin_permille + 7) / 8;
    } else {
        here->spin_permille -= here->spin_permille / 4;
        if (here->spin_permille < PERMILLE_MIN) {
            here->spin_permille = PERMILLE_MIN;
        }
    }
    return paid;
}
