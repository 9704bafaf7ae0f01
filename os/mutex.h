/* SPDX-License-Identifier: MIT */
#ifndef OS_MUTEX_H
#define OS_MUTEX_H

#include "os/lock_rank.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct vv_mutex {
    pthread_mutex_t mutex;
    enum vv_lock_rank rank;
};

/* For mutexes of static storage. */
#define VV_MUTEX_INIT(rank_)                                                   \
    {                                                                          \
        PTHREAD_MUTEX_INITIALIZER, (rank_)                                     \
    }

void vv_mutex_init(struct vv_mutex *mutex, enum vv_lock_rank rank);
void vv_mutex_fini(struct vv_mutex *mutex);
/* Debug builds stop, through the misuse hook, when the calling thread holds a
 * mutex of the same or a higher rank. */
void vv_mutex_lock(struct vv_mutex *mutex);
void vv_mutex_unlock(struct vv_mutex *mutex);
/* Debug builds stop unless the calling thread holds it. */
void vv_mutex_assert_held(const struct vv_mutex *mutex);

/* A condition on the monotonic clock. Always in a predicate loop. */
struct vv_cond {
    pthread_cond_t cond;
};

int vv_cond_init(struct vv_cond *cond);
void vv_cond_fini(struct vv_cond *cond);
void vv_cond_wait(struct vv_cond *cond, struct vv_mutex *mutex);
/* deadline_ns as of vivero_now(); VIVERO_FOREVER: no limit. False: it passed. */
bool vv_cond_wait_until(struct vv_cond *cond, struct vv_mutex *mutex,
                        int64_t deadline_ns);
void vv_cond_signal(struct vv_cond *cond);
void vv_cond_broadcast(struct vv_cond *cond);

#endif
