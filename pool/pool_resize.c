/* SPDX-License-Identifier: MIT */
/* pool_resize: more workers, fewer workers, and workers on threads that the
 * program brings.
 *
 * Model.    The size is how many seats are sent to, always the lowest ones. To
 *           grow: seats and workers are made, started, and only then sent to. To
 *           shrink: the size goes down first, then the mailboxes close, then the
 *           workers above are asked to retire.
 * Threads.  One resize at a time (`resizing`); the starting and stopping happens
 *           on the supervisor's thread, we wait for what it reports.
 * Failure.  A worker that cannot be started ends the growing there: the size is
 *           what is up without a gap, the rest is taken back. */
#include <vivero/error.h>

#include "base/check.h"
#include "os/thread.h"
#include "pool/pool_private.h"

#include <pthread.h>

/* ---- Growing -------------------------------------------------------------------------- */

static int make_worker(struct vv_pool *pool, uint32_t index)
{
    struct vivero_entity *worker;
    struct vv_seat *seat;
    int error;

    if (index < vv_crew_used(&pool->crew)) {
        return VIVERO_OK; /* it was here before */
    }
    error = vv_crew_make_seat(&pool->crew, pool->options.mailbox_depth, &seat);
    if (error != VIVERO_OK) {
        return error;
    }
    seat->mailbox->dead = pool->spec.dead != NULL ? &pool->dead_hook : NULL;
    error = vv_worker_new(&pool->spec, seat, &worker);
    if (error != VIVERO_OK) {
        vv_crew_free_seat(&pool->crew, seat);
        return error;
    }
    vv_crew_show_seat(&pool->crew, seat);
    return VIVERO_OK;
}

/* Ask the supervisor for something, after it has heard what was asked before. */
static void ask(struct vv_pool *pool, uint32_t index, enum vv_event_kind event)
{
    struct vv_pool_child *child = &pool->children[index];

    vv_mutex_lock(&pool->lock);
    while (child->asked && !pool->gone) {
        vv_cond_wait(&pool->changed, &pool->lock);
    }
    if (!pool->gone) {
        child->asked = true;
        vv_loop_tell(&pool->supervisor, &child->notices[VV_NOTICE_OWNER],
                     &child->child, event, NULL);
    }
    vv_mutex_unlock(&pool->lock);
}

/* Wait until the seat is empty, unless its worker stays. True: it stays. */
static bool call_back(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];
    bool stays;

    vv_mutex_lock(&pool->lock);
    stays = child->post == VV_POST_UP &&
            vv_worker_stay(vv_pool_worker(pool, index));
    while (!stays && child->post != VV_POST_NONE && !pool->gone) {
        vv_cond_wait(&pool->changed, &pool->lock);
    }
    vv_mutex_unlock(&pool->lock);
    return stays;
}

/* Have a worker in this seat: the one that was leaving, or a new one. */
static void summon(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];
    bool stays = call_back(pool, index);

    if (!stays) {
        vv_mutex_lock(&pool->lock);
        child->error = VIVERO_OK;
        child->post = VV_POST_STARTING;
        vv_mutex_unlock(&pool->lock);
        ask(pool, index, VV_EVENT_ADD);
    }
}

static bool is_settled(const struct vv_pool *pool, uint32_t index)
{
    const struct vv_pool_child *child = &pool->children[index];

    return child->post == VV_POST_UP || child->post == VV_POST_NONE ||
           child->open_to_threads || pool->gone || pool->given_up;
}

/* Unless the pool is past being open; it may come to that at any time. */
static int open_mailbox(struct vv_pool *pool, uint32_t index)
{
    struct vv_mailbox *mailbox = vv_crew_seat(&pool->crew, index)->mailbox;

    vv_mailbox_reopen(mailbox);
    if (vv_pool_phase(pool) <= VV_POOL_OPEN) {
        return VIVERO_OK;
    }
    /* Whoever advanced the phase may have closed it before we opened it. */
    vv_mailbox_close(mailbox);
    (void)vv_mailbox_flush(mailbox, VIVERO_E_CLOSING, NULL, VV_SETTLED_DEAD);
    vv_crew_poke_quiet(&pool->crew);
    return VIVERO_E_CLOSING;
}

