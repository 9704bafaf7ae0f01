/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#include <setjmp.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Each body runs in a forked child of its own (crew_fork): what it returns is
 * the child's status, the misuse hook makes it CREW_MISUSE. */

#define BODY_FINISHED 0
#define BODY_LOST 7

/* ---- NULL where it is forbidden
 * ------------------------------------------------ */

static struct vivero_pool *none;

static int opens_into_nothing(void *ctx)
{
    (void)ctx;
    return vivero_pool_open(NULL, NULL) == 0 ? BODY_FINISHED : BODY_LOST;
}

static int closes_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_close(none) == 0 ? BODY_FINISHED : BODY_LOST;
}

static int drains_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_drain(none, 0, NULL) == 0 ? BODY_FINISHED : BODY_LOST;
}

static int runs_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_run_here(none) == 0 ? BODY_FINISHED : BODY_LOST;
}

static int calls_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_call(none, &crew_nothing, NULL, NULL, NULL);
}

static int calls_null_until(void *ctx)
{
    (void)ctx;
    return vivero_pool_call_until(none, &crew_nothing, NULL, NULL,
                                  VIVERO_FOREVER);
}

static int casts_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_cast(none, &crew_nothing, NULL, NULL);
}

static int casts_a_batch_to_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_cast_batch(none, &crew_nothing, NULL, 1);
}

static int broadcasts_to_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_broadcast(none, &crew_nothing, NULL);
}

static int cancels_in_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_cancel(none, (struct vivero_message){0});
}

static int cancels_an_owner_in_null(void *ctx)
{
    return vivero_pool_cancel_owner(none, ctx);
}

static int cancels_all_in_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_cancel_all(none);
}

static int waits_for_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_wait_idle(none, 0);
}

static int suspends_null(void *ctx)
{
    (void)ctx;
    vivero_pool_suspend(none);
    return BODY_FINISHED;
}

static int resumes_null(void *ctx)
{
    (void)ctx;
    vivero_pool_resume(none);
    return BODY_FINISHED;
}

static int resizes_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_resize(none, 1);
}

static int sizes_null(void *ctx)
{
    (void)ctx;
    return (int)vivero_pool_size(none);
}

static int names_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_name(none) != NULL;
}

static int pictures_null(void *ctx)
{
    const struct vivero_pool_snapshot *snapshot;

    (void)ctx;
    return vivero_pool_snapshot(none, &snapshot);
}

static int prints_null(void *ctx)
{
    (void)ctx;
    return vivero_pool_print(none, stdout);
}

struct misuse {
    const char *what;
    int (*body)(void *ctx);
};

#define MISUSE(body_)                                                          \
    {                                                                          \
#body_, body_                                                          \
    }

static const struct misuse nulls[] = {
    MISUSE(opens_into_nothing),  MISUSE(closes_null),
    MISUSE(drains_null),         MISUSE(runs_null),
    MISUSE(calls_null),          MISUSE(calls_null_until),
    MISUSE(casts_null),          MISUSE(casts_a_batch_to_null),
    MISUSE(broadcasts_to_null),  MISUSE(cancels_in_null),
    MISUSE(cancels_all_in_null), MISUSE(cancels_an_owner_in_null),
    MISUSE(waits_for_null),      MISUSE(suspends_null),
    MISUSE(resumes_null),        MISUSE(resizes_null),
    MISUSE(sizes_null),          MISUSE(names_null),
    MISUSE(pictures_null),       MISUSE(prints_null),
};

static void tells_the_hook_of_every_null_pool(void)
{
    for (size_t i = 0; i < sizeof nulls / sizeof nulls[0]; i++) {
        char sentence[CREW_SENTENCE_MAX] = "";
        int status = crew_fork(nulls[i].body, NULL, sentence);

        if (status != CREW_MISUSE || sentence[0] == '\0') {
            fprintf(stderr, "\n%s: status %d", nulls[i].what, status);
        }
        CU_ASSERT_EQUAL(status, CREW_MISUSE);
        CU_ASSERT_NOT_EQUAL(sentence[0], '\0');
    }
}

