/* SPDX-License-Identifier: MIT */
#ifndef POOL_POOL_CHILD_H
#define POOL_POOL_CHILD_H

/* A pool as a supervisor's child: private to pool/. Model: pool_child.c. */

#include "pool/pool_private.h"

/* Guards places and incarnations. */
extern struct vv_mutex vv_pool_children;

/* What the incarnations of one child have in common: their handle. */
struct vv_pool_place {
    struct vivero_pool *handle;
    struct vivero_pool **shown; /* where the program wants it; NULL: nowhere */
    char name[32];
    /* guarded by vv_pool_children */
    uint32_t references; /* the options', and each incarnation's */
    bool is_shown;
    bool occupied;          /* by an incarnation that was not given up */
    struct vv_pool *behind; /* behind the handle; NULL: the closed one */
    bool is_over;           /* that one is closed, and ours to free */
};

/* The options that the supervisor keeps. */
struct vv_pool_kept {
    struct vivero_pool_options options;
    int error;                   /* they are impossible */
    struct vv_pool_place *place; /* NULL: each incarnation has its own */
    size_t size;                 /* of the whole */
    unsigned char bytes[];
};

/* vivero_child_ops.copy and release. */
void *vv_pool_child_copy(const void *options);
void vv_pool_child_release(void *options);

/* NULL: no memory. With one reference. */
struct vv_pool_place *vv_pool_place_new(struct vivero_pool **shown);
/* The last one closes the handle. Blocks: until callers have left, who are on
 * their way. NULL is fine. */
void vv_pool_place_release(struct vv_pool_place *place);
/* The options' place, or a new one, for one incarnation; and back. Errors:
 * EXISTS: another one has it; NO_MEMORY. */
int vv_pool_place_occupy(const struct vv_pool_kept *kept,
                         struct vv_pool_place **place);
void vv_pool_place_vacate(struct vv_pool_place *place);
/* Let a pool that is not open yet call itself by the handle, which is made for
 * the first of them. Whoever occupies the place. Errors: LIMIT. */
int vv_pool_place_lend(struct vv_pool_place *place, struct vv_pool *pool);

#endif
