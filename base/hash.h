/* SPDX-License-Identifier: MIT */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* 64 well mixed bits of some bytes. Not for hostile keys. */
uint64_t vv_hash_bytes(const void *bytes, size_t size, uint64_t seed);

/* Jump consistent hash (Lamping and Veach, 2014): a bucket in 0..count-1, such
 * that growing count by one moves 1/(count+1) of the hashes, all of them to the
 * new bucket. count > 0. */
uint32_t vv_hash_jump(uint64_t hash, uint32_t count);

/* splitmix64: the next number of a seeded sequence. */
uint64_t vv_random_next(uint64_t *state);

#endif
