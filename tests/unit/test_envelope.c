/* SPDX-License-Identifier: MIT */
/* Envelopes: what a fresh one looks like, where they come from, who frees what
 * they hold. */
#include <vivero/error.h>

#include "mailbox/envelope.h"
#include "mailbox/reply.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#include <pthread.h>

#define MANY 1000u
#define MEBIBYTE (1024u * 1024u)

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
}

static void tear_down(void)
{
    fault_allocator_fail_after(FAULT_NEVER);
    vv_reply_release();
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

/* ---- One envelope -------------------------------------------------------------- */

static void a_fresh_envelope_is_empty_whatever_it_was_before(void)
{
    struct vv_envelope *used = vv_envelope_new(VV_ENVELOPE_DOWN);
    struct vv_envelope *fresh;

    memset(&used->exit, 0xff, sizeof(used->exit));
    used->tag = 1;
    used->size = 2;
    used->reserved = true;
    used->from.generation = 3;
    used->monitor.generation = 4;
    vv_envelope_free(used);
    fresh = vv_envelope_new(VV_ENVELOPE_OPERATION);

    CU_ASSERT_PTR_EQUAL_FATAL(fresh, used);
    CU_ASSERT_EQUAL(fresh->kind, VV_ENVELOPE_OPERATION);
    CU_ASSERT_EQUAL(fresh->tag + fresh->size + fresh->reserved, 0);
    CU_ASSERT_EQUAL(fresh->from.generation + fresh->monitor.generation, 0);
    CU_ASSERT_PTR_NULL(fresh->next);
    CU_ASSERT_PTR_NULL(fresh->dispose);
    CU_ASSERT_PTR_NULL(fresh->message.operation);
    CU_ASSERT_PTR_NULL(fresh->message.reply);
    CU_ASSERT_PTR_NULL(fresh->message.box);
    vv_envelope_free(fresh);
}

static void small_bytes_travel_inside(void)
{
    unsigned char bytes[VV_ARGS_MAX];
    struct vv_envelope *envelope = NULL;
    uint64_t blocks;

    memset(bytes, 0x5a, sizeof(bytes));
    vv_envelope_free(vv_envelope_new(VV_ENVELOPE_TELL));
    blocks = fault_allocator_blocks();
    CU_ASSERT_EQUAL_FATAL(vv_envelope_tell(9, bytes, sizeof(bytes), &envelope),
                          VIVERO_OK);

    CU_ASSERT_EQUAL(fault_allocator_blocks(), blocks);
    CU_ASSERT_EQUAL(envelope->kind, VV_ENVELOPE_TELL);
    CU_ASSERT_EQUAL(envelope->tag, 9);
    CU_ASSERT_EQUAL(envelope->size, sizeof(bytes));
    CU_ASSERT_EQUAL(memcmp(vv_envelope_bytes(envelope), bytes, sizeof(bytes)),
                    0);
    vv_envelope_free(envelope);
}

static void larger_bytes_travel_in_a_box_that_ends_with_it(void)
{
    static unsigned char bytes[MEBIBYTE];
    struct vv_envelope *envelope = NULL;
    uint64_t blocks;

    memset(bytes, 0x5a, sizeof(bytes));
    vv_envelope_free(vv_envelope_new(VV_ENVELOPE_TELL));
    blocks = fault_allocator_blocks();
    for (size_t size = VV_ARGS_MAX + 1; size <= MEBIBYTE;
         size += MEBIBYTE - VV_ARGS_MAX - 1) {
        CU_ASSERT_EQUAL_FATAL(vv_envelope_tell(0, bytes, size, &envelope),
                              VIVERO_OK);
        CU_ASSERT_EQUAL(fault_allocator_blocks(), blocks + 1);
        CU_ASSERT_EQUAL(memcmp(vv_envelope_bytes(envelope), bytes, size), 0);
        vv_envelope_free(envelope);
        CU_ASSERT_EQUAL(fault_allocator_blocks(), blocks);
    }
}

static void bytes_are_aligned_for_any_type(void)
{
    static const unsigned char bytes[100];

    for (size_t size = 1; size <= sizeof(bytes); size += 33) {
        struct vv_envelope *envelope = NULL;

        CU_ASSERT_EQUAL_FATAL(vv_envelope_tell(0, bytes, size, &envelope),
                              VIVERO_OK);
        CU_ASSERT_EQUAL(
            (uintptr_t)vv_envelope_bytes(envelope) % _Alignof(max_align_t), 0);
        vv_envelope_free(envelope);
    }
}

static void no_bytes_are_nowhere(void)
{
    struct vv_envelope *envelope = NULL;

    CU_ASSERT_EQUAL_FATAL(vv_envelope_tell(1, NULL, 0, &envelope), VIVERO_OK);

    CU_ASSERT_PTR_NULL(vv_envelope_bytes(envelope));
    vv_envelope_free(envelope);
}

static void limit_for_more_than_a_mebibyte(void)
{
    static const unsigned char bytes[MEBIBYTE + 1];
    struct vv_envelope *envelope = NULL;

    CU_ASSERT_EQUAL(vv_envelope_tell(0, bytes, sizeof(bytes), &envelope),
                    VIVERO_E_LIMIT);

    CU_ASSERT_PTR_NULL(envelope);
}

static struct vv_envelope *disposed;

static void note_disposed(struct vv_envelope *envelope)
{
    disposed = envelope;
}

static void one_that_stands_in_something_else_goes_back_there(void)
{
    struct vv_envelope elsewhere = {.kind = VV_ENVELOPE_TELL,
                                    .dispose = note_disposed};
    uint64_t blocks = fault_allocator_blocks();

    elsewhere.message.box = vv_box_new(100, NULL);
    disposed = NULL;
    vv_envelope_free(&elsewhere);

    CU_ASSERT_PTR_EQUAL(disposed, &elsewhere);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), blocks);
}

