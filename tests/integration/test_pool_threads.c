/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* A thread that was joined may be seen in /proc a little longer: each test
 * begins with as many as the first one did. */
static void set_up(void)
{
    static uint32_t threads_at_first;

    if (threads_at_first == 0) {
        threads_at_first = crew_threads();
    }
    CU_ASSERT(crew_await_threads(threads_at_first));
    journal_clear(&journal);
}

/* ---- Names, masks, processors
 * --------------------------------------------------- */

static bool all_have_names(void *ctx)
{
    (void)ctx;
    return crew_threads_named("plum/") == 4;
}

static void names_its_threads_after_pool_and_worker(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.name = "plum", .workers = 3));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT(eventually(all_have_names, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(crew_threads_named("plum/1"), 1);
    CU_ASSERT_EQUAL(crew_threads_named("plum/2"), 1);
    CU_ASSERT_EQUAL(crew_threads_named("plum/3"), 1);
    CU_ASSERT_EQUAL(crew_threads_named("plum/keeper"), 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void names_its_threads_by_a_template(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.name = "pear", .workers = 2,
                                      .thread_name = "w-%s-no%u"));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(crew_threads_named("w-pear-no1"), 1);
    CU_ASSERT_EQUAL(crew_threads_named("w-pear-no2"), 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void cuts_long_thread_names(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.name = "a-name-longer-than-fifteen",
                                      .workers = 1));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT(crew_threads_named("a-name") >= 1);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void has_one_thread_besides_its_workers(void)
{
    uint32_t before = crew_threads();
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 3));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(crew_threads(), before + 4);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT(crew_await_threads(before));
}

static int read_mask(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    return -pthread_sigmask(SIG_BLOCK, NULL, out);
}

static const struct vivero_operation mask_operation = {
    .name = "mask", .run = read_mask, .out_size = sizeof(sigset_t)};

static void blocks_asynchronous_signals_and_no_others(void)
{
    static const int blocked[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1,
                                  SIGUSR2, SIGALRM, SIGCHLD, SIGPIPE, SIGWINCH};
    static const int passed[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));
    sigset_t mask;

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL_FATAL(
        vivero_pool_call(pool, &mask_operation, NULL, &mask, NULL), VIVERO_OK);

    for (size_t i = 0; i < sizeof blocked / sizeof blocked[0]; i++) {
        CU_ASSERT_EQUAL(sigismember(&mask, blocked[i]), 1);
    }
    for (size_t i = 0; i < sizeof passed / sizeof passed[0]; i++) {
        CU_ASSERT_EQUAL(sigismember(&mask, passed[i]), 0);
    }
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void leaves_its_openers_mask_alone(void)
{
    sigset_t before;
    sigset_t after;

    pthread_sigmask(SIG_BLOCK, NULL, &before);
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    pthread_sigmask(SIG_BLOCK, NULL, &after);

    for (int number = 1; number < 32; number++) {
        CU_ASSERT_EQUAL(sigismember(&before, number),
                        sigismember(&after, number));
    }
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int read_cpus(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    return sched_getaffinity(0, sizeof(cpu_set_t), out);
}

static const struct vivero_operation cpus_operation = {
    .name = "cpus", .run = read_cpus, .out_size = sizeof(cpu_set_t)};

static void keeps_its_workers_on_the_processors_it_was_given(void)
{
    cpu_set_t mine;
    cpu_set_t theirs;
    uint16_t cpu = 0;

    sched_getaffinity(0, sizeof mine, &mine);
    while (!CPU_ISSET(cpu, &mine)) {
        cpu++;
    }
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .cpus = &cpu, .cpu_count = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL_FATAL(
        vivero_pool_call(pool, &cpus_operation, NULL, &theirs, NULL),
        VIVERO_OK);

    CU_ASSERT_EQUAL(CPU_COUNT(&theirs), 1);
    CU_ASSERT(CPU_ISSET(cpu, &theirs));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int read_stack(struct vivero_self *self, const void *in, void *out)
{
    pthread_attr_t attributes;
    size_t size = 0;

    (void)self;
    (void)in;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstacksize(&attributes, &size);
        pthread_attr_destroy(&attributes);
    }
    memcpy(out, &size, sizeof size);
    return VIVERO_OK;
}

static const struct vivero_operation stack_operation = {
    .name = "stack", .run = read_stack, .out_size = sizeof(size_t)};

static void gives_its_workers_the_stack_they_were_promised(void)
{
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .stack_size = 3 * 1024 * 1024));
    size_t size = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL_FATAL(
        vivero_pool_call(pool, &stack_operation, NULL, &size, NULL), VIVERO_OK);

    /* The system may take its guard page out of it. */
    CU_ASSERT(size >= 3 * 1024 * 1024 - 64 * 1024);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void goes_on_when_the_system_refuses_the_scheduling_policy(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .scheduling_policy = 4711,
                                      .scheduling_priority = 99));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Hooks around a thread
 * ------------------------------------------------------- */

enum { RUNNER_ENTERED = 1, STARTED, INITED, EMPTIED, STOPPED, RUNNER_LEFT };

static void started(uint32_t worker, void *ctx)
{
    journal_write(ctx, STARTED, worker);
}

static void stopped(uint32_t worker, void *ctx)
{
    journal_write(ctx, STOPPED, worker);
}

static void enclose(void (*body)(void *arg), void *arg, void *ctx)
{
    journal_write(ctx, RUNNER_ENTERED, 0);
    body(arg);
    journal_write(ctx, RUNNER_LEFT, 0);
}

