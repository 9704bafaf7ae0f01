/* SPDX-License-Identifier: MIT */
/* What becomes of a pool in which a fault was contained. Each in a child: a
 * thread that fell is never gone. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static int *volatile nowhere;
static _Atomic uint32_t begun;
static _Atomic uint32_t inits;
static _Atomic uint32_t cleaned;
static struct accountant accountant;

static void fault(void)
{
    *nowhere = 1;
}

static int fall(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    begun++;
    fault();
    return VIVERO_OK;
}

static int fall_with_stdout(struct vivero_self *self, const void *in, void *out)
{
    flockfile(stdout);
    return fall(self, in, out);
}

/* Falls when it was replaced. */
static int fall_late(struct vivero_self *self, const void *in, void *out)
{
    struct vivero_pool *pool = vivero_pool_current();

    (void)self;
    (void)in;
    (void)out;
    while (vivero_pool_cancel_owner(pool, &begun) != VIVERO_E_FENCED) {
        crew_await_time(vivero_now() + VIVERO_MILLISECONDS(1));
    }
    fault();
    return VIVERO_OK;
}

static const struct vivero_operation fall_operation = {.name = "fall",
                                                       .run = fall};
static const struct vivero_operation stdout_operation = {
    .name = "stdout", .run = fall_with_stdout};
static const struct vivero_operation late_operation = {.name = "late",
                                                       .run = fall_late};

static int count_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    inits++;
    return VIVERO_OK;
}

static void count_terminate(struct vivero_self *self, void *payload,
                            const struct vivero_exit *reason, void *ctx)
{
    (void)self;
    (void)payload;
    (void)reason;
    (void)ctx;
    cleaned++;
}

static void count_destroy(void *payload, void *ctx)
{
    (void)payload;
    (void)ctx;
    cleaned++;
}

/* Options of a pool that contains, and what else is wanted. */
#define CONTAINING(...)                                                        \
    VIVERO_POOL_OPTIONS(.workers = 1, .fault = VIVERO_FAULT_UNSAFE_CONTAIN,    \
                        __VA_ARGS__)

static struct vivero_pool *open_pool(const struct vivero_pool_options *options)
{
    const struct rlimit no_core = {0, 0};
    struct vivero_pool *pool = NULL;

    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (vivero_fault_install(VIVERO_FAULT_FORCE) != VIVERO_OK ||
        vivero_pool_open(options, &pool) != VIVERO_OK) {
        _exit(1);
    }
    return pool;
}

static bool falls(struct vivero_pool *pool)
{
    return vivero_pool_call(pool, &fall_operation, NULL, NULL, NULL) ==
               VIVERO_E_DOWN &&
           vivero_last_exit()->kind == VIVERO_EXIT_FAULT &&
           vivero_last_exit()->code == SIGSEGV;
}

static bool works(struct vivero_pool *pool)
{
    return vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                            VIVERO_SEND(.timeout_ns = CREW_PATIENCE)) ==
           VIVERO_OK;
}

/* 0 if the body was content, the signal that killed it, 1000 and its number. */
static int end_of(int (*body)(void))
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        _exit(body());
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    if (WIFSIGNALED(status)) {
        return WTERMSIG(status);
    }
    return WEXITSTATUS(status) == 0 ? 0 : 1000 + WEXITSTATUS(status);
}

static int fall_and_go_on(void)
{
    struct vivero_pool *pool =
        open_pool(CONTAINING(.payload_size = 8, .init = count_init,
                             .terminate = count_terminate,
                             .destroy = count_destroy, .idempotent = true,
                             .retries = 3, .state = VIVERO_STATE_COMMIT));
    struct vivero_pool_snapshot numbers;

    if (!falls(pool) || !works(pool)) {
        return 2;
    }
    numbers = crew_numbers(pool);
    if (begun != 1 || inits != 2 || cleaned != 0) {
        return 3;
    }
    if (numbers.failed != 1 || numbers.restarts != 1 ||
        numbers.abandoned != 1 || !crew_is_conserved(pool)) {
        return 4;
    }
    if (vivero_pool_close(pool) != VIVERO_OK || cleaned != 2) {
        return 5;
    }
    return vivero_abandoned_threads() == 1 ? 0 : 6;
}

/* Never tried again, init anew, nothing of the fallen one is run, and the close
 * is that of any other pool. */
static void t_x_03_only_that_worker_dies(void)
{
    CU_ASSERT_EQUAL(end_of(fall_and_go_on), 0);
}

static int fall_and_count_memory(void)
{
    struct vivero_pool *pool;
    int64_t asked;

    if (accountant_install(&accountant) != VIVERO_OK) {
        return 2;
    }
    pool = open_pool(CONTAINING(.payload_size = 4096));
    if (!falls(pool) || !works(pool)) {
        return 3;
    }
    asked = vivero_now();
    if (vivero_pool_close(pool) != VIVERO_OK ||
        vivero_now() - asked > VIVERO_SECONDS(2)) {
        return 4;
    }
    return accountant.blocks == 0 && accountant.wrong == 0 ? 0 : 5;
}

