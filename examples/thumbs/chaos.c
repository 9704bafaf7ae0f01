/* SPDX-License-Identifier: MIT */
#include "chaos.h"

#include <string.h>

#define ATTEMPTS_STRUCK_MAX 10

/* splitmix64: any seed will do, and neighbouring seeds have nothing to do with
 * one another. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* From 0 to bound - 1. The bias of the remainder does not matter here. */
static uint64_t below(uint64_t *state, uint64_t bound)
{
    return next_random(state) % bound;
}

struct fate chaos_draw(uint64_t seed, unsigned percent, size_t picture,
                       unsigned attempt, struct fate last)
{
    struct fate fate = {0, ACCIDENT_NONE};
    uint64_t state = seed;

    if (percent == 0 || attempt >= ATTEMPTS_STRUCK_MAX) {
        return fate;
    }
    state = next_random(&state) ^ (uint64_t)picture;
    state = next_random(&state) ^ attempt;

    const uint64_t damage = next_random(&state) | 1;
    if (below(&state, 100) < percent && last.damage == 0) {
        fate.damage = damage;
    }
    const uint64_t accident = below(&state, 3);
    if (below(&state, 100) < percent) {
        fate.accident = (enum accident)(ACCIDENT_FAIL + accident);
    }
    return fate;
}

static void flip_bits(unsigned char *bytes, size_t size, uint64_t *state)
{
    const uint64_t flips = 1 + below(state, 16);

    for (uint64_t i = 0; i < flips; i++) {
        bytes[below(state, size)] ^= (unsigned char)(1U << below(state, 8));
    }
}

static void write_noise(unsigned char *bytes, size_t size, uint64_t *state)
{
    const size_t begin = (size_t)below(state, size);
    const size_t length = 1 + (size_t)below(state, size - begin);

    for (size_t i = begin; i < begin + length; i++) {
        bytes[i] ^= (unsigned char)(1 + below(state, 255));
    }
}

static void write_zeros(unsigned char *bytes, size_t size, uint64_t *state)
{
    const size_t begin = (size_t)below(state, size);

    memset(bytes + begin, 0, 1 + (size_t)below(state, size - begin));
}

/* The first bytes say what and how large the picture is. */
static void spoil_header(unsigned char *bytes, size_t size, uint64_t *state)
{
    flip_bits(bytes, size < 32 ? size : 32, state);
}

size_t chaos_damage(unsigned char *bytes, size_t size, uint64_t seed)
{
    uint64_t state = seed;

    if (size == 0) {
        return 0;
    }
    switch (below(&state, 5)) {
    case 0:
        return (size_t)below(&state, size); /* cut off */
    case 1:
        flip_bits(bytes, size, &state);
        break;
    case 2:
        write_noise(bytes, size, &state);
        break;
    case 3:
        write_zeros(bytes, size, &state);
        break;
    default:
        spoil_header(bytes, size, &state);
        break;
    }
    return size;
}
