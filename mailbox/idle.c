/* SPDX-License-Identifier: MIT */
/* idle: which seats are idle, one bit each.
 *
 * Sync.  idle.word: setting a bit hands the worker (payload, counters, cell
 *        heads) to whoever clears it. seq_cst throughout: total order because
 *        a worker sets its bit and then looks for messages, while a producer
 *        puts its message (mailbox.tail) and then looks for a bit. One of the
 *        two sees the other. */
#include "mailbox/idle.h"

#include <vivero/error.h>

int vv_idle_init(struct vv_idle_set *set, uint32_t seats,
                 struct vv_account *account)
{
    set->count = (seats + 63) / 64;
    /* Whole lines: its neighbours are not written by waking threads. */
    set->words =
        vv_allocate(account, (set->count * sizeof(*set->words) + 63) / 64 * 64,
                    VV_CACHELINE);
    return set->words != NULL ? VIVERO_OK : VIVERO_E_NO_MEMORY;
}

void vv_idle_fini(struct vv_idle_set *set, struct vv_account *account)
{
    vv_release(account, set->words,
               (set->count * sizeof(*set->words) + 63) / 64 * 64, VV_CACHELINE);
    set->words = NULL;
}

static uint64_t bit(uint32_t seat)
{
    return UINT64_C(1) << (seat % 64);
}

void vv_idle_set(struct vv_idle_set *set, uint32_t seat)
{
    /* sync(idle.word): seq_cst, see above. */
    atomic_fetch_or_explicit(&set->words[seat / 64], bit(seat),
                             memory_order_seq_cst);
}

bool vv_idle_clear(struct vv_idle_set *set, uint32_t seat)
{
    /* sync(idle.word): seq_cst, see above. */
    return (atomic_fetch_and_explicit(&set->words[seat / 64], ~bit(seat),
                                      memory_order_seq_cst) &
            bit(seat)) != 0;
}

bool vv_idle_is_set(const struct vv_idle_set *set, uint32_t seat)
{
    /* sync(idle.word): seq_cst, see above. */
    return (atomic_load_explicit(&set->words[seat / 64], memory_order_seq_cst) &
            bit(seat)) != 0;
}
