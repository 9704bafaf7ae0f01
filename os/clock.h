/* SPDX-License-Identifier: MIT */
#ifndef OS_CLOCK_H
#define OS_CLOCK_H

#include <vivero/time.h>

/* Same clock as vivero_now(), cheaper and only good to a few milliseconds. */
int64_t vv_clock_coarse(void);

/* now + timeout without overflow. VIVERO_FOREVER and more stay VIVERO_FOREVER;
 * a negative timeout counts as 0. */
int64_t vv_deadline_after(int64_t now_ns, int64_t timeout_ns);

#endif