static int fill(struct vivero_self *self, void *payload, void *ctx)
{
    (void)payload;
    (void)ctx;
    journal_write(&journal, INITED, vivero_id(self));
    return VIVERO_OK;
}

static void empty(void *payload, void *ctx)
{
    (void)payload;
    (void)ctx;
    journal_write(&journal, EMPTIED, 0);
}

static void encloses_a_workers_life_with_hooks_and_runner(void)
{
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .payload_size = 8, .init = fill,
                            .destroy = empty, .on_thread_start = started,
                            .on_thread_stop = stopped, .runner = enclose,
                            .thread_ctx = &journal));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);

    static const int order[] = {RUNNER_ENTERED, STARTED, INITED,
                                EMPTIED,        STOPPED, RUNNER_LEFT};
    CU_ASSERT(journal_is(&journal, order, 6));
    CU_ASSERT_EQUAL(journal.entry[1].worker, 1);
    CU_ASSERT_EQUAL(journal.entry[4].worker, 1);
}

static void starts_each_thread_once_though_its_worker_fails(void)
{
    struct vivero_pool *pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .on_thread_start = started,
                            .on_thread_stop = stopped, .thread_ctx = &journal));
    struct fail_in in = {1, "stumbles"};

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_fail, &in, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);

    /* A new thread for the next incarnation would be right, too. */
    CU_ASSERT(journal.count == 2 || journal.count == 4);
    CU_ASSERT_EQUAL(journal.entry[0].value, STARTED);
    CU_ASSERT_EQUAL(journal.entry[journal.count - 1].value, STOPPED);
}

/* ---- Threads the program brings
 * ------------------------------------------------------ */

struct lender {
    struct vivero_pool *pool;
    pthread_t thread;
    int result;
    pid_t id;
};

static void *lend(void *arg)
{
    struct lender *lender = arg;

    lender->id = gettid();
    lender->result = vivero_pool_run_here(lender->pool);
    return NULL;
}

static bool both_are_idle(void *ctx)
{
    return crew_worker(ctx, 1).state == VIVERO_WORKER_IDLE &&
           crew_worker(ctx, 2).state == VIVERO_WORKER_IDLE;
}

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

static void runs_on_the_threads_the_program_lends(void)
{
    uint32_t before = crew_threads();
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 2, .own_threads = true));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(crew_threads(), before + 1);

    struct lender lender[2] = {{.pool = pool, .result = 1},
                               {.pool = pool, .result = 1}};
    pid_t id = 0;
    pthread_create(&lender[0].thread, NULL, lend, &lender[0]);
    pthread_create(&lender[1].thread, NULL, lend, &lender[1]);
    CU_ASSERT(eventually(both_are_idle, pool, CREW_PATIENCE));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &thread_operation, NULL, &id, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_run_here(pool), VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pthread_join(lender[0].thread, NULL);
    pthread_join(lender[1].thread, NULL);

    CU_ASSERT(id == lender[0].id || id == lender[1].id);
    CU_ASSERT_EQUAL(lender[0].result, VIVERO_OK);
    CU_ASSERT_EQUAL(lender[1].result, VIVERO_OK);
    CU_ASSERT(crew_await_threads(before));
}

static void keeps_messages_until_a_thread_is_lent(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .own_threads = true));
    struct lender lender = {.pool = pool, .result = 1};
    struct note_in in = {&journal, 5};

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_note, &in, NULL), VIVERO_OK);
    pthread_create(&lender.thread, NULL, lend, &lender);
    CU_ASSERT(journal_await(&journal, 1));
    CU_ASSERT(crew_is_conserved(pool));

    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pthread_join(lender.thread, NULL);
    CU_ASSERT_EQUAL(lender.result, VIVERO_OK);
}

static void answers_unsupported_when_a_pool_has_threads_itself(void)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_run_here(pool), VIVERO_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int refuse(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    return -99;
}

static void gives_a_lent_thread_back_with_the_code_of_its_init(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .own_threads = true,
                                      .payload_size = 8, .init = refuse));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_run_here(pool), -99);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int halt(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return VIVERO_HALT;
}

static const struct vivero_operation halt_operation = {.name = "halt",
                                                       .run = halt};

static void gives_a_lent_thread_back_when_its_worker_halts(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .own_threads = true));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &halt_operation, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_run_here(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void gives_a_lent_thread_back_when_the_pool_goes_down(void)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .own_threads = true,
                                      .restarts_max = VIVERO_NONE));
    struct fail_in in = {3, "the only one"};

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_fail, &in, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_run_here(pool), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_run_here(pool), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

SUITE_MAIN("pool_threads", set_up, NULL,
           TEST(names_its_threads_after_pool_and_worker),
           TEST(names_its_threads_by_a_template), TEST(cuts_long_thread_names),
           TEST(has_one_thread_besides_its_workers),
           TEST(blocks_asynchronous_signals_and_no_others),
           TEST(leaves_its_openers_mask_alone),
           TEST(keeps_its_workers_on_the_processors_it_was_given),
           TEST(gives_its_workers_the_stack_they_were_promised),
           TEST(goes_on_when_the_system_refuses_the_scheduling_policy),
           TEST(encloses_a_workers_life_with_hooks_and_runner),
           TEST(starts_each_thread_once_though_its_worker_fails),
           TEST(runs_on_the_threads_the_program_lends),
           TEST(keeps_messages_until_a_thread_is_lent),
           TEST(answers_unsupported_when_a_pool_has_threads_itself),
           TEST(gives_a_lent_thread_back_with_the_code_of_its_init),
           TEST(gives_a_lent_thread_back_when_its_worker_halts),
           TEST(gives_a_lent_thread_back_when_the_pool_goes_down))
