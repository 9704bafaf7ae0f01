/* SPDX-License-Identifier: MIT */
/* Bad input, bad moments, and children that never answer. */
#include <vivero/supervisor.h>

#include "tests/lib/eventually.h"
#include "tests/lib/fake_child.h"
#include "tests/lib/suite.h"

#include <pthread.h>
#include <stdatomic.h>

#define LONG VIVERO_SECONDS(20)
#define SHORT VIVERO_MILLISECONDS(5)

static struct vivero_ref supervisor;
static struct fake a;
static struct fake b;
static struct vivero_child_spec spec_a;
static struct vivero_child_spec spec_b;

static void set_up(void)
{
    fake_reset();
    supervisor = (struct vivero_ref){0, 0};
    a = (struct fake){.name = "a"};
    b = (struct fake){.name = "b"};
    spec_a = fake_spec(&a);
    spec_b = fake_spec(&b);
}

static void tear_down(void)
{
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
}

static int start_two(void)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(&spec_a, &spec_b)),
        &supervisor, NULL);
}

static int call_all(struct vivero_ref ref, int wanted)
{
    struct vivero_child_info info;
    struct vivero_child_counts counts;
    size_t count;
    int right = 0;

    right += vivero_supervisor_start_child(ref, &spec_a, LONG, NULL) == wanted;
    right +=
        vivero_supervisor_start_child_with(ref, "x", 1, LONG, NULL) == wanted;
    right += vivero_supervisor_terminate_child(ref, "a", LONG) == wanted;
    right += vivero_supervisor_terminate_ref(ref, ref, LONG) == wanted;
    right += vivero_supervisor_restart_child(ref, "a", LONG, NULL) == wanted;
    right += vivero_supervisor_delete_child(ref, "a", LONG) == wanted;
    right +=
        vivero_supervisor_which_children(ref, &info, 1, &count, LONG) == wanted;
    right += vivero_supervisor_which_child(ref, "a", &info, LONG) == wanted;
    right += vivero_supervisor_count_children(ref, &counts, LONG) == wanted;
    right += vivero_tree_print(ref, stderr, VIVERO_TREE_TEXT, LONG) == wanted;
    return right;
}

static void calls_to_nobody_are_gone(void)
{
    CU_ASSERT_EQUAL(call_all((struct vivero_ref){0, 0}, VIVERO_E_GONE), 10);
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
    CU_ASSERT_EQUAL(call_all(supervisor, VIVERO_E_GONE), 10);
}

static void calls_to_what_is_no_supervisor_are_invalid(void)
{
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);

    CU_ASSERT_EQUAL(call_all(fake_ref(&a), VIVERO_E_INVALID), 10);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(fake_ref(&a), NULL, LONG),
                    VIVERO_E_INVALID);
}

static void unknown_ids_are_not_found(void)
{
    static const char long_id[] =
        "0123456789012345678901234567890123456789012345678901234567890123";

    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "x", LONG),
                    VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "", LONG),
                    VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, long_id, LONG, NULL),
        VIVERO_E_NOT_FOUND);
}

static void a_bad_spec_is_refused_at_run_time_too(void)
{
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    spec_a.id = NULL;
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_a, LONG, NULL),
        VIVERO_E_INVALID);
    spec_a.id = "c";
    spec_a.significant = true;
    spec_a.restart = VIVERO_TRANSIENT;
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_a, LONG, NULL),
        VIVERO_E_INVALID);
    spec_a.shutdown_ns = -9;
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_a, LONG, NULL),
        VIVERO_E_INVALID);
}

/* ---- Calls on one that is stopping ------------------------------------------------ */

struct caller {
    pthread_t thread;
    int result;
};

static void *stop_it(void *ctx)
{
    struct caller *caller = ctx;

    caller->result = vivero_supervisor_stop(supervisor, NULL, LONG);
    return NULL;
}

static void calls_on_one_that_is_stopping_are_closing(void)
{
    struct caller stopper;
    struct vivero_child_counts counts;

    b.stop = FAKE_DEAF;
    spec_b.shutdown_ns = VIVERO_FOREVER;
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    pthread_create(&stopper.thread, NULL, stop_it, &stopper);
    CU_ASSERT_TRUE(fake_said("start a, start b, stop b"));

    CU_ASSERT_EQUAL(vivero_supervisor_count_children(supervisor, &counts, LONG),
                    VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_a, LONG, NULL),
        VIVERO_E_CLOSING);
    fake_end(&b, VIVERO_EXIT_SHUTDOWN);
    pthread_join(stopper.thread, NULL);

    CU_ASSERT_EQUAL(stopper.result, VIVERO_OK);
}

static void *start_c(void *ctx)
{
    struct caller *caller = ctx;

    caller->result =
        vivero_supervisor_start_child(supervisor, &spec_b, LONG, NULL);
    return NULL;
}

static void a_call_in_progress_is_closing_when_it_stops(void)
{
    struct caller caller;

    b.start = FAKE_STARTS_LATER;
    CU_ASSERT_EQUAL_FATAL(vivero_supervisor_start(NULL, &supervisor, NULL),
                          VIVERO_OK);
    pthread_create(&caller.thread, NULL, start_c, &caller);
    CU_ASSERT_TRUE(fake_said("start b"));

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    pthread_join(caller.thread, NULL);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_CLOSING);
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start b, stop b");
}

/* ---- Children that never answer ----------------------------------------------------- */

