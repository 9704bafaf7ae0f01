/* SPDX-License-Identifier: MIT */
/* Workers on their own whose callbacks run too long: reported, given up, told to
 * stop. */
#include <vivero/vivero.h>
#include <vivero/worker_defer.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <string.h>

#define SHORT VIVERO_MILLISECONDS(50)

static struct gate gate = GATE_SHUT;
static struct vivero_carriers *carriers;
static struct vivero_ref self_ref;

static _Atomic int destroyed;
static _Atomic int terminated_for;
static _Atomic int told_by_zombie;
static _Atomic int zombie_should_stop;
static _Atomic int deferred;
static _Atomic int hang_logs;

static void count_defer(void *ctx)
{
    (void)ctx;
    deferred++;
}

static int stand_at_gate(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    (void)out;
    (void)vivero_defer(self, (struct vivero_defer *)vivero_payload(self),
                       count_defer, NULL);
    gate_pass(&gate);
    zombie_should_stop = vivero_should_stop(self);
    told_by_zombie =
        vivero_worker_cast(vivero_current(), &crew_nothing, NULL, NULL);
    return VIVERO_OK;
}

static int stay_alive(struct vivero_self *self, const void *in, void *out)
{
    int64_t until = vivero_now() + 4 * SHORT;

    (void)in;
    (void)out;
    while (vivero_now() < until) {
        vivero_alive(self);
    }
    return VIVERO_OK;
}

static int until_asked(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    (void)out;
    gate_pass(&gate);
    while (!vivero_should_stop(self)) {
        eventually_nap();
    }
    return VIVERO_OK;
}

static const struct vivero_operation stand_operation = {.name = "stand",
                                                        .run = stand_at_gate};
static const struct vivero_operation alive_operation = {.name = "alive",
                                                        .run = stay_alive};
static const struct vivero_operation asked_operation = {.name = "asked",
                                                        .run = until_asked};

static void terminate(struct vivero_self *self, void *payload,
                      const struct vivero_exit *reason, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    terminated_for = (int)reason->kind;
}

static void destroy(void *payload, void *ctx)
{
    (void)payload;
    (void)ctx;
    destroyed++;
}

static void count_hangs(const struct vivero_log_event *event, void *ctx)
{
    (void)ctx;
    if (strcmp(event->message, "runs long") == 0) {
        hang_logs++;
    }
}

static void set_up(void)
{
    gate_shut(&gate);
    destroyed = 0;
    terminated_for = 0;
    told_by_zombie = 1;
    zombie_should_stop = 0;
    deferred = 0;
    hang_logs = 0;
    CU_ASSERT_EQUAL_FATAL(vivero_attach(NULL, &self_ref), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(
        vivero_carriers_open(VIVERO_CARRIERS_OPTIONS(.threads = 2), &carriers),
        VIVERO_OK);
}

static bool nobody_given_up(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 0;
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(eventually(nobody_given_up, NULL, CREW_PATIENCE));
    vivero_carriers_close(carriers);
    vivero_detach(NULL);
    vivero_log_set_sink(VIVERO_LOG_ERROR, NULL, NULL);
}

static struct vivero_ref start_replaced(struct vivero_carriers *shared)
{
    struct vivero_ref ref = {0, 0};

    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_start(
            VIVERO_WORKER_OPTIONS(.payload_size = sizeof(struct vivero_defer),
                                  .terminate = terminate, .destroy = destroy,
                                  .carriers = shared, .deadline_ns = SHORT,
                                  .on_hang = VIVERO_HANG_REPLACE),
            &ref),
        VIVERO_OK);
    return ref;
}

