/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_ENVELOPE_H
#define MAILBOX_ENVELOPE_H

/* A message on its way to an entity, as a node of its inbox. */

#include <vivero/exit.h>
#include <vivero/ref.h>

#include "mailbox/message.h"

#include <stdbool.h>
#include <stdint.h>

struct vv_here;

enum vv_envelope_kind {
    VV_ENVELOPE_OPERATION = 0, /* a call or a cast: message */
    VV_ENVELOPE_TELL,          /* message's args or box hold the bytes */
    VV_ENVELOPE_EXIT,          /* exit */
    VV_ENVELOPE_DOWN           /* exit, monitor */
};

struct vv_envelope {
    struct vv_envelope *next;
    /* Frees one that stands in something else; NULL: it is the depot's. */
    void (*dispose)(struct vv_envelope *envelope);
    enum vv_envelope_kind kind;
    uint32_t tag;
    uint32_t size; /* TELL: of the bytes */
    bool reserved; /* does not count against its inbox's bound */
    struct vivero_ref from;
    struct vivero_monitor monitor;
    union {
        struct vv_message message;
        struct vivero_exit exit;
    };
};

/* From the depot, zeroed but for the arguments; NULL: no memory. The depot
 * exists as long as that of reply slots. */
struct vv_envelope *vv_envelope_new(enum vv_envelope_kind kind);
/* Free one, and the box it holds; a reply slot in it has been dealt with. */
void vv_envelope_free(struct vv_envelope *envelope);

/* A TELL with a copy of size bytes. Errors: NO_MEMORY, LIMIT. */
int vv_envelope_tell(uint32_t tag, const void *data, size_t size,
                     struct vv_envelope **envelope);
/* Its bytes; NULL: none. */
const void *vv_envelope_bytes(const struct vv_envelope *envelope);

/* Give a thread's cached envelopes back to the depot. */
void vv_envelope_cache_flush(struct vv_here *here);
/* The depot's life begins and ends with that of the reply slots, under their
 * lock; what it had is freed after that. */
struct vv_envelope_chunk;
void vv_envelope_depot_open(void);
struct vv_envelope_chunk *vv_envelope_depot_close(void);
void vv_envelope_free_chunks(struct vv_envelope_chunk *chunk);

#endif
