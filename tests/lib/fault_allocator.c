/* SPDX-License-Identifier: MIT */
#include "tests/lib/fault_allocator.h"

#include <vivero/error.h>
#include <vivero/memory.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC UINT64_C(0x76697665726f2121)
#define RUBBISH 0xa5

/* Right before the block; in front of it as much room as the alignment asks.
 * Another MAGIC is right behind the block. */
struct header {
    size_t size;
    size_t alignment;
    void *start; /* what libc gave */
    uint64_t magic;
};

static _Atomic uint64_t calls;
static _Atomic uint64_t blocks;
static _Atomic uint64_t bytes;
static _Atomic uint64_t mistakes;
static _Atomic uint64_t left = FAULT_NEVER; /* successes before the failure */
static _Atomic size_t last_size;
static _Atomic size_t last_alignment;

static uint64_t get(_Atomic uint64_t *counter)
{
    /* relaxed: whoever asks has joined those who count. */
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void add(_Atomic uint64_t *counter, uint64_t what)
{
    /* relaxed: whoever asks has joined those who count. */
    atomic_fetch_add_explicit(counter, what, memory_order_relaxed);
}

static void set(_Atomic uint64_t *counter, uint64_t to)
{
    /* relaxed: whoever asks has joined those who count. */
    atomic_store_explicit(counter, to, memory_order_relaxed);
}

/* Exactly one caller gets true. */
static bool shall_fail(void)
{
    uint64_t before = get(&left);
    uint64_t after;

    do {
        if (before == FAULT_NEVER) {
            return false;
        }
        after = before == 0 ? FAULT_NEVER : before - 1;
        /* relaxed: one number, nothing behind it. */
    } while (!atomic_compare_exchange_weak_explicit(
        &left, &before, after, memory_order_relaxed, memory_order_relaxed));
    return before == 0;
}

static size_t room_before(size_t alignment)
{
    return (sizeof(struct header) + alignment - 1) / alignment * alignment;
}

static struct header *header_of(void *memory)
{
    return (struct header *)(void *)((unsigned char *)memory -
                                     sizeof(struct header));
}

static void *fault_allocate(size_t size, size_t alignment, void *ctx)
{
    /* The header itself has to be aligned too. */
    const size_t real = alignment < _Alignof(struct header)
                            ? _Alignof(struct header)
                            : alignment;
    const uint64_t magic = MAGIC;
    void *start = NULL;
    unsigned char *memory;

    (void)ctx;
    add(&calls, 1);
    /* relaxed: read by tests that allocate on one thread. */
    atomic_store_explicit(&last_size, size, memory_order_relaxed);
    atomic_store_explicit(&last_alignment, alignment, memory_order_relaxed);
    if (shall_fail() ||
        posix_memalign(&start, real,
                       room_before(real) + size + sizeof(magic)) != 0) {
        return NULL;
    }
    memory = (unsigned char *)start + room_before(real);
    *header_of(memory) = (struct header){size, alignment, start, magic};
    memset(memory, RUBBISH, size);
    memcpy(memory + size, &magic, sizeof(magic));
    add(&blocks, 1);
    add(&bytes, size);
    return memory;
}

static void fault_release(void *memory, size_t size, size_t alignment,
                          void *ctx)
{
    const struct header header = *header_of(memory);
    uint64_t behind;

    (void)ctx;
    if (header.magic != MAGIC) {
        /* Not ours, or overwritten: keep away from it. */
        add(&mistakes, 1);
        return;
    }
    memcpy(&behind, (unsigned char *)memory + header.size, sizeof(behind));
    if (header.size != size || header.alignment != alignment ||
        behind != MAGIC) {
        add(&mistakes, 1);
    }
    add(&blocks, UINT64_MAX);
    add(&bytes, UINT64_MAX - header.size + 1);
    header_of(memory)->magic = 0;
    memset(memory, RUBBISH, header.size);
    free(header.start);
}

bool fault_allocator_install(void)
{
    static const struct vivero_allocator allocator = {
        .allocate = fault_allocate, .release = fault_release};

    if (vivero_set_allocator(&allocator) != VIVERO_OK) {
        return false;
    }
    set(&calls, 0);
    set(&blocks, 0);
    set(&bytes, 0);
    set(&mistakes, 0);
    set(&left, FAULT_NEVER);
    return true;
}

bool fault_allocator_uninstall(void)
{
    set(&left, FAULT_NEVER);
    return vivero_set_allocator(NULL) == VIVERO_OK;
}

void fault_allocator_fail_after(uint64_t n)
{
    set(&left, n);
}

uint64_t fault_allocator_calls(void)
{
    return get(&calls);
}

uint64_t fault_allocator_blocks(void)
{
    return get(&blocks);
}

uint64_t fault_allocator_bytes(void)
{
    return get(&bytes);
}

uint64_t fault_allocator_mistakes(void)
{
    return get(&mistakes);
}

size_t fault_allocator_last_size(void)
{
    /* relaxed: read by tests that allocate on one thread. */
    return atomic_load_explicit(&last_size, memory_order_relaxed);
}

size_t fault_allocator_last_alignment(void)
{
    /* relaxed: read by tests that allocate on one thread. */
    return atomic_load_explicit(&last_alignment, memory_order_relaxed);
}
