/* SPDX-License-Identifier: MIT */
#include "os/clock.h"

#include <time.h>

#ifdef CLOCK_MONOTONIC_COARSE
#define COARSE CLOCK_MONOTONIC_COARSE
#else
#define COARSE CLOCK_MONOTONIC
#endif

/* Cannot fail: both clocks exist and now is valid. */
static int64_t read_clock(clockid_t clock)
{
    struct timespec now = {0};

    (void)clock_gettime(clock, &now);
    return VIVERO_SECONDS(now.tv_sec) + now.tv_nsec;
}

int64_t vivero_now(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t vv_clock_coarse(void)
{
    return read_clock(COARSE);
}

int64_t vv_deadline_after(int64_t now_ns, int64_t timeout_ns)
{
    if (timeout_ns <= 0) {
        return now_ns;
    }
    if (now_ns > 0 && timeout_ns > VIVERO_FOREVER - now_ns) {
        return VIVERO_FOREVER;
    }
    return timeout_ns == VIVERO_FOREVER ? VIVERO_FOREVER : now_ns + timeout_ns;
}
