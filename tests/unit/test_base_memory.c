/* SPDX-License-Identifier: MIT */
#include <vivero/error.h>
#include <vivero/memory.h>

#include "base/memory.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>

#define KIB ((size_t)1024)

static bool all_zero(const unsigned char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

/* Takes, spoils and gives back one block; what was wrong with it. */
static const char *fault_of_block(size_t size, size_t alignment)
{
    unsigned char *memory = vv_allocate(NULL, size, alignment);
    const char *fault = "";

    if (memory == NULL) {
        return "none";
    }
    if ((uintptr_t)memory % alignment != 0) {
        fault = "not aligned";
    } else if (!all_zero(memory, size)) {
        fault = "not zero";
    }
    memset(memory, 0xff, size);
    vv_release(NULL, memory, size, alignment);
    return fault;
}

static void every_block_is_zero_and_aligned(void)
{
    static const size_t sizes[] = {1, 7, 24, 64, 1000, 4096, 100000, 3000000};

    /* Twice: the second time they are not fresh from the system. */
    for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(sizes[0]); i++) {
        for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
            CU_ASSERT_STRING_EQUAL(fault_of_block(sizes[i / 2], alignment), "");
        }
    }
}

static void releasing_nothing_is_fine(void)
{
    struct vv_account account = {0};

    vv_release(NULL, NULL, 10, 8);
    vv_release(&account, NULL, 10, 8);

    CU_ASSERT_EQUAL(account.bytes, 0);
}

static void an_account_knows_what_is_held_and_the_most_ever_held(void)
{
    struct vv_account account = {0};
    struct vivero_memory_stats stats;
    void *small = vv_allocate(&account, 100, 8);
    void *large = vv_allocate(&account, 5000, 64);

    vv_release(&account, large, 5000, 64);
    vv_account_stats(&account, &stats);

    CU_ASSERT_EQUAL(stats.bytes, 100);
    CU_ASSERT_EQUAL(stats.bytes_peak, 5100);
    CU_ASSERT_EQUAL(stats.allocations, 2);
    CU_ASSERT_EQUAL(stats.arena, 0);
    CU_ASSERT_EQUAL(stats.arena_allocated, 0);
    vv_release(&account, small, 100, 8);
}

#define CHARGES 2000

static void *charge_and_discharge(void *ctx)
{
    struct vv_account *account = ctx;

    for (int i = 0; i < CHARGES; i++) {
        vv_release(account, vv_allocate(account, 48, 16), 48, 16);
    }
    return NULL;
}

static void an_account_may_be_charged_by_many_threads(void)
{
    struct vv_account account = {0};
    struct vivero_memory_stats stats;
    pthread_t threads[4];

    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL_FATAL(
            pthread_create(&threads[i], NULL, charge_and_discharge, &account),
            0);
    }
    for (size_t i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    vv_account_stats(&account, &stats);

    CU_ASSERT_EQUAL(stats.bytes, 0);
    CU_ASSERT_TRUE(stats.bytes_peak >= 48);
    CU_ASSERT_TRUE(stats.bytes_peak <= 4 * 48);
    CU_ASSERT_EQUAL(stats.allocations, 4 * CHARGES);
}

/* ------------------------------------------------------------------------ */
/* The program's own allocator                                              */
/* ------------------------------------------------------------------------ */

static void the_programs_allocator_sees_size_and_alignment(void)
{
    void *memory;

    CU_ASSERT_TRUE_FATAL(fault_allocator_install());
    memory = vv_allocate(NULL, 1234, 128);

    CU_ASSERT_EQUAL(fault_allocator_last_size(), 1234);
    CU_ASSERT_EQUAL(fault_allocator_last_alignment(), 128);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 1);
    CU_ASSERT_EQUAL(fault_allocator_bytes(), 1234);
    vv_release(NULL, memory, 1234, 128);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_bytes(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
}

static void the_programs_allocator_need_not_clear_its_blocks(void)
{
    CU_ASSERT_TRUE_FATAL(fault_allocator_install());

    CU_ASSERT_STRING_EQUAL(fault_of_block(100, 1), "");
    CU_ASSERT_STRING_EQUAL(fault_of_block(5000, 64), "");
}

static void a_failed_allocation_charges_nobody(void)
{
    struct vv_account account = {0};

    CU_ASSERT_TRUE_FATAL(fault_allocator_install());
    fault_allocator_fail_after(0);

    CU_ASSERT_PTR_NULL(vv_allocate(&account, 100, 8));
    CU_ASSERT_EQUAL(account.bytes, 0);
    CU_ASSERT_EQUAL(account.bytes_peak, 0);
}

