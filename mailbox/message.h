/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_MESSAGE_H
#define MAILBOX_MESSAGE_H

#include <vivero/operation.h>

#include "base/memory.h"
#include "mailbox/reply.h"

#include <stdatomic.h>

/* A message is one cell, one cache line: written once by its sender, read once
 * by its taker. Arguments that do not fit travel in a box of their own. */
#define VV_ARGS_MAX 48      /* of a message nobody waits for */
#define VV_ARGS_MAX_CALL 40 /* of one with a reply slot */
#define VV_BOX_MAX (UINT32_C(1) << 20)

enum vv_message_flag {
    VV_MESSAGE_REPLY = 1, /* the first word of the bytes is the reply slot */
    VV_MESSAGE_BOXED = 2, /* the arguments' place holds a pointer to them; with
                             a reply slot that one holds it */
    VV_MESSAGE_HOLE = 4   /* nothing: what compaction leaves behind */
};

/* The upper 28 bits of `mark`: when it was sent, in milliseconds. */
#define VV_MARK_SHIFT 4
#define VV_MARK_FLAGS 15u

#define VV_CELL_WORDS (VV_ARGS_MAX / sizeof(uint64_t))

/* Atomic throughout: a taker copies a cell before it knows that it is the one,
 * and throws the copy away if it is not. */
struct vv_cell {
    VV_CACHELINE_ALIGNED _Atomic uint64_t stamp; /* turn << 32 | mark */
    _Atomic(const struct vivero_operation *) operation;
    _Atomic uint64_t words[VV_CELL_WORDS];
};

_Static_assert(sizeof(struct vv_cell) == VV_CACHELINE, "a cell is one line");

/* A message outside a mailbox: on its way in, or taken. */
struct vv_message {
    const struct vivero_operation *operation;
    struct vv_reply *reply; /* NULL: nobody waits, nobody can cancel */
    uint32_t generation;    /* of reply, once begun */
    uint32_t mark;          /* flags, and when it was sent */
    uint32_t attempt;       /* how often its handler has begun */
    struct vv_box *box;     /* NULL: the arguments are in args */
    _Alignas(max_align_t) unsigned char args[VV_ARGS_MAX];
};

/* Whether in_size bytes of arguments travel in the cell. */
static inline bool vv_message_fits(uint32_t in_size, bool has_reply)
{
    return in_size <= (has_reply ? VV_ARGS_MAX_CALL : VV_ARGS_MAX);
}

/* Free what a message owns besides its reply slot. */
void vv_message_fini(struct vv_message *message);

#endif
