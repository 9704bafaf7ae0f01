/* SPDX-License-Identifier: MIT */

/* JPEG through libjpeg(-turbo), which can leave out detail while it decodes: a
 * photograph is read at an eighth of its size if that is enough.
 *
 * libjpeg calls a damaged picture a warning and goes on with grey mud. We
 * prefer not to have a thumbnail then, so those warnings are errors here. */

#include "picture.h"

#include <jerror.h>

#define SCANS_MAX 500

/* The structs of libjpeg have a common beginning, and room for one pointer. */
static struct workbench *bench_of(j_common_ptr jpeg)
{
    return jpeg->client_data;
}

static void on_error(j_common_ptr jpeg)
{
    char why[JMSG_LENGTH_MAX];

    jpeg->err->format_message(jpeg, why);
    workbench_fail(bench_of(jpeg), "libjpeg", why);
}

/* level -1: a warning; 0 and more: chatter. */
static void on_message(j_common_ptr jpeg, int level)
{
    if (level >= 0) {
        return;
    }
    switch (jpeg->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_TOO_MUCH_DATA:
        return; /* odd, but nothing is missing */
    default:
        on_error(jpeg);
    }
}

/* Called now and then during the long steps of a progressive picture. */
static void on_progress(j_common_ptr jpeg)
{
    struct workbench *bench = bench_of(jpeg);

    if (bench->jpeg.input_scan_number > SCANS_MAX) {
        workbench_fail(bench, "libjpeg", "too many scans");
    }
}

static struct jpeg_decompress_struct *open_reader(struct workbench *bench)
{
    struct jpeg_decompress_struct *jpeg = &bench->jpeg;

    jpeg->err = jpeg_std_error(&bench->jpeg_errors);
    bench->jpeg_errors.error_exit = on_error;
    bench->jpeg_errors.emit_message = on_message;
    jpeg->client_data = bench;
    jpeg->mem = NULL; /* should jpeg_create_decompress() fail */
    bench->jpeg_open = true;
    jpeg_create_decompress(jpeg);
    bench->jpeg_progress.progress_monitor = on_progress;
    jpeg->progress = &bench->jpeg_progress;
    jpeg->mem->max_memory_to_use = PICTURE_LIBRARY_BYTES_MAX;
    jpeg_mem_src(jpeg, bench->file.bytes, (unsigned long)bench->file.size);
    return jpeg;
}

/* The smallest eighth, quarter or half that is still larger than wanted. */
static void choose_size(struct jpeg_decompress_struct *jpeg,
                        const struct scale *scale)
{
    jpeg->scale_num = 1;
    for (jpeg->scale_denom = 8; jpeg->scale_denom > 1; jpeg->scale_denom /= 2) {
        if (jpeg->image_width / jpeg->scale_denom >= scale->out_width &&
            jpeg->image_height / jpeg->scale_denom >= scale->out_height) {
            return;
        }
    }
}

static void rgb_to_rgba(unsigned char *to, const unsigned char *from,
                        uint32_t count)
{
    for (uint32_t i = 0; i < count; i++, to += 4, from += 3) {
        to[0] = from[0];
        to[1] = from[1];
        to[2] = from[2];
        to[3] = 0xff;
    }
}

/* Printers' ink; Adobe's programs write it inverted, and say so. */
static void cmyk_to_rgba(unsigned char *to, const unsigned char *from,
                         uint32_t count, bool inverted)
{
    const unsigned flip = inverted ? 0 : 0xff;

    for (uint32_t i = 0; i < count; i++, to += 4, from += 4) {
        const unsigned light = from[3] ^ flip;

        to[0] = (unsigned char)((from[0] ^ flip) * light / 255);
        to[1] = (unsigned char)((from[1] ^ flip) * light / 255);
        to[2] = (unsigned char)((from[2] ^ flip) * light / 255);
        to[3] = 0xff;
    }
}

/* bench->rows holds what libjpeg gives, and behind it the same as RGBA. */
static bool read_rows(struct workbench *bench, struct scale *scale)
{
    struct jpeg_decompress_struct *jpeg = &bench->jpeg;
    const size_t row_bytes = (size_t)scale->in_width * 4;
    unsigned char *row = workbench_reserve(bench, &bench->rows, 2 * row_bytes);
    unsigned char *rgba = row + row_bytes;

    for (uint32_t y = 0; y < scale->in_height; y++) {
        if (!bench->hooks.row(bench->hooks.ctx, y, scale->in_height)) {
            return false;
        }
        jpeg_read_scanlines(jpeg, &row, 1);
        if (jpeg->out_color_space == JCS_CMYK) {
            cmyk_to_rgba(rgba, row, scale->in_width,
                         jpeg->saw_Adobe_marker != 0);
        } else {
            rgb_to_rgba(rgba, row, scale->in_width);
        }
        scale_row(scale, rgba);
    }
    return true;
}

bool picture_decode_jpeg(struct workbench *bench, uint32_t size,
                         struct scale *scale)
{
    struct jpeg_decompress_struct *jpeg = open_reader(bench);

    jpeg_read_header(jpeg, TRUE);
    picture_check(bench, jpeg->image_width, jpeg->image_height);
    scale_fit(jpeg->image_width, jpeg->image_height, size, &scale->out_width,
              &scale->out_height);
    choose_size(jpeg, scale);
    jpeg->out_color_space =
        jpeg->jpeg_color_space == JCS_CMYK || jpeg->jpeg_color_space == JCS_YCCK
            ? JCS_CMYK
            : JCS_RGB;
    jpeg_start_decompress(jpeg);
    scale->in_width = jpeg->output_width;
    scale->in_height = jpeg->output_height;
    picture_begin(bench, scale);
    if (!read_rows(bench, scale)) {
        return false;
    }
    jpeg_finish_decompress(jpeg);
    return true;
}
