/* SPDX-License-Identifier: MIT */
/* carriers_threads: what a carrier does: wait for a worker that has something to
 * do, lend it its stage for a slice, stand by, leave. See carriers.c. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/log.h"
#include "mailbox/here.h"
#include "worker/carriers_private.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define STEPS_PER_SLICE 32
#define SPARE_STAYS_NS VIVERO_SECONDS(2)

/* The carrier the calling thread is. */
static _Thread_local struct vv_carrier *here
    __attribute__((tls_model("initial-exec")));

bool vv_carriers_are_here(const struct vivero_carriers *carriers)
{
    return here != NULL && here->carriers == carriers;
}

/* ---- Waiting for work ------------------------------------------------------------------ */

static uint32_t active_locked(const struct vivero_carriers *carriers)
{
    return carriers->existing - carriers->blocked - carriers->spares -
           carriers->leaving;
}

/* One too many: stand by. False: nobody wanted it for a while, or ever will. */
static bool stand_by_locked(struct vivero_carriers *carriers)
{
    const int64_t until = vivero_now() + SPARE_STAYS_NS;
    bool in_time = true;

    carriers->spares++;
    while (in_time && carriers->called == 0 &&
           active_locked(carriers) >= carriers->threads &&
           !vv_carriers_are_over_locked(carriers)) {
        in_time = vv_cond_wait_until(&carriers->spare, &carriers->lock, until);
    }
    if (carriers->called > 0) {
        carriers->called--;
        return true;
    }
    carriers->spares--;
    return active_locked(carriers) <= carriers->threads;
}

/* Wait for work. False: this thread is to leave. */
static bool await_work_locked(struct vv_carrier *carrier)
{
    struct vivero_carriers *carriers = carrier->carriers;

    while (!carrier->lost && !vv_carriers_are_over_locked(carriers)) {
        if (active_locked(carriers) > carriers->threads) {
            if (carriers->ready != NULL) {
                vv_cond_signal(&carriers->work); /* it may have been for us */
            }
            if (!stand_by_locked(carriers)) {
                return false;
            }
        } else if (carriers->ready != NULL) {
            return true;
        } else {
            vv_cond_wait(&carriers->work, &carriers->lock);
        }
    }
    return false;
}

/* The next worker to run; NULL: this thread is to leave. */
static struct vv_single *next_ready(struct vv_carrier *carrier)
{
    struct vivero_carriers *carriers = carrier->carriers;
    struct vv_single *single = NULL;

    vv_mutex_lock(&carriers->lock);
    if (await_work_locked(carrier)) {
        single = carriers->ready;
        carriers->ready = single->next_ready;
    } else if (!carrier->lost) {
        carriers->leaving++;
    }
    vv_mutex_unlock(&carriers->lock);
    return single;
}

/* ---- One slice ---------------------------------------------------------------------------- */

static void lend_stage(struct vv_carrier *carrier, struct vv_single *single)
{
    struct vivero_entity *stage = &carrier->stage;

    stage->spec = &single->spec;
    stage->waiter = &single->waiter;
    stage->debts = &single->debts;
    stage->defers = single->defers;
    stage->supervised = single->supervised;
    stage->single = single;
    stage->payload = single->payload;
    memcpy(stage->name, single->label, sizeof(stage->name));
    stage->ends = false;
    stage->final = false;
    stage->exit.kind = VIVERO_EXIT_NONE;
    vv_entity_hold(&single->entity);
    single->stage = stage;
    single->entity.flags &= ~(uint32_t)VV_ENTITY_POKED;
    vv_entity_unlock(&single->entity);
    vv_entity_set_here(&single->entity);
    vv_single_wake(single);
    vv_worker_set_here(vv_here(), stage);
    vv_here()->waiter = stage->waiter;
}

/* Move what the stage counted to the worker. */
static void count_locked(struct vv_single *single, struct vivero_entity *stage)
{
    single->handled += vv_worker_take_count(&stage->handled);
    single->failed += vv_worker_take_count(&stage->failed);
}

static void forget_single(struct vv_carrier *carrier)
{
    carrier->stage.single = NULL;
    carrier->stage.spec = &carrier->none;
    vv_worker_set_here(vv_here(), NULL);
    vv_here()->waiter = NULL;
    vv_entity_set_here(NULL);
}

static bool has_more_locked(struct vv_single *single)
{
    return single->continues || (single->entity.flags & VV_ENTITY_POKED) != 0 ||
           vv_entity_has_mail_locked(&single->entity);
}

/* Its slice is over: back into the queue, or to rest. */
static void take_stage_back(struct vv_carrier *carrier,
                            struct vv_single *single)
{
    struct vivero_carriers *carriers = carrier->carriers;
    int64_t due = vv_single_idle_deadline(single);

