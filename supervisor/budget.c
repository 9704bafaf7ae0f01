/* SPDX-License-Identifier: MIT */
#include "supervisor/budget.h"

#include <vivero/error.h>

#include <stddef.h>

static size_t times_size(const struct vv_budget *budget)
{
    return budget->intensity == VV_INTENSITY_UNLIMITED
               ? 0
               : budget->intensity * sizeof(int64_t);
}

int vv_budget_init(struct vv_budget *budget, uint32_t intensity,
                   int64_t period_ns, struct vv_account *account)
{
    *budget =
        (struct vv_budget){.intensity = intensity, .period_ns = period_ns};
    if (times_size(budget) == 0) {
        return VIVERO_OK;
    }
    budget->times = vv_allocate(account, times_size(budget), _Alignof(int64_t));
    return budget->times != NULL ? VIVERO_OK : VIVERO_E_NO_MEMORY;
}

void vv_budget_fini(struct vv_budget *budget, struct vv_account *account)
{
    vv_release(account, budget->times, times_size(budget), _Alignof(int64_t));
    budget->times = NULL;
}

bool vv_budget_spend(struct vv_budget *budget, int64_t now_ns)
{
    int64_t oldest_that_counts = now_ns - budget->period_ns;

    if (budget->intensity == VV_INTENSITY_UNLIMITED) {
        return true;
    }
    if (budget->intensity == 0) {
        return false;
    }
    if (budget->count == budget->intensity) {
        if (budget->times[budget->next] >= oldest_that_counts) {
            return false;
        }
    } else {
        budget->count++;
    }
    budget->times[budget->next] = now_ns;
    budget->next = (budget->next + 1) % budget->intensity;
    return true;
}

void vv_budget_reset(struct vv_budget *budget)
{
    budget->count = 0;
    budget->next = 0;
}
