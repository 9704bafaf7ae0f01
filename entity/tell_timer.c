/* SPDX-License-Identifier: MIT */
/* tell_timer: messages that are sent when their time has come.
 *
 * Model.    An errand holds a timer and the envelope that it will deliver, which
 *           has its own room, so that firing allocates nothing and cannot be
 *           refused. Errands stand in slots that handles name; the driver of
 *           timers exists from the first errand until the last entity is gone.
 * Threads.  fire() on the driver's, everything else on any.
 * Invariants.
 *   I1 Who takes an errand out of ARMED, under the lock, frees it: the one that
 *      fires, or the one that cancels.
 *   I2 An errand's memory stays until the last entity is gone, so a driver that
 *      comes late finds it not ARMED and leaves it alone.
 * Locks.    lock (VV_RANK_ERRANDS), before an entity's and the timers'.
 * Rejected. Freeing an errand in its callback while a canceller looks at it: the
 *           generation in its slot answers that. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "entity/entity_private.h"
#include "mailbox/here.h"
#include "os/clock.h"
#include "os/thread.h"
#include "timer/timer.h"

#include <string.h>

#define CHUNK_ERRANDS 64u
#define CHUNKS_MAX 65536u
#define NAME_MAX_BYTES 63u

enum errand_state { FREE = 0, ARMED };

struct errand {
    struct vv_timer timer;
    uint32_t index; /* fixed */
    uint32_t generation;
    enum errand_state state;
    struct vivero_ref to;
    char name[NAME_MAX_BYTES + 1]; /* "": to */
    struct vv_envelope *envelope;
    struct errand *next_free;
};

struct errand_chunk {
    struct errand_chunk *next; /* on its way out */
    struct errand errand[CHUNK_ERRANDS];
};

static struct vv_mutex lock = VV_MUTEX_INIT(VV_RANK_ERRANDS);
/* guarded by lock */
static struct errand_chunk *chunks[CHUNKS_MAX];
static uint32_t chunk_count;
static struct errand *free_errands;
static uint32_t first_generation = 1;
static uint32_t armed;
static bool has_driver;

static void fire(struct vv_timer *timer);

/* ---- Where errands come from --------------------------------------------------- */

static void free_locked(struct errand *errand)
{
    vv_mutex_assert_held(&lock);
    errand->state = FREE;
    errand->generation =
        errand->generation < UINT32_MAX ? errand->generation + 1 : 1;
    errand->next_free = free_errands;
    free_errands = errand;
    armed--;
}

static void add_chunk_locked(struct errand_chunk *chunk)
{
    for (uint32_t i = CHUNK_ERRANDS; i-- > 0;) {
        struct errand *errand = &chunk->errand[i];

        vv_timer_init(&errand->timer, fire);
        errand->index = chunk_count * CHUNK_ERRANDS + i;
        errand->generation = first_generation;
        errand->next_free = free_errands;
        free_errands = errand;
    }
    chunks[chunk_count++] = chunk;
}

