/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_SCALE_H
#define THUMBS_SCALE_H

/* Makes a picture smaller by averaging boxes of pixels, one row at a time, so
 * that the large picture never needs to stand in memory as a whole. */

#include <stddef.h>
#include <stdint.h>

/* One pixel of the box sums: colours times alpha, alpha, and how many. */
struct scale_sum {
    uint64_t red;
    uint64_t green;
    uint64_t blue;
    uint64_t alpha;
    uint64_t count;
};

struct scale {
    uint32_t in_width;
    uint32_t in_height;
    uint32_t out_width; /* at most in_width */
    uint32_t out_height;
    uint32_t row;          /* of the input, the next one */
    struct scale_sum *sum; /* out_width of them */
    unsigned char *out;    /* out_width * out_height pixels, RGBA */
};

/* Fit width x height into a square of size pixels; never makes it larger. */
void scale_fit(uint32_t width, uint32_t height, uint32_t size,
               uint32_t *out_width, uint32_t *out_height);

/* Take the next row: in_width pixels, RGBA, not premultiplied. */
void scale_row(struct scale *scale, const unsigned char *rgba);

#endif
