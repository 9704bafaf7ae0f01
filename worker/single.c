/* SPDX-License-Identifier: MIT */
/* single: a worker on its own, from its start to its end.
 *
 * Model.    An entity (inbox, links, name), a payload, callbacks, and a stage
 *           that runs one message at a time: the same that runs a pool's. It has
 *           a thread of its own, or shares carriers; or it is a plain function
 *           that receives by hand, or a foreign thread that was attached.
 *
 *             new -> bound -> named -> linked -> launched
 *                 -> init -> started -> steps ... -> finish
 *
 * The end.  terminate, if the end is one it hears of; the name is free; whoever
 *           waits for the running message is told; debts default; destroy; a
 *           report; then the entity ends, which tells the inbox, links, monitors
 *           and last the owner. A reply that came with the stop is sent when
 *           terminate has run.
 * Threads.  Everything on its thread, but launch, cancel and kill.
 * Invariants.
 *   I1 init succeeded <=> destroy runs once, unless it was killed: then when its
 *      callback comes back.
 *   I2 A start that failed is over, its name free and no link left, before the
 *      starter hears of it.
 *   I3 Its memory goes with the last reference to the entity.
 * Failure.  A start that takes too long is declared dead by the starter; what
 *           init does after that ends with it.
 * Rejected. A restart in place: a supervisor's child gets a new reference, so
 *           there is nothing to keep but the thread, and that is cheap. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/log.h"
#include "base/options.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/park.h"
#include "worker/single_private.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

/* ---- The starter ---------------------------------------------------------------- */

static void raise_word(struct vv_starter *starter, uint32_t to)
{
    /* sync(starter.word): error and exit stand. */
    atomic_store_explicit(&starter->word, to, memory_order_release);
    vv_unpark(&starter->word, 1);
}

static void note_started(struct vv_owner *owner, int error,
                         const struct vivero_exit *exit)
{
    struct vv_starter *starter = (struct vv_starter *)owner;

    starter->error = error;
    if (exit != NULL) {
        starter->exit = *exit;
    }
    raise_word(starter, 1);
}

static void note_ended(struct vv_owner *owner, const struct vivero_exit *exit)
{
    struct vv_starter *starter = (struct vv_starter *)owner;

    /* relaxed: both are told under the entity's lock. */
    if (atomic_load_explicit(&starter->word, memory_order_relaxed) == 0) {
        starter->error = VIVERO_E_DOWN;
        starter->exit = *exit;
    }
    raise_word(starter, 2);
}

void vv_starter_init(struct vv_starter *starter)
{
    memset(starter, 0, sizeof(*starter));
    starter->owner.started = note_started;
    starter->owner.ended = note_ended;
}

static uint32_t load_word(struct vv_starter *starter)
{
    /* sync(starter.word): error and exit stand. */
    return atomic_load_explicit(&starter->word, memory_order_acquire);
}

int vv_starter_await_start(struct vv_starter *starter, int64_t deadline_ns)
{
    enum vv_wake wake = VV_WAKE_CALLED;

    while (wake == VV_WAKE_CALLED && load_word(starter) == 0) {
        wake = vv_here_park(&starter->word, 0, deadline_ns);
    }
    if (load_word(starter) != 0) {
        return VIVERO_OK;
    }
    return wake == VV_WAKE_REFUSED ? VIVERO_E_DEADLOCK : VIVERO_E_TIMED_OUT;
}

void vv_starter_await_end(struct vv_starter *starter)
{
    while (load_word(starter) < 2) {
        /* It is ending on some thread: nobody has to stand in for this one. */
        (void)vv_park(&starter->word, 1, VIVERO_FOREVER);
    }
}

/* ---- Memory ----------------------------------------------------------------------- */

static size_t payload_size(const struct vv_single *single)
{
    return single->options.payload_size > 0 ? single->options.payload_size : 1;
}

static void release_bytes(const void *bytes, size_t size)
{
    vv_release(NULL, (void *)(uintptr_t)bytes, size, _Alignof(max_align_t));
}

static int copy_bytes(const void **bytes, size_t size)
{
    void *copy;

    if (*bytes == NULL || size == 0) {
        *bytes = NULL;
        return VIVERO_OK;
    }
    copy = vv_allocate(NULL, size, _Alignof(max_align_t));
    if (copy == NULL) {
        *bytes = NULL;
        return VIVERO_E_NO_MEMORY;
    }
    memcpy(copy, *bytes, size);
    *bytes = copy;
    return VIVERO_OK;
}

