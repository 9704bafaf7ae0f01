/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_FUTURE_PRIVATE_H
#define MAILBOX_FUTURE_PRIVATE_H

/* Between reply.c, future.c, future_watch.c and completions.c. */

#include "mailbox/future.h"
#include "mailbox/reply_private.h"

/* Guards who is told about which future. */
extern struct vv_mutex vv_future_lock;

/* What a future is to those who have its name. */
enum vv_fate {
    VV_FATE_PENDING,
    VV_FATE_ANSWERED,
    VV_FATE_OVER /* used up */
};

enum vv_fate vv_future_fate(uint32_t word, uint32_t generation);

/* The caller of a watched slot is answered by this step, to DONE or CUT, and
 * all who want to know are told. False: as step(). */
bool vv_future_answer(struct vv_reply *reply, uint32_t *word,
                      enum reply_state to);

/* The slot a future names, or named; NULL: there is no depot. Not NULL: retains
 * it. */
struct vv_reply *vv_future_enter(struct vivero_future future);

/* Use up a future, whatever it is doing. False: it was used up before. */
bool vv_future_leave(struct vv_reply *reply, uint32_t generation);

/* ---- Completions: completions.c ---- */

/* Slots linked through their future part. */
struct vv_future_list {
    struct vv_reply *first;
    struct vv_reply *last;
};

void vv_completions_add_locked(struct vivero_completions *queue,
                               struct vv_reply *reply);
/* It is answered: from under way to finished. */
void vv_completions_finish_locked(struct vv_reply *reply);
/* Wherever it is, if anywhere. */
void vv_completions_remove_locked(struct vv_reply *reply);

/* ---- Watchers: future_watch.c ---- */

/* Wake the threads these bits stand for. */
void vv_watchers_poke(uint32_t watchers);

#endif
