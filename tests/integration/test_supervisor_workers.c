/* SPDX-License-Identifier: MIT */
/* Workers on their own as children of supervisors. */
#include <vivero/supervisor.h>
#include <vivero/worker.h>

#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <stdatomic.h>

#define LONG VIVERO_SECONDS(20)
#define MANY 500u

static struct vivero_ref supervisor;
static atomic_int inits;
static atomic_int terminates;
static atomic_int stop_result;
static atomic_int count_result;

static void set_up(void)
{
    supervisor = (struct vivero_ref){0, 0};
    atomic_store(&inits, 0);
    atomic_store(&terminates, 0);
}

static void tear_down(void)
{
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
}

static int count_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    atomic_fetch_add(&inits, 1);
    return VIVERO_OK;
}

static void count_terminate(struct vivero_self *self, void *payload,
                            const struct vivero_exit *exit, void *ctx)
{
    (void)self;
    (void)payload;
    (void)exit;
    (void)ctx;
    atomic_fetch_add(&terminates, 1);
}

static const struct vivero_worker_options counted = {.size = sizeof(counted),
                                                     .init = count_init,
                                                     .terminate =
                                                         count_terminate,
                                                     .trap_exits = true};

static struct vivero_child_info info_of(const char *id)
{
    struct vivero_child_info info = {.state = (enum vivero_child_state) - 1};

    (void)vivero_supervisor_which_child(supervisor, id, &info, LONG);
    return info;
}

static int start_two(void)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
            VIVERO_CHILD_SPEC(.id = "a", .ops = &vivero_child_worker,
                              .options = &counted),
            VIVERO_CHILD_SPEC(.id = "b", .ops = &vivero_child_worker,
                              .options = &counted))),
        &supervisor, NULL);
}

static void workers_start_and_stop_with_their_supervisor(void)
{
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&inits), 2);
    CU_ASSERT_EQUAL(info_of("a").state, VIVERO_CHILD_RUNNING);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_EQUAL(atomic_load(&terminates), 2);
}

static bool has_restarted(void *ctx)
{
    (void)ctx;
    return info_of("a").restarts == 1 &&
           info_of("a").state == VIVERO_CHILD_RUNNING;
}

static void a_killed_worker_is_restarted(void)
{
    struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_signal(info_of("a").ref, &kill), VIVERO_OK);

    CU_ASSERT_TRUE(eventually(has_restarted, NULL, LONG));
    CU_ASSERT_EQUAL(info_of("b").restarts, 0);
}

static void many_dynamic_workers_share_carriers(void)
{
    struct vivero_child_counts counts = {0};
    uint32_t started = 0;

    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(
                    .strategy = VIVERO_DYNAMIC, .carriers = 2,
                    .template_ = VIVERO_CHILD_SPEC(.ops = &vivero_child_worker,
                                                   .options = &counted)),
            &supervisor, NULL),
        VIVERO_OK);
    for (uint32_t i = 0; i < MANY; i++) {
        started += vivero_supervisor_start_child(supervisor, NULL, LONG,
                                                 NULL) == VIVERO_OK;
    }
    CU_ASSERT_EQUAL(started, MANY);
    CU_ASSERT_EQUAL(vivero_supervisor_count_children(supervisor, &counts, LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(counts.active, MANY);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_EQUAL(atomic_load(&terminates), (int)MANY);
}

static int call_from_init(struct vivero_self *self, void *payload, void *ctx)
{
    struct vivero_ref above = vivero_whereis("above");
    struct vivero_child_counts counts;

    (void)self;
    (void)payload;
    (void)ctx;
    atomic_store(&stop_result, vivero_supervisor_stop(above, NULL, LONG));
    atomic_store(&count_result,
                 vivero_supervisor_count_children(above, &counts, LONG));
    return VIVERO_OK;
}

static void calls_of_one_that_is_being_started_are_deadlocks(void)
{
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(
                    .name = "above",
                    VIVERO_CHILDREN(
                        VIVERO_CHILD_SPEC(.id = "a",
                                          .ops = &vivero_child_worker,
                                          .options = VIVERO_WORKER_OPTIONS(
                                                  .init = call_from_init)))),
            &supervisor, NULL),
        VIVERO_OK);

    CU_ASSERT_EQUAL(atomic_load(&stop_result), VIVERO_E_DEADLOCK);
    CU_ASSERT_EQUAL(atomic_load(&count_result), VIVERO_E_DEADLOCK);
}

static int fail_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    return -9;
}

