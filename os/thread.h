/* SPDX-License-Identifier: MIT */
#ifndef OS_THREAD_H
#define OS_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct vv_thread_options {
    const char *name;     /* cut to 15 characters; NULL: the creator's */
    size_t stack_size;    /* 0: 256 KiB; raised to the system's minimum */
    const uint16_t *cpus; /* CPUs it may run on; NULL: the creator's */
    size_t cpu_count;
    int policy; /* SCHED_...; 0: the creator's */
    int priority;
};

typedef void vv_thread_fn(void *ctx);

#define VV_THREAD_NAME_SIZE 16

/* Stays where it is until the thread has been joined, or, once detached, for as
 * long as the thread may run: a thread is started without memory of its own. */
struct vv_thread {
    pthread_t id;
    vv_thread_fn *run;
    void *ctx;
    const uint16_t *cpus;
    size_t cpu_count;
    int policy;
    int priority;
    char name[VV_THREAD_NAME_SIZE]; /* "": the creator's */
};

/* Start a thread: all asynchronous signals blocked from its first instruction,
 * SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP and SIGSYS left alone; a
 * guard of 64 KiB. Affinity, policy and the name are soft: a refusal is
 * logged (component "os") and the thread goes on. Of options only cpus is kept.
 * Errors: VIVERO_E_LIMIT (EAGAIN), VIVERO_E_NO_MEMORY, VIVERO_E_INVALID. */
int vv_thread_start(struct vv_thread *thread,
                    const struct vv_thread_options *options, vv_thread_fn *run,
                    void *ctx);
void vv_thread_join(struct vv_thread *thread);
void vv_thread_detach(struct vv_thread *thread);
bool vv_thread_is_self(const struct vv_thread *thread);

/* The calling thread is about to end, and whoever started it does not wait for
 * it: the next one that says so joins it, or vv_thread_reap(). */
void vv_thread_bequeath(void);
/* Join what was bequeathed before. Blocks for the last instructions of threads
 * that are ending; not while one of those may wait for the caller. */
void vv_thread_reap(void);

/* Tests make the next `count` starts fail with VIVERO_E_LIMIT after letting
 * `after` succeed; 0, 0 ends it. */
void vv_thread_fail_starts(uint32_t after, uint32_t count);

/* True, for good, in a child that was forked while some vv_fork_watch() had not
 * met its vv_fork_unwatch(), and in the child's children: the library's threads
 * are not there. A process without open objects forks as it likes. */
void vv_fork_watch(void);
void vv_fork_unwatch(void);
bool vv_forked(void);

#endif
