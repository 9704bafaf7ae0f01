/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

/* ---- Payloads that count ----------------------------------------------------
 */

#define BUSTLE_MAX 64

struct bustle {
    atomic_uint inits;
    atomic_uint inits_done;
    atomic_uint terminates;
    atomic_uint destroys;
    atomic_uint strange; /* something a callback should not have seen */
    uint32_t fail_at;    /* this init and later ones answer fail_code */
    int fail_code;
    enum vivero_exit_kind last_kind;
};

static struct bustle bustle;

static void set_up(void)
{
    memset(&bustle, 0, sizeof bustle);
}

static int fill(struct vivero_self *self, void *payload, void *ctx)
{
    uint64_t *bytes = payload;
    uint32_t nth = atomic_fetch_add(&bustle.inits, 1) + 1;

    if (ctx != &bustle || vivero_payload(self) != payload || bytes[0] != 0 ||
        bytes[7] != 0 || vivero_incarnation(self) != 0 ||
        (uintptr_t)payload % _Alignof(max_align_t) != 0) {
        atomic_fetch_add(&bustle.strange, 1);
    }
    if (bustle.fail_at != 0 && nth >= bustle.fail_at) {
        return bustle.fail_code;
    }
    bytes[0] = vivero_id(self);
    atomic_fetch_add(&bustle.inits_done, 1);
    return VIVERO_OK;
}

static void end(struct vivero_self *self, void *payload,
                const struct vivero_exit *reason, void *ctx)
{
    const uint64_t *bytes = payload;

    if (ctx != &bustle || bytes[0] != vivero_id(self) ||
        atomic_load(&bustle.destroys) == atomic_load(&bustle.inits_done) ||
        reason->kind != VIVERO_EXIT_SHUTDOWN) {
        atomic_fetch_add(&bustle.strange, 1);
    }
    atomic_fetch_add(&bustle.terminates, 1);
}

static void empty(void *payload, void *ctx)
{
    const uint64_t *bytes = payload;

    if (ctx != &bustle || bytes[0] == 0) {
        atomic_fetch_add(&bustle.strange, 1);
    }
    atomic_fetch_add(&bustle.destroys, 1);
}

#define BUSTLING                                                               \
    .payload_size = 64, .init = fill, .terminate = end, .destroy = empty,      \
    .ctx = &bustle

/* ---- What an open pool is
 * ----------------------------------------------------- */

static void opens_with_no_options_at_all(void)
{
    struct vivero_pool *pool = NULL;
    cpu_set_t cpus;

    CU_ASSERT_EQUAL_FATAL(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    CU_ASSERT_EQUAL_FATAL(vivero_pool_open(NULL, &pool), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(vivero_pool_name(pool), "pool");
    CU_ASSERT(vivero_pool_size(pool) >= 1);
    CU_ASSERT(vivero_pool_size(pool) <= (uint32_t)CPU_COUNT(&cpus));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void copies_the_name_and_the_options(void)
{
    char name[] = "nursery";
    struct vivero_pool_options options;

    vivero_pool_options_init(&options);
    options.name = name;
    options.workers = 2;

    struct vivero_pool *pool = crew_open(&options);

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    memset(name, 'x', sizeof name - 1);
    memset(&options, 0xff, sizeof options);

    CU_ASSERT_STRING_EQUAL(vivero_pool_name(pool), "nursery");
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 2);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void runs_every_init_before_it_returns(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 5, BUSTLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(atomic_load(&bustle.inits_done), 5);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&bustle.inits), 5);
    CU_ASSERT_EQUAL(atomic_load(&bustle.strange), 0);
}

static void terminates_and_destroys_each_payload_once_at_close(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 4, BUSTLING));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);

    CU_ASSERT_EQUAL(atomic_load(&bustle.terminates), 4);
    CU_ASSERT_EQUAL(atomic_load(&bustle.destroys), 4);
    CU_ASSERT_EQUAL(atomic_load(&bustle.strange), 0);
}

/* ---- Impossible options
 * ------------------------------------------------------- */

#define IMPOSSIBLE(...)                                                        \
    {                                                                          \
#__VA_ARGS__,                                                          \
        {                                                                      \
            .size = sizeof(struct vivero_pool_options), __VA_ARGS__            \
        }                                                                      \
    }

struct impossible {
    const char *what;
    struct vivero_pool_options options;
};

static const uint16_t one_cpu[1] = {0};

