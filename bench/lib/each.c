/* SPDX-License-Identifier: MIT */

/* each: parallel for over items that do nothing but count. */

#include "bench/lib/workload.h"

static const char *const names[] = {
    [BENCH_CHUNK_ONE] = "one",
    [BENCH_CHUNK_GUIDED] = "guided",
    [BENCH_CHUNK_STATIC] = "static",
};

int bench_each(const struct bench_peer *peer, const struct bench_shape *shape)
{
    const struct bench_setup setup = {.workers = shape->workers};
    const long warm_up = shape->count / 10;
    uint64_t done = 0;
    void *pool;

    if (peer->each == NULL) {
        return BENCH_SKIPPED;
    }
    pool = bench_open(peer, shape, &setup);
    bench_enter(peer, shape, pool);
    for (int i = BENCH_CHUNK_ONE; i <= BENCH_CHUNK_STATIC; i++) {
        const enum bench_chunk chunk = (enum bench_chunk)i;
        int64_t begin_ns;

        if (!peer->each(pool, warm_up, chunk)) {
            continue;
        }
        begin_ns = bench_now();
        (void)peer->each(pool, shape->count, chunk);
        bench_result(peer, shape, names[chunk],
                     (double)shape->count * 1e3 /
                         (double)(bench_now() - begin_ns),
                     "M/s");
        done += (uint64_t)(warm_up + shape->count);
    }
    bench_leave(peer, pool);
    bench_close(peer, pool, done, 0);
    return 0;
}
