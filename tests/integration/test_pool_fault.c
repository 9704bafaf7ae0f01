/* SPDX-License-Identifier: MIT */
/* What is undefined kills the process, with the signal it was. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum breach { NULL_WRITE, BAD_INSTRUCTION, ABORT, OVERFLOW, ON_CALLERS_THREAD };

static volatile uint32_t bottom;

static uint32_t dig(uint32_t depth)
{
    volatile unsigned char frame[4096];

    memset((void *)(uintptr_t)frame, (int)depth, sizeof(frame));
    return depth == bottom ? 0 : dig(depth + 1) + frame[depth % 4096];
}

static int breach_it(struct vivero_self *self, const void *in, void *out)
{
    static volatile int *volatile nowhere;

    (void)self;
    (void)out;
    switch (*(const enum breach *)in) {
    case NULL_WRITE:
    case ON_CALLERS_THREAD:
        *nowhere = 1;
        break;
    case BAD_INSTRUCTION:
        (void)raise(SIGILL);
        break;
    case ABORT:
        abort();
    case OVERFLOW:
        return (int)dig(1);
    }
    return VIVERO_OK;
}

static const struct vivero_operation breach_operation = {
    .name = "breach", .run = breach_it, .in_size = sizeof(enum breach)};

static void breach_in_child(enum breach breach)
{
    const struct rlimit no_core = {0, 0};
    struct vivero_pool *pool;

    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (vivero_pool_open(
            VIVERO_POOL_OPTIONS(.workers = 1,
                                .caller_runs = breach == ON_CALLERS_THREAD),
            &pool) != VIVERO_OK) {
        _exit(1);
    }
    _exit(vivero_pool_call(pool, &breach_operation, &breach, NULL, NULL) ==
                  VIVERO_OK
              ? 2
              : 3);
}

/* The signal that ended the child; 0: none did. */
static int signal_of(enum breach breach)
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        breach_in_child(breach);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void t_x_03_a_broken_handler_ends_the_process_by_its_signal(void)
{
    /* A sanitizer has handlers of its own, and reports instead. */
    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(signal_of(NULL_WRITE), SIGSEGV);
        CU_ASSERT_EQUAL(signal_of(ON_CALLERS_THREAD), SIGSEGV);
        CU_ASSERT_EQUAL(signal_of(OVERFLOW), SIGSEGV);
    }
    CU_ASSERT_EQUAL(signal_of(ABORT), SIGABRT);
}

static int refusals(void *ctx)
{
    struct vivero_pool *pool = NULL;

    (void)ctx;
    if (vivero_pool_open(VIVERO_POOL_OPTIONS(.fault = VIVERO_FAULT_DRAIN),
                         &pool) != VIVERO_E_DENIED) {
        return 1;
    }
    if (vivero_fault_install(0x80) != VIVERO_E_INVALID) {
        return 2;
    }
    if (vivero_pool_open(
            VIVERO_POOL_OPTIONS(.fault = VIVERO_FAULT_UNSAFE_CONTAIN), &pool) !=
        VIVERO_E_DENIED) {
        return 3;
    }
    if (vivero_fault_install(0) != VIVERO_OK ||
        vivero_fault_install(0) != VIVERO_OK) {
        return 4;
    }
    if (vivero_pool_open(VIVERO_POOL_OPTIONS(.fault = VIVERO_FAULT_DRAIN),
                         &pool) != VIVERO_OK) {
        return 5;
    }
    return vivero_pool_close(pool) == VIVERO_OK ? 0 : 6;
}

static void surviving_a_fault_needs_the_programs_consent(void)
{
    CU_ASSERT_EQUAL(crew_fork(refusals, NULL, NULL), 0);
}

/* ---- Draining
 * ------------------------------------------------------------------------------ */

/* What the child has to say, one letter each, before it is gone. */
static int say_to;

static void say(char letter)
{
    (void)!write(say_to, &letter, 1);
}

static int work_on(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    say('b');
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(300));
    say('f');
    return VIVERO_OK;
}

static const struct vivero_operation work_operation = {.name = "work",
                                                       .run = work_on};

struct victim {
    struct vivero_pool *pool;
    const struct vivero_operation *operation;
    enum breach breach;
    uint32_t worker;
};

