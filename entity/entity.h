/* SPDX-License-Identifier: MIT */
#ifndef ENTITY_ENTITY_H
#define ENTITY_ENTITY_H

/* What everything that can be addressed is: a reference, an inbox, exit
 * signals, links and monitors, and one way to its end. Model, locks and
 * invariants: entity.c.
 *
 * "its thread" is whoever runs the entity at the moment; there is one at a
 * time. Unless a comment says so, functions may be called by any thread. */

#include <vivero/entity.h>

#include "base/memory.h"
#include "mailbox/envelope.h"
#include "mailbox/wait.h"
#include "os/mutex.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vv_entity;
struct vv_slot;
struct vv_tie_end;
struct vv_name;
struct vv_spin;

/* Who started an entity and wants to hear of it. Told under the entity's lock:
 * an owner takes a note and wakes somebody, no more. */
struct vv_owner {
    /* It came up (0), wants not to exist (VIVERO_IGNORE), or could not, for
     * this reason; then ended() follows. Told at most once. */
    void (*started)(struct vv_owner *owner, int error,
                    const struct vivero_exit *exit);
    /* The last word. */
    void (*ended)(struct vv_owner *owner, const struct vivero_exit *exit);
};

struct vv_entity_ops {
    /* There is something to look at: have somebody run it. Under the entity's
     * lock. NULL: its thread sleeps in vv_entity_rest(). */
    void (*poke)(struct vv_entity *entity);
    /* Nobody knows it any more; frees what it is part of. Under no lock. */
    void (*free)(struct vv_entity *entity);
};

/* Somebody who waits for an end; on his stack. */
struct vv_end_watch {
    struct vv_end_watch *next;
    _Atomic uint32_t word; /* 1: it has ended */
    struct vivero_exit exit;
};

enum vv_entity_flag {
    VV_ENTITY_TRAPS = 1,     /* exits are messages */
    VV_ENTITY_OBEYS = 2,     /* its parent's exits end it all the same */
    VV_ENTITY_DEAF = 4,      /* takes no messages: only signals and requests */
    VV_ENTITY_SUSPENDED = 8, /* messages stay in its inbox */
    VV_ENTITY_POKED = 16,    /* look, though the inbox may be empty */
    VV_ENTITY_TOLD = 32,     /* whether it came up has been said */
    VV_ENTITY_ENDING = 64,   /* its end has begun: it is gone for all others */
    VV_ENTITY_REPLACED = 128 /* its slot is its successor's */
};

struct vv_entity {
    /* fixed once bound */
    struct vv_slot *slot;
    struct vivero_ref ref;
    const struct vv_entity_ops *ops;
    struct vivero_ref parent; /* its supervisor, or who started it linked */
    /* guarded by the entity's lock */
    struct vv_owner *owner; /* NULL: nobody wants to hear */
    uint32_t flags;
    uint32_t references;
    uint32_t depth;  /* bound of `queued` */
    uint32_t queued; /* calls, casts and tells in the inbox, tombstones too */
    struct vv_envelope *first; /* the inbox, in order of arrival */
    struct vv_envelope *last;
    struct vv_request *requests; /* the control lane, in order */
    struct vv_envelope *verdict; /* an exit signal that ends it; the first */
    struct vv_end_watch *watches;
    /* guarded by the names' lock */
    struct vv_name *name; /* NULL: none */
    /* guarded by the ties' lock */
    struct vv_tie_end *ties;
};

/* ---- Life ------------------------------------------------------------------ */

/* A new reference for something that is about to be. Errors: NO_MEMORY, LIMIT,
 * FORKED. */
int vv_entity_reserve(struct vivero_ref *ref);
/* Undo: nothing was bound to it. */
void vv_entity_unreserve(struct vivero_ref ref);

/* Put a zeroed entity with ops, flags, depth, owner and parent filled in behind
 * a reserved reference; one reference to it is its thread's. Or in place of a
 * bare one that an owner had put there, whose owner, parent and mail it takes
 * over, and who waits for its end; the bare one has no name and no ties, and no
 * end of it is told. False: that one has ended meanwhile. */
