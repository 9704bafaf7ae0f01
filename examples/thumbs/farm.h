/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_FARM_H
#define THUMBS_FARM_H

#include "work.h"

/* Do the work with a supervised pool of threads, until all is settled or the
 * user interrupts: then within two seconds.
 *
 * Returns 0; TIMED_OUT when a worker could not be stopped in time and may still
 * use what work points to; or why the pool could not be opened. */
int farm_run(const struct work *work);

#endif
