/* SPDX-License-Identifier: MIT */
/* Workers on their own when there is no memory, and what is left when all of
 * them are gone: nothing. */
#include <vivero/vivero.h>

#include "tests/lib/fault_allocator.h"
#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#define CYCLES 1000

static struct witness witness = WITNESS;

static void set_up(void)
{
    witness_clear(&witness);
    CU_ASSERT_FATAL(fault_allocator_install());
}

static void tear_down(void)
{
    fault_allocator_fail_after(FAULT_NEVER);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_bytes(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

/* ---- No memory ----------------------------------------------------------------- */

typedef int try_fn(void *ctx);

/* Let the first, the second, ... allocation fail until all goes well; whether it
 * took at least one failure. */
static bool try_without_memory(try_fn *try_it, void *ctx)
{
    int error = VIVERO_E_NO_MEMORY;
    uint64_t n = 0;

    for (; error == VIVERO_E_NO_MEMORY && n < 200; n++) {
        fault_allocator_fail_after(n);
        error = try_it(ctx);
        fault_allocator_fail_after(FAULT_NEVER);
    }
    CU_ASSERT_EQUAL(error, VIVERO_OK);
    return n > 1;
}

/* What has been started is stopped with all the memory it takes. */
static int stop_with_memory(struct vivero_ref ref)
{
    fault_allocator_fail_after(FAULT_NEVER);
    return solo_stop(ref) ? VIVERO_OK : -1;
}

static int tries_to_start(void *ctx)
{
    int argument = 4;
    struct vivero_ref ref;
    int error = vivero_worker_start(
        SOLO_OPTIONS(.ctx = &witness, .name = "poor", .argument = &argument,
                     .argument_size = sizeof(argument), .carriers = ctx),
        &ref);

    if (error == VIVERO_OK) {
        return stop_with_memory(ref);
    }
    return vivero_ref_is_nobody(vivero_whereis("poor")) ? error : -2;
}

static void a_start_without_memory_leaves_nothing(void)
{
    CU_ASSERT(try_without_memory(tries_to_start, NULL));
}

static int tries_to_open_carriers(void *ctx)
{
    struct vivero_carriers *carriers;
    int error =
        vivero_carriers_open(VIVERO_CARRIERS_OPTIONS(.threads = 2), &carriers);

    (void)ctx;
    if (error == VIVERO_OK) {
        vivero_carriers_close(carriers);
    }
    return error;
}

static void carriers_without_memory_leave_nothing(void)
{
    struct vivero_carriers *carriers;

    CU_ASSERT(try_without_memory(tries_to_open_carriers, NULL));
    CU_ASSERT_EQUAL_FATAL(
        vivero_carriers_open(VIVERO_CARRIERS_OPTIONS(.threads = 1), &carriers),
        VIVERO_OK);
    CU_ASSERT(try_without_memory(tries_to_start, carriers));
    vivero_carriers_close(carriers);
}

static int tries_to_attach(void *ctx)
{
    struct vivero_ref ref;
    int error = vivero_attach(VIVERO_SPAWN_OPTIONS(.name = "poor"), &ref);

    (void)ctx;
    if (error == VIVERO_OK) {
        vivero_detach(NULL);
        return VIVERO_OK;
    }
    return vivero_ref_is_nobody(vivero_current()) &&
                   vivero_ref_is_nobody(vivero_whereis("poor"))
               ? error
               : -2;
}

static void an_attach_without_memory_leaves_nothing(void)
{
    CU_ASSERT(try_without_memory(tries_to_attach, NULL));
}

static void returns(struct vivero_self *self, void *argument)
{
    (void)self;
    (void)argument;
}

static int tries_to_spawn(void *ctx)
{
    struct vivero_ref ref;
    struct vivero_monitor monitor;
    int error = vivero_spawn_monitor(VIVERO_SPAWN_OPTIONS(.name = "poor"),
                                     returns, NULL, &ref, &monitor);

    (void)ctx;
    if (error == VIVERO_OK) {
        return solo_receive().kind == VIVERO_INFO_DOWN ? VIVERO_OK : -1;
    }
    return error;
}

static int tries_to_spawn_linked(void *ctx)
{
    struct vivero_ref ref;
    int error = vivero_spawn_link(NULL, returns, NULL, &ref);

    (void)ctx;
    if (error == VIVERO_OK) {
        return solo_receive().kind == VIVERO_INFO_EXIT ? VIVERO_OK : -1;
    }
    return error;
}

static void spawning_without_memory_leaves_nothing(void)
{
    CU_ASSERT_FATAL(solo_attach());
    CU_ASSERT(try_without_memory(tries_to_spawn, NULL));
    CU_ASSERT(solo_hears_nothing());
    CU_ASSERT(try_without_memory(tries_to_spawn_linked, NULL));
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

static int tries_to_start_linked(void *ctx)
{
    struct vivero_ref ref;
    int error = vivero_worker_start_link(ctx, &ref);

    if (error == VIVERO_OK) {
        error = stop_with_memory(ref);
        CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_EXIT);
    }
    return error;
}

static int tries_to_start_monitored(void *ctx)
{
    struct vivero_ref ref;
    struct vivero_monitor monitor;
    int error = vivero_worker_start_monitor(ctx, &ref, &monitor);

    if (error == VIVERO_OK) {
        error = stop_with_memory(ref);
        CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_DOWN);
    }
    return error;
}

static void a_tied_start_without_memory_leaves_no_tie(void)
{
    struct vivero_worker_options options =
        *SOLO_OPTIONS(.ctx = &witness, .name = "tied");

    CU_ASSERT_FATAL(solo_attach());
    CU_ASSERT(try_without_memory(tries_to_start_linked, &options));
    CU_ASSERT(try_without_memory(tries_to_start_monitored, &options));
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

/* A worker, and the test's own thread: what is tried with them. */
static struct vivero_ref worker;

static void have_worker(void)
{
    CU_ASSERT_FATAL(solo_attach());
    worker = solo_start(SOLO_OPTIONS(.ctx = &witness));
}

static void drop_worker(void)
{
    CU_ASSERT(solo_end(worker));
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

static int tries_to_link(void *ctx)
{
    int error = vivero_link(worker);

    (void)ctx;
    return error != VIVERO_OK ? error : vivero_unlink(worker, true);
}

static int tries_to_monitor(void *ctx)
{
    struct vivero_monitor monitor;
    int error = vivero_monitor(worker, &monitor);

    (void)ctx;
    return error != VIVERO_OK ? error : vivero_demonitor(monitor, true);
}

static int tries_to_tell(void *ctx)
{
    static const char much[5000];

    return vivero_tell(worker, 1, much, *(size_t *)ctx);
}

static int tries_to_tell_later(void *ctx)
{
    static const char much[5000];
    struct vivero_timer timer;
    int error = vivero_tell_after(worker, VIVERO_SECONDS(1000), 1, much,
                                  *(size_t *)ctx, &timer);

    return error != VIVERO_OK ? error : vivero_timer_cancel(timer, NULL);
}

static int tries_to_signal(void *ctx)
{
    const struct vivero_exit normal =
        vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);

    (void)ctx;
    return vivero_signal(worker, &normal);
}

static int tries_to_register(void *ctx)
{
    int error = vivero_register(worker, "rich");

    (void)ctx;
    return error != VIVERO_OK ? error : vivero_unregister("rich");
}

static int tries_requests(void *ctx)
{
    struct solo solo;
    int error = vivero_worker_suspend(worker, CREW_PATIENCE);

    (void)ctx;
    if (error == VIVERO_OK) {
        error =
            vivero_worker_get_state(worker, &solo, sizeof(solo), CREW_PATIENCE);
    }
    if (error == VIVERO_OK) {
        error = vivero_worker_replace_state(worker, &solo, sizeof(solo),
                                            CREW_PATIENCE);
    }
    return error == VIVERO_OK ? vivero_worker_resume(worker, CREW_PATIENCE)
                              : error;
}

struct large {
    char bytes[4096];
};

static int swallow(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return VIVERO_OK;
}

static const struct vivero_operation large_operation = {
    .name = "large",
    .run = swallow,
    .in_size = sizeof(struct large),
    .out_size = sizeof(struct large)};

static int tries_large_messages(void *ctx)
{
    static struct large in;
    static struct large out;
    int error = vivero_worker_cast(worker, &large_operation, &in, NULL);

    (void)ctx;
    return error == VIVERO_OK
               ? vivero_worker_call(worker, &large_operation, &in, &out, NULL)
               : error;
}

static void messages_and_ties_without_memory_are_refused_whole(void)
{
    size_t little = 4;
    size_t much = 5000;

    have_worker();
    (void)try_without_memory(tries_to_link, NULL);
    (void)try_without_memory(tries_to_monitor, NULL);
    (void)try_without_memory(tries_to_tell, &little);
    CU_ASSERT(try_without_memory(tries_to_tell, &much));
    (void)try_without_memory(tries_to_tell_later, &little);
    CU_ASSERT(try_without_memory(tries_to_tell_later, &much));
    (void)try_without_memory(tries_to_signal, NULL);
    CU_ASSERT(try_without_memory(tries_to_register, NULL));
    CU_ASSERT(try_without_memory(tries_requests, NULL));
    CU_ASSERT(try_without_memory(tries_large_messages, NULL));
    CU_ASSERT_EQUAL(solo_look(worker).links, 0);
    CU_ASSERT_EQUAL(solo_look(worker).monitors, 0);
    drop_worker();
}

/* ---- Ends allocate nothing ------------------------------------------------------- */

static int links_to(struct vivero_self *self, void *arg)
{
    (void)self;
    return vivero_link(*(struct vivero_ref *)arg);
}

static void an_end_needs_no_memory(void)
{
    struct fail_in fail = {1, "poor"};
    struct vivero_monitor monitor;
    struct vivero_ref partner;

    have_worker();
    partner = solo_start(NULL);
    CU_ASSERT_EQUAL(solo_ask(partner, links_to, &worker), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_monitor(worker, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_monitor(partner, &monitor), VIVERO_OK);

    uint64_t calls = fault_allocator_calls();

    CU_ASSERT_EQUAL(vivero_worker_call(worker, &crew_fail, &fail, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(solo_receive().exit.code, 1);
    CU_ASSERT_EQUAL(solo_receive().exit.code, 1);
    CU_ASSERT_EQUAL(fault_allocator_calls(), calls);
    CU_ASSERT(solo_await_end(partner));
    drop_worker();
}

/* Once the caches are warm. */
static void small_messages_need_no_memory(void)
{
    uint64_t calls = 0;
    int value = 1;
    int wrong = 0;

    have_worker();
    for (int i = 0; i < 2000; i++) {
        int sum;

        if (i == 1000) {
            calls = fault_allocator_calls();
        }
        wrong += vivero_worker_call(worker, &solo_add, &value, &sum, NULL) != 0;
        wrong += vivero_worker_cast(worker, &solo_add, &value, NULL) != 0;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT_EQUAL(fault_allocator_calls(), calls);
    drop_worker();
}

/* ---- Nothing is left (T-X-07) ---------------------------------------------------- */

static void one_cycle(struct vivero_carriers *carriers, int i)
{
    struct vivero_ref own = solo_start_link(
        SOLO_OPTIONS(.ctx = &witness, .name = "cycle", .carriers = carriers));
    struct vivero_ref ref;
    struct vivero_monitor monitor;
    struct fail_in fail = {1, ""};
    int sum = 0;

    CU_ASSERT_EQUAL(vivero_worker_call(own, &solo_add, &i, &sum, NULL), 0);
    CU_ASSERT_EQUAL(
        vivero_tell_after(own, VIVERO_SECONDS(i % 2), 1, NULL, 0, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_spawn_monitor(NULL, returns, NULL, &ref, &monitor),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_DOWN);
    if (i % 2 == 0) {
        CU_ASSERT_EQUAL(vivero_worker_cast(own, &crew_fail, &fail, NULL), 0);
    } else {
        CU_ASSERT(solo_stop(own));
    }
    CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_EXIT);
    witness_clear(&witness);
}

static void t_x_07_a_thousand_cycles_leave_nothing(void)
{
    uint32_t threads = crew_threads();
    uint32_t files = crew_files();
    struct vivero_carriers *carriers;

    CU_ASSERT_FATAL(solo_attach());
    CU_ASSERT_EQUAL_FATAL(
        vivero_carriers_open(VIVERO_CARRIERS_OPTIONS(.threads = 1), &carriers),
        VIVERO_OK);
    for (int i = 0; i < CYCLES; i++) {
        one_cycle(i % 4 < 2 ? carriers : NULL, i);
    }
    CU_ASSERT(solo_hears_nothing());
    vivero_carriers_close(carriers);
    solo_detach();
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(crew_files(), files);
}

SUITE_MAIN("worker_memory", set_up, tear_down,
           TEST(a_start_without_memory_leaves_nothing),
           TEST(carriers_without_memory_leave_nothing),
           TEST(an_attach_without_memory_leaves_nothing),
           TEST(spawning_without_memory_leaves_nothing),
           TEST(a_tied_start_without_memory_leaves_no_tie),
           TEST(messages_and_ties_without_memory_are_refused_whole),
           TEST(an_end_needs_no_memory), TEST(small_messages_need_no_memory),
           TEST(t_x_07_a_thousand_cycles_leave_nothing))
