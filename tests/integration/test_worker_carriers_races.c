/* SPDX-License-Identifier: MIT */
/* Threads that stand in for each other, are lost, are given up. */
#include <vivero/supervisor.h>
#include <vivero/vivero.h>

#include "tests/lib/eventually.h"
#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#include <string.h>

#define IDLE_CHILDREN 50
#define LEAVERS 20

static struct gate gate = GATE_SHUT;
static struct gate second = GATE_SHUT;
static struct gate third = GATE_SHUT;
static struct vivero_carriers *carriers;
static struct vivero_ref supervisor;
static atomic_int inits;
static atomic_int destroys;

static void set_up(void)
{
    gate_shut(&gate);
    gate_shut(&second);
    gate_shut(&third);
    carriers = NULL;
    supervisor = (struct vivero_ref){0, 0};
    atomic_store(&inits, 0);
    atomic_store(&destroys, 0);
    CU_ASSERT(solo_attach());
}

static void tear_down(void)
{
    gate_open(&gate);
    gate_open(&second);
    gate_open(&third);
    (void)vivero_supervisor_stop(supervisor, NULL, CREW_PATIENCE);
    if (carriers != NULL) {
        vivero_carriers_close(carriers);
    }
    solo_detach();
}

static void open_carriers(uint32_t threads, uint32_t threads_max)
{
    int error = vivero_carriers_open(
        VIVERO_CARRIERS_OPTIONS(.name = "races", .threads = threads,
                                .threads_max = threads_max),
        &carriers);

    CU_ASSERT_EQUAL_FATAL(error, VIVERO_OK);
}

static struct vivero_ref start(void)
{
    return solo_start(VIVERO_WORKER_OPTIONS(.carriers = carriers));
}

/* ---- Standing in ----------------------------------------------------------- */

static struct vivero_ref helper;

/* Waits in a call, so that somebody stands in, and then keeps its thread. */
static int calls_and_holds(struct vivero_self *self, void *arg)
{
    const struct hold_in held = {&gate};

    (void)self;
    (void)arg;
    (void)vivero_worker_call(helper, &crew_hold, &held, NULL,
                             VIVERO_SEND(.timeout_ns = CREW_PATIENCE));
    gate_pass(&second);
    return VIVERO_OK;
}

/* One thread too many waits for work; whichever the message wakes, one of them
 * takes it. */
static void a_thread_that_steps_back_leaves_the_work_to_another(void)
{
    struct vivero_ref waiter;
    struct vivero_ref other;

    open_carriers(2, 4);
    helper = solo_start(VIVERO_WORKER_OPTIONS(.label = "helper"));
    waiter = start();
    other = start();
    CU_ASSERT_EQUAL(solo_order(waiter, calls_and_holds, NULL), VIVERO_OK);
    CU_ASSERT(gate_await(&gate, 1));
    crew_await_time(vivero_now() + SOLO_SILENCE); /* both idle ones wait */
    gate_open(&gate);
    CU_ASSERT(gate_await(&second, 1));
    CU_ASSERT_EQUAL(vivero_worker_call(other, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    gate_open(&second);
    CU_ASSERT(solo_stop(waiter));
    CU_ASSERT(solo_stop(helper));
}

static void a_thread_that_was_lost_is_replaced_at_once(void)
{
    struct vivero_ref other;

    open_carriers(1, 4);
    other = start();
    for (int i = 0; i < LEAVERS; i++) {
        CU_ASSERT_EQUAL(
            vivero_worker_call(start(), &crew_leave, NULL, NULL, NULL),
            VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(
            vivero_worker_call(other, &crew_nothing, NULL, NULL,
                               VIVERO_SEND(.timeout_ns = VIVERO_SECONDS(1))),
            VIVERO_OK);
    }
}

static atomic_int stop_result;

static int stops(struct vivero_self *self, void *arg)
{
    (void)self;
    atomic_store(&stop_result,
                 vivero_worker_stop(*(const struct vivero_ref *)arg, NULL,
                                    CREW_PATIENCE));
    return VIVERO_OK;
}

static void a_stop_that_is_refused_stops_nobody(void)
{
    const struct hold_in held = {&gate};

    open_carriers(1, 1);
    helper = solo_start(VIVERO_WORKER_OPTIONS(.label = "helper"));
    CU_ASSERT_EQUAL(vivero_worker_cast(helper, &crew_hold, &held, NULL),
                    VIVERO_OK);
    CU_ASSERT(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(solo_ask(start(), stops, &helper), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&stop_result), VIVERO_E_DEADLOCK);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_worker_call(helper, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT(solo_stop(helper));
}

/* ---- Given up ---------------------------------------------------------------- */

static int counted_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    atomic_fetch_add(&inits, 1);
    return VIVERO_OK;
}

static void counted_destroy(void *payload, void *ctx)
{
    (void)payload;
    (void)ctx;
    atomic_fetch_add(&destroys, 1);
}

static void open_supervisor(void)
{
    int error = vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC, .carriers = 1,
                                  .template_ = VIVERO_CHILD_SPEC(
                                          .ops = &vivero_child_worker,
                                          .shutdown_ns = VIVERO_BRUTAL_KILL,
                                          .restart = VIVERO_TEMPORARY,
                                          .options = VIVERO_WORKER_OPTIONS(
                                                  .init = counted_init,
                                                  .destroy = counted_destroy))),
        &supervisor, NULL);

    CU_ASSERT_EQUAL_FATAL(error, VIVERO_OK);
}

static struct vivero_ref start_child(void)
{
    struct vivero_ref ref = {0, 0};

    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, NULL, CREW_PATIENCE, &ref),
        VIVERO_OK);
    return ref;
}

