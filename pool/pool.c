/* SPDX-License-Identifier: MIT */
/* pool: like workers behind one handle.
 *
 * Model.    The handle is a place in a static table that is never freed, so a
 *           call on a closed pool is recognised. Behind it stands the pool: a
 *           crew of seats, a worker in each, a supervisor that starts and
 *           restarts them. This file opens and closes; pool_keeper.c is what the
 *           supervisor does to the workers.
 * Threads.  The supervisor's ("NAME/keeper") and one per worker; none else.
 * Invariants.
 *   I1 The phase only moves forward. Before it says so to anybody, the mailboxes
 *      are closed: what was accepted is handled, or told.
 *   I2 The pool is freed by its last reference: the handle's, or that of a
 *      thread which was abandoned.
 * Locks.    lock (VV_RANK_POOL): children, size changes. Supervisor and worker
 *           ranks are below it. Never held over a callback.
 * Sync.     pool.handle: an opened pool is whole. pool.phase: what led to a
 *           phase (the reason of DOWN) is seen with it.
 * Shutdown. 1 the phase says CLOSING; 2 mailboxes close, who waits for room
 *           leaves; 3 what is queued is answered CLOSING; 4 the supervisor stops
 *           the workers, each after its running message; 5 at the deadline the
 *           ones still running are abandoned and their callers told; 6 threads
 *           are joined; 7 callers that were inside have left. A worker that
 *           somebody tries to start in between is refused by decide().
 * Rejected. Counting users of the handle: two contended writes per message. */
#include <vivero/error.h>

#include "base/check.h"
#include "base/log.h"
#include "base/options.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "pool/pool_private.h"

#include <stdio.h>
#include <string.h>

#define HANDLES_MAX 65536u
#define DEPTH_DEFAULT 1024u
#define DEPTH_MAX (UINT32_C(1) << 20)
#define WORKERS_MAX_DEFAULT 64u
#define CALL_TIMEOUT_DEFAULT VIVERO_SECONDS(5)
#define RESTARTS_DEFAULT 3
#define RESTARTS_MAX 1000000
#define PERIOD_DEFAULT VIVERO_SECONDS(5)
#define BACKOFF_MAX_DEFAULT VIVERO_SECONDS(1)
#define SPIN_DEFAULT VIVERO_MICROSECONDS(50)
#define SPIN_PAUSES 4u
#define SHUTDOWN_DEFAULT VIVERO_SECONDS(5)

VV_NO_TAIL_PADDING(struct vivero_pool_options, seed);
VV_NO_TAIL_PADDING(struct vivero_send, message);

static struct vv_mutex handles_lock = VV_MUTEX_INIT(VV_RANK_RUNTIME);
static struct vivero_pool handles[HANDLES_MAX]; /* entries: atomic */
static uint32_t next_handle;                    /* guarded by handles_lock */
static _Atomic uint32_t abandoned;

/* ---- Handles ------------------------------------------------------------------------ */

static void set_pool(struct vivero_pool *handle, struct vv_pool *pool)
{
    /* sync(pool.handle): the pool is whole. */
    atomic_store_explicit(&handle->pool, pool, memory_order_release);
}

static int take_handle(struct vv_pool *pool)
{
    int error = VIVERO_E_LIMIT;

    vv_mutex_lock(&handles_lock);
    for (uint32_t i = 0; i < HANDLES_MAX && error != VIVERO_OK; i++) {
        struct vivero_pool *handle = &handles[(next_handle + i) % HANDLES_MAX];

        if (vv_pool_of(handle) == NULL) {
            next_handle = (next_handle + i + 1) % HANDLES_MAX;
            pool->handle = handle;
            set_pool(handle, pool);
            error = VIVERO_OK;
        }
    }
    vv_mutex_unlock(&handles_lock);
    return error;
}

void vv_pool_refuse_own_threads(const struct vv_pool_visit *visit,
                                const char *what)
{
    const struct vivero_entity *worker = visit->here->worker;

    VV_CHECK(worker == NULL || vv_worker_spec_of(worker)->owner != visit->pool,
             "%s() on pool %s from inside one of its own handlers", what,
             visit->pool->name);
    VV_CHECK(!vv_supervisor_is_self(&visit->pool->supervisor),
             "%s() on pool %s from its supervisor's thread", what,
             visit->pool->name);
}