static void the_fault_allocator_fails_once_and_when_told(void)
{
    void *blocks[3];

    CU_ASSERT_TRUE_FATAL(fault_allocator_install());
    fault_allocator_fail_after(1);
    for (size_t i = 0; i < 3; i++) {
        blocks[i] = vv_allocate(NULL, 10, 8);
    }

    CU_ASSERT_PTR_NOT_NULL(blocks[0]);
    CU_ASSERT_PTR_NULL(blocks[1]);
    CU_ASSERT_PTR_NOT_NULL(blocks[2]);
    CU_ASSERT_EQUAL(fault_allocator_calls(), 3);
    vv_release(NULL, blocks[0], 10, 8);
    vv_release(NULL, blocks[2], 10, 8);
}

static void the_fault_allocator_notices_a_wrong_size(void)
{
    void *memory;

    CU_ASSERT_TRUE_FATAL(fault_allocator_install());
    memory = vv_allocate(NULL, 10, 8);
    vv_release(NULL, memory, 11, 8);

    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 1);
}

static void again_while_something_is_open(void)
{
    vv_memory_retain();
    vv_memory_retain();
    CU_ASSERT_EQUAL(vivero_set_allocator(NULL), VIVERO_E_AGAIN);
    vv_memory_release();
    CU_ASSERT_EQUAL(vivero_set_allocator(NULL), VIVERO_E_AGAIN);
    vv_memory_release();

    CU_ASSERT_EQUAL(vivero_set_allocator(NULL), VIVERO_OK);
}

/* Two allocators that know their own blocks by the ctx in front of them. */
static _Atomic uint64_t strangers;
static _Atomic bool done;

static void *allocate_tagged(size_t size, size_t alignment, void *ctx)
{
    void **memory = malloc(sizeof(max_align_t) + size);

    (void)alignment;
    if (memory == NULL) {
        return NULL;
    }
    *memory = ctx;
    return (unsigned char *)memory + sizeof(max_align_t);
}

static void release_tagged(void *memory, size_t size, size_t alignment,
                           void *ctx)
{
    void **tag =
        (void **)(void *)((unsigned char *)memory - sizeof(max_align_t));

    (void)size;
    (void)alignment;
    /* relaxed: read after the join. */
    atomic_fetch_add_explicit(&strangers, *tag != ctx, memory_order_relaxed);
    free(tag);
}

static void *retain_and_release(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < CHARGES; i++) {
        vv_memory_retain();
        vv_release(NULL, vv_allocate(NULL, 10, 8), 10, 8);
        vv_memory_release();
    }
    /* relaxed: a flag, nothing behind it. */
    atomic_store_explicit(&done, true, memory_order_relaxed);
    return NULL;
}

