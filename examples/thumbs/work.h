/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_WORK_H
#define THUMBS_WORK_H

/* One picture from beginning to end, the same whether a supervised worker, a
 * bare thread or the main thread does it. They differ in one thing only: what
 * happens when it goes wrong. */

#include "ledger.h"
#include "workbench.h"

#include <stdint.h>

/* The whole task; fixed while it runs. */
struct work {
    const char *input;
    const char *output;
    uint32_t size;    /* of the square a thumbnail fits into */
    uint32_t workers; /* 0: one per CPU */
    unsigned chaos;   /* percent */
    uint64_t seed;
    uint32_t delay_ms; /* every picture takes so much longer */
    bool quiet;
    bool verbose;
    struct ledger *ledger;
};

/* It is the fate of this run to end here; must not return. */
typedef void hand_accident_fn(void *ctx, enum accident accident);

/* Somebody who works: a bench, and the picture that is on it. */
struct hand {
    struct workbench bench;
    const struct work *work;
    struct job *job; /* NULL: none; whoever survives this hand settles it */
    hand_accident_fn *accident;
};

/* fail and accident are called with the hand as ctx. */
void hand_init(struct hand *hand, const struct work *work,
               workbench_fail_fn *fail, hand_accident_fn *accident);
void hand_fini(struct hand *hand);

/* Make the thumbnail of hand->job, and settle it with the ledger. What comes of
 * a damaged copy is never kept: the picture is to be done again. */
void hand_work(struct hand *hand);

/* Take the next job and decide what befalls it; NULL as ledger_take(). */
struct job *work_take(const struct work *work);

#endif