struct vivero_pool *vivero_pool_current(void)
{
    const struct vivero_entity *worker = vv_here()->worker;
    const struct vv_pool *pool =
        worker != NULL ? vv_worker_spec_of(worker)->owner : NULL;

    return pool != NULL ? pool->handle : NULL;
}

const char *vivero_pool_name(const struct vivero_pool *handle)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_name");

    vv_pool_leave(&visit);
    return visit.pool->name;
}

uint32_t vivero_pool_size(const struct vivero_pool *handle)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_size");
    uint32_t size = vv_pool_staff(visit.pool);

    vv_pool_leave(&visit);
    return size;
}

uint32_t vivero_abandoned_threads(void)
{
    /* relaxed: a number to look at. */
    return atomic_load_explicit(&abandoned, memory_order_relaxed);
}

void vv_pool_count_abandoned(int change)
{
    /* relaxed: a number to look at. */
    atomic_fetch_add_explicit(&abandoned, (uint32_t)change,
                              memory_order_relaxed);
}

/* ---- Phases --------------------------------------------------------------------------- */

enum vv_pool_phase vv_pool_phase(const struct vv_pool *pool)
{
    /* sync(pool.phase): and what led to it; seq_cst, total order because who
     * ends a phase advances it and then closes the mailboxes, who opens one
     * then looks at the phase. */
    return (enum vv_pool_phase)atomic_load_explicit(&pool->phase,
                                                    memory_order_seq_cst);
}

bool vv_pool_advance(struct vv_pool *pool, enum vv_pool_phase phase)
{
    /* relaxed: a guess for the exchange. */
    uint32_t now = atomic_load_explicit(&pool->phase, memory_order_relaxed);

    while (now < (uint32_t)phase) {
        /* sync(pool.phase): what led to it; seq_cst as above. */
        if (atomic_compare_exchange_weak_explicit(
                &pool->phase, &now, (uint32_t)phase, memory_order_seq_cst,
                memory_order_seq_cst)) {
            return true;
        }
    }
    return false;
}

int vv_pool_refusal(struct vv_pool *pool, struct vv_here *here)
{
    switch (vv_pool_phase(pool)) {
    case VV_POOL_DRAINING:
        return VIVERO_E_DRAINING;
    case VV_POOL_DOWN:
        here->last_exit = pool->down_exit;
        return VIVERO_E_DOWN;
    case VV_POOL_OPENING:
        return VIVERO_E_AGAIN;
    case VV_POOL_OPEN:
        /* Mailboxes close a moment before the phase says why. */
    case VV_POOL_HALTED:
    case VV_POOL_CLOSING:
        break;
    }
    return VIVERO_E_CLOSING;
}

void vv_pool_close_mailboxes(struct vv_pool *pool)
{
    uint32_t used = vv_crew_used(&pool->crew);

    for (uint32_t i = 0; i < used; i++) {
        vv_mailbox_close(vv_crew_seat(&pool->crew, i)->mailbox);
    }
    vv_space_wake(&pool->crew.space);
}

uint32_t vv_pool_flush(struct vv_pool *pool, int result,
                       const struct vivero_exit *exit, enum vv_settled how)
{
    uint32_t used = vv_crew_used(&pool->crew);
    uint32_t count = 0;

    for (uint32_t i = 0; i < used; i++) {
        count += vv_mailbox_flush(vv_crew_seat(&pool->crew, i)->mailbox, result,
                                  exit, how);
    }
    vv_crew_poke_quiet(&pool->crew);
    return count;
}

/* ---- Options ------------------------------------------------------------------------------ */