    vv_single_sleep(single);
    if (due != VIVERO_FOREVER) {
        vv_timer_start(&single->idle_timer, due);
    }
    single->defers = carrier->stage.defers;
    single->supervised = carrier->stage.supervised;
    forget_single(carrier);
    vv_entity_hold(&single->entity);
    single->stage = NULL;
    count_locked(single, &carrier->stage);
    if (has_more_locked(single)) {
        vv_mutex_lock(&carriers->lock);
        vv_carriers_push_locked(carriers, single);
        vv_mutex_unlock(&carriers->lock);
    } else {
        single->scheduled = false;
    }
    vv_entity_unlock(&single->entity);
}

static __attribute__((noinline)) void run_steps(struct vv_single *single,
                                                enum vv_step *last)
{
    *last = VV_STEP_DONE;
    for (int i = 0; i < STEPS_PER_SLICE && *last == VV_STEP_DONE; i++) {
        *last = vv_single_step(single);
    }
}

/* False: the worker has ended. */
static __attribute__((noinline)) bool run_slice(struct vv_carrier *carrier,
                                                struct vv_single *single)
{
    sigjmp_buf recovery;
    enum vv_step last;

    carrier->stage.recovery = &recovery;
    if (sigsetjmp(recovery, 0) == 0) {
        run_steps(single, &last);
        carrier->stage.recovery = NULL;
        return last != VV_STEP_ENDED;
    }
    carrier->stage.recovery = NULL;
    vv_single_jumped(single);
    return false;
}

static void end_single(struct vv_carrier *carrier, struct vv_single *single)
{
    vv_single_finish(single);
    forget_single(carrier);
}

static void run_single(struct vv_carrier *carrier, struct vv_single *single)
{
    (void)vv_timer_cancel(&single->idle_timer);
    lend_stage(carrier, single);
    if (run_slice(carrier, single)) {
        take_stage_back(carrier, single);
    } else {
        end_single(carrier, single);
    }
}

/* ---- Threads --------------------------------------------------------------------------------- */

static void run_thread(void *ctx);

static void free_carrier(struct vv_carrier *carrier)
{
    vv_worker_fini_stage(&carrier->stage);
    vv_release(NULL, carrier, sizeof(*carrier), VV_CACHELINE);
}

/* The last thing of a thread: after it the carriers may be freed. */
static void leave(struct vv_carrier *carrier)
{
    struct vivero_carriers *carriers = carrier->carriers;
    bool lost;

    here = NULL;
    vv_here()->begin_wait = NULL;
    vv_here()->end_wait = NULL;
    vv_mutex_lock(&carriers->lock);
    lost = carrier->lost;
    if (!lost) {
        vv_carriers_unlink_locked(carrier);
    }
    vv_mutex_unlock(&carriers->lock);
    free_carrier(carrier);
    vv_thread_bequeath();
    if (lost) {
        vv_carriers_release(carriers);
        return;
    }
    vv_mutex_lock(&carriers->lock);
    carriers->existing--;
    carriers->leaving--;
    vv_cond_broadcast(&carriers->changed);
    vv_mutex_unlock(&carriers->lock);
}

/* It leaves before its time. True: a thread is to be started in its place. */
static bool desert(struct vv_carrier *carrier)
{
    struct vivero_carriers *carriers = carrier->carriers;
    bool another = false;

    vv_mutex_lock(&carriers->lock);
    if (!carrier->lost) {
        carriers->leaving++;
        another = vv_carriers_replace_locked(carriers);
    }
    vv_mutex_unlock(&carriers->lock);
    return another;
}

/* A callback called pthread_exit(): its worker ends, another thread takes the
 * place of this one. */
static void thread_left(void *ctx)
{
    struct vv_carrier *carrier = ctx;
    struct vivero_carriers *carriers = carrier->carriers;
    struct vv_single *single = carrier->stage.single;

    if (single != NULL) {
        const struct vivero_exit exit =
            vivero_reason(VIVERO_EXIT_THREAD_LEFT, VIVERO_E_DOWN,
                          "a handler ended its thread");

        carrier->stage.recovery = NULL;
        vv_wait_end(&single->waiter);
        vv_single_left(single, &exit);
        end_single(carrier, single);
    }
    if (desert(carrier)) {
        vv_carriers_fill_place(carriers);
    }
    leave(carrier);
}

static void carry(struct vv_carrier *carrier)
{
    struct vv_single *single = next_ready(carrier);

    while (single != NULL) {
        run_single(carrier, single);
        single = next_ready(carrier);
    }
}

static struct vv_carrier *new_carrier(struct vivero_carriers *carriers)
{
    struct vv_carrier *carrier =
        vv_allocate(NULL, sizeof(*carrier), VV_CACHELINE);

