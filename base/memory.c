/* SPDX-License-Identifier: MIT */
/* memory: where all memory of the library comes from.
 *
 * Model.      Three sources: the program's own allocator if it set one, else
 *             jemalloc if the process has it, else libc. Which one is decided
 *             at every call from facts that cannot change while anything is
 *             allocated, so a block always goes back where it came from. An
 *             account counts what one object holds and may own an arena.
 * jemalloc.   Its functions are weak symbols: a shared library that *needs*
 *             jemalloc cannot be loaded by dlopen (static TLS), and whether a
 *             program wants jemalloc is the program's business. Nothing of
 *             the host's jemalloc is configured, only our arenas are touched.
 * Arenas.     Only for statistics. Both allocation and release bypass the
 *             thread caches: a block of the arena parked in the cache of some
 *             thread would later be handed to a stranger's malloc(). Arenas
 *             are never destroyed (jemalloc keeps address space of destroyed
 *             ones); a closed one is purged and given to the next who asks.
 * Invariants. 1 The allocator changes only while nothing is retained.
 *             2 An arena's bit is set only when nobody owns the arena.
 * Sync.       memory.allocator: the exchanged allocator to those who retain
 *             after it, and the last releases to the one who exchanges.
 * Rejected.   A mutex around the recycled arenas: os is above this layer, and
 *             a bit per arena needs none. A once-flag for jemalloc's presence:
 *             comparing addresses is as cheap as reading the flag. */
#include "base/memory.h"

#include <vivero/error.h>

#include "base/check.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------ */
/* jemalloc, as far as we know it                                           */
/* ------------------------------------------------------------------------ */

#if defined(VV_JEMALLOC_WEAK) || defined(VV_JEMALLOC_LINK)
#if defined(VV_JEMALLOC_WEAK)
#define JEMALLOC_SYMBOL __attribute__((weak))
#else
#define JEMALLOC_SYMBOL
#endif

/* Not from <jemalloc/jemalloc.h>: the weak build must not need it. */
extern void *mallocx(size_t size, int flags) JEMALLOC_SYMBOL;
extern void sdallocx(void *memory, size_t size, int flags) JEMALLOC_SYMBOL;
extern int mallctl(const char *name, void *old, size_t *old_size, void *new_,
                   size_t new_size) JEMALLOC_SYMBOL;

#if defined(VV_JEMALLOC_WEAK)
#define HAS_JEMALLOC() (mallocx != NULL && sdallocx != NULL && mallctl != NULL)
#else
#define HAS_JEMALLOC() true
#endif

#else /* never used, but the code below compiles */
#define HAS_JEMALLOC() false
static inline void *mallocx(size_t size, int flags)
{
    (void)size;
    (void)flags;
    return NULL;
}
static inline void sdallocx(void *memory, size_t size, int flags)
{
    (void)memory;
    (void)size;
    (void)flags;
}
static inline int mallctl(const char *name, void *old, size_t *old_size,
                          void *new_, size_t new_size)
{
    (void)name;
    (void)old;
    (void)old_size;
    (void)new_;
    (void)new_size;
    return ENOENT;
}
#endif

/* The encoding of jemalloc's flags, part of its ABI since 4.0. */
#define FLAG_ZERO 0x40
#define FLAG_TCACHE_NONE 0x100
#define FLAG_ARENA_SHIFT 20

/* jemalloc has no more than 4095 of them. */
#define ARENA_COUNT_MAX 4096
#define ARENA_WORDS (ARENA_COUNT_MAX / 64)

/* atomic: a set bit is an arena waiting for its next owner (invariant 2) */
static _Atomic uint64_t arenas_free[ARENA_WORDS];

/* ------------------------------------------------------------------------ */
/* The allocator hook                                                       */
/* ------------------------------------------------------------------------ */

#define EXCHANGING UINT32_MAX
#define TRY_SMALL ((size_t)64)
#define TRY_LARGE ((size_t)256 * 1024)

/* Guarded by `retained`: written only by who moved it from 0 to EXCHANGING.
 * allocate is NULL for the default. */
static struct vivero_allocator allocator;

/* atomic: objects that are open, or EXCHANGING */
static _Atomic uint32_t retained;

void vv_memory_retain(void)
{
    /* relaxed: only a guess for the exchange below. */
    uint32_t count = atomic_load_explicit(&retained, memory_order_relaxed);

    for (;;) {
        if (count == EXCHANGING) {
            sched_yield();
            /* relaxed: only a guess for the exchange below. */
            count = atomic_load_explicit(&retained, memory_order_relaxed);
            continue;
        }
        /* sync(memory.allocator): sees the allocator that was set last. */
        if (atomic_compare_exchange_weak_explicit(&retained, &count, count + 1,
                                                  memory_order_acquire,
                                                  memory_order_relaxed)) {
            return;
        }
    }
}

