/* SPDX-License-Identifier: MIT */
/* Pools as children of supervisors: their ends in bounded time, many of one
 * kind, deadlocks, and what is left of them. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#define LONG VIVERO_SECONDS(20)
#define SOON VIVERO_MILLISECONDS(50)
/* Far more than what takes SOON, far less than what takes LONG. */
#define BOUND VIVERO_SECONDS(10)

VIVERO_POOL_TYPE(plot, long);

static struct vivero_ref supervisor;
static struct plot plot;
static struct gate gate = GATE_SHUT;
static atomic_int init_waits;
static atomic_int results[3];
static atomic_int shutdown_errors;
static atomic_int shutdown_kind;

defsynch(plot, long, add, (long, n))
{
    long *total = plot_payload(self);

    *total += n;
    *reply = *total;
    return VIVERO_OK;
}

defsynch(plot, long, stumble)
{
    (void)reply;
    return vivero_fail(self, 13, "bad luck");
}

static void ask_above(void)
{
    struct vivero_ref above = vivero_whereis("above");
    struct vivero_child_counts counts;

    atomic_store(&results[0], vivero_supervisor_stop(above, NULL, LONG));
    atomic_store(&results[1],
                 vivero_supervisor_count_children(above, &counts, LONG));
    atomic_store(&results[2],
                 vivero_supervisor_terminate_child(above, "plot", LONG));
}

defsynch(plot, long, ask)
{
    (void)self;
    (void)reply;
    ask_above();
    return VIVERO_OK;
}

static void set_up(void)
{
    supervisor = (struct vivero_ref){0, 0};
    plot.pool = NULL;
    gate_shut(&gate);
    atomic_store(&init_waits, 0);
    atomic_store(&shutdown_errors, 0);
    for (int i = 0; i < 3; i++) {
        atomic_store(&results[i], 1);
    }
}

/* A pool that was given up closes in the background. */
static bool nobody_is_left(void *ctx)
{
    (void)ctx;
    return crew_threads_named("plot/") == 0 && vivero_abandoned_threads() == 0;
}

static void tear_down(void)
{
    gate_open(&gate);
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
    CU_ASSERT(eventually(nobody_is_left, NULL, LONG));
}

static int wait_in_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    if (atomic_load(&init_waits)) {
        gate_pass(&gate);
    }
    return VIVERO_OK;
}

static const struct vivero_pool_options two = {.size = sizeof(two),
                                               .name = "plot",
                                               .workers = 2,
                                               .restarts_max = VIVERO_NONE,
                                               .init = wait_in_init};

static void note_report(const struct vivero_report *report, void *ctx)
{
    (void)ctx;
    if (report->kind == VIVERO_REPORT_SHUTDOWN_ERROR) {
        atomic_fetch_add(&shutdown_errors, 1);
        atomic_store(&shutdown_kind, (int)report->reason->kind);
    }
}

static int start_plot(const struct vivero_pool_options *options,
                      int64_t shutdown_ns)
{
    const struct vivero_child_pool_options child = plot_child(options, &plot);

    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(
                .name = "above", .on_report = note_report,
                VIVERO_CHILDREN(VIVERO_CHILD_SPEC(
                        .id = "plot", .ops = &vivero_child_pool,
                        .options = &child, .shutdown_ns = shutdown_ns,
                        .start_timeout_ns =
                            atomic_load(&init_waits) ? SOON : 0))),
        &supervisor, NULL);
}

static bool stops_in_bounded_time(void)
{
    int64_t begin = vivero_now();

    return vivero_supervisor_stop(supervisor, NULL, LONG) == VIVERO_OK &&
           vivero_now() - begin < BOUND;
}

/* ---- Bounded time ------------------------------------------------------------------ */

static void a_hung_handler_is_given_up_when_the_time_to_stop_is_over(void)
{
    CU_ASSERT_EQUAL_FATAL(start_plot(&two, SOON), VIVERO_OK);
    CU_ASSERT(crew_hold_worker(plot.pool, 1, &gate));

    CU_ASSERT(stops_in_bounded_time());

    CU_ASSERT_EQUAL(atomic_load(&shutdown_errors), 1);
    CU_ASSERT_EQUAL(atomic_load(&shutdown_kind), VIVERO_EXIT_KILLED);
    CU_ASSERT_EQUAL(plot_add(&plot, 1, NULL), VIVERO_E_CLOSING);
}

