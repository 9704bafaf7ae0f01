/* SPDX-License-Identifier: MIT */
/* How children are stopped, and what is reported. */
#include <vivero/supervisor.h>

#include "tests/lib/eventually.h"
#include "tests/lib/fake_child.h"
#include "tests/lib/suite.h"

#include <pthread.h>

#define LONG VIVERO_SECONDS(20)
#define REPORTS 32

static struct vivero_ref supervisor;
static struct fake a;
static struct fake b;
static struct fake c;
static struct vivero_child_spec spec_a;
static struct vivero_child_spec spec_b;
static struct vivero_child_spec spec_c;

/* What was reported; read after the supervisor has ended. */
struct said {
    enum vivero_report_kind kind;
    char child[64];
    struct vivero_exit reason;
    struct vivero_ref ref;
    enum vivero_restart restart;
    uint32_t child_count;
};

static struct said said[REPORTS];
static int said_count;

static void note_report(const struct vivero_report *report, void *ctx)
{
    struct said *at = &said[said_count];

    (void)ctx;
    if (report->kind == VIVERO_REPORT_STARTED || said_count == REPORTS) {
        return;
    }
    said_count++;
    at->kind = report->kind;
    (void)snprintf(at->child, sizeof(at->child), "%s", report->child);
    at->reason = *report->reason;
    at->ref = report->ref;
    at->restart = report->restart;
    at->child_count = report->child_count;
}

static void set_up(void)
{
    fake_reset();
    supervisor = (struct vivero_ref){0, 0};
    a = (struct fake){.name = "a"};
    b = (struct fake){.name = "b"};
    c = (struct fake){.name = "c"};
    spec_a = fake_spec(&a);
    spec_b = fake_spec(&b);
    spec_c = fake_spec(&c);
    said_count = 0;
}

static void tear_down(void)
{
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
}

static int start_two(void)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.on_report = note_report,
                                  VIVERO_CHILDREN(&spec_a, &spec_b)),
        &supervisor, NULL);
}

static int start_dynamic(void)
{
    int error = vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC,
                                  .on_report = note_report),
        &supervisor, NULL);
    const struct vivero_child_spec *specs[] = {&spec_a, &spec_b, &spec_c};

    for (int i = 0; i < 3 && error == VIVERO_OK; i++) {
        error = vivero_supervisor_start_child(supervisor, specs[i], LONG, NULL);
    }
    return error;
}

static int stop(void)
{
    return vivero_supervisor_stop(supervisor, NULL, LONG);
}

static int count_children(struct vivero_child_counts *counts)
{
    return vivero_supervisor_count_children(supervisor, counts, LONG);
}

/* ---- Shutdown ------------------------------------------------------------------- */

struct ender {
    pthread_t thread;
    struct fake *fake;
    enum vivero_exit_kind kind;
    bool said;
};

static void *end_when_asked(void *ctx)
{
    struct ender *ender = ctx;

    ender->said = fake_said("start a, start b, stop b");
    fake_end(ender->fake, ender->kind);
    return NULL;
}

static void t_shd_01_an_infinite_shutdown_is_waited_for(void)
{
    struct ender ender = {.fake = &b, .kind = VIVERO_EXIT_FAILED};
    int again;

    b.stop = FAKE_DEAF;
    spec_b.shutdown_ns = VIVERO_FOREVER;
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_stop(supervisor, NULL, VIVERO_MILLISECONDS(5)),
        VIVERO_E_TIMED_OUT);
    CU_ASSERT_TRUE(vivero_is_alive(supervisor));
    pthread_create(&ender.thread, NULL, end_when_asked, &ender);

    again = stop();

    CU_ASSERT(again == VIVERO_OK || again == VIVERO_E_GONE);

    pthread_join(ender.thread, NULL);
    CU_ASSERT_TRUE(ender.said);
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, stop b, stop a");
    CU_ASSERT_EQUAL(said_count, 1);
    CU_ASSERT_EQUAL(said[0].kind, VIVERO_REPORT_SHUTDOWN_ERROR);
    CU_ASSERT_EQUAL(said[0].reason.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_STRING_EQUAL(said[0].child, "b");
}

static void t_shd_02_past_its_time_a_child_is_killed(void)
{
    const int64_t shutdown = VIVERO_MILLISECONDS(20);
    int64_t begin;

    b.stop = FAKE_DEAF;
    spec_b.shutdown_ns = shutdown;
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    begin = vivero_now();

    CU_ASSERT_EQUAL(stop(), VIVERO_OK);

    CU_ASSERT(vivero_now() - begin >= shutdown);
    CU_ASSERT_STRING_EQUAL(fake_journal(),
                           "start a, start b, stop b, kill b, stop a");
    CU_ASSERT_EQUAL(said_count, 1);
    CU_ASSERT_EQUAL(said[0].reason.kind, VIVERO_EXIT_KILLED);
}

