/* SPDX-License-Identifier: MIT */
/* Handlers that run long: who is forgiven, who is reported, and what else goes on
 * in the pool meanwhile. */
#include <vivero/vivero.h>

#include "tests/integration/hang_kit.h"
#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <signal.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

static void start_call(struct caller *caller,
                       const struct vivero_operation *operation, const void *in)
{
    *caller = (struct caller){.pool = pool, .operation = operation, .in = in};
    caller_start(caller);
}

static int spin(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    (void)out;
    while (!vivero_should_stop(self)) {
    }
    return VIVERO_OK;
}

static const struct vivero_operation spin_operation = {.name = "spin",
                                                       .run = spin};

/* ---- Forgiving
 * ---------------------------------------------------------------------------- */

static int be_well(struct vivero_self *self, const void *in, void *out)
{
    int64_t until_ns = vivero_now() + 5 * DEADLINE;

    (void)in;
    (void)out;
    while (vivero_now() < until_ns) {
        vivero_alive(self);
        eventually_nap();
    }
    return VIVERO_OK;
}

static const struct vivero_operation be_well_operation = {.name = "be_well",
                                                          .run = be_well};

static void a_handler_that_says_it_is_alive_is_left_alone(void)
{
    pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                      .deadline_ns = VIVERO_MILLISECONDS(200),
                                      .on_hang = VIVERO_HANG_REPLACE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &be_well_operation, NULL, NULL, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void a_handler_sees_that_its_deadline_has_passed(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                                         .payload_size = 8));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    gate_open(&gate);
    int64_t began_ns = vivero_now();
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &spin_operation, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT(vivero_now() - began_ns >= DEADLINE / 2);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int nap_in_parts(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    for (int i = 0; i < 100; i++) {
        eventually_nap();
    }
    return VIVERO_OK;
}

static const struct vivero_operation nap_operation = {.name = "nap",
                                                      .run = nap_in_parts};

/* In the child: a handler of 100 ms, a deadline of 400 ms; the parent stops the
 * whole process for a second in the middle. */
static int be_stopped(void *ctx)
{
    int ready = *(const int *)ctx;
    struct caller caller;
    int error = vivero_pool_open(
        VIVERO_POOL_OPTIONS(.workers = 1,
                            .deadline_ns = VIVERO_MILLISECONDS(400),
                            .on_hang = VIVERO_HANG_REPLACE),
        &pool);

    if (error != VIVERO_OK) {
        return 1;
    }
    start_call(&caller, &nap_operation, NULL);
    eventually_nap();
    eventually_nap();
    if (write(ready, "r", 1) != 1) {
        return 2;
    }
    caller_join(&caller);
    return caller.result == VIVERO_OK && zombies_of(pool) == 0 ? 0 : 3;
}

static void forgives_when_the_whole_process_stood_still(void)
{
    int ready[2];
    int status = -1;
    char byte;
    pid_t child;

    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        _exit(be_stopped(&ready[1]));
    }
    CU_ASSERT_FATAL(child > 0);
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    CU_ASSERT_EQUAL(kill(child, SIGSTOP), 0);
    crew_await_time(vivero_now() + VIVERO_SECONDS(1));
    CU_ASSERT_EQUAL(kill(child, SIGCONT), 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    close(ready[0]);
    close(ready[1]);
}

/* ---- Reporting and aborting
 * ---------------------------------------------------------------- */

static void count_reports(const struct vivero_log_event *record, void *ctx)
{
    if (record->component != NULL &&
        strcmp(record->component, "watchdog") == 0) {
        atomic_fetch_add((_Atomic uint32_t *)ctx, 1);
    }
}

static _Atomic uint32_t reports;

static bool has_reported(void *ctx)
{
    (void)ctx;
    return atomic_load(&reports) > 0;
}

static void reports_a_long_handler_once(void)
{
    const struct hold_in hold = {&gate};
    struct caller caller;

    atomic_store(&reports, 0);
    vivero_log_set_sink(VIVERO_LOG_WARNING, count_reports, &reports);
    pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .hang_report_ns = DEADLINE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    start_call(&caller, &crew_hold, &hold);
    CU_ASSERT(eventually(has_reported, NULL, CREW_PATIENCE));
    crew_await_time(vivero_now() + 4 * DEADLINE);
    CU_ASSERT_EQUAL(atomic_load(&reports), 1);
    gate_open(&gate);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    vivero_log_set_sink(VIVERO_LOG_WARNING, NULL, NULL);
}

