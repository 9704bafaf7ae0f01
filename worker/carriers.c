/* SPDX-License-Identifier: MIT */
/* carriers: threads that many workers share.
 *
 * Model.    A worker with something to do stands in the ready queue, once. A
 *           thread takes it, runs a slice of its steps, and puts it back at the
 *           end if there is more. Each thread has a stage, which it lends to the
 *           worker it runs.
 * Waiting.  A worker that waits for another one keeps its thread. So that the
 *           other can run, a spare thread takes its place, or a further one is
 *           started, up to threads_max; when the wait is over there is one too
 *           many, and the next one that looks for work becomes the spare, for a
 *           while. When nobody would be left the wait is refused: DEADLOCK.
 * Invariants.
 *   I1 scheduled (under the entity's lock) <=> it is in the queue or on a thread,
 *      so one thread at a time runs it.
 *   I2 active = threads that are neither blocked, spare nor leaving; one that is
 *      being started, or called from standing by, is counted as active by whoever
 *      does that. At most `threads` of them take work; while it is below that and
 *      there was a wait, there is nobody to call, or the system has none.
 *   I3 A worker is carried until it has ended, or is lost with its thread; its
 *      stage is its own (under the entity's lock) only while it is carried.
 * Locks.    lock (VV_RANK_CARRIERS), after an entity's.
 * Given up. A worker that was declared dead while it runs takes its thread along:
 *           another one is started, and the lost one, when it comes back, leaves
 *           and gives back its reference to the carriers.
 *           One that waits in the queue loses nobody: it runs once more.
 * Shutdown. close stops the workers one after another, as vivero_worker_stop()
 *           does; nobody may start new ones on it. Then the threads leave.
 * Rejected. A queue per thread with stealing: first when it is measured. */
#include <vivero/error.h>

#include "base/check.h"
#include "base/options.h"
#include "mailbox/here.h"
#include "os/cpu.h"
#include "worker/carriers_private.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define THREADS_MAX 1024u
#define THREADS_MAX_DEFAULT 64u

VV_NO_TAIL_PADDING(struct vivero_carriers_options, stack_size);

