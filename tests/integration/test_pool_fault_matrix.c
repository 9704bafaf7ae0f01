/* SPDX-License-Identifier: MIT */
/* Every way to break the process from a handler, by what the pool does about it:
 * how the process ends. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

enum breach {
    NULL_WRITE,
    DIVISION,
    BAD_INSTRUCTION,
    SHORT_FILE,
    ABORT,
    RECURSION,
    LARGE_FRAMES,
    DOUBLE_FREE,
    IN_THE_LIBRARY,
    WITHOUT_MESSAGE,
    IN_INIT,
    FOREIGN_THREAD,
    KILLED,
    BREACHES
};

/* What a child answers besides the signal that killed it. */
#define CONTAINED 1007 /* the caller was told, the worker replaced */
#define OTHERS 1040    /* the program's own handler had it */
#define EXITED 1000

/* When the program installs a handler of its own. */
enum own_handler { NONE = 0, BEFORE, AFTER, BEFORE_AND_FAULTY };

struct plan {
    enum vivero_fault fault;
    enum breach breach;
    enum own_handler handler;
};

static struct vivero_pool *pool;
static _Atomic bool break_allocator;
static volatile uint32_t bottom;
static int *volatile nowhere;

static __attribute__((noinline)) uint32_t dig(uint32_t depth)
{
    volatile unsigned char frame[512];

    memset((void *)(uintptr_t)frame, (int)depth, sizeof(frame));
    return depth == bottom ? 0 : dig(depth + 1) + frame[depth % 512];
}

/* Not inlined into itself: several frames at once would leap over the guard. */
static __attribute__((noinline)) uint32_t leap(uint32_t depth)
{
    volatile unsigned char frame[48 * 1024];

    frame[0] = (unsigned char)depth;
    return depth == bottom ? 0 : leap(depth + 1) + frame[0];
}

static int read_beyond_the_end(void)
{
    FILE *file = tmpfile();
    volatile char *map;

    if (file == NULL || ftruncate(fileno(file), 4096) != 0) {
        return 0;
    }
    map = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(file), 0);
    if (map == MAP_FAILED || ftruncate(fileno(file), 0) != 0) {
        return 0;
    }
    return *map;
}

static void free_twice(void)
{
    void *volatile memory = malloc(24);
    void *volatile same = memory;

    free(memory);
    free(same);
}

static void *allocate(size_t size, size_t alignment, void *ctx)
{
    void *memory = NULL;

    (void)ctx;
    if (break_allocator) {
        *nowhere = 1;
    }
    alignment = alignment < sizeof(void *) ? sizeof(void *) : alignment;
    return posix_memalign(&memory, alignment, size) == 0 ? memory : NULL;
}

static void release(void *memory, size_t size, size_t alignment, void *ctx)
{
    (void)size;
    (void)alignment;
    (void)ctx;
    free(memory);
}

static int take_much(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return VIVERO_OK;
}

static const struct vivero_operation much = {
    .name = "much", .run = take_much, .in_size = 4096};

static void break_the_library(void)
{
    static const unsigned char bytes[4096];

    break_allocator = true;
    break_allocator = vivero_pool_cast(pool, &much, bytes, NULL) != VIVERO_OK;
}

static int breach_it(struct vivero_self *self, const void *in, void *out)
{
    volatile int zero = 0;
    volatile int one = 1;

    (void)self;
    (void)out;
    switch (*(const enum breach *)in) {
    case NULL_WRITE:
        *nowhere = 1;
        break;
    case DIVISION:
        return one / zero;
    case BAD_INSTRUCTION:
        __builtin_trap();
    case SHORT_FILE:
        return read_beyond_the_end();
    case ABORT:
        abort();
    case RECURSION:
        return (int)dig(1);
    case LARGE_FRAMES:
        return (int)leap(1);
    case DOUBLE_FREE:
        free_twice();
        break;
    case IN_THE_LIBRARY:
        break_the_library();
        break;
    case KILLED:
        (void)kill(getppid(), SIGUSR1);
        for (;;) {
            (void)pause();
        }
    case WITHOUT_MESSAGE:
    case IN_INIT:
    case FOREIGN_THREAD:
    case BREACHES:
        break;
    }
    return VIVERO_OK;
}

static const struct vivero_operation breach_operation = {
    .name = "breach", .run = breach_it, .in_size = sizeof(enum breach)};

