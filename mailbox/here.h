/* SPDX-License-Identifier: MIT */
#ifndef MAILBOX_HERE_H
#define MAILBOX_HERE_H

#include <vivero/exit.h>
#include <vivero/ref.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vv_entity;
struct vv_envelope;
struct vv_reply;
struct vv_waiter;
struct vivero_entity;

/* What the library keeps for each thread that calls it. */
struct vv_here {
    /* atomic: read by whoever wants to free what it points to */
    _Atomic(const void *) inside; /* the object this thread is in the middle
                                      of calling; NULL: none */
    /* owner thread only */
    struct vivero_entity *worker; /* the worker this thread runs; NULL: none */
    bool (*is_fenced)(const struct vivero_entity *worker); /* of that worker */
    struct vv_waiter *waiter; /* that worker's; or of another kind */
    struct vv_reply *replies; /* cache of free reply slots */
    uint32_t reply_count;
    uint32_t epoch;                /* of the depot the cache came from */
    struct vv_envelope *envelopes; /* cache of free envelopes */
    uint32_t envelope_count;
    uint32_t envelope_epoch;  /* of the depot they came from */
    struct vv_entity *entity; /* the entity this thread runs; NULL: none */
    struct vivero_ref within; /* the child whose pool this thread works for;
                                 nobody: none */
    void (*on_end)(void);     /* when the thread ends; NULL: nothing */
    bool (*begin_wait)(
        void);              /* before it sleeps for somebody else: false: it */
    void (*end_wait)(void); /* may not. NULL: it is nobody's loss */
    uint32_t sticky;        /* where it put its last message */
    uint32_t spin_permille; /* how much of the allowed spinning paid off
                                      lately */
    uint32_t spin_skips;
    struct vivero_exit last_exit;
    /* guarded by the list's mutex */
    struct vv_here *next;
    struct vv_here *previous;
    /* atomic: written under the list's mutex */
    _Atomic bool listed;
};

/* On the message path, so these are inline. The model of thread-local storage
 * is the one that needs no call; the struct is small enough for it also in a
 * library that is loaded late. */
extern _Thread_local struct vv_here vv_this_thread
    __attribute__((tls_model("initial-exec")));
void vv_here_enlist(struct vv_here *here);

/* This thread's; registered on first use, taken off the list when the thread
 * ends. */
static inline struct vv_here *vv_here(void)
{
    struct vv_here *here = &vv_this_thread;

    /* relaxed: whoever uses an object got it from its opener, which opened it
     * after the list was last emptied, both under mutexes. */
    if (__builtin_expect(
            !atomic_load_explicit(&here->listed, memory_order_relaxed), 0)) {
        vv_here_enlist(here);
    }
    return here;
}

/* Whether this thread runs a worker that was replaced, and may not act any
 * more. */
static inline bool vv_here_is_fenced(const struct vv_here *here)
{
    return here->worker != NULL && here->is_fenced(here->worker);
}

/* What every function refuses that changes something: FORKED in a forked child,
 * FENCED on the thread of a worker that was replaced. */
int vv_here_may_act(void);

/* Mark that this thread uses object, until vv_here_leave(previous). */
static inline const void *vv_here_enter(struct vv_here *here,
                                        const void *object)
{
    /* relaxed: only this thread writes it. */
    const void *previous =
        atomic_load_explicit(&here->inside, memory_order_relaxed);

    /* relaxed: ordered before its message, and so before any close that is a
     * consequence of it, by the message's own publication. */
    atomic_store_explicit(&here->inside, object, memory_order_relaxed);
    return previous;
}

/* The same, when others may take the object away: look afterwards whether it is
 * still there. */
static inline void vv_here_protect(struct vv_here *here, const void *object)
{
    /* sync(here.inside): seq_cst, total order because we mark it and then look
     * whether it is there, who takes it away does so and then looks for
     * marks. */
    atomic_store_explicit(&here->inside, object, memory_order_seq_cst);
}

static inline void vv_here_leave(struct vv_here *here, const void *previous)
{
    /* sync(here.inside): all accesses to the object are over. */
    atomic_store_explicit(&here->inside, previous, memory_order_release);
}

enum vv_wake { VV_WAKE_CALLED, VV_WAKE_TOO_LATE, VV_WAKE_REFUSED };

/* vv_park(), for what another worker has to bring about. A thread that many
 * workers share has somebody stand in for it meanwhile; REFUSED: there is nobody
 * left, and it did not sleep. */
enum vv_wake vv_here_park(_Atomic uint32_t *word, uint32_t expected,
                          int64_t deadline_ns);

/* Whether a thread is inside object. Callers that began to use it before its
 * last message was taken are seen; nobody may begin any more. */
bool vv_here_somebody_inside(const void *object);

/* Before the first object is opened. False: the process has no more keys for
 * thread-specific data. */
bool vv_here_prepare(void);
/* Whether this thread will be seen by vv_here_somebody_inside(); if
 * not there was no memory for it, or the process is a forked child. */
static inline bool vv_here_is_listed(const struct vv_here *here)
{
    /* relaxed: this thread's own doing. */
    return atomic_load_explicit(&here->listed, memory_order_relaxed);
}

/* The last object of the process is closed: the list starts anew. */
void vv_here_forget_all(void);

#endif