void vivero_carriers_options_init(struct vivero_carriers_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

/* To look whether they are to leave. */
void vv_carriers_wake_all_locked(struct vivero_carriers *carriers)
{
    vv_cond_broadcast(&carriers->work);
    vv_cond_broadcast(&carriers->spare);
}

/* ---- The ready queue ----------------------------------------------------------------- */

void vv_carriers_push_locked(struct vivero_carriers *carriers,
                             struct vv_single *single)
{
    single->next_ready = NULL;
    if (carriers->ready == NULL) {
        carriers->ready = single;
    } else {
        carriers->last_ready->next_ready = single;
    }
    carriers->last_ready = single;
    vv_cond_signal(&carriers->work);
}

void vv_carriers_schedule(struct vv_single *single)
{
    struct vivero_carriers *carriers = single->carriers;

    if (single->scheduled) {
        return;
    }
    single->scheduled = true;
    vv_mutex_lock(&carriers->lock);
    vv_carriers_push_locked(carriers, single);
    vv_mutex_unlock(&carriers->lock);
}

bool vv_carriers_are_over_locked(const struct vivero_carriers *carriers)
{
    return carriers->closing && carriers->carried == NULL;
}

void vv_carriers_unlink_locked(struct vv_carrier *carrier)
{
    struct vv_carrier **at = &carrier->carriers->all;

    while (*at != carrier) {
        at = &(*at)->next;
    }
    *at = carrier->next;
}

/* ---- Workers come and go ------------------------------------------------------------------------- */

static void idle_is_over(struct vv_timer *timer)
{
    struct vv_single *single =
        (struct vv_single *)((unsigned char *)timer -
                             offsetof(struct vv_single, idle_timer));

    vv_entity_poke(&single->entity);
}

void vv_carriers_add(struct vivero_carriers *carriers, struct vv_single *single)
{
    vv_timer_init(&single->idle_timer, idle_is_over);
    vv_mutex_lock(&carriers->lock);
    single->previous_carried = NULL;
    single->next_carried = carriers->carried;
    if (carriers->carried != NULL) {
        carriers->carried->previous_carried = single;
    }
    carriers->carried = single;
    vv_carriers_push_locked(carriers, single);
    vv_mutex_unlock(&carriers->lock);
}

static void unlink_single_locked(struct vivero_carriers *carriers,
                                 struct vv_single *single)
{
    if (single->uncarried) {
        return;
    }
    single->uncarried = true;
    if (single->previous_carried != NULL) {
        single->previous_carried->next_carried = single->next_carried;
    } else {
        carriers->carried = single->next_carried;
    }
    if (single->next_carried != NULL) {
        single->next_carried->previous_carried = single->previous_carried;
    }
    vv_cond_broadcast(&carriers->changed);
    if (vv_carriers_are_over_locked(carriers)) {
        vv_carriers_wake_all_locked(carriers);
    }
}

void vv_carriers_remove(struct vivero_carriers *carriers,
                        struct vv_single *single)
{
    vv_mutex_lock(&carriers->lock);
    unlink_single_locked(carriers, single);
    vv_mutex_unlock(&carriers->lock);
}

static struct vv_carrier *carrier_of(struct vivero_entity *stage)
{
    return (struct vv_carrier *)((unsigned char *)stage -
                                 offsetof(struct vv_carrier, stage));
}

/* True: a further thread is to be started. */
static bool lose_locked(struct vv_carrier *carrier)
{
    struct vivero_carriers *carriers = carrier->carriers;

    carrier->lost = true;
    vv_carriers_unlink_locked(carrier);
    carriers->existing--;
    if (carrier->blocked) {
        carrier->blocked = false;
        carriers->blocked--;
    }
    carriers->references++;
    vv_cond_broadcast(&carriers->changed);
    return vv_carriers_replace_locked(carriers);
}

/* As long as it has a stage it is carried, so the carriers are there. */
void vv_carriers_give_up(struct vivero_carriers *carriers,
                         struct vv_single *single)
{
    bool another = false;

    vv_entity_hold(&single->entity);
    if (single->stage != NULL) {
        vv_mutex_lock(&carriers->lock);
        unlink_single_locked(carriers, single);
        another = lose_locked(carrier_of(single->stage));
        vv_mutex_unlock(&carriers->lock);
    }
    vv_entity_unlock(&single->entity);
    if (another) {
        vv_carriers_fill_place(carriers);
    }
}

/* ---- Open and close ------------------------------------------------------------------------------- */

static int fill(struct vivero_carriers *carriers,
                const struct vivero_carriers_options *from)
{
    struct vivero_carriers_options options;

    if (vv_options_copy(&options, sizeof(options), from) != VIVERO_OK ||
        options.threads > THREADS_MAX || options.threads_max > THREADS_MAX) {
        return VIVERO_E_INVALID;
    }
    (void)snprintf(carriers->name, sizeof(carriers->name), "%s",
                   options.name != NULL ? options.name : "carriers");
    carriers->threads = options.threads > 0 ? options.threads : vv_cpu_usable();
    carriers->threads_max = options.threads_max;
    if (carriers->threads_max == 0) {
        carriers->threads_max = carriers->threads > THREADS_MAX_DEFAULT
                                    ? carriers->threads
                                    : THREADS_MAX_DEFAULT;
    }
    carriers->stack_size = options.stack_size;
    return carriers->threads_max >= carriers->threads ? VIVERO_OK
                                                      : VIVERO_E_INVALID;
}

static void fini_conditions(struct vivero_carriers *carriers)
{
    vv_cond_fini(&carriers->changed);
    vv_cond_fini(&carriers->spare);
    vv_cond_fini(&carriers->work);
}

/* What the last reference leaves. */
static void free_carriers(struct vivero_carriers *carriers)
{
    vv_request_release(&carriers->farewell->request);
    fini_conditions(carriers);
    vv_mutex_fini(&carriers->lock);
    vv_release(NULL, carriers, sizeof(*carriers), VV_CACHELINE);
    vv_timer_release();
    vv_reply_release();
    vv_memory_release();
}

void vv_carriers_release(struct vivero_carriers *carriers)
{
    bool last;

    vv_mutex_lock(&carriers->lock);
    last = --carriers->references == 0;
    vv_mutex_unlock(&carriers->lock);
    if (last) {
        free_carriers(carriers);
    }
}

static int init_conditions(struct vivero_carriers *carriers)
{
    struct vv_cond *const conds[] = {&carriers->work, &carriers->spare,
                                     &carriers->changed};

    for (size_t i = 0; i < sizeof(conds) / sizeof(conds[0]); i++) {
        if (vv_cond_init(conds[i]) != VIVERO_OK) {
            while (i-- > 0) {
                vv_cond_fini(conds[i]);
            }
            return VIVERO_E_NO_MEMORY;
        }
    }
    return VIVERO_OK;
}

static int new_carriers(struct vivero_carriers **fresh)
{
    struct vivero_carriers *carriers =
        vv_allocate(NULL, sizeof(*carriers), VV_CACHELINE);

    if (carriers == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    if (init_conditions(carriers) != VIVERO_OK) {
        vv_release(NULL, carriers, sizeof(*carriers), VV_CACHELINE);
        return VIVERO_E_NO_MEMORY;
    }
    carriers->farewell = vv_single_new_stop();
    if (carriers->farewell == NULL) {
        fini_conditions(carriers);
        vv_release(NULL, carriers, sizeof(*carriers), VV_CACHELINE);
        return VIVERO_E_NO_MEMORY;
    }
    vv_mutex_init(&carriers->lock, VV_RANK_CARRIERS);
    carriers->references = 1;
    *fresh = carriers;
    return VIVERO_OK;
}

/* The parts of the process that carriers rely on. */
static int retain_parts(void)
{
    int error;

    vv_memory_retain();
    error = vv_reply_retain();
    if (error == VIVERO_OK) {
        error = vv_timer_retain();
        if (error != VIVERO_OK) {
            vv_reply_release();
        }
    }
    if (error != VIVERO_OK) {
        vv_memory_release();
    }
    return error;
}

static int start_threads(struct vivero_carriers *carriers)
{
    int error = VIVERO_OK;

    for (uint32_t i = 0; i < carriers->threads && error == VIVERO_OK; i++) {
        vv_mutex_lock(&carriers->lock);
        carriers->existing++;
        vv_mutex_unlock(&carriers->lock);
        error = vv_carriers_start_thread(carriers);
    }
    return error;
}

static int open_carriers(const struct vivero_carriers_options *options,
                         struct vivero_carriers **fresh)
{
    struct vivero_carriers *carriers;
    int error = new_carriers(&carriers);

    if (error != VIVERO_OK) {
        vv_timer_release();
        vv_reply_release();
        vv_memory_release();
        return error;
    }
    error = fill(carriers, options);
    if (error == VIVERO_OK) {
        error = start_threads(carriers);
        if (error != VIVERO_OK) {
            vivero_carriers_close(carriers);
            return error;
        }
    }
    if (error != VIVERO_OK) {
        free_carriers(carriers);
        return error;
    }
    *fresh = carriers;
    return VIVERO_OK;
}

int vivero_carriers_open(const struct vivero_carriers_options *options,
                         struct vivero_carriers **carriers)
{
    int refused = vv_here_may_act();
    int error;

    VV_CHECK(carriers != NULL, "vivero_carriers_open(): no place for them");
    if (refused != VIVERO_OK) {
        return refused;
    }
    error = retain_parts();
    return error == VIVERO_OK ? open_carriers(options, carriers) : error;
}

/* Have one of them end, and wait until it is not carried any more: one that was
 * declared dead meanwhile runs once more, or takes its thread along. */
static void stop_one_locked(struct vivero_carriers *carriers)
{
    static const struct vivero_exit shutdown = {.kind = VIVERO_EXIT_SHUTDOWN};
    const struct vivero_ref ref = carriers->carried->entity.ref;

    vv_mutex_unlock(&carriers->lock);
    vv_single_stop_by(ref, carriers->farewell, &shutdown);
    vv_mutex_lock(&carriers->lock);
    while (carriers->carried != NULL &&
           vivero_ref_equal(carriers->carried->entity.ref, ref)) {
        vv_cond_wait(&carriers->changed, &carriers->lock);
    }
}

static void stop_all(struct vivero_carriers *carriers)
{
    vv_mutex_lock(&carriers->lock);
    while (carriers->carried != NULL) {
        stop_one_locked(carriers);
    }
    carriers->closing = true;
    vv_carriers_wake_all_locked(carriers);
    while (carriers->existing > 0) {
        vv_cond_wait(&carriers->changed, &carriers->lock);
    }
    vv_mutex_unlock(&carriers->lock);
}

/* All of it is one wait: a carrier of others has somebody stand in for it, if
 * there is anybody, and is not refused in the midst of it. */
static void wait_for_all(struct vivero_carriers *carriers)
{
    struct vv_here *self = vv_here();
    bool (*begin_wait)(void) = self->begin_wait;
    void (*end_wait)(void) = self->end_wait;
    bool stands_in = begin_wait != NULL && begin_wait();

    self->begin_wait = NULL;
    self->end_wait = NULL;
    stop_all(carriers);
    self->begin_wait = begin_wait;
    self->end_wait = end_wait;
    if (stands_in) {
        end_wait();
    }
}

void vivero_carriers_close(struct vivero_carriers *carriers)
{
    VV_CHECK(carriers != NULL, "vivero_carriers_close(): NULL");
    VV_CHECK(!vv_carriers_are_here(carriers),
             "vivero_carriers_close() of %s on one of its own threads",
             carriers->name);
    if (vv_forked()) {
        return; /* their threads are not here */
    }
    wait_for_all(carriers);
    vv_thread_reap();
    vv_carriers_release(carriers);
}
