/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_PAIR_H
#define TESTS_UNIT_PAIR_H

/* Anna, who traps exits, and Berta, who does not: what tests of links and
 * monitors begin with. */

#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

static struct vv_entity *anna;  /* traps exits */
static struct vv_entity *berta; /* does not */

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
    anna = subject_new(VV_ENTITY_TRAPS, 10, NULL);
    berta = subject_new(0, 10, NULL);
    CU_ASSERT_FATAL(anna != NULL && berta != NULL);
}

static void tear_down(void)
{
    vv_entity_set_here(NULL);
    (void)subject_end(anna, VIVERO_EXIT_NORMAL);
    (void)subject_end(berta, VIVERO_EXIT_NORMAL);
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void end(struct vv_entity *entity, enum vivero_exit_kind kind)
{
    const struct vivero_exit exit = {kind, 13, "bad luck"};

    CU_ASSERT(vv_entity_end(entity, &exit));
}

/* One that has ended, and what it was called. */
static struct vivero_ref ended_one(void)
{
    struct vv_entity *entity = subject_new(0, 1, NULL);
    struct vivero_ref ref = entity->ref;

    CU_ASSERT(subject_end(entity, VIVERO_EXIT_NORMAL));
    return ref;
}

struct ties {
    uint32_t links;
    uint32_t monitors;
    uint32_t monitored;
};

static bool has_ties(struct vv_entity *entity, uint32_t links,
                     uint32_t monitors, uint32_t monitored)
{
    struct ties ties;

    vv_entity_count_ties(entity, &ties.links, &ties.monitors, &ties.monitored);
    return ties.links == links && ties.monitors == monitors &&
           ties.monitored == monitored;
}

#endif