static void *be_caller(void *arg)
{
    const struct victim *victim = arg;
    int error =
        vivero_pool_call(victim->pool, victim->operation, &victim->breach, NULL,
                         VIVERO_SEND(.worker = victim->worker));

    if (error == VIVERO_E_DOWN &&
        vivero_last_exit()->kind == VIVERO_EXIT_FAULT &&
        vivero_last_exit()->code == SIGSEGV) {
        say('D'); /* the victim's caller */
    } else if (error == VIVERO_E_DRAINING) {
        say('Q'); /* queued */
    } else if (error == VIVERO_OK) {
        say('O'); /* the one that was running */
    } else {
        say('?');
    }
    return NULL;
}

static void drain_in_child(enum breach breach, int64_t drain_ns)
{
    const struct rlimit no_core = {0, 0};
    struct vivero_pool *pool;
    struct vivero_pool *other;
    static struct victim victims[3];
    pthread_t thread;

    (void)setrlimit(RLIMIT_CORE, &no_core);
    if (vivero_fault_install(0) != VIVERO_OK ||
        vivero_pool_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                             .fault = VIVERO_FAULT_DRAIN,
                                             .drain_ns = drain_ns),
                         &pool) != VIVERO_OK ||
        vivero_pool_open(VIVERO_POOL_OPTIONS(.workers = 1), &other) !=
            VIVERO_OK) {
        _exit(1);
    }
    victims[0] = (struct victim){other, &work_operation, breach, 0};
    victims[1] = (struct victim){other, &work_operation, breach, 1};
    victims[2] = (struct victim){pool, &breach_operation, breach, 0};
    for (size_t i = 0; i < 3; i++) {
        if (pthread_create(&thread, NULL, be_caller, &victims[i]) != 0) {
            _exit(2);
        }
        crew_await_time(vivero_now() + VIVERO_MILLISECONDS(40));
    }
    crew_await_time(vivero_now() + VIVERO_SECONDS(20));
    _exit(3);
}

/* The signal that ended the child; said: what it said. */
static int drained(enum breach breach, int64_t drain_ns, char *said,
                   size_t size)
{
    int ends[2];
    size_t length = 0;
    ssize_t got;
    int status = 0;
    pid_t child;

    if (pipe(ends) != 0) {
        return -1;
    }
    child = fork();
    if (child == 0) {
        say_to = ends[1];
        drain_in_child(breach, drain_ns);
    }
    (void)close(ends[1]);
    while (length + 1 < size &&
           (got = read(ends[0], said + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    said[length] = '\0';
    (void)close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -2;
    }
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static void t_x_03_drains_the_process_after_a_fault(void)
{
    char said[32];

    if (CREW_SANITIZED) {
        return; /* it is refused there: a report must not be hidden */
    }
    CU_ASSERT_EQUAL(drained(NULL_WRITE, VIVERO_SECONDS(10), said, 32), SIGABRT);
    CU_ASSERT_EQUAL(said[0], 'b');
    CU_ASSERT_PTR_NOT_NULL(strchr(said, 'D'));
    CU_ASSERT_PTR_NOT_NULL(strchr(said, 'Q'));
    CU_ASSERT_PTR_NOT_NULL(strchr(said, 'f'));
    CU_ASSERT_EQUAL(strlen(said) - strspn(said, "bDQfO"), 0);
}

static void a_stack_that_is_used_up_drains_too(void)
{
    char said[32];

    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(drained(OVERFLOW, VIVERO_SECONDS(10), said, 32),
                        SIGABRT);
        CU_ASSERT_PTR_NOT_NULL(strchr(said, 'D'));
    }
}

static void waits_no_longer_than_drain_ns(void)
{
    char said[32];

    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(drained(NULL_WRITE, VIVERO_MILLISECONDS(20), said, 32),
                        SIGABRT);
        CU_ASSERT_PTR_NOT_NULL(strchr(said, 'D'));
        CU_ASSERT_PTR_NULL(strchr(said, 'f'));
    }
}

/* abort() stands in the C library: it is not ours to delay. */
static void what_is_sent_or_in_the_c_library_dies_at_once(void)
{
    char said[32];

    CU_ASSERT_EQUAL(drained(ABORT, VIVERO_SECONDS(10), said, 32), SIGABRT);
    CU_ASSERT_STRING_EQUAL(said, "b");
    CU_ASSERT_EQUAL(drained(BAD_INSTRUCTION, VIVERO_SECONDS(10), said, 32),
                    SIGILL);
    CU_ASSERT_STRING_EQUAL(said, "b");
}

static void see(int signal, siginfo_t *info, void *context)
{
    (void)context;
    (void)!write(say_to, signal == SIGSEGV ? "s" : "x", 1);
    _exit(info->si_code == SEGV_MAPERR && info->si_addr == NULL ? 40 : 41);
}

/* A fault in a pool that does not drain reaches the earlier handler whole. */
static int chain_to_earlier(void *ctx)
{
    struct sigaction action = {.sa_sigaction = see, .sa_flags = SA_SIGINFO};
    const enum breach breach = NULL_WRITE;
    struct vivero_pool *pool;

    (void)ctx;
    say_to = 1;
    if (sigaction(SIGSEGV, &action, NULL) != 0 ||
        vivero_fault_install(0) != VIVERO_OK ||
        vivero_pool_open(VIVERO_POOL_OPTIONS(.workers = 1), &pool) !=
            VIVERO_OK) {
        return 1;
    }
    (void)vivero_pool_call(pool, &breach_operation, &breach, NULL, NULL);
    return 2;
}

static void other_faults_go_to_the_earlier_handler(void)
{
    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(crew_fork(chain_to_earlier, NULL, NULL), 40);
    }
}

