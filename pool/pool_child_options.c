/* SPDX-License-Identifier: MIT */
/* pool_child_options: the copy that a supervisor keeps of a child pool's
 * options, with all that they point to in one block. */
#include <vivero/error.h>

#include "base/options.h"
#include "pool/pool_child.h"

#include <string.h>

VV_NO_TAIL_PADDING(struct vivero_child_pool_options, pool);

void vivero_child_pool_options_init(struct vivero_child_pool_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

static size_t string_size(const char *string)
{
    return string != NULL ? strlen(string) + 1 : 0;
}

static size_t cpus_size(const struct vivero_pool_options *options)
{
    return options->cpus != NULL ? options->cpu_count * sizeof(*options->cpus)
                                 : 0;
}

/* Move what from points to behind the options. */
static const void *keep(unsigned char **at, const void *from, size_t size)
{
    void *kept = *at;

    if (size == 0) {
        return NULL;
    }
    memcpy(kept, from, size);
    *at += size;
    return kept;
}

static struct vv_pool_kept *keep_all(const struct vivero_pool_options *options)
{
    size_t size = sizeof(struct vv_pool_kept) + cpus_size(options) +
                  string_size(options->name) +
                  string_size(options->thread_name);
    struct vv_pool_kept *kept = vv_allocate(NULL, size, _Alignof(max_align_t));
    unsigned char *at;

    if (kept != NULL) {
        kept->size = size;
        kept->options = *options;
        at = kept->bytes; /* CPUs first: they are aligned there */
        kept->options.cpus = keep(&at, options->cpus, cpus_size(options));
        kept->options.name =
            keep(&at, options->name, string_size(options->name));
        kept->options.thread_name =
            keep(&at, options->thread_name, string_size(options->thread_name));
    }
    return kept;
}

void *vv_pool_child_copy(const void *from)
{
    struct vivero_child_pool_options given;
    struct vivero_pool_options options = {0};
    struct vv_pool_kept *kept;
    int error = vv_options_copy(&given, sizeof(given), from);

    if (error == VIVERO_OK) {
        error = vv_options_copy(&options, sizeof(options), given.options);
    }
    if (error != VIVERO_OK) {
        memset(&given, 0, sizeof(given));
        memset(&options, 0, sizeof(options));
    }
    if (given.payload_size > 0) {
        options.payload_size = given.payload_size;
    }
    kept = keep_all(&options);
    if (kept == NULL) {
        return NULL;
    }
    kept->error = error; /* said by start */
    if (given.pool != NULL) {
        kept->place = vv_pool_place_new(given.pool);
        if (kept->place == NULL) {
            vv_pool_child_release(kept);
            return NULL;
        }
    }
    return kept;
}

void vv_pool_child_release(void *options)
{
    struct vv_pool_kept *kept = options;

    vv_pool_place_release(kept->place);
    vv_release(NULL, kept, kept->size, _Alignof(max_align_t));
}
