/* SPDX-License-Identifier: MIT */
/* mutex: locks with ranks.
 *
 * Model.      In debug builds each thread keeps the mutexes it holds, oldest
 *             first. Because only higher ranks may be added the list ascends,
 *             and the last entry alone decides whether another may be taken.
 *             The check comes before the lock, so an inversion is reported
 *             even when no other thread is there to make it a deadlock.
 * Invariants. 1 The ranks in held[] strictly ascend.
 * Failure.    The only errors pthreads can return here are bugs of ours. */
#include "os/mutex.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"

#include <errno.h>
#include <time.h>

#ifdef VV_DEBUG
#define HELD_MAX VV_RANK_COUNT

/* owner thread only */
static _Thread_local const struct vv_mutex *held[HELD_MAX];
static _Thread_local size_t held_count;

static void check_order(const struct vv_mutex *mutex)
{
    VV_ASSERT(mutex->rank > VV_RANK_NONE && mutex->rank < VV_RANK_COUNT);
    if (held_count > 0 && held[held_count - 1]->rank >= mutex->rank) {
        vv_misuse("internal: a mutex of rank %d is taken after one of rank %d",
                  (int)mutex->rank, (int)held[held_count - 1]->rank);
    }
}

static void note_taken(const struct vv_mutex *mutex)
{
    held[held_count++] = mutex;
}

/* Usually the last one, but unlocking in another order is no fault. */
static void note_dropped(const struct vv_mutex *mutex)
{
    size_t i = held_count;

    while (i > 0 && held[i - 1] != mutex) {
        i--;
    }
    VV_CHECK(i > 0,
             "internal: a mutex of rank %d is unlocked by a thread "
             "that does not hold it",
             (int)mutex->rank);
    for (; i < held_count; i++) {
        held[i - 1] = held[i];
    }
    held_count--;
}

void vv_mutex_assert_held(const struct vv_mutex *mutex)
{
    for (size_t i = 0; i < held_count; i++) {
        if (held[i] == mutex) {
            return;
        }
    }
    vv_misuse("internal: a mutex of rank %d should be held here",
              (int)mutex->rank);
}
#else
static void check_order(const struct vv_mutex *mutex)
{
    (void)mutex;
}

static void note_taken(const struct vv_mutex *mutex)
{
    (void)mutex;
}

static void note_dropped(const struct vv_mutex *mutex)
{
    (void)mutex;
}

void vv_mutex_assert_held(const struct vv_mutex *mutex)
{
    (void)mutex;
}
#endif

static void must(int failed, const char *what)
{
    VV_CHECK(failed == 0, "internal: %s: error %d of the system", what, failed);
}

void vv_mutex_init(struct vv_mutex *mutex, enum vv_lock_rank rank)
{
    mutex->rank = rank;
    must(pthread_mutex_init(&mutex->mutex, NULL), "pthread_mutex_init");
}

void vv_mutex_fini(struct vv_mutex *mutex)
{
    must(pthread_mutex_destroy(&mutex->mutex), "pthread_mutex_destroy");
}

void vv_mutex_lock(struct vv_mutex *mutex)
{
    check_order(mutex);
    must(pthread_mutex_lock(&mutex->mutex), "pthread_mutex_lock");
    note_taken(mutex);
}

void vv_mutex_unlock(struct vv_mutex *mutex)
{
    note_dropped(mutex);
    must(pthread_mutex_unlock(&mutex->mutex), "pthread_mutex_unlock");
}

int vv_cond_init(struct vv_cond *cond)
{
    pthread_condattr_t attributes;
    int failed = pthread_condattr_init(&attributes);

    if (failed != 0) {
        return VIVERO_E_NO_MEMORY;
    }
    failed = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    if (failed == 0) {
        failed = pthread_cond_init(&cond->cond, &attributes);
    }
    (void)pthread_condattr_destroy(&attributes);
    return failed == 0 ? VIVERO_OK : VIVERO_E_NO_MEMORY;
}

void vv_cond_fini(struct vv_cond *cond)
{
    must(pthread_cond_destroy(&cond->cond), "pthread_cond_destroy");
}

void vv_cond_wait(struct vv_cond *cond, struct vv_mutex *mutex)
{
    vv_mutex_assert_held(mutex);
    must(pthread_cond_wait(&cond->cond, &mutex->mutex), "pthread_cond_wait");
}

bool vv_cond_wait_until(struct vv_cond *cond, struct vv_mutex *mutex,
                        int64_t deadline_ns)
{
    const int64_t deadline = deadline_ns < 0 ? 0 : deadline_ns;
    struct timespec until;
    int failed;

    if (deadline == VIVERO_FOREVER) {
        vv_cond_wait(cond, mutex);
        return true;
    }
    vv_mutex_assert_held(mutex);
    until.tv_sec = (time_t)(deadline / VIVERO_SECONDS(1));
    until.tv_nsec = (long)(deadline % VIVERO_SECONDS(1));
    failed = pthread_cond_timedwait(&cond->cond, &mutex->mutex, &until);
    if (failed == ETIMEDOUT) {
        return false;
    }
    must(failed, "pthread_cond_timedwait");
    return true;
}

void vv_cond_signal(struct vv_cond *cond)
{
    must(pthread_cond_signal(&cond->cond), "pthread_cond_signal");
}

void vv_cond_broadcast(struct vv_cond *cond)
{
    must(pthread_cond_broadcast(&cond->cond), "pthread_cond_broadcast");
}