static void fault_at_start(uint32_t worker, void *ctx)
{
    (void)worker;
    (void)ctx;
    *nowhere = 1;
}

static int fault_in_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    *nowhere = 1;
    return VIVERO_OK;
}

static void see(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    _exit(info->si_code == SEGV_MAPERR && info->si_addr == NULL
              ? OTHERS - EXITED
              : 41);
}

static void see_and_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    *nowhere = 1;
}

static bool handle_segv(enum own_handler when, enum own_handler now)
{
    struct sigaction action = {.sa_sigaction = see, .sa_flags = SA_SIGINFO};

    if (when == BEFORE_AND_FAULTY && now == BEFORE) {
        action.sa_sigaction = see_and_fault;
    } else if (when != now) {
        return true;
    }
    return sigaction(SIGSEGV, &action, NULL) == 0;
}

/* After a call that was contained; a drain ends us now. */
static int go_on(enum vivero_fault fault, int error)
{
    const enum breach none = BREACHES;

    if (fault == VIVERO_FAULT_DRAIN) {
        crew_await_time(vivero_now() + CREW_PATIENCE);
    }
    if (error != VIVERO_E_DOWN ||
        vivero_last_exit()->kind != VIVERO_EXIT_FAULT) {
        return 3;
    }
    if (vivero_pool_call(pool, &breach_operation, &none, NULL, NULL) !=
            VIVERO_OK ||
        vivero_pool_close(pool) != VIVERO_OK) {
        return 4;
    }
    return vivero_abandoned_threads() == 1 ? CONTAINED - EXITED : 5;
}

static int act(const struct plan *plan)
{
    const struct vivero_allocator faulty = {allocate, release, NULL};
    const struct vivero_pool_options options = {
        .size = sizeof(options),
        .workers = 1,
        .fault = plan->fault,
        .on_thread_start =
            plan->breach == WITHOUT_MESSAGE ? fault_at_start : NULL,
        .init = plan->breach == IN_INIT ? fault_in_init : NULL};

    if (vivero_set_allocator(plan->breach == IN_THE_LIBRARY ? &faulty : NULL) !=
            VIVERO_OK ||
        !handle_segv(plan->handler, BEFORE) ||
        vivero_fault_install(0) != VIVERO_OK ||
        !handle_segv(plan->handler, AFTER) ||
        vivero_pool_open(&options, &pool) != VIVERO_OK) {
        return 1;
    }
    if (plan->breach == FOREIGN_THREAD) {
        *nowhere = 1;
    }
    return go_on(plan->fault,
                 vivero_pool_call(pool, &breach_operation, &plan->breach, NULL,
                                  VIVERO_SEND(.timeout_ns = CREW_PATIENCE)));
}

/* The signal that ended the child, or 1000 and its exit status. */
static int end_of(enum vivero_fault fault, enum breach breach,
                  enum own_handler handler)
{
    const struct rlimit no_core = {0, 0};
    const struct plan plan = {fault, breach, handler};
    const struct timespec patience = {20, 0};
    sigset_t ready;
    int status = 0;
    pid_t child;

    (void)sigemptyset(&ready);
    (void)sigaddset(&ready, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &ready, NULL);
    child = fork();
    if (child == 0) {
        (void)setrlimit(RLIMIT_CORE, &no_core);
        _exit(act(&plan));
    }
    if (child > 0 && breach == KILLED) {
        (void)sigtimedwait(&ready, NULL, &patience);
        (void)kill(child, SIGSEGV);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    return WIFSIGNALED(status) ? WTERMSIG(status)
                               : EXITED + WEXITSTATUS(status);
}

static void ends(enum breach breach, int die, int drain, int contain)
{
    if (CREW_SANITIZED) {
        return; /* it has handlers of its own, and reports instead */
    }
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_DIE, breach, NONE), die);
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_DRAIN, breach, NONE), drain);
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_UNSAFE_CONTAIN, breach, NONE), contain);
}

static void t_x_03_a_write_to_nowhere(void)
{
    ends(NULL_WRITE, SIGSEGV, SIGABRT, CONTAINED);
}

static void t_x_03_a_division_by_zero(void)
{
#ifdef __x86_64__ /* elsewhere it need not trap */
    ends(DIVISION, SIGFPE, SIGABRT, CONTAINED);
#endif
}

