/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_TIME_H
#define VIVERO_TIME_H

#include <vivero/api.h>

/* Time is int64_t nanoseconds. A timeout is a length; a deadline is an instant
 * on the monotonic clock. */
#define VIVERO_NANOSECONDS(n_) ((int64_t)(n_))
#define VIVERO_MICROSECONDS(n_) ((int64_t)(n_)*INT64_C(1000))
#define VIVERO_MILLISECONDS(n_) ((int64_t)(n_)*INT64_C(1000000))
#define VIVERO_SECONDS(n_) ((int64_t)(n_)*INT64_C(1000000000))

/* As a timeout or a deadline: no limit. */
#define VIVERO_FOREVER INT64_MAX

VIVERO_BEGIN

/* Nanoseconds on the monotonic clock; what deadlines are compared with. */
VIVERO_API int64_t vivero_now(void);

VIVERO_END

#endif
