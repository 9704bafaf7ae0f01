/* SPDX-License-Identifier: MIT */
/* What is undefined kills the process, with the signal it was. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

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

static void answers_unsupported_for_what_is_not_built(void)
{
    struct vivero_pool *pool = NULL;

    CU_ASSERT_EQUAL(
        vivero_pool_open(VIVERO_POOL_OPTIONS(.fault = VIVERO_FAULT_DRAIN),
                         &pool),
        VIVERO_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(
        vivero_pool_open(
            VIVERO_POOL_OPTIONS(.fault = VIVERO_FAULT_UNSAFE_CONTAIN), &pool),
        VIVERO_E_UNSUPPORTED);
    CU_ASSERT_PTR_NULL(pool);
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
           TEST(answers_unsupported_for_what_is_not_built),
           TEST(leaves_the_programs_signal_handlers_alone))