static void a_close_frees_all_that_is_the_librarys_in_bounded_time(void)
{
    CU_ASSERT_EQUAL(end_of(fall_and_count_memory), 0);
}

static int fall_twice(uint32_t budget)
{
    struct vivero_pool *pool = open_pool(CONTAINING(.fault_budget = budget));

    if (!falls(pool) || !works(pool) || !falls(pool) || !works(pool)) {
        return 2;
    }
    return vivero_pool_close(pool) == VIVERO_OK &&
                   vivero_abandoned_threads() == 2
               ? 0
               : 3;
}

static int fall_twice_by_default(void)
{
    return fall_twice(0);
}

static int fall_twice_as_allowed(void)
{
    return fall_twice(2);
}

static void one_fault_more_than_the_budget_kills_the_process(void)
{
    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(end_of(fall_twice_by_default), SIGSEGV);
    }
    CU_ASSERT_EQUAL(end_of(fall_twice_as_allowed), 0);
}

static int fall_in_turn(void)
{
    struct vivero_pool *first = open_pool(CONTAINING(.name = "first"));
    struct vivero_pool *second = open_pool(CONTAINING(.name = "second"));

    if (!falls(first) || !works(first)) {
        return 2;
    }
    (void)falls(second);
    return 3;
}

static void the_budget_is_that_of_the_process(void)
{
    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(end_of(fall_in_turn), SIGSEGV);
    }
}

static int fall_without_a_spare(void)
{
    struct vivero_pool *pool =
        open_pool(CONTAINING(.abandoned_max = 1, .fault_budget = 3));

    if (!falls(pool) || !works(pool) || !falls(pool)) {
        return 2;
    }
    if (vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL) !=
        VIVERO_E_DOWN) {
        return 3;
    }
    return vivero_pool_close(pool) == VIVERO_OK ? 0 : 4;
}

static void without_a_spare_the_pool_goes_down(void)
{
    CU_ASSERT_EQUAL(end_of(fall_without_a_spare), 0);
}

static int hold_stdout(void)
{
    struct vivero_pool *pool = open_pool(CONTAINING(.name = "stdout"));

    (void)vivero_pool_call(pool, &stdout_operation, NULL, NULL, NULL);
    (void)works(pool);
    return 2;
}

/* The fresh thread cannot have the lock that the fallen one holds. */
static void dies_of_the_fault_when_the_process_cannot_go_on(void)
{
    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(end_of(hold_stdout), SIGSEGV);
    }
}

static int fall_when_fenced(void)
{
    struct vivero_pool *pool =
        open_pool(CONTAINING(.deadline_ns = VIVERO_MILLISECONDS(20),
                             .on_hang = VIVERO_HANG_REPLACE));

    (void)vivero_pool_call(pool, &late_operation, NULL, NULL, NULL);
    crew_await_time(vivero_now() + CREW_PATIENCE);
    return 2;
}

static void a_fault_in_a_fenced_handler_is_not_contained(void)
{
    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(end_of(fall_when_fenced), SIGSEGV);
    }
}

static int fall_under_a_sanitizer(void)
{
    struct vivero_pool *pool;

    if (vivero_fault_install(0) != VIVERO_OK ||
        vivero_pool_open(CONTAINING(.name = "refused"), &pool) != VIVERO_OK) {
        return 2;
    }
    return falls(pool) && works(pool) ? 0 : 3;
}

static void under_a_sanitizer_it_wants_to_be_forced(void)
{
    int end = end_of(fall_under_a_sanitizer);

    CU_ASSERT(CREW_SANITIZED ? end != 0 : end == 0);
}

static bool has_its_thread(void *ctx)
{
    return (crew_threads_named("vivero/fault") == 1) == *(const bool *)ctx;
}

static int open_and_close(void)
{
    bool yes = true;
    bool no = false;

    for (int i = 0; i < 3; i++) {
        struct vivero_pool *pool = open_pool(CONTAINING(.name = "plain"));

        if (!eventually(has_its_thread, &yes, CREW_PATIENCE) ||
            vivero_pool_close(pool) != VIVERO_OK ||
            !eventually(has_its_thread, &no, CREW_PATIENCE)) {
            return 2;
        }
    }
    return 0;
}

static void its_thread_is_there_while_such_a_pool_is_open(void)
{
    CU_ASSERT_EQUAL(end_of(open_and_close), 0);
}

SUITE_MAIN("pool_contain", NULL, NULL, TEST(t_x_03_only_that_worker_dies),
           TEST(a_close_frees_all_that_is_the_librarys_in_bounded_time),
           TEST(one_fault_more_than_the_budget_kills_the_process),
           TEST(the_budget_is_that_of_the_process),
           TEST(without_a_spare_the_pool_goes_down),
           TEST(dies_of_the_fault_when_the_process_cannot_go_on),
           TEST(a_fault_in_a_fenced_handler_is_not_contained),
           TEST(under_a_sanitizer_it_wants_to_be_forced),
           TEST(its_thread_is_there_while_such_a_pool_is_open))
