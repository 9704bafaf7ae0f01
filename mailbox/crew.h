/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_CREW_H
#define MAILBOX_CREW_H

/* The seats of workers that share work: a mailbox each, who is idle, who is
 * awake and looking, who waits for whom. */

#include "mailbox/idle.h"
#include "mailbox/mailbox.h"
#include "mailbox/spin.h"
#include "mailbox/wait.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define VV_SEATS_MAX 4096u

struct vivero_entity;
struct vv_crew;

struct vv_seat {
    /* fixed once the seat is taken */
    struct vv_crew *crew;
    uint32_t index;
    struct vv_mailbox *mailbox;
    /* atomic */
    _Atomic(struct vivero_entity *) worker; /* another one after a fencing */
    _Atomic uint32_t attention; /* something besides messages to look at */
    VV_CACHELINE_ALIGNED _Atomic uint32_t park; /* 0: asleep or about to be */
    /* atomic; written by whoever runs the seat's messages, one at a time */
    VV_CACHELINE_ALIGNED _Atomic uint64_t finished;
    _Atomic uint64_t taken; /* from siblings */
    _Atomic uint64_t lent;  /* calls run in its worker's place */
    /* owner only */
    uint32_t turns;
    uint32_t fruitless; /* rests in a row that ended at once */
    uint32_t casts;     /* taken in a row since the last rest */
    bool searching;
    struct vv_waiter waiter;   /* of nobody in particular */
    struct vv_waiter *sitting; /* of the worker that has the seat; NULL: the one
                                  above. Guarded by the waits mutex */
};

struct vv_crew {
    /* fixed at open */
    uint32_t seats_max;
    struct vv_spin spin;
    struct vv_account *account;
    struct vv_seat **seats; /* room for seats_max; published by `used` */
    /* atomic; read mostly */
    _Atomic uint32_t used;      /* seats 0..used-1 exist; never shrinks */
    _Atomic uint32_t size;      /* seats 0..size-1 are sent to */
    _Atomic uint32_t suspended; /* messages stay where they are */
    _Atomic uint32_t quiet_watchers;
    _Atomic uint32_t quiet; /* sequence: something came to rest */
    /* atomic; written when workers sleep and wake */
    struct vv_idle_set idle;
    VV_CACHELINE_ALIGNED _Atomic uint32_t searcher; /* seat + 1; 0: nobody */
    _Atomic uint64_t wake_ups;
    struct vv_space space;
};

int vv_crew_init(struct vv_crew *crew, uint32_t seats_max,
                 const struct vv_spin *spin, struct vv_account *account);
/* No thread uses it any more. */
void vv_crew_fini(struct vv_crew *crew);

/* Make the next seat, index `used`, and show it to others once it is whole.
 * Callers are serialised. */
int vv_crew_make_seat(struct vv_crew *crew, uint32_t mailbox_depth,
                      struct vv_seat **seat);
void vv_crew_show_seat(struct vv_crew *crew, struct vv_seat *seat);
void vv_crew_free_seat(struct vv_crew *crew, struct vv_seat *seat);
static inline struct vv_seat *vv_crew_seat(const struct vv_crew *crew,
                                           uint32_t index)
{
    return crew->seats[index];
}

static inline uint32_t vv_crew_used(const struct vv_crew *crew)
{
    /* sync(crew.used): these seats are whole. */
    return atomic_load_explicit(&crew->used, memory_order_acquire);
}

static inline uint32_t vv_crew_size(const struct vv_crew *crew)
{
    /* sync(crew.size): the seats it counts are whole. */
    return atomic_load_explicit(&crew->size, memory_order_acquire);
}

void vv_crew_set_size(struct vv_crew *crew, uint32_t size);

/* ---- Producers ------------------------------------------------------------ */

/* Where a message without an address should go: a searcher, else the first
 * idle one, else where this thread put its last. */
uint32_t vv_crew_pick_free(const struct vv_crew *crew, uint32_t sticky);

/* After a put on a pool lane: see to it that somebody looks. */
void vv_crew_notify_any(struct vv_crew *crew);
/* After a put on seat's own lane, or after setting its attention. */
void vv_crew_notify_seat(struct vv_crew *crew, uint32_t index);
void vv_crew_notify_all(struct vv_crew *crew);

/* Let messages stay where they are; and wake everybody afterwards. */
void vv_crew_suspend(struct vv_crew *crew, bool suspended);
bool vv_crew_is_suspended(const struct vv_crew *crew);

/* Set a seat's attention and wake it. */
void vv_crew_call_attention(struct vv_crew *crew, uint32_t index);

/* Sleep until some mailbox has room again: first `prepare`, then look at all
 * mailboxes, then `wait` with what prepare returned. False: the deadline. */
uint32_t vv_crew_prepare_for_room(struct vv_crew *crew);
bool vv_crew_wait_for_room(struct vv_crew *crew, uint32_t prepared,
                           int64_t deadline_ns);

/* ---- Consumers: the thread that runs a seat --------------------------------- */

/* The next message for this seat: its own lanes, then its siblings' pool
 * lanes. False: nothing now. */
bool vv_crew_take(struct vv_seat *seat, struct vv_message *message);

/* The same, but only what was addressed to this seat. */
bool vv_crew_take_own(struct vv_seat *seat, struct vv_message *message);

/* Whether there is something besides messages to look at; asked once. */
bool vv_crew_take_attention(struct vv_seat *seat);

/* Sleep until there is; false: the deadline passed. No message wakes it. */
bool vv_crew_wait_for_attention(struct vv_seat *seat, int64_t deadline_ns);

/* The message taken last has come to its end. */
void vv_crew_finished(struct vv_seat *seat);

/* Nothing to do: look for a while, then sleep until there may be work or
 * attention, or until the deadline. False: the deadline passed. */
bool vv_crew_rest(struct vv_seat *seat, int64_t deadline_ns);

/* Whether its worker sleeps in rest(), and nobody has borrowed or woken it. */
bool vv_crew_is_idle(const struct vv_seat *seat);

/* The seat's thread leaves its loop: nobody may rely on it to look. */
void vv_crew_stop_searching(struct vv_seat *seat);

/* ---- Somebody else in an idle worker's place --------------------------------- */

/* Hold an idle worker between two messages; NULL: none is idle. only: this seat
 * or VV_ANY_SEAT. Until given back nobody else runs it. */
struct vv_seat *vv_crew_borrow(struct vv_crew *crew, uint32_t only);
/* A call begins in a borrowed worker's place; it ends with vv_crew_finished().
 * False: something else waits for the worker, or it takes no messages. */
bool vv_crew_lend(struct vv_seat *seat);
/* Give it back; wakes its thread if there is something to do for it, and always
 * if `wake`. */
void vv_crew_give_back(struct vv_seat *seat, bool wake);

/* ---- Rest --------------------------------------------------------------------- */

bool vv_crew_is_quiet(const struct vv_crew *crew);
/* Wait until every accepted message has ended. stop(ctx): give up. 1: quiet, 0:
 * the deadline passed, -1: stopped. */
int vv_crew_wait_quiet(struct vv_crew *crew, int64_t deadline_ns,
                       bool (*stop)(void *ctx), void *ctx);
/* Messages ended without a worker, or stop() has become true. */
void vv_crew_poke_quiet(struct vv_crew *crew);

uint64_t vv_crew_accepted(const struct vv_crew *crew);
uint64_t vv_crew_settled(const struct vv_crew *crew, enum vv_settled how);
uint64_t vv_crew_finished_count(const struct vv_seat *seat);

#endif
