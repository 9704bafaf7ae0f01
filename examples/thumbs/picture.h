/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_PICTURE_H
#define THUMBS_PICTURE_H

/* Decode, make small, encode. All of it fails through workbench_fail(). */

#include "scale.h"
#include "workbench.h"

/* Bounds, so that a small file cannot ask for all the memory there is. */
#define PICTURE_SIDE_MAX 65535
#define PICTURE_PIXELS_MAX (UINT64_C(64) * 1024 * 1024)
#define PICTURE_LIBRARY_BYTES_MAX (256L * 1024 * 1024)

/* Turn bench->file, a PNG or a JPEG, into bench->encoded: a PNG that fits into
 * a square of size pixels. The same bytes give the same thumbnail, always.
 * Returns false when the row hook gave the picture up. */
bool picture_shrink(struct workbench *bench, uint32_t size);

/* For the decoders: begin and take rows. Checks the bounds; the decoded picture
 * may be smaller than the true one if the decoder is able to scale. */
void picture_check(struct workbench *bench, uint32_t width, uint32_t height);
void picture_begin(struct workbench *bench, struct scale *scale);

/* Returns false when the row hook gave the picture up. */
bool picture_decode_png(struct workbench *bench, uint32_t size,
                        struct scale *scale);
bool picture_decode_jpeg(struct workbench *bench, uint32_t size,
                         struct scale *scale);

void picture_encode_png(struct workbench *bench, const struct scale *scale);

#endif
