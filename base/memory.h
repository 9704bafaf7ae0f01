/* SPDX-License-Identifier: MIT */
#ifndef BASE_MEMORY_H
#define BASE_MEMORY_H

#include <vivero/memory.h>

#include <stdatomic.h>

#define VV_CACHELINE 64

/* Both sides of a comment at the field say who would share the line. */
#define VV_CACHELINE_ALIGNED _Alignas(VV_CACHELINE)

/* Who pays: one account per object that reports its memory. Zeroed is valid
 * and means the default arena. Atomic: charged from any thread. */
struct vv_account {
    _Atomic uint64_t bytes;
    _Atomic uint64_t bytes_peak;
    _Atomic uint64_t allocations;
    uint32_t arena; /* jemalloc arena + 1, 0: none. Fixed at open */
};

/* Zeroed memory, or NULL. account may be NULL. size > 0; alignment is a power
 * of two. All memory of the library comes from here. */
void *vv_allocate(struct vv_account *account, size_t size, size_t alignment);

/* NULL is fine. size and alignment as given to vv_allocate. */
void vv_release(struct vv_account *account, void *memory, size_t size,
                size_t alignment);

/* Allocate and release, by the source of the library's memory and by malloc().
 * Does not come back, or dies, if they were left in disorder. */
void vv_memory_try(void);

/* Give the account a jemalloc arena of its own, recycled from a closed one if
 * possible. UNSUPPORTED without jemalloc or with a user's allocator. */
int vv_account_open_arena(struct vv_account *account);
/* Back to the recycling list; nothing of it may be allocated any more. */
void vv_account_close_arena(struct vv_account *account);
void vv_account_stats(struct vv_account *account,
                      struct vivero_memory_stats *stats);

/* While any object is open the allocator cannot be exchanged. */
void vv_memory_retain(void);
void vv_memory_release(void);

#endif
