/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "supervisor/budget.h"

int64_t vv_backoff_delay(int64_t base_ns, int64_t max_ns, uint32_t in_a_row,
                         uint64_t *random)
{
    int64_t delay = base_ns;

    if (base_ns <= 0 || in_a_row == 0) {
        return 0;
    }
    while (--in_a_row > 0 && delay < max_ns) {
        delay = delay > max_ns / 2 ? max_ns : delay * 2;
    }
    if (delay > max_ns) {
        delay = max_ns;
    }
    return delay -
           (int64_t)(vv_random_next(random) % ((uint64_t)delay / 4 + 1));
}