static struct vivero_entity *new_stage(struct vv_single *single)
{
    struct vivero_entity *stage =
        vv_allocate(NULL, sizeof(*stage), VV_CACHELINE);

    if (stage != NULL) {
        vv_worker_init_stage(stage, &single->spec);
        stage->waiter = &single->waiter;
        stage->debts = &single->debts;
        stage->single = single;
        stage->payload = single->payload;
        memcpy(stage->name, single->label, sizeof(stage->name));
    }
    return stage;
}

static void free_stage(struct vivero_entity *stage)
{
    if (stage != NULL) {
        vv_worker_fini_stage(stage);
        vv_release(NULL, stage, sizeof(*stage), VV_CACHELINE);
    }
}

void vv_single_free(struct vv_single *single)
{
    vv_single_drop_info(single);
    vv_dictionary_free(single);
    if (single->carriers == NULL) {
        free_stage(single->stage);
    }
    release_bytes(single->options.argument, single->options.argument_size);
    if (single->payload != NULL) {
        vv_release(NULL, single->payload, payload_size(single), VV_CACHELINE);
    }
    vv_release(NULL, single, sizeof(*single), VV_CACHELINE);
}

static void fill_spec(struct vv_single *single)
{
    single->spec = (struct vv_worker_spec){
        .family = single->label,
        .payload_size = single->options.payload_size,
        .init = single->options.init,
        .terminate = single->options.terminate,
        .destroy = single->options.destroy,
        .ctx = single->options.ctx,
        .thread = {.stack_size = single->options.stack_size}};
}

static const char *label_of(const struct vivero_worker_options *options)
{
    if (options->label != NULL) {
        return options->label;
    }
    return options->name != NULL ? options->name : "worker";
}

