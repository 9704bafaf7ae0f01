/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <dirent.h>
#include <time.h>
#include <unistd.h>

/* ---- Processor time of the pool's threads
 * -------------------------------------------- */

/* The kernel's clock id for the processor time of one thread. */
static clockid_t clock_of(pid_t task)
{
    return (clockid_t)((~(unsigned)task << 3) | 6u);
}

/* Nanoseconds that all threads but this one have used; -1: unknown. */
static int64_t others_cpu_ns(void)
{
    DIR *folder = opendir("/proc/self/task");
    int64_t sum = 0;

    if (folder == NULL) {
        return -1;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        pid_t task = (pid_t)atoi(entry->d_name);
        struct timespec used;

        if (task > 0 && task != gettid() &&
            clock_gettime(clock_of(task), &used) == 0) {
            sum += (int64_t)used.tv_sec * 1000000000 + used.tv_nsec;
        }
    }
    closedir(folder);
    return sum;
}

static bool has_come_to_rest(void *ctx)
{
    int64_t *last_ns = ctx;
    int64_t now_ns = others_cpu_ns();
    bool rests = now_ns == *last_ns;

    *last_ns = now_ns;
    return rests;
}

/* The watchdog looks once more within a second of the last handler. */
static void let_the_watchdog_fall_asleep(void)
{
    nanosleep(&(struct timespec){.tv_sec = 1, .tv_nsec = 200000000}, NULL);
}

/* Processor time used in one second by a pool that has nothing to do. */
static int64_t idle_second_of(struct vivero_pool *pool)
{
    int64_t before_ns = -2;

    if (vivero_pool_wait_idle(pool, CREW_PATIENCE) != VIVERO_OK) {
        return -1;
    }
    let_the_watchdog_fall_asleep();
    if (!eventually(has_come_to_rest, &before_ns, CREW_PATIENCE)) {
        return -1;
    }
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    return others_cpu_ns() - before_ns;
}

/* A sanitizer's own threads are no business of ours. */
#define IDLE_ENOUGH (CREW_SANITIZED ? VIVERO_MILLISECONDS(20) : 0)

static void uses_no_processor_time_when_it_was_never_used(void)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 4));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    int64_t used_ns = idle_second_of(pool);
    CU_ASSERT(used_ns >= 0);
    CU_ASSERT(used_ns <= IDLE_ENOUGH);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void uses_no_processor_time_after_work(void)
{
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 4, .linger_ns = VIVERO_SECONDS(600)));
    struct fail_in fail = {1, "stumbles"};

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                        VIVERO_OK);
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL, NULL),
                        VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_fail, &fail, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_OK);

    int64_t used_ns = idle_second_of(pool);
    CU_ASSERT(used_ns >= 0);
    CU_ASSERT(used_ns <= IDLE_ENOUGH);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* Its mailboxes are full, but nobody may take anything. */
static void uses_no_processor_time_while_it_is_suspended(void)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 2));
    int64_t before_ns = -2;

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    vivero_pool_suspend(pool);
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL, NULL),
                        VIVERO_OK);
    }
    let_the_watchdog_fall_asleep();
    CU_ASSERT(eventually(has_come_to_rest, &before_ns, CREW_PATIENCE));
    nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    CU_ASSERT(others_cpu_ns() - before_ns <= IDLE_ENOUGH);

    vivero_pool_resume(pool);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Handlers on the caller's thread
 * ----------------------------------------------------- */

static int read_thread(struct vivero_self *self, const void *in, void *out)
{
    pid_t id = gettid();

    (void)self;
    (void)in;
    memcpy(out, &id, sizeof id);
    return VIVERO_OK;
}

static const struct vivero_operation thread_operation = {
    .name = "thread", .run = read_thread, .out_size = sizeof(pid_t)};

static int calls_on_this_thread(struct vivero_pool *pool, int count)
{
    int here = 0;

    for (int i = 0; i < count; i++) {
        pid_t id = 0;

        if (vivero_pool_call(pool, &thread_operation, NULL, &id, NULL) != 0) {
            return -1;
        }
        here += id == gettid();
    }
    return here;
}

static void runs_no_handler_on_the_callers_thread_by_default(void)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 2));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(calls_on_this_thread(pool, 200), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void runs_a_handler_on_the_callers_thread_when_asked_to(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 2, .caller_runs = true));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT(calls_on_this_thread(pool, 200) > 0);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 200);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* Each worker's payload says whether somebody is inside. */
static atomic_uint collisions;

static int count_alone(struct vivero_self *self, const void *in, void *out)
{
    atomic_uint *inside = vivero_payload(self);

    (void)in;
    (void)out;
    if (atomic_fetch_add(inside, 1) != 0) {
        atomic_fetch_add(&collisions, 1);
    }
    atomic_fetch_sub(inside, 1);
    return VIVERO_OK;
}

static const struct vivero_operation alone_operation = {.name = "alone",
                                                        .run = count_alone};

static void *call_alone(void *arg)
{
    for (int i = 0; i < 3000; i++) {
        if (vivero_pool_call(arg, &alone_operation, NULL, NULL, NULL) != 0 ||
            vivero_pool_cast(arg, &alone_operation, NULL, NULL) ==
                VIVERO_E_DOWN) {
            atomic_fetch_add(&collisions, 1);
        }
    }
    return NULL;
}

static void never_runs_two_handlers_on_one_worker(void)
{
    pthread_t thread[6];
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 2, .caller_runs = true,
                                      .payload_size = 8));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    atomic_store(&collisions, 0);
    for (int i = 0; i < 6; i++) {
        pthread_create(&thread[i], NULL, call_alone, pool);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(thread[i], NULL);
    }
    CU_ASSERT_EQUAL(atomic_load(&collisions), 0);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int exit_deeply(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    vivero_exit(77, "on a foreign thread");
}

static void contains_a_failure_on_the_callers_thread(void)
{
    static const struct vivero_operation operation = {.name = "exit",
                                                      .run = exit_deeply};
    struct fail_in fail = {78, "politely"};
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .caller_runs = true,
                                      .restarts_max = VIVERO_UNLIMITED));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &operation, NULL, NULL, NULL),
                        VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(vivero_last_exit()->code, 77);
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_fail, &fail, NULL, NULL),
                        VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(vivero_last_exit()->code, 78);
        CU_ASSERT(calls_on_this_thread(pool, 3) >= 0);
    }
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(crew_numbers(pool).failed, 40);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void queues_a_call_when_no_worker_is_free_to_borrow(void)
{
    static struct gate gate = GATE_SHUT;
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .caller_runs = true));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.timeout_ns = 10000000)),
                    VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

SUITE_MAIN("pool_idle", NULL, NULL,
           TEST(uses_no_processor_time_when_it_was_never_used),
           TEST(uses_no_processor_time_after_work),
           TEST(uses_no_processor_time_while_it_is_suspended),
           TEST(runs_no_handler_on_the_callers_thread_by_default),
           TEST(runs_a_handler_on_the_callers_thread_when_asked_to),
           TEST(never_runs_two_handlers_on_one_worker),
           TEST(contains_a_failure_on_the_callers_thread),
           TEST(queues_a_call_when_no_worker_is_free_to_borrow))
