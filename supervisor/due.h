/* SPDX-License-Identifier: MIT */
#ifndef SUPERVISOR_DUE_H
#define SUPERVISOR_DUE_H

/* What is due when: a pairing heap whose nodes live in what is due, so that
 * nothing is allocated. Setting costs O(1), the rest O(log n) in the mean. */

#include <stdbool.h>
#include <stdint.h>

/* Zeroed: not set. */
struct vv_due {
    struct vv_due *first; /* of those that are due later */
    struct vv_due *next;  /* sibling */
    struct vv_due *back;  /* sibling before it, or parent */
    int64_t at_ns;
    bool is_set;
};

struct vv_due_heap {
    struct vv_due *root; /* NULL: nothing is due */
};

/* It is not set yet. */
void vv_due_set(struct vv_due_heap *heap, struct vv_due *due, int64_t at_ns);
/* Does nothing when it is not set. */
void vv_due_clear(struct vv_due_heap *heap, struct vv_due *due);

#endif