static void hang_and_be_given_up(struct vivero_carriers *shared)
{
    struct vivero_ref ref = start_replaced(shared);
    struct vivero_monitor monitor;
    const struct vivero_info *info;

    CU_ASSERT_EQUAL_FATAL(vivero_monitor(ref, &monitor), VIVERO_OK);

    CU_ASSERT_EQUAL(
        vivero_worker_call(ref, &stand_operation, NULL, NULL,
                           VIVERO_SEND(.timeout_ns = CREW_PATIENCE)),
        VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_HUNG_BLOCKED);
    CU_ASSERT_EQUAL(vivero_abandoned_threads(), 1);
    CU_ASSERT_EQUAL(vivero_receive(&info, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(info->kind, VIVERO_INFO_DOWN);
    CU_ASSERT_EQUAL(info->exit.kind, VIVERO_EXIT_HUNG_BLOCKED);
    CU_ASSERT_FALSE(vivero_is_alive(ref));
    CU_ASSERT_EQUAL(destroyed, 0);

    gate_open(&gate);
    CU_ASSERT(eventually(nobody_given_up, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(told_by_zombie, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(zombie_should_stop, 1);
    CU_ASSERT_EQUAL(deferred, 1);
    CU_ASSERT_EQUAL(terminated_for, VIVERO_EXIT_FENCED);
    CU_ASSERT_EQUAL(destroyed, 1);
}

static void t_x_02_one_with_a_thread_is_given_up_and_its_caller_told(void)
{
    hang_and_be_given_up(NULL);
}

static void t_x_02_one_on_shared_carriers_is_given_up_with_its_carrier(void)
{
    struct vivero_ref sibling = start_replaced(carriers);

    hang_and_be_given_up(carriers);

    CU_ASSERT_EQUAL(
        vivero_worker_call(sibling, &crew_nothing, NULL, NULL, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_stop(sibling, NULL, CREW_PATIENCE),
                    VIVERO_OK);
}

static void its_carriers_go_on_while_one_is_stuck(void)
{
    struct vivero_ref stuck[2];
    struct vivero_ref sibling = start_replaced(carriers);

    for (int i = 0; i < 2; i++) {
        stuck[i] = start_replaced(carriers);
        (void)vivero_worker_cast(stuck[i], &stand_operation, NULL, NULL);
    }

    /* Both threads hang; two others take their places at the deadline. */
    CU_ASSERT_EQUAL(
        vivero_worker_call(sibling, &crew_nothing, NULL, NULL,
                           VIVERO_SEND(.timeout_ns = CREW_PATIENCE)),
        VIVERO_OK);
}

static void one_that_says_it_is_alive_is_left_alone(void)
{
    struct vivero_ref ref = start_replaced(NULL);

    CU_ASSERT_EQUAL(
        vivero_worker_call(ref, &alive_operation, NULL, NULL,
                           VIVERO_SEND(.timeout_ns = CREW_PATIENCE)),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, CREW_PATIENCE), VIVERO_OK);
}

static bool was_reported(void *ctx)
{
    (void)ctx;
    return hang_logs == 1;
}

static void one_that_runs_long_is_reported_once(void)
{
    struct vivero_ref ref;

    vivero_log_set_sink(VIVERO_LOG_WARNING, count_hangs, NULL);
    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_start(
            VIVERO_WORKER_OPTIONS(.payload_size = sizeof(struct vivero_defer),
                                  .hang_report_ns = SHORT),
            &ref),
        VIVERO_OK);
    (void)vivero_worker_cast(ref, &stand_operation, NULL, NULL);

    CU_ASSERT(eventually(was_reported, NULL, CREW_PATIENCE));
    crew_await_time(vivero_now() + 4 * SHORT);
    CU_ASSERT_EQUAL(hang_logs, 1);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, CREW_PATIENCE), VIVERO_OK);
}

static void should_stop_tells_of_an_exit_signal(void)
{
    const struct vivero_exit shutdown =
        vivero_reason(VIVERO_EXIT_SHUTDOWN, 0, NULL);
    struct vivero_ref ref;
    struct vivero_monitor monitor;
    const struct vivero_info *info;

    CU_ASSERT_EQUAL_FATAL(vivero_worker_start_monitor(NULL, &ref, &monitor),
                          VIVERO_OK);
    (void)vivero_worker_cast(ref, &asked_operation, NULL, NULL);
    CU_ASSERT(gate_await(&gate, 1));
    gate_open(&gate);

    CU_ASSERT_EQUAL(vivero_signal(ref, &shutdown), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_receive(&info, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(info->exit.kind, VIVERO_EXIT_SHUTDOWN);
}

static void should_stop_tells_of_a_stop(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(vivero_worker_start(NULL, &ref), VIVERO_OK);
    (void)vivero_worker_cast(ref, &asked_operation, NULL, NULL);
    CU_ASSERT(gate_await(&gate, 1));
    gate_open(&gate);

    CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, CREW_PATIENCE), VIVERO_OK);
}

static void refuses_lengths_that_cannot_be(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL(
        vivero_worker_start(
            VIVERO_WORKER_OPTIONS(.deadline_ns = VIVERO_MILLISECONDS(9)), &ref),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        vivero_worker_start(
            VIVERO_WORKER_OPTIONS(.on_hang = VIVERO_HANG_REPLACE), &ref),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        vivero_worker_start(VIVERO_WORKER_OPTIONS(.hang_report_ns = -5), &ref),
        VIVERO_E_INVALID);
}

static void without_a_watch_there_is_no_timer(void)
{
    struct vivero_ref ref;

    vivero_carriers_close(carriers);
    CU_ASSERT_EQUAL(crew_threads_named("vivero/timer"), 0);
    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_start(
            VIVERO_WORKER_OPTIONS(.hang_report_ns = VIVERO_NONE), &ref),
        VIVERO_OK);
    CU_ASSERT_EQUAL(crew_threads_named("vivero/timer"), 0);
    CU_ASSERT_EQUAL(vivero_worker_stop(ref, NULL, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(
        vivero_carriers_open(VIVERO_CARRIERS_OPTIONS(.threads = 2), &carriers),
        VIVERO_OK);
}

SUITE_MAIN("worker_hang", set_up, tear_down,
           TEST(t_x_02_one_with_a_thread_is_given_up_and_its_caller_told),
           TEST(t_x_02_one_on_shared_carriers_is_given_up_with_its_carrier),
           TEST(its_carriers_go_on_while_one_is_stuck),
           TEST(one_that_says_it_is_alive_is_left_alone),
           TEST(one_that_runs_long_is_reported_once),
           TEST(should_stop_tells_of_an_exit_signal),
           TEST(should_stop_tells_of_a_stop),
           TEST(refuses_lengths_that_cannot_be),
           TEST(without_a_watch_there_is_no_timer))
