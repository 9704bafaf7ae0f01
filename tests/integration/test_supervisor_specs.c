/* SPDX-License-Identifier: MIT */
/* Each thing that can be wrong with a spec has a code of its own. */
#include <vivero/supervisor.h>

#include "tests/lib/fake_child.h"
#include "tests/lib/suite.h"

static struct fake a;
static struct fake b;
static struct vivero_child_spec spec;
static struct vivero_child_spec other;
static struct vivero_supervisor_options options;
static const struct vivero_child_spec *children[2];

static void set_up(void)
{
    fake_reset();
    a = (struct fake){.name = "a"};
    b = (struct fake){.name = "b"};
    spec = fake_spec(&a);
    other = fake_spec(&b);
    children[0] = &other;
    children[1] = &spec;
    vivero_supervisor_options_init(&options);
    options.children = children;
    options.child_count = 2;
}

/* What is wrong; and nothing is started of it. */
static enum vivero_spec_fault fault(void)
{
    struct vivero_ref ref;
    enum vivero_spec_fault found = vivero_supervisor_check(&options);

    if (found != VIVERO_SPEC_OK) {
        CU_ASSERT_EQUAL(vivero_supervisor_start(&options, &ref, NULL),
                        VIVERO_E_INVALID);
        CU_ASSERT_STRING_EQUAL(fake_journal(), "");
    }
    return found;
}

#define FINDS(fault_) CU_ASSERT_EQUAL(fault(), VIVERO_SPEC_##fault_)

static void t_sup_07_a_good_list_has_no_fault(void)
{
    FINDS(OK);
    CU_ASSERT_EQUAL(vivero_supervisor_check(NULL), VIVERO_SPEC_OK);
}

static void t_sup_07_missing_id(void)
{
    spec.id = NULL;
    FINDS(MISSING_ID);
    spec.id = "";
    FINDS(MISSING_ID);
}

static void t_sup_07_long_id(void)
{
    spec.id =
        "0123456789012345678901234567890123456789012345678901234567890123";
    FINDS(LONG_ID);
    spec.id++;
    FINDS(OK);
}

static void t_sup_07_duplicate_id(void)
{
    spec.id = "b";
    FINDS(DUPLICATE_ID);
}

static void t_sup_07_missing_operations(void)
{
    struct vivero_child_ops ops = fake_child;

    spec.ops = NULL;
    FINDS(MISSING_OPS);
    spec.ops = &ops;
    ops.start = NULL;
    FINDS(MISSING_OPS);
}

static void t_sup_07_size(void)
{
    struct vivero_child_ops ops = fake_child;

    spec.size = 1;
    FINDS(BAD_SIZE);
    spec.size = sizeof(spec);
    spec.ops = &ops;
    ops.size = 1;
    FINDS(BAD_SIZE);
    spec.ops = &fake_child;
    options.size = 1;
    FINDS(BAD_SIZE);
}

static void t_sup_07_restart_type(void)
{
    spec.restart = (enum vivero_restart)3;
    FINDS(BAD_RESTART);
}

static void t_sup_07_child_type(void)
{
    spec.type = (enum vivero_child_type)2;
    FINDS(BAD_TYPE);
}

static void t_sup_07_shutdown(void)
{
    static const int64_t good[] = {0,
                                   VIVERO_NONE,
                                   1,
                                   VIVERO_SECONDS(5),
                                   VIVERO_FOREVER,
                                   VIVERO_BRUTAL_KILL};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        spec.shutdown_ns = good[i];
        FINDS(OK);
    }
    spec.shutdown_ns = -2;
    FINDS(BAD_SHUTDOWN);
    spec.shutdown_ns = -4;
    FINDS(BAD_SHUTDOWN);
}

static void t_sup_07_start_timeout(void)
{
    spec.start_timeout_ns = -1;
    FINDS(BAD_START_TIMEOUT);
}

static void t_sup_07_significant(void)
{
    spec.significant = true;
    spec.restart = VIVERO_TRANSIENT;
    FINDS(BAD_SIGNIFICANT);
    options.auto_shutdown = VIVERO_AUTO_ANY_SIGNIFICANT;
    FINDS(OK);
    spec.restart = VIVERO_PERMANENT;
    FINDS(BAD_SIGNIFICANT);
}

static void t_sup_07_budget_of_its_own(void)
{
    spec.intensity = -2;
    FINDS(BAD_BUDGET);
    spec.intensity = VIVERO_NONE;
    FINDS(OK);
    spec.period_ns = -1;
    FINDS(BAD_BUDGET);
    spec.intensity = 0;
    spec.period_ns = 1;
    FINDS(BAD_BUDGET);
}

static void t_sup_07_backoff(void)
{
    spec.backoff_ns = -1;
    FINDS(BAD_BACKOFF);
    spec.backoff_ns = 0;
    spec.backoff_max_ns = -1;
    FINDS(BAD_BACKOFF);
}

static void t_sup_07_strategy(void)
{
    options.strategy = (enum vivero_strategy)4;
    FINDS(BAD_STRATEGY);
}

static void t_sup_07_intensity(void)
{
    options.intensity = -3;
    FINDS(BAD_INTENSITY);
    options.intensity = VIVERO_UNLIMITED;
    FINDS(OK);
    options.intensity = VIVERO_NONE;
    FINDS(OK);
}

