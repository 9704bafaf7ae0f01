/* SPDX-License-Identifier: MIT */
/* thread: starting threads with manners.
 *
 * Model.    What the new thread has to know stands in its owner's struct, which
 *           outlives it. A thread that never allocates costs no allocator's
 *           cache: several KiB each with jemalloc.
 * Signals.  The mask is inherited, so the creator blocks the asynchronous ones
 *           while it creates and then has its own mask back: there is no
 *           instant at which the new thread could take one. Those that report
 *           a fault of the thread itself stay as the creator has them; blocked,
 *           they would kill the process before its crash handler ran.
 * Failure.  No thread, no memory: nothing has happened. Name, affinity and
 *           policy are set by the thread on itself; a refusal is logged.
 * Rejected. Affinity and policy as attributes of pthread_create: a refusal
 *           would then fail the start, with no word about which it was. */
#include "os/thread.h"

#include <vivero/error.h>

#include "base/check.h"
#include "base/log.h"
#include "os/cpu.h"
#include "os/mutex.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#define STACK_DEFAULT ((size_t)256 * 1024)
#define GUARD_SIZE ((size_t)64 * 1024)

static void log_refusal(const struct vv_thread *thread, const char *what,
                        const char *why)
{
    const struct vivero_log_field fields[] = {{"refused", what},
                                              {"error", why}};

    vv_log(VIVERO_LOG_WARNING, "os",
           thread->name[0] != '\0' ? thread->name : NULL, fields,
           sizeof(fields) / sizeof(fields[0]),
           "the system refused a thread's %s", what);
}

static const char *reason_of(int system_error)
{
    return vivero_error_name(system_error == EPERM ? VIVERO_E_DENIED
                                                   : VIVERO_E_INVALID);
}

static void apply(const struct vv_thread *thread)
{
    const struct sched_param parameters = {.sched_priority = thread->priority};
    int failed;

    if (thread->name[0] != '\0') {
        failed = pthread_setname_np(pthread_self(), thread->name);
        if (failed != 0) {
            log_refusal(thread, "name", reason_of(failed));
        }
    }
    if (thread->cpu_count > 0) {
        failed = vv_cpu_pin_self(thread->cpus, thread->cpu_count);
        if (failed != VIVERO_OK) {
            log_refusal(thread, "affinity", vivero_error_name(failed));
        }
    }
    if (thread->policy != 0) {
        failed =
            pthread_setschedparam(pthread_self(), thread->policy, &parameters);
        if (failed != 0) {
            log_refusal(thread, "policy", reason_of(failed));
        }
    }
}

static void *thread_main(void *arg)
{
    const struct vv_thread *thread = arg;
    vv_thread_fn *run = thread->run;
    void *ctx = thread->ctx;

    apply(thread);
    run(ctx);
    return NULL;
}

/* ------------------------------------------------------------------------ */
/* Starting                                                                 */
/* ------------------------------------------------------------------------ */

static void describe(struct vv_thread *thread,
                     const struct vv_thread_options *options, vv_thread_fn *run,
                     void *ctx)
{
    memset(thread, 0, sizeof(*thread));
    thread->run = run;
    thread->ctx = ctx;
    thread->policy = options->policy;
    thread->priority = options->priority;
    if (options->name != NULL) {
        memcpy(thread->name, options->name,
               strnlen(options->name, VV_THREAD_NAME_SIZE - 1));
    }
    if (options->cpus != NULL) {
        thread->cpus = options->cpus;
        thread->cpu_count = options->cpu_count;
    }
}

/* In whole pages: some systems refuse anything else. The guard comes on top. */
static size_t stack_bytes(size_t wanted)
{
    const long page = sysconf(_SC_PAGESIZE);
    const size_t unit = page > 0 ? (size_t)page : 4096;
    const long system_minimum = sysconf(_SC_THREAD_STACK_MIN);
    const size_t minimum =
        system_minimum > 0 ? (size_t)system_minimum : (size_t)16384;
    size_t size = wanted == 0 ? STACK_DEFAULT : wanted;

    if (size < minimum) {
        size = minimum;
    }
    if (size > SIZE_MAX - unit) {
        return 0; /* no memory is that large: refused below */
    }
    return (size + unit - 1) / unit * unit;
}

static int error_of(int system_error)
{
    switch (system_error) {
    case 0:
        return VIVERO_OK;
    case EAGAIN:
        return VIVERO_E_LIMIT;
    case ENOMEM:
        return VIVERO_E_NO_MEMORY;
    default:
        return VIVERO_E_INVALID;
    }
}

static int create(struct vv_thread *thread, size_t stack_size)
{
    pthread_attr_t attributes;
    int failed = pthread_attr_init(&attributes);

    if (failed != 0) {
        return error_of(failed);
    }
    failed = pthread_attr_setstacksize(&attributes, stack_bytes(stack_size));
    if (failed == 0) {
        failed = pthread_attr_setguardsize(&attributes, GUARD_SIZE);
    }
    if (failed == 0) {
        failed = pthread_create(&thread->id, &attributes, thread_main, thread);
    }
    (void)pthread_attr_destroy(&attributes);
    return error_of(failed);
}

static void block_asynchronous_signals(sigset_t *before)
{
    static const int of_the_thread[] = {SIGSEGV, SIGBUS,  SIGFPE, SIGILL,
                                        SIGABRT, SIGTRAP, SIGSYS};
    sigset_t asynchronous;

    (void)sigfillset(&asynchronous);
    for (size_t i = 0; i < sizeof(of_the_thread) / sizeof(int); i++) {
        (void)sigdelset(&asynchronous, of_the_thread[i]);
    }
    (void)pthread_sigmask(SIG_BLOCK, &asynchronous, before);
}

