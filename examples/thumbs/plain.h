/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_PLAIN_H
#define THUMBS_PLAIN_H

#include "work.h"

/* The same work without a pool, for comparison. */

/* Plain threads that nobody watches over: the first bad picture is the end of
 * the process. Returns 0 or an errno. */
int plain_run_bare(const struct work *work);

/* One after another, on this thread. */
int plain_run_serial(const struct work *work);

#endif
