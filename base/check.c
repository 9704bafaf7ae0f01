/* SPDX-License-Identifier: MIT */
#include "base/check.h"

#include <vivero/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "vivero: "
#define PREFIX_SIZE (sizeof(PREFIX) - 1)

/* Longer sentences are cut; the stack of a worker may be small. */
#define SENTENCE_MAX 512

/* Not atomic: by contract nobody sets the hook while pools are open. */
static vivero_misuse_fn *misuse_hook;
static void *misuse_ctx;

void vivero_set_misuse_hook(vivero_misuse_fn *hook, void *ctx)
{
    misuse_hook = hook;
    misuse_ctx = ctx;
}

static void write_to_stderr(const char *text, size_t size)
{
    while (size > 0) {
        const ssize_t written = write(STDERR_FILENO, text, size);

        if (written <= 0) {
            return;
        }
        text += written;
        size -= (size_t)written;
    }
}

void vv_misuse(const char *format, ...)
{
    char line[PREFIX_SIZE + SENTENCE_MAX + 1] = PREFIX;
    char *sentence = line + PREFIX_SIZE;
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(sentence, SENTENCE_MAX, format, arguments);
    va_end(arguments);

    if (misuse_hook != NULL) {
        misuse_hook(sentence, misuse_ctx);
    } else {
        const size_t size = strlen(line);

        /* The NUL's place; written at once, so that lines stay whole. */
        line[size] = '\n';
        write_to_stderr(line, size + 1);
    }
    abort();
}