static const struct impossible impossible[] = {
    IMPOSSIBLE(.workers = 4097),
    IMPOSSIBLE(.workers_max = 4097),
    IMPOSSIBLE(.workers = 8, .workers_max = 4),
    IMPOSSIBLE(.workers = 1, .mailbox_depth = 1048577),
    IMPOSSIBLE(.workers = 1, .pick = (enum vivero_pick)77),
    IMPOSSIBLE(.workers = 1, .full_call = (enum vivero_full)77),
    IMPOSSIBLE(.workers = 1, .full_cast = (enum vivero_full)77),
    IMPOSSIBLE(.workers = 1, .call_timeout_ns = -5),
    IMPOSSIBLE(.workers = 1, .restarts_max = -3),
    IMPOSSIBLE(.workers = 1, .restart_period_ns = -5),
    IMPOSSIBLE(.workers = 1, .backoff_ns = -5),
    IMPOSSIBLE(.workers = 1, .backoff_max_ns = -5),
    IMPOSSIBLE(.workers = 1, .spin_ns = -5),
    IMPOSSIBLE(.workers = 1, .linger_ns = -5),
    IMPOSSIBLE(.workers = 1, .shutdown_ns = -5),
    IMPOSSIBLE(.workers = 1, .thread_name = "%d"),
    IMPOSSIBLE(.workers = 1, .thread_name = "%s%s"),
    IMPOSSIBLE(.workers = 1, .thread_name = "%u%u"),
    IMPOSSIBLE(.workers = 1, .thread_name = "%u/%s"),
    IMPOSSIBLE(.workers = 1, .thread_name = "%s%n"),
    IMPOSSIBLE(.workers = 1, .thread_name = "%"),
    IMPOSSIBLE(.workers = 1, .cpu_count = 1),
    IMPOSSIBLE(.workers = 1, .cpus = one_cpu, .cpu_count = 0),
};

static void answers_invalid_for_impossible_options(void)
{
    uint32_t threads = crew_threads();

    for (size_t i = 0; i < sizeof impossible / sizeof impossible[0]; i++) {
        struct vivero_pool *pool = NULL;
        int error = vivero_pool_open(&impossible[i].options, &pool);

        if (error != VIVERO_E_INVALID) {
            fprintf(stderr, "\n%s: %s", impossible[i].what,
                    vivero_error_name(error));
        }
        CU_ASSERT_EQUAL(error, VIVERO_E_INVALID);
        CU_ASSERT_PTR_NULL(pool);
        if (error == VIVERO_OK) {
            vivero_pool_close(pool);
        }
    }
    CU_ASSERT(crew_await_threads(threads));
}

static void takes_the_largest_possible_options(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .workers_max = 4096,
                                      .mailbox_depth = 1,
                                      .restarts_max = VIVERO_UNLIMITED,
                                      .spin_ns = VIVERO_NONE,
                                      .call_timeout_ns = VIVERO_FOREVER,
                                      .shutdown_ns = VIVERO_FOREVER));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Options of another age
 * ----------------------------------------------------- */

static void takes_a_shorter_options_struct(void)
{
    struct vivero_pool_options options;
    size_t first = offsetof(struct vivero_pool_options, mailbox_depth);

    vivero_pool_options_init(&options);
    options.name = "old";
    options.workers = 1;
    options.workers_max = 2;
    /* What lies beyond size belongs to the caller, whatever it is. */
    memset((char *)&options + first, 0x5a, sizeof options - first);
    options.size = first;

    struct vivero_pool *pool = crew_open(&options);

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_STRING_EQUAL(vivero_pool_name(pool), "old");
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 1);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

struct newer_options {
    struct vivero_pool_options known;
    uint64_t unknown[2];
};

static void takes_a_newer_options_struct_whose_news_are_zero(void)
{
    struct newer_options newer = {
        .known = {.size = sizeof newer, .workers = 1}};
    struct vivero_pool *pool = crew_open(&newer.known);

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void answers_invalid_for_news_it_does_not_know(void)
{
    struct newer_options newer = {.known = {.size = sizeof newer, .workers = 1},
                                  .unknown = {0, 1}};
    struct vivero_pool *pool = NULL;

    CU_ASSERT_EQUAL(vivero_pool_open(&newer.known, &pool), VIVERO_E_INVALID);
    CU_ASSERT_PTR_NULL(pool);
}

static void answers_invalid_for_a_size_that_was_never_set(void)
{
    struct vivero_pool_options options = {.size = 0, .workers = 1};
    struct vivero_pool *pool = NULL;

    CU_ASSERT_EQUAL(vivero_pool_open(&options, &pool), VIVERO_E_INVALID);
    CU_ASSERT_PTR_NULL(pool);
}

/* ---- Open that fails
 * -------------------------------------------------------------- */

static void answers_no_memory_and_leaves_nothing_behind(void)
{
    struct accountant accountant;
    struct vivero_pool *pool = NULL;
    uint32_t threads = crew_threads();
    uint32_t files = crew_files();
    int error = VIVERO_E_NO_MEMORY;
    long long nth = 0;

    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
    while (error == VIVERO_E_NO_MEMORY && nth < 10000) {
        nth++;
        atomic_store(&accountant.asked, 0);
        atomic_store(&accountant.refuse, nth);
        error = vivero_pool_open(
            VIVERO_POOL_OPTIONS(.workers = 3, .mailbox_depth = 8, BUSTLING),
            &pool);
        if (error != VIVERO_OK) {
            CU_ASSERT_PTR_NULL(pool);
            CU_ASSERT_EQUAL(atomic_load(&accountant.bytes), 0);
            CU_ASSERT_EQUAL(atomic_load(&bustle.inits_done),
                            atomic_load(&bustle.destroys));
        }
    }
    atomic_store(&accountant.refuse, 0);

    CU_ASSERT_EQUAL_FATAL(error, VIVERO_OK);
    CU_ASSERT(nth > 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&accountant.bytes), 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.wrong), 0);
    CU_ASSERT_EQUAL(atomic_load(&bustle.strange), 0);
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(crew_files(), files);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

