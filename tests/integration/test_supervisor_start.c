/* SPDX-License-Identifier: MIT */
/* How supervisors and children start, and are managed. */
#include <vivero/supervisor.h>

#include "tests/lib/fake_child.h"
#include "tests/lib/suite.h"

#define LONG VIVERO_SECONDS(20)

static struct vivero_ref supervisor;
static char failed[64];
static struct fake a;
static struct fake b;
static struct fake c;
static struct vivero_child_spec spec_a;
static struct vivero_child_spec spec_b;
static struct vivero_child_spec spec_c;

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
}

static void tear_down(void)
{
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
}

static int start_three(void)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(&spec_a, &spec_b, &spec_c)),
        &supervisor, failed);
}

static int start_dynamic(const struct vivero_child_spec *template_,
                         uint32_t children_max)
{
    return vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC,
                                  .template_ = template_,
                                  .children_max = children_max),
        &supervisor, failed);
}

static int add(const struct vivero_child_spec *spec, struct vivero_ref *ref)
{
    return vivero_supervisor_start_child(supervisor, spec, LONG, ref);
}

static struct vivero_child_counts counts(void)
{
    struct vivero_child_counts counted = {0};

    (void)vivero_supervisor_count_children(supervisor, &counted, LONG);
    return counted;
}

static struct vivero_child_info info_of(const char *id)
{
    struct vivero_child_info info = {.state = (enum vivero_child_state) - 1};

    (void)vivero_supervisor_which_child(supervisor, id, &info, LONG);
    return info;
}

/* ---- Start ---------------------------------------------------------------------- */

static void t_sup_01_a_supervisor_without_children_starts_and_stops(void)
{
    CU_ASSERT_EQUAL_FATAL(vivero_supervisor_start(NULL, &supervisor, NULL),
                          VIVERO_OK);
    CU_ASSERT_TRUE(vivero_is_alive(supervisor));
    CU_ASSERT_EQUAL(counts().specs, 0);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_FALSE(vivero_is_alive(supervisor));
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG),
                    VIVERO_E_GONE);
}

static void children_start_in_order_and_stop_in_reverse(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(fake_journal(),
                           "start a, start b, start c, stop c, stop b, stop a");
}

static void a_name_is_registered_and_taken(void)
{
    struct vivero_ref other;

    CU_ASSERT_EQUAL_FATAL(
        vivero_supervisor_start(VIVERO_SUPERVISOR_OPTIONS(.name = "trunk"),
                                &supervisor, NULL),
        VIVERO_OK);
    CU_ASSERT_TRUE(vivero_ref_equal(vivero_whereis("trunk"), supervisor));
    CU_ASSERT_EQUAL(
        vivero_supervisor_start(VIVERO_SUPERVISOR_OPTIONS(.name = "trunk"),
                                &other, NULL),
        VIVERO_E_EXISTS);
}

static void t_sup_02_a_child_that_ignores_its_start_is_listed_stopped(void)
{
    b.start = FAKE_IGNORES;

    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);

    CU_ASSERT_EQUAL(info_of("b").state, VIVERO_CHILD_STOPPED);
    CU_ASSERT_TRUE(vivero_ref_is_nobody(info_of("b").ref));
    CU_ASSERT_EQUAL(counts().specs, 3);
    CU_ASSERT_EQUAL(counts().active, 2);
}

static void t_sup_02_a_temporary_child_that_ignores_is_not_kept(void)
{
    b.start = FAKE_IGNORES;
    spec_b.restart = VIVERO_TEMPORARY;

    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);

    CU_ASSERT_EQUAL(counts().specs, 2);
}

static void t_sup_04_the_codes_of_a_failed_start_are_its_own(void)
{
    a.start = FAKE_FAILS;
    CU_ASSERT_EQUAL(start_three(), -7);
    a.start = FAKE_STARTS_LATER;
    a.stop = FAKE_DEAF;
    spec_a.start_timeout_ns = VIVERO_MILLISECONDS(1);
    CU_ASSERT_EQUAL(start_three(), VIVERO_E_TIMED_OUT);
    a.start = FAKE_FAILS_LATER;
    spec_a.start_timeout_ns = 0;
    CU_ASSERT_EQUAL(start_three(), -7);
    spec_a.restart = (enum vivero_restart)9;
    CU_ASSERT_EQUAL(start_three(), VIVERO_E_INVALID);
    CU_ASSERT_TRUE(vivero_ref_is_nobody(supervisor));
}