void vivero_pool_options_init(struct vivero_pool_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

void vivero_send_init(struct vivero_send *send)
{
    memset(send, 0, sizeof(*send));
    send->size = sizeof(*send);
}

static void set_default_u32(uint32_t *field, uint32_t value)
{
    if (*field == 0) {
        *field = value;
    }
}

/* NONE is allowed where none is true. False: not a valid length. */
static bool set_default_time(int64_t *field, int64_t value, bool none)
{
    if (*field == 0) {
        *field = value;
    } else if (*field == VIVERO_NONE && none) {
        *field = 0;
    }
    return *field >= 0;
}

static bool fill_times(struct vivero_pool_options *options)
{
    return set_default_time(&options->call_timeout_ns, CALL_TIMEOUT_DEFAULT,
                            true) &&
           set_default_time(&options->restart_period_ns, PERIOD_DEFAULT,
                            false) &&
           set_default_time(&options->backoff_ns, 0, true) &&
           set_default_time(&options->backoff_max_ns, BACKOFF_MAX_DEFAULT,
                            false) &&
           set_default_time(&options->spin_ns, SPIN_DEFAULT, true) &&
           set_default_time(&options->linger_ns, 0, true) &&
           set_default_time(&options->shutdown_ns, SHUTDOWN_DEFAULT, true);
}

static bool fill_sizes(struct vivero_pool_options *options)
{
    uint32_t cpus = vv_cpu_usable();

    if (options->workers == 0) {
        options->workers =
            options->workers_max > 0 && options->workers_max < cpus
                ? options->workers_max
                : cpus;
    }
    set_default_u32(&options->workers_max,
                    options->workers > WORKERS_MAX_DEFAULT
                        ? options->workers
                        : WORKERS_MAX_DEFAULT);
    set_default_u32(&options->mailbox_depth, DEPTH_DEFAULT);
    return options->workers <= options->workers_max &&
           options->workers_max <= VV_SEATS_MAX &&
           options->mailbox_depth <= DEPTH_MAX;
}

static bool fill_policies(struct vivero_pool_options *options)
{
    if (options->full_call == VIVERO_FULL_DEFAULT) {
        options->full_call = VIVERO_FULL_WAIT;
    }
    if (options->full_cast == VIVERO_FULL_DEFAULT) {
        options->full_cast = VIVERO_FULL_REJECT;
    }
    return (unsigned)options->full_call <= VIVERO_FULL_DROP_NEWEST &&
           (unsigned)options->full_cast <= VIVERO_FULL_DROP_NEWEST &&
           (unsigned)options->pick <= VIVERO_PICK_KEY;
}

static bool fill_restarts(struct vivero_pool_options *options)
{
    if (options->restarts_max == 0) {
        options->restarts_max = RESTARTS_DEFAULT;
    } else if (options->restarts_max == VIVERO_NONE) {
        options->restarts_max = 0;
    }
    return options->restarts_max == VIVERO_UNLIMITED ||
           (options->restarts_max >= 0 &&
            options->restarts_max <= RESTARTS_MAX);
}

/* "%s" at most once, then "%u" at most once, no other "%". */
static bool is_thread_template(const char *text)
{
    const char *allowed = "su";

    for (; *text != '\0'; text++) {
        if (*text == '%') {
            const char *found =
                text[1] != '\0' ? strchr(allowed, text[1]) : NULL;

            if (found == NULL) {
                return false;
            }
            allowed = found + 1;
            text++;
        }
    }
    return true;
}

static bool fill_threads(struct vivero_pool_options *options)
{
    if (options->thread_name == NULL) {
        options->thread_name = "%s/%u";
    }
    return is_thread_template(options->thread_name) &&
           (options->cpus == NULL) == (options->cpu_count == 0);
}

static int fill_options(struct vv_pool *pool,
                        const struct vivero_pool_options *options,
                        const size_t *payload_size)
{
    struct vivero_pool_options *mine = &pool->options;
    int error = vv_options_copy(mine, sizeof(*mine), options);

    if (error != VIVERO_OK) {
        return error;
    }
    if (payload_size != NULL) {
        mine->payload_size = *payload_size;
    }
    if (!fill_sizes(mine) || !fill_policies(mine) || !fill_times(mine) ||
        !fill_restarts(mine) || !fill_threads(mine)) {
        return VIVERO_E_INVALID;
    }
    (void)snprintf(pool->name, sizeof(pool->name), "%s",
                   mine->name != NULL ? mine->name : "pool");
    return VIVERO_OK;
}

/* ---- Open --------------------------------------------------------------------------------------- */

/* The strings and the CPUs of the options belong to the caller. */
static int copy_borrowed(struct vv_pool *pool)
{
    struct vivero_pool_options *options = &pool->options;
    size_t name_size = strlen(options->thread_name) + 1;
    char *name = vv_allocate(&pool->account, name_size, 1);
    uint16_t *cpus = NULL;

    if (name == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    memcpy(name, options->thread_name, name_size);
    if (options->cpu_count > 0) {
        cpus = vv_allocate(&pool->account, options->cpu_count * sizeof(*cpus),
                           _Alignof(uint16_t));
        if (cpus == NULL) {
            vv_release(&pool->account, name, name_size, 1);
            return VIVERO_E_NO_MEMORY;
        }
        memcpy(cpus, options->cpus, options->cpu_count * sizeof(*cpus));
    }
    options->name = pool->name;
    options->thread_name = name;
    options->cpus = cpus;
    return VIVERO_OK;
}

static void release_borrowed(struct vv_pool *pool)
{
    struct vivero_pool_options *options = &pool->options;

    vv_release(&pool->account, (void *)(uintptr_t)options->cpus,
               options->cpu_count * sizeof(*options->cpus), _Alignof(uint16_t));
    vv_release(&pool->account, (void *)(uintptr_t)options->thread_name,
               strlen(options->thread_name) + 1, 1);
}

static void fill_spec(struct vv_pool *pool)
{
    const struct vivero_pool_options *options = &pool->options;

    pool->spec = (struct vv_worker_spec){
        .family = pool->name,
        .payload_size = options->payload_size,
        .init = options->init,
        .terminate = options->terminate,
        .destroy = options->destroy,
        .ctx = options->ctx,
        .linger_ns = options->linger_ns,
        .thread = {.stack_size = options->stack_size,
                   .cpus = options->cpus,
                   .cpu_count = options->cpu_count,
                   .policy = options->scheduling_policy,
                   .priority = options->scheduling_priority},
        .thread_name = options->thread_name,
        .on_thread_start = options->on_thread_start,
        .on_thread_stop = options->on_thread_stop,
        .runner = options->runner,
        .thread_ctx = options->thread_ctx,
        .news = vv_pool_news,
        .owner = pool,
        .account = &pool->account};
}

/* One CPU: looking is giving way, without pauses. */
static struct vv_spin spin_of(const struct vivero_pool_options *options)
{
    struct vv_spin spin = {options->spin_ns,
                           vv_cpu_usable() > 1 ? SPIN_PAUSES : 0};

    return spin;
}

static struct vv_decide_options
decide_options(const struct vivero_pool_options *options)
{
    struct vv_decide_options decide = {
        .children_max = options->workers_max,
        .intensity = options->restarts_max == VIVERO_UNLIMITED
                         ? VV_INTENSITY_UNLIMITED
                         : (uint32_t)options->restarts_max,
        .budget_per_child = options->restarts_per_worker,
        .period_ns = options->restart_period_ns,
        .backoff_ns = options->backoff_ns,
        .backoff_max_ns = options->backoff_max_ns,
        .seed = options->seed};

    return decide;
}

static size_t children_size(const struct vv_pool *pool)
{
    return pool->options.workers_max * sizeof(struct vv_pool_child);
}

static int open_parts(struct vv_pool *pool)
{
    const struct vv_spin spin = spin_of(&pool->options);
    int error = copy_borrowed(pool);

    if (error != VIVERO_OK) {
        return error;
    }
    pool->children =
        vv_allocate(&pool->account, children_size(pool), _Alignof(max_align_t));
    error = pool->children == NULL
                ? VIVERO_E_NO_MEMORY
                : vv_crew_init(&pool->crew, pool->options.workers_max, &spin,
                               &pool->account);
    if (error != VIVERO_OK) {
        vv_release(&pool->account, pool->children, children_size(pool),
                   _Alignof(max_align_t));
        release_borrowed(pool);
    }
    return error;
}

static void close_parts(struct vv_pool *pool)
{
    for (uint32_t i = 0; i < pool->options.workers_max; i++) {
        vv_worker_free(pool->children[i].worker);
    }
    vv_crew_fini(&pool->crew);
    vv_release(&pool->account, pool->children, children_size(pool),
               _Alignof(max_align_t));
    release_borrowed(pool);
}

static int open_supervisor(struct vv_pool *pool)
{
    const struct vv_decide_options decide = decide_options(&pool->options);
    char name[48];

    (void)snprintf(name, sizeof(name), "%.8s/keeper", pool->name);
    return vv_supervisor_open(&pool->supervisor, name, &decide,
                              &vv_pool_supervisor_ops, pool, &pool->account);
}

static int new_pool(struct vv_pool **fresh)
{
    struct vv_pool *pool;
    int error;

    vv_memory_retain();
    error = vv_reply_retain();
    if (error != VIVERO_OK) {
        vv_memory_release();
        return error;
    }
    pool = vv_allocate(NULL, sizeof(*pool), VV_CACHELINE);
    if (pool == NULL) {
        vv_reply_release();
        vv_memory_release();
        return VIVERO_E_NO_MEMORY;
    }
    vv_fork_watch();
    vv_mutex_init(&pool->lock, VV_RANK_POOL);
    /* relaxed: nobody else knows the pool. */
    atomic_store_explicit(&pool->references, 1, memory_order_relaxed);
    *fresh = pool;
    return VIVERO_OK;
}

static void free_pool(struct vv_pool *pool)
{
    vv_mutex_fini(&pool->lock);
    if (pool->account.arena != 0) {
        vv_account_close_arena(&pool->account);
    }
    vv_release(NULL, pool, sizeof(*pool), VV_CACHELINE);
    vv_fork_unwatch();
    vv_reply_release();
    vv_memory_release();
}

void vv_pool_release(struct vv_pool *pool)
{
    /* sync(pool.references): the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&pool->references, 1, memory_order_acq_rel) ==
        1) {
        if (pool->supervised) {
            vv_supervisor_close(&pool->supervisor);
        }
        close_parts(pool);
        vv_cond_fini(&pool->changed);
        free_pool(pool);
    }
}

static int start_workers(struct vv_pool *pool)
{
    uint32_t up = 0;
    int error = vv_pool_add_workers(pool, 0, pool->options.workers, &up);

    if (error == VIVERO_OK) {
        vv_crew_set_size(&pool->crew, pool->options.workers);
        (void)vv_pool_advance(pool, VV_POOL_OPEN);
    }
    return error;
}

/* A handle and a supervisor; undone on failure. */
static int open_keeper(struct vv_pool *pool)
{
    int error = take_handle(pool);

    if (error == VIVERO_OK) {
        fill_spec(pool);
        error = open_supervisor(pool);
        pool->supervised = error == VIVERO_OK;
        if (error != VIVERO_OK) {
            set_pool(pool->handle, NULL);
        }
    }
    return error;
}

/* From options that are filled in; whatever fails, the pool is freed. */
static int open_pool(struct vv_pool *pool)
{
    int error = vv_cond_init(&pool->changed);

    if (error != VIVERO_OK) {
        free_pool(pool);
        return error;
    }
    error = open_parts(pool);
    if (error != VIVERO_OK) {
        vv_cond_fini(&pool->changed);
        free_pool(pool);
        return error;
    }
    error = open_keeper(pool);
    if (error != VIVERO_OK) {
        vv_pool_release(pool);
        return error;
    }
    error = start_workers(pool);
    if (error != VIVERO_OK) {
        pool->options.shutdown_ns = VIVERO_FOREVER;
        (void)vivero_pool_close(pool->handle);
    }
    return error;
}

static int open_with(const struct vivero_pool_options *options,
                     const size_t *payload_size, struct vivero_pool **handle)
{
    struct vv_pool *pool;
    int error;

    VV_CHECK(handle != NULL, "vivero_pool_open(): the place for the pool is "
                             "NULL");
    if (vv_forked()) {
        return VIVERO_E_FORKED;
    }
    error = new_pool(&pool);
    if (error != VIVERO_OK) {
        return error;
    }
    error = fill_options(pool, options, payload_size);
    if (error == VIVERO_OK && pool->options.arena) {
        error = vv_account_open_arena(&pool->account);
    }
    if (error != VIVERO_OK) {
        free_pool(pool);
        return error;
    }
    error = open_pool(pool);
    if (error == VIVERO_OK) {
        *handle = pool->handle;
        vv_log(VIVERO_LOG_INFO, "pool", pool->name, NULL, 0,
               "opened with %u workers", vv_crew_size(&pool->crew));
    }
    return error;
}

int vivero_pool_open(const struct vivero_pool_options *options,
                     struct vivero_pool **pool)
{
    return open_with(options, NULL, pool);
}

int vivero_pool_open_payload(const struct vivero_pool_options *options,
                             size_t payload_size, struct vivero_pool **pool)
{
    return open_with(options, &payload_size, pool);
}

/* ---- Close -------------------------------------------------------------------------------------- */

static bool is_gone(const struct vv_pool *pool)
{
    return pool->gone;
}

/* Wait until the supervisor has seen all workers off. False: the deadline. */
static bool wait_until_gone(struct vv_pool *pool, int64_t deadline_ns)
{
    bool gone;

    vv_mutex_lock(&pool->lock);
    while (!is_gone(pool) &&
           vv_cond_wait_until(&pool->changed, &pool->lock, deadline_ns)) {
    }
    gone = is_gone(pool);
    vv_mutex_unlock(&pool->lock);
    return gone;
}

static void stop_workers(struct vv_pool *pool)
{
    vv_supervisor_tell(&pool->supervisor, &pool->stop_notice, 0, VV_EVENT_STOP,
                       NULL);
    for (uint32_t i = 0; i < pool->options.workers_max; i++) {
        /* A worker that lingers after a resize is told by nobody else. */
        if (pool->children[i].worker != NULL) {
            vv_worker_command(pool->children[i].worker, VV_COMMAND_STOP);
        }
    }
}

void vv_pool_retain(struct vv_pool *pool)
{
    /* relaxed: the caller keeps it from being freed as it is. */
    atomic_fetch_add_explicit(&pool->references, 1, memory_order_relaxed);
}

static void abandon(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];

    vv_pool_retain(pool);
    vv_pool_count_abandoned(1);
    if (!vv_worker_abandon(child->worker)) {
        /* It leaves by itself after all, and has said so or is about to. */
        vv_pool_count_abandoned(-1);
        vv_pool_release(pool);
        return;
    }
    vv_log(VIVERO_LOG_ERROR, "pool", pool->name, NULL, 0,
           "worker %u did not end in time and was abandoned", index + 1);
    vv_supervisor_tell(&pool->supervisor, &child->notices[VV_NOTICE_SELF],
                       index, VV_EVENT_FINISHED, NULL);
}

/* Whether a thread runs the worker. Nothing is started any more, and one that
 * lost its thread is seen off by the supervisor. */
static bool has_carrier(struct vv_pool *pool, uint32_t index)
{
    bool has;

    vv_mutex_lock(&pool->lock);
    while (!pool->stop_heard) {
        vv_cond_wait(&pool->changed, &pool->lock);
    }
    has = pool->children[index].has_carrier &&
          !vv_worker_lost_thread(pool->children[index].worker);
    vv_mutex_unlock(&pool->lock);
    return has;
}

static int see_workers_off(struct vv_pool *pool)
{
    int64_t deadline =
        vv_deadline_after(vivero_now(), pool->options.shutdown_ns);

    if (wait_until_gone(pool, deadline)) {
        return VIVERO_OK;
    }
    for (uint32_t i = 0; i < pool->options.workers_max; i++) {
        if (has_carrier(pool, i)) {
            abandon(pool, i);
        }
    }
    (void)wait_until_gone(pool, VIVERO_FOREVER);
    return VIVERO_E_TIMED_OUT;
}

static void join_threads(struct vv_pool *pool)
{
    vv_supervisor_join(&pool->supervisor);
    for (uint32_t i = 0; i < pool->options.workers_max; i++) {
        if (pool->children[i].worker != NULL) {
            vv_worker_join(pool->children[i].worker);
        }
    }
}

/* Callers inside are on their way out. One may wait for an abandoned worker
 * that had just taken its message when we looked before. */
static void see_callers_off(struct vv_pool *pool)
{
    while (vv_here_somebody_inside(pool)) {
        for (uint32_t i = 0; i < pool->options.workers_max; i++) {
            if (pool->children[i].worker != NULL) {
                vv_worker_fence(pool->children[i].worker);
            }
        }
        vv_cpu_yield();
    }
}

int vivero_pool_close(struct vivero_pool *handle)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_close");
    struct vv_pool *pool = visit.pool;
    int error;

    if (vv_forked()) {
        vv_pool_leave(&visit);
        return VIVERO_E_FORKED;
    }
    vv_pool_refuse_own_threads(&visit, "vivero_pool_close");
    (void)vv_pool_advance(pool, VV_POOL_CLOSING);
    vv_pool_close_mailboxes(pool);
    (void)vv_pool_flush(pool, VIVERO_E_CLOSING, NULL, VV_SETTLED_DEAD);
    vv_crew_poke_quiet(&pool->crew);
    stop_workers(pool);
    error = see_workers_off(pool);
    join_threads(pool);
    set_pool(handle, NULL);
    vv_pool_leave(&visit);
    see_callers_off(pool);
    vv_log(VIVERO_LOG_INFO, "pool", pool->name, NULL, 0, "closed");
    vv_pool_release(pool);
    return error;
}
