/* SPDX-License-Identifier: MIT */
/* here: what the library keeps for each thread that calls it.
 *
 * Model.    One thread-local struct, linked into a list so that a closing
 *           object can see who is still inside. `inside` is a hazard pointer.
 * Sync.     here.inside: enter stores the object, then the thread sends its
 *           message; the close that follows from that message's effect sees
 *           the store (it happens before the sending). leave releases, the
 *           closer acquires: all the caller's accesses are over.
 * Failure.  A thread for which there is no room in the key's tables is not
 *           listed, and its calls are answered NO_MEMORY.
 * Rejected. A reference count per object: two contended writes per message. */
#include "mailbox/here.h"

#include <vivero/error.h>

#include "mailbox/envelope.h"
#include "mailbox/reply.h"
#include "os/mutex.h"
#include "os/park.h"
#include "os/thread.h"

#include <pthread.h>
#include <stddef.h>

_Thread_local struct vv_here vv_this_thread
    __attribute__((tls_model("initial-exec")));

static struct vv_mutex list_lock = VV_MUTEX_INIT(VV_RANK_THREADS);
/* guarded by list_lock */
static struct vv_here *list;
static pthread_key_t key;
static bool has_key;

static void set_listed(struct vv_here *here, bool listed)
{
    /* relaxed: see vv_here(). */
    atomic_store_explicit(&here->listed, listed, memory_order_relaxed);
}

static bool is_listed(const struct vv_here *here)
{
    /* relaxed: as above. */
    return atomic_load_explicit(&here->listed, memory_order_relaxed);
}

static void unlink_locked(struct vv_here *here)
{
    vv_mutex_assert_held(&list_lock);
    if (here->previous != NULL) {
        here->previous->next = here->next;
    } else {
        list = here->next;
    }
    if (here->next != NULL) {
        here->next->previous = here->previous;
    }
    here->next = NULL;
    here->previous = NULL;
    set_listed(here, false);
}

static void thread_ends(void *ctx)
{
    struct vv_here *here = ctx;

    if (here->on_end != NULL) {
        here->on_end();
    }
    vv_envelope_cache_flush(here);
    vv_reply_cache_flush(here);
    vv_mutex_lock(&list_lock);
    if (is_listed(here)) {
        unlink_locked(here);
    }
    vv_mutex_unlock(&list_lock);
}

bool vv_here_prepare(void)
{
    bool prepared;

    vv_mutex_lock(&list_lock);
    if (!has_key) {
        has_key = pthread_key_create(&key, thread_ends) == 0;
    }
    prepared = has_key;
    vv_mutex_unlock(&list_lock);
    return prepared;
}

void vv_here_enlist(struct vv_here *here)
{
    if (vv_forked()) {
        return; /* the lock may be held by a thread that is not here */
    }
    vv_mutex_lock(&list_lock);
    /* Without the key's destructor the list would keep a dead thread. */
    if (has_key && pthread_setspecific(key, here) == 0) {
        here->next = list;
        here->previous = NULL;
        if (list != NULL) {
            list->previous = here;
        }
        list = here;
        set_listed(here, true);
    }
    vv_mutex_unlock(&list_lock);
    if (here->spin_permille == 0) {
        here->spin_permille = 1000;
    }
}

int vv_here_may_act(void)
{
    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    return vv_here_is_fenced(&vv_this_thread) ? VIVERO_E_FENCED : VIVERO_OK;
}

bool vv_here_somebody_inside(const void *object)
{
    bool found = false;

    vv_mutex_lock(&list_lock);
    for (struct vv_here *here = list; here != NULL && !found;
         here = here->next) {
        /* sync(here.inside): after this the object may be freed; seq_cst, see
         * vv_here_protect(). */
        found =
            atomic_load_explicit(&here->inside, memory_order_seq_cst) == object;
    }
    vv_mutex_unlock(&list_lock);
    return found;
}

void vv_here_forget_all(void)
{
    vv_mutex_lock(&list_lock);
    while (list != NULL) {
        unlink_locked(list);
    }
    if (has_key) {
        (void)pthread_key_delete(key);
        has_key = false;
    }
    vv_mutex_unlock(&list_lock);
}

enum vv_wake vv_here_park(_Atomic uint32_t *word, uint32_t expected,
                          int64_t deadline_ns)
{
    const struct vv_here *here = vv_here();
    bool in_time;

    if (here->begin_wait != NULL && !here->begin_wait()) {
        return VV_WAKE_REFUSED;
    }
    in_time = vv_park(word, expected, deadline_ns);
    if (here->end_wait != NULL) {
        here->end_wait();
    }
    return in_time ? VV_WAKE_CALLED : VV_WAKE_TOO_LATE;
}