/* The allocator may be the user's: not under the lock. */
static int add_chunk(void)
{
    struct errand_chunk *chunk =
        vv_allocate(NULL, sizeof(*chunk), _Alignof(max_align_t));
    bool added = false;

    if (chunk == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    vv_mutex_lock(&lock);
    if (chunk_count < CHUNKS_MAX) {
        add_chunk_locked(chunk);
        added = true;
    }
    vv_mutex_unlock(&lock);
    if (!added) {
        vv_release(NULL, chunk, sizeof(*chunk), _Alignof(max_align_t));
        return VIVERO_E_LIMIT;
    }
    return VIVERO_OK;
}

/* A driver for as long as there are entities. */
static int need_driver(void)
{
    bool has;
    int error;

    vv_mutex_lock(&lock);
    has = has_driver;
    vv_mutex_unlock(&lock);
    if (has) {
        return VIVERO_OK;
    }
    error = vv_timer_retain();
    if (error != VIVERO_OK) {
        return error;
    }
    vv_mutex_lock(&lock);
    has = has_driver;
    has_driver = true;
    vv_mutex_unlock(&lock);
    if (has) {
        vv_timer_release(); /* somebody else was quicker */
    }
    return VIVERO_OK;
}

/* An armed errand, and the lock held; NULL: not held. */
static struct errand *take_locking(int *error)
{
    struct errand *errand;

    vv_mutex_lock(&lock);
    while (free_errands == NULL) {
        vv_mutex_unlock(&lock);
        *error = add_chunk();
        if (*error != VIVERO_OK) {
            return NULL;
        }
        vv_mutex_lock(&lock);
    }
    errand = free_errands;
    free_errands = errand->next_free;
    errand->state = ARMED;
    armed++;
    return errand;
}

static struct errand *find_locked(struct vivero_timer timer)
{
    struct errand *errand = NULL;

    if (timer.slot / CHUNK_ERRANDS < chunk_count) {
        errand = &chunks[timer.slot / CHUNK_ERRANDS]
                      ->errand[timer.slot % CHUNK_ERRANDS];
    }
    return errand != NULL && errand->generation == timer.generation &&
                   errand->state == ARMED
               ? errand
               : NULL;
}

/* ---- Firing ------------------------------------------------------------------------- */

/* On the driver's thread, which has no reference to anybody: under the entity's
 * lock or not at all. */
static bool deliver(struct vivero_ref to, struct vv_envelope *envelope)
{
    struct vv_entity *entity = vv_entity_lock(to);

    if (entity == NULL) {
        return false;
    }
    vv_entity_append_locked(entity, envelope);
    vv_entity_poke_locked(entity);
    vv_entity_unlock(entity);
    return true;
}

static void fire(struct vv_timer *timer)
{
    struct errand *errand = (struct errand *)timer;
    struct vv_envelope *envelope = NULL;
    struct vivero_ref to;
    char name[NAME_MAX_BYTES + 1] = "";

    vv_mutex_lock(&lock);
    if (errand->state == ARMED) {
        envelope = errand->envelope;
        to = errand->to;
        memcpy(name, errand->name, sizeof(name));
        free_locked(errand);
    }
    vv_mutex_unlock(&lock);
    if (envelope == NULL) {
        return;
    }
    if (name[0] != '\0') {
        to = vivero_whereis(name);
    }
    if (!deliver(to, envelope)) {
        vv_envelope_free(envelope);
    }
}

/* ---- The end ------------------------------------------------------------------------------ */

static struct vv_envelope *cancel_all_locked(void)
{
    struct vv_envelope *cancelled = NULL;

    for (uint32_t i = 0; i < chunk_count * CHUNK_ERRANDS; i++) {
        struct errand *errand =
            &chunks[i / CHUNK_ERRANDS]->errand[i % CHUNK_ERRANDS];

        if (errand->state == ARMED && vv_timer_cancel(&errand->timer)) {
            errand->envelope->next = cancelled;
            cancelled = errand->envelope;
            free_locked(errand);
        }
    }
    return cancelled;
}

static void free_envelopes(struct vv_envelope *envelope)
{
    while (envelope != NULL) {
        struct vv_envelope *next = envelope->next;

        vv_envelope_free(envelope);
        envelope = next;
    }
}

static void remember_generations(const struct errand_chunk *chunk)
{
    for (uint32_t i = 0; i < CHUNK_ERRANDS; i++) {
        if (chunk->errand[i].generation >= first_generation) {
            first_generation = chunk->errand[i].generation + 1;
        }
    }
}

static struct errand_chunk *take_unused_chunks(void)
{
    struct errand_chunk *taken = NULL;

    vv_mutex_lock(&lock);
    while (armed == 0 && !has_driver && chunk_count > 0) {
        struct errand_chunk *chunk = chunks[--chunk_count];

        chunks[chunk_count] = NULL;
        remember_generations(chunk);
        chunk->next = taken;
        taken = chunk;
        free_errands = NULL;
    }
    vv_mutex_unlock(&lock);
    return taken;
}

static void free_chunks(struct errand_chunk *chunk)
{
    while (chunk != NULL) {
        struct errand_chunk *next = chunk->next;

        vv_release(NULL, chunk, sizeof(*chunk), _Alignof(max_align_t));
        chunk = next;
    }
}

void vv_errands_end(void)
{
    struct vv_envelope *cancelled = NULL;
    bool had_driver = false;

    vv_mutex_lock(&lock);
    /* Somebody new has what there is; nobody of his comes in before we are
     * through here. */
    if (!vv_entities_exist()) {
        had_driver = has_driver;
        has_driver = false;
        cancelled = cancel_all_locked();
    }
    vv_mutex_unlock(&lock);
    free_envelopes(cancelled);
    if (had_driver) {
        vv_timer_release();
    }
    free_chunks(take_unused_chunks());
}

/* ---- For users ------------------------------------------------------------------------ */

struct wish {
    struct vivero_ref to;
    const char *name; /* NULL: to */
    int64_t instant_ns;
    uint32_t tag;
    const void *data;
    size_t size;
};

static int arm(const struct wish *wish, struct vv_envelope *envelope,
               struct vivero_timer *timer)
{
    int error = VIVERO_OK;
    struct errand *errand = take_locking(&error);

    if (errand == NULL) {
        return error;
    }
    errand->to = wish->to;
    errand->envelope = envelope;
    memset(errand->name, 0, sizeof(errand->name));
    if (wish->name != NULL) {
        memcpy(errand->name, wish->name, strlen(wish->name));
    }
    if (timer != NULL) {
        *timer = (struct vivero_timer){errand->index, errand->generation};
    }
    vv_timer_start(&errand->timer, wish->instant_ns);
    vv_mutex_unlock(&lock);
    return VIVERO_OK;
}

static int send_on(const struct wish *wish, struct vivero_timer *timer)
{
    struct vv_envelope *envelope;
    int error = need_driver();

    if (error == VIVERO_OK) {
        error = vv_envelope_tell(wish->tag, wish->data, wish->size, &envelope);
    }
    if (error != VIVERO_OK) {
        return error;
    }
    envelope->reserved = true;
    envelope->from = vivero_current();
    error = arm(wish, envelope, timer);
    if (error != VIVERO_OK) {
        vv_envelope_free(envelope);
    }
    return error;
}

/* Somebody must keep the process's envelopes while it is packed. */
static int send(const struct wish *wish, struct vivero_timer *timer)
{
    int refused = vv_here_may_act();
    struct vv_entity *keeper;
    int error;

    VV_CHECK(wish->data != NULL || wish->size == 0,
             "vivero_tell_after(): %zu bytes at NULL", wish->size);
    if (refused != VIVERO_OK) {
        return refused;
    }
    keeper = vv_entity_retain(wish->name == NULL ? wish->to : vivero_current());
    if (keeper == NULL && wish->name != NULL) {
        keeper = vv_entity_retain(vivero_whereis(wish->name));
    }
    if (keeper == NULL) {
        return VIVERO_E_GONE;
    }
    error = send_on(wish, timer);
    vv_entity_release(keeper);
    return error;
}

int vivero_tell_at(struct vivero_ref to, int64_t instant_ns, uint32_t tag,
                   const void *data, size_t size, struct vivero_timer *timer)
{
    const struct wish wish = {to, NULL, instant_ns, tag, data, size};

    return send(&wish, timer);
}

int vivero_tell_after(struct vivero_ref to, int64_t delay_ns, uint32_t tag,
                      const void *data, size_t size, struct vivero_timer *timer)
{
    return vivero_tell_at(to, vv_deadline_after(vivero_now(), delay_ns), tag,
                          data, size, timer);
}

int vivero_tell_name_after(const char *name, int64_t delay_ns, uint32_t tag,
                           const void *data, size_t size,
                           struct vivero_timer *timer)
{
    const struct wish wish = {
        {0, 0}, name, vv_deadline_after(vivero_now(), delay_ns),
        tag,    data, size};

    VV_CHECK(name != NULL, "vivero_tell_name_after(): the name is NULL");
    if (name[0] == '\0' || strlen(name) > NAME_MAX_BYTES) {
        return VIVERO_E_INVALID;
    }
    return send(&wish, timer);
}

/* What is left of its time; never negative. */
static int64_t left_of(struct errand *errand)
{
    int64_t due = vv_timer_due(&errand->timer);
    int64_t now = vivero_now();

    return due > now ? due - now : 0;
}

/* NULL: it has fired, or was taken back. */
static struct vv_envelope *take_back(struct vivero_timer timer,
                                     int64_t *left_ns)
{
    struct vv_envelope *envelope = NULL;
    struct errand *errand;

    vv_mutex_lock(&lock);
    errand = find_locked(timer);
    if (errand != NULL) {
        *left_ns = left_of(errand);
        if (vv_timer_cancel(&errand->timer)) {
            envelope = errand->envelope;
            free_locked(errand);
        }
    }
    vv_mutex_unlock(&lock);
    return envelope;
}

int vivero_timer_cancel(struct vivero_timer timer, int64_t *left_ns)
{
    int refused = vv_here_may_act();
    struct vv_envelope *envelope;
    int64_t left = 0;

    if (refused != VIVERO_OK) {
        return refused;
    }
    /* Else the last entity's end may free the envelope that was taken back. */
    if (!vv_runtime_share()) {
        return VIVERO_E_GONE;
    }
    envelope = take_back(timer, &left);
    if (envelope != NULL) {
        vv_envelope_free(envelope);
    }
    vv_runtime_unshare();
    if (envelope == NULL) {
        return VIVERO_E_GONE;
    }
    if (left_ns != NULL) {
        *left_ns = left;
    }
    return VIVERO_OK;
}

int vivero_timer_read(struct vivero_timer timer, int64_t *left_ns)
{
    int refused = vv_here_may_act();
    const struct errand *errand;

    VV_CHECK(left_ns != NULL, "vivero_timer_read(): no place for the result");
    if (refused != VIVERO_OK) {
        return refused;
    }
    vv_mutex_lock(&lock);
    errand = find_locked(timer);
    if (errand != NULL) {
        *left_ns = left_of((struct errand *)(uintptr_t)errand);
    }
    vv_mutex_unlock(&lock);
    return errand != NULL ? VIVERO_OK : VIVERO_E_GONE;
}
