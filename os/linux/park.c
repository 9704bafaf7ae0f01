/* SPDX-License-Identifier: MIT */
#include "os/park.h"

#include <vivero/time.h>

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The plain wait takes a relative time; only this one takes an instant, and
 * without FUTEX_CLOCK_REALTIME that is one of the monotonic clock. */
#define WAIT (FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG)
#define WAKE (FUTEX_WAKE | FUTEX_PRIVATE_FLAG)

/* On 32-bit systems there are two calls, by the width of time_t. */
static long futex(_Atomic uint32_t *word, int operation, uint32_t value,
                  const struct timespec *until)
{
#ifdef SYS_futex_time64
    if (sizeof(time_t) > sizeof(long)) {
        return syscall(SYS_futex_time64, word, operation, value, until, NULL,
                       FUTEX_BITSET_MATCH_ANY);
    }
#endif
    return syscall(SYS_futex, word, operation, value, until, NULL,
                   FUTEX_BITSET_MATCH_ANY);
}

bool vv_park(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns)
{
    const int64_t deadline = deadline_ns < 0 ? 0 : deadline_ns;
    struct timespec until;

    if (deadline == VIVERO_FOREVER) {
        (void)futex(word, WAIT, expected, NULL);
        return true;
    }
    until.tv_sec = (time_t)(deadline / VIVERO_SECONDS(1));
    until.tv_nsec = (long)(deadline % VIVERO_SECONDS(1));
    return futex(word, WAIT, expected, &until) == 0 || errno != ETIMEDOUT;
}

void vv_unpark(_Atomic uint32_t *word, uint32_t count)
{
    (void)futex(word, WAKE, count, NULL);
}
