/* SPDX-License-Identifier: MIT */
/* The heap against a sorted array that does the same. */
#include "base/hash.h"
#include "tests/lib/suite.h"
#include "timer/heap.h"

#define NODES 48u

static struct vv_heap heap;
static struct vv_heap_node nodes[NODES];

/* The model: what is in the heap, in the order in which it will come out. */
static struct vv_heap_node *sorted[NODES];
static uint32_t count;
static uint64_t dice;

static void set_up(void)
{
    heap = (struct vv_heap){0};
    memset(nodes, 0, sizeof(nodes));
    count = 0;
    dice = 7;
}

static uint32_t roll(uint32_t sides)
{
    return (uint32_t)(vv_random_next(&dice) % sides);
}

/* Behind all that are due at the same instant. */
static void insert(struct vv_heap_node *node, int64_t due_ns)
{
    uint32_t place = count++;

    vv_heap_insert(&heap, node, due_ns);
    while (place > 0 && sorted[place - 1]->due_ns > due_ns) {
        sorted[place] = sorted[place - 1];
        place--;
    }
    sorted[place] = node;
}

static void remove_at(uint32_t place)
{
    vv_heap_remove(&heap, sorted[place]);
    count--;
    memmove(sorted + place, sorted + place + 1,
            (count - place) * sizeof(sorted[0]));
}

/* Whether the first one is right, and who is in the heap. */
static bool agrees(void)
{
    bool inside[NODES] = {false};
    bool right = vv_heap_first(&heap) == (count > 0 ? sorted[0] : NULL);

    for (uint32_t i = 0; i < count; i++) {
        inside[sorted[i] - nodes] = true;
    }
    for (uint32_t i = 0; i < NODES; i++) {
        right = right && vv_heap_has(&heap, &nodes[i]) == inside[i];
    }
    return right;
}

static bool empties_in_order(void)
{
    bool right = true;

    while (count > 0) {
        right = right && agrees();
        remove_at(0);
    }
    return right && agrees();
}

static void an_empty_heap_has_no_first(void)
{
    CU_ASSERT_PTR_NULL(vv_heap_first(&heap));
    CU_ASSERT_FALSE(vv_heap_has(&heap, &nodes[0]));
}

static void equal_deadlines_come_in_the_order_of_insertion(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        vv_heap_insert(&heap, &nodes[i], 5);
    }

    for (uint32_t i = 0; i < NODES; i++) {
        CU_ASSERT_PTR_EQUAL(vv_heap_first(&heap), &nodes[i]);
        vv_heap_remove(&heap, &nodes[i]);
    }
}

static void deadlines_of_every_size_are_ordered(void)
{
    const int64_t due[] = {INT64_MAX, 0, INT64_MIN, -1, 1, INT64_MAX - 1};

    for (uint32_t i = 0; i < sizeof(due) / sizeof(due[0]); i++) {
        insert(&nodes[i], due[i]);
    }

    CU_ASSERT_TRUE(empties_in_order());
}

#define FEW 6u

/* The n-th of all ways to put FEW nodes in, each due at its number over two, so
 * that there are ties. */
static void insert_permutation(uint32_t n)
{
    uint32_t left[FEW];

    for (uint32_t i = 0; i < FEW; i++) {
        left[i] = i;
    }
    for (uint32_t size = FEW; size > 0; size--) {
        uint32_t chosen = n % size;

        n /= size;
        insert(&nodes[left[chosen]], left[chosen] / 2);
        left[chosen] = left[size - 1];
    }
}

static void every_order_of_insertion_and_every_removal_is_right(void)
{
    bool right = true;

    for (uint32_t n = 0; n < 720; n++) {
        for (uint32_t first = 0; first < FEW; first++) {
            for (uint32_t second = 0; second < FEW - 1; second++) {
                insert_permutation(n);
                remove_at(first);
                right = right && agrees();
                remove_at(second);
                right = right && empties_in_order();
            }
        }
    }

    CU_ASSERT_TRUE(right);
}

static void do_something(void)
{
    struct vv_heap_node *node = &nodes[roll(NODES)];

    switch (roll(4)) {
    case 0:
    case 1:
        if (!vv_heap_has(&heap, node)) {
            insert(node, roll(20));
        }
        break;
    case 2:
        if (count > 0) {
            remove_at(roll(count));
        }
        break;
    case 3:
        if (count > 0) {
            remove_at(0);
        }
        break;
    }
}

static void a_long_random_life_agrees_with_a_sorted_array(void)
{
    bool right = true;

    for (uint32_t i = 0; i < 200000 && right; i++) {
        do_something();
        right = agrees();
    }

    CU_ASSERT_TRUE(right);
    CU_ASSERT_TRUE(empties_in_order());
}

SUITE_MAIN("timer_heap", set_up, NULL, TEST(an_empty_heap_has_no_first),
           TEST(equal_deadlines_come_in_the_order_of_insertion),
           TEST(deadlines_of_every_size_are_ordered),
           TEST(every_order_of_insertion_and_every_removal_is_right),
           TEST(a_long_random_life_agrees_with_a_sorted_array))
