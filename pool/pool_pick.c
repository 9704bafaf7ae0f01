/* SPDX-License-Identifier: MIT */
/* pool_pick: which worker gets a message.
 *
 * A named worker, else a key's, else by the pool's strategy. A key is hashed to
 * one of the sizes's seats by jump hashing: growing by one moves 1/n of the keys
 * and all of them to the new worker. A seat whose worker halted for good passes
 * its keys on to the others, evenly: the hash is drawn again. */
#include <vivero/error.h>

#include "base/hash.h"
#include "pool/pool_private.h"

#include <string.h>

/* Then the next one that is open, whichever: nearly all have halted. */
#define DRAWS 16

static bool is_open(const struct vv_pool *pool, uint32_t seat)
{
    return vv_mailbox_is_open(vv_crew_seat(&pool->crew, seat)->mailbox);
}

static uint32_t seat_of_hash(const struct vv_pool *pool, uint64_t hash)
{
    uint32_t size = vv_crew_size(&pool->crew);
    uint32_t seat = vv_hash_jump(hash, size);

    for (int i = 0; i < DRAWS && !is_open(pool, seat); i++) {
        hash = vv_random_next(&hash);
        seat = vv_hash_jump(hash, size);
    }
    for (uint32_t i = 0; i < size && !is_open(pool, seat); i++) {
        seat = (seat + 1) % size;
    }
    return seat;
}

static uint64_t operation_hash(const struct vivero_operation *operation,
                               const void *in)
{
    uint64_t hash = vv_hash_bytes(operation->name, strlen(operation->name), 0);

    return operation->key_size > 0
               ? vv_hash_bytes(in, operation->key_size, hash)
               : hash;
}

/* The pool's seed gives a sequence; who asks next gets the next of it. */
static uint64_t next_random(struct vv_pool *pool)
{
    /* relaxed: only that no two get the same. */
    uint64_t turn =
        atomic_fetch_add_explicit(&pool->random_picks, 1, memory_order_relaxed);
    uint64_t state = pool->options.seed + turn * UINT64_C(0x9e3779b97f4a7c15);

    return vv_random_next(&state);
}

int vv_pool_route(struct vv_pool *pool, struct vv_here *here,
                  const struct vivero_operation *operation, const void *in,
                  const struct vivero_send *send, struct vv_route *route)
{
    route->seat = VV_ANY_SEAT;
    route->lane = VV_LANE_OWN;
    if (vv_crew_size(&pool->crew) == 0) {
        return vv_pool_refusal(pool, here); /* from an init, while it opens */
    }
    if (send->worker != 0) {
        route->seat = send->worker - 1;
        return route->seat < vv_crew_size(&pool->crew) ? VIVERO_OK
                                                       : VIVERO_E_NOT_FOUND;
    }
    if (send->key != NULL) {
        route->seat =
            seat_of_hash(pool, vv_hash_bytes(send->key, send->key_size, 0));
        return VIVERO_OK;
    }
    switch (pool->options.pick) {
    case VIVERO_PICK_FREE:
        route->lane = VV_LANE_POOL;
        break;
    case VIVERO_PICK_RANDOM:
        route->seat = seat_of_hash(pool, next_random(pool));
        break;
    case VIVERO_PICK_KEY:
        route->seat = seat_of_hash(pool, operation_hash(operation, in));
        break;
    }
    return VIVERO_OK;
}