bool vv_entity_bind(struct vv_entity *entity, struct vivero_ref ref);

/* The owner wants to hear no more; true: the entity had not ended. */
bool vv_entity_disown(struct vivero_ref ref);

/* It came up, or not: tell the owner. By reference, for those who have only
 * that; harmless when it is gone. */
void vv_entity_started(struct vivero_ref ref, int error,
                       const struct vivero_exit *exit);

/* The one way to the end: names are free, whoever waits in the inbox is told
 * DOWN with exit, links and monitors fire, the owner is told last.
 * Whoever comes second is told false; the first one does all of it. Its thread,
 * or whoever declares it dead. Allocates nothing. */
bool vv_entity_end(struct vv_entity *entity, const struct vivero_exit *exit);
bool vv_entity_end_ref(struct vivero_ref ref, const struct vivero_exit *exit);

/* Give back a reference; the last one frees by ops->free. As long as somebody
 * has a reference to some entity, the process's reply slots, envelopes and ties
 * stay: who uses a value that may be stale retains what it names first. */
void vv_entity_release(struct vv_entity *entity);

/* ---- Finding ------------------------------------------------------------------ */

/* The entity behind a reference, with its lock held; NULL: gone. */
struct vv_entity *vv_entity_lock(struct vivero_ref ref);
void vv_entity_unlock(struct vv_entity *entity);
/* The lock of one that the caller has a reference to, whatever its state. */
void vv_entity_hold(struct vv_entity *entity);
/* The same and with a reference of the caller's own, without the lock. */
struct vv_entity *vv_entity_retain(struct vivero_ref ref);

/* The entity the calling thread runs; NULL: none. */
struct vv_entity *vv_entity_here(void);
void vv_entity_set_here(struct vv_entity *entity);
/* On whose behalf it asks: the child whose pool it works for, else the entity it
 * runs; nobody. */
struct vivero_ref vv_entity_asker(void);
/* Whether ancestor is among ref's, or ref itself; of the calling entity. */
bool vv_entity_is_below(struct vivero_ref ref, struct vivero_ref ancestor);
bool vv_entity_is_above_here(struct vivero_ref ref);

/* Whether a signal or a request that ends it waits. */
bool vv_entity_is_asked_to_end(struct vv_entity *entity);
/* Whether exits are messages to it. */
bool vv_entity_traps(struct vv_entity *entity);
/* Let messages stay in its inbox, or have them taken again. */
void vv_entity_suspend(struct vv_entity *entity, bool suspended);

/* ---- Sending -------------------------------------------------------------------- */

/* Put an envelope into the inbox; beyond its depth only a reserved one. It is
 * the inbox's from then on; otherwise still the caller's.
 * Errors: GONE; FULL; UNSUPPORTED for a deaf one. */
int vv_entity_put(struct vv_entity *entity, struct vv_envelope *envelope);
/* Drop the oldest message of the inbox: its caller is told FULL. */
void vv_entity_drop_oldest(struct vv_entity *entity);
/* Sleep until there may be room. Errors: GONE, TIMED_OUT. */
int vv_entity_wait_for_room(struct vv_entity *entity, int64_t deadline_ns);
/* Where its tombstones are counted. */
struct vv_credit *vv_entity_credit(struct vv_entity *entity);

/* Have an exit signal take effect. note is an EXIT with from and exit filled in
 * and becomes the entity's, whatever the result. Errors: GONE. */
int vv_entity_signal(struct vivero_ref to, struct vv_envelope *note);
/* The same under its lock; returns what is to be freed without it, or NULL. Only
 * a KILL sets aside a signal that came before. */
struct vv_envelope *vv_entity_signal_locked(struct vv_entity *to,
                                            struct vv_envelope *note);
