/* SPDX-License-Identifier: MIT */
/* Pools as children of supervisors: their life, and what callers see of it. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#define LONG VIVERO_SECONDS(20)
#define CALLERS 4

VIVERO_POOL_TYPE(plot, long);

static atomic_int inits;
static atomic_int downs;
static atomic_int init_error;
static struct vivero_ref supervisor;
static struct plot plot;
static struct vivero_pool *current;

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

defsynch(plot, long, finish)
{
    (void)self;
    (void)reply;
    return VIVERO_HALT;
}

defsynch(plot, long, look)
{
    (void)self;
    (void)reply;
    current = vivero_pool_current();
    return plot_add(&(struct plot){current}, 1, NULL);
}

static int count_init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    atomic_fetch_add(&inits, 1);
    return atomic_load(&init_error);
}

static void count_down(struct vivero_pool *pool,
                       const struct vivero_exit *reason, void *ctx)
{
    (void)reason;
    (void)ctx;
    atomic_fetch_add(&downs, pool == plot.pool ? 1 : 100);
}

static void set_up(void)
{
    atomic_store(&inits, 0);
    atomic_store(&downs, 0);
    atomic_store(&init_error, 0);
    supervisor = (struct vivero_ref){0, 0};
    plot.pool = NULL;
    current = NULL;
}

static void tear_down(void)
{
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
}

/* Goes down at its first failure. */
static const struct vivero_pool_options fragile = {.size = sizeof(fragile),
                                                   .name = "plot",
                                                   .workers = 2,
                                                   .restarts_max = VIVERO_NONE,
                                                   .init = count_init,
                                                   .on_down = count_down};

static int start_under(const struct vivero_supervisor_options *options)
{
    return vivero_supervisor_start(options, &supervisor, NULL);
}

/* A supervisor that restarts the fragile pool so often. */
static int start_plot(int32_t intensity, enum vivero_restart restart)
{
    const struct vivero_child_pool_options options =
        plot_child(&fragile, &plot);

    return start_under(VIVERO_SUPERVISOR_OPTIONS(
            .intensity = intensity,
            VIVERO_CHILDREN(
                VIVERO_CHILD_SPEC(.id = "plot", .ops = &vivero_child_pool,
                                  .options = &options, .restart = restart))));
}

static struct vivero_child_info info_of(const char *id)
{
    struct vivero_child_info info = {.state = (enum vivero_child_state) - 1};

    (void)vivero_supervisor_which_child(supervisor, id, &info, LONG);
    return info;
}

/* The caller of the handler that failed is told before its pool goes down. */
static bool is_up_again(void *ctx)
{
    (void)ctx;
    return atomic_load(&downs) == 1 && plot_add(&plot, 1, NULL) == VIVERO_OK;
}

static bool is_closing(void *ctx)
{
    (void)ctx;
    return plot_add(&plot, 1, NULL) == VIVERO_E_CLOSING;
}

/* ---- Starting and stopping ------------------------------------------------------- */

static void a_pool_starts_and_stops_with_its_supervisor(void)
{
    long total = 0;

    CU_ASSERT_EQUAL_FATAL(start_plot(0, VIVERO_PERMANENT), VIVERO_OK);
    CU_ASSERT_PTR_NOT_NULL_FATAL(plot.pool);
    CU_ASSERT_EQUAL(atomic_load(&inits), 2);
    CU_ASSERT_EQUAL(plot_add(&plot, 5, &total), VIVERO_OK);
    CU_ASSERT_EQUAL(total, 5);
    CU_ASSERT_STRING_EQUAL(vivero_pool_name(plot.pool), "plot");
    CU_ASSERT_EQUAL(vivero_pool_size(plot.pool), 2);
    CU_ASSERT_EQUAL(crew_threads_named("plot/child"), 1);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_EQUAL(crew_threads_named("plot/"), 0);
    CU_ASSERT_EQUAL(plot_add(&plot, 5, &total), VIVERO_E_CLOSING);
}