/* ---- A pool that was closed
 * ------------------------------------------------- */

static struct vivero_pool *closed(void)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));

    return pool != NULL && vivero_pool_close(pool) == VIVERO_OK ? pool : NULL;
}

static int calls_a_closed_pool(void *ctx)
{
    (void)ctx;
    return vivero_pool_call(closed(), &crew_nothing, NULL, NULL, NULL);
}

static int casts_to_a_closed_pool(void *ctx)
{
    (void)ctx;
    return vivero_pool_cast(closed(), &crew_nothing, NULL, NULL);
}

static int closes_twice(void *ctx)
{
    (void)ctx;
    return vivero_pool_close(closed());
}

static void tells_the_hook_of_a_pool_that_was_closed(void)
{
    static int (*const bodies[])(void *) = {
        calls_a_closed_pool, casts_to_a_closed_pool, closes_twice};

    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        char sentence[CREW_SENTENCE_MAX] = "";

        CU_ASSERT_EQUAL(crew_fork(bodies[i], NULL, sentence), CREW_MISUSE);
        CU_ASSERT_PTR_NOT_NULL(strstr(sentence, "the pool was closed"));
    }
}

/* ---- An operation that is none
 * ------------------------------------------------- */

static int calls_no_operation(void *ctx)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));

    (void)ctx;
    if (pool == NULL) {
        return BODY_LOST;
    }
    return vivero_pool_call(pool, NULL, NULL, NULL, NULL) == 0 ? BODY_FINISHED
                                                               : BODY_LOST;
}

static void tells_the_hook_of_a_missing_operation(void)
{
    CU_ASSERT_EQUAL(crew_fork(calls_no_operation, NULL, NULL), CREW_MISUSE);
}

/* ---- What a worker may not do to its own pool
 * ------------------------------------- */

static int close_own(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return vivero_pool_close(vivero_pool_current());
}

static int drain_own(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return vivero_pool_drain(vivero_pool_current(), 0, NULL);
}

static int wait_idle_own(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return vivero_pool_wait_idle(vivero_pool_current(), VIVERO_SECONDS(1));
}

static int resize_own(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return vivero_pool_resize(vivero_pool_current(), 2);
}

static int call_in_child(void *ctx)
{
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.name = "culprit", .workers = 1));

    if (pool == NULL) {
        return BODY_LOST;
    }
    return vivero_pool_call(pool, ctx, NULL, NULL, NULL) == 0 ? BODY_FINISHED
                                                              : BODY_LOST;
}

static int misuse_from_handler(vivero_handler_fn *run, char *sentence)
{
    struct vivero_operation operation = {.name = "misuse", .run = run};

    return crew_fork(call_in_child, &operation, sentence);
}

static void tells_the_hook_of_a_close_inside_a_handler(void)
{
    char sentence[CREW_SENTENCE_MAX] = "";

    CU_ASSERT_EQUAL(misuse_from_handler(close_own, sentence), CREW_MISUSE);
    CU_ASSERT_PTR_NOT_NULL(strstr(sentence, "culprit"));
}

static void tells_the_hook_of_a_drain_inside_a_handler(void)
{
    CU_ASSERT_EQUAL(misuse_from_handler(drain_own, NULL), CREW_MISUSE);
}

static void tells_the_hook_of_waiting_for_oneself_to_be_idle(void)
{
    CU_ASSERT_EQUAL(misuse_from_handler(wait_idle_own, NULL), CREW_MISUSE);
}

static void tells_the_hook_of_a_resize_inside_a_handler(void)
{
    CU_ASSERT_EQUAL(misuse_from_handler(resize_own, NULL), CREW_MISUSE);
}

/* ---- Elsewhere
 * ----------------------------------------------------------------- */

static int exits_outside_a_handler(void *ctx)
{
    (void)ctx;
    vivero_exit(1, "nobody is here to end");
}

static void tells_the_hook_of_vivero_exit_outside_a_handler(void)
{
    CU_ASSERT_EQUAL(crew_fork(exits_outside_a_handler, NULL, NULL),
                    CREW_MISUSE);
}

