/* SPDX-License-Identifier: MIT */
#include "base/hash.h"

#include "base/check.h"

#include <string.h>

/* An odd number without pattern: 2^64 divided by the golden ratio. */
#define GOLDEN UINT64_C(0x9e3779b97f4a7c15)

/* Every step is a bijection, so different inputs stay different. */
static uint64_t finish(uint64_t bits)
{
    bits ^= bits >> 30;
    bits *= UINT64_C(0xbf58476d1ce4e5b9);
    bits ^= bits >> 27;
    bits *= UINT64_C(0x94d049bb133111eb);
    bits ^= bits >> 31;
    return bits;
}

static uint64_t absorb(uint64_t state, uint64_t word)
{
    state ^= word;
    state *= GOLDEN;
    state ^= state >> 32;
    return state;
}

uint64_t vv_hash_bytes(const void *bytes, size_t size, uint64_t seed)
{
    const unsigned char *next = bytes;
    /* With the size in it, "a" and "a\0" differ although both are padded. */
    uint64_t state = finish(seed + GOLDEN) ^ size;
    uint64_t word;

    while (size >= sizeof(word)) {
        memcpy(&word, next, sizeof(word));
        state = absorb(state, word);
        next += sizeof(word);
        size -= sizeof(word);
    }
    if (size > 0) {
        word = 0;
        memcpy(&word, next, size);
        state = absorb(state, word);
    }
    return finish(state);
}

uint32_t vv_hash_jump(uint64_t hash, uint32_t count)
{
    uint64_t bucket = 0;
    uint64_t next = 0;

    VV_ASSERT(count > 0);
    /* From bucket b the next jump goes to (b + 1) / r, r uniform in (0, 1]:
     * exactly the chance with which a hash leaves when buckets are added. */
    while (next < count) {
        double r;

        bucket = next;
        hash = hash * UINT64_C(2862933555777941757) + 1;
        r = (double)((hash >> 33) + 1) / (double)(UINT64_C(1) << 31);
        next = (uint64_t)((double)(bucket + 1) / r);
    }
    return (uint32_t)bucket;
}

uint64_t vv_random_next(uint64_t *state)
{
    *state += GOLDEN;
    return finish(*state);
}
