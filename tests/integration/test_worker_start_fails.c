/* SPDX-License-Identifier: MIT */
/* Workers on their own that do not come up. */
#include <vivero/vivero.h>

#include "tests/lib/eventually.h"
#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;
static atomic_uint logged;

static void count_log(const struct vivero_log_event *event, void *ctx)
{
    (void)ctx;
    if (event->level <= VIVERO_LOG_WARNING) {
        atomic_fetch_add(&logged, 1);
    }
}

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    atomic_store(&logged, 0);
    vivero_log_set_sink(VIVERO_LOG_WARNING, count_log, NULL);
    CU_ASSERT(solo_attach());
}

static void tear_down(void)
{
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
    vivero_log_set_sink(VIVERO_LOG_WARNING, NULL, NULL);
}

/* ---- Inits that do not want --------------------------------------------------- */

static int init_fails(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    return -77;
}

static int init_ignores(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    return VIVERO_IGNORE;
}

static int init_jumps(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    vivero_exit(13, "no ground");
}

static int init_jumps_with(struct vivero_self *self, void *payload, void *ctx)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 5, "not today");

    (void)self;
    (void)payload;
    (void)ctx;
    vivero_exit_with(&why);
}

static int init_returns_rubbish(struct vivero_self *self, void *payload,
                                void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    return 42;
}

static int init_leaves(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    pthread_exit(NULL);
}

static int init_hangs(struct vivero_self *self, void *payload, void *ctx)
{
    gate_pass(&gate);
    return solo_init(self, payload, ctx);
}

/* ---- Starts that fail ----------------------------------------------------------------- */

/* The result, and that the name is free and nobody is told. */
static int start_in_all_ways(vivero_init_fn *init)
{
    const struct vivero_worker_options *options =
        VIVERO_WORKER_OPTIONS(.name = "retry",
                              .payload_size = sizeof(struct solo), .init = init,
                              .terminate = solo_terminate,
                              .destroy = solo_destroy, .ctx = &witness);
    struct vivero_ref ref = {7, 7};
    struct vivero_monitor monitor;
    int result = vivero_worker_start(options, &ref);

    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("retry")));
    CU_ASSERT_EQUAL(vivero_worker_start_link(options, &ref), result);
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("retry")));
    CU_ASSERT_EQUAL(vivero_worker_start_monitor(options, &ref, &monitor),
                    result);
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("retry")));
    CU_ASSERT(solo_hears_nothing());
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 0);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 0);
    return result;
}

static void name_can_be_had_again(void)
{
    struct vivero_ref ref =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .name = "retry"));

    CU_ASSERT(vivero_ref_equal(vivero_whereis("retry"), ref));
    CU_ASSERT(solo_stop(ref));
}

static void t_gs_01_the_code_of_a_failed_init_is_the_result(void)
{
    CU_ASSERT_EQUAL(start_in_all_ways(init_fails), -77);
    name_can_be_had_again();
    CU_ASSERT_EQUAL(atomic_load(&logged), 3);
}

static void t_gs_01_an_init_that_ignores_leaves_nobody(void)
{
    struct vivero_ref ref = {7, 7};

    CU_ASSERT_EQUAL(start_in_all_ways(init_ignores), VIVERO_IGNORE);
    CU_ASSERT_EQUAL(
        vivero_worker_start(VIVERO_WORKER_OPTIONS(.init = init_ignores), &ref),
        VIVERO_IGNORE);
    CU_ASSERT(vivero_ref_is_nobody(ref));
    name_can_be_had_again();
    CU_ASSERT_EQUAL(atomic_load(&logged), 0);
}

static void t_gs_01_an_init_that_exits_is_down_with_the_reason(void)
{
    CU_ASSERT_EQUAL(start_in_all_ways(init_jumps), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 13);
    CU_ASSERT_STRING_EQUAL(vivero_last_exit()->text, "no ground");
    name_can_be_had_again();
}

static void t_gs_01_an_init_that_stops_is_down_with_the_reason(void)
{
    CU_ASSERT_EQUAL(start_in_all_ways(init_jumps_with), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_SHUTDOWN_WITH);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 5);
    name_can_be_had_again();
}

static void t_gs_01_an_init_with_a_bad_value_is_down(void)
{
    CU_ASSERT_EQUAL(start_in_all_ways(init_returns_rubbish), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_BAD_VALUE);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 42);
    name_can_be_had_again();
}

static void an_init_that_leaves_its_thread_is_down(void)
{
    CU_ASSERT_EQUAL(start_in_all_ways(init_leaves), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_THREAD_LEFT);
    name_can_be_had_again();
}

static void t_gs_01_a_quiet_one_fails_without_a_log(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL(
        vivero_worker_start(
            VIVERO_WORKER_OPTIONS(.init = init_fails, .quiet = true), &ref),
        -77);
    CU_ASSERT_EQUAL(atomic_load(&logged), 0);
}

