/* SPDX-License-Identifier: MIT */
/* pool: like workers behind one handle.
 *
 * Model.    Behind a handle (pool_handle.c) stands the pool: a crew of seats, a
 *           worker in each, a supervisor that starts and restarts them. This
 *           file opens; pool_close.c closes; pool_keeper.c is what the supervisor
 *           does to the workers; pool_child.c has pools that other supervisors
 *           open and close.
 * Threads.  The supervisor's ("NAME/keeper") and one per worker; none else.
 * Invariants.
 *   I1 The phase only moves forward. Before it says so to anybody, the mailboxes
 *      are closed: what was accepted is handled, or told.
 *   I2 The pool is freed by its last reference: the handle's, or that of a
 *      thread which was abandoned.
 * Locks.    lock (VV_RANK_POOL): children, size changes, which worker has which
 *           seat. Supervisor and worker ranks are below it. Never held over a callback.
 * Sync.     pool.phase: what led to a phase (the reason of DOWN) is seen with it.
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
#include "os/clock.h"
#include "os/cpu.h"
#include "os/thread.h"
#include "pool/pool_private.h"

#include <stdio.h>
#include <string.h>

#define SPIN_PAUSES 4u

/* ---- Who asks ----------------------------------------------------------------------- */

void vv_pool_refuse_own_threads(const struct vv_pool_visit *visit,
                                const char *what)
{
    const struct vivero_entity *worker = visit->here->worker;

    VV_CHECK(worker == NULL || vv_worker_spec_of(worker)->owner != visit->pool,
             "%s() on pool %s from inside one of its own handlers", what,
             visit->pool->name);
    VV_CHECK(!vv_loop_is_self(&visit->pool->supervisor),
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
    return visit.pool->public_name;
}

uint32_t vivero_pool_size(const struct vivero_pool *handle)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_size");
    uint32_t size = vv_pool_staff(visit.pool);

    vv_pool_leave(&visit);
    return size;
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

/* What a worker's next incarnation would have run first. */
static uint32_t flush_again(struct vv_pool *pool, uint32_t index, int result,
                            const struct vivero_exit *exit, enum vv_settled how)
{
    struct vv_message message;
    bool kept;

    if (pool->options.retries == 0) {
        return 0;
    }
    vv_mutex_lock(&pool->lock);
    kept = vv_worker_take_kept(vv_pool_worker(pool, index), &message);
    vv_mutex_unlock(&pool->lock);
    if (kept) {
        vv_mailbox_end(vv_crew_seat(&pool->crew, index)->mailbox, &message,
                       result, exit, how);
    }
    return kept ? 1 : 0;
}

uint32_t vv_pool_flush(struct vv_pool *pool, int result,
                       const struct vivero_exit *exit, enum vv_settled how)
{
    uint32_t used = vv_crew_used(&pool->crew);
    uint32_t count = 0;

    for (uint32_t i = 0; i < used; i++) {
        count += vv_mailbox_flush(vv_crew_seat(&pool->crew, i)->mailbox, result,
                                  exit, how);
        count += flush_again(pool, i, result, exit, how);
    }
    vv_crew_poke_quiet(&pool->crew);
    return count;
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
        .within = pool->child,
        .account = &pool->account,
        .retries = options->retries,
        .commits = options->state == VIVERO_STATE_COMMIT,
        .flushes = options->mailbox == VIVERO_MAILBOX_FLUSH,
        .nudge_signal = options->nudge_signal,
        .drains = pool->drains,
        .contain_max = pool->contains ? options->fault_budget : 0};
    vv_pool_fill_watch(pool);
    vv_pool_fill_dead(pool);
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
        .strategy = VV_CREW,
        .intensity = options->restarts_max == VIVERO_UNLIMITED
                         ? VV_INTENSITY_UNLIMITED
                         : (uint32_t)options->restarts_max,
        .period_ns = options->restart_period_ns,
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
        vv_budget_fini(&pool->children[i].budget, &pool->account);
        vv_worker_free(vv_pool_worker(pool, i));
    }
    vv_pool_free_spares(pool);
    vv_crew_fini(&pool->crew);
    vv_release(&pool->account, pool->children, children_size(pool),
               _Alignof(max_align_t));
    release_borrowed(pool);
}

static int attach_child(struct vv_pool *pool, uint32_t index)
{
    const struct vv_decide_options *decide = &pool->supervisor.decide.options;
    struct vv_pool_child *child = &pool->children[index];
    struct vv_budget *own = NULL;
    int error = VIVERO_OK;

    if (pool->options.restarts_per_worker) {
        own = &child->budget;
        error = vv_budget_init(own, decide->intensity, decide->period_ns,
                               &pool->account);
    }
    if (error == VIVERO_OK) {
        vv_decide_attach(&pool->supervisor.decide, &child->child, &pool->policy,
                         own);
    }
    return error;
}