/* Wait until it is up (0) or refused (its error); then it is open for mail. */
static int wait_for(struct vv_pool *pool, uint32_t index)
{
    const struct vv_pool_child *child = &pool->children[index];
    int error;

    vv_mutex_lock(&pool->lock);
    while (!is_settled(pool, index)) {
        vv_cond_wait(&pool->changed, &pool->lock);
    }
    error = child->error;
    if (error == VIVERO_OK && child->post != VV_POST_UP &&
        !child->open_to_threads) {
        error = VIVERO_E_CLOSING;
    }
    vv_mutex_unlock(&pool->lock);
    return error == VIVERO_OK ? open_mailbox(pool, index) : error;
}

static void dismiss(struct vv_pool *pool, uint32_t index)
{
    struct vv_pool_child *child = &pool->children[index];
    bool has_carrier;

    vv_mailbox_close(vv_crew_seat(&pool->crew, index)->mailbox);
    vv_mutex_lock(&pool->lock);
    vv_worker_retire(vv_pool_worker(pool, index));
    has_carrier = child->has_carrier || child->post == VV_POST_NONE;
    vv_mutex_unlock(&pool->lock);
    if (!has_carrier) {
        ask(pool, index, VV_EVENT_REMOVE); /* it never got a thread */
    }
}

int vv_pool_add_workers(struct vv_pool *pool, uint32_t first, uint32_t end,
                        uint32_t *up)
{
    uint32_t made = first;
    int error = VIVERO_OK;

    while (made < end && error == VIVERO_OK) {
        error = make_worker(pool, made);
        if (error == VIVERO_OK) {
            summon(pool, made);
            made++;
        }
    }
    *up = first;
    for (uint32_t i = first; i < made; i++) {
        int start_error = wait_for(pool, i);

        if (start_error != VIVERO_OK && error == VIVERO_OK) {
            error = start_error;
        }
        if (start_error == VIVERO_OK && *up == i) {
            *up = i + 1;
        }
    }
    for (uint32_t i = *up; i < made; i++) {
        dismiss(pool, i);
    }
    return error;
}

/* ---- One resize at a time --------------------------------------------------------------- */

static bool may_resize(const struct vv_pool *pool)
{
    return !pool->resizing;
}

static void begin_resize(struct vv_pool *pool)
{
    vv_mutex_lock(&pool->lock);
    while (!may_resize(pool)) {
        vv_cond_wait(&pool->changed, &pool->lock);
    }
    pool->resizing = true;
    vv_mutex_unlock(&pool->lock);
}

static void end_resize(struct vv_pool *pool)
{
    vv_mutex_lock(&pool->lock);
    pool->resizing = false;
    vv_cond_broadcast(&pool->changed);
    vv_mutex_unlock(&pool->lock);
}

static bool is_vacant(struct vv_pool *pool, uint32_t index)
{
    bool vacant;

    vv_mutex_lock(&pool->lock);
    vacant = pool->children[index].post == VV_POST_NONE;
    vv_mutex_unlock(&pool->lock);
    return vacant;
}

uint32_t vv_pool_staff(struct vv_pool *pool)
{
    uint32_t size = vv_crew_size(&pool->crew);
    uint32_t staff = 0;

    for (uint32_t i = 0; i < size; i++) {
        staff += !is_vacant(pool, i);
    }
    return staff;
}

/* Seats below the size whose worker has halted are filled first. */
static int fill_vacancies(struct vv_pool *pool, uint32_t end)
{
    int error = VIVERO_OK;

    for (uint32_t i = 0; i < end && error == VIVERO_OK; i++) {
        uint32_t up;

        if (is_vacant(pool, i)) {
            error = vv_pool_add_workers(pool, i, i + 1, &up);
        }
    }
    return error;
}

static int grow(struct vv_pool *pool, uint32_t size, uint32_t workers)
{
    uint32_t up = size;
    int error = vv_pool_add_workers(pool, size, workers, &up);

    vv_crew_set_size(&pool->crew, up);
    vv_space_wake(&pool->crew.space); /* there is room where none was */
    return error;
}