/* ---- Where they come from -------------------------------------------------------- */

static struct vv_envelope *held[MANY];

static void hold_many(void)
{
    for (uint32_t i = 0; i < MANY; i++) {
        held[i] = vv_envelope_new(VV_ENVELOPE_OPERATION);
        memcpy(held[i]->message.args, &i, sizeof(i));
    }
}

static uint32_t free_many(void)
{
    uint32_t spoilt = 0;

    for (uint32_t i = 0; i < MANY; i++) {
        spoilt += memcmp(held[i]->message.args, &i, sizeof(i)) != 0;
        vv_envelope_free(held[i]);
    }
    return spoilt;
}

static void many_at_once_are_all_different_and_used_again(void)
{
    uint64_t calls;

    hold_many();
    CU_ASSERT_EQUAL(free_many(), 0);
    calls = fault_allocator_calls();
    hold_many();
    CU_ASSERT_EQUAL(free_many(), 0);

    CU_ASSERT_EQUAL(fault_allocator_calls(), calls);
}

static void *free_them(void *ctx)
{
    *(uint32_t *)ctx += free_many();
    return NULL;
}

static void what_another_thread_frees_comes_back(void)
{
    uint64_t calls = 0;
    uint32_t spoilt = 0;

    for (uint32_t i = 0; i < 20; i++) {
        pthread_t thread;

        hold_many();
        pthread_create(&thread, NULL, free_them, &spoilt);
        pthread_join(thread, NULL);
        calls = i == 0 ? fault_allocator_calls() : calls;
    }

    CU_ASSERT_EQUAL(spoilt, 0);
    CU_ASSERT_EQUAL(fault_allocator_calls(), calls);
}

static void *use_one(void *ctx)
{
    (void)ctx;
    vv_envelope_free(vv_envelope_new(VV_ENVELOPE_TELL));
    return NULL;
}

static void a_thread_that_ends_leaves_its_envelopes_to_others(void)
{
    uint64_t calls = 0;

    for (uint32_t i = 0; i < 50; i++) {
        pthread_t thread;

        pthread_create(&thread, NULL, use_one, NULL);
        pthread_join(thread, NULL);
        calls = i == 0 ? fault_allocator_calls() : calls;
    }

    CU_ASSERT_EQUAL(fault_allocator_calls(), calls);
}

/* ---- Many threads ------------------------------------------------------------------- */

#define THREADS 4u
#define STEPS 20000u
#define PLACES 64u

