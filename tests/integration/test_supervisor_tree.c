/* SPDX-License-Identifier: MIT */
/* Supervisors below supervisors, partitions, and pictures of them. */
#include <vivero/supervisor.h>

#include "tests/lib/eventually.h"
#include "tests/lib/fake_child.h"
#include "tests/lib/suite.h"

#define LONG VIVERO_SECONDS(20)

static struct vivero_ref supervisor;
static struct fake a;
static struct fake b;
static struct vivero_child_spec spec_a;
static struct vivero_child_spec spec_b;
static struct vivero_child_spec spec_inner;

static void set_up(void)
{
    fake_reset();
    supervisor = (struct vivero_ref){0, 0};
    a = (struct fake){.name = "a"};
    b = (struct fake){.name = "b"};
    spec_a = fake_spec(&a);
    spec_b = fake_spec(&b);
    vivero_child_spec_init(&spec_inner);
    spec_inner.id = "inner";
    spec_inner.ops = &vivero_child_supervisor;
}

static void tear_down(void)
{
    (void)vivero_supervisor_stop(supervisor, NULL, LONG);
}

/* a, and below "inner", b. The options are gone when this returns. */
static int start_nested(int32_t inner_intensity)
{
    struct vivero_child_spec spec_b_copy = spec_b;
    char name[] = "inner tree";
    int error;

    spec_inner.options =
        VIVERO_SUPERVISOR_OPTIONS(.name = name, .intensity = inner_intensity,
                                  VIVERO_CHILDREN(&spec_b_copy));
    error = vivero_supervisor_start(
        VIVERO_SUPERVISOR_OPTIONS(.name = "outer tree",
                                  VIVERO_CHILDREN(&spec_a, &spec_inner)),
        &supervisor, NULL);
    memset(name, 'x', sizeof(name));
    memset(&spec_b_copy, 0xff, sizeof(spec_b_copy));
    return error;
}

static struct vivero_child_info info_of(const char *id)
{
    struct vivero_child_info info = {.state = (enum vivero_child_state) - 1};

    (void)vivero_supervisor_which_child(supervisor, id, &info, LONG);
    return info;
}

static void a_tree_starts_and_stops_in_order(void)
{
    CU_ASSERT_EQUAL_FATAL(start_nested(0), VIVERO_OK);
    CU_ASSERT_FALSE(vivero_ref_is_nobody(vivero_whereis("inner tree")));
    CU_ASSERT_EQUAL(vivero_supervisor_stop(supervisor, NULL, LONG), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, stop b, stop a");
    CU_ASSERT_TRUE(vivero_ref_is_nobody(vivero_whereis("inner tree")));
}

static void one_that_gives_up_is_restarted_by_the_one_above(void)
{
    struct vivero_ref inner;

    CU_ASSERT_EQUAL_FATAL(start_nested(VIVERO_NONE), VIVERO_OK);
    inner = info_of("inner").ref;
    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(fake_said("start a, start b, start b"));
    CU_ASSERT_FALSE(vivero_is_alive(inner));
    CU_ASSERT_EQUAL(info_of("inner").restarts, 1);
}

struct gone {
    const char *id;
};

static bool is_stopped(void *ctx)
{
    const struct gone *gone = ctx;

    return info_of(gone->id).state == VIVERO_CHILD_STOPPED;
}

static void a_transient_one_that_gives_up_vanishes_quietly(void)
{
    struct gone gone = {"inner"};

    spec_inner.restart = VIVERO_TRANSIENT;
    CU_ASSERT_EQUAL_FATAL(start_nested(VIVERO_NONE), VIVERO_OK);
    fake_end(&b, VIVERO_EXIT_FAILED);

    CU_ASSERT_TRUE(eventually(is_stopped, &gone, LONG));
    CU_ASSERT_TRUE(vivero_is_alive(supervisor));
}

static void a_failing_start_below_fails_the_start_above(void)
{
    char failed[64];

    b.start = FAKE_FAILS;
    spec_inner.options = VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(&spec_b));

    CU_ASSERT_EQUAL(
        vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(&spec_a, &spec_inner)),
            &supervisor, failed),
        -7);

    CU_ASSERT_STRING_EQUAL(failed, "inner");
    CU_ASSERT_STRING_EQUAL(fake_journal(), "start a, start b, stop a");
}

static bool is_gone(void *ctx)
{
    (void)ctx;
    return !vivero_is_alive(supervisor);
}

static void giving_up_goes_all_the_way_up(void)
{
    spec_b.restart = VIVERO_PERMANENT;
    CU_ASSERT_EQUAL_FATAL(start_nested(VIVERO_NONE), VIVERO_OK);
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_TRUE(fake_started(&b, i + 1));
        fake_end(&b, VIVERO_EXIT_FAILED);
    }

    CU_ASSERT_TRUE(eventually(is_gone, NULL, LONG));
}

/* ---- Partitions ------------------------------------------------------------------------- */

static int open_partitions(uint32_t count)
{
    struct vivero_child_spec spec = {
        .size = sizeof(spec), .ops = &fake_child, .options = &a};

    return vivero_partitions_start(NULL, &spec, count, &supervisor);
}

