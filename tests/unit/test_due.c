/* SPDX-License-Identifier: MIT */
#include "base/hash.h"
#include "supervisor/due.h"
#include "tests/lib/suite.h"

#define NODES 200u

static struct vv_due_heap heap;
static struct vv_due nodes[NODES];

static void set_up(void)
{
    heap = (struct vv_due_heap){0};
    memset(nodes, 0, sizeof(nodes));
}

static void the_root_is_due_first(void)
{
    vv_due_set(&heap, &nodes[0], 30);
    vv_due_set(&heap, &nodes[1], 10);
    vv_due_set(&heap, &nodes[2], 20);

    CU_ASSERT_PTR_EQUAL(heap.root, &nodes[1]);
    vv_due_clear(&heap, &nodes[1]);
    CU_ASSERT_PTR_EQUAL(heap.root, &nodes[2]);
}

static void what_is_not_set_may_be_cleared(void)
{
    vv_due_clear(&heap, &nodes[0]);

    CU_ASSERT_PTR_NULL(heap.root);
}

static void what_was_cleared_may_be_set_again(void)
{
    vv_due_set(&heap, &nodes[0], 30);
    vv_due_clear(&heap, &nodes[0]);
    CU_ASSERT_PTR_NULL(heap.root);

    vv_due_set(&heap, &nodes[0], 10);

    CU_ASSERT_PTR_EQUAL(heap.root, &nodes[0]);
    CU_ASSERT_EQUAL(heap.root->at_ns, 10);
}

static bool root_is_right(void)
{
    int64_t least = INT64_MAX;
    uint32_t set = 0;

    for (uint32_t i = 0; i < NODES; i++) {
        if (nodes[i].is_set) {
            set++;
            least = nodes[i].at_ns < least ? nodes[i].at_ns : least;
        }
    }
    return set == 0 ? heap.root == NULL
                    : heap.root != NULL && heap.root->is_set &&
                          heap.root->at_ns == least;
}

static void the_root_is_right_after_any_row_of_changes(void)
{
    uint64_t random = 7;
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < 200000; i++) {
        struct vv_due *due = &nodes[vv_random_next(&random) % NODES];

        if (due->is_set) {
            vv_due_clear(&heap, due);
        } else {
            vv_due_set(&heap, due, (int64_t)(vv_random_next(&random) % 50));
        }
        wrong += i % 8 == 0 && !root_is_right();
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

SUITE_MAIN("due", set_up, NULL, TEST(the_root_is_due_first),
           TEST(what_is_not_set_may_be_cleared),
           TEST(what_was_cleared_may_be_set_again),
           TEST(the_root_is_right_after_any_row_of_changes))