static void a_child_whose_start_never_returns_is_given_up(void)
{
    b.start = FAKE_STARTS_LATER;
    b.stop = FAKE_DEAF;
    spec_b.start_timeout_ns = SHORT;

    CU_ASSERT_EQUAL(start_two(), VIVERO_E_TIMED_OUT);

    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, kill b, stop a");
}

static void a_restart_that_never_comes_up_costs_the_budget(void)
{
    spec_b.start_timeout_ns = VIVERO_MILLISECONDS(1);
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.intensity = 2, VIVERO_CHILDREN(&spec_b)),
            &supervisor, NULL),
        VIVERO_OK);
    b.start = FAKE_STARTS_LATER;
    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(fake_said("start b, start b, kill b, start b, kill b"));
}

static void a_stop_does_not_wait_for_a_start_without_end(void)
{
    struct caller caller;

    b.start = FAKE_STARTS_LATER;
    b.stop = FAKE_DEAF;
    spec_b.shutdown_ns = SHORT;
    CU_ASSERT_EQUAL_FATAL(vivero_supervisor_start(NULL, &supervisor, NULL),
                          VIVERO_OK);
    pthread_create(&caller.thread, NULL, start_c, &caller);
    CU_ASSERT_TRUE(fake_said("start b"));

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    pthread_join(caller.thread, NULL);
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start b, stop b, kill b");
}

static void calls_wait_while_a_child_starts(void)
{
    struct caller caller;
    struct vivero_child_counts counts;

    b.start = FAKE_STARTS_LATER;
    CU_ASSERT_EQUAL_FATAL(vivero_supervisor_start(NULL, &supervisor, NULL),
                          VIVERO_OK);
    pthread_create(&caller.thread, NULL, start_c, &caller);
    CU_ASSERT_TRUE(fake_said("start b"));

    CU_ASSERT_EQUAL(
        vivero_supervisor_count_children(supervisor, &counts, SHORT),
        VIVERO_E_TIMED_OUT);
    fake_come_up(&b);
    pthread_join(caller.thread, NULL);

    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_count_children(supervisor, &counts, LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(counts.active, 1);
}

/* ---- From inside ------------------------------------------------------------------------ */

static atomic_int stopped_inside;
static atomic_int called_inside;

static int start_and_call(const struct vivero_child_start *start)
{
    struct vivero_child_counts counts;

    (void)start;
    atomic_store(&stopped_inside,
                 vivero_supervisor_stop(vivero_current(), NULL, LONG));
    atomic_store(&called_inside, vivero_supervisor_count_children(
                                     vivero_current(), &counts, LONG));
    return 0;
}

static void calls_from_its_own_thread_are_deadlocks(void)
{
    static const struct vivero_child_ops calling = {
        .size = sizeof(calling), .kind = "calling", .start = start_and_call};

    spec_a.ops = &calling;
    CU_ASSERT_EQUAL_FATAL(vivero_supervisor_start(VIVERO_SUPERVISOR_OPTIONS(
                                                      VIVERO_CHILDREN(&spec_a)),
                                                  &supervisor, NULL),
                          VIVERO_OK);

    CU_ASSERT_EQUAL(atomic_load(&stopped_inside), VIVERO_E_DEADLOCK);
    CU_ASSERT_EQUAL(atomic_load(&called_inside), VIVERO_E_DEADLOCK);
}

static int start_inner_and_call_outer(const struct vivero_child_start *start)
{
    struct vivero_child_counts counts;

    (void)start;
    atomic_store(&stopped_inside,
                 vivero_supervisor_stop(vivero_whereis("outer"), NULL, LONG));
    atomic_store(&called_inside, vivero_supervisor_count_children(
                                     vivero_whereis("outer"), &counts, LONG));
    return 0;
}

/* On the thread of a supervisor that the outer one is starting. */
static void calls_from_below_are_deadlocks_while_it_waits_for_them(void)
{
    static const struct vivero_child_ops calling = {
        .size = sizeof(calling),
        .kind = "calling",
        .start = start_inner_and_call_outer};

    spec_a.ops = &calling;
    spec_b.ops = &vivero_child_supervisor;
    spec_b.options = VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(&spec_a));
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.name = "outer",
                                      VIVERO_CHILDREN(&spec_b)),
            &supervisor, NULL),
        VIVERO_OK);

    CU_ASSERT_EQUAL(atomic_load(&stopped_inside), VIVERO_E_DEADLOCK);
    CU_ASSERT_EQUAL(atomic_load(&called_inside), VIVERO_E_DEADLOCK);
}

SUITE_MAIN("supervisor_misuse", set_up, tear_down,
           TEST(calls_to_nobody_are_gone),
           TEST(calls_to_what_is_no_supervisor_are_invalid),
           TEST(unknown_ids_are_not_found),
           TEST(a_bad_spec_is_refused_at_run_time_too),
           TEST(calls_on_one_that_is_stopping_are_closing),
           TEST(a_call_in_progress_is_closing_when_it_stops),
           TEST(a_child_whose_start_never_returns_is_given_up),
           TEST(a_restart_that_never_comes_up_costs_the_budget),
           TEST(a_stop_does_not_wait_for_a_start_without_end),
           TEST(calls_wait_while_a_child_starts),
           TEST(calls_from_its_own_thread_are_deadlocks),
           TEST(calls_from_below_are_deadlocks_while_it_waits_for_them))
