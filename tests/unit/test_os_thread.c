/* SPDX-License-Identifier: MIT */
#include <vivero/error.h>
#include <vivero/log.h>
#include <vivero/time.h>

#include "os/cpu.h"
#include "os/park.h"
#include "os/thread.h"
#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#define LONG_ENOUGH VIVERO_SECONDS(60)

static const struct vv_thread_options no_options = {0};

/* Starts, runs and joins one thread; the error of the start. */
static int run_thread(const struct vv_thread_options *options,
                      vv_thread_fn *run, void *ctx)
{
    struct vv_thread thread;
    const int error = vv_thread_start(&thread, options, run, ctx);

    if (error == VIVERO_OK) {
        vv_thread_join(&thread);
    }
    return error;
}

/* ------------------------------------------------------------------------ */
/* Threads                                                                  */
/* ------------------------------------------------------------------------ */

/* What a thread finds about itself. */
struct found {
    int runs;
    sigset_t mask;
    char name[64];
    size_t stack_size;
    size_t guard_size;
    cpu_set_t cpus;
    int policy;
    uint32_t cpus_usable;
};

static void look_around(void *ctx)
{
    struct found *found = ctx;
    struct sched_param parameters;
    pthread_attr_t attributes;
    void *stack;

    found->runs++;
    pthread_sigmask(SIG_SETMASK, NULL, &found->mask);
    pthread_getname_np(pthread_self(), found->name, sizeof(found->name));
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &stack, &found->stack_size);
    pthread_attr_getguardsize(&attributes, &found->guard_size);
    pthread_attr_destroy(&attributes);
    sched_getaffinity(0, sizeof(found->cpus), &found->cpus);
    pthread_getschedparam(pthread_self(), &found->policy, &parameters);
    found->cpus_usable = vv_cpu_usable();
}

static void asynchronous_signals_are_blocked_in_a_thread(void)
{
    const int blocked[] = {SIGHUP,  SIGINT,   SIGQUIT,  SIGUSR1,
                           SIGUSR2, SIGPIPE,  SIGALRM,  SIGTERM,
                           SIGCHLD, SIGCONT,  SIGTSTP,  SIGIO,
                           SIGPROF, SIGWINCH, SIGRTMIN, SIGRTMAX};
    struct found found = {0};

    CU_ASSERT_EQUAL(run_thread(&no_options, look_around, &found), VIVERO_OK);

    for (size_t i = 0; i < sizeof(blocked) / sizeof(blocked[0]); i++) {
        CU_ASSERT_EQUAL(sigismember(&found.mask, blocked[i]), 1);
    }
}

static const int synchronous[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                                  SIGABRT, SIGTRAP, SIGSYS};

#define SYNCHRONOUS_COUNT (sizeof(synchronous) / sizeof(synchronous[0]))

static void synchronous_signals_are_left_alone_in_a_thread(void)
{
    struct found found = {0};

    CU_ASSERT_EQUAL(run_thread(&no_options, look_around, &found), VIVERO_OK);

    for (size_t i = 0; i < SYNCHRONOUS_COUNT; i++) {
        CU_ASSERT_EQUAL(sigismember(&found.mask, synchronous[i]), 0);
    }
}

static void the_creator_keeps_his_signals(void)
{
    struct found found = {0};
    sigset_t own;
    sigset_t before;
    sigset_t after;

    sigemptyset(&own);
    sigaddset(&own, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &own, &before);
    CU_ASSERT_EQUAL(run_thread(&no_options, look_around, &found), VIVERO_OK);
    pthread_sigmask(SIG_SETMASK, &before, &after);

    for (int signal = 1; signal < SIGSYS; signal++) {
        CU_ASSERT_EQUAL(sigismember(&after, signal), signal == SIGUSR2);
    }
}