static void t_x_03_an_instruction_that_is_none(void)
{
#ifdef __x86_64__ /* elsewhere the trap is another signal */
    ends(BAD_INSTRUCTION, SIGILL, SIGABRT, CONTAINED);
#endif
}

static void t_x_03_a_mapped_file_that_became_shorter(void)
{
    ends(SHORT_FILE, SIGBUS, SIGABRT, CONTAINED);
}

/* A drain does not delay it; contained it is. */
static void t_x_03_an_abort(void)
{
    ends(ABORT, SIGABRT, SIGABRT, CONTAINED);
}

static void t_x_03_a_recursion_without_end(void)
{
    ends(RECURSION, SIGSEGV, SIGABRT, CONTAINED);
}

static void t_x_03_frames_that_could_leap_over_a_page(void)
{
    ends(LARGE_FRAMES, SIGSEGV, SIGABRT, CONTAINED);
}

/* The allocator's own abort is nobody's to survive. */
static void t_x_03_a_double_free(void)
{
    if (!vivero_has_jemalloc()) { /* which may not notice */
        ends(DOUBLE_FREE, SIGABRT, SIGABRT, SIGABRT);
    }
}

static void t_x_03_a_fault_inside_the_library(void)
{
    ends(IN_THE_LIBRARY, SIGSEGV, SIGSEGV, SIGSEGV);
}

static void t_x_03_a_fault_on_a_workers_thread_outside_messages(void)
{
    ends(WITHOUT_MESSAGE, SIGSEGV, SIGSEGV, SIGSEGV);
    ends(IN_INIT, SIGSEGV, SIGSEGV, SIGSEGV);
}

static void t_x_03_a_fault_on_a_foreign_thread(void)
{
    ends(FOREIGN_THREAD, SIGSEGV, SIGSEGV, SIGSEGV);
}

static void t_x_03_a_signal_from_outside(void)
{
    ends(KILLED, SIGSEGV, SIGSEGV, SIGSEGV);
}

/* Whoever had the signal before gets what is not survived, and what it does
 * wrong itself kills. */
static void t_x_03_a_handler_that_was_there_before(void)
{
    if (CREW_SANITIZED) {
        return;
    }
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_DIE, NULL_WRITE, BEFORE), OTHERS);
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_DRAIN, NULL_WRITE, BEFORE), SIGABRT);
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_UNSAFE_CONTAIN, NULL_WRITE, BEFORE),
                    CONTAINED);
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_UNSAFE_CONTAIN, FOREIGN_THREAD, BEFORE),
                    OTHERS);
}

static void t_x_03_a_second_fault_in_that_handler(void)
{
    if (CREW_SANITIZED) {
        return;
    }
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_DIE, NULL_WRITE, BEFORE_AND_FAULTY),
                    SIGSEGV);
    CU_ASSERT_EQUAL(
        end_of(VIVERO_FAULT_DRAIN, FOREIGN_THREAD, BEFORE_AND_FAULTY), SIGSEGV);
}

/* Then ours is gone. */
static void t_x_03_a_handler_that_came_after(void)
{
    if (CREW_SANITIZED) {
        return;
    }
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_DIE, NULL_WRITE, AFTER), OTHERS);
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_DRAIN, NULL_WRITE, AFTER), OTHERS);
    CU_ASSERT_EQUAL(end_of(VIVERO_FAULT_UNSAFE_CONTAIN, NULL_WRITE, AFTER),
                    OTHERS);
}

SUITE_MAIN("pool_fault_matrix", NULL, NULL, TEST(t_x_03_a_write_to_nowhere),
           TEST(t_x_03_a_division_by_zero),
           TEST(t_x_03_an_instruction_that_is_none),
           TEST(t_x_03_a_mapped_file_that_became_shorter),
           TEST(t_x_03_an_abort), TEST(t_x_03_a_recursion_without_end),
           TEST(t_x_03_frames_that_could_leap_over_a_page),
           TEST(t_x_03_a_double_free), TEST(t_x_03_a_fault_inside_the_library),
           TEST(t_x_03_a_fault_on_a_workers_thread_outside_messages),
           TEST(t_x_03_a_fault_on_a_foreign_thread),
           TEST(t_x_03_a_signal_from_outside),
           TEST(t_x_03_a_handler_that_was_there_before),
           TEST(t_x_03_a_second_fault_in_that_handler),
           TEST(t_x_03_a_handler_that_came_after))
