/* SPDX-License-Identifier: MIT */
#ifndef TIMER_HEAP_H
#define TIMER_HEAP_H

/* An intrusive priority queue of deadlines: nodes live in what they are about,
 * so that nothing is ever refused for want of room. No clock, no lock. */

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: in no heap. */
struct vv_heap_node {
    struct vv_heap_node *child;    /* the first of those behind it */
    struct vv_heap_node *next;     /* the next one behind the same parent */
    struct vv_heap_node *previous; /* the one before, or the parent */
    int64_t due_ns;
    uint64_t turn; /* orders those that are due at the same instant */
};

/* Zeroed: empty. */
struct vv_heap {
    struct vv_heap_node *first;
    uint64_t turns;
};

/* O(1). Of equal deadlines the one that was put in first comes first. */
void vv_heap_insert(struct vv_heap *heap, struct vv_heap_node *node,
                    int64_t due_ns);
/* Amortised O(log n). The node is in the heap. */
void vv_heap_remove(struct vv_heap *heap, struct vv_heap_node *node);
/* The one that is due first; NULL: empty. */
struct vv_heap_node *vv_heap_first(const struct vv_heap *heap);
bool vv_heap_has(const struct vv_heap *heap, const struct vv_heap_node *node);

#endif
