/* SPDX-License-Identifier: MIT */
#include "supervisor/due.h"

#include "base/check.h"

#include <stddef.h>

/* Two heaps into one: whoever is due later becomes the other's first child. */
static struct vv_due *meld(struct vv_due *one, struct vv_due *other)
{
    struct vv_due *root = one;
    struct vv_due *child = other;

    if (one == NULL || other == NULL) {
        return one != NULL ? one : other;
    }
    if (other->at_ns < one->at_ns) {
        root = other;
        child = one;
    }
    child->back = root;
    child->next = root->first;
    if (root->first != NULL) {
        root->first->back = child;
    }
    root->first = child;
    return root;
}

static struct vv_due *detach_first(struct vv_due **list)
{
    struct vv_due *due = *list;

    if (due != NULL) {
        *list = due->next;
        due->next = NULL;
        due->back = NULL;
    }
    return due;
}

/* Siblings into one heap: in pairs first, then the pairs, last to first. */
static struct vv_due *meld_siblings(struct vv_due *siblings)
{
    struct vv_due *pairs = NULL;
    struct vv_due *root = NULL;

    while (siblings != NULL) {
        struct vv_due *one = detach_first(&siblings);
        struct vv_due *pair = meld(one, detach_first(&siblings));

        pair->next = pairs;
        pairs = pair;
    }
    while (pairs != NULL) {
        root = meld(root, detach_first(&pairs));
    }
    return root;
}

void vv_due_set(struct vv_due_heap *heap, struct vv_due *due, int64_t at_ns)
{
    VV_ASSERT(!due->is_set);
    *due = (struct vv_due){.at_ns = at_ns, .is_set = true};
    heap->root = meld(heap->root, due);
}

void vv_due_clear(struct vv_due_heap *heap, struct vv_due *due)
{
    struct vv_due *rest;

    if (!due->is_set) {
        return;
    }
    rest = meld_siblings(due->first);
    if (due == heap->root) {
        heap->root = rest;
    } else {
        if (due->back->first == due) {
            due->back->first = due->next;
        } else {
            due->back->next = due->next;
        }
        if (due->next != NULL) {
            due->next->back = due->back;
        }
        heap->root = meld(heap->root, rest);
    }
    *due = (struct vv_due){0};
}