static void all_that_uses_the_handle_of_a_forgotten_child_is_refused(void)
{
    const struct vivero_pool_snapshot *snapshot;
    struct vivero_future future;
    int in = 1;

    CU_ASSERT_EQUAL_FATAL(start_plot(0, VIVERO_PERMANENT), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_pool_cast(plot.pool, &crew_nothing, NULL, NULL),
                    VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(plot.pool, &crew_nothing, NULL, 2),
                    VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(vivero_pool_broadcast(plot.pool, &crew_nothing, NULL),
                    VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(
        vivero_pool_call_async(plot.pool, &crew_echo, &in, NULL, &future),
        VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(plot.pool, LONG), VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(vivero_pool_drain(plot.pool, LONG, NULL), VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(vivero_pool_resize(plot.pool, 3), VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(vivero_pool_run_here(plot.pool), VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(vivero_pool_cancel_all(plot.pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_cancel_owner(plot.pool, &in), 0);
    CU_ASSERT_EQUAL(
        vivero_pool_cancel(plot.pool, (struct vivero_message){1, 1}),
        VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_pool_size(plot.pool), 0);
    CU_ASSERT_STRING_EQUAL(vivero_pool_name(plot.pool), "closed");
    vivero_pool_suspend(plot.pool);
    vivero_pool_resume(plot.pool);
    CU_ASSERT_EQUAL_FATAL(vivero_pool_snapshot(plot.pool, &snapshot),
                          VIVERO_OK);
    CU_ASSERT_EQUAL(snapshot->worker_count, 0);
    vivero_pool_snapshot_free(snapshot);
}

static void options_are_copied_with_all_they_point_to(void)
{
    char name[] = "copied";
    char thread_name[] = "cp-%u";
    uint16_t cpus[] = {0};
    struct vivero_pool_options options = fragile;
    struct vivero_child_pool_options child = plot_child(&options, &plot);

    options.name = name;
    options.thread_name = thread_name;
    options.cpus = cpus;
    options.cpu_count = 1;
    CU_ASSERT_EQUAL_FATAL(
        start_under(VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
            VIVERO_CHILD_SPEC(.id = "plot", .ops = &vivero_child_pool,
                              .options = &child)))),
        VIVERO_OK);
    memset(name, 'x', sizeof(name) - 1);
    memset(thread_name, 'x', sizeof(thread_name) - 1);
    cpus[0] = UINT16_MAX;
    options = (struct vivero_pool_options){0};
    child = (struct vivero_child_pool_options){0};

    CU_ASSERT_EQUAL(plot_stumble(&plot, NULL), VIVERO_E_DOWN);

    CU_ASSERT(eventually(is_up_again, NULL, LONG));
    CU_ASSERT_STRING_EQUAL(vivero_pool_name(plot.pool), "copied");
    CU_ASSERT_EQUAL(crew_threads_named("cp-"), 2);
}

static void a_child_without_options_has_the_defaults(void)
{
    struct vivero_pool *pool;
    int out = 0;

    CU_ASSERT_EQUAL_FATAL(
        start_under(VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
            VIVERO_CHILD_SPEC(.id = "a", .ops = &vivero_child_pool)))),
        VIVERO_OK);

    pool = vivero_pool_of_child(info_of("a").ref);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_echo, &(int){7}, &out, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(out, 7);
    CU_ASSERT_STRING_EQUAL(vivero_pool_name(pool), "pool");
}

static void a_start_fails_with_what_init_returned(void)
{
    struct vivero_child_pool_options options = plot_child(&fragile, &plot);
    char failed[64];

    atomic_store(&init_error, -7);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
                VIVERO_CHILD_SPEC(.id = "plot", .ops = &vivero_child_pool,
                                  .options = &options))),
            &supervisor, failed),
        -7);

    CU_ASSERT_STRING_EQUAL(failed, "plot");
    CU_ASSERT_PTR_NULL(plot.pool);
    CU_ASSERT_EQUAL(crew_threads_named("plot/"), 0);
}

