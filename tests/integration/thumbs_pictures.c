/* SPDX-License-Identifier: MIT */

/* thumbs_pictures FOLDER: draws the pictures for thumbs_test.sh, every kind of
 * PNG and JPEG there is, always the same ones. Prints how many. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* jpeglib.h wants stdio.h before it. */
/* clang-format off */
#include <jpeglib.h>
#include <png.h>
/* clang-format on */

#define CHANNELS_MAX 4
#define SIDE_MAX 700

/* A ring on a slope, with some noise: bright where channel and place agree. */
static unsigned sample(unsigned x, unsigned y, unsigned channel, unsigned seed)
{
    const unsigned dx = x > 90 ? x - 90 : 90 - x;
    const unsigned dy = y > 60 ? y - 60 : 60 - y;
    const unsigned distance = dx * dx + dy * dy;
    unsigned noise = x * 73856093U ^ y * 19349663U ^ seed * 83492791U;

    noise ^= noise >> 13;
    noise *= 0x5bd1e995U;
    if (distance > 900 && distance < 2500) {
        return channel == seed % 3 ? 65535 : 9000;
    }
    return (x * (channel + 1) * 150 + y * 210 + (noise >> 20)) & 0xffff;
}

static FILE *create(const char *folder, unsigned index, const char *ending)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%u", folder, index % 4);
    if (mkdir(path, 0777) != 0 && errno != EEXIST) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    snprintf(path, sizeof(path), "%s/%u/picture %02u.%s", folder, index % 4,
             index, ending);
    file = fopen(path, "wb");
    if (file == NULL) {
        perror(path);
        exit(EXIT_FAILURE);
    }
    return file;
}

static void finish(FILE *file)
{
    if (fclose(file) != 0) {
        perror("thumbs_pictures");
        exit(EXIT_FAILURE);
    }
}

/* ---- PNG ---------------------------------------------------------------- */

struct png_kind {
    int colours;
    int depth;
    unsigned channels;
};

static const struct png_kind png_kinds[] = {
    {PNG_COLOR_TYPE_GRAY, 1, 1},        {PNG_COLOR_TYPE_GRAY, 2, 1},
    {PNG_COLOR_TYPE_GRAY, 4, 1},        {PNG_COLOR_TYPE_GRAY, 8, 1},
    {PNG_COLOR_TYPE_GRAY, 16, 1},       {PNG_COLOR_TYPE_GRAY_ALPHA, 8, 2},
    {PNG_COLOR_TYPE_GRAY_ALPHA, 16, 2}, {PNG_COLOR_TYPE_PALETTE, 1, 1},
    {PNG_COLOR_TYPE_PALETTE, 2, 1},     {PNG_COLOR_TYPE_PALETTE, 4, 1},
    {PNG_COLOR_TYPE_PALETTE, 8, 1},     {PNG_COLOR_TYPE_RGB, 8, 3},
    {PNG_COLOR_TYPE_RGB, 16, 3},        {PNG_COLOR_TYPE_RGB_ALPHA, 8, 4},
    {PNG_COLOR_TYPE_RGB_ALPHA, 16, 4}};

/* Pack one row of samples, depth bits each, most significant first. */
static void pack_row(unsigned char *row, const struct png_kind *kind,
                     unsigned width, unsigned y, unsigned seed)
{
    const unsigned depth = (unsigned)kind->depth;

    memset(row, 0, SIDE_MAX * CHANNELS_MAX * 2);
    for (unsigned i = 0; i < width * kind->channels; i++) {
        const unsigned value =
            sample(i / kind->channels, y, i % kind->channels, seed);
        const unsigned bit = i * depth;

        if (depth == 16) {
            row[2 * i] = (unsigned char)(value >> 8);
            row[2 * i + 1] = (unsigned char)value;
        } else {
            row[bit / 8] |= (unsigned char)((value >> (16 - depth))
                                            << (8 - depth - bit % 8));
        }
    }
}

static void set_palette(png_structp png, png_infop info, int depth)
{
    png_color palette[256];
    png_byte alpha[256];
    const int count = 1 << depth;

    for (int i = 0; i < count; i++) {
        palette[i].red = (png_byte)(i * 255 / (count - 1));
        palette[i].green = (png_byte)(255 - i * 255 / (count - 1));
        palette[i].blue = (png_byte)(i * 37);
        alpha[i] = (png_byte)(255 - i * 60 / (count - 1));
    }
    png_set_PLTE(png, info, palette, count);
    if (depth >= 4) {
        png_set_tRNS(png, info, alpha, count, NULL);
    }
}

