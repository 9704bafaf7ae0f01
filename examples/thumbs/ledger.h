/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_LEDGER_H
#define THUMBS_LEDGER_H

/* Who has which picture, and what became of it. The submitter takes pictures
 * out, whoever worked on one settles it; nothing can fall between the two,
 * because a picture that was taken is owed an entry.
 *
 *            own | take  settle  look  stop
 *   take         |  L     L       L     L
 *   settle       |  L     L       L     L      L: the ledger's lock inside */

#include "chaos.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#define KILLS_MAX 3 /* so many deaths by the true file make it poison */

enum job_state {
    JOB_OPEN = 0,
    JOB_DONE,
    JOB_QUARANTINED, /* why says what it did to the last worker */
    JOB_UNREADABLE   /* error says why it could not be read, or written */
};

/* One picture. Belongs to the ledger while it is there, to whoever took it
 * while it is out. */
struct job {
    const char *name; /* below the input folder */
    size_t number;
    struct job *next; /* in the list of those to be done again */
    enum job_state state;
    struct fate fate; /* of the coming run */
    unsigned attempts;
    unsigned kills;
    int error;
    char why[64];
};

struct tally {
    size_t total;
    size_t done;
    size_t quarantined;
    size_t unreadable;
    size_t deaths;
    bool stopped;
};

struct ledger {
    struct job *job; /* fixed: count of them */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* guarded by lock */
    struct tally tally;
    struct job *again;
    size_t fresh; /* the first that was never taken */
    size_t taken; /* how many are out */
    /* atomic */
    atomic_bool hurry;
};

/* Returns 0 or an errno. names must live as long as the ledger. */
int ledger_init(struct ledger *ledger, char *const *names, size_t count);
void ledger_fini(struct ledger *ledger);

/* The next picture to work on, first those that must be done again.
 *
 * Blocks: while there is none but some are out, as these may come back.
 * Returns NULL when all are settled, or after ledger_stop(). */
struct job *ledger_take(struct ledger *ledger);

/* Settle one that was taken. Again: nothing came of it and it is nobody's
 * fault. Died: a worker is dead, so again, or quarantine. why is copied. */
void ledger_done(struct ledger *ledger, struct job *job);
void ledger_unreadable(struct ledger *ledger, struct job *job, int error);
void ledger_again(struct ledger *ledger, struct job *job);
void ledger_died(struct ledger *ledger, struct job *job, const char *why);

/* One that was taken will not come back, nor will its worker. */
void ledger_lost(struct ledger *ledger);

/* Give no more pictures out. */
void ledger_stop(struct ledger *ledger);

/* The time is up: who still works on a picture shall leave it. */
void ledger_hurry(struct ledger *ledger);
bool ledger_is_in_a_hurry(struct ledger *ledger);

struct tally ledger_look(struct ledger *ledger);

#endif