static jmp_buf way_out;

static void jump_out(const char *sentence, void *ctx)
{
    char *copy = ctx;

    strncpy(copy, sentence, CREW_SENTENCE_MAX - 1);
    longjmp(way_out, 1);
}

static void lets_a_test_leave_the_hook_by_longjmp(void)
{
    static char sentence[CREW_SENTENCE_MAX];

    vivero_set_misuse_hook(jump_out, sentence);
    if (setjmp(way_out) == 0) {
        vivero_pool_close(none);
        CU_FAIL("the hook was not called");
    }
    vivero_set_misuse_hook(NULL, NULL);

    CU_ASSERT_NOT_EQUAL(sentence[0], '\0');
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void do_nothing(const char *sentence, void *ctx)
{
    (void)sentence;
    (void)ctx;
}

static void aborts_when_the_hook_returns(void)
{
    int status = 0;
    pid_t child = fork();

    CU_ASSERT_FATAL(child >= 0);
    if (child == 0) {
        vivero_set_misuse_hook(do_nothing, NULL);
        vivero_pool_close(none);
        _exit(0);
    }

    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFSIGNALED(status));
    CU_ASSERT_EQUAL(WTERMSIG(status), SIGABRT);
}

/* ---- Forked children
 * ------------------------------------------------------------ */

static int uses_its_parents_pool(void *ctx)
{
    struct vivero_pool *pool = ctx;
    struct vivero_pool *another = NULL;
    int value = 1;
    int wrong = 0;
    int64_t began_ns = vivero_now();

    wrong |= vivero_pool_call(pool, &crew_echo, &value, &value, NULL) !=
             VIVERO_E_FORKED;
    wrong |=
        (vivero_pool_cast(pool, &crew_nothing, NULL, NULL) != VIVERO_E_FORKED)
        << 1;
    wrong |= (vivero_pool_cast_batch(pool, &crew_nothing, NULL, 3) !=
              VIVERO_E_FORKED)
             << 2;
    wrong |=
        (vivero_pool_broadcast(pool, &crew_nothing, NULL) != VIVERO_E_FORKED)
        << 3;
    wrong |= (vivero_pool_open(VIVERO_POOL_OPTIONS(.workers = 1), &another) !=
              VIVERO_E_FORKED)
             << 4;
    wrong |= (vivero_now() - began_ns > VIVERO_SECONDS(2)) << 5;
    return wrong;
}

static void answers_forked_in_a_forked_child(void)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 2));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(crew_fork(uses_its_parents_pool, pool, NULL), 0);

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int opens_a_pool_of_its_own(void *ctx)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));

    (void)ctx;
    return pool != NULL &&
                   vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL) ==
                       VIVERO_OK &&
                   vivero_pool_close(pool) == VIVERO_OK
               ? BODY_FINISHED
               : BODY_LOST;
}

/* A daemon forks first and opens its pools then. */
static void serves_a_child_forked_while_no_pool_was_open(void)
{
    CU_ASSERT_EQUAL(crew_fork(opens_a_pool_of_its_own, NULL, NULL),
                    BODY_FINISHED);
}

SUITE_MAIN("pool_misuse", NULL, NULL, TEST(tells_the_hook_of_every_null_pool),
           TEST(tells_the_hook_of_a_pool_that_was_closed),
           TEST(tells_the_hook_of_a_missing_operation),
           TEST(tells_the_hook_of_a_close_inside_a_handler),
           TEST(tells_the_hook_of_a_drain_inside_a_handler),
           TEST(tells_the_hook_of_waiting_for_oneself_to_be_idle),
           TEST(tells_the_hook_of_a_resize_inside_a_handler),
           TEST(tells_the_hook_of_vivero_exit_outside_a_handler),
           TEST(lets_a_test_leave_the_hook_by_longjmp),
           TEST(aborts_when_the_hook_returns),
           TEST(answers_forked_in_a_forked_child),
           TEST(serves_a_child_forked_while_no_pool_was_open))