static void who_retains_keeps_one_allocator_until_he_releases(void)
{
    int tags[2];
    const struct vivero_allocator allocators[] = {
        {allocate_tagged, release_tagged, &tags[0]},
        {allocate_tagged, release_tagged, &tags[1]}};
    pthread_t thread;
    size_t next = 0;

    CU_ASSERT_EQUAL(vivero_set_allocator(&allocators[next]), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(
        pthread_create(&thread, NULL, retain_and_release, NULL), 0);
    /* relaxed: a flag, nothing behind it. */
    while (!atomic_load_explicit(&done, memory_order_relaxed)) {
        next ^= vivero_set_allocator(&allocators[1 - next]) == VIVERO_OK;
    }
    pthread_join(thread, NULL);

    /* relaxed: the thread was joined. */
    CU_ASSERT_EQUAL(atomic_load_explicit(&strangers, memory_order_relaxed), 0);
}

static jmp_buf back;

static void leave(const char *sentence, void *ctx)
{
    (void)sentence;
    (void)ctx;
    longjmp(back, 1);
}

static void half_an_allocator_is_misuse(void)
{
    const struct vivero_allocator half = {.allocate = allocate_tagged};
    volatile bool accepted = false;

    vivero_set_misuse_hook(leave, NULL);
    if (setjmp(back) == 0) {
        accepted = vivero_set_allocator(&half) == VIVERO_OK;
    }

    CU_ASSERT_FALSE(accepted);
}

/* ------------------------------------------------------------------------ */
/* Arenas                                                                   */
/* ------------------------------------------------------------------------ */

/* With jemalloc OK, without it UNSUPPORTED. */
static int expected_of_arenas(void)
{
    return vivero_has_jemalloc() ? VIVERO_OK : VIVERO_E_UNSUPPORTED;
}

static void arenas_are_unsupported_without_jemalloc(void)
{
    struct vv_account account = {0};

    CU_ASSERT_EQUAL(vv_account_open_arena(&account), expected_of_arenas());
    CU_ASSERT_EQUAL(account.arena != 0, vivero_has_jemalloc());
    vv_account_close_arena(&account);
    CU_ASSERT_EQUAL(account.arena, 0);
}

static void arenas_are_unsupported_with_the_programs_allocator(void)
{
    struct vv_account account = {0};

    CU_ASSERT_TRUE_FATAL(fault_allocator_install());

    CU_ASSERT_EQUAL(vv_account_open_arena(&account), VIVERO_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(account.arena, 0);
}

static void two_open_accounts_have_two_arenas(void)
{
    struct vv_account one = {0};
    struct vv_account other = {0};

    CU_ASSERT_EQUAL(vv_account_open_arena(&one), expected_of_arenas());
    CU_ASSERT_EQUAL(vv_account_open_arena(&other), expected_of_arenas());

    CU_ASSERT_EQUAL(one.arena != other.arena, vivero_has_jemalloc());
    vv_account_close_arena(&one);
    vv_account_close_arena(&other);
}

static void a_closed_arena_is_used_again(void)
{
    struct vv_account first = {0};
    struct vv_account second = {0};
    uint32_t arena;

    CU_ASSERT_EQUAL(vv_account_open_arena(&first), expected_of_arenas());
    arena = first.arena;
    vv_account_close_arena(&first);
    CU_ASSERT_EQUAL(vv_account_open_arena(&second), expected_of_arenas());

    CU_ASSERT_EQUAL(second.arena, arena);
    vv_account_close_arena(&second);
}

static void an_arena_tells_what_its_account_holds(void)
{
    const size_t held = vivero_has_jemalloc() ? 1000 * KIB : 0;
    struct vv_account account = {0};
    struct vivero_memory_stats stats;
    void *memory;

    CU_ASSERT_EQUAL(vv_account_open_arena(&account), expected_of_arenas());
    memory = vv_allocate(&account, 1000 * KIB, 64);
    memset(memory, 1, 1000 * KIB);
    vv_account_stats(&account, &stats);

    CU_ASSERT_EQUAL(stats.arena, account.arena);
    CU_ASSERT_TRUE(stats.arena_allocated >= held);
    CU_ASSERT_TRUE(stats.arena_resident >= held);
    vv_release(&account, memory, 1000 * KIB, 64);
    vv_account_close_arena(&account);
}

struct foreign {
    struct vv_account *account;
    void *blocks[100];
};

static void *release_all(void *ctx)
{
    struct foreign *foreign = ctx;

    for (size_t i = 0; i < 100; i++) {
        vv_release(foreign->account, foreign->blocks[i], 64, 8);
    }
    return NULL;
}

/* A block in a thread's cache would still be counted, and would be handed to
 * the next malloc() of that thread. */
static void no_thread_caches_blocks_of_an_arena(void)
{
    struct vv_account account = {0};
    struct foreign foreign = {.account = &account};
    struct vivero_memory_stats stats;
    pthread_t thread;

    CU_ASSERT_EQUAL(vv_account_open_arena(&account), expected_of_arenas());
    for (size_t i = 0; i < 100; i++) {
        foreign.blocks[i] = vv_allocate(&account, 64, 8);
    }
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, release_all, &foreign),
                          0);
    pthread_join(thread, NULL);
    vv_account_stats(&account, &stats);

    CU_ASSERT_EQUAL(stats.bytes, 0);
    CU_ASSERT_EQUAL(stats.arena_allocated, 0);
    vv_account_close_arena(&account);
}

static void restore(void)
{
    vivero_set_misuse_hook(NULL, NULL);
    CU_ASSERT_TRUE(fault_allocator_uninstall());
}

SUITE_MAIN("base_memory", NULL, restore, TEST(every_block_is_zero_and_aligned),
           TEST(releasing_nothing_is_fine),
           TEST(an_account_knows_what_is_held_and_the_most_ever_held),
           TEST(an_account_may_be_charged_by_many_threads),
           TEST(the_programs_allocator_sees_size_and_alignment),
           TEST(the_programs_allocator_need_not_clear_its_blocks),
           TEST(a_failed_allocation_charges_nobody),
           TEST(the_fault_allocator_fails_once_and_when_told),
           TEST(the_fault_allocator_notices_a_wrong_size),
           TEST(again_while_something_is_open),
           TEST(who_retains_keeps_one_allocator_until_he_releases),
           TEST(half_an_allocator_is_misuse),
           TEST(arenas_are_unsupported_without_jemalloc),
           TEST(arenas_are_unsupported_with_the_programs_allocator),
           TEST(two_open_accounts_have_two_arenas),
           TEST(a_closed_arena_is_used_again),
           TEST(an_arena_tells_what_its_account_holds),
           TEST(no_thread_caches_blocks_of_an_arena))