static int allocate_parts(struct vv_single *single)
{
    int error =
        copy_bytes(&single->options.argument, single->options.argument_size);

    single->payload = vv_allocate(NULL, payload_size(single), VV_CACHELINE);
    if (error != VIVERO_OK || single->payload == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    if (single->carriers == NULL && single->kind != VV_SINGLE_ATTACHED) {
        single->stage = new_stage(single);
        return single->stage != NULL ? VIVERO_OK : VIVERO_E_NO_MEMORY;
    }
    return VIVERO_OK;
}

int vv_single_new(const struct vivero_worker_options *options,
                  enum vv_single_kind kind, struct vv_single **fresh)
{
    struct vv_single *single = vv_allocate(NULL, sizeof(*single), VV_CACHELINE);
    int error;

    if (single == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    single->kind = kind;
    single->options = *options;
    single->carriers = options->carriers;
    single->idle_timeout_ns = -1;
    single->idle_deadline_ns = VIVERO_FOREVER;
    single->spin =
        (struct vv_spin){options->spin_ns, vv_cpu_usable() > 1 ? 4 : 0};
    (void)snprintf(single->label, sizeof(single->label), "%s",
                   label_of(options));
    fill_spec(single);
    error = allocate_parts(single);
    if (error != VIVERO_OK) {
        vv_single_free(single);
        return error;
    }
    *fresh = single;
    return VIVERO_OK;
}

/* ---- As an entity --------------------------------------------------------------------- */

static void free_entity(struct vv_entity *entity)
{
    vv_single_free((struct vv_single *)entity);
}

static void schedule(struct vv_entity *entity)
{
    vv_carriers_schedule((struct vv_single *)entity);
}

const struct vv_entity_ops vv_single_ops = {.free = free_entity};
const struct vv_entity_ops vv_single_carried_ops = {.poke = schedule,
                                                    .free = free_entity};

struct vv_single *vv_single_of(struct vv_entity *entity)
{
    return entity->ops == &vv_single_ops ||
                   entity->ops == &vv_single_carried_ops
               ? (struct vv_single *)entity
               : NULL;
}

struct vv_single *vv_single_here(const char *what)
{
    struct vv_entity *entity = vv_entity_here();
    struct vv_single *single = entity != NULL ? vv_single_of(entity) : NULL;

    VV_CHECK(single != NULL,
             "%s(): the calling thread is no worker on its own, and was not "
             "attached",
             what);
    return single;
}

static uint32_t flags_of(const struct vv_single *single)
{
    uint32_t flags = single->options.trap_exits ? VV_ENTITY_TRAPS : 0;

    return single->kind == VV_SINGLE_CALLBACKS ? flags | VV_ENTITY_OBEYS
                                               : flags;
}

int vv_single_bind(struct vv_single *single, struct vivero_ref ref,
                   struct vivero_ref *holder)
{
    struct vv_entity *entity = &single->entity;
    int error = VIVERO_OK;

    entity->ops =
        single->carriers != NULL ? &vv_single_carried_ops : &vv_single_ops;
    entity->flags = flags_of(single);
    entity->depth = single->options.mailbox_depth;
    /* Nothing schedules it before it is launched. */
    single->scheduled = true;
    if (!vv_entity_bind(entity, ref)) {
        vv_single_free(single);
        return VIVERO_E_GONE;
    }
    if (single->options.name != NULL) {
        error = vv_name_give(ref, single->options.name, holder);
        if (error != VIVERO_OK) {
            vv_single_cancel(single, error);
        }
    }
    return error;
}

void vv_single_cancel(struct vv_single *single, int error)
{
    const struct vivero_exit exit =
        vivero_reason(VIVERO_EXIT_INIT_FAILED, error, vivero_strerror(error));

    /* A supervisor, whose bare entity it replaced, hears of it no other way. */
    vv_entity_started(single->entity.ref, error, &exit);
    (void)vv_entity_end(&single->entity, &exit);
    vv_entity_release(&single->entity);
}

/* ---- The end ------------------------------------------------------------------------------ */

static void log_end(const struct vv_single *single, bool was_up)
{
    char code[16];
    const struct vivero_log_field fields[] = {
        {"reason", vivero_exit_kind_name(single->exit.kind)},
        {"code", code},
        {"text", single->exit.text}};
    bool clean = vivero_exit_is_clean(&single->exit) ||
                 (single->options.quiet && !was_up);

    (void)snprintf(code, sizeof(code), "%d", single->exit.code);
    vv_log(clean ? VIVERO_LOG_DEBUG : VIVERO_LOG_WARNING, "worker",
           single->label, fields, 3, "%s", clean ? "ended" : "failed");
}

/* Its own failure takes the place of the reason. If it ends its thread, all that
 * follows is done by thread_left(). */
static __attribute__((noinline)) void run_terminate(struct vv_single *single)
{
    struct vivero_entity *stage = single->stage;
    sigjmp_buf recovery;

    single->terminated = true;
    stage->recovery = &recovery;
    if (sigsetjmp(recovery, 0) == 0) {
        single->spec.terminate(&stage->self, single->payload, &single->exit,
                               single->spec.ctx);
    } else {
        single->exit = stage->exit;
    }
    stage->recovery = NULL;
}

static void part_with_payload(struct vv_single *single)
{
    if (single->up) {
        single->up = false;
        if (single->spec.destroy != NULL) {
            single->spec.destroy(single->payload, single->spec.ctx);
        }
    }
}

/* Those who wait for an answer of its handlers. */
static void settle_callers(struct vv_single *single)
{
    struct vivero_entity *stage = single->stage;

    if (stage != NULL) {
        stage->exit = single->exit;
        vv_worker_answer_last(stage);
        vv_worker_fail_in_flight(stage);
    }
    vv_reply_default(&single->debts, VIVERO_E_DOWN, &single->exit);
}

/* From here on the stage is its carrier's, which may be about to lend it to
 * somebody else while others still look at this one. */
static void leave_carriers(struct vv_single *single)
{
    if (single->carriers != NULL) {
        (void)vv_timer_cancel_and_wait(&single->idle_timer);
        vv_entity_hold(&single->entity);
        single->stage = NULL;
        vv_entity_unlock(&single->entity);
        vv_carriers_remove(single->carriers, single);
    }
}

void vv_single_finish(struct vv_single *single)
{
    struct vv_request *stop = single->stop;
    bool was_up = single->up;
    struct vivero_exit exit;

    if (single->stage != NULL) {
        single->stage->recovery = NULL;
        vv_worker_run_defers(single->stage);
    }
    if (single->up && single->terminates && !single->terminated &&
        single->spec.terminate != NULL) {
        run_terminate(single);
    }
    vv_name_forget(&single->entity);
    settle_callers(single);
    part_with_payload(single);
    if (single->kind != VV_SINGLE_ATTACHED) {
        vv_worker_set_here(vv_here(), NULL);
        vv_here()->waiter = NULL;
    }
    log_end(single, was_up);
    vv_wait_set_absent(&single->waiter, true);
    vv_single_unwatch(single);
    leave_carriers(single);
    exit = single->exit;
    if (single->kind != VV_SINGLE_ATTACHED && single->carriers == NULL) {
        vv_thread_bequeath();
    }
    if (!vv_entity_end(&single->entity, &exit)) {
        vv_worker_count_given_up(-1);
    }
    if (stop != NULL) {
        vv_request_answer(stop, VIVERO_OK, &exit);
    }
    vv_entity_release(&single->entity);
}

/* The call its handler runs; all zero: none. While the entity is held a carrier's
 * stage cannot be lent to somebody else. */
static struct vivero_reply_token running_call(struct vv_single *single)
{
    struct vivero_reply_token token = {0, 0};

    vv_entity_hold(&single->entity);
    if (single->stage != NULL) {
        token = vv_worker_running_call(single->stage);
    }
    vv_entity_unlock(&single->entity);
    return token;
}

static void give_up(struct vv_single *single, const struct vivero_exit *exit)
{
    vv_worker_count_given_up(1);
    vv_log(VIVERO_LOG_WARNING, "worker", single->label, NULL, 0,
           "given up: its thread goes on until its callback returns");
    (void)vv_reply_fence(running_call(single), VIVERO_E_DOWN, exit);
    vv_reply_default(&single->debts, VIVERO_E_DOWN, exit);
    if (single->carriers != NULL) {
        vv_carriers_give_up(single->carriers, single);
    }
}

bool vv_single_declare_dead(struct vv_single *single,
                            const struct vivero_exit *exit)
{
    /* sync(single.given_up): what it calls from now on is refused. */
    atomic_store_explicit(&single->given_up, true, memory_order_release);
    if (!vv_entity_end(&single->entity, exit)) {
        return false;
    }
    give_up(single, exit);
    return true;
}

bool vv_single_kill(struct vivero_ref ref, const struct vivero_exit *exit)
{
    struct vv_entity *entity = vv_entity_retain(ref);
    struct vv_single *single = entity != NULL ? vv_single_of(entity) : NULL;
    bool killed = single != NULL && vv_single_declare_dead(single, exit);

    if (entity != NULL) {
        vv_entity_release(entity);
    }
    return killed;
}

/* ---- Its own thread --------------------------------------------------------------------------- */

static __attribute__((noinline)) void run_steps(struct vv_single *single)
{
    for (;;) {
        switch (vv_single_step(single)) {
        case VV_STEP_DONE:
            break;
        case VV_STEP_NOTHING:
            vv_single_sleep(single);
            (void)vv_entity_rest(&single->entity, &single->spin,
                                 vv_single_idle_deadline(single));
            vv_single_wake(single);
            break;
        case VV_STEP_ENDED:
            return;
        }
    }
}

static __attribute__((noinline)) void run_function(struct vv_single *single)
{
    static const struct vivero_exit normal = {.kind = VIVERO_EXIT_NORMAL};

    single->begun = true;
    single->function(&single->stage->self, single->function_argument);
    vv_single_set_end(single, &normal);
}

static __attribute__((noinline)) void live(struct vv_single *single)
{
    sigjmp_buf recovery;

    single->stage->recovery = &recovery;
    if (sigsetjmp(recovery, 0) == 0) {
        if (single->kind == VV_SINGLE_FUNCTION) {
            run_function(single);
        } else {
            run_steps(single);
        }
    } else {
        vv_single_jumped(single);
    }
}

static void leave(struct vv_single *single)
{
    vv_single_finish(single);
    vv_entity_set_here(NULL);
}

/* A callback called pthread_exit(). */
static void thread_left(void *ctx)
{
    struct vv_single *single = ctx;
    const struct vivero_exit exit = vivero_reason(
        VIVERO_EXIT_THREAD_LEFT, VIVERO_E_DOWN, "a handler ended its thread");

    vv_wait_end(&single->waiter);
    vv_single_left(single, &exit);
    leave(single);
}

static void run_thread(void *ctx)
{
    struct vv_single *single = ctx;

    vv_worker_set_here(vv_here(), single->stage);
    vv_here()->waiter = &single->waiter;
    vv_entity_set_here(&single->entity);
    vv_single_meet_the_watch(single->stage);
    vv_single_wake(single);
    pthread_cleanup_push(thread_left, single);
    live(single);
    leave(single);
    pthread_cleanup_pop(0);
}

int vv_single_launch(struct vv_single *single)
{
    struct vv_thread_options options = {
        .name = single->label, .stack_size = single->options.stack_size};
    int error = vv_single_watch(single);

    if (error != VIVERO_OK) {
        return error;
    }
    if (single->carriers != NULL) {
        vv_carriers_add(single->carriers, single);
        return VIVERO_OK;
    }
    error = vv_thread_start(&single->thread, &options, run_thread, single);
    if (error != VIVERO_OK) {
        vv_single_unwatch(single);
    }
    return error;
}
