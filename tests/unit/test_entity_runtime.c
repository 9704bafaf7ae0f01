/* SPDX-License-Identifier: MIT */
/* What entities share comes with the first and goes with the last of them, under
 * the hands of those who still use stale references. */
#include "os/park.h"
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#include <pthread.h>

#define LONG_ENOUGH VIVERO_SECONDS(60)

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
}

static void tear_down(void)
{
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void start(pthread_t *threads, uint32_t count, void *(*run)(void *),
                  void *ctx, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, run, (char *)ctx + i * size);
    }
}

static void join(const pthread_t *threads, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* ---- The runtime comes and goes ----------------------------------------------------------------------- */

#define COMINGS 500u

static _Atomic uint64_t latest; /* slot << 32 | generation */

static struct vivero_ref latest_ref(void)
{
    /* relaxed: any reference will do, also a stale one. */
    uint64_t ref = atomic_load_explicit(&latest, memory_order_relaxed);

    return (struct vivero_ref){(uint32_t)(ref >> 32), (uint32_t)ref};
}

struct pest {
    _Atomic bool *over;
    uint32_t odd;
};

static bool is_fine(int error)
{
    return error == VIVERO_OK || error == VIVERO_E_GONE ||
           error == VIVERO_E_FULL || error == VIVERO_E_DOWN ||
           error == VIVERO_E_TIMED_OUT;
}

/* Uses whatever it finds, alive or not. */
static void *pester(void *ctx)
{
    static const struct vivero_exit reason = {.kind = VIVERO_EXIT_SHUTDOWN};
    struct pest *pest = ctx;

    /* relaxed: a hint to stop. */
    while (!atomic_load_explicit(pest->over, memory_order_relaxed)) {
        struct vivero_ref ref = latest_ref();
        struct vivero_timer timer;
        struct vivero_exit exit;
        struct call call;
        int error;

        pest->odd += !is_fine(vivero_tell(ref, 1, &ref, sizeof(ref)));
        pest->odd += !is_fine(vivero_signal(ref, &reason));
        pest->odd += !is_fine(vivero_register(ref, "latest")) &&
                     vivero_is_alive(ref) &&
                     vivero_ref_is_nobody(vivero_whereis("latest"));
        error = call_put(&call, ref, 1, VIVERO_MILLISECONDS(1));
        pest->odd += !is_fine(error);
        pest->odd += error == VIVERO_OK && !is_fine(call_wait(&call));
        (void)vv_entity_await_end(ref, 0, &exit);
        error =
            vivero_tell_after(ref, LONG_ENOUGH, 1, &ref, sizeof(ref), &timer);
        pest->odd += !is_fine(error);
        pest->odd +=
            error == VIVERO_OK && !is_fine(vivero_timer_cancel(timer, NULL));
        (void)vivero_unregister("latest");
    }
    return NULL;
}

static void the_runtime_comes_and_goes_under_stale_references(void)
{
    _Atomic bool over = false;
    struct pest pests[2] = {{&over, 0}, {&over, 0}};
    pthread_t threads[2];

    start(threads, 2, pester, pests, sizeof(pests[0]));
    for (uint32_t i = 0; i < COMINGS; i++) {
        struct vv_entity *subject = subject_new(VV_ENTITY_TRAPS, 4, NULL);

        /* relaxed: as in latest_ref(). */
        atomic_store_explicit(&latest,
                              (uint64_t)subject->ref.slot << 32 |
                                  subject->ref.generation,
                              memory_order_relaxed);
        for (uint32_t k = 0; k < i % 20; k++) {
            (void)subject_take(subject);
        }
        CU_ASSERT(subject_end(subject, VIVERO_EXIT_FAILED));
    }
    /* relaxed: a hint to stop. */
    atomic_store_explicit(&over, true, memory_order_relaxed);
    join(threads, 2);

    CU_ASSERT_EQUAL(pests[0].odd + pests[1].odd, 0);
}

/* ---- A canceller that comes late ----------------------------------------------- */

#define ODD_SIZE 1000u /* of the only block that is released at the gate */

enum { SHUT, REACHED, OPEN };

static _Atomic uint32_t gate;
static _Atomic int32_t blocks;

static bool is_reached(void *ctx)
{
    (void)ctx;
    return gate == REACHED;
}

static void pass_gate(void)
{
    gate = REACHED;
    while (gate != OPEN) {
        vv_park(&gate, REACHED, VIVERO_FOREVER);
    }
}

static void open_gate(void)
{
    gate = OPEN;
    vv_unpark(&gate, 1);
}

static void *count_block(size_t size, size_t alignment, void *ctx)
{
    void *memory = NULL;

    (void)ctx;
    if (posix_memalign(&memory, alignment < 16 ? 16 : alignment, size) == 0) {
        blocks++;
    }
    return memory;
}

static void release_at_gate(void *memory, size_t size, size_t alignment,
                            void *ctx)
{
    (void)alignment;
    (void)ctx;
    if (size >= ODD_SIZE && size < ODD_SIZE + 100) {
        pass_gate();
    }
    blocks--;
    free(memory);
}

static void *cancel(void *ctx)
{
    struct vivero_timer *timer = ctx;

    return vivero_timer_cancel(*timer, NULL) == VIVERO_OK ? ctx : NULL;
}

/* In the middle of it the last entity goes; the message is still there. */
static void a_timer_is_cancelled_while_the_last_entity_goes(void)
{
    static const unsigned char bytes[ODD_SIZE];
    const struct vivero_allocator allocator = {.allocate = count_block,
                                               .release = release_at_gate};
    struct vv_entity *subject;
    struct vivero_timer timer;
    pthread_t thread;
    void *cancelled;

    CU_ASSERT_FATAL(fault_allocator_uninstall());
    CU_ASSERT_EQUAL_FATAL(vivero_set_allocator(&allocator), VIVERO_OK);
    subject = subject_new(0, 1, NULL);
    CU_ASSERT_EQUAL(vivero_tell_after(subject->ref, LONG_ENOUGH, 1, bytes,
                                      sizeof(bytes), &timer),
                    VIVERO_OK);
    gate = SHUT;
    pthread_create(&thread, NULL, cancel, &timer);
    CU_ASSERT(eventually(is_reached, NULL, LONG_ENOUGH));
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
    CU_ASSERT(blocks > 1);
    open_gate();
    pthread_join(thread, &cancelled);

    CU_ASSERT_PTR_EQUAL(cancelled, &timer);
    CU_ASSERT_EQUAL(blocks, 0);
    CU_ASSERT_EQUAL(vivero_set_allocator(NULL), VIVERO_OK);
    CU_ASSERT_FATAL(fault_allocator_install());
}

SUITE_MAIN("entity_runtime", set_up, tear_down,
           TEST(the_runtime_comes_and_goes_under_stale_references),
           TEST(a_timer_is_cancelled_while_the_last_entity_goes))