static void a_kind_without_kill_is_forgotten(void)
{
    b.stop = FAKE_DEAF;
    spec_b.ops = &fake_without_kill;
    spec_b.shutdown_ns = VIVERO_NONE;
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);

    CU_ASSERT_EQUAL(stop(), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, stop b, stop a");
}

static void t_shd_04_a_brutal_kill_does_not_ask(void)
{
    spec_b.shutdown_ns = VIVERO_BRUTAL_KILL;
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);

    CU_ASSERT_EQUAL(stop(), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, kill b, stop a");
    CU_ASSERT_EQUAL(said_count, 0);
}

static void t_shd_04_a_dynamic_child_can_be_killed_brutally(void)
{
    spec_a.shutdown_ns = VIVERO_BRUTAL_KILL;
    spec_b.shutdown_ns = VIVERO_BRUTAL_KILL;
    spec_c.shutdown_ns = VIVERO_BRUTAL_KILL;
    CU_ASSERT_EQUAL_FATAL(start_dynamic(), VIVERO_OK);

    CU_ASSERT_EQUAL(stop(), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(fake_journal(),
                           "start a, start b, start c, kill c, kill b, kill a");
    CU_ASSERT_EQUAL(said_count, 0);
}

static void t_shd_06_dynamic_children_end_each_in_its_own_way(void)
{
    a.stop = FAKE_DEAF;
    spec_a.shutdown_ns = VIVERO_MILLISECONDS(1);
    spec_b.shutdown_ns = VIVERO_BRUTAL_KILL;
    spec_c.shutdown_ns = VIVERO_FOREVER;
    CU_ASSERT_EQUAL_FATAL(start_dynamic(), VIVERO_OK);

    CU_ASSERT_EQUAL(stop(), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, start c, stop c, "
                                           "kill b, stop a, kill a");
}

static void t_shd_09_a_terminated_child_is_killed_and_not_restarted(void)
{
    struct vivero_child_info info;

    a.stop = FAKE_DEAF;
    spec_a.shutdown_ns = VIVERO_MILLISECONDS(1);
    spec_b.shutdown_ns = VIVERO_BRUTAL_KILL;
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "b", LONG),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_which_child(supervisor, "a", &info, LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(info.state, VIVERO_CHILD_STOPPED);
    CU_ASSERT_STRING_EQUAL(fake_journal(),
                           "start a, start b, stop a, kill a, kill b");
}

static void what_a_killed_child_says_later_is_nothing(void)
{
    struct vivero_ref old;
    struct vivero_child_counts counts;

    a.stop = FAKE_DEAF;
    spec_a.shutdown_ns = VIVERO_NONE;
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    old = fake_ref(&a);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "a", LONG, NULL),
        VIVERO_OK);

    vivero_child_ended(old, NULL);
    vivero_child_started(old, -9);

    CU_ASSERT_EQUAL(count_children(&counts), VIVERO_OK);
    CU_ASSERT_EQUAL(counts.active, 2);
}

static void a_supervisor_ends_for_the_reason_it_is_given(void)
{
    struct vivero_exit reason = vivero_reason(VIVERO_EXIT_FAILED, 3, "enough");

    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, &reason, LONG),
                    VIVERO_OK);

    CU_ASSERT_FALSE(vivero_is_alive(supervisor));
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, stop b, stop a");
}

static bool is_gone(void *ctx)
{
    (void)ctx;
    return !vivero_is_alive(supervisor);
}

static void an_exit_signal_ends_it_a_normal_one_does_not(void)
{
    struct vivero_exit normal = vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);
    struct vivero_exit shutdown = vivero_reason(VIVERO_EXIT_SHUTDOWN, 0, NULL);
    struct vivero_child_counts counts;

    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_signal(supervisor, &normal), VIVERO_OK);
    CU_ASSERT_EQUAL(count_children(&counts), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_signal(supervisor, &shutdown), VIVERO_OK);

    CU_ASSERT_TRUE(eventually(is_gone, NULL, LONG));
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, stop b, stop a");
}

static void a_kill_signal_ends_it_with_its_children(void)
{
    struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_signal(supervisor, &kill), VIVERO_OK);

    CU_ASSERT_TRUE(eventually(is_gone, NULL, LONG));
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, stop b, stop a");
}

/* ---- Reports ------------------------------------------------------------------------ */