/* A quiet worker's later failure is no quieter than any other's. */
static void quiet_is_about_init_only(void)
{
    struct fail_in in = {3, "later"};
    struct vivero_ref ref = solo_start(VIVERO_WORKER_OPTIONS(.quiet = true));

    CU_ASSERT_EQUAL(vivero_worker_call(ref, &crew_fail, &in, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(atomic_load(&logged), 1);
}

static bool none_are_abandoned(void *ctx)
{
    return vivero_abandoned_threads() == *(uint32_t *)ctx;
}

static void t_gs_01_an_init_that_takes_too_long_is_killed(void)
{
    struct vivero_ref ref = {7, 7};
    struct vivero_monitor monitor;
    uint32_t threads = vivero_abandoned_threads();
    const struct vivero_worker_options *options =
        SOLO_OPTIONS(.ctx = &witness, .name = "late", .init = init_hangs,
                     .start_timeout_ns = VIVERO_MILLISECONDS(20));

    CU_ASSERT_EQUAL(vivero_worker_start(options, &ref), VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("late")));
    CU_ASSERT_EQUAL(vivero_worker_start_link(options, &ref),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(vivero_worker_start_monitor(options, &ref, &monitor),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("late")));
    CU_ASSERT_EQUAL(vivero_abandoned_threads(), threads + 3);

    struct vivero_ref again =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .name = "late"));

    CU_ASSERT(vivero_ref_equal(vivero_whereis("late"), again));
    gate_open(&gate);
    /* Each init came back and succeeded, so each payload is destroyed. */
    CU_ASSERT(witness_await(&witness, SAW_DESTROY, 3));
    CU_ASSERT(vivero_ref_equal(vivero_whereis("late"), again));
    CU_ASSERT(eventually(none_are_abandoned, &threads, CREW_PATIENCE));
    CU_ASSERT(solo_stop(again));
}

#define CLOSE_CALLS 400
#define CLOSE_CALL_TIMEOUT VIVERO_MICROSECONDS(300)

/* Fails about when its starter loses patience, a little before or after. */
static int init_fails_late(struct vivero_self *self, void *payload, void *ctx)
{
    const int64_t until = *(const int64_t *)vivero_argument(self);

    (void)payload;
    (void)ctx;
    while (vivero_now() < until) {
    }
    return -77;
}

static void an_init_that_fails_when_its_time_is_over_is_answered_once(void)
{
    struct vivero_ref ref;
    uint32_t odd = 0;

    for (int i = 0; i < CLOSE_CALLS; i++) {
        const int64_t until =
            vivero_now() + CLOSE_CALL_TIMEOUT + VIVERO_MICROSECONDS(i % 200);
        int error = vivero_worker_start(
            VIVERO_WORKER_OPTIONS(.name = "close", .init = init_fails_late,
                                  .argument = &until,
                                  .argument_size = sizeof(until),
                                  .start_timeout_ns = CLOSE_CALL_TIMEOUT,
                                  .quiet = true),
            &ref);

        odd += error != VIVERO_E_TIMED_OUT && error != -77;
        odd += !vivero_ref_is_nobody(vivero_whereis("close"));
    }
    CU_ASSERT_EQUAL(odd, 0);
}

static struct vivero_ref bystander;
static int late_tie_result;

static int init_hangs_and_ties(struct vivero_self *self, void *payload,
                               void *ctx)
{
    struct vivero_monitor monitor;

    gate_pass(&gate);
    late_tie_result = vivero_monitor(bystander, &monitor);
    (void)vivero_link(bystander);
    return solo_init(self, payload, ctx);
}

/* What a thread that was given up still does concerns nobody. */
static void an_init_that_was_given_up_ties_itself_to_nobody(void)
{
    struct vivero_ref ref;

    bystander = solo_start(SOLO_OPTIONS(.ctx = &witness));
    CU_ASSERT_EQUAL(
        vivero_worker_start(SOLO_OPTIONS(.ctx = &witness,
                                         .init = init_hangs_and_ties,
                                         .start_timeout_ns = 1000000),
                            &ref),
        VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT(witness_await(&witness, SAW_DESTROY, 1));
    CU_ASSERT_EQUAL(solo_look(bystander).links, 0);
    CU_ASSERT_EQUAL(solo_look(bystander).monitors, 0);
    CU_ASSERT(solo_stop(bystander));
}

static void *starter_run(void *arg)
{
    struct vivero_ref ref;

    *(int *)arg = vivero_worker_start(
        SOLO_OPTIONS(.ctx = &witness, .name = "cut", .init = init_hangs), &ref);
    return NULL;
}

static void one_that_is_stopped_before_it_is_up_is_down(void)
{
    pthread_t thread;
    struct vivero_ref cut;
    int result = 0;
    const struct vivero_exit kill =
        vivero_reason(VIVERO_EXIT_KILL, 0, "enough");

    pthread_create(&thread, NULL, starter_run, &result);
    CU_ASSERT(gate_await(&gate, 1));
    cut = vivero_whereis("cut");
    CU_ASSERT_EQUAL(vivero_signal(cut, &kill), VIVERO_OK);
    gate_open(&gate);
    pthread_join(thread, NULL);
    /* init finished all the same: it was up for an instant, or never. */
    CU_ASSERT(result == VIVERO_OK || result == VIVERO_E_DOWN);
    CU_ASSERT(solo_await_end(cut));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 1);
}

SUITE_MAIN("worker_start_fails", set_up, tear_down,
           TEST(t_gs_01_the_code_of_a_failed_init_is_the_result),
           TEST(t_gs_01_an_init_that_ignores_leaves_nobody),
           TEST(t_gs_01_an_init_that_exits_is_down_with_the_reason),
           TEST(t_gs_01_an_init_that_stops_is_down_with_the_reason),
           TEST(t_gs_01_an_init_with_a_bad_value_is_down),
           TEST(an_init_that_leaves_its_thread_is_down),
           TEST(t_gs_01_a_quiet_one_fails_without_a_log),
           TEST(quiet_is_about_init_only),
           TEST(t_gs_01_an_init_that_takes_too_long_is_killed),
           TEST(an_init_that_fails_when_its_time_is_over_is_answered_once),
           TEST(an_init_that_was_given_up_ties_itself_to_nobody),
           TEST(one_that_is_stopped_before_it_is_up_is_down))
