/* SPDX-License-Identifier: MIT */
/* heap: a pairing heap (Fredman, Sedgewick, Sleator and Tarjan, 1986).
 *
 * Model.    A tree in which no node comes before its parent. The children of a
 *           node are a list; `previous` of the first of them is the parent.
 *           Two trees become one by putting the later root before the other
 *           one's children. Taking a node out leaves its children, which are
 *           joined in pairs from the left and then, one after another, from
 *           the right: that makes the next removals cheap.
 * Rejected. An array of pointers: it grows, and growing can fail. A wheel: its
 *           hand has to turn when nothing is due. */
#include "timer/heap.h"

#include "base/check.h"

#include <stddef.h>

static bool is_before(const struct vv_heap_node *one,
                      const struct vv_heap_node *other)
{
    return one->due_ns < other->due_ns ||
           (one->due_ns == other->due_ns && one->turn < other->turn);
}

static void put_behind(struct vv_heap_node *parent, struct vv_heap_node *child)
{
    child->previous = parent;
    child->next = parent->child;
    if (child->next != NULL) {
        child->next->previous = child;
    }
    parent->child = child;
}

/* Make one tree of two, either of which may be empty; its root. */
static struct vv_heap_node *join(struct vv_heap_node *one,
                                 struct vv_heap_node *other)
{
    if (one == NULL || other == NULL) {
        return one != NULL ? one : other;
    }
    if (is_before(other, one)) {
        put_behind(other, one);
        return other;
    }
    put_behind(one, other);
    return one;
}

/* Take the first tree off a list of siblings. */
static struct vv_heap_node *take_first(struct vv_heap_node **list)
{
    struct vv_heap_node *node = *list;

    if (node != NULL) {
        *list = node->next;
        node->next = NULL;
        node->previous = NULL;
    }
    return node;
}

/* Join neighbours in pairs; the pairs, last one first. */
static struct vv_heap_node *join_pairs(struct vv_heap_node *list)
{
    struct vv_heap_node *pairs = NULL;

    while (list != NULL) {
        struct vv_heap_node *one = take_first(&list);
        struct vv_heap_node *pair = join(one, take_first(&list));

        pair->next = pairs;
        pairs = pair;
    }
    return pairs;
}

static struct vv_heap_node *join_all(struct vv_heap_node *list)
{
    struct vv_heap_node *pairs = join_pairs(list);
    struct vv_heap_node *root = NULL;

    while (pairs != NULL) {
        root = join(root, take_first(&pairs));
    }
    return root;
}

/* Take a node that is no root, and all behind it, out of its tree. */
static void cut(struct vv_heap_node *node)
{
    if (node->previous->child == node) {
        node->previous->child = node->next;
    } else {
        node->previous->next = node->next;
    }
    if (node->next != NULL) {
        node->next->previous = node->previous;
    }
    node->next = NULL;
    node->previous = NULL;
}

void vv_heap_insert(struct vv_heap *heap, struct vv_heap_node *node,
                    int64_t due_ns)
{
    VV_ASSERT(!vv_heap_has(heap, node));
    node->due_ns = due_ns;
    node->turn = heap->turns++;
    heap->first = join(heap->first, node);
}

void vv_heap_remove(struct vv_heap *heap, struct vv_heap_node *node)
{
    struct vv_heap_node *rest;

    VV_ASSERT(vv_heap_has(heap, node));
    rest = join_all(node->child);
    node->child = NULL;
    if (heap->first == node) {
        heap->first = rest;
    } else {
        cut(node);
        heap->first = join(heap->first, rest);
    }
}

struct vv_heap_node *vv_heap_first(const struct vv_heap *heap)
{
    return heap->first;
}

bool vv_heap_has(const struct vv_heap *heap, const struct vv_heap_node *node)
{
    return heap->first == node || node->previous != NULL;
}