static void t_rep_01_an_end_is_reported_once_with_its_reason(void)
{
    struct vivero_child_counts counts;
    struct vivero_ref old;

    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    old = fake_ref(&b);
    fake_end(&b, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(count_children(&counts), VIVERO_OK);
    CU_ASSERT_EQUAL(stop(), VIVERO_OK);

    CU_ASSERT_EQUAL(said_count, 1);
    CU_ASSERT_EQUAL(said[0].kind, VIVERO_REPORT_ENDED);
    CU_ASSERT_STRING_EQUAL(said[0].child, "b");
    CU_ASSERT_EQUAL(said[0].reason.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(said[0].reason.code, 5);
    CU_ASSERT_TRUE(vivero_ref_equal(said[0].ref, old));
    CU_ASSERT_EQUAL(said[0].restart, VIVERO_PERMANENT);
    CU_ASSERT_EQUAL(said[0].child_count, 1);
}

static void t_rep_01_a_failed_first_start_is_reported(void)
{
    b.start = FAKE_FAILS;

    CU_ASSERT_EQUAL(start_two(), -7);

    CU_ASSERT_EQUAL(said_count, 1);
    CU_ASSERT_EQUAL(said[0].kind, VIVERO_REPORT_START_ERROR);
    CU_ASSERT_EQUAL(said[0].reason.code, -7);
}

static void t_rep_01_giving_up_is_reported_once_after_what_led_to_it(void)
{
    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.intensity = VIVERO_NONE,
                                      .on_report = note_report,
                                      VIVERO_CHILDREN(&spec_a, &spec_b)),
            &supervisor, NULL),
        VIVERO_OK);
    fake_end(&a, VIVERO_EXIT_FAILED);
    (void)eventually(is_gone, NULL, LONG);
    (void)stop();

    CU_ASSERT_EQUAL(said_count, 2);
    CU_ASSERT_EQUAL(said[0].kind, VIVERO_REPORT_ENDED);
    CU_ASSERT_EQUAL(said[1].kind, VIVERO_REPORT_GAVE_UP);
    CU_ASSERT_STRING_EQUAL(said[1].child, "a");
}

static void t_rep_01_a_quarantine_is_reported(void)
{
    struct vivero_child_counts counts;

    spec_a.intensity = VIVERO_NONE;
    CU_ASSERT_EQUAL_FATAL(start_two(), VIVERO_OK);
    fake_end(&a, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(count_children(&counts), VIVERO_OK);
    CU_ASSERT_EQUAL(stop(), VIVERO_OK);

    CU_ASSERT_EQUAL(said_count, 2);
    CU_ASSERT_EQUAL(said[1].kind, VIVERO_REPORT_QUARANTINED);
}

static void t_rep_01_dynamic_children_are_reported_once_for_each_reason(void)
{
    a.stop = FAKE_CRASHES;
    b.stop = FAKE_DEAF;
    c.stop = FAKE_CRASHES;
    spec_b.shutdown_ns = VIVERO_NONE;
    CU_ASSERT_EQUAL_FATAL(start_dynamic(), VIVERO_OK);

    CU_ASSERT_EQUAL(stop(), VIVERO_OK);

    CU_ASSERT_EQUAL_FATAL(said_count, 2);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(said[i].kind, VIVERO_REPORT_SHUTDOWN_ERROR);
        CU_ASSERT_EQUAL(said[i].child_count,
                        said[i].reason.kind == VIVERO_EXIT_KILLED ? 1 : 2);
    }
}

SUITE_MAIN("supervisor_shutdown", set_up, tear_down,
           TEST(t_shd_01_an_infinite_shutdown_is_waited_for),
           TEST(t_shd_02_past_its_time_a_child_is_killed),
           TEST(a_kind_without_kill_is_forgotten),
           TEST(t_shd_04_a_brutal_kill_does_not_ask),
           TEST(t_shd_04_a_dynamic_child_can_be_killed_brutally),
           TEST(t_shd_06_dynamic_children_end_each_in_its_own_way),
           TEST(t_shd_09_a_terminated_child_is_killed_and_not_restarted),
           TEST(what_a_killed_child_says_later_is_nothing),
           TEST(a_supervisor_ends_for_the_reason_it_is_given),
           TEST(an_exit_signal_ends_it_a_normal_one_does_not),
           TEST(a_kill_signal_ends_it_with_its_children),
           TEST(t_rep_01_an_end_is_reported_once_with_its_reason),
           TEST(t_rep_01_a_failed_first_start_is_reported),
           TEST(t_rep_01_giving_up_is_reported_once_after_what_led_to_it),
           TEST(t_rep_01_a_quarantine_is_reported),
           TEST(t_rep_01_dynamic_children_are_reported_once_for_each_reason))
