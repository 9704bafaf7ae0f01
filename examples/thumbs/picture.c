/* SPDX-License-Identifier: MIT */
#include "picture.h"

#include <string.h>

void picture_check(struct workbench *bench, uint32_t width, uint32_t height)
{
    if (width == 0 || height == 0 || width > PICTURE_SIDE_MAX ||
        height > PICTURE_SIDE_MAX ||
        (uint64_t)width * height > PICTURE_PIXELS_MAX) {
        workbench_fail(bench, "", "the picture is too large");
    }
}

void picture_begin(struct workbench *bench, struct scale *scale)
{
    scale->row = 0;
    scale->sum = workbench_reserve(bench, &bench->sums,
                                   scale->out_width * sizeof(*scale->sum));
    scale->out =
        workbench_reserve(bench, &bench->thumbnail,
                          (size_t)scale->out_width * scale->out_height * 4);
}

static bool is_jpeg(const struct buffer *file)
{
    return file->size >= 3 && memcmp(file->bytes, "\xff\xd8\xff", 3) == 0;
}

static bool is_png(const struct buffer *file)
{
    return file->size >= 8 && png_sig_cmp(file->bytes, 0, 8) == 0;
}

bool picture_shrink(struct workbench *bench, uint32_t size)
{
    struct scale scale;
    bool decoded = false;

    if (is_png(&bench->file)) {
        decoded = picture_decode_png(bench, size, &scale);
    } else if (is_jpeg(&bench->file)) {
        decoded = picture_decode_jpeg(bench, size, &scale);
    } else {
        workbench_fail(bench, "", "neither PNG nor JPEG");
    }
    workbench_clear(bench);
    if (decoded) {
        picture_encode_png(bench, &scale);
        workbench_clear(bench);
    }
    return decoded;
}
