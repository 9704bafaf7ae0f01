/* SPDX-License-Identifier: MIT */
#include "plain.h"

#include "progress.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void stop_at_once(void *ctx)
{
    struct ledger *ledger = ctx;

    ledger_stop(ledger);
    ledger_hurry(ledger);
}

/* ---- Bare threads ------------------------------------------------------- */

#define THREADS_MAX 1024

struct bare {
    struct hand hand;
    pthread_t thread;
};

/* What libpng and libjpeg do by themselves when nobody stops them. */
static void end_the_process(void *ctx, const char *why)
{
    const struct hand *hand = ctx;
    const struct tally tally = ledger_look(hand->work->ledger);

    fprintf(stderr,
            "\nthumbs: %s: %s\n"
            "thumbs: nobody watches over this thread, the process ends with "
            "%zu of %zu done\n",
            hand->job->name, why, tally.done, tally.total);
    abort();
}

static void end_the_thread_or_worse(void *ctx, enum accident accident)
{
    const struct hand *hand = ctx;

    if (accident != ACCIDENT_THREAD_LEFT) {
        end_the_process(ctx, "chaos: a thread gave up half way");
    }
    fprintf(stderr, "\nthumbs: %s: a thread has left with it, one fewer\n",
            hand->job->name);
    ledger_lost(hand->work->ledger); /* or the others would wait for ever */
    pthread_exit(NULL);
}

static void *work_bare(void *ctx)
{
    struct hand *hand = ctx;

    for (;;) {
        hand->job = work_take(hand->work);
        if (hand->job == NULL) {
            return NULL;
        }
        if (hand->job->fate.accident == ACCIDENT_FAIL) {
            end_the_process(hand, "chaos: the work failed");
        }
        hand_work(hand);
    }
}

static uint32_t thread_count(const struct work *work)
{
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    const uint32_t count = work->workers != 0 ? work->workers
                           : cpus < 1         ? 1
                                              : (uint32_t)cpus;

    return count > THREADS_MAX ? THREADS_MAX : count;
}

int plain_run_bare(const struct work *work)
{
    const uint32_t wanted = thread_count(work);
    struct bare *bare = calloc(wanted, sizeof(*bare));
    struct progress progress;
    uint32_t count = 0;
    int error = 0;

    if (bare == NULL) {
        return ENOMEM;
    }
    fprintf(stderr,
            "thumbs: %u bare threads, no supervision: the first bad "
            "picture ends the process\n",
            (unsigned)wanted);
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); /* we know why it died */
    progress_start(&progress, work, stop_at_once, work->ledger);
    while (error == 0 && count < wanted) {
        hand_init(&bare[count].hand, work, end_the_process,
                  end_the_thread_or_worse);
        error = pthread_create(&bare[count].thread, NULL, work_bare,
                               &bare[count].hand);
        count += error == 0;
    }
    if (error != 0) {
        ledger_stop(work->ledger);
    }
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(bare[i].thread, NULL);
        hand_fini(&bare[i].hand);
    }
    progress_stop(&progress);
    free(bare);
    return error;
}

/* ---- One after another -------------------------------------------------- */

/* A hand, and the place to go back to when its picture is bad. */
struct serial {
    struct hand hand; /* first: the callbacks are given this address */
    jmp_buf escape;
    char why[64];
};

static void escape(void *ctx, const char *why)
{
    struct serial *serial = ctx;

    snprintf(serial->why, sizeof(serial->why), "%s", why);
    longjmp(serial->escape, 1);
}

static void escape_accident(void *ctx, enum accident accident)
{
    (void)accident;
    escape(ctx, "chaos: an accident");
}

static void work_once(struct serial *serial)
{
    struct job *job = serial->hand.job;

    if (setjmp(serial->escape) == 0) {
        if (job->fate.accident == ACCIDENT_FAIL) {
            escape(serial, "chaos: the work failed");
        }
        hand_work(&serial->hand);
    } else {
        workbench_clear(&serial->hand.bench);
        ledger_died(serial->hand.work->ledger, serial->hand.job, serial->why);
    }
}

int plain_run_serial(const struct work *work)
{
    struct serial *serial = calloc(1, sizeof(*serial));
    struct progress progress;

    if (serial == NULL) {
        return ENOMEM;
    }
    hand_init(&serial->hand, work, escape, escape_accident);
    progress_start(&progress, work, stop_at_once, work->ledger);
    for (;;) {
        serial->hand.job = work_take(work);
        if (serial->hand.job == NULL) {
            break;
        }
        work_once(serial);
    }
    progress_stop(&progress);
    hand_fini(&serial->hand);
    free(serial);
    return 0;
}
