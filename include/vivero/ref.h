/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_REF_H
#define VIVERO_REF_H

/* Plain values that name what may have ended meanwhile. What is done with them
 * is in entity.h. */

#include <vivero/api.h>

/* Names one incarnation of an entity. A plain value that may outlive it: using
 * one whose entity has ended is normal and answers VIVERO_E_GONE. All zero:
 * nobody. */
struct vivero_ref {
    uint32_t slot;
    uint32_t generation;
};

/* Names one watch of vivero_monitor(). */
struct vivero_monitor {
    uint32_t slot;
    uint32_t generation;
};

/* Names one timer of vivero_tell_after(). */
struct vivero_timer {
    uint32_t slot;
    uint32_t generation;
};

#endif
