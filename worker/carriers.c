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
 *   I2 active = threads that are neither blocked nor spare. At most `threads` of
 *      them take work; while it is below that and there was a wait, another one
 *      is on its way, unless the system has none.
 * Locks.    lock (VV_RANK_CARRIERS), after an entity's.
 * Given up. A worker that was declared dead while it runs takes its thread along:
 *           another one is started, and the lost one, when it comes back, leaves
 *           and gives back its reference to the carriers.
 * Shutdown. close stops the workers one after another, as vivero_worker_stop()
 *           does; nobody may start new ones on it. Then the threads leave.
 * Rejected. A queue per thread with stealing: first when it is measured. */
#include <vivero/error.h>
#include <vivero/time.h>
#include <vivero/worker_carriers.h>

#include "base/check.h"
#include "base/log.h"
#include "base/options.h"
#include "mailbox/here.h"
#include "os/cpu.h"
#include "os/mutex.h"
#include "worker/single_private.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define STEPS_PER_SLICE 32
#define THREADS_MAX 1024u
#define THREADS_MAX_DEFAULT 64u
#define SPARE_STAYS_NS VIVERO_SECONDS(2)

struct carrier {
    struct vivero_carriers *carriers;
    struct carrier *next; /* of all; guarded by the carriers' lock */
    struct vv_thread thread;
    struct vivero_entity stage;
    struct vv_worker_spec none; /* of a stage without a worker */
    /* guarded by the carriers' lock */
    struct vv_single *single; /* whom it runs */
    bool lost; /* that one was given up, and this thread with it */
};

struct vivero_carriers {
    /* fixed at open */
    char name[32];
    uint32_t threads;
    uint32_t threads_max;
    size_t stack_size;
    /* guarded by lock */
    struct vv_mutex lock;
    struct vv_cond work;    /* something is queued, or to be closed */
    struct vv_cond spare;   /* a spare thread is wanted */
    struct vv_cond changed; /* a worker or a thread has gone */
    struct vv_single *ready;
    struct vv_single *last_ready;
    struct vv_single *carried; /* all workers */
    struct carrier *all;
    uint32_t existing;   /* threads */
    uint32_t blocked;    /* of these, in a wait */
    uint32_t spares;     /* of these, standing by */
    uint32_t number;     /* of the thread started last */
    uint32_t references; /* the opener's, and of lost threads */
    bool closing;
};

/* The carrier the calling thread is. */
static _Thread_local struct carrier *here
    __attribute__((tls_model("initial-exec")));

VV_NO_TAIL_PADDING(struct vivero_carriers_options, stack_size);