static void a_name_is_cut_to_fifteen_characters(void)
{
    const struct vv_thread_options options = {.name = "0123456789abcdefghij"};
    struct found found = {0};

    CU_ASSERT_EQUAL(run_thread(&options, look_around, &found), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(found.name, "0123456789abcde");
}

static void a_thread_without_a_name_has_its_creators(void)
{
    struct found found = {0};
    char own[64];

    pthread_getname_np(pthread_self(), own, sizeof(own));
    CU_ASSERT_EQUAL(run_thread(&no_options, look_around, &found), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(found.name, own);
}

static void a_stack_is_as_large_as_asked_and_guarded(void)
{
    const struct vv_thread_options options = {.stack_size = 1000001};
    struct found by_default = {0};
    struct found asked = {0};

    CU_ASSERT_EQUAL(run_thread(&no_options, look_around, &by_default),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(run_thread(&options, look_around, &asked), VIVERO_OK);

    CU_ASSERT_TRUE(by_default.stack_size >= 256 * 1024);
    CU_ASSERT_TRUE(asked.stack_size >= 1000001);
    CU_ASSERT_EQUAL(asked.guard_size, 64 * 1024);
}

static void count_run(void *ctx)
{
    (*(int *)ctx)++;
}

static void a_tiny_stack_is_raised_to_the_systems_minimum(void)
{
    const struct vv_thread_options options = {.stack_size = 1};
    int runs = 0;

    CU_ASSERT_EQUAL(run_thread(&options, count_run, &runs), VIVERO_OK);

    CU_ASSERT_EQUAL(runs, 1);
}

static void an_impossible_stack_is_invalid(void)
{
    const struct vv_thread_options options = {.stack_size = SIZE_MAX};
    int runs = 0;

    CU_ASSERT_EQUAL(run_thread(&options, count_run, &runs), VIVERO_E_INVALID);

    CU_ASSERT_EQUAL(runs, 0);
}

/* The lowest CPU this thread may run on. */
static uint16_t some_cpu(void)
{
    cpu_set_t set;
    uint16_t cpu = 0;

    sched_getaffinity(0, sizeof(set), &set);
    while (!CPU_ISSET(cpu, &set)) {
        cpu++;
    }
    return cpu;
}

static void a_thread_runs_where_it_is_told(void)
{
    const uint16_t cpu = some_cpu();
    const struct vv_thread_options options = {.cpus = &cpu, .cpu_count = 1};
    struct found found = {0};

    CU_ASSERT_EQUAL(run_thread(&options, look_around, &found), VIVERO_OK);

    CU_ASSERT_EQUAL(CPU_COUNT(&found.cpus), 1);
    CU_ASSERT_TRUE(CPU_ISSET(cpu, &found.cpus));
    CU_ASSERT_EQUAL(found.cpus_usable, 1);
}

/* Events of the component "os". */
static void count_event(const struct vivero_log_event *event, void *ctx)
{
    /* relaxed: read after the join. */
    atomic_fetch_add_explicit((_Atomic int *)ctx,
                              strcmp(event->component, "os") == 0,
                              memory_order_relaxed);
}

/* How many refusals were logged while a thread with these options ran. */
static int refusals_of(const struct vv_thread_options *options,
                       struct found *found)
{
    _Atomic int events = 0;

    vivero_log_set_sink(VIVERO_LOG_WARNING, count_event, &events);
    CU_ASSERT_EQUAL(run_thread(options, look_around, found), VIVERO_OK);
    vivero_log_set_sink(VIVERO_LOG_WARNING, NULL, NULL);
    /* relaxed: the thread was joined. */
    return atomic_load_explicit(&events, memory_order_relaxed);
}

static void a_refused_affinity_is_logged_and_the_thread_goes_on(void)
{
    const uint16_t nowhere = UINT16_MAX;
    struct found found = {0};

    CU_ASSERT_EQUAL(
        refusals_of(
            &(const struct vv_thread_options){.cpus = &nowhere, .cpu_count = 1},
            &found),
        1);

    CU_ASSERT_EQUAL(found.runs, 1);
}

static void a_refused_policy_is_logged_and_the_thread_goes_on(void)
{
    struct found found = {0};

    CU_ASSERT_EQUAL(
        refusals_of(&(const struct vv_thread_options){.policy = SCHED_FIFO,
                                                      .priority = 12345},
                    &found),
        1);

    CU_ASSERT_EQUAL(found.runs, 1);
    CU_ASSERT_NOT_EQUAL(found.policy, SCHED_FIFO);
}

static void a_policy_is_set(void)
{
    const struct vv_thread_options options = {.policy = SCHED_BATCH};
    struct found found = {0};

    CU_ASSERT_EQUAL(refusals_of(&options, &found), 0);

    CU_ASSERT_EQUAL(found.policy, SCHED_BATCH);
}

static void a_start_needs_no_memory_of_the_allocator(void)
{
    int runs = 0;

    CU_ASSERT_TRUE_FATAL(fault_allocator_install());
    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(run_thread(&no_options, count_run, &runs), VIVERO_OK);

    CU_ASSERT_EQUAL(runs, 1);
}

static void leave_thread(void *ctx)
{
    (void)ctx;
    pthread_exit(NULL);
}

static void a_thread_holds_no_memory_however_it_ends(void)
{
    const uint16_t cpu = some_cpu();
    const struct vv_thread_options options = {
        .name = "leaver", .cpus = &cpu, .cpu_count = 1};

    CU_ASSERT_TRUE_FATAL(fault_allocator_install());
    CU_ASSERT_EQUAL(run_thread(&options, leave_thread, NULL), VIVERO_OK);

    CU_ASSERT_TRUE(fault_allocator_calls() > 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
}

static void limit_when_no_thread_is_left(void)
{
    int runs = 0;

    vv_thread_fail_starts(1, 2);
    CU_ASSERT_EQUAL(run_thread(&no_options, count_run, &runs), VIVERO_OK);
    CU_ASSERT_EQUAL(run_thread(&no_options, count_run, &runs), VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(run_thread(&no_options, count_run, &runs), VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(run_thread(&no_options, count_run, &runs), VIVERO_OK);

    CU_ASSERT_EQUAL(runs, 2);
}

static void planned_failures_can_be_called_off(void)
{
    int runs = 0;

    vv_thread_fail_starts(0, 2);
    vv_thread_fail_starts(0, 0);

    CU_ASSERT_EQUAL(run_thread(&no_options, count_run, &runs), VIVERO_OK);
}

struct self_check {
    struct vv_thread thread;
    _Atomic uint32_t started;
    bool is_self;
};

static void check_self(void *ctx)
{
    struct self_check *check = ctx;

    /* sync(test.started): sees thread, which the creator writes. */
    while (atomic_load_explicit(&check->started, memory_order_acquire) == 0) {
        vv_park(&check->started, 0, VIVERO_FOREVER);
    }
    check->is_self = vv_thread_is_self(&check->thread);
}

static void a_thread_knows_itself(void)
{
    struct self_check check = {.is_self = false};

    CU_ASSERT_EQUAL_FATAL(
        vv_thread_start(&check.thread, &no_options, check_self, &check),
        VIVERO_OK);
    CU_ASSERT_FALSE(vv_thread_is_self(&check.thread));
    /* sync(test.started): publishes thread. */
    atomic_store_explicit(&check.started, 1, memory_order_release);
    vv_unpark(&check.started, 1);
    vv_thread_join(&check.thread);

    CU_ASSERT_TRUE(check.is_self);
}

static _Atomic bool detached_ran;

static void note_run(void *ctx)
{
    (void)ctx;
    /* sync(test.ran): what the thread did, before the test goes on. */
    atomic_store_explicit(&detached_ran, true, memory_order_release);
}

static bool has_run(void *ctx)
{
    (void)ctx;
    /* sync(test.ran): nobody joins this thread. */
    return atomic_load_explicit(&detached_ran, memory_order_acquire);
}

static void a_detached_thread_runs_by_itself(void)
{
    struct vv_thread thread;

    CU_ASSERT_EQUAL_FATAL(vv_thread_start(&thread, &no_options, note_run, NULL),
                          VIVERO_OK);
    vv_thread_detach(&thread);

    CU_ASSERT_TRUE(eventually(has_run, NULL, LONG_ENOUGH));
}

/* ------------------------------------------------------------------------ */
/* Threads nobody waits for                                                 */
/* ------------------------------------------------------------------------ */

/* Bequeaths itself, then works on until it is let go. */
struct leaver {
    struct vv_thread thread;
    _Atomic uint32_t *go; /* NULL: at once */
    _Atomic uint32_t *bequeathed;
    _Atomic uint32_t *over;
};

static void leave_behind(void *ctx)
{
    struct leaver *leaver = ctx;

    vv_thread_bequeath();
    /* sync(test.over): that it has. */
    atomic_fetch_add_explicit(leaver->bequeathed, 1, memory_order_release);
    /* sync(test.go): the test has seen enough. */
    while (leaver->go != NULL &&
           atomic_load_explicit(leaver->go, memory_order_acquire) == 0) {
        vv_park(leaver->go, 0, VIVERO_FOREVER);
    }
    /* sync(test.over): it is as good as gone. */
    atomic_fetch_add_explicit(leaver->over, 1, memory_order_release);
}

static uint32_t count_of(_Atomic uint32_t *over)
{
    /* sync(test.over): what they did before. */
    return atomic_load_explicit(over, memory_order_acquire);
}

static void nothing_to_reap_is_no_wait(void)
{
    vv_thread_reap();
    vv_thread_reap();
}

static void all_that_bequeathed_themselves_are_over_after_a_reap(void)
{
    _Atomic uint32_t over = 0;
    _Atomic uint32_t bequeathed = 0;
    struct leaver leavers[20];

    for (uint32_t i = 0; i < 20; i++) {
        leavers[i] = (struct leaver){.bequeathed = &bequeathed, .over = &over};
        CU_ASSERT_EQUAL_FATAL(vv_thread_start(&leavers[i].thread, &no_options,
                                              leave_behind, &leavers[i]),
                              VIVERO_OK);
    }
    /* The last one joins all others before it comes here. */
    while (count_of(&bequeathed) < 20) {
        eventually_nap();
    }
    vv_thread_reap();

    CU_ASSERT_EQUAL(count_of(&over), 20);
}

struct reaper {
    struct vv_thread thread;
    _Atomic uint32_t *over;
    uint32_t seen;
};

static void reap(void *ctx)
{
    struct reaper *reaper = ctx;

    vv_thread_reap();
    reaper->seen = count_of(reaper->over);
}

static bool has_bequeathed(void *ctx)
{
    const struct leaver *leaver = ctx;

    return count_of(leaver->bequeathed) > 0;
}

static void a_reap_waits_for_one_that_still_runs_whoever_else_reaps(void)
{
    _Atomic uint32_t go = 0;
    _Atomic uint32_t over = 0;
    _Atomic uint32_t bequeathed = 0;
    struct leaver leaver = {
        .go = &go, .bequeathed = &bequeathed, .over = &over};
    struct reaper reapers[3];

    CU_ASSERT_EQUAL_FATAL(
        vv_thread_start(&leaver.thread, &no_options, leave_behind, &leaver),
        VIVERO_OK);
    CU_ASSERT(eventually(has_bequeathed, &leaver, LONG_ENOUGH));
    for (uint32_t i = 0; i < 3; i++) {
        reapers[i] = (struct reaper){.over = &over};
        CU_ASSERT_EQUAL_FATAL(
            vv_thread_start(&reapers[i].thread, &no_options, reap, &reapers[i]),
            VIVERO_OK);
    }
    eventually_nap();
    /* sync(test.go): the test has seen enough. */
    atomic_store_explicit(&go, 1, memory_order_release);
    vv_unpark(&go, 1);
    for (uint32_t i = 0; i < 3; i++) {
        vv_thread_join(&reapers[i].thread);
        CU_ASSERT_EQUAL(reapers[i].seen, 1);
    }
}

/* Bytes of address space; stacks of threads that nobody joined stay. */
static size_t mapped(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    unsigned long pages = 0;

    if (file != NULL) {
        (void)!fscanf(file, "%lu", &pages);
        fclose(file);
    }
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static void bequeathed_threads_join_one_another(void)
{
    _Atomic uint32_t over = 0;
    size_t before = 0;

    for (uint32_t i = 1; i <= 2000; i++) {
        struct leaver leaver = {.bequeathed = &over, .over = &over};

        CU_ASSERT_EQUAL_FATAL(
            vv_thread_start(&leaver.thread, &no_options, leave_behind, &leaver),
            VIVERO_OK);
        while (count_of(&over) < 2 * i) {
            sched_yield();
        }
        before = i == 100 ? mapped() : before;
    }
    /* Unjoined they would hold half a gibibyte. */
    CU_ASSERT(mapped() < before + 100000000 || CREW_SANITIZED);
    vv_thread_reap();
}

/* ------------------------------------------------------------------------ */
/* Fork                                                                     */
/* ------------------------------------------------------------------------ */

/* Whether a child, and a child of that child, says it is forked. */
static bool child_says_forked(int generations)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        _exit(generations > 1 ? child_says_forked(generations - 1)
                              : vv_forked());
    }
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) != 0;
}

static void a_child_without_a_watch_is_like_any_process(void)
{
    CU_ASSERT_FALSE(child_says_forked(1));
}

static void a_child_under_watch_is_forked_and_so_are_its_own(void)
{
    vv_fork_watch();

    CU_ASSERT_TRUE(child_says_forked(1));
    CU_ASSERT_TRUE(child_says_forked(2));
    CU_ASSERT_FALSE(vv_forked());
    vv_fork_unwatch();
}

static void every_watch_has_to_be_taken_back(void)
{
    vv_fork_watch();
    vv_fork_watch();
    vv_fork_unwatch();

    CU_ASSERT_TRUE(child_says_forked(1));
    vv_fork_unwatch();
    CU_ASSERT_FALSE(child_says_forked(1));
}

static void a_watch_may_begin_again(void)
{
    vv_fork_watch();
    vv_fork_unwatch();
    vv_fork_watch();

    CU_ASSERT_TRUE(child_says_forked(1));
    vv_fork_unwatch();
}

static void restore(void)
{
    vv_thread_fail_starts(0, 0);
    CU_ASSERT_TRUE(fault_allocator_uninstall());
}

SUITE_MAIN(
    "os_thread", NULL, restore,
    TEST(asynchronous_signals_are_blocked_in_a_thread),
    TEST(synchronous_signals_are_left_alone_in_a_thread),
    TEST(the_creator_keeps_his_signals),
    TEST(a_name_is_cut_to_fifteen_characters),
    TEST(a_thread_without_a_name_has_its_creators),

    TEST(a_stack_is_as_large_as_asked_and_guarded),
    TEST(a_tiny_stack_is_raised_to_the_systems_minimum),
    TEST(an_impossible_stack_is_invalid), TEST(a_thread_runs_where_it_is_told),
    TEST(a_refused_affinity_is_logged_and_the_thread_goes_on),
    TEST(a_refused_policy_is_logged_and_the_thread_goes_on),
    TEST(a_policy_is_set), TEST(a_start_needs_no_memory_of_the_allocator),
    TEST(a_thread_holds_no_memory_however_it_ends),
    TEST(limit_when_no_thread_is_left),
    TEST(planned_failures_can_be_called_off), TEST(a_thread_knows_itself),
    TEST(a_detached_thread_runs_by_itself), TEST(nothing_to_reap_is_no_wait),
    TEST(all_that_bequeathed_themselves_are_over_after_a_reap),
    TEST(a_reap_waits_for_one_that_still_runs_whoever_else_reaps),
    TEST(bequeathed_threads_join_one_another),
    TEST(a_child_without_a_watch_is_like_any_process),
    TEST(a_child_under_watch_is_forked_and_so_are_its_own),
    TEST(every_watch_has_to_be_taken_back), TEST(a_watch_may_begin_again))