static void answers_with_the_code_of_an_init_that_fails(void)
{
    struct vivero_pool *pool = NULL;
    uint32_t threads = crew_threads();

    bustle.fail_at = 3;
    bustle.fail_code = -4711;
    int error =
        vivero_pool_open(VIVERO_POOL_OPTIONS(.workers = 4, BUSTLING), &pool);

    CU_ASSERT_EQUAL(error, -4711);
    CU_ASSERT_PTR_NULL(pool);
    CU_ASSERT_EQUAL(atomic_load(&bustle.inits_done), 2);
    CU_ASSERT_EQUAL(atomic_load(&bustle.destroys), 2);
    CU_ASSERT(crew_await_threads(threads));
}

static void answers_limit_when_there_is_no_more_thread(void)
{
    struct vivero_pool *pool = NULL;
    uint32_t threads = crew_threads();
    /* Half of the address space for each stack: the system must refuse. */
    int error = vivero_pool_open(
        VIVERO_POOL_OPTIONS(.workers = 3, .stack_size = (size_t)1 << 46,
                            BUSTLING),
        &pool);

    CU_ASSERT_EQUAL(error, VIVERO_E_LIMIT);
    CU_ASSERT_PTR_NULL(pool);
    CU_ASSERT_EQUAL(atomic_load(&bustle.inits_done),
                    atomic_load(&bustle.destroys));
    CU_ASSERT(crew_await_threads(threads));
}

/* ---- A thousand times
 * --------------------------------------------------------------- */

static void leaks_nothing_in_a_thousand_cycles(void)
{
    struct accountant accountant;
    uint32_t threads = crew_threads();
    uint32_t files = crew_files();
    uint32_t failures = 0;

    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
    for (uint32_t i = 0; i < 1000; i++) {
        struct vivero_pool *pool =
            crew_open(VIVERO_POOL_OPTIONS(.workers = 2, .mailbox_depth = 16));
        int in = (int)i;
        int out = -1;

        CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
        failures += vivero_pool_call(pool, &crew_echo, &in, &out, NULL) != 0;
        failures += out != in;
        failures += vivero_pool_cast(pool, &crew_nothing, NULL, NULL) != 0;
        failures += vivero_pool_close(pool) != VIVERO_OK;
    }

    CU_ASSERT_EQUAL(failures, 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.bytes), 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
    CU_ASSERT_EQUAL(atomic_load(&accountant.wrong), 0);
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(crew_files(), files);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

static void refuses_another_allocator_while_a_pool_is_open(void)
{
    struct accountant accountant;
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(accountant_install(&accountant), VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

static void keeps_any_number_of_pools_apart(void)
{
    struct vivero_pool *pools[20];
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < 20; i++) {
        pools[i] = crew_open(VIVERO_POOL_OPTIONS(.name = "same", .workers = 1));
        CU_ASSERT_PTR_NOT_NULL_FATAL(pools[i]);
    }
    for (int i = 0; i < 20; i++) {
        int out = -1;

        wrong += vivero_pool_call(pools[i], &crew_echo, &i, &out, NULL) != 0;
        wrong += out != i;
    }
    for (uint32_t i = 0; i < 20; i++) {
        wrong += crew_numbers(pools[i]).handled != 1;
        wrong += vivero_pool_close(pools[i]) != VIVERO_OK;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

SUITE_MAIN("pool_open", set_up, NULL, TEST(opens_with_no_options_at_all),
           TEST(copies_the_name_and_the_options),
           TEST(runs_every_init_before_it_returns),
           TEST(terminates_and_destroys_each_payload_once_at_close),
           TEST(answers_invalid_for_impossible_options),
           TEST(takes_the_largest_possible_options),
           TEST(takes_a_shorter_options_struct),
           TEST(takes_a_newer_options_struct_whose_news_are_zero),
           TEST(answers_invalid_for_news_it_does_not_know),
           TEST(answers_invalid_for_a_size_that_was_never_set),
           TEST(answers_no_memory_and_leaves_nothing_behind),
           TEST(answers_with_the_code_of_an_init_that_fails),
           TEST(answers_limit_when_there_is_no_more_thread),
           TEST(leaks_nothing_in_a_thousand_cycles),
           TEST(refuses_another_allocator_while_a_pool_is_open),
           TEST(keeps_any_number_of_pools_apart))