void vv_memory_release(void)
{
    uint32_t before;

    /* sync(memory.allocator): whoever exchanges the allocator next does so
     * after our last use of it. */
    before = atomic_fetch_sub_explicit(&retained, 1, memory_order_release);

    VV_ASSERT(before != 0 && before != EXCHANGING);
    (void)before;
}

int vivero_set_allocator(const struct vivero_allocator *wanted)
{
    uint32_t expected = 0;

    VV_CHECK(wanted == NULL ||
                 (wanted->allocate != NULL && wanted->release != NULL),
             "vivero_set_allocator: an allocator needs both functions");
    /* sync(memory.allocator): after the last use by those who released. */
    if (!atomic_compare_exchange_strong_explicit(
            &retained, &expected, EXCHANGING, memory_order_acquire,
            memory_order_relaxed)) {
        return VIVERO_E_AGAIN;
    }
    allocator = wanted != NULL ? *wanted : (struct vivero_allocator){0};
    /* sync(memory.allocator): publishes it to those who retain from now. */
    atomic_store_explicit(&retained, 0, memory_order_release);
    return VIVERO_OK;
}

bool vivero_has_jemalloc(void)
{
    return HAS_JEMALLOC();
}

/* ------------------------------------------------------------------------ */
/* Blocks                                                                   */
/* ------------------------------------------------------------------------ */

static int jemalloc_flags(const struct vv_account *account, size_t alignment)
{
    int flags = __builtin_ctzll(alignment);

    if (account != NULL && account->arena != 0) {
        flags |= (int)(account->arena << FLAG_ARENA_SHIFT) | FLAG_TCACHE_NONE;
    }
    return flags;
}

static void *allocate_from_libc(size_t size, size_t alignment)
{
    void *memory = NULL;

    if (alignment <= _Alignof(max_align_t)) {
        return calloc(1, size);
    }
    if (posix_memalign(&memory, alignment, size) != 0) {
        return NULL;
    }
    return memset(memory, 0, size);
}

static void *allocate_from_hook(size_t size, size_t alignment)
{
    void *memory = allocator.allocate(size, alignment, allocator.ctx);

    return memory == NULL ? NULL : memset(memory, 0, size);
}

static void count_bytes(struct vv_account *account, size_t size)
{
    uint64_t bytes;
    uint64_t peak;

    /* relaxed: statistics only; nobody orders on them. */
    bytes =
        atomic_fetch_add_explicit(&account->bytes, size, memory_order_relaxed) +
        size;
    peak = atomic_load_explicit(&account->bytes_peak, memory_order_relaxed);
    while (peak < bytes) {
        /* relaxed: as above. */
        if (atomic_compare_exchange_weak_explicit(&account->bytes_peak, &peak,
                                                  bytes, memory_order_relaxed,
                                                  memory_order_relaxed)) {
            return;
        }
    }
}

void *vv_allocate(struct vv_account *account, size_t size, size_t alignment)
{
    void *memory;

    VV_ASSERT(size > 0);
    VV_ASSERT(alignment != 0 && (alignment & (alignment - 1)) == 0);
    if (account != NULL) {
        /* relaxed: statistics only. */
        atomic_fetch_add_explicit(&account->allocations, 1,
                                  memory_order_relaxed);
    }
    if (allocator.allocate != NULL) {
        memory = allocate_from_hook(size, alignment);
    } else if (HAS_JEMALLOC()) {
        memory = mallocx(size, jemalloc_flags(account, alignment) | FLAG_ZERO);
    } else {
        memory = allocate_from_libc(size, alignment);
    }
    if (memory != NULL && account != NULL) {
        count_bytes(account, size);
    }
    return memory;
}

void vv_release(struct vv_account *account, void *memory, size_t size,
                size_t alignment)
{
    if (memory == NULL) {
        return;
    }
    if (account != NULL) {
        /* relaxed: statistics only. */
        atomic_fetch_sub_explicit(&account->bytes, size, memory_order_relaxed);
    }
    if (allocator.allocate != NULL) {
        allocator.release(memory, size, alignment, allocator.ctx);
    } else if (HAS_JEMALLOC()) {
        sdallocx(memory, size, jemalloc_flags(account, alignment));
    } else {
        free(memory);
    }
}

/* ------------------------------------------------------------------------ */
/* Arenas                                                                   */
/* ------------------------------------------------------------------------ */

