/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int ledger_init(struct ledger *ledger, char *const *names, size_t count)
{
    *ledger = (struct ledger){.tally.total = count};
    atomic_init(&ledger->hurry, false);
    ledger->job = calloc(count, sizeof(*ledger->job));
    if (ledger->job == NULL) {
        return ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        ledger->job[i].name = names[i];
        ledger->job[i].number = i;
    }
    pthread_mutex_init(&ledger->lock, NULL);
    pthread_cond_init(&ledger->changed, NULL);
    return 0;
}

void ledger_fini(struct ledger *ledger)
{
    if (ledger->job != NULL) {
        pthread_cond_destroy(&ledger->changed);
        pthread_mutex_destroy(&ledger->lock);
        free(ledger->job);
        ledger->job = NULL;
    }
}

static struct job *next_locked(struct ledger *ledger)
{
    struct job *job = ledger->again;

    if (job != NULL) {
        ledger->again = job->next;
        return job;
    }
    if (ledger->fresh < ledger->tally.total) {
        return &ledger->job[ledger->fresh++];
    }
    return NULL;
}

struct job *ledger_take(struct ledger *ledger)
{
    struct job *job = NULL;

    pthread_mutex_lock(&ledger->lock);
    while (!ledger->tally.stopped) {
        job = next_locked(ledger);
        if (job != NULL) {
            ledger->taken++;
            break;
        }
        if (ledger->taken == 0) {
            break;
        }
        pthread_cond_wait(&ledger->changed, &ledger->lock);
    }
    pthread_mutex_unlock(&ledger->lock);
    return job;
}

/* Put a job back that was out, and tell whoever waits for such news: for work,
 * or for the end of all work. */
static void put_back_locked(struct ledger *ledger, struct job *job,
                            enum job_state state)
{
    job->state = state;
    if (state == JOB_OPEN) {
        job->next = ledger->again;
        ledger->again = job;
    }
    ledger->taken--;
    pthread_cond_broadcast(&ledger->changed);
}

void ledger_done(struct ledger *ledger, struct job *job)
{
    pthread_mutex_lock(&ledger->lock);
    ledger->tally.done++;
    put_back_locked(ledger, job, JOB_DONE);
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_unreadable(struct ledger *ledger, struct job *job, int error)
{
    pthread_mutex_lock(&ledger->lock);
    ledger->tally.unreadable++;
    job->error = error;
    put_back_locked(ledger, job, JOB_UNREADABLE);
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_again(struct ledger *ledger, struct job *job)
{
    pthread_mutex_lock(&ledger->lock);
    put_back_locked(ledger, job, JOB_OPEN);
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_died(struct ledger *ledger, struct job *job, const char *why)
{
    enum job_state state = JOB_OPEN;

    pthread_mutex_lock(&ledger->lock);
    ledger->tally.deaths++;
    /* A death that chaos arranged is not held against the picture. */
    if (job->fate.damage == 0 && job->fate.accident == ACCIDENT_NONE) {
        job->kills++;
        snprintf(job->why, sizeof(job->why), "%s", why);
    }
    if (job->kills == KILLS_MAX) {
        ledger->tally.quarantined++;
        state = JOB_QUARANTINED;
    }
    put_back_locked(ledger, job, state);
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_lost(struct ledger *ledger)
{
    pthread_mutex_lock(&ledger->lock);
    ledger->tally.deaths++;
    ledger->taken--;
    pthread_cond_broadcast(&ledger->changed);
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_stop(struct ledger *ledger)
{
    pthread_mutex_lock(&ledger->lock);
    ledger->tally.stopped = true;
    pthread_cond_broadcast(&ledger->changed);
    pthread_mutex_unlock(&ledger->lock);
}

void ledger_hurry(struct ledger *ledger)
{
    /* relaxed: a mere wish, seen soon; nothing is published with it. */
    atomic_store_explicit(&ledger->hurry, true, memory_order_relaxed);
}

bool ledger_is_in_a_hurry(struct ledger *ledger)
{
    /* relaxed: see ledger_hurry(). */
    return atomic_load_explicit(&ledger->hurry, memory_order_relaxed);
}

struct tally ledger_look(struct ledger *ledger)
{
    struct tally tally;

    pthread_mutex_lock(&ledger->lock);
    tally = ledger->tally;
    pthread_mutex_unlock(&ledger->lock);
    return tally;
}
