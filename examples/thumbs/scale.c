/* SPDX-License-Identifier: MIT */
#include "scale.h"

#include <string.h>

static uint32_t share(uint32_t length, uint32_t size, uint32_t longest)
{
    const uint64_t part = ((uint64_t)length * size + longest / 2) / longest;

    return part == 0 ? 1 : (uint32_t)part;
}

void scale_fit(uint32_t width, uint32_t height, uint32_t size,
               uint32_t *out_width, uint32_t *out_height)
{
    const uint32_t longest = width > height ? width : height;

    if (longest <= size) {
        *out_width = width;
        *out_height = height;
    } else {
        *out_width = share(width, size, longest);
        *out_height = share(height, size, longest);
    }
}

/* Which of the `in` cells is the first that belongs to cell i of `out`? */
static uint32_t begin_of(uint32_t i, uint32_t in, uint32_t out)
{
    return (uint32_t)(((uint64_t)i * in + out - 1) / out);
}

/* A picture is at most 65535 wide (picture.h), so 32 bits hold the sums of one
 * row's part of a box. */
static void add_box(struct scale_sum *sum, const unsigned char *pixel,
                    uint32_t count)
{
    uint32_t red = 0;
    uint32_t green = 0;
    uint32_t blue = 0;
    uint32_t alpha = 0;

    for (uint32_t i = 0; i < count; i++, pixel += 4) {
        const uint32_t weight = pixel[3];

        red += pixel[0] * weight;
        green += pixel[1] * weight;
        blue += pixel[2] * weight;
        alpha += weight;
    }
    sum->red += red;
    sum->green += green;
    sum->blue += blue;
    sum->alpha += alpha;
    sum->count += count;
}

static unsigned char average(uint64_t sum, uint64_t weight)
{
    if (weight == 0) {
        return 0;
    }
    return (unsigned char)((sum + weight / 2) / weight);
}

static void write_row(const struct scale *scale, unsigned char *out)
{
    for (uint32_t x = 0; x < scale->out_width; x++, out += 4) {
        const struct scale_sum *sum = &scale->sum[x];

        out[0] = average(sum->red, sum->alpha);
        out[1] = average(sum->green, sum->alpha);
        out[2] = average(sum->blue, sum->alpha);
        out[3] = average(sum->alpha, sum->count);
    }
}

void scale_row(struct scale *scale, const unsigned char *rgba)
{
    const uint32_t y =
        (uint32_t)((uint64_t)scale->row * scale->out_height / scale->in_height);
    uint32_t begin = 0;

    if (scale->row == begin_of(y, scale->in_height, scale->out_height)) {
        memset(scale->sum, 0, scale->out_width * sizeof(*scale->sum));
    }
    for (uint32_t x = 0; x < scale->out_width; x++) {
        const uint32_t end = begin_of(x + 1, scale->in_width, scale->out_width);

        add_box(&scale->sum[x], rgba + (size_t)begin * 4, end - begin);
        begin = end;
    }
    scale->row++;
    if (scale->row == begin_of(y + 1, scale->in_height, scale->out_height)) {
        write_row(scale, scale->out + (size_t)y * scale->out_width * 4);
    }
}
