/* SPDX-License-Identifier: MIT */
#ifndef OS_PARK_H
#define OS_PARK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Sleep on a 32-bit word (futex). The word's meaning and its memory orders are
 * the caller's business; these only sleep and wake. */

/* Sleeps while *word == expected, until woken or until deadline_ns on the
 * monotonic clock (VIVERO_FOREVER: no limit). May return at any time for no
 * reason: look at the word again. False: the deadline passed. */
bool vv_park(_Atomic uint32_t *word, uint32_t expected, int64_t deadline_ns);

/* Wakes up to count sleepers; the word may be anything by now. */
void vv_unpark(_Atomic uint32_t *word, uint32_t count);
#define VV_UNPARK_ALL INT32_MAX

#endif