static int open_supervisor(struct vv_pool *pool)
{
    const struct vv_decide_options decide = decide_options(&pool->options);
    char name[48];
    int error = vv_loop_init(&pool->supervisor, &decide,
                             &vv_pool_supervisor_ops, pool, &pool->account);

    if (error != VIVERO_OK) {
        return error;
    }
    pool->policy =
        (struct vv_policy){.restart = VIVERO_PERMANENT,
                           .shutdown_ns = VIVERO_FOREVER,
                           .start_timeout_ns = VIVERO_FOREVER,
                           .backoff_ns = pool->options.backoff_ns,
                           .backoff_max_ns = pool->options.backoff_max_ns};
    for (uint32_t i = 0; i < pool->options.workers_max && error == VIVERO_OK;
         i++) {
        error = attach_child(pool, i);
    }
    (void)snprintf(name, sizeof(name), "%.8s/keeper", pool->name);
    if (error == VIVERO_OK) {
        error = vv_loop_start(&pool->supervisor, name);
    }
    if (error != VIVERO_OK) {
        vv_loop_fini(&pool->supervisor);
    }
    return error;
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

void vv_pool_retain(struct vv_pool *pool)
{
    /* relaxed: the caller keeps it from being freed as it is. */
    atomic_fetch_add_explicit(&pool->references, 1, memory_order_relaxed);
}

void vv_pool_release(struct vv_pool *pool)
{
    /* sync(pool.references): the last one sees what the others did. */
    if (atomic_fetch_sub_explicit(&pool->references, 1, memory_order_acq_rel) ==
        1) {
        if (pool->supervised) {
            vv_loop_fini(&pool->supervisor);
        }
        vv_pool_fault_let_go(pool);
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

/* Spares and a supervisor. */
static int open_keeper(struct vv_pool *pool)
{
    int error = vv_pool_fault_hold(pool);

    if (error != VIVERO_OK) {
        return error;
    }
    fill_spec(pool);
    error = vv_pool_make_spares(pool);
    if (error == VIVERO_OK) {
        error = open_supervisor(pool);
    }
    pool->supervised = error == VIVERO_OK;
    return error;
}

int vv_pool_open(struct vv_pool *pool)
{
    int error = open_keeper(pool);

    if (error == VIVERO_OK) {
        error = start_workers(pool);
        if (error != VIVERO_OK) {
            pool->options.shutdown_ns = VIVERO_FOREVER;
            (void)vv_pool_end(pool);
        }
    }
    if (error == VIVERO_OK) {
        vv_log(VIVERO_LOG_INFO, "pool", pool->name, NULL, 0,
               "opened with %u workers", vv_crew_size(&pool->crew));
    }
    return error;
}

/* What needs no thread, from options that are filled in. */
static int make_parts(struct vv_pool *pool)
{
    int error = VIVERO_OK;

    if (pool->options.arena) {
        error = vv_account_open_arena(&pool->account);
    }
    if (error == VIVERO_OK) {
        error = vv_cond_init(&pool->changed);
    }
    if (error != VIVERO_OK) {
        return error;
    }
    error = open_parts(pool);
    if (error != VIVERO_OK) {
        vv_cond_fini(&pool->changed);
    }
    return error;
}

int vv_pool_new(const struct vivero_pool_options *options,
                const size_t *payload_size, struct vv_pool **fresh)
{
    struct vv_pool *pool;
    int error = vv_here_may_act();

    if (error == VIVERO_OK) {
        error = new_pool(&pool);
    }
    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_pool_fill_options(pool, options, payload_size);
    if (error == VIVERO_OK) {
        error = make_parts(pool);
    }
    if (error != VIVERO_OK) {
        free_pool(pool);
        return error;
    }
    pool->public_name = pool->name;
    *fresh = pool;
    return VIVERO_OK;
}

static int open_with(const struct vivero_pool_options *options,
                     const size_t *payload_size, struct vivero_pool **handle)
{
    struct vv_pool *pool;
    int error;

    VV_CHECK(handle != NULL, "vivero_pool_open(): the place for the pool is "
                             "NULL");
    error = vv_pool_new(options, payload_size, &pool);
    if (error != VIVERO_OK) {
        return error;
    }
    error = vv_handle_take(&pool->handle, pool, false);
    if (error != VIVERO_OK) {
        vv_pool_release(pool);
        return error;
    }
    error = vv_pool_open(pool);
    if (error != VIVERO_OK) {
        vv_handle_set(pool->handle, NULL);
        vv_pool_dispose(pool);
        return error;
    }
    *handle = pool->handle;
    return VIVERO_OK;
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
