/* SPDX-License-Identifier: MIT */
#include "tests/lib/solo.h"

#include <vivero/error.h>

#include "tests/lib/eventually.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Witnesses ------------------------------------------------------------ */

void witness_clear(struct witness *witness)
{
    pthread_mutex_lock(&witness->lock);
    witness->count = 0;
    pthread_mutex_unlock(&witness->lock);
}

void witness_see(struct witness *witness, const struct sight *sight)
{
    pthread_mutex_lock(&witness->lock);
    if (witness->count < SIGHTS_MAX) {
        witness->sight[witness->count++] = *sight;
    }
    pthread_mutex_unlock(&witness->lock);
}

uint32_t witness_count(struct witness *witness, enum sight_kind kind)
{
    uint32_t count = 0;

    pthread_mutex_lock(&witness->lock);
    for (uint32_t i = 0; i < witness->count; i++) {
        count += witness->sight[i].kind == kind;
    }
    pthread_mutex_unlock(&witness->lock);
    return count;
}

struct sight witness_sight(struct witness *witness, enum sight_kind kind,
                           uint32_t nth)
{
    struct sight sight = {.kind = SAW_NOTHING};

    pthread_mutex_lock(&witness->lock);
    for (uint32_t i = 0; i < witness->count; i++) {
        if (witness->sight[i].kind == kind && nth-- == 0) {
            sight = witness->sight[i];
            break;
        }
    }
    pthread_mutex_unlock(&witness->lock);
    return sight;
}

struct witness_wish {
    struct witness *witness;
    enum sight_kind kind;
    uint32_t count;
};

static bool witness_has(void *ctx)
{
    struct witness_wish *wish = ctx;

    return witness_count(wish->witness, wish->kind) >= wish->count;
}

bool witness_await(struct witness *witness, enum sight_kind kind,
                   uint32_t count)
{
    struct witness_wish wish = {witness, kind, count};

    return eventually(witness_has, &wish, CREW_PATIENCE);
}

bool witness_saw(struct witness *witness, const enum sight_kind *kinds,
                 uint32_t count)
{
    pthread_mutex_lock(&witness->lock);
    bool same = witness->count == count;
    for (uint32_t i = 0; same && i < count; i++) {
        same = witness->sight[i].kind == kinds[i];
    }
    pthread_mutex_unlock(&witness->lock);
    return same;
}

int solo_init(struct vivero_self *self, void *payload, void *ctx)
{
    struct solo *solo = payload;

    (void)self;
    solo->witness = ctx;
    witness_see(ctx, &(struct sight){.kind = SAW_INIT});
    return VIVERO_OK;
}

void solo_terminate(struct vivero_self *self, void *payload,
                    const struct vivero_exit *reason, void *ctx)
{
    (void)self;
    (void)payload;
    witness_see(ctx, &(struct sight){.kind = SAW_TERMINATE, .exit = *reason});
}

void solo_destroy(void *payload, void *ctx)
{
    struct solo *solo = payload;

    witness_see(ctx,
                &(struct sight){.kind = SAW_DESTROY, .value = solo->value});
}

int solo_info(struct vivero_self *self, const struct vivero_info *info,
              void *ctx)
{
    struct sight sight = {.kind = SAW_INFO,
                          .tag = info->tag,
                          .info = info->kind,
                          .size = info->size,
                          .from = info->from,
                          .exit = info->exit,
                          .monitor = info->monitor};

    (void)self;
    if (info->size >= sizeof(int)) {
        memcpy(&sight.value, info->data, sizeof(int));
    }
    witness_see(ctx, &sight);
    return VIVERO_OK;
}

int solo_continue(struct vivero_self *self, uint32_t tag, void *ctx)
{
    (void)self;
    witness_see(ctx, &(struct sight){.kind = SAW_CONTINUE, .tag = tag});
    return VIVERO_OK;
}

const struct vivero_worker_options *
solo_options(const struct vivero_worker_options *given,
             struct vivero_worker_options *place)
{
    *place = *given;
    place->payload_size = sizeof(struct solo);
    if (place->init == NULL) {
        place->init = solo_init;
    }
    if (place->terminate == NULL) {
        place->terminate = solo_terminate;
    }
    if (place->destroy == NULL) {
        place->destroy = solo_destroy;
    }
    if (place->on_info == NULL) {
        place->on_info = solo_info;
    }
    if (place->on_continue == NULL) {
        place->on_continue = solo_continue;
    }
    return place;
}

/* ---- Operations ----------------------------------------------------------- */

static int do_it(struct vivero_self *self, const void *in, void *out)
{
    const struct solo_do_in *what = in;

    (void)out;
    return what->fn(self, what->arg);
}

static int note(struct vivero_self *self, const void *in, void *out)
{
    struct solo *solo = vivero_payload(self);

    (void)out;
    witness_see(solo->witness, &(struct sight){.kind = SAW_HANDLED,
                                               .value = *(const int *)in});
    return VIVERO_OK;
}

static int add(struct vivero_self *self, const void *in, void *out)
{
    struct solo *solo = vivero_payload(self);

    solo->value += *(const int *)in;
    if (out != NULL) {
        memcpy(out, &solo->value, sizeof(int));
    }
    return VIVERO_OK;
}

const struct vivero_operation solo_do = {
    .name = "do", .run = do_it, .in_size = sizeof(struct solo_do_in)};
const struct vivero_operation solo_note = {
    .name = "note", .run = note, .in_size = sizeof(int)};
const struct vivero_operation solo_add = {
    .name = "add", .run = add, .in_size = sizeof(int), .out_size = sizeof(int)};

