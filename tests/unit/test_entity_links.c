/* SPDX-License-Identifier: MIT */
/* Links: who is told what, when, and how often. */
#include "tests/lib/suite.h"
#include "tests/unit/pair.h"
#include "tests/unit/subject.h"

/* ---- Links -------------------------------------------------------------------------- */

static void a_link_holds_both_ways_whoever_made_it(void)
{
    struct vv_entity *carla = subject_new(0, 10, NULL);

    CU_ASSERT_EQUAL(vv_entity_link(anna, carla->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(berta, carla->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(carla, anna->ref), VIVERO_OK);
    CU_ASSERT(has_ties(carla, 2, 0, 0));
    CU_ASSERT(has_ties(anna, 1, 0, 0));
    end(berta, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(subject_take_exit(carla), VIVERO_EXIT_FAILED);
    CU_ASSERT(subject_end(carla, VIVERO_EXIT_FAILED));

    CU_ASSERT_EQUAL(subject_take(anna).what, EXIT);
    CU_ASSERT(has_ties(anna, 0, 0, 0));
}

static void an_end_with_a_reason_is_told_with_all_of_it(void)
{
    struct taken taken;

    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
    end(berta, VIVERO_EXIT_FAILED);
    taken = subject_take(anna);

    CU_ASSERT_EQUAL(taken.what, EXIT);
    CU_ASSERT(vivero_ref_equal(taken.from, berta->ref));
    CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(taken.exit.code, 13);
    CU_ASSERT_STRING_EQUAL(taken.exit.text, "bad luck");
    CU_ASSERT_EQUAL(subject_take(anna).what, NOTHING);
}

static void an_end_with_a_reason_ends_one_that_does_not_trap(void)
{
    struct taken taken;

    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
    end(anna, VIVERO_EXIT_SHUTDOWN);
    taken = subject_take(berta);

    CU_ASSERT_EQUAL(taken.what, VERDICT);
    CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_SHUTDOWN);
}

static void a_normal_end_is_told_to_one_that_traps_only(void)
{
    struct vv_entity *carla = subject_new(0, 10, NULL);

    CU_ASSERT_EQUAL(vv_entity_link(carla, anna->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(carla, berta->ref), VIVERO_OK);
    CU_ASSERT(subject_end(carla, VIVERO_EXIT_NORMAL));

    CU_ASSERT_EQUAL(subject_take_exit(anna), VIVERO_EXIT_NORMAL);
    CU_ASSERT_EQUAL(subject_take(berta).what, NOTHING);
    CU_ASSERT(has_ties(berta, 0, 0, 0));
}

static void linking_twice_is_linking_once(void)
{
    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(berta, anna->ref), VIVERO_OK);
    CU_ASSERT(has_ties(anna, 1, 0, 0));
    end(berta, VIVERO_EXIT_FAILED);

    CU_ASSERT_EQUAL(subject_take(anna).what, EXIT);
    CU_ASSERT_EQUAL(subject_take(anna).what, NOTHING);
}

static void one_unlink_from_either_side_removes_it(void)
{
    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
    vv_entity_unlink(berta, anna->ref);
    vv_entity_unlink(berta, anna->ref);
    CU_ASSERT(has_ties(anna, 0, 0, 0));
    CU_ASSERT(has_ties(berta, 0, 0, 0));
    end(berta, VIVERO_EXIT_FAILED);

    CU_ASSERT_EQUAL(subject_take(anna).what, NOTHING);
}

static void unlinking_one_leaves_the_others(void)
{
    struct vv_entity *others[3];

    for (uint32_t i = 0; i < 3; i++) {
        others[i] = subject_new(0, 1, NULL);
        CU_ASSERT_EQUAL(vv_entity_link(anna, others[i]->ref), VIVERO_OK);
    }
    vv_entity_unlink(anna, others[1]->ref);
    CU_ASSERT(has_ties(anna, 2, 0, 0));
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT(subject_end(others[i], VIVERO_EXIT_FAILED));
        CU_ASSERT_EQUAL(subject_take(anna).what, i == 1 ? NOTHING : EXIT);
    }
}

static void a_link_to_oneself_is_none(void)
{
    CU_ASSERT_EQUAL(vv_entity_link(anna, anna->ref), VIVERO_OK);

    CU_ASSERT(has_ties(anna, 0, 0, 0));
}

static void gone_and_nobody_when_the_other_has_ended(void)
{
    struct vivero_ref other = ended_one();
    struct taken taken;

    CU_ASSERT_EQUAL(vv_entity_link(anna, other), VIVERO_E_GONE);
    taken = subject_take(anna);
    CU_ASSERT_EQUAL(taken.what, EXIT);
    CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_NOBODY);
    CU_ASSERT(vivero_ref_equal(taken.from, other));

    CU_ASSERT_EQUAL(vv_entity_link(berta, other), VIVERO_E_GONE);
    taken = subject_take(berta);
    CU_ASSERT_EQUAL(taken.what, VERDICT);
    CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_NOBODY);
}

static void a_user_who_traps_is_not_refused_a_link_to_an_ended_one(void)
{
    struct vivero_ref other = ended_one();

    vv_entity_set_here(anna);
    CU_ASSERT_EQUAL(vivero_link(other), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_take_exit(anna), VIVERO_EXIT_NOBODY);
    vv_entity_set_here(berta);
    CU_ASSERT_EQUAL(vivero_link(other), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(subject_take_exit(berta), VIVERO_EXIT_NOBODY);
}

static void unlink_leaves_what_was_told_and_flush_takes_it_out(void)
{
    struct vv_entity *carla = subject_new(0, 1, NULL);
    struct vivero_ref gone = carla->ref;

    vv_entity_set_here(anna);
    CU_ASSERT_EQUAL(vivero_link(berta->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_link(gone), VIVERO_OK);
    end(berta, VIVERO_EXIT_FAILED);
    CU_ASSERT(subject_end(carla, VIVERO_EXIT_FAILED));
    CU_ASSERT_EQUAL(vivero_unlink(berta->ref, false), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_unlink(gone, true), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_unlink(gone, true), VIVERO_OK);

    CU_ASSERT(vivero_ref_equal(subject_take(anna).from, berta->ref));
    CU_ASSERT_EQUAL(subject_take(anna).what, NOTHING);
}

static void no_memory_links_nothing(void)
{
    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_E_NO_MEMORY);

    CU_ASSERT(has_ties(anna, 0, 0, 0));
    CU_ASSERT(has_ties(berta, 0, 0, 0));
    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
}

SUITE_MAIN("entity_links", set_up, tear_down,
           TEST(a_link_holds_both_ways_whoever_made_it),
           TEST(an_end_with_a_reason_is_told_with_all_of_it),
           TEST(an_end_with_a_reason_ends_one_that_does_not_trap),
           TEST(a_normal_end_is_told_to_one_that_traps_only),
           TEST(linking_twice_is_linking_once),
           TEST(one_unlink_from_either_side_removes_it),
           TEST(unlinking_one_leaves_the_others),
           TEST(a_link_to_oneself_is_none),
           TEST(gone_and_nobody_when_the_other_has_ended),
           TEST(a_user_who_traps_is_not_refused_a_link_to_an_ended_one),
           TEST(unlink_leaves_what_was_told_and_flush_takes_it_out),
           TEST(no_memory_links_nothing))