static void idle_ones_that_are_killed_leave_nothing_behind(void)
{
    uint32_t before = vivero_abandoned_threads();

    open_supervisor();
    for (int i = 0; i < IDLE_CHILDREN; i++) {
        (void)start_child();
    }
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, CREW_PATIENCE),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&inits), IDLE_CHILDREN);
    CU_ASSERT_EQUAL(atomic_load(&destroys), IDLE_CHILDREN);
    CU_ASSERT_EQUAL(vivero_abandoned_threads(), before);
}

/* Stops the thread that gives a worker up in the midst of it. */
static void hold_who_gives_up(const struct vivero_log_event *event, void *ctx)
{
    (void)ctx;
    if (strncmp(event->message, "given up", 8) == 0) {
        gate_pass(&third);
    }
}

static void *run_terminate(void *arg)
{
    (void)vivero_supervisor_terminate_ref(
        supervisor, *(const struct vivero_ref *)arg, CREW_PATIENCE);
    return NULL;
}

static void a_kill_concerns_no_call_of_another_worker(void)
{
    const struct hold_in first_gate = {&gate};
    const struct hold_in second_gate = {&second};
    struct vivero_ref killed;
    struct solo_caller caller;
    pthread_t thread;

    open_supervisor();
    killed = start_child();
    caller = (struct solo_caller){
        .to = start_child(), .operation = &crew_hold, .in = &second_gate};
    CU_ASSERT_EQUAL(vivero_worker_cast(killed, &crew_hold, &first_gate, NULL),
                    VIVERO_OK);
    CU_ASSERT(gate_await(&gate, 1));
    vivero_log_set_sink(VIVERO_LOG_WARNING, hold_who_gives_up, NULL);
    CU_ASSERT_EQUAL_FATAL(pthread_create(&thread, NULL, run_terminate, &killed),
                          0);
    CU_ASSERT(gate_await(&third, 1));
    gate_open(&gate); /* its thread comes back, and takes the next one */
    solo_caller_start(&caller);
    CU_ASSERT(gate_await(&second, 1));
    gate_open(&third);
    CU_ASSERT_EQUAL(pthread_join(thread, NULL), 0);
    gate_open(&second);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    vivero_log_set_sink(VIVERO_LOG_WARNING, NULL, NULL);
}

/* ---- Closing on a thread of others -------------------------------------------- */

static int closes(struct vivero_self *self, void *arg)
{
    (void)self;
    vivero_carriers_close(arg);
    return VIVERO_OK;
}

static void a_carrier_of_others_without_spares_may_close(void)
{
    struct vivero_carriers *others;
    struct vivero_ref closer;
    struct vivero_ref held;
    const struct hold_in held_gate = {&gate};

    open_carriers(1, 1);
    CU_ASSERT_EQUAL_FATAL(
        vivero_carriers_open(VIVERO_CARRIERS_OPTIONS(.threads = 1), &others),
        VIVERO_OK);
    closer = start();
    held = solo_start(VIVERO_WORKER_OPTIONS(.carriers = others));
    CU_ASSERT_EQUAL(vivero_worker_cast(held, &crew_hold, &held_gate, NULL),
                    VIVERO_OK);
    CU_ASSERT(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(solo_order(closer, closes, others), VIVERO_OK);
    crew_await_time(vivero_now() + SOLO_SILENCE);
    gate_open(&gate);
    CU_ASSERT(solo_await_end(held));
    CU_ASSERT_EQUAL(vivero_worker_call(closer, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
}

SUITE_MAIN("worker_carriers_races", set_up, tear_down,
           TEST(a_thread_that_steps_back_leaves_the_work_to_another),
           TEST(a_thread_that_was_lost_is_replaced_at_once),
           TEST(a_stop_that_is_refused_stops_nobody),
           TEST(idle_ones_that_are_killed_leave_nothing_behind),
           TEST(a_kill_concerns_no_call_of_another_worker),
           TEST(a_carrier_of_others_without_spares_may_close))
