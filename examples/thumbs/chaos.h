/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_CHAOS_H
#define THUMBS_CHAOS_H

/* Seeded misfortune. What befalls a run depends on the seed, the picture and
 * the number of the attempt alone, not on threads or time: the same command
 * kills the same number of workers every time. */

#include <stddef.h>
#include <stdint.h>

enum accident {
    ACCIDENT_NONE = 0,
    ACCIDENT_FAIL,       /* the handler returns vivero_fail() */
    ACCIDENT_EXIT,       /* vivero_exit() half way through the picture */
    ACCIDENT_THREAD_LEFT /* pthread_exit(), a moment before all is done */
};

struct fate {
    uint64_t damage; /* seed for chaos_damage(); 0: the file as it is */
    enum accident accident;
};

/* Decide one run. Out of a hundred, percent get a damaged copy and percent
 * meet with an accident. A picture whose copy was damaged last time gets its
 * true file now, and one that was struck ten times is left alone, so that even
 * 100 percent come to an end. */
struct fate chaos_draw(uint64_t seed, unsigned percent, size_t picture,
                       unsigned attempt, struct fate last);

/* Damage bytes in place. Returns the new size, which may be smaller. With luck
 * the result is still a picture, though hardly the same one. */
size_t chaos_damage(unsigned char *bytes, size_t size, uint64_t seed);

#endif