static void t_sup_05_the_second_of_three_fails_the_first_is_terminated(void)
{
    b.start = FAKE_FAILS;

    CU_ASSERT_EQUAL(start_three(), -7);

    CU_ASSERT_STRING_EQUAL(failed, "b");
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, stop a");
    CU_ASSERT_TRUE(vivero_ref_is_nobody(supervisor));
}

static void a_child_may_come_up_later(void)
{
    struct vivero_ref child;

    CU_ASSERT_EQUAL_FATAL(start_dynamic(NULL, 0), VIVERO_OK);
    a.start = FAKE_STARTS_LATER;
    CU_ASSERT_EQUAL(vivero_supervisor_start_child(
                        supervisor, &spec_a, VIVERO_MILLISECONDS(1), &child),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(counts().active, 0);
    fake_come_up(&a);

    CU_ASSERT_EQUAL(counts().active, 1);
}

/* ---- Restart and start on request -------------------------------------------------- */

static void t_sup_06_a_restart_that_fails_leaves_it_stopped(void)
{
    struct vivero_ref child;

    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "b", LONG),
                    VIVERO_OK);
    fake_set_fails(&b, 1);

    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "b", LONG, &child), -7);

    CU_ASSERT_EQUAL(info_of("b").state, VIVERO_CHILD_STOPPED);
    CU_ASSERT_TRUE(vivero_is_alive(supervisor));
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "b", LONG, &child),
        VIVERO_OK);
}

static void t_sup_06_a_dynamic_start_that_fails_leaves_no_child(void)
{
    CU_ASSERT_EQUAL_FATAL(start_dynamic(NULL, 0), VIVERO_OK);
    a.start = FAKE_FAILS;

    CU_ASSERT_EQUAL(add(&spec_a, NULL), -7);

    CU_ASSERT_EQUAL(counts().specs, 0);
}

static void t_sup_08_child_life_cycle(void)
{
    struct vivero_ref first = {0, 0};
    struct vivero_ref again = {0, 0};

    CU_ASSERT_EQUAL_FATAL(vivero_supervisor_start(NULL, &supervisor, NULL),
                          VIVERO_OK);
    CU_ASSERT_EQUAL(add(&spec_a, &first), VIVERO_OK);
    CU_ASSERT_TRUE(vivero_is_alive(first));
    CU_ASSERT_EQUAL(add(&spec_a, &again), VIVERO_E_EXISTS);
    CU_ASSERT_TRUE(vivero_ref_equal(first, again));
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(add(&spec_a, &again), VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "a", LONG, &again),
        VIVERO_OK);
    CU_ASSERT_FALSE(vivero_ref_equal(first, again));
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "a", LONG, &again),
        VIVERO_E_EXISTS);
    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "a", LONG),
                    VIVERO_E_EXISTS);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "a", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "a", LONG),
                    VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "a", LONG, &again),
        VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_E_NOT_FOUND);
}

static void a_child_of_the_first_list_can_be_deleted_and_added_again(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "a", LONG),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(add(&spec_a, NULL), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);
    CU_ASSERT_STRING_EQUAL(fake_journal(),
                           "start a, start b, start c, stop a, start a, "
                           "stop a, stop c, stop b");
}

static void a_start_on_request_that_is_ignored_is_kept_stopped(void)
{
    struct vivero_ref child = {1, 1};

    CU_ASSERT_EQUAL_FATAL(vivero_supervisor_start(NULL, &supervisor, NULL),
                          VIVERO_OK);
    a.start = FAKE_IGNORES;

    CU_ASSERT_EQUAL(add(&spec_a, &child), VIVERO_OK);

    CU_ASSERT_TRUE(vivero_ref_is_nobody(child));
    CU_ASSERT_EQUAL(info_of("a").state, VIVERO_CHILD_STOPPED);
}

/* ---- Dynamic ------------------------------------------------------------------------- */

static void t_sup_09_dynamic_children_start_with_an_argument(void)
{
    struct vivero_child_spec template_ = {.size = sizeof(template_),
                                          .ops = &fake_child};
    struct fake *fakes[2] = {&a, &b};
    struct vivero_ref children[2];
    struct vivero_ref stranger = {0, 0};

    CU_ASSERT_EQUAL_FATAL(start_dynamic(&template_, 0), VIVERO_OK);
    for (int i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(
            vivero_supervisor_start_child_with(
                supervisor, &fakes[i], sizeof(fakes[i]), LONG, &children[i]),
            VIVERO_OK);
    }
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b");
    CU_ASSERT_EQUAL(counts().specs, 2);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "a", LONG),
                    VIVERO_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(
        vivero_supervisor_restart_child(supervisor, "a", LONG, &stranger),
        VIVERO_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "a", LONG),
                    VIVERO_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(
        vivero_supervisor_terminate_ref(supervisor, supervisor, LONG),
        VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(
        vivero_supervisor_terminate_ref(supervisor, children[0], LONG),
        VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_terminate_ref(supervisor, children[0], LONG),
        VIVERO_OK);
    CU_ASSERT_EQUAL(counts().active, 1);
}