static void impossible_options_fail_the_start(void)
{
    struct vivero_pool_options options = fragile;
    struct vivero_child_pool_options child = plot_child(&options, &plot);
    const struct vivero_supervisor_options *above =
        VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
            VIVERO_CHILD_SPEC(.id = "plot", .ops = &vivero_child_pool,
                              .options = &child)));

    options.restarts_max = -9;
    CU_ASSERT_EQUAL(start_under(above), VIVERO_E_INVALID);
    options.restarts_max = 0;
    options.size = 1;
    CU_ASSERT_EQUAL(start_under(above), VIVERO_E_INVALID);
    options.size = sizeof(options);
    child.size = 1;
    CU_ASSERT_EQUAL(start_under(above), VIVERO_E_INVALID);
    vivero_child_pool_options_init(&child);
    CU_ASSERT_EQUAL(start_under(above), VIVERO_OK);
}

/* ---- Going down -------------------------------------------------------------------- */

static void a_pool_that_went_down_is_restarted_behind_its_handle(void)
{
    struct vivero_pool *before;

    CU_ASSERT_EQUAL_FATAL(start_plot(0, VIVERO_TRANSIENT), VIVERO_OK);
    before = plot.pool;

    CU_ASSERT_EQUAL(plot_stumble(&plot, NULL), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 13);

    CU_ASSERT(eventually(is_up_again, NULL, LONG));
    CU_ASSERT_PTR_EQUAL(plot.pool, before);
    CU_ASSERT_EQUAL(info_of("plot").restarts, 1);
    CU_ASSERT_EQUAL(atomic_load(&inits), 4);
    CU_ASSERT_EQUAL(atomic_load(&downs), 1);
}

static void between_two_incarnations_calls_are_told_why(void)
{
    struct vivero_child_pool_options options = plot_child(&fragile, &plot);
    int error = VIVERO_OK;

    CU_ASSERT_EQUAL_FATAL(
        start_under(VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
            VIVERO_CHILD_SPEC(.id = "plot", .ops = &vivero_child_pool,
                              .options = &options, .restart = VIVERO_TRANSIENT,
                              .intensity = VIVERO_NONE)))),
        VIVERO_OK);

    (void)plot_stumble(&plot, NULL);
    /* Its worker's end is told before that of the pool. */
    while (error == VIVERO_OK ||
           info_of("plot").state == VIVERO_CHILD_RUNNING) {
        error = plot_add(&plot, 1, NULL);
    }

    CU_ASSERT_EQUAL(info_of("plot").state, VIVERO_CHILD_QUARANTINED);
    CU_ASSERT_EQUAL(plot_add(&plot, 1, NULL), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_RESTART_LIMIT);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 13);
    CU_ASSERT_STRING_EQUAL(vivero_last_exit()->text, "bad luck");
    CU_ASSERT_EQUAL(crew_threads_named("plot/"), 0);

    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "plot", LONG, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(plot_add(&plot, 1, NULL), VIVERO_OK);
}

struct busy {
    pthread_t thread;
    atomic_bool *stop;
    uint64_t calls;
    uint64_t answers[3]; /* OK, DOWN, CLOSING */
    uint64_t others;
};

static void *call_all_the_time(void *ctx)
{
    struct busy *busy = ctx;

    while (!atomic_load(busy->stop)) {
        int error = ++busy->calls % 16 == 0 ? plot_stumble(&plot, NULL)
                                            : plot_add(&plot, 1, NULL);

        switch (error) {
        case VIVERO_OK:
            busy->answers[0]++;
            break;
        case VIVERO_E_DOWN:
            busy->answers[1]++;
            break;
        case VIVERO_E_CLOSING:
            busy->answers[2]++;
            break;
        default:
            busy->others++;
            break;
        }
    }
    return NULL;
}

static bool has_restarted_often(void *ctx)
{
    (void)ctx;
    return info_of("plot").restarts >= (CREW_SANITIZED ? 20 : 60);
}