/* An arena out of one word of the recycled ones, + 1; 0: none there. */
static uint32_t take_arena_from(size_t word)
{
    /* relaxed: a bit hands over a number; jemalloc locks its arenas itself. */
    uint64_t bits =
        atomic_load_explicit(&arenas_free[word], memory_order_relaxed);

    while (bits != 0) {
        const uint64_t lowest = bits & (~bits + 1);

        /* relaxed: as above. */
        if (atomic_compare_exchange_weak_explicit(
                &arenas_free[word], &bits, bits & ~lowest, memory_order_relaxed,
                memory_order_relaxed)) {
            return (uint32_t)(word * 64) + (uint32_t)__builtin_ctzll(lowest) +
                   1;
        }
    }
    return 0;
}

static uint32_t take_arena(void)
{
    for (size_t word = 0; word < ARENA_WORDS; word++) {
        const uint32_t arena = take_arena_from(word);

        if (arena != 0) {
            return arena;
        }
    }
    return 0;
}

static int create_arena(uint32_t *arena)
{
    unsigned index = 0;
    size_t size = sizeof(index);
    const int failed = mallctl("arenas.create", &index, &size, NULL, 0);

    if (failed == EAGAIN) {
        return VIVERO_E_LIMIT;
    }
    if (failed != 0 || index >= ARENA_COUNT_MAX) {
        return VIVERO_E_UNSUPPORTED;
    }
    *arena = index + 1;
    return VIVERO_OK;
}

int vv_account_open_arena(struct vv_account *account)
{
    VV_ASSERT(account->arena == 0);
    if (allocator.allocate != NULL || !HAS_JEMALLOC()) {
        return VIVERO_E_UNSUPPORTED;
    }
    account->arena = take_arena();
    return account->arena != 0 ? VIVERO_OK : create_arena(&account->arena);
}

void vv_account_close_arena(struct vv_account *account)
{
    const uint32_t arena = account->arena;
    char name[32];

    if (arena == 0) {
        return;
    }
    account->arena = 0;
    /* Nothing ticks in an unused arena: its free pages would stay for good. */
    (void)snprintf(name, sizeof(name), "arena.%u.purge", (unsigned)(arena - 1));
    (void)mallctl(name, NULL, NULL, NULL, 0);
    /* relaxed: a bit hands over a number; jemalloc locks its arenas itself. */
    atomic_fetch_or_explicit(&arenas_free[(arena - 1) / 64],
                             UINT64_C(1) << ((arena - 1) % 64),
                             memory_order_relaxed);
}

/* 0 when this jemalloc was built without statistics. */
static uint64_t arena_statistic(uint32_t arena, const char *which)
{
    char name[64];
    size_t value = 0;
    size_t size = sizeof(value);

    (void)snprintf(name, sizeof(name), "stats.arenas.%u.%s",
                   (unsigned)(arena - 1), which);
    return mallctl(name, &value, &size, NULL, 0) == 0 ? value : 0;
}

/* Takes the locks of all arenas. */
static void refresh_statistics(void)
{
    uint64_t epoch = 1;

    (void)mallctl("epoch", NULL, NULL, &epoch, sizeof(epoch));
}

void vv_account_stats(struct vv_account *account,
                      struct vivero_memory_stats *stats)
{
    *stats = (struct vivero_memory_stats){.arena = account->arena};
    /* relaxed: three counters that need not fit together. */
    stats->bytes = atomic_load_explicit(&account->bytes, memory_order_relaxed);
    stats->bytes_peak =
        atomic_load_explicit(&account->bytes_peak, memory_order_relaxed);
    stats->allocations =
        atomic_load_explicit(&account->allocations, memory_order_relaxed);
    if (account->arena == 0) {
        return;
    }
    refresh_statistics();
    stats->arena_allocated =
        arena_statistic(account->arena, "small.allocated") +
        arena_statistic(account->arena, "large.allocated");
    stats->arena_resident = arena_statistic(account->arena, "resident");
}

/* ------------------------------------------------------------------------ */
/* Whether it still works                                                   */
/* ------------------------------------------------------------------------ */

static void try_size(size_t size)
{
    void *volatile plain = malloc(size); /* or the compiler leaves it out */

    free(plain);
    vv_release(NULL, vv_allocate(NULL, size, VV_CACHELINE), size, VV_CACHELINE);
}

void vv_memory_try(void)
{
    try_size(TRY_SMALL);
    try_size(TRY_LARGE);
    if (HAS_JEMALLOC()) {
        refresh_statistics();
    }
}
