/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_WORKBENCH_H
#define THUMBS_WORKBENCH_H

/* Everything one worker holds while it turns a picture into a thumbnail.
 *
 * libpng and libjpeg report a bad picture from deep inside, through a function
 * that must not return. Ours calls hooks.fail, which jumps to safety in its own
 * way; no clean-up code in between runs. Hence one rule: whatever must be
 * released, memory, descriptor, temporary file, the libraries' structs, stands
 * in the workbench from the moment it exists. workbench_fini() then releases
 * it, wherever the work was left. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* jpeglib.h wants stdio.h before it. */
/* clang-format off */
#include <jpeglib.h>
#include <png.h>
/* clang-format on */

/* The work cannot go on; must not return. */
typedef void workbench_fail_fn(void *ctx, const char *why);

/* Called before row `row` of `rows` is decoded, and once with row == rows just
 * before the thumbnail gets its name. It may do anything, even not return.
 * false: give this picture up. */
typedef bool workbench_row_fn(void *ctx, uint32_t row, uint32_t rows);

struct workbench_hooks {
    workbench_fail_fn *fail;
    workbench_row_fn *row;
    void *ctx;
};

struct buffer {
    unsigned char *bytes;
    size_t size; /* in use */
    size_t room;
};

struct workbench {
    struct workbench_hooks hooks;

    struct buffer file;      /* the picture as it is on disk */
    struct buffer rows;      /* decoded: one row, or all if interlaced */
    struct buffer row_list;  /* pointers to them, for libpng */
    struct buffer sums;      /* of the scaler */
    struct buffer thumbnail; /* RGBA */
    struct buffer encoded;   /* the thumbnail as it will be on disk */
    struct buffer path;      /* of the file that is being read or written */
    struct buffer temporary; /* the name it has until it is complete */

    size_t file_read; /* how far libpng has come */
    png_structp png_reader;
    png_structp png_writer;
    png_infop png_info; /* of whichever of the two there is */
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr jpeg_errors;
    struct jpeg_progress_mgr jpeg_progress;
    bool jpeg_open;
    bool temporary_exists;
    int descriptor; /* -1: none */
};

void workbench_init(struct workbench *bench,
                    const struct workbench_hooks *hooks);
void workbench_fini(struct workbench *bench);

/* Release what a picture took; the buffers stay for the next one. */
void workbench_clear(struct workbench *bench);

/* Calls hooks.fail. Does not return. */
_Noreturn void workbench_fail(struct workbench *bench, const char *library,
                              const char *why);

/* Make room for size bytes, in use from now on. Fails if there is no memory.
 * What the buffer held is kept. */
void *workbench_reserve(struct workbench *bench, struct buffer *buffer,
                        size_t size);

/* Read the file folder/name. Returns 0 or an errno. */
int workbench_load(struct workbench *bench, const char *folder,
                   const char *name);

/* Write bench->encoded to folder/name.thumb.png: whole, or not at all. Missing
 * folders on the way are made. Returns 0 or an errno. */
int workbench_save(struct workbench *bench, const char *folder,
                   const char *name);

#endif