void vivero_carriers_options_init(struct vivero_carriers_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

/* To look whether they are to leave. */
static void wake_all_locked(struct vivero_carriers *carriers)
{
    vv_cond_broadcast(&carriers->work);
    vv_cond_broadcast(&carriers->spare);
}

/* ---- The ready queue ----------------------------------------------------------------- */

static void push_ready_locked(struct vivero_carriers *carriers,
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
    push_ready_locked(carriers, single);
    vv_mutex_unlock(&carriers->lock);
}

static uint32_t active_locked(const struct vivero_carriers *carriers)
{
    return carriers->existing - carriers->blocked - carriers->spares;
}

static bool is_over_locked(const struct vivero_carriers *carriers)
{
    return carriers->closing && carriers->carried == NULL;
}

/* One too many: stand by. False: nobody wanted it for a while, or ever will. */
static bool stand_by_locked(struct vivero_carriers *carriers)
{
    const int64_t until = vivero_now() + SPARE_STAYS_NS;
    bool in_time = true;

    carriers->spares++;
    while (in_time && active_locked(carriers) >= carriers->threads &&
           !is_over_locked(carriers)) {
        in_time = vv_cond_wait_until(&carriers->spare, &carriers->lock, until);
    }
    carriers->spares--;
    return active_locked(carriers) <= carriers->threads;
}

/* Wait for work. False: this thread is to leave. */
static bool await_work_locked(struct carrier *carrier)
{
    struct vivero_carriers *carriers = carrier->carriers;

    while (!carrier->lost && !is_over_locked(carriers)) {
        if (active_locked(carriers) > carriers->threads) {
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
static struct vv_single *next_ready(struct carrier *carrier)
{
    struct vivero_carriers *carriers = carrier->carriers;
    struct vv_single *single = NULL;

    vv_mutex_lock(&carriers->lock);
    carrier->single = NULL;
    if (await_work_locked(carrier)) {
        single = carriers->ready;
        carriers->ready = single->next_ready;
        carrier->single = single;
    }
    vv_mutex_unlock(&carriers->lock);
    return single;
}

/* ---- One slice ---------------------------------------------------------------------------- */

static void lend_stage(struct carrier *carrier, struct vv_single *single)
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

static void forget_single(struct carrier *carrier)
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
static void take_stage_back(struct carrier *carrier, struct vv_single *single)
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
        push_ready_locked(carriers, single);
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
static __attribute__((noinline)) bool run_slice(struct carrier *carrier,
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

static void end_single(struct carrier *carrier, struct vv_single *single)
{
    vv_single_finish(single);
    forget_single(carrier);
}

static void run_single(struct carrier *carrier, struct vv_single *single)
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

static int start_carrier(struct vivero_carriers *carriers);
static void run_thread(void *ctx);

static void unlink_carrier_locked(struct carrier *carrier)
{
    struct carrier **at = &carrier->carriers->all;

    while (*at != carrier) {
        at = &(*at)->next;
    }
    *at = carrier->next;
}

static void free_carrier(struct carrier *carrier)
{
    vv_worker_fini_stage(&carrier->stage);
    vv_release(NULL, carrier, sizeof(*carrier), VV_CACHELINE);
}

static void free_carriers(struct vivero_carriers *carriers);

static void release_carriers(struct vivero_carriers *carriers)
{
    bool last;

    vv_mutex_lock(&carriers->lock);
    last = --carriers->references == 0;
    vv_mutex_unlock(&carriers->lock);
    if (last) {
        free_carriers(carriers);
    }
}

/* The last thing of a thread: after it the carriers may be freed. */
static void leave(struct carrier *carrier)
{
    struct vivero_carriers *carriers = carrier->carriers;
    bool lost;

    here = NULL;
    vv_here()->begin_wait = NULL;
    vv_here()->end_wait = NULL;
    vv_mutex_lock(&carriers->lock);
    lost = carrier->lost;
    if (!lost) {
        unlink_carrier_locked(carrier);
    }
    vv_mutex_unlock(&carriers->lock);
    free_carrier(carrier);
    vv_thread_bequeath();
    if (lost) {
        release_carriers(carriers);
        return;
    }
    vv_mutex_lock(&carriers->lock);
    carriers->existing--;
    vv_cond_broadcast(&carriers->changed);
    vv_mutex_unlock(&carriers->lock);
}

static bool is_lost(struct carrier *carrier)
{
    bool lost;

    vv_mutex_lock(&carrier->carriers->lock);
    lost = carrier->lost;
    vv_mutex_unlock(&carrier->carriers->lock);
    return lost;
}

/* A callback called pthread_exit(): its worker ends, another thread takes the
 * place of this one. */
static void thread_left(void *ctx)
{
    struct carrier *carrier = ctx;
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
    if (!is_lost(carrier) && start_carrier(carriers) != VIVERO_OK) {
        vv_log(VIVERO_LOG_ERROR, "carriers", carriers->name, NULL, 0,
               "a thread was lost and there is none in its place");
    }
    leave(carrier);
}

static void carry(struct carrier *carrier)
{
    struct vv_single *single = next_ready(carrier);

    while (single != NULL) {
        run_single(carrier, single);
        single = next_ready(carrier);
    }
}

static struct carrier *new_carrier(struct vivero_carriers *carriers)
{
    struct carrier *carrier = vv_allocate(NULL, sizeof(*carrier), VV_CACHELINE);

    if (carrier != NULL) {
        carrier->carriers = carriers;
        vv_worker_init_stage(&carrier->stage, &carrier->none);
    }
    return carrier;
}

static int start_carrier(struct vivero_carriers *carriers)
{
    struct carrier *carrier = new_carrier(carriers);
    struct vv_thread_options options = {.stack_size = carriers->stack_size};
    char name[48];
    int error;

    if (carrier == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    vv_mutex_lock(&carriers->lock);
    (void)snprintf(name, sizeof(name), "%.10s/%u", carriers->name,
                   ++carriers->number);
    carrier->next = carriers->all;
    carriers->all = carrier;
    carriers->existing++;
    vv_mutex_unlock(&carriers->lock);
    options.name = name;
    error = vv_thread_start(&carrier->thread, &options, run_thread, carrier);
    if (error != VIVERO_OK) {
        vv_mutex_lock(&carriers->lock);
        unlink_carrier_locked(carrier);
        carriers->existing--;
        vv_cond_broadcast(&carriers->changed);
        vv_mutex_unlock(&carriers->lock);
        free_carrier(carrier);
    }
    return error;
}

/* ---- Waits ------------------------------------------------------------------------------------- */

static void unblock(struct vivero_carriers *carriers)
{
    vv_mutex_lock(&carriers->lock);
    carriers->blocked--;
    vv_mutex_unlock(&carriers->lock);
}

/* Somebody for the place of a thread that is about to sleep. True: a further
 * thread is to be started. */
static bool replace_locked(struct vivero_carriers *carriers)
{
    if (active_locked(carriers) >= carriers->threads) {
        return false;
    }
    if (carriers->spares > 0) {
        vv_cond_signal(&carriers->spare);
        return false;
    }
    return carriers->existing < carriers->threads_max;
}

/* False: nobody would be left to run whoever could end the wait. */
static bool begin_wait(void)
{
    struct vivero_carriers *carriers = here->carriers;
    bool another;
    bool last;

    vv_mutex_lock(&carriers->lock);
    carriers->blocked++;
    last = active_locked(carriers) + carriers->spares == 0;
    another = replace_locked(carriers);
    vv_mutex_unlock(&carriers->lock);
    if (another && start_carrier(carriers) == VIVERO_OK) {
        return true;
    }
    if (last) {
        unblock(carriers);
    }
    return !last;
}

static void end_wait(void)
{
    unblock(here->carriers);
}

static void run_thread(void *ctx)
{
    struct carrier *carrier = ctx;

    here = carrier;
    vv_here()->begin_wait = begin_wait;
    vv_here()->end_wait = end_wait;
    vv_single_meet_the_watch(&carrier->stage);
    pthread_cleanup_push(thread_left, carrier);
    carry(carrier);
    pthread_cleanup_pop(0);
    leave(carrier);
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
    push_ready_locked(carriers, single);
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
    if (is_over_locked(carriers)) {
        wake_all_locked(carriers);
    }
}

void vv_carriers_remove(struct vivero_carriers *carriers,
                        struct vv_single *single)
{
    vv_mutex_lock(&carriers->lock);
    unlink_single_locked(carriers, single);
    vv_mutex_unlock(&carriers->lock);
}

static struct carrier *carrier_of_locked(struct vivero_carriers *carriers,
                                         const struct vv_single *single)
{
    struct carrier *carrier = carriers->all;

    while (carrier != NULL && carrier->single != single) {
        carrier = carrier->next;
    }
    return carrier;
}

void vv_carriers_give_up(struct vivero_carriers *carriers,
                         struct vv_single *single)
{
    struct carrier *carrier;
    bool another = false;

    vv_mutex_lock(&carriers->lock);
    unlink_single_locked(carriers, single);
    carrier = carrier_of_locked(carriers, single);
    if (carrier != NULL) {
        carrier->lost = true;
        unlink_carrier_locked(carrier);
        carriers->existing--;
        carriers->references++;
        another = replace_locked(carriers);
        vv_cond_broadcast(&carriers->changed);
    }
    vv_mutex_unlock(&carriers->lock);
    if (another && start_carrier(carriers) != VIVERO_OK) {
        vv_log(VIVERO_LOG_ERROR, "carriers", carriers->name, NULL, 0,
               "a thread was given up and there is none in its place");
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

/* What the last reference leaves. */
static void free_carriers(struct vivero_carriers *carriers)
{
    vv_cond_fini(&carriers->changed);
    vv_cond_fini(&carriers->spare);
    vv_cond_fini(&carriers->work);
    vv_mutex_fini(&carriers->lock);
    vv_release(NULL, carriers, sizeof(*carriers), VV_CACHELINE);
    vv_timer_release();
    vv_reply_release();
    vv_memory_release();
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
        error = start_carrier(carriers);
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

/* One of the workers that are still carried; false: none. */
static bool first_carried(struct vivero_carriers *carriers,
                          struct vivero_ref *ref)
{
    bool found;

    vv_mutex_lock(&carriers->lock);
    found = carriers->carried != NULL;
    if (found) {
        *ref = carriers->carried->entity.ref;
    }
    vv_mutex_unlock(&carriers->lock);
    return found;
}

void vivero_carriers_close(struct vivero_carriers *carriers)
{
    static const struct vivero_exit shutdown = {.kind = VIVERO_EXIT_SHUTDOWN};
    struct vivero_ref ref;

    VV_CHECK(carriers != NULL, "vivero_carriers_close(): NULL");
    VV_CHECK(here == NULL || here->carriers != carriers,
             "vivero_carriers_close() of %s on one of its own threads",
             carriers->name);
    while (first_carried(carriers, &ref)) {
        (void)vivero_worker_stop(ref, &shutdown, VIVERO_FOREVER);
    }
    vv_mutex_lock(&carriers->lock);
    carriers->closing = true;
    wake_all_locked(carriers);
    while (carriers->existing > 0) {
        vv_cond_wait(&carriers->changed, &carriers->lock);
    }
    vv_mutex_unlock(&carriers->lock);
    vv_thread_reap();
    release_carriers(carriers);
}
