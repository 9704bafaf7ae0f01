/* SPDX-License-Identifier: MIT */
#ifndef SUPERVISOR_BUDGET_H
#define SUPERVISOR_BUDGET_H

/* How often and how soon something may be started again. No clock in here. */

#include "base/memory.h"

#include <stdbool.h>
#include <stdint.h>

/* Restarts allowed in a window: at most `intensity` within `period_ns`. */
struct vv_budget {
    int64_t *times; /* ring of the latest restarts; NULL when none is kept */
    uint32_t intensity;
    uint32_t count;
    uint32_t next;
    int64_t period_ns;
};

#define VV_INTENSITY_UNLIMITED UINT32_MAX

/* Errors: NO_MEMORY, and then there is nothing to undo. */
int vv_budget_init(struct vv_budget *budget, uint32_t intensity,
                   int64_t period_ns, struct vv_account *account);
void vv_budget_fini(struct vv_budget *budget, struct vv_account *account);

/* One restart at now. False: that is one too many: the ring is full and its
 * oldest entry is not older than the period (t >= now - period counts). */
bool vv_budget_spend(struct vv_budget *budget, int64_t now_ns);

/* As if nothing had been spent. */
void vv_budget_reset(struct vv_budget *budget);

/* Delay before restart number `in_a_row` (0: the first), doubling from base up
 * to max, each with up to a quarter of jitter taken off. base 0: none. */
int64_t vv_backoff_delay(int64_t base_ns, int64_t max_ns, uint32_t in_a_row,
                         uint64_t *random);

#endif
