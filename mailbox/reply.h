/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_REPLY_H
#define MAILBOX_REPLY_H

/* Reply slots: where the answer to one message is written and waited for. The
 * states, who may do which step, and who frees are drawn in reply.c. */

#include <vivero/exit.h>
#include <vivero/operation.h>

#include "base/memory.h"

#include <stdatomic.h>
#include <stdbool.h>

struct vivero_completions;
struct vv_crew;
struct vv_future_list;
struct vv_here;
struct vv_spin;
struct vv_waiter;

/* How a message that was not handled came to its end. */
enum vv_settled {
    VV_SETTLED_EXPIRED,
    VV_SETTLED_CANCELLED,
    VV_SETTLED_DROPPED,
    VV_SETTLED_DEAD,
    VV_SETTLED_COUNT
};

/* Where a message is queued, for whoever turns it into a tombstone: its room is
 * free at once. Stays where it is for as long as there are reply slots. */
struct vv_credit {
    void (*give)(struct vv_credit *credit, enum vv_settled how);
};

/* Arguments that do not fit a cell. */
struct vv_box {
    struct vv_account *account;
    size_t size; /* of the whole */
    _Atomic uint32_t shares;
    _Alignas(max_align_t) unsigned char bytes[];
};

/* Room for size bytes of arguments, or NULL. */
struct vv_box *vv_box_new(size_t size, struct vv_account *account);
/* One more reader, who frees it as well. NULL is fine. */
struct vv_box *vv_box_share(struct vv_box *box);
/* The last share frees it. NULL is fine. */
void vv_box_free(struct vv_box *box);

#define VV_REPLY_INLINE 48 /* bytes of an answer kept in the slot itself */

/* What a slot has besides when a future is waited for: see future.c. */
struct vv_future_part {
    /* atomic: read before it is known that they are still this future's */
    _Atomic(const void *) object;
    _Atomic(struct vv_crew *) crew;
    _Atomic(struct vv_waiter *) single;
    _Atomic bool addressed;
    /* guarded by the futures' mutex */
    uint32_t watchers; /* whom to poke: bits */
    struct vivero_completions *completions;
    void *tag;
    struct vv_future_list *list; /* of completions; NULL: none */
    struct vv_reply *next;
    struct vv_reply *previous;
};

struct vv_reply {
    VV_CACHELINE_ALIGNED _Atomic uint32_t word; /* generation, parked, state */
    int32_t result; /* of the call; valid when done */
    uint32_t index; /* in the directory; fixed */
    _Atomic uint32_t out_size;
    int64_t deadline_ns; /* VIVERO_FOREVER: none */
    const void *owner;
    _Atomic(struct vv_credit *) credit; /* where it is queued */
    _Atomic(struct vv_box *) box; /* its arguments while it is queued; whoever
                                     ends that frees or takes them */
    void *out_box;                /* answers that do not fit; NULL: in out */
    _Alignas(max_align_t) unsigned char out[VV_REPLY_INLINE];
    struct vivero_exit exit; /* valid when done and result is DOWN */
    struct vv_reply *next;   /* in a free list, or of the same debtor */
    struct vv_reply *previous;
    struct vv_debts *debts; /* guarded by the depot's mutex */
    struct vv_future_part future;
};

/* The answers one worker owes; zeroed: none. Guarded by the depot's mutex. */
struct vv_debts {
    struct vv_reply *first;
    bool closed; /* its debtor was fenced: nothing is owed any more */
};

/* The depot exists while somebody retains it. Errors: LIMIT. */
int vv_reply_retain(void);
/* Never the first. False: nobody does. */
bool vv_reply_try_retain(void);
void vv_reply_release(void);

/* A slot whose message is about to be queued, with room for out_size bytes of
 * answer; without a caller it can only expire or be cancelled. NULL: no
 * memory. */
struct vv_reply *vv_reply_new(uint32_t out_size, bool has_caller);
/* Undo: the message was not queued after all. */
void vv_reply_discard(struct vv_reply *reply);
/* Where it is about to be queued. */
void vv_reply_set_credit(struct vv_reply *reply, struct vv_credit *credit);
/* The arguments travel in this box, which the slot owns from now on. */
void vv_reply_give_box(struct vv_reply *reply, struct vv_box *box);

/* The taker's first step; box: what the slot was given, now the taker's. False:
 * the cell was a tombstone and is dealt with. */
bool vv_reply_begin(struct vv_reply *reply, uint32_t *generation,
                    struct vv_box **box);

/* Settle a begun slot: result, the answer at out if result is 0, exit if it is
 * DOWN. Harmless if somebody fenced it. Never blocks. */
void vv_reply_settle(struct vv_reply *reply, uint32_t generation, int result,
                     const void *out, const struct vivero_exit *exit);

/* Settle from outside what a worker has begun and will not finish in time; exit
 * as in vv_reply_settle(). False: it was quicker. */
bool vv_reply_fence(struct vivero_reply_token token, int result,
                    const struct vivero_exit *exit);

/* Turn a begun slot into a debt that can be paid by token. If it was fenced
 * meanwhile the token is stale from the start. False: it has no caller. */
bool vv_reply_owe(struct vv_reply *reply, uint32_t generation,
                  struct vv_debts *debts, struct vivero_reply_token *token);
/* Pay it; errors as vivero_reply. From its debtor too. size is not checked
 * when result is not 0. */
int vv_reply_pay(struct vivero_reply_token token, int result, const void *out,
                 size_t size);
/* The debtor ends: all its callers are told result, and exit if that is DOWN. */
void vv_reply_default(struct vv_debts *debts, int result,
                      const struct vivero_exit *exit);
/* The debtor was fenced: vv_reply_owe() makes no debts any more. */
void vv_reply_close_debts(struct vv_debts *debts);
/* A debtor that begins anew. */
void vv_reply_open_debts(struct vv_debts *debts);

/* Wait for the answer, spinning first. Copies it to out (NULL: nowhere), frees
 * the slot, returns the result. expired: whether the deadline passed while the
 * message was still queued. */
int vv_reply_wait(struct vv_reply *reply, const struct vv_spin *spin, void *out,
                  bool *expired);

/* Cancel by name what is still queued; its mailbox has been credited and its
 * caller told. False: too late. */
bool vv_reply_cancel(struct vivero_message message);
/* The same for a slot whose cell stands in a frozen lane; the credit is
 * the caller's business. */
bool vv_reply_cut(struct vv_reply *reply);
/* Free a tombstone whose cell is being passed. */
void vv_reply_bury(struct vv_reply *reply);

/* For compaction and deadlock search. May be stale at once. */
bool vv_reply_is_tombstone(const struct vv_reply *reply);
/* Queued or running: only a worker can answer it. */
bool vv_reply_is_with_worker(const struct vv_reply *reply, uint32_t generation);
uint32_t vv_reply_generation(const struct vv_reply *reply);

/* Give a thread's cached slots back to the depot. */
void vv_reply_cache_flush(struct vv_here *here);

#endif