static void the_caller_of_a_handler_that_was_given_up_is_told(void)
{
    struct hold_in in = {&gate};
    struct caller caller = {.operation = &crew_hold, .in = &in};

    CU_ASSERT_EQUAL_FATAL(start_plot(&two, VIVERO_BRUTAL_KILL), VIVERO_OK);
    caller.pool = plot.pool;
    caller_start(&caller);
    CU_ASSERT(gate_await(&gate, 1));

    CU_ASSERT(stops_in_bounded_time());
    caller_join(&caller);

    CU_ASSERT_EQUAL(caller.result, VIVERO_E_CLOSING);
}

static void a_pool_gives_up_earlier_if_its_own_options_say_so(void)
{
    struct vivero_pool_options options = two;

    options.shutdown_ns = VIVERO_NONE;
    CU_ASSERT_EQUAL_FATAL(start_plot(&options, VIVERO_FOREVER), VIVERO_OK);
    CU_ASSERT(crew_hold_worker(plot.pool, 1, &gate));

    CU_ASSERT(stops_in_bounded_time());

    CU_ASSERT_EQUAL(atomic_load(&shutdown_errors), 1);
    CU_ASSERT_EQUAL(atomic_load(&shutdown_kind), VIVERO_EXIT_KILLED);
}

static void handlers_that_run_may_finish_in_time(void)
{
    struct hold_in in = {&gate};
    struct caller caller = {.operation = &crew_hold, .in = &in};
    struct vivero_exit reason = vivero_reason(VIVERO_EXIT_SHUTDOWN, 0, NULL);

    CU_ASSERT_EQUAL_FATAL(start_plot(&two, VIVERO_FOREVER), VIVERO_OK);
    caller.pool = plot.pool;
    caller_start(&caller);
    CU_ASSERT(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, &reason, SOON),
                    VIVERO_E_TIMED_OUT);

    gate_open(&gate);
    caller_join(&caller);
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);

    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&shutdown_errors), 0);
}

static void an_init_that_takes_too_long_is_given_up(void)
{
    int64_t begin = vivero_now();

    atomic_store(&init_waits, 1);
    CU_ASSERT_EQUAL(start_plot(&two, SOON), VIVERO_E_TIMED_OUT);

    CU_ASSERT(vivero_now() - begin < BOUND);
    CU_ASSERT_PTR_NULL(plot.pool);
}

static bool plot_answers(void *ctx)
{
    (void)ctx;
    return plot_add(&plot, 1, NULL) == VIVERO_OK;
}

/* The other one was idle, so it leaves as soon as it runs. */
static bool one_is_abandoned(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 1;
}

static void a_pool_that_was_given_up_has_a_successor(void)
{
    CU_ASSERT_EQUAL_FATAL(start_plot(&two, VIVERO_BRUTAL_KILL), VIVERO_OK);
    CU_ASSERT(crew_hold_worker(plot.pool, 1, &gate));

    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "plot", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(plot_add(&plot, 1, NULL), VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "plot", LONG, NULL),
        VIVERO_OK);

    CU_ASSERT_EQUAL(plot_add(&plot, 1, NULL), VIVERO_OK);
    CU_ASSERT(eventually(one_is_abandoned, NULL, LONG));
}

static void a_sibling_that_hangs_does_not_hold_up_the_restart(void)
{
    struct vivero_pool_options options = two;

    options.shutdown_ns = SOON;
    CU_ASSERT_EQUAL_FATAL(start_plot(&options, 0), VIVERO_OK);
    CU_ASSERT(crew_hold_worker(plot.pool, 1, &gate));

    CU_ASSERT_EQUAL(plot_stumble(&plot, NULL), VIVERO_E_DOWN);

    CU_ASSERT(eventually(plot_answers, NULL, LONG));
    CU_ASSERT(vivero_abandoned_threads() <= 1);
}

/* ---- Deadlocks ------------------------------------------------------------------------ */

static void a_handler_may_not_stop_what_is_above_it(void)
{
    CU_ASSERT_EQUAL_FATAL(start_plot(&two, 0), VIVERO_OK);

    CU_ASSERT_EQUAL(plot_ask(&plot, NULL), VIVERO_OK);

    CU_ASSERT_EQUAL(atomic_load(&results[0]), VIVERO_E_DEADLOCK);
    CU_ASSERT_EQUAL(atomic_load(&results[1]), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&results[2]), VIVERO_E_DEADLOCK);
}