static int fork_and_fault(struct vivero_self *self, const void *in, void *out)
{
    static volatile int *volatile nowhere;
    int status = 0;
    pid_t child = fork();

    (void)self;
    (void)in;
    if (child == 0) {
        *nowhere = 1;
        _exit(1);
    }
    (void)waitpid(child, &status, 0);
    *(int *)out = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return VIVERO_OK;
}

static const struct vivero_operation fork_operation = {
    .name = "fork", .run = fork_and_fault, .out_size = sizeof(int)};

static int fault_in_grandchild(void *ctx)
{
    struct vivero_pool *pool;
    int signal = 0;

    (void)ctx;
    if (vivero_fault_install(0) != VIVERO_OK ||
        vivero_pool_open(
            VIVERO_POOL_OPTIONS(.workers = 1, .fault = VIVERO_FAULT_DRAIN),
            &pool) != VIVERO_OK ||
        vivero_pool_call(pool, &fork_operation, NULL, &signal, NULL) !=
            VIVERO_OK) {
        return 1;
    }
    return signal;
}

static void a_fault_in_a_forked_child_does_not_hang(void)
{
    if (!CREW_SANITIZED) {
        CU_ASSERT_EQUAL(crew_fork(fault_in_grandchild, NULL, NULL), SIGSEGV);
    }
}

/* The library installs no handler unless it is asked to. */
static void leaves_the_programs_signal_handlers_alone(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS,  SIGFPE,
                                  SIGILL,  SIGABRT, SIGURG};
    struct sigaction before[6];
    struct sigaction after;
    struct vivero_pool *pool;

    for (size_t i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(sigaction(signals[i], NULL, &before[i]), 0);
    }
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 2,
                                         .deadline_ns = VIVERO_SECONDS(1),
                                         .on_hang = VIVERO_HANG_REPLACE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (size_t i = 0; i < 6; i++) {
        CU_ASSERT_EQUAL(sigaction(signals[i], NULL, &after), 0);
        CU_ASSERT(after.sa_handler == before[i].sa_handler);
    }
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

SUITE_MAIN("pool_fault", NULL, NULL,
           TEST(t_x_03_a_broken_handler_ends_the_process_by_its_signal),
           TEST(surviving_a_fault_needs_the_programs_consent),
           TEST(t_x_03_drains_the_process_after_a_fault),
           TEST(a_stack_that_is_used_up_drains_too),
           TEST(waits_no_longer_than_drain_ns),
           TEST(what_is_sent_or_in_the_c_library_dies_at_once),
           TEST(other_faults_go_to_the_earlier_handler),
           TEST(a_fault_in_a_forked_child_does_not_hang),
           TEST(leaves_the_programs_signal_handlers_alone))
