/* SPDX-License-Identifier: MIT */

/* farm: a pool whose workers may die at any line, and nothing is lost.
 *
 * Model.     main thread --- shrink(job), waits for room ---> pool
 *                 ^                                            |
 *                 |                                       hand_work()
 *              ledger <------ done, unreadable, again ---------+ it returned
 *                 ^---------- died: again, or quarantine ------+ it did not
 *
 * Failure.   Libraries that give up call picture_is_bad(), which leaves through
 *            vivero_exit(): the decoder is not returned through. What it held
 *            belongs to the payload, a `struct hand`. The dying incarnation's
 *            last two acts are ours: clean_up() hands back the job that is
 *            still on the bench, put_down() releases the rest. Then the pool's
 * supervisor starts the worker again, with a new hand, as often as it takes.
 * Threads.   shrink(), picture_is_bad(), and the payload's three callbacks run
 *            on the worker's thread, interrupt() on the one of progress.c.
 * Memory.    A message is one pointer. The mailboxes hold a few per worker; who
 *            submits waits for room, so memory does not grow with the work.
 * Shutdown.  1. The ledger gives nothing more out. 2. The pool is drained for
 *            a second. 3. What still runs is asked to hurry: it leaves its
 *            picture at the next row. 4. The pool is closed. */

#define VIVERO_SHORT_NAMES

#include "farm.h"

#include <vivero/log.h>
#include <vivero/pool_define.h>

#include "progress.h"

#include <pthread.h>
#include <stdio.h>

#define MAILBOX_DEPTH 8

enum exit_code { EXIT_BAD_PICTURE = 1, EXIT_CHAOS };

VIVERO_POOL_TYPE(farm, struct hand);

defasynch(farm, shrink, (struct job *, job))
{
    struct hand *hand = farm_payload(self);

    hand->job = job; /* from here on somebody will settle it */
    if (job->fate.accident == ACCIDENT_FAIL) {
        return vivero_fail(self, EXIT_CHAOS, "chaos: the handler failed");
    }
    hand_work(hand);
    return VIVERO_OK;
}

struct run {
    struct farm farm;
    const struct work *work;
};

/* ---- How a hand dies ---------------------------------------------------- */

static void picture_is_bad(void *ctx, const char *why)
{
    (void)ctx;
    vivero_exit(EXIT_BAD_PICTURE, why);
}

static void meet_with_accident(void *ctx, enum accident accident)
{
    (void)ctx;
    if (accident == ACCIDENT_THREAD_LEFT) {
        pthread_exit(NULL);
    }
    vivero_exit(EXIT_CHAOS, "chaos: the worker gave up half way");
}

/* ---- The payload's life ------------------------------------------------- */

static int take_up(struct vivero_self *self, void *payload, void *ctx)
{
    const struct run *run = ctx;

    (void)self;
    hand_init(payload, run->work, picture_is_bad, meet_with_accident);
    return VIVERO_OK;
}

static void clean_up(struct vivero_self *self, void *payload,
                     const struct vivero_exit *reason, void *ctx)
{
    struct hand *hand = payload;
    struct job *job = hand->job;

    (void)self;
    (void)ctx;
    if (job != NULL) {
        hand->job = NULL;
        /* First what is half done: once the job is in the ledger another worker
         * may begin with it, and a file of the same name. */
        workbench_clear(&hand->bench);
        ledger_died(hand->work->ledger, job, reason->text);
    }
}

static void put_down(void *payload, void *ctx)
{
    (void)ctx;
    hand_fini(payload);
}

/* ---- Running the pool --------------------------------------------------- */

static void send_all(struct run *run)
{
    const struct vivero_send *patiently =
        VIVERO_SEND(.timeout_ns = VIVERO_FOREVER);

    for (;;) {
        struct job *job = work_take(run->work);
        if (job == NULL) {
            return; /* all is settled, or it is time to stop */
        }
        const int error = farm_shrink_with(&run->farm, patiently, job);
        if (error != VIVERO_OK) {
            ledger_again(run->work->ledger, job);
            ledger_stop(run->work->ledger);
            if (error != VIVERO_E_DRAINING) {
                fprintf(stderr, "thumbs: the pool takes no more work: %s\n",
                        vivero_strerror(error));
            }
        }
    }
}

/* Ctrl-C. */
static void interrupt(void *ctx)
{
    struct run *run = ctx;

    ledger_stop(run->work->ledger);
    if (vivero_pool_drain(farm_pool(&run->farm), VIVERO_SECONDS(1), NULL) !=
        VIVERO_OK) {
        ledger_hurry(run->work->ledger);
    }
}

/* Cannot happen, with restarts without limit; but who waits must be told. */
static void give_up(struct vivero_pool *pool, const struct vivero_exit *reason,
                    void *ctx)
{
    const struct run *run = ctx;

    fprintf(stderr, "thumbs: the pool %s went down: %s\n",
            vivero_pool_name(pool), reason->text);
    ledger_stop(run->work->ledger);
}

/* Every death is a warning; those we count ourselves. */
static void listen_to(const struct work *work)
{
    vivero_log_set_sink(work->verbose ? VIVERO_LOG_WARNING : VIVERO_LOG_ERROR,
                        vivero_log_to_stderr, NULL);
}

int farm_run(const struct work *work)
{
    struct run run = {.work = work};
    struct progress progress;
    int error;

    listen_to(work);
    error = farm_open(
        VIVERO_POOL_OPTIONS(.name = "thumbs", .workers = work->workers,
                            .mailbox_depth = MAILBOX_DEPTH,
                            .full_cast = VIVERO_FULL_WAIT,
                            .restarts_max = VIVERO_UNLIMITED, .init = take_up,
                            .terminate = clean_up, .destroy = put_down,
                            .on_down = give_up,
                            .shutdown_ns = VIVERO_MILLISECONDS(500),
                            .ctx = &run),
        &run.farm);
    if (error != VIVERO_OK) {
        return error;
    }
    progress_start(&progress, work, interrupt, &run);
    send_all(&run);
    progress_stop(&progress);
    if (work->verbose &&
        vivero_pool_wait_idle(farm_pool(&run.farm), VIVERO_SECONDS(1)) ==
            VIVERO_OK) {
        vivero_pool_print(farm_pool(&run.farm), stderr);
    }
    error = farm_close(&run.farm);
    vivero_log_set_sink(VIVERO_LOG_ERROR, NULL, NULL);
    return error == VIVERO_E_TIMED_OUT ? error : VIVERO_OK;
}