/* Errors end in libpng's abort(), which is all right here. */
static void draw_png(const char *folder, unsigned index,
                     const struct png_kind *kind, bool interlaced)
{
    static unsigned char row[SIDE_MAX * CHANNELS_MAX * 2];
    const unsigned width = 1 + index * 37 % SIDE_MAX;
    const unsigned height = 1 + index * 53 % 400;
    FILE *file = create(folder, index, "png");
    png_structp png =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    int passes;

    png_init_io(png, file);
    png_set_IHDR(png, info, width, height, kind->depth, kind->colours,
                 interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (kind->colours == PNG_COLOR_TYPE_PALETTE) {
        set_palette(png, info, kind->depth);
    }
    png_write_info(png, info);
    passes = png_set_interlace_handling(png);
    for (int pass = 0; pass < passes; pass++) {
        for (unsigned y = 0; y < height; y++) {
            pack_row(row, kind, width, y, index);
            png_write_row(png, row);
        }
    }
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    finish(file);
}

/* ---- JPEG --------------------------------------------------------------- */

struct jpeg_kind {
    J_COLOR_SPACE in;
    J_COLOR_SPACE stored;
    int channels;
    bool progressive;
    int sampling; /* of the first component: 1: 4:4:4, 2: 4:2:0 */
};

static const struct jpeg_kind jpeg_kinds[] = {
    {JCS_GRAYSCALE, JCS_GRAYSCALE, 1, false, 1},
    {JCS_GRAYSCALE, JCS_GRAYSCALE, 1, true, 1},
    {JCS_RGB, JCS_YCbCr, 3, false, 2},
    {JCS_RGB, JCS_YCbCr, 3, false, 1},
    {JCS_RGB, JCS_YCbCr, 3, true, 2},
    {JCS_RGB, JCS_RGB, 3, false, 1},
    {JCS_CMYK, JCS_CMYK, 4, false, 1},
    {JCS_CMYK, JCS_YCCK, 4, false, 2},
};

static void write_rows(struct jpeg_compress_struct *jpeg, unsigned seed)
{
    static unsigned char row[SIDE_MAX * CHANNELS_MAX];
    const unsigned channels = (unsigned)jpeg->input_components;
    unsigned char *rows = row;

    while (jpeg->next_scanline < jpeg->image_height) {
        for (unsigned i = 0; i < jpeg->image_width * channels; i++) {
            row[i] = (unsigned char)(sample(i / channels, jpeg->next_scanline,
                                            i % channels, seed) >>
                                     8);
        }
        jpeg_write_scanlines(jpeg, &rows, 1);
    }
}

static void draw_jpeg(const char *folder, unsigned index,
                      const struct jpeg_kind *kind)
{
    FILE *file = create(folder, index, index % 3 == 0 ? "JPG" : "jpeg");
    struct jpeg_compress_struct jpeg;
    struct jpeg_error_mgr errors;

    jpeg.err = jpeg_std_error(&errors);
    jpeg_create_compress(&jpeg);
    jpeg_stdio_dest(&jpeg, file);
    jpeg.image_width = 1 + index * 41 % SIDE_MAX;
    jpeg.image_height = 1 + index * 59 % 500;
    jpeg.input_components = kind->channels;
    jpeg.in_color_space = kind->in;
    jpeg_set_defaults(&jpeg);
    jpeg_set_colorspace(&jpeg, kind->stored);
    jpeg_set_quality(&jpeg, 60 + (int)(index % 40), TRUE);
    jpeg.comp_info[0].h_samp_factor = kind->sampling;
    jpeg.comp_info[0].v_samp_factor = kind->sampling;
    if (kind->progressive) {
        jpeg_simple_progression(&jpeg);
    } else if (index % 2 == 0) {
        jpeg.restart_in_rows = 2;
    }
    jpeg_start_compress(&jpeg, TRUE);
    write_rows(&jpeg, index);
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    finish(file);
}

int main(int argc, char **argv)
{
    const unsigned pngs = sizeof(png_kinds) / sizeof(png_kinds[0]);
    const unsigned jpegs = sizeof(jpeg_kinds) / sizeof(jpeg_kinds[0]);
    unsigned index = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: thumbs_pictures FOLDER\n");
        return EXIT_FAILURE;
    }
    for (unsigned i = 0; i < 2 * pngs; i++) {
        draw_png(argv[1], index++, &png_kinds[i % pngs], i >= pngs);
    }
    for (unsigned i = 0; i < 4 * jpegs; i++) {
        draw_jpeg(argv[1], index++, &jpeg_kinds[i % jpegs]);
    }
    printf("%u\n", index);
    return EXIT_SUCCESS;
}