static void callers_who_never_stop_are_answered_once_each(void)
{
    atomic_bool stop = false;
    struct busy busy[CALLERS] = {{0}};
    uint64_t good = 0;
    uint64_t down = 0;

    CU_ASSERT_EQUAL_FATAL(start_plot(VIVERO_UNLIMITED, VIVERO_PERMANENT),
                          VIVERO_OK);
    for (int i = 0; i < CALLERS; i++) {
        busy[i].stop = &stop;
        (void)pthread_create(&busy[i].thread, NULL, call_all_the_time,
                             &busy[i]);
    }
    CU_ASSERT(eventually(has_restarted_often, NULL, 3 * LONG));
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
    CU_ASSERT(eventually(is_closing, NULL, LONG));
    atomic_store(&stop, true);

    for (int i = 0; i < CALLERS; i++) {
        (void)pthread_join(busy[i].thread, NULL);
        CU_ASSERT_EQUAL(busy[i].others, 0);
        CU_ASSERT_EQUAL(busy[i].answers[0] + busy[i].answers[1] +
                            busy[i].answers[2],
                        busy[i].calls);
        good += busy[i].answers[0];
        down += busy[i].answers[1];
    }
    CU_ASSERT(good > 0);
    CU_ASSERT(down > 0);
}

static bool supervisor_is_gone(void *ctx)
{
    (void)ctx;
    return !vivero_is_alive(supervisor);
}

static void a_spent_budget_of_the_supervisor_ends_all(void)
{
    CU_ASSERT_EQUAL_FATAL(start_plot(VIVERO_NONE, VIVERO_PERMANENT), VIVERO_OK);

    CU_ASSERT_EQUAL(plot_stumble(&plot, NULL), VIVERO_E_DOWN);

    CU_ASSERT(eventually(supervisor_is_gone, NULL, LONG));
    CU_ASSERT(eventually(is_closing, NULL, LONG));
    CU_ASSERT_EQUAL(atomic_load(&inits), 2);
}

static bool plot_has_stopped(void *ctx)
{
    (void)ctx;
    return info_of("plot").state == VIVERO_CHILD_STOPPED;
}