static void a_static_supervisor_takes_no_reference_to_terminate(void)
{
    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);

    CU_ASSERT_EQUAL(
        vivero_supervisor_terminate_ref(supervisor, fake_ref(&a), LONG),
        VIVERO_E_UNSUPPORTED);
}

static void there_are_no_more_dynamic_children_than_allowed(void)
{
    struct vivero_ref child;

    CU_ASSERT_EQUAL_FATAL(start_dynamic(NULL, 2), VIVERO_OK);
    CU_ASSERT_EQUAL(add(&spec_a, &child), VIVERO_OK);
    CU_ASSERT_EQUAL(add(&spec_b, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(add(&spec_c, NULL), VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_ref(supervisor, child, LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(add(&spec_c, NULL), VIVERO_OK);
}

static void a_supervisor_without_a_template_needs_a_spec(void)
{
    CU_ASSERT_EQUAL_FATAL(start_dynamic(NULL, 0), VIVERO_OK);

    CU_ASSERT_EQUAL(add(NULL, NULL), VIVERO_E_INVALID);
}

/* ---- Looking ------------------------------------------------------------------------------ */

static void children_are_listed_in_reverse_start_order(void)
{
    struct vivero_child_info info[2];
    size_t count = 0;

    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);

    CU_ASSERT_EQUAL(
        vivero_supervisor_which_children(supervisor, info, 2, &count, LONG),
        VIVERO_OK);

    CU_ASSERT_EQUAL(count, 3);
    CU_ASSERT_STRING_EQUAL(info[0].id, "c");
    CU_ASSERT_STRING_EQUAL(info[1].id, "b");
    CU_ASSERT_STRING_EQUAL(info[1].kind, "fake");
    CU_ASSERT_EQUAL(info[1].state, VIVERO_CHILD_RUNNING);
    CU_ASSERT_TRUE(vivero_ref_equal(info[1].ref, fake_ref(&b)));
}

static void which_child_reports_one_that_is_not_there(void)
{
    struct vivero_child_info info;

    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_supervisor_which_child(supervisor, "x", &info, LONG),
                    VIVERO_E_NOT_FOUND);
}

static void specs_are_counted_by_type_whether_they_run_or_not(void)
{
    spec_b.type = VIVERO_CHILD_SUPERVISOR;
    CU_ASSERT_EQUAL_FATAL(start_three(), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "b", LONG),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(counts().specs, 3);
    CU_ASSERT_EQUAL(counts().active, 2);
    CU_ASSERT_EQUAL(counts().supervisors, 1);
    CU_ASSERT_EQUAL(counts().workers, 2);
}

SUITE_MAIN("supervisor_start", set_up, tear_down,
           TEST(t_sup_01_a_supervisor_without_children_starts_and_stops),
           TEST(children_start_in_order_and_stop_in_reverse),
           TEST(a_name_is_registered_and_taken),
           TEST(t_sup_02_a_child_that_ignores_its_start_is_listed_stopped),
           TEST(t_sup_02_a_temporary_child_that_ignores_is_not_kept),
           TEST(t_sup_04_the_codes_of_a_failed_start_are_its_own),
           TEST(t_sup_05_the_second_of_three_fails_the_first_is_terminated),
           TEST(a_child_may_come_up_later),
           TEST(t_sup_06_a_restart_that_fails_leaves_it_stopped),
           TEST(t_sup_06_a_dynamic_start_that_fails_leaves_no_child),
           TEST(t_sup_08_child_life_cycle),
           TEST(a_child_of_the_first_list_can_be_deleted_and_added_again),
           TEST(a_start_on_request_that_is_ignored_is_kept_stopped),
           TEST(t_sup_09_dynamic_children_start_with_an_argument),
           TEST(a_static_supervisor_takes_no_reference_to_terminate),
           TEST(there_are_no_more_dynamic_children_than_allowed),
           TEST(a_supervisor_without_a_template_needs_a_spec),
           TEST(children_are_listed_in_reverse_start_order),
           TEST(which_child_reports_one_that_is_not_there),
           TEST(specs_are_counted_by_type_whether_they_run_or_not))
