/* SPDX-License-Identifier: MIT */
#ifndef TIMER_TIMER_H
#define TIMER_TIMER_H

/* Deadlines with callbacks: one thread for the process, while it is wanted.
 *
 * Everything here but vv_timer_release and vv_timer_cancel_and_wait may be
 * called while holding any mutex, and by a callback. */

#include "timer/heap.h"

#include <stdbool.h>
#include <stdint.h>

struct vv_timer;

/* Runs once for each time the timer was started and not cancelled, on the
 * driver's thread, under no lock, one at a time for all timers: it must be
 * short. It may start and cancel any timer, its own included, and free its
 * own. */
typedef void vv_timer_fn(struct vv_timer *timer);

/* Lives in its owner, who keeps it in place while it is armed. Zeroed: idle. */
struct vv_timer {
    vv_timer_fn *fire;
    struct vv_heap_node node; /* guarded by the module's mutex */
};

/* The driver exists while somebody retains it; whoever starts timers does.
 * Blocks while another thread makes or ends the driver: hold no mutex.
 * Errors: NO_MEMORY, LIMIT. */
int vv_timer_retain(void);
/* The last one ends the driver and waits until it is gone; all timers are idle
 * by then. Misuse in a callback, where it would wait for itself: what a
 * callback ends must leave the release to another thread. */
void vv_timer_release(void);

/* For a timer that is idle. */
void vv_timer_init(struct vv_timer *timer, vv_timer_fn *fire);

/* Fire at due_ns on the monotonic clock, never before: at once if that has
 * passed, never if it is VIVERO_FOREVER. One that is armed forgets the instant
 * it was armed for. Of those due at the same instant the one started first
 * fires first. */
void vv_timer_start(struct vv_timer *timer, int64_t due_ns);

/* True: it was armed, and what it was armed for will not happen. False: it is
 * idle, or its callback is running or has run. */
bool vv_timer_cancel(struct vv_timer *timer);

/* The same, and wait until its callback is not running; whatever that one
 * started is cancelled too. In a callback it does not wait: no other runs. */
bool vv_timer_cancel_and_wait(struct vv_timer *timer);

/* When it fires; 0: it is not armed. */
int64_t vv_timer_due(struct vv_timer *timer);

#endif
