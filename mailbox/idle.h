/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_IDLE_H
#define MAILBOX_IDLE_H

/* Which seats are idle: one bit each. Whoever clears a bit owns that worker
 * until it sets it again or lets the worker's thread do so. */

#include "base/memory.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VV_IDLE_NONE UINT32_MAX

struct vv_idle_set {
    _Atomic uint64_t *words;
    uint32_t count; /* of words */
};

int vv_idle_init(struct vv_idle_set *set, uint32_t seats,
                 struct vv_account *account);
void vv_idle_fini(struct vv_idle_set *set, struct vv_account *account);

/* I am idle. Everything this thread did before is seen by who clears the bit;
 * everything it looks at afterwards is looked at after the bit is seen. */
void vv_idle_set(struct vv_idle_set *set, uint32_t seat);
/* True: the bit was set and is now mine. */
bool vv_idle_clear(struct vv_idle_set *set, uint32_t seat);
bool vv_idle_is_set(const struct vv_idle_set *set, uint32_t seat);
/* The lowest idle seat, or VV_IDLE_NONE. Low seats stay warm. */
static inline uint32_t vv_idle_first(const struct vv_idle_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        /* sync(idle.word): seq_cst, see idle.c. */
        uint64_t word =
            atomic_load_explicit(&set->words[i], memory_order_seq_cst);

        if (word != 0) {
            return i * 64 + (uint32_t)__builtin_ctzll(word);
        }
    }
    return VV_IDLE_NONE;
}

#endif