static void t_sup_07_period(void)
{
    options.period_ns = -1;
    FINDS(BAD_PERIOD);
}

static void t_sup_07_auto_shutdown(void)
{
    options.auto_shutdown = (enum vivero_auto_shutdown)3;
    FINDS(BAD_AUTO_SHUTDOWN);
    options.auto_shutdown = VIVERO_AUTO_ANY_SIGNIFICANT;
    options.strategy = VIVERO_DYNAMIC;
    options.child_count = 0;
    FINDS(BAD_AUTO_SHUTDOWN);
}

static void t_sup_07_children_that_do_not_fit(void)
{
    children[1] = NULL;
    FINDS(BAD_CHILDREN);
    children[1] = &spec;
    options.children_max = 3;
    FINDS(BAD_CHILDREN);
    options.children_max = 0;
    options.template_ = &spec;
    FINDS(BAD_CHILDREN);
    options.template_ = NULL;
    options.strategy = VIVERO_DYNAMIC;
    FINDS(BAD_CHILDREN);
    options.strategy = VIVERO_ONE_FOR_ONE;
    options.children = NULL;
    FINDS(BAD_CHILDREN);
}

static void t_sup_07_name(void)
{
    options.name = "";
    FINDS(BAD_NAME);
    options.name =
        "0123456789012345678901234567890123456789012345678901234567890123";
    FINDS(BAD_NAME);
}

static void
t_sup_07_a_dynamic_child_needs_no_id_but_must_not_be_significant(void)
{
    spec.id = NULL;
    options.strategy = VIVERO_DYNAMIC;
    options.child_count = 0;
    options.template_ = &spec;
    FINDS(OK);
    spec.significant = true;
    spec.restart = VIVERO_TRANSIENT;
    FINDS(BAD_SIGNIFICANT);
}

static void t_sup_07_what_is_wrong_further_down_is_found(void)
{
    struct vivero_supervisor_options inner;
    struct vivero_child_spec wrong = spec;
    const struct vivero_child_spec *list[] = {&wrong};

    vivero_supervisor_options_init(&inner);
    inner.children = list;
    inner.child_count = 1;
    wrong.restart = (enum vivero_restart)3;
    spec.ops = &vivero_child_supervisor;
    spec.options = &inner;
    FINDS(BAD_RESTART);
    spec.options = NULL;
    FINDS(BAD_CHILDREN);
}

static void a_spec_can_be_checked_alone(void)
{
    CU_ASSERT_EQUAL(
        vivero_child_spec_check(&spec, VIVERO_ONE_FOR_ONE, VIVERO_AUTO_NEVER),
        VIVERO_SPEC_OK);
    spec.id = NULL;
    CU_ASSERT_EQUAL(
        vivero_child_spec_check(&spec, VIVERO_ONE_FOR_ONE, VIVERO_AUTO_NEVER),
        VIVERO_SPEC_MISSING_ID);
}

static void an_initialised_spec_is_all_defaults(void)
{
    struct vivero_child_spec fresh;

    vivero_child_spec_init(&fresh);

    CU_ASSERT_EQUAL(fresh.size, sizeof(fresh));
    CU_ASSERT_EQUAL(fresh.restart, VIVERO_PERMANENT);
}

static void every_fault_has_a_text_of_its_own(void)
{
    int same = 0;

    for (int i = 0; i < VIVERO_SPEC_FAULT_COUNT; i++) {
        const char *text = vivero_spec_fault_text((enum vivero_spec_fault)i);

        CU_ASSERT_PTR_NOT_NULL_FATAL(text);
        for (int j = 0; j < i; j++) {
            same +=
                strcmp(text,
                       vivero_spec_fault_text((enum vivero_spec_fault)j)) == 0;
        }
    }
    CU_ASSERT_EQUAL(same, 0);
    CU_ASSERT_STRING_EQUAL(vivero_spec_fault_text((enum vivero_spec_fault)99),
                           "unknown");
}

SUITE_MAIN(
    "supervisor_specs", set_up, NULL, TEST(t_sup_07_a_good_list_has_no_fault),
    TEST(t_sup_07_missing_id), TEST(t_sup_07_long_id),
    TEST(t_sup_07_duplicate_id), TEST(t_sup_07_missing_operations),
    TEST(t_sup_07_size), TEST(t_sup_07_restart_type), TEST(t_sup_07_child_type),
    TEST(t_sup_07_shutdown), TEST(t_sup_07_start_timeout),
    TEST(t_sup_07_significant), TEST(t_sup_07_budget_of_its_own),
    TEST(t_sup_07_backoff), TEST(t_sup_07_strategy), TEST(t_sup_07_intensity),
    TEST(t_sup_07_period), TEST(t_sup_07_auto_shutdown),
    TEST(t_sup_07_children_that_do_not_fit), TEST(t_sup_07_name),
    TEST(t_sup_07_a_dynamic_child_needs_no_id_but_must_not_be_significant),
    TEST(t_sup_07_what_is_wrong_further_down_is_found),
    TEST(a_spec_can_be_checked_alone),
    TEST(an_initialised_spec_is_all_defaults),
    TEST(every_fault_has_a_text_of_its_own))
