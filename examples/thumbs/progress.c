/* SPDX-License-Identifier: MIT */
#include "progress.h"

#include <vivero/time.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BAR_CELLS 24

/* SIGUSR1 is ours: it ends the thread. */
static sigset_t signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGUSR1);
    return set;
}

void progress_block_signals(void)
{
    const sigset_t set = signals();

    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void show(const struct progress *progress)
{
    const struct tally tally = ledger_look(progress->work->ledger);
    const size_t settled = tally.done + tally.quarantined + tally.unreadable;
    const double seconds = (double)(vivero_now() - progress->began_ns) / 1e9;
    const double rate = seconds > 0 ? (double)tally.done / seconds : 0;

    if (progress->on_terminal) {
        char bar[BAR_CELLS + 1];
        const size_t full = settled * BAR_CELLS / tally.total;

        memset(bar, '.', BAR_CELLS);
        memset(bar, '#', full);
        bar[BAR_CELLS] = '\0';
        fprintf(stderr, "\r[%s] %zu/%zu  %zu deaths  %.0f/s\033[K", bar,
                settled, tally.total, tally.deaths, rate);
    } else {
        fprintf(stderr,
                "%zu of %zu, %zu worker deaths, %zu quarantined, %.0f/s\n",
                settled, tally.total, tally.deaths, tally.quarantined, rate);
    }
}

/* Ten looks a second at the bar, one line a second, or none at all. */
static int wait_for_signal(const struct progress *progress)
{
    const struct timespec often = {.tv_nsec = 100000000};
    const struct timespec seldom = {.tv_sec = 1};
    const sigset_t set = signals();

    if (progress->work->quiet) {
        return sigwaitinfo(&set, NULL);
    }
    return sigtimedwait(&set, NULL, progress->on_terminal ? &often : &seldom);
}

static void *watch(void *ctx)
{
    struct progress *progress = ctx;
    const bool quiet = progress->work->quiet;

    for (;;) {
        const int signal = wait_for_signal(progress);

        if (signal == SIGINT || signal == SIGTERM) {
            fprintf(stderr, "%sthumbs: stopping\n",
                    progress->on_terminal && !quiet ? "\n" : "");
            progress->interrupt(progress->ctx);
        } else if (!quiet && (signal < 0 || progress->on_terminal)) {
            show(progress);
        }
        if (signal == SIGUSR1) {
            break;
        }
    }
    if (!quiet && progress->on_terminal) {
        fputc('\n', stderr);
    }
    return NULL;
}

void progress_start(struct progress *progress, const struct work *work,
                    progress_interrupt_fn *interrupt, void *ctx)
{
    *progress = (struct progress){.work = work,
                                  .interrupt = interrupt,
                                  .ctx = ctx,
                                  .on_terminal = isatty(STDERR_FILENO) == 1,
                                  .began_ns = vivero_now()};
    if (pthread_create(&progress->thread, NULL, watch, progress) != 0) {
        fprintf(stderr, "thumbs: the system gives no more threads\n");
        exit(2);
    }
}

void progress_stop(struct progress *progress)
{
    pthread_kill(progress->thread, SIGUSR1);
    pthread_join(progress->thread, NULL);
}
