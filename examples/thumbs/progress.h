/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_PROGRESS_H
#define THUMBS_PROGRESS_H

#include "work.h"

#include <pthread.h>

/* What Ctrl-C (SIGINT) and SIGTERM do; on the thread of progress. */
typedef void progress_interrupt_fn(void *ctx);

/* A thread that shows how far the work has come, and waits for signals: a bar
 * on a terminal, a line per second elsewhere, both on standard error. */
struct progress {
    const struct work *work;
    progress_interrupt_fn *interrupt;
    void *ctx;
    bool on_terminal;
    int64_t began_ns;
    pthread_t thread;
};

/* Keep the signals for progress from this thread and those it will start. */
void progress_block_signals(void);

void progress_start(struct progress *progress, const struct work *work,
                    progress_interrupt_fn *interrupt, void *ctx);

/* Blocks: while interrupt runs. */
void progress_stop(struct progress *progress);

#endif