/* ------------------------------------------------------------------------ */
/* The seam for tests                                                       */
/* ------------------------------------------------------------------------ */

/* atomic: starts that succeed, times 2^32, plus those that then fail */
static _Atomic uint64_t planned_failures;

void vv_thread_fail_starts(uint32_t after, uint32_t count)
{
    /* relaxed: one word, nothing behind it. */
    atomic_store_explicit(&planned_failures, (uint64_t)after << 32 | count,
                          memory_order_relaxed);
}

static bool start_shall_fail(void)
{
    /* relaxed: one word, nothing behind it. */
    uint64_t plan =
        atomic_load_explicit(&planned_failures, memory_order_relaxed);
    uint64_t next;

    do {
        if ((uint32_t)plan == 0) {
            return false;
        }
        next = plan >> 32 != 0 ? plan - (UINT64_C(1) << 32) : plan - 1;
        /* relaxed: as above. */
    } while (!atomic_compare_exchange_weak_explicit(&planned_failures, &plan,
                                                    next, memory_order_relaxed,
                                                    memory_order_relaxed));
    return plan >> 32 == 0;
}

/* ------------------------------------------------------------------------ */
/* The contract                                                             */
/* ------------------------------------------------------------------------ */

int vv_thread_start(struct vv_thread *thread,
                    const struct vv_thread_options *options, vv_thread_fn *run,
                    void *ctx)
{
    sigset_t before;
    int error;

    if (start_shall_fail()) {
        return VIVERO_E_LIMIT;
    }
    describe(thread, options, run, ctx);
    block_asynchronous_signals(&before);
    error = create(thread, options->stack_size);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

void vv_thread_join(struct vv_thread *thread)
{
    const int failed = pthread_join(thread->id, NULL);

    VV_CHECK(failed == 0, "internal: pthread_join: error %d of the system",
             failed);
}

void vv_thread_detach(struct vv_thread *thread)
{
    const int failed = pthread_detach(thread->id);

    VV_CHECK(failed == 0, "internal: pthread_detach: error %d of the system",
             failed);
}

bool vv_thread_is_self(const struct vv_thread *thread)
{
    return pthread_equal(thread->id, pthread_self()) != 0;
}

/* ------------------------------------------------------------------------ */
/* Threads nobody waits for                                                 */
/* ------------------------------------------------------------------------ */

/* A thread cannot join itself, so each joins the one that ended before it and
 * leaves itself to the next: at most one is left over, and whoever wants to be
 * sure joins that. */
static struct vv_mutex heirs = VV_MUTEX_INIT(VV_RANK_HEIRS);
static pthread_cond_t joined = PTHREAD_COND_INITIALIZER;
/* guarded by heirs */
static pthread_t left_over;
static bool has_left_over;
static uint32_t joining;

void vv_thread_bequeath(void)
{
    pthread_t before = pthread_self();
    bool had;

    vv_mutex_lock(&heirs);
    had = has_left_over;
    if (had) {
        before = left_over;
    }
    left_over = pthread_self();
    has_left_over = true;
    vv_mutex_unlock(&heirs);
    if (had) {
        (void)pthread_join(before, NULL);
    }
}

void vv_thread_reap(void)
{
    vv_mutex_lock(&heirs);
    while (has_left_over || joining > 0) {
        if (has_left_over) {
            pthread_t last = left_over;

            has_left_over = false;
            joining++;
            vv_mutex_unlock(&heirs);
            (void)pthread_join(last, NULL);
            vv_mutex_lock(&heirs);
            joining--;
            (void)pthread_cond_broadcast(&joined);
        } else {
            (void)pthread_cond_wait(&joined, &heirs.mutex);
        }
    }
    vv_mutex_unlock(&heirs);
}

/* A program that ends, or lets go of the library, need not care for the thread
 * that ended last. It is past all it had to do. */
static __attribute__((destructor)) void reap_the_last(void)
{
    if (!vv_forked()) {
        vv_thread_reap();
    }
}

/* ------------------------------------------------------------------------ */
/* fork()                                                                   */
/* ------------------------------------------------------------------------ */

static _Atomic uint32_t watches; /* not yet taken back */
static _Atomic bool forked;

static void child_after_fork(void)
{
    /* relaxed: this thread is the only one. */
    if (atomic_load_explicit(&watches, memory_order_relaxed) > 0) {
        atomic_store_explicit(&forked, true, memory_order_relaxed);
    }
}

static void register_fork_handler(void)
{
    if (pthread_atfork(NULL, NULL, child_after_fork) != 0) {
        vv_log(VIVERO_LOG_WARNING, "os", NULL, NULL, 0,
               "no memory to watch for fork()");
    }
}

void vv_fork_watch(void)
{
    /* A handler cannot be taken back, so there is one for all watches. */
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, register_fork_handler);
    /* relaxed: read in a child of this thread, or of one that was told. */
    atomic_fetch_add_explicit(&watches, 1, memory_order_relaxed);
}

void vv_fork_unwatch(void)
{
    /* relaxed: as above. */
    atomic_fetch_sub_explicit(&watches, 1, memory_order_relaxed);
}

bool vv_forked(void)
{
    /* relaxed: written before this process had a second thread. */
    return atomic_load_explicit(&forked, memory_order_relaxed);
}
