/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_MEMORY_H
#define VIVERO_MEMORY_H

#include <vivero/api.h>

#include <stdbool.h>

/* Where all memory of the library comes from. allocate returns NULL when there
 * is none; alignment is a power of two. release gets back the size and the
 * alignment it was asked for. Both may be called from any thread. */
struct vivero_allocator {
    void *(*allocate)(size_t size, size_t alignment, void *ctx);
    void (*release)(void *memory, size_t size, size_t alignment, void *ctx);
    void *ctx;
};

/* What one object (a pool) holds. Bytes are counted as asked for, without the
 * allocator's own overhead; the arena fields come from jemalloc. */
struct vivero_memory_stats {
    uint64_t bytes;       /* held now */
    uint64_t bytes_peak;  /* the most ever held */
    uint64_t allocations; /* calls of the allocator since open */
    uint32_t arena;       /* jemalloc arena + 1; 0: no arena of its own */
    uint32_t reserved;
    uint64_t arena_allocated; /* bytes in live allocations of that arena */
    uint64_t arena_resident;  /* bytes of it backed by physical pages */
};

VIVERO_BEGIN

/* Replace the allocator; NULL restores the default: jemalloc's mallocx when
 * the program has it, else the C library's.
 *
 * Errors: AGAIN while any object of the library is open, or a snapshot is not
 * freed. */
VIVERO_API VIVERO_MUST_USE int
vivero_set_allocator(const struct vivero_allocator *allocator);

/* Whether jemalloc was found in this process. */
VIVERO_API bool vivero_has_jemalloc(void);

VIVERO_END

#endif