static void a_pool_whose_last_worker_halted_has_ended_normally(void)
{
    CU_ASSERT_EQUAL_FATAL(start_plot(0, VIVERO_TRANSIENT), VIVERO_OK);

    CU_ASSERT_EQUAL(plot_finish(&plot, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(plot_finish(&plot, NULL), VIVERO_OK);

    CU_ASSERT(eventually(plot_has_stopped, NULL, LONG));
    CU_ASSERT_EQUAL(plot_add(&plot, 1, NULL), VIVERO_E_CLOSING);
    CU_ASSERT_EQUAL(info_of("plot").restarts, 0);
    CU_ASSERT_EQUAL(crew_threads_named("plot/"), 0);
}

/* ---- With others -------------------------------------------------------------------- */

static bool both_have_restarted(void *ctx)
{
    (void)ctx;
    return info_of("plot").restarts == 1 && info_of("worker").restarts == 1 &&
           info_of("plot").state == VIVERO_CHILD_RUNNING;
}

static void a_pool_is_restarted_with_its_siblings(void)
{
    struct vivero_child_pool_options options = plot_child(&fragile, &plot);
    struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

    CU_ASSERT_EQUAL_FATAL(
        start_under(VIVERO_SUPERVISOR_OPTIONS(
                .strategy = VIVERO_ONE_FOR_ALL,
                VIVERO_CHILDREN(
                    VIVERO_CHILD_SPEC(.id = "worker",
                                      .ops = &vivero_child_worker,
                                      .options = VIVERO_WORKER_OPTIONS()),
                    VIVERO_CHILD_SPEC(.id = "plot", .ops = &vivero_child_pool,
                                      .options = &options)))),
        VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_signal(info_of("worker").ref, &kill), VIVERO_OK);

    CU_ASSERT(eventually(both_have_restarted, NULL, LONG));
    CU_ASSERT_EQUAL(plot_add(&plot, 1, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&downs), 0);
}

static void a_pool_survives_the_supervisor_it_is_in(void)
{
    struct vivero_child_pool_options options = plot_child(&fragile, &plot);
    const struct vivero_supervisor_options *inner = VIVERO_SUPERVISOR_OPTIONS(
            .intensity = VIVERO_NONE,
            VIVERO_CHILDREN(VIVERO_CHILD_SPEC(.id = "plot",
                                              .ops = &vivero_child_pool,
                                              .options = &options)));
    struct vivero_pool *before;

    CU_ASSERT_EQUAL_FATAL(
        start_under(VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(
            VIVERO_CHILD_SPEC(.id = "inner", .ops = &vivero_child_supervisor,
                              .options = inner)))),
        VIVERO_OK);
    before = plot.pool;

    CU_ASSERT_EQUAL(plot_stumble(&plot, NULL), VIVERO_E_DOWN);

    CU_ASSERT(eventually(is_up_again, NULL, LONG));
    CU_ASSERT_PTR_EQUAL(plot.pool, before);
    CU_ASSERT_EQUAL(info_of("inner").restarts, 1);
}

static void a_pool_is_in_the_picture_of_the_tree(void)
{
    char text[512] = "";
    FILE *out = fmemopen(text, sizeof(text), "w");

    CU_ASSERT_EQUAL_FATAL(start_plot(0, VIVERO_PERMANENT), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_tree_print(supervisor, out, VIVERO_TREE_TEXT, LONG),
                    VIVERO_OK);
    (void)fclose(out);

    CU_ASSERT_PTR_NOT_NULL(strstr(text, "plot (pool, running, restarts 0)"));
}

static void who_monitors_a_pool_hears_how_it_ended(void)
{
    struct vivero_ref self;
    struct vivero_monitor monitor;
    const struct vivero_info *info = NULL;

    CU_ASSERT_EQUAL_FATAL(start_plot(0, VIVERO_PERMANENT), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vivero_attach(NULL, &self), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_monitor(info_of("plot").ref, &monitor), VIVERO_OK);

    CU_ASSERT_EQUAL(plot_stumble(&plot, NULL), VIVERO_E_DOWN);

    CU_ASSERT_EQUAL_FATAL(vivero_receive(&info, LONG), VIVERO_OK);
    CU_ASSERT_EQUAL(info->kind, VIVERO_INFO_DOWN);
    CU_ASSERT_EQUAL(info->exit.kind, VIVERO_EXIT_RESTART_LIMIT);
    CU_ASSERT_EQUAL(info->exit.code, 13);
    vivero_detach(NULL);
}

static void a_handler_finds_its_own_pool_behind_its_handle(void)
{
    CU_ASSERT_EQUAL_FATAL(start_plot(0, VIVERO_PERMANENT), VIVERO_OK);

    CU_ASSERT_EQUAL(plot_look(&plot, NULL), VIVERO_OK);

    CU_ASSERT_PTR_EQUAL(current, plot.pool);
    CU_ASSERT_PTR_EQUAL(vivero_pool_of_child(info_of("plot").ref), plot.pool);
}

SUITE_MAIN("supervisor_pools", set_up, tear_down,
           TEST(a_pool_starts_and_stops_with_its_supervisor),
           TEST(all_that_uses_the_handle_of_a_forgotten_child_is_refused),
           TEST(options_are_copied_with_all_they_point_to),
           TEST(a_child_without_options_has_the_defaults),
           TEST(a_start_fails_with_what_init_returned),
           TEST(impossible_options_fail_the_start),
           TEST(a_pool_that_went_down_is_restarted_behind_its_handle),
           TEST(between_two_incarnations_calls_are_told_why),
           TEST(callers_who_never_stop_are_answered_once_each),
           TEST(a_spent_budget_of_the_supervisor_ends_all),
           TEST(a_pool_whose_last_worker_halted_has_ended_normally),
           TEST(a_pool_is_restarted_with_its_siblings),
           TEST(a_pool_survives_the_supervisor_it_is_in),
           TEST(a_pool_is_in_the_picture_of_the_tree),
           TEST(who_monitors_a_pool_hears_how_it_ended),
           TEST(a_handler_finds_its_own_pool_behind_its_handle))