static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;
static struct vv_envelope *places[PLACES]; /* guarded by places_lock */

static struct vv_envelope *exchange(uint32_t place,
                                    struct vv_envelope *envelope)
{
    struct vv_envelope *before;

    pthread_mutex_lock(&places_lock);
    before = places[place];
    places[place] = envelope;
    pthread_mutex_unlock(&places_lock);
    return before;
}

/* Its sender writes who it is twice; two owners at once would not agree. */
static bool is_whole(const struct vv_envelope *envelope)
{
    uint32_t mark;

    memcpy(&mark, envelope->message.args, sizeof(mark));
    return envelope->tag == mark;
}

static void *pass_around(void *ctx)
{
    uint32_t *torn = ctx;
    uint32_t mine = *torn;

    *torn = 0;
    for (uint32_t i = 0; i < STEPS; i++) {
        struct vv_envelope *envelope = vv_envelope_new(VV_ENVELOPE_TELL);
        uint32_t mark = mine + i;

        envelope->tag = mark;
        memcpy(envelope->message.args, &mark, sizeof(mark));
        envelope = exchange((mine + i * 7) % PLACES, envelope);
        if (envelope != NULL) {
            *torn += !is_whole(envelope);
            vv_envelope_free(envelope);
        }
    }
    return NULL;
}

static void no_envelope_has_two_owners(void)
{
    pthread_t threads[THREADS];
    uint32_t torn[THREADS];

    for (uint32_t i = 0; i < THREADS; i++) {
        torn[i] = i * STEPS;
        pthread_create(&threads[i], NULL, pass_around, &torn[i]);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        CU_ASSERT_EQUAL(torn[i], 0);
    }
    for (uint32_t i = 0; i < PLACES; i++) {
        struct vv_envelope *left = exchange(i, NULL);

        if (left != NULL) {
            vv_envelope_free(left);
        }
    }
}

/* ---- Memory --------------------------------------------------------------------------- */

static void no_memory_is_said(void)
{
    struct vv_envelope *envelope = NULL;
    const int number = 1;

    fault_allocator_fail_after(0);
    CU_ASSERT_PTR_NULL(vv_envelope_new(VV_ENVELOPE_TELL));
    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(vv_envelope_tell(0, &number, sizeof(number), &envelope),
                    VIVERO_E_NO_MEMORY);

    CU_ASSERT_PTR_NULL(envelope);
}

static void no_memory_for_the_box_leaves_nothing(void)
{
    static const unsigned char bytes[500];
    struct vv_envelope *first = vv_envelope_new(VV_ENVELOPE_TELL);
    struct vv_envelope *envelope = NULL;
    uint64_t blocks = fault_allocator_blocks();

    vv_envelope_free(first);
    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(vv_envelope_tell(0, bytes, sizeof(bytes), &envelope),
                    VIVERO_E_NO_MEMORY);

    CU_ASSERT_PTR_NULL(envelope);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), blocks);
    CU_ASSERT_PTR_EQUAL(vv_envelope_new(VV_ENVELOPE_TELL), first);
}

static void the_depots_end_frees_what_threads_have_cached(void)
{
    hold_many();
    CU_ASSERT_EQUAL(free_many(), 0);
    vv_reply_release();
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);

    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    hold_many();
    CU_ASSERT_EQUAL(free_many(), 0);
}

SUITE_MAIN("envelope", set_up, tear_down,
           TEST(a_fresh_envelope_is_empty_whatever_it_was_before),
           TEST(small_bytes_travel_inside),
           TEST(larger_bytes_travel_in_a_box_that_ends_with_it),
           TEST(bytes_are_aligned_for_any_type), TEST(no_bytes_are_nowhere),
           TEST(limit_for_more_than_a_mebibyte),
           TEST(one_that_stands_in_something_else_goes_back_there),
           TEST(many_at_once_are_all_different_and_used_again),
           TEST(what_another_thread_frees_comes_back),
           TEST(a_thread_that_ends_leaves_its_envelopes_to_others),
           TEST(no_envelope_has_two_owners), TEST(no_memory_is_said),
           TEST(no_memory_for_the_box_leaves_nothing),
           TEST(the_depots_end_frees_what_threads_have_cached))
