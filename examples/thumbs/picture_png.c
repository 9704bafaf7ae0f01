/* SPDX-License-Identifier: MIT */

/* PNG through libpng, which is told three things: where the bytes come from
 * and go to, that an error ends in workbench_fail(), and that every picture is
 * to arrive as eight-bit RGBA, whatever it is on disk. */

#include "picture.h"

#include <string.h>

#define CHUNK_BYTES_MAX ((size_t)8 * 1024 * 1024)

static void on_error(png_structp png, png_const_charp why)
{
    workbench_fail(png_get_error_ptr(png), "libpng", why);
}

/* About chunks that do not matter. */
static void on_warning(png_structp png, png_const_charp why)
{
    (void)png;
    (void)why;
}

/* ---- Decoding ----------------------------------------------------------- */

static void read_bytes(png_structp png, png_bytep to, size_t size)
{
    struct workbench *bench = png_get_io_ptr(png);

    if (size > bench->file.size - bench->file_read) {
        png_error(png, "the file ends too early");
    }
    memcpy(to, bench->file.bytes + bench->file_read, size);
    bench->file_read += size;
}

static png_structp open_reader(struct workbench *bench)
{
    bench->file_read = 0;
    bench->png_reader = png_create_read_struct(PNG_LIBPNG_VER_STRING, bench,
                                               on_error, on_warning);
    if (bench->png_reader != NULL) {
        bench->png_info = png_create_info_struct(bench->png_reader);
    }
    if (bench->png_info == NULL) {
        workbench_fail(bench, "libpng", "cannot begin");
    }
    png_set_user_limits(bench->png_reader, PICTURE_SIDE_MAX, PICTURE_SIDE_MAX);
    png_set_chunk_malloc_max(bench->png_reader, CHUNK_BYTES_MAX);
    png_set_benign_errors(bench->png_reader, 1);
    png_set_read_fn(bench->png_reader, bench, read_bytes);
    return bench->png_reader;
}

/* Returns in how many passes the rows come: 1, or 7 if it is interlaced. */
static int ask_for_rgba(png_structp png, png_infop info)
{
    int passes;

    png_set_expand(png);
    png_set_scale_16(png);
    png_set_gray_to_rgb(png);
    png_set_add_alpha(png, 0xff, PNG_FILLER_AFTER);
    passes = png_set_interlace_handling(png);
    png_read_update_info(png, info);
    return passes;
}

/* The usual case: a row comes, is added to the boxes, and is forgotten. */
static bool read_rows(struct workbench *bench, struct scale *scale)
{
    unsigned char *row =
        workbench_reserve(bench, &bench->rows, (size_t)scale->in_width * 4);

    for (uint32_t y = 0; y < scale->in_height; y++) {
        if (!bench->hooks.row(bench->hooks.ctx, y, scale->in_height)) {
            return false;
        }
        png_read_row(bench->png_reader, row, NULL);
        scale_row(scale, row);
    }
    return true;
}

/* Interlaced: the first row is complete only when all have been read. */
static bool read_image(struct workbench *bench, struct scale *scale)
{
    const size_t row_bytes = (size_t)scale->in_width * 4;
    unsigned char *rows =
        workbench_reserve(bench, &bench->rows, row_bytes * scale->in_height);
    png_bytep *list = workbench_reserve(bench, &bench->row_list,
                                        scale->in_height * sizeof(*list));

    for (uint32_t y = 0; y < scale->in_height; y++) {
        list[y] = rows + row_bytes * y;
    }
    png_read_image(bench->png_reader, list);
    for (uint32_t y = 0; y < scale->in_height; y++) {
        if (!bench->hooks.row(bench->hooks.ctx, y, scale->in_height)) {
            return false;
        }
        scale_row(scale, list[y]);
    }
    return true;
}

bool picture_decode_png(struct workbench *bench, uint32_t size,
                        struct scale *scale)
{
    png_structp png = open_reader(bench);
    int passes;

    png_read_info(png, bench->png_info);
    scale->in_width = png_get_image_width(png, bench->png_info);
    scale->in_height = png_get_image_height(png, bench->png_info);
    picture_check(bench, scale->in_width, scale->in_height);
    passes = ask_for_rgba(png, bench->png_info);
    if (png_get_rowbytes(png, bench->png_info) != (size_t)scale->in_width * 4) {
        workbench_fail(bench, "libpng", "no way to make this RGBA");
    }
    scale_fit(scale->in_width, scale->in_height, size, &scale->out_width,
              &scale->out_height);
    picture_begin(bench, scale);
    if (passes == 1 ? !read_rows(bench, scale) : !read_image(bench, scale)) {
        return false;
    }
    png_read_end(png, NULL);
    return true;
}

/* ---- Encoding ----------------------------------------------------------- */

static void write_bytes(png_structp png, png_bytep from, size_t size)
{
    struct workbench *bench = png_get_io_ptr(png);
    const size_t had = bench->encoded.size;

    workbench_reserve(bench, &bench->encoded, had + size);
    memcpy(bench->encoded.bytes + had, from, size);
}

static void nothing_to_flush(png_structp png)
{
    (void)png;
}

static png_structp open_writer(struct workbench *bench)
{
    bench->encoded.size = 0;
    bench->png_writer = png_create_write_struct(PNG_LIBPNG_VER_STRING, bench,
                                                on_error, on_warning);
    if (bench->png_writer != NULL) {
        bench->png_info = png_create_info_struct(bench->png_writer);
    }
    if (bench->png_info == NULL) {
        workbench_fail(bench, "libpng", "cannot begin");
    }
    png_set_write_fn(bench->png_writer, bench, write_bytes, nothing_to_flush);
    return bench->png_writer;
}

static bool is_opaque(const struct scale *scale)
{
    const size_t pixels = (size_t)scale->out_width * scale->out_height;

    for (size_t i = 0; i < pixels; i++) {
        if (scale->out[4 * i + 3] != 0xff) {
            return false;
        }
    }
    return true;
}

void picture_encode_png(struct workbench *bench, const struct scale *scale)
{
    png_structp png = open_writer(bench);
    const bool opaque = is_opaque(scale);

    png_set_IHDR(png, bench->png_info, scale->out_width, scale->out_height, 8,
                 opaque ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_RGB_ALPHA,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, bench->png_info);
    if (opaque) {
        png_set_filler(png, 0, PNG_FILLER_AFTER);
    }
    for (uint32_t y = 0; y < scale->out_height; y++) {
        png_write_row(png, scale->out + (size_t)y * scale->out_width * 4);
    }
    png_write_end(png, NULL);
}
