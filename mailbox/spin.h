/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_SPIN_H
#define MAILBOX_SPIN_H

#include <stdbool.h>
#include <stdint.h>

/* How long to look before sleeping. */
struct vv_spin {
    int64_t limit_ns; /* 0: not at all */
    uint32_t pauses;  /* between two looks at the other threads of this CPU;
                         0: there is one CPU only, looking is giving way */
};

/* Look at ready(ctx) again and again, giving way now and then, until it is
 * true or the time is up. The time adapts: threads whose spinning did not pay
 * off lately spin less. */
bool vv_spin_until(const struct vv_spin *spin, bool (*ready)(void *ctx),
                   void *ctx);

#endif