int solo_ask(struct vivero_ref ref, solo_fn *fn, void *arg)
{
    struct solo_do_in in = {fn, arg};

    return vivero_worker_call(ref, &solo_do, &in, NULL,
                              VIVERO_SEND(.timeout_ns = CREW_PATIENCE));
}

int solo_order(struct vivero_ref ref, solo_fn *fn, void *arg)
{
    struct solo_do_in in = {fn, arg};

    return vivero_worker_cast(ref, &solo_do, &in, NULL);
}

/* ---- Workers --------------------------------------------------------------- */

static struct vivero_ref or_nobody(const char *what, int error,
                                   struct vivero_ref ref)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        return (struct vivero_ref){0, 0};
    }
    return ref;
}

struct vivero_ref solo_start(const struct vivero_worker_options *options)
{
    struct vivero_ref ref = {0, 0};
    int error = vivero_worker_start(options, &ref);

    return or_nobody("solo_start", error, ref);
}

struct vivero_ref solo_start_link(const struct vivero_worker_options *options)
{
    struct vivero_ref ref = {0, 0};
    int error = vivero_worker_start_link(options, &ref);

    return or_nobody("solo_start_link", error, ref);
}

struct vivero_ref solo_spawn(const struct vivero_spawn_options *options,
                             vivero_spawn_fn *fn, void *argument)
{
    struct vivero_ref ref = {0, 0};
    int error = vivero_spawn(options, fn, argument, &ref);

    return or_nobody("solo_spawn", error, ref);
}

bool solo_stop(struct vivero_ref ref)
{
    return vivero_worker_stop(ref, NULL, CREW_PATIENCE) == VIVERO_OK;
}

bool solo_end(struct vivero_ref ref)
{
    (void)vivero_worker_stop(ref, NULL, CREW_PATIENCE);
    return solo_await_end(ref);
}

struct solo_wish {
    struct vivero_ref ref;
    uint32_t number;
};

static bool has_ended(void *ctx)
{
    struct solo_wish *wish = ctx;

    return !vivero_is_alive(wish->ref);
}

bool solo_await_end(struct vivero_ref ref)
{
    struct solo_wish wish = {ref, 0};

    return eventually(has_ended, &wish, CREW_PATIENCE);
}

struct vivero_worker_info solo_look(struct vivero_ref ref)
{
    struct vivero_worker_info info;

    if (vivero_worker_info(ref, &info) != VIVERO_OK) {
        memset(&info, 0, sizeof(info));
    }
    return info;
}

static bool has_queued(void *ctx)
{
    struct solo_wish *wish = ctx;

    return solo_look(wish->ref).worker.queued == wish->number;
}

bool solo_await_queued(struct vivero_ref ref, uint32_t queued)
{
    struct solo_wish wish = {ref, queued};

    return eventually(has_queued, &wish, CREW_PATIENCE);
}

static bool has_state(void *ctx)
{
    struct solo_wish *wish = ctx;

    return (uint32_t)solo_look(wish->ref).worker.state == wish->number;
}

bool solo_await_state(struct vivero_ref ref, enum vivero_worker_state state)
{
    struct solo_wish wish = {ref, (uint32_t)state};

    return eventually(has_state, &wish, CREW_PATIENCE);
}

bool solo_hold(struct vivero_ref ref, struct gate *gate)
{
    struct hold_in in = {gate};

    gate_shut(gate);
    return vivero_worker_cast(ref, &crew_hold, &in, NULL) == VIVERO_OK &&
           gate_await(gate, 1);
}

/* ---- The test's own thread, attached ------------------------------------------ */

bool solo_attach(void)
{
    struct vivero_ref ref;

    return vivero_attach(NULL, &ref) == VIVERO_OK;
}

void solo_detach(void)
{
    vivero_detach(NULL);
}

struct vivero_info solo_receive(void)
{
    const struct vivero_info *info;
    struct vivero_info copy = {0};

    if (vivero_receive(&info, CREW_PATIENCE) == VIVERO_OK) {
        copy = *info;
        copy.data = NULL;
    }
    return copy;
}

bool solo_hears_nothing(void)
{
    const struct vivero_info *info;

    return vivero_receive(&info, SOLO_SILENCE) == VIVERO_E_TIMED_OUT;
}

/* ---- Threads that call ---------------------------------------------------------- */

static void start_thread(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
    int error = pthread_create(thread, NULL, run, arg);

    if (error != 0) {
        fprintf(stderr, "pthread_create: %s\n", strerror(error));
        abort();
    }
}

static void *caller_run(void *arg)
{
    struct solo_caller *caller = arg;
    int64_t began_ns = vivero_now();

    caller->result = vivero_worker_call(caller->to, caller->operation,
                                        caller->in, caller->out, caller->send);
    caller->took_ns = vivero_now() - began_ns;
    caller->reason = *vivero_last_exit();
    return NULL;
}

void solo_caller_start(struct solo_caller *caller)
{
    start_thread(&caller->thread, caller_run, caller);
}

void solo_caller_join(struct solo_caller *caller)
{
    pthread_join(caller->thread, NULL);
}

static void *stopper_run(void *arg)
{
    struct solo_stopper *stopper = arg;

    stopper->result =
        vivero_worker_stop(stopper->to, stopper->reason, stopper->timeout_ns);
    stopper->exit = *vivero_last_exit();
    return NULL;
}

void solo_stopper_start(struct solo_stopper *stopper)
{
    start_thread(&stopper->thread, stopper_run, stopper);
}

void solo_stopper_join(struct solo_stopper *stopper)
{
    pthread_join(stopper->thread, NULL);
}
