/* SPDX-License-Identifier: MIT */
/* pool_each: a parallel loop.
 *
 * Each worker gets one message, its part: claim some indices, run them, claim
 * again, until none is left. The caller waits for all parts; one part alone
 * would do it all, so a worker that is busy elsewhere holds up nothing but the
 * end. Guided chunks: a sixteenth of what is left, so that the claims are few
 * and the parts end together.
 *
 * The loop stands in the box of arguments, which all parts share: so it is there
 * for as long as any of them may run, also one that hangs and was replaced, and
 * the last one frees it. */
#include <vivero/error.h>

#include "base/check.h"
#include "pool/pool_send.h"

#include <string.h>

#define GUIDED_SHARE 16u
#define GUIDED_MAX 4096u

/* Shared by the workers that run one loop. */
struct loop {
    size_t count;
    size_t chunk;
    vivero_each_fn *fn;
    void *ctx;
    unsigned char apart[VV_CACHELINE]; /* from what all of them write */
    _Atomic size_t next;
};

static size_t chunk_at(const struct loop *loop, size_t at)
{
    size_t share = (loop->count - at) / GUIDED_SHARE;

    if (loop->chunk > 0) {
        return loop->chunk;
    }
    return share < 1 ? 1 : share > GUIDED_MAX ? GUIDED_MAX : share;
}

/* Claim indices [*from, end). end == *from: none is left. */
static size_t claim_indices(struct loop *loop, size_t *from)
{
    /* relaxed: who claims what is all that matters. */
    size_t at = atomic_load_explicit(&loop->next, memory_order_relaxed);
    size_t chunk = at < loop->count ? chunk_at(loop, at) : 0;

    if (chunk > 0) {
        /* relaxed: as above. */
        at =
            atomic_fetch_add_explicit(&loop->next, chunk, memory_order_relaxed);
    }
    *from = at < loop->count ? at : loop->count;
    return loop->count - *from < chunk ? loop->count : *from + chunk;
}

static int run_loop(struct vivero_self *self, const void *in, void *out)
{
    struct loop *loop = (struct loop *)(uintptr_t)in;
    size_t from;
    size_t end;

    (void)out;
    while ((end = claim_indices(loop, &from)) > from) {
        for (size_t i = from; i < end; i++) {
            loop->fn(self, i, loop->ctx);
        }
    }
    return VIVERO_OK;
}

static const struct vivero_operation loop_operation = {
    .name = "each", .run = run_loop, .in_size = sizeof(struct loop)};

/* Put one worker's part; the caller waits for it later. */
static int put_part(struct vv_sending *sending, struct vv_box *box)
{
    int error = vv_send_attach_reply(sending, 0, true, VIVERO_FOREVER);

    if (error == VIVERO_OK) {
        sending->message.box = vv_box_share(box);
        sending->policy = VIVERO_FULL_WAIT;
        error = vv_send_put(sending);
        if (error != VIVERO_OK) {
            vv_send_unpack(sending);
        }
    }
    return error;
}

/* Wait for the parts; the first error among them. */
static int wait_for_parts(struct vv_pool *pool, struct vv_reply *const *parts,
                          uint32_t count)
{
    int first = VIVERO_OK;

    for (uint32_t i = 0; i < count; i++) {
        bool expired;
        int error = vv_reply_wait(parts[i], &pool->crew.spin, NULL, &expired);

        first = first == VIVERO_OK ? error : first;
    }
    return first;
}

static int run_parts(struct vv_sending *sending, struct vv_box *box,
                     uint32_t count)
{
    struct vv_pool *pool = sending->visit.pool;
    struct vv_reply **parts = vv_allocate(
        &pool->account, count * sizeof(*parts), _Alignof(max_align_t));
    uint32_t made = 0;
    int error = parts != NULL ? VIVERO_OK : VIVERO_E_NO_MEMORY;
    int result;

    sending->deadline_ns = VIVERO_FOREVER;
    while (made < count && error == VIVERO_OK) {
        error = put_part(sending, box);
        if (error == VIVERO_OK) {
            parts[made++] = sending->message.reply;
        }
    }
    result = wait_for_parts(pool, parts, made);
    vv_release(&pool->account, parts, count * sizeof(*parts),
               _Alignof(max_align_t));
    /* One part is enough to do it all. */
    return made > 0 ? result : error;
}

static int each(struct vv_sending *sending, const struct loop *loop)
{
    struct vv_pool *pool = sending->visit.pool;
    const struct vivero_entity *worker = sending->visit.here->worker;
    uint32_t workers = vv_crew_size(&pool->crew);
    struct vv_box *box;
    int error;

    if (worker != NULL && vv_worker_spec_of(worker)->owner == pool) {
        return VIVERO_E_DEADLOCK;
    }
    box = vv_box_new(sizeof(*loop), &pool->account);
    if (box == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    memcpy(box->bytes, loop, sizeof(*loop));
    error = run_parts(sending, box,
                      loop->count < workers ? (uint32_t)loop->count : workers);
    vv_box_free(box);
    return error;
}

int vivero_pool_each(struct vivero_pool *pool, size_t count_, size_t chunk,
                     vivero_each_fn *fn, void *ctx)
{
    const struct loop loop = {
        .count = count_, .chunk = chunk, .fn = fn, .ctx = ctx};
    struct vv_sending sending;
    int error = vv_send_prepare(&sending, pool, &loop_operation, &loop, NULL,
                                "vivero_pool_each");

    VV_CHECK(fn != NULL, "vivero_pool_each() on pool %s: fn is NULL",
             sending.visit.pool->name);
    if (error == VIVERO_OK && count_ > 0) {
        error = each(&sending, &loop);
    }
    vv_pool_leave(&sending.visit);
    return error;
}