static void a_key_belongs_to_one_partition(void)
{
    struct vivero_ref one;
    struct vivero_ref other;

    CU_ASSERT_EQUAL_FATAL(open_partitions(4), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_partition_of_number(supervisor, 6, &one), VIVERO_OK);
    CU_ASSERT_TRUE(vivero_ref_equal(one, info_of("2").ref));
    CU_ASSERT_EQUAL(vivero_partition_of_number(supervisor, -6, &other),
                    VIVERO_OK);
    CU_ASSERT_TRUE(vivero_ref_equal(one, other));
    CU_ASSERT_EQUAL(vivero_partition_of_number(supervisor, INT64_MIN, &other),
                    VIVERO_OK);
    CU_ASSERT_TRUE(vivero_ref_equal(other, info_of("0").ref));
    CU_ASSERT_EQUAL(vivero_partition_of(supervisor, "key", 3, &one), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_partition_of(supervisor, "key", 3, &other),
                    VIVERO_OK);
    CU_ASSERT_TRUE(vivero_ref_equal(one, other));
}

static void all_partitions_are_used(void)
{
    struct vivero_ref seen[4];
    int used = 0;

    CU_ASSERT_EQUAL_FATAL(open_partitions(4), VIVERO_OK);
    memset(seen, 0, sizeof(seen));
    for (int i = 0; i < 64; i++) {
        struct vivero_ref ref;
        int at = 0;

        CU_ASSERT_EQUAL_FATAL(
            vivero_partition_of(supervisor, &i, sizeof(i), &ref), VIVERO_OK);
        while (at < used && !vivero_ref_equal(seen[at], ref)) {
            at++;
        }
        if (at == used) {
            seen[used++] = ref;
        }
    }

    CU_ASSERT_EQUAL(used, 4);
}

static void a_partition_that_is_down_is_nobody(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(open_partitions(1), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "0", LONG),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_partition_of_number(supervisor, 0, &ref), VIVERO_OK);

    CU_ASSERT_TRUE(vivero_ref_is_nobody(ref));
}

static void partitions_stay_as_many_as_they_are(void)
{
    CU_ASSERT_EQUAL_FATAL(open_partitions(2), VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_supervisor_start_child(supervisor, &spec_b, LONG, NULL),
        VIVERO_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(vivero_supervisor_terminate_child(supervisor, "0", LONG),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_supervisor_delete_child(supervisor, "0", LONG),
                    VIVERO_E_UNSUPPORTED);
}

static void a_supervisor_without_partitions_has_no_keys(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(start_nested(0), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_partition_of_number(supervisor, 1, &ref),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        vivero_partition_of_number((struct vivero_ref){0, 0}, 1, &ref),
        VIVERO_E_GONE);
}

static void partitions_refuse_what_does_not_fit(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL(vivero_partitions_start(
                        VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC),
                        &spec_a, 2, &ref),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_partitions_start(
                        VIVERO_SUPERVISOR_OPTIONS(VIVERO_CHILDREN(&spec_b)),
                        &spec_a, 2, &ref),
                    VIVERO_E_INVALID);
}

/* ---- Pictures ------------------------------------------------------------------------------ */

static char picture[4096];

static int draw(enum vivero_tree_format format)
{
    FILE *out = fmemopen(picture, sizeof(picture), "w");
    int error;

    if (out == NULL) {
        return VIVERO_E_IO;
    }
    error = vivero_tree_print(supervisor, out, format, LONG);
    (void)fclose(out);
    return error;
}

static void a_tree_is_printed_with_all_below_it(void)
{
    CU_ASSERT_EQUAL_FATAL(start_nested(0), VIVERO_OK);

    CU_ASSERT_EQUAL(draw(VIVERO_TREE_TEXT), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(picture,
                           "outer tree\n"
                           "  a (fake, running, restarts 0)\n"
                           "  inner (supervisor, running, restarts 0)\n"
                           "    b (fake, running, restarts 0)\n");
}

static void a_tree_is_drawn_for_graphviz(void)
{
    spec_a.id = "say \"a\"";
    CU_ASSERT_EQUAL_FATAL(start_nested(0), VIVERO_OK);

    CU_ASSERT_EQUAL(draw(VIVERO_TREE_DOT), VIVERO_OK);

    CU_ASSERT_PTR_NOT_NULL(strstr(picture, "digraph tree {\n"));
    CU_ASSERT_PTR_NOT_NULL(strstr(picture, "say \\\"a\\\""));
    CU_ASSERT_PTR_NOT_NULL(strstr(picture, "[label=\"b\\nrunning\"]"));
    CU_ASSERT_STRING_EQUAL(picture + strlen(picture) - 2, "}\n");
}

static void a_tree_that_can_not_be_written_is_reported(void)
{
    FILE *full = fopen("/dev/full", "w");

    CU_ASSERT_PTR_NOT_NULL_FATAL(full);
    CU_ASSERT_EQUAL_FATAL(start_nested(0), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_tree_print(supervisor, full, VIVERO_TREE_TEXT, LONG),
                    VIVERO_E_IO);
    (void)fclose(full);
}

SUITE_MAIN("supervisor_tree", set_up, tear_down,
           TEST(a_tree_starts_and_stops_in_order),
           TEST(one_that_gives_up_is_restarted_by_the_one_above),
           TEST(a_transient_one_that_gives_up_vanishes_quietly),
           TEST(a_failing_start_below_fails_the_start_above),
           TEST(giving_up_goes_all_the_way_up),
           TEST(a_key_belongs_to_one_partition), TEST(all_partitions_are_used),
           TEST(a_partition_that_is_down_is_nobody),
           TEST(partitions_stay_as_many_as_they_are),
           TEST(a_supervisor_without_partitions_has_no_keys),
           TEST(partitions_refuse_what_does_not_fit),
           TEST(a_tree_is_printed_with_all_below_it),
           TEST(a_tree_is_drawn_for_graphviz),
           TEST(a_tree_that_can_not_be_written_is_reported))