/* Have its thread look. Under its lock, and for an owner's child by reference. */
void vv_entity_poke_locked(struct vv_entity *entity);
void vv_entity_poke(struct vv_entity *entity);

/* ---- Taking: its thread --------------------------------------------------------- */

/* What is next: the end, a request, a verdict, an envelope, in this order. */
struct vv_mail {
    struct vv_request *request;
    struct vv_envelope *envelope; /* whose message, if any, has begun */
    struct vv_envelope *verdict;  /* it is to end, for this exit */
    bool over; /* it has been ended by somebody else: nothing of it is left */
};
/* False: nothing now. Expired messages and tombstones on the way are dealt
 * with. While it is suspended there are no envelopes. */
bool vv_entity_take(struct vv_entity *entity, struct vv_mail *mail);
bool vv_entity_has_mail(struct vv_entity *entity);
bool vv_entity_has_mail_locked(const struct vv_entity *entity);
/* Take what was reserved for one thing out of the inbox; NULL: not there. */
struct vv_envelope *
vv_entity_take_if(struct vv_entity *entity,
                  bool (*matches)(const struct vv_envelope *, const void *),
                  const void *ctx);

/* Sleep until there is something to take, or it was poked, looking for a while
 * first. False: the deadline passed. For entities whose ops have no poke. */
bool vv_entity_rest(struct vv_entity *entity, const struct vv_spin *spin,
                    int64_t deadline_ns);

/* ---- Links and monitors: see <vivero/entity.h> ------------------------------------ */

int vv_entity_link(struct vv_entity *self, struct vivero_ref other);
void vv_entity_unlink(struct vv_entity *self, struct vivero_ref other);
int vv_entity_monitor(struct vv_entity *self, struct vivero_ref target,
                      struct vivero_monitor *monitor);
int vv_entity_demonitor(struct vv_entity *self, struct vivero_monitor monitor);
void vv_entity_count_ties(struct vv_entity *entity, uint32_t *links,
                          uint32_t *monitors, uint32_t *monitored);

/* ---- Names --------------------------------------------------------------------------- */

/* As vivero_register(); EXISTS also sets *holder, if not NULL. */
int vv_name_give(struct vivero_ref ref, const char *name,
                 struct vivero_ref *holder);
/* It is free, though its end has not begun. */
void vv_name_forget(struct vv_entity *entity);
/* Its name; "" without one. */
void vv_name_copy(const struct vv_entity *entity, char *name, size_t size);

/* ---- Requests: the control lane ---------------------------------------------------- */

/* Something its thread is to do between two messages, while somebody waits. */
struct vv_request {
    struct vv_request *next;
    struct vivero_ref from; /* who asks; nobody: no entity */
    _Atomic uint32_t references;
    _Atomic uint32_t word; /* 1: answered */
    int kind;              /* the receiver's own numbering */
    int result;
    struct vivero_exit exit;                  /* when result is DOWN */
    bool ends;                                /* it asks for the end */
    size_t size;                              /* of the whole */
    void (*fini)(struct vv_request *request); /* NULL: nothing to undo */
};

/* size bytes, which begin with the request; zeroed. NULL: no memory. */
struct vv_request *vv_request_new(size_t size, int kind);
/* Ask, and wait for the answer. After it the request is still the caller's, to
 * read what it brought (not when the result is TIMED_OUT) and to release.
 * Errors: GONE, DOWN, TIMED_OUT, DEADLOCK (and it is taken back if that is still
 * possible), or the answer. */
int vv_request_send(struct vv_request *request, struct vivero_ref to,
                    int64_t timeout_ns);
/* The receiver's: answer and let go of it. exit: when result is DOWN. */
void vv_request_answer(struct vv_request *request, int result,
                       const struct vivero_exit *exit);
void vv_request_release(struct vv_request *request);

/* Wait for an end, and for its thread to be gone. Errors: GONE, TIMED_OUT. */
int vv_entity_await_end(struct vivero_ref ref, int64_t deadline_ns,
                        struct vivero_exit *exit);

#endif