static void shrink(struct vv_pool *pool, uint32_t size, uint32_t workers)
{
    vv_crew_set_size(&pool->crew, workers);
    for (uint32_t i = workers; i < size; i++) {
        dismiss(pool, i);
    }
    vv_space_wake(&pool->crew.space);
}

static int change_size(struct vv_pool *pool, uint32_t workers)
{
    uint32_t size = vv_crew_size(&pool->crew);
    int error = fill_vacancies(pool, workers < size ? workers : size);

    if (error == VIVERO_OK && workers > size) {
        error = grow(pool, size, workers);
    } else if (workers < size) {
        shrink(pool, size, workers);
    }
    return error;
}

static int resize(const struct vv_pool_visit *visit, uint32_t workers)
{
    struct vv_pool *pool = visit->pool;
    int error;

    if (workers == 0 || workers > pool->options.workers_max) {
        return VIVERO_E_INVALID;
    }
    error = vv_here_may_act();
    if (error != VIVERO_OK) {
        return error;
    }
    begin_resize(pool);
    error = vv_pool_phase(pool) == VV_POOL_OPEN
                ? change_size(pool, workers)
                : vv_pool_refusal(pool, visit->here);
    end_resize(pool);
    return error;
}

int vivero_pool_resize(struct vivero_pool *handle, uint32_t workers)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_resize");
    int error;

    vv_pool_refuse_own_threads(&visit, "vivero_pool_resize");
    error = resize(&visit, workers);
    vv_pool_leave(&visit);
    return error;
}

/* ---- Threads the program brings ------------------------------------------------------------ */

/* The first worker that waits for a thread, now ours; NULL: none does. */
static struct vv_pool_child *take_place(struct vv_pool *pool,
                                        struct vivero_entity **worker)
{
    struct vv_pool_child *place = NULL;

    vv_mutex_lock(&pool->lock);
    for (uint32_t i = 0; i < pool->options.workers_max && place == NULL; i++) {
        if (pool->children[i].open_to_threads) {
            place = &pool->children[i];
            *worker = vv_pool_worker(pool, i);
            vv_worker_renew(*worker);
            place->open_to_threads = false;
            place->has_carrier = true;
        }
    }
    vv_mutex_unlock(&pool->lock);
    return place;
}

/* Its worker has ended, and why is written down. */
static int reason_to_return(const struct vv_pool_visit *visit,
                            const struct vv_pool_child *place)
{
    struct vv_pool *pool = visit->pool;
    int error;

    vv_mutex_lock(&pool->lock);
    error = place->error;
    vv_mutex_unlock(&pool->lock);
    return error == VIVERO_OK && vv_pool_phase(pool) == VV_POOL_DOWN
               ? vv_pool_refusal(pool, visit->here)
               : error;
}

static void release_pool(void *ctx)
{
    vv_pool_release(ctx);
}

static int run_here(const struct vv_pool_visit *visit)
{
    struct vv_pool *pool = visit->pool;
    struct vv_pool_child *place;
    struct vivero_entity *worker;
    int error = vv_here_may_act();

    if (!pool->options.own_threads) {
        return VIVERO_E_UNSUPPORTED;
    }
    if (error != VIVERO_OK) {
        return error;
    }
    if (vv_pool_phase(pool) > VV_POOL_DRAINING) {
        return vv_pool_refusal(pool, visit->here);
    }
    place = take_place(pool, &worker);
    if (place == NULL) {
        return VIVERO_E_LIMIT;
    }
    /* Our being here is the worker's being alive; a close that gives it up does
     * not wait for us, so we keep what we look at afterwards. */
    vv_pool_retain(pool);
    vv_pool_leave(visit);
    pthread_cleanup_push(release_pool, pool);
    error = vv_worker_carry(worker) ? reason_to_return(visit, place)
                                    : VIVERO_E_FENCED;
    pthread_cleanup_pop(1);
    return error;
}

int vivero_pool_run_here(struct vivero_pool *handle)
{
    struct vv_pool_visit visit = vv_pool_enter(handle, "vivero_pool_run_here");
    struct vivero_entity *worker = visit.here->worker;
    int error;

    VV_CHECK(worker == NULL, "vivero_pool_run_here() on pool %s in a handler",
             visit.pool->name);
    error = run_here(&visit);
    vv_pool_leave(&visit);
    return error;
}
