/* SPDX-License-Identifier: MIT */
#include "workbench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_BYTES_MAX ((off_t)256 * 1024 * 1024)

void workbench_init(struct workbench *bench,
                    const struct workbench_hooks *hooks)
{
    *bench = (struct workbench){.hooks = *hooks, .descriptor = -1};
}

void workbench_clear(struct workbench *bench)
{
    if (bench->png_reader != NULL) {
        png_destroy_read_struct(&bench->png_reader, &bench->png_info, NULL);
    }
    if (bench->png_writer != NULL) {
        png_destroy_write_struct(&bench->png_writer, &bench->png_info);
    }
    if (bench->jpeg_open) {
        jpeg_destroy_decompress(&bench->jpeg);
        bench->jpeg_open = false;
    }
    if (bench->descriptor >= 0) {
        close(bench->descriptor);
        bench->descriptor = -1;
    }
    if (bench->temporary_exists) {
        unlink((const char *)bench->temporary.bytes);
        bench->temporary_exists = false;
    }
}

void workbench_fini(struct workbench *bench)
{
    workbench_clear(bench);
    free(bench->file.bytes);
    free(bench->rows.bytes);
    free(bench->row_list.bytes);
    free(bench->sums.bytes);
    free(bench->thumbnail.bytes);
    free(bench->encoded.bytes);
    free(bench->path.bytes);
    free(bench->temporary.bytes);
}

_Noreturn void workbench_fail(struct workbench *bench, const char *library,
                              const char *why)
{
    char sentence[JMSG_LENGTH_MAX + 16];

    snprintf(sentence, sizeof(sentence), "%s%s%s", library,
             *library == '\0' ? "" : ": ", why);
    bench->hooks.fail(bench->hooks.ctx, sentence);
    abort(); /* the hook broke its promise */
}

void *workbench_reserve(struct workbench *bench, struct buffer *buffer,
                        size_t size)
{
    if (size > buffer->room) {
        const size_t room = size + size / 2;
        unsigned char *grown = realloc(buffer->bytes, room);

        if (grown == NULL) {
            workbench_fail(bench, "", "out of memory");
        }
        buffer->bytes = grown;
        buffer->room = room;
    }
    buffer->size = size;
    return buffer->bytes;
}

static const char *set_path(struct workbench *bench, struct buffer *path,
                            const char *folder, const char *name,
                            const char *ending)
{
    const size_t size = strlen(folder) + strlen(name) + strlen(ending) + 2;
    char *text = workbench_reserve(bench, path, size);

    snprintf(text, size, "%s/%s%s", folder, name, ending);
    return text;
}

/* As close(2), but once, and the descriptor is forgotten. */
static int close_descriptor(struct workbench *bench)
{
    const int descriptor = bench->descriptor;

    bench->descriptor = -1;
    return close(descriptor) == 0 ? 0 : errno;
}

/* ---- Reading ------------------------------------------------------------ */

static int read_all(struct workbench *bench, size_t size)
{
    unsigned char *bytes = workbench_reserve(bench, &bench->file, size);
    size_t have = 0;

    while (have < size) {
        const ssize_t n = read(bench->descriptor, bytes + have, size - have);

        if (n < 0 && errno != EINTR) {
            return errno;
        }
        if (n == 0) {
            break; /* it became shorter meanwhile: not our problem */
        }
        have += n < 0 ? 0 : (size_t)n;
    }
    bench->file.size = have;
    return 0;
}

int workbench_load(struct workbench *bench, const char *folder,
                   const char *name)
{
    const char *path = set_path(bench, &bench->path, folder, name, "");
    struct stat about;
    int error = 0;

    bench->descriptor = open(path, O_RDONLY | O_CLOEXEC);
    if (bench->descriptor < 0) {
        return errno;
    }
    if (fstat(bench->descriptor, &about) != 0) {
        error = errno;
    } else if (about.st_size > FILE_BYTES_MAX) {
        error = EFBIG;
    } else {
        error = read_all(bench, (size_t)about.st_size);
    }
    close_descriptor(bench);
    return error;
}

/* ---- Writing ------------------------------------------------------------ */

/* Make the folders of name below folder, which exists. bench->temporary begins
 * with folder and name. */
static int make_folders(struct workbench *bench, const char *folder)
{
    char *path = (char *)bench->temporary.bytes;
    char *slash = strchr(path + strlen(folder) + 1, '/');

    for (; slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        const int error = mkdir(path, 0777) == 0 || errno == EEXIST ? 0 : errno;
        *slash = '/';
        if (error != 0) {
            return error;
        }
    }
    return 0;
}

static int create_temporary(struct workbench *bench, const char *folder,
                            const char *name)
{
    char ending[48];
    const char *path;
    int error;

    /* One worker at a time has this picture. */
    snprintf(ending, sizeof(ending), ".thumb.%ld.part", (long)getpid());
    path = set_path(bench, &bench->temporary, folder, name, ending);
    error = make_folders(bench, folder);
    if (error != 0) {
        return error;
    }
    bench->descriptor =
        open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (bench->descriptor < 0) {
        return errno;
    }
    bench->temporary_exists = true;
    return 0;
}

static int write_all(struct workbench *bench)
{
    size_t written = 0;

    while (written < bench->encoded.size) {
        const ssize_t n =
            write(bench->descriptor, bench->encoded.bytes + written,
                  bench->encoded.size - written);

        if (n < 0 && errno != EINTR) {
            return errno;
        }
        written += n < 0 ? 0 : (size_t)n;
    }
    return 0;
}

int workbench_save(struct workbench *bench, const char *folder,
                   const char *name)
{
    const char *path =
        set_path(bench, &bench->path, folder, name, ".thumb.png");
    int error = create_temporary(bench, folder, name);

    if (error == 0) {
        error = write_all(bench);
    }
    if (error == 0) {
        bench->hooks.row(bench->hooks.ctx, 1, 1);
        error = close_descriptor(bench);
    }
    if (error == 0 && rename((const char *)bench->temporary.bytes, path) != 0) {
        error = errno;
    }
    if (error == 0) {
        bench->temporary_exists = false;
    }
    return error;
}