    if (carrier != NULL) {
        carrier->carriers = carriers;
        vv_worker_init_stage(&carrier->stage, &carrier->none);
    }
    return carrier;
}

static void enlist(struct vv_carrier *carrier, char *name, size_t size)
{
    struct vivero_carriers *carriers = carrier->carriers;

    vv_mutex_lock(&carriers->lock);
    (void)snprintf(name, size, "%.10s/%u", carriers->name, ++carriers->number);
    carrier->next = carriers->all;
    carriers->all = carrier;
    vv_mutex_unlock(&carriers->lock);
}

static void delist(struct vv_carrier *carrier)
{
    vv_mutex_lock(&carrier->carriers->lock);
    vv_carriers_unlink_locked(carrier);
    vv_mutex_unlock(&carrier->carriers->lock);
    free_carrier(carrier);
}

static int start_thread(struct vivero_carriers *carriers)
{
    struct vv_carrier *carrier = new_carrier(carriers);
    struct vv_thread_options options = {.stack_size = carriers->stack_size};
    char name[48];
    int error;

    if (carrier == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    enlist(carrier, name, sizeof(name));
    options.name = name;
    error = vv_thread_start(&carrier->thread, &options, run_thread, carrier);
    if (error != VIVERO_OK) {
        delist(carrier);
    }
    return error;
}

/* After this they may be gone. */
static void give_place_back(struct vivero_carriers *carriers)
{
    vv_mutex_lock(&carriers->lock);
    carriers->existing--;
    vv_cond_broadcast(&carriers->changed);
    vv_mutex_unlock(&carriers->lock);
}

int vv_carriers_start_thread(struct vivero_carriers *carriers)
{
    int error = start_thread(carriers);

    if (error != VIVERO_OK) {
        give_place_back(carriers);
    }
    return error;
}

void vv_carriers_fill_place(struct vivero_carriers *carriers)
{
    if (start_thread(carriers) != VIVERO_OK) {
        vv_log(VIVERO_LOG_ERROR, "carriers", carriers->name, NULL, 0,
               "a thread was lost and there is none in its place");
        give_place_back(carriers);
    }
}

/* ---- Waits ------------------------------------------------------------------------------------- */

/* One that was given up meanwhile is not counted any more. */
static void unblock_locked(struct vv_carrier *carrier)
{
    if (carrier->blocked) {
        carrier->blocked = false;
        carrier->carriers->blocked--;
    }
}

/* Somebody for the place of a thread that is about to sleep. True: a further
 * thread is to be started. */
bool vv_carriers_replace_locked(struct vivero_carriers *carriers)
{
    if (active_locked(carriers) >= carriers->threads) {
        return false;
    }
    if (carriers->spares > 0) {
        carriers->spares--;
        carriers->called++;
        vv_cond_signal(&carriers->spare);
        return false;
    }
    if (carriers->existing - carriers->leaving >= carriers->threads_max) {
        return false;
    }
    carriers->existing++;
    return true;
}

/* Whether the calling thread, which is blocked, may sleep: somebody is left. */
static bool may_sleep_locked(struct vivero_carriers *carriers)
{
    if (here->blocked && active_locked(carriers) == 0) {
        unblock_locked(here);
        return false;
    }
    return true;
}

/* False: nobody would be left to run whoever could end the wait. */
static bool begin_wait(void)
{
    struct vivero_carriers *carriers = here->carriers;
    bool another = false;
    bool may_sleep;

    vv_mutex_lock(&carriers->lock);
    if (!here->lost) {
        here->blocked = true;
        carriers->blocked++;
        another = vv_carriers_replace_locked(carriers);
    }
    may_sleep = may_sleep_locked(carriers);
    vv_mutex_unlock(&carriers->lock);
    if (another && vv_carriers_start_thread(carriers) != VIVERO_OK) {
        vv_mutex_lock(&carriers->lock);
        may_sleep = may_sleep_locked(carriers);
        vv_mutex_unlock(&carriers->lock);
    }
    return may_sleep;
}

static void end_wait(void)
{
    struct vivero_carriers *carriers = here->carriers;

    vv_mutex_lock(&carriers->lock);
    unblock_locked(here);
    vv_mutex_unlock(&carriers->lock);
}

static void run_thread(void *ctx)
{
    struct vv_carrier *carrier = ctx;

    here = carrier;
    vv_here()->begin_wait = begin_wait;
    vv_here()->end_wait = end_wait;
    vv_single_meet_the_watch(&carrier->stage);
    pthread_cleanup_push(thread_left, carrier);
    carry(carrier);
    pthread_cleanup_pop(0);
    leave(carrier);
}