static void an_init_that_fails_fails_the_start(void)
{
    char failed[64];

    CU_ASSERT_EQUAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
                VIVERO_CHILD_SPEC(.id = "a", .ops = &vivero_child_worker,
                                  .options = &counted),
                VIVERO_CHILD_SPEC(
                        .id = "b", .ops = &vivero_child_worker,
                        .options = VIVERO_WORKER_OPTIONS(.init = fail_init)))),
            &supervisor, failed),
        -9);

    CU_ASSERT_STRING_EQUAL(failed, "b");
    CU_ASSERT_EQUAL(atomic_load(&terminates), 1);
}

static int start_named(int64_t start_timeout_ns)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
            VIVERO_CHILD_SPEC(.id = "a", .ops = &vivero_child_worker,
                              .start_timeout_ns = start_timeout_ns,
                              .options =
                                  VIVERO_WORKER_OPTIONS(.name = "taken")))),
        &supervisor, NULL);
}

static void a_child_whose_name_is_taken_fails_the_start(void)
{
    struct vivero_ref holder;

    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_start(VIVERO_WORKER_OPTIONS(.name = "taken"), &holder),
        VIVERO_OK);

    CU_ASSERT_EQUAL(start_named(0), VIVERO_E_EXISTS);

    CU_ASSERT_EQUAL(vivero_worker_stop(holder, NULL, LONG), VIVERO_OK);
}

static atomic_bool may_go_on;

static int hang_in_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    while (!atomic_load(&may_go_on)) {
        eventually_nap();
    }
    return VIVERO_OK;
}

static bool nobody_is_given_up(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 0;
}

static void an_init_that_hangs_is_a_start_that_timed_out(void)
{
    atomic_store(&may_go_on, false);

    CU_ASSERT_EQUAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(VIVERO_CHILD_SPEC(
                    .id = "a", .ops = &vivero_child_worker,
                    .start_timeout_ns = VIVERO_MILLISECONDS(10),
                    .options = VIVERO_WORKER_OPTIONS(.init = hang_in_init)))),
            &supervisor, NULL),
        VIVERO_E_TIMED_OUT);

    atomic_store(&may_go_on, true);
    CU_ASSERT_TRUE(eventually(nobody_is_given_up, NULL, LONG));
    /* The end of another supervisor joins the thread. */
    CU_ASSERT_EQUAL(start_two(), VIVERO_OK);
}

static void wait_in_terminate(struct vivero_self *self, void *payload,
                              const struct vivero_exit *exit, void *ctx)
{
    count_terminate(self, payload, exit, ctx);
    while (!atomic_load(&may_go_on)) {
        eventually_nap();
    }
}

static bool is_terminating(void *ctx)
{
    (void)ctx;
    return atomic_load(&terminates) == 1;
}

static bool is_unnamed(void *ctx)
{
    (void)ctx;
    return vivero_ref_is_nobody(vivero_whereis("below"));
}

/* It is dead to all others, and goes on stopping its children. */
static void a_supervisor_that_is_killed_stops_its_children(void)
{
    atomic_store(&may_go_on, false);
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(VIVERO_CHILD_SPEC(
                    .id = "a", .type = VIVERO_CHILD_SUPERVISOR,
                    .ops = &vivero_child_supervisor,
                    .shutdown_ns = VIVERO_BRUTAL_KILL,
                    .options = VIVERO_SUPERVISOR_OPTIONS(
                        VIVERO_CHILDREN(VIVERO_CHILD_SPEC(
                                .id = "b", .ops = &vivero_child_worker,
                                .options = VIVERO_WORKER_OPTIONS(
                                        .name = "below", .trap_exits = true,
                                        .terminate = wait_in_terminate))))))),
            &supervisor, NULL),
        VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_TRUE(eventually(is_terminating, NULL, LONG));
    atomic_store(&may_go_on, true);
    CU_ASSERT_TRUE(eventually(is_unnamed, NULL, LONG));
    CU_ASSERT_EQUAL(start_two(), VIVERO_OK); /* whose end joins threads */
}

SUITE_MAIN("supervisor_workers", set_up, tear_down,
           TEST(workers_start_and_stop_with_their_supervisor),
           TEST(a_killed_worker_is_restarted),
           TEST(many_dynamic_workers_share_carriers),
           TEST(calls_of_one_that_is_being_started_are_deadlocks),
           TEST(an_init_that_fails_fails_the_start),
           TEST(a_child_whose_name_is_taken_fails_the_start),
           TEST(an_init_that_hangs_is_a_start_that_timed_out),
           TEST(a_supervisor_that_is_killed_stops_its_children))