static void nor_may_one_that_its_caller_runs(void)
{
    struct vivero_pool_options options = two;

    options.caller_runs = true;
    CU_ASSERT_EQUAL_FATAL(start_plot(&options, 0), VIVERO_OK);

    for (int i = 0; i < 100; i++) {
        atomic_store(&results[0], 1);
        CU_ASSERT_EQUAL_FATAL(plot_ask(&plot, NULL), VIVERO_OK);
        CU_ASSERT_EQUAL_FATAL(atomic_load(&results[0]), VIVERO_E_DEADLOCK);
    }
    /* The caller itself is above nobody. */
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
}

static int ask_in_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    ask_above();
    return VIVERO_OK;
}

static void an_init_may_not_wait_for_what_starts_it(void)
{
    struct vivero_pool_options options = two;

    options.workers = 1;
    options.init = ask_in_init;
    CU_ASSERT_EQUAL_FATAL(start_plot(&options, 0), VIVERO_OK);

    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(atomic_load(&results[i]), VIVERO_E_DEADLOCK);
    }
}

static void ask_in_on_down(struct vivero_pool *pool,
                           const struct vivero_exit *reason, void *ctx)
{
    (void)pool;
    (void)reason;
    (void)ctx;
    ask_above();
}

static bool has_asked(void *ctx)
{
    (void)ctx;
    return atomic_load(&results[2]) != 1;
}

static void on_down_may_not_stop_what_is_above_it(void)
{
    struct vivero_pool_options options = two;

    options.on_down = ask_in_on_down;
    CU_ASSERT_EQUAL_FATAL(start_plot(&options, 0), VIVERO_OK);

    CU_ASSERT_EQUAL(plot_stumble(&plot, NULL), VIVERO_E_DOWN);

    CU_ASSERT(eventually(has_asked, NULL, LONG));
    CU_ASSERT_EQUAL(atomic_load(&results[0]), VIVERO_E_DEADLOCK);
    CU_ASSERT_EQUAL(atomic_load(&results[2]), VIVERO_E_DEADLOCK);
}

static int close_plot(void *ctx)
{
    (void)ctx;
    if (start_plot(&two, 0) != VIVERO_OK) {
        return 1;
    }
    (void)vivero_pool_close(plot.pool);
    return 0;
}

static void to_close_the_pool_of_a_supervisor_is_misuse(void)
{
    char sentence[CREW_SENTENCE_MAX];

    CU_ASSERT_EQUAL(crew_fork(close_plot, NULL, sentence), CREW_MISUSE);
    CU_ASSERT_PTR_NOT_NULL(strstr(sentence, "pool plot is the child"));
}

/* ---- Many ----------------------------------------------------------------------------- */

static int start_dynamic(const struct vivero_child_pool_options *options)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC, .intensity = 10,
                                  .template_ =
                                      VIVERO_CHILD_SPEC(.ops =
                                                            &vivero_child_pool,
                                                        .options = options)),
        &supervisor, NULL);
}