static int hang_and_abort(void *ctx)
{
    const struct hold_in hold = {&gate};

    (void)ctx;
    if (vivero_pool_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                             .deadline_ns = DEADLINE,
                                             .on_hang = VIVERO_HANG_ABORT),
                         &pool) != VIVERO_OK) {
        return 1;
    }
    return vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL);
}

static void aborts_when_asked_to(void)
{
    CU_ASSERT_EQUAL(crew_fork(hang_and_abort, NULL, NULL), CREW_BROKEN);
}

/* ---- Nudging
 * -------------------------------------------------------------------------------- */

static void take_nudge(int signal)
{
    (void)signal;
}

static int block_in_the_system(struct vivero_self *self, const void *in,
                               void *out)
{
    struct timespec long_time = {.tv_sec = 600};

    (void)self;
    (void)in;
    *(int *)out = nanosleep(&long_time, NULL);
    return VIVERO_OK;
}

static const struct vivero_operation block_operation = {
    .name = "block", .run = block_in_the_system, .out_size = sizeof(int)};

static void a_nudge_interrupts_a_system_call(void)
{
    const struct vivero_pool_options *options =
        VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                            .on_hang = VIVERO_HANG_REPLACE,
                            .nudge_signal = SIGURG);
    struct sigaction action = {.sa_handler = take_nudge};
    struct sigaction before;
    int interrupted = 0;

    CU_ASSERT_EQUAL(vivero_pool_open(options, &pool), VIVERO_E_DENIED);
    CU_ASSERT_EQUAL_FATAL(sigaction(SIGURG, &action, &before), 0);
    pool = crew_open(options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &block_operation, NULL, &interrupted, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(interrupted, -1);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(sigaction(SIGURG, &before, NULL), 0);
}

/* ---- Closing, resizing, lending
 * ---------------------------------------------------------------- */

static void closes_while_a_handler_hangs(void)
{
    const struct hold_in hold = {&gate};
    struct caller caller;

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 2, .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE,
                                         .shutdown_ns = VIVERO_SECONDS(60)));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    start_call(&caller, &crew_hold, &hold);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    /* The watchdog is quicker than shutdown_ns. */
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_abandoned_threads(), 1);
}

static void a_worker_that_retires_is_replaced_and_leaves(void)
{
    const struct hold_in hold = {&gate};
    struct caller caller;

    open_replacing(2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    caller = (struct caller){.pool = pool,
                             .operation = &crew_hold,
                             .in = &hold,
                             .send = VIVERO_SEND(.worker = 2)};
    caller_start(&caller);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 1), VIVERO_OK);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.worker = 2)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

struct lender {
    pthread_t thread;
    int result;
};

static void *lend(void *arg)
{
    struct lender *lender = arg;

    /* LIMIT: the supervisor has not offered the place yet. */
    while ((lender->result = vivero_pool_run_here(pool)) == VIVERO_E_LIMIT) {
        eventually_nap();
    }
    return NULL;
}

static void a_lent_thread_comes_back_fenced(void)
{
    const struct hold_in hold = {&gate};
    struct lender lender[2];

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .own_threads = true,
                                         .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    pthread_create(&lender[0].thread, NULL, lend, &lender[0]);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL),
                    VIVERO_E_DOWN);
    pthread_create(&lender[1].thread, NULL, lend, &lender[1]);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    gate_open(&gate);
    pthread_join(lender[0].thread, NULL);
    CU_ASSERT_EQUAL(lender[0].result, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pthread_join(lender[1].thread, NULL);
    CU_ASSERT_EQUAL(lender[1].result, VIVERO_OK);
}

static void a_call_in_its_callers_place_is_not_replaced(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .caller_runs = true,
                                         .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE,
                                         .spin_ns = VIVERO_NONE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    /* Idle workers are lent: wait until it is. */
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(20));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &nap_operation, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Options
 * ------------------------------------------------------------------------------- */

static int try_open(const struct vivero_pool_options *options)
{
    return vivero_pool_open(options, &pool);
}

