/* SPDX-License-Identifier: MIT */
/* Ten thousand workers under one dynamic supervisor, on carriers they share. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#define MANY (CREW_SANITIZED ? 2000u : 10000u)
#define ROUNDS 3
/* Forty times as many: linear is 40, quadratic 1600. Between them, with an order
 * of magnitude for a machine that does other things as well. */
#define SHARE 40
#define FACTOR_MAX 400

static uint64_t started;
static uint64_t answered;

static int64_t begin(struct vivero_ref *supervisor)
{
    const struct vivero_child_spec *child =
        VIVERO_CHILD_SPEC(.ops = &vivero_child_worker,
                          .options = VIVERO_WORKER_OPTIONS(.payload_size =
                                                               sizeof(long)));

    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC,
                                      .template_ = child, .carriers = 2),
            supervisor, NULL),
        VIVERO_OK);
    return vivero_now();
}

/* Start so many, call each, stop all; how long that took. */
static int64_t time_of(uint32_t count)
{
    static struct vivero_ref child[10000];
    struct vivero_ref supervisor;
    int64_t began = begin(&supervisor);

    for (uint32_t i = 0; i < count; i++) {
        started +=
            vivero_supervisor_start_child(supervisor, NULL, VIVERO_FOREVER,
                                          &child[i]) == VIVERO_OK;
    }
    for (uint32_t i = 0; i < count; i++) {
        answered += vivero_worker_call(child[i], &crew_nothing, NULL, NULL,
                                       NULL) == VIVERO_OK;
    }
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER),
                    VIVERO_OK);
    return vivero_now() - began;
}

static int64_t best_time_of(uint32_t count)
{
    int64_t best = INT64_MAX;

    for (int i = 0; i < ROUNDS; i++) {
        int64_t time = time_of(count);

        best = time < best ? time : best;
    }
    return best;
}

static void many_take_time_in_proportion_to_a_few(void)
{
    int64_t few = best_time_of(MANY / SHARE);
    int64_t many = best_time_of(MANY);

    CU_ASSERT_EQUAL(started, ROUNDS * (MANY + MANY / SHARE));
    CU_ASSERT_EQUAL(answered, started);
    CU_ASSERT(many < FACTOR_MAX * few);
}

static void they_share_two_threads(void)
{
    struct vivero_ref supervisor;
    struct vivero_ref child;
    uint32_t before;

    (void)begin(&supervisor);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, NULL, VIVERO_FOREVER, &child),
        VIVERO_OK);
    before = crew_threads();
    for (int i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(vivero_supervisor_start_child(supervisor, NULL,
                                                      VIVERO_FOREVER, &child),
                        VIVERO_OK);
    }
    CU_ASSERT(crew_threads() <= before + 1); /* the second one may be late */
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER),
                    VIVERO_OK);
}

static void one_with_a_thread_of_its_own_has_it(void)
{
    const struct vivero_child_spec *child =
        VIVERO_CHILD_SPEC(.ops = &vivero_child_worker, .own_thread = true,
                          .options = VIVERO_WORKER_OPTIONS(.label = "hermit"));
    struct vivero_ref supervisor;
    struct vivero_ref ref;

    (void)begin(&supervisor);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, child, VIVERO_FOREVER, &ref),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(crew_threads_named("hermit"), 1);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER),
                    VIVERO_OK);
}

SUITE_MAIN("supervisor_many", NULL, NULL,
           TEST(many_take_time_in_proportion_to_a_few),
           TEST(they_share_two_threads),
           TEST(one_with_a_thread_of_its_own_has_it))