static void each_child_of_a_template_has_a_handle_of_its_own(void)
{
    struct vivero_ref child[3] = {{0, 0}};
    struct plot plots[3];
    long total = 0;

    CU_ASSERT_EQUAL_FATAL(
        start_dynamic(VIVERO_CHILD_POOL_OPTIONS(.options = &two,
                                                .payload_size = sizeof(long))),
        VIVERO_OK);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(
            vivero_supervisor_start_child(supervisor, NULL, LONG, &child[i]),
            VIVERO_OK);
        plots[i].pool = vivero_pool_of_child(child[i]);
        CU_ASSERT_PTR_NOT_NULL_FATAL(plots[i].pool);
    }
    CU_ASSERT_PTR_NOT_EQUAL(plots[0].pool, plots[1].pool);

    CU_ASSERT_EQUAL(vivero_supervisor_terminate_ref(supervisor, child[1], LONG),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(plot_add(&plots[0], 3, &total), VIVERO_OK);
    CU_ASSERT_EQUAL(plot_add(&plots[1], 3, NULL), VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(plot_add(&plots[2], 3, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(total, 3);
    CU_ASSERT_PTR_NULL(vivero_pool_of_child(child[1]));
    CU_ASSERT_PTR_NULL(vivero_pool_of_child(supervisor));
}

static void options_with_a_handle_are_for_one_child_at_a_time(void)
{
    struct vivero_child_pool_options options = plot_child(&two, &plot);
    struct vivero_ref child;

    CU_ASSERT_EQUAL_FATAL(start_dynamic(&options), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, NULL, LONG, &child),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_start_child(supervisor, NULL, LONG, NULL),
                    VIVERO_E_EXISTS);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_ref(supervisor, child, LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_start_child(supervisor, NULL, LONG, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(plot_add(&plot, 3, NULL), VIVERO_OK);
}

static void a_pool_takes_no_argument(void)
{
    CU_ASSERT_EQUAL_FATAL(start_dynamic(NULL), VIVERO_OK);

    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child_with(supervisor, "x", 1, LONG, NULL),
        VIVERO_E_UNSUPPORTED);
}

static int look_after_the_fork(void *ctx)
{
    struct vivero_ref *child = ctx;

    return vivero_pool_of_child(*child) == NULL &&
                   plot_add(&plot, 1, NULL) == VIVERO_E_FORKED
               ? 0
               : 1;
}

static void a_forked_child_has_no_pools(void)
{
    struct vivero_child_info info;

    CU_ASSERT_EQUAL_FATAL(start_plot(&two, 0), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_which_child(supervisor, "plot", &info, LONG),
        VIVERO_OK);

    CU_ASSERT_EQUAL(crew_fork(look_after_the_fork, &info.ref, NULL), 0);
}

/* ---- What is left ----------------------------------------------------------------------- */

static bool start_and_stop(void)
{
    return start_plot(&two, 0) == VIVERO_OK &&
           plot_add(&plot, 1, NULL) == VIVERO_OK &&
           vivero_supervisor_stop(supervisor, NULL, LONG) == VIVERO_OK;
}

static void a_start_without_memory_says_so_and_leaves_nothing(void)
{
    int error = VIVERO_E_NO_MEMORY;
    uint64_t left = 0;
    uint64_t tries = 0;

    CU_ASSERT_FATAL(fault_allocator_install());
    while (error == VIVERO_E_NO_MEMORY) {
        fault_allocator_fail_after(tries++);
        error = start_plot(&two, 0);
        left += error != VIVERO_OK ? fault_allocator_blocks() : 0;
    }
    fault_allocator_fail_after(FAULT_NEVER);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT(tries > 20);
    CU_ASSERT_EQUAL(left, 0);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void two_hundred_restarts_leave_nothing(void)
{
    const struct vivero_child_pool_options child = plot_child(&two, &plot);
    uint32_t threads;
    uint32_t files;
    uint64_t bytes = 0;
    uint32_t good = 0;

    CU_ASSERT_FATAL(fault_allocator_install());
    CU_ASSERT(start_and_stop());
    threads = crew_threads();
    files = crew_files();
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
                VIVERO_CHILD_SPEC(.id = "plot", .ops = &vivero_child_pool,
                                  .options = &child))),
            &supervisor, NULL),
        VIVERO_OK);
    for (int i = 0; i < 200; i++) {
        good += vivero_supervisor_terminate_child(supervisor, "plot", LONG) ==
                    VIVERO_OK &&
                vivero_supervisor_restart_child(supervisor, "plot", LONG,
                                                NULL) == VIVERO_OK &&
                plot_add(&plot, 1, NULL) == VIVERO_OK;
        if (i < 100 && fault_allocator_bytes() > bytes) {
            bytes = fault_allocator_bytes(); /* some of it kept for reuse */
        }
    }
    CU_ASSERT_EQUAL(good, 200);
    CU_ASSERT(fault_allocator_bytes() <= bytes);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
    CU_ASSERT_EQUAL(crew_threads(), threads);
    CU_ASSERT_EQUAL(crew_files(), files);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

SUITE_MAIN("supervisor_pool_ends", set_up, tear_down,
           TEST(a_hung_handler_is_given_up_when_the_time_to_stop_is_over),
           TEST(the_caller_of_a_handler_that_was_given_up_is_told),
           TEST(a_pool_gives_up_earlier_if_its_own_options_say_so),
           TEST(handlers_that_run_may_finish_in_time),
           TEST(an_init_that_takes_too_long_is_given_up),
           TEST(a_pool_that_was_given_up_has_a_successor),
           TEST(a_sibling_that_hangs_does_not_hold_up_the_restart),
           TEST(a_handler_may_not_stop_what_is_above_it),
           TEST(nor_may_one_that_its_caller_runs),
           TEST(an_init_may_not_wait_for_what_starts_it),
           TEST(on_down_may_not_stop_what_is_above_it),
           TEST(to_close_the_pool_of_a_supervisor_is_misuse),
           TEST(each_child_of_a_template_has_a_handle_of_its_own),
           TEST(options_with_a_handle_are_for_one_child_at_a_time),
           TEST(a_pool_takes_no_argument), TEST(a_forked_child_has_no_pools),
           TEST(a_start_without_memory_says_so_and_leaves_nothing),
           TEST(two_hundred_restarts_leave_nothing))
