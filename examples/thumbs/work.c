/* SPDX-License-Identifier: MIT */
#include "work.h"

#include "picture.h"

#include <time.h>

/* The places where accidents happen are the awkward ones: half way through the
 * decoder, and with a complete file that has not got its name yet. */
static bool on_row(void *ctx, uint32_t row, uint32_t rows)
{
    struct hand *hand = ctx;
    const enum accident accident = hand->job->fate.accident;

    if ((accident == ACCIDENT_EXIT && row == rows / 2) ||
        (accident == ACCIDENT_THREAD_LEFT && row == rows)) {
        hand->accident(hand, accident);
    }
    return !ledger_is_in_a_hurry(hand->work->ledger);
}

void hand_init(struct hand *hand, const struct work *work,
               workbench_fail_fn *fail, hand_accident_fn *accident)
{
    workbench_init(&hand->bench, &(struct workbench_hooks){
                                     .fail = fail, .row = on_row, .ctx = hand});
    hand->work = work;
    hand->job = NULL;
    hand->accident = accident;
}

void hand_fini(struct hand *hand)
{
    workbench_fini(&hand->bench);
}

static void wait_a_while(uint32_t delay_ms)
{
    const struct timespec delay = {.tv_sec = delay_ms / 1000,
                                   .tv_nsec =
                                       (long)(delay_ms % 1000) * 1000000};

    if (delay_ms > 0) {
        nanosleep(&delay, NULL);
    }
}

void hand_work(struct hand *hand)
{
    struct workbench *bench = &hand->bench;
    const struct work *work = hand->work;
    struct job *job = hand->job;
    const bool damaged = job->fate.damage != 0;
    bool shrunk = false;
    int error;

    wait_a_while(work->delay_ms);
    error = workbench_load(bench, work->input, job->name);
    if (error == 0) {
        if (damaged) {
            bench->file.size = chaos_damage(bench->file.bytes, bench->file.size,
                                            job->fate.damage);
        }
        shrunk = picture_shrink(bench, work->size);
    }
    if (shrunk && !damaged) {
        error = workbench_save(bench, work->output, job->name);
    }
    workbench_clear(bench);

    hand->job = NULL;
    if (error != 0) {
        ledger_unreadable(work->ledger, job, error);
    } else if (shrunk && !damaged) {
        ledger_done(work->ledger, job);
    } else {
        ledger_again(work->ledger, job);
    }
}

struct job *work_take(const struct work *work)
{
    struct job *job = ledger_take(work->ledger);

    if (job != NULL) {
        job->fate = chaos_draw(work->seed, work->chaos, job->number,
                               job->attempts, job->fate);
        job->attempts++;
    }
    return job;
}