static void answers_invalid_for_impossible_options(void)
{
    CU_ASSERT_EQUAL(
        try_open(VIVERO_POOL_OPTIONS(.deadline_ns = VIVERO_MILLISECONDS(9))),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_open(VIVERO_POOL_OPTIONS(.deadline_ns = VIVERO_NONE)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        try_open(VIVERO_POOL_OPTIONS(.on_hang = VIVERO_HANG_REPLACE)),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_open(VIVERO_POOL_OPTIONS(.hang_report_ns = -5)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_open(VIVERO_POOL_OPTIONS(.abandoned_max = 1025)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_open(VIVERO_POOL_OPTIONS(.retries = 1)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        try_open(VIVERO_POOL_OPTIONS(.retries = 4, .idempotent = true)),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        try_open(VIVERO_POOL_OPTIONS(.isolation = VIVERO_ISOLATION_PROCESS)),
        VIVERO_E_UNSUPPORTED);
}

/* The spares, and the committed payloads, are made at the open. */
static void opens_or_leaves_nothing_whatever_allocation_fails(void)
{
    static struct accountant accountant;
    uint32_t threads = crew_threads();
    int error = VIVERO_E_NO_MEMORY;
    int refusals = 0;

    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
    while (error == VIVERO_E_NO_MEMORY && refusals < 1000) {
        atomic_store(&accountant.asked, 0);
        atomic_store(&accountant.refuse, ++refusals);
        error = vivero_pool_open(
            VIVERO_POOL_OPTIONS(.workers = 2, .payload_size = 100,
                                .deadline_ns = DEADLINE,
                                .on_hang = VIVERO_HANG_REPLACE,
                                .state = VIVERO_STATE_COMMIT),
            &pool);
        if (error == VIVERO_E_NO_MEMORY) {
            CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
        }
    }
    atomic_store(&accountant.refuse, 0);
    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT(refusals > 10);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

static void t_x_07_a_thousand_pools_leave_nothing_behind(void)
{
    uint32_t threads = crew_threads();
    uint32_t files = crew_files();
    uint32_t wrong = 0;

    for (int i = 0; i < (CREW_SANITIZED ? 200 : 1000); i++) {
        struct vivero_pool *one = NULL;
        int error = vivero_pool_open(
            VIVERO_POOL_OPTIONS(.workers = 2, .deadline_ns = DEADLINE,
                                .on_hang = VIVERO_HANG_REPLACE),
            &one);

        wrong += error != VIVERO_OK ||
                 vivero_pool_call(one, &crew_nothing, NULL, NULL, NULL) !=
                     VIVERO_OK ||
                 vivero_pool_close(one) != VIVERO_OK;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(crew_files(), files);
}

#define NOT_TRACED 77

static int take_long(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    crew_await_time(vivero_now() + 6 * DEADLINE);
    return VIVERO_OK;
}

static const struct vivero_operation long_operation = {.name = "long",
                                                       .run = take_long};

static int call_while_traced(void)
{
    struct vivero_pool *traced;

    if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) != 0) {
        return NOT_TRACED; /* the system may forbid it */
    }
    traced =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                                      .on_hang = VIVERO_HANG_REPLACE));
    if (traced == NULL || vivero_pool_call(traced, &long_operation, NULL, NULL,
                                           NULL) != VIVERO_OK) {
        return 1;
    }
    return vivero_pool_close(traced) == VIVERO_OK ? 0 : 2;
}

static void forgives_while_somebody_debugs_it(void)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        _exit(call_while_traced());
    }
    while (waitpid(child, &status, 0) == child && WIFSTOPPED(status)) {
        (void)ptrace(PTRACE_CONT, child, NULL, NULL);
    }
    CU_ASSERT(WIFEXITED(status) &&
              (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == NOT_TRACED));
}

SUITE_MAIN("pool_watch", set_up, tear_down,
           TEST(a_handler_that_says_it_is_alive_is_left_alone),
           TEST(a_handler_sees_that_its_deadline_has_passed),
           TEST(forgives_when_the_whole_process_stood_still),
           TEST(forgives_while_somebody_debugs_it),
           TEST(reports_a_long_handler_once), TEST(aborts_when_asked_to),
           TEST(a_nudge_interrupts_a_system_call),
           TEST(closes_while_a_handler_hangs),
           TEST(a_worker_that_retires_is_replaced_and_leaves),
           TEST(a_lent_thread_comes_back_fenced),
           TEST(a_call_in_its_callers_place_is_not_replaced),
           TEST(answers_invalid_for_impossible_options),
           TEST(opens_or_leaves_nothing_whatever_allocation_fails),
           TEST(t_x_07_a_thousand_pools_leave_nothing_behind))
