/* SPDX-License-Identifier: MIT */
#ifndef TESTS_STRESS_ORDERS_H
#define TESTS_STRESS_ORDERS_H

/* What messages of the stress test ask for, the handlers that do it, and what
 * may come of it. */

#include <vivero/vivero.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SITES 4u
#define UNTRACKED 0u /* the number of messages that need not be told apart */

/* A pool under test. */
struct site {
    struct vivero_pool *pool;
    bool call_may_be_full;
    bool replaces;             /* handlers that hang */
    _Atomic uint64_t begun;    /* handlers */
    _Atomic uint64_t attempts; /* to send one message */
    _Atomic uint64_t batched;  /* accepted by batches; no attempts */
    _Atomic uint64_t batches;
    _Atomic uint64_t refused; /* of attempts: NOT_FOUND and DEADLOCK */
    _Atomic uint64_t gone;    /* before or after they were accepted */
};

enum what {
    SUCCEED,
    SUCCEED_LATE,
    ANSWER_LATER,
    NEVER_ANSWER,
    CALL_NEXT,
    RETURN_ERROR,
    RETURN_NONSENSE,
    FAIL,
    JUMP_OUT,
    END_THREAD, /* of a caller that runs its own call: FAIL */
    HANG,       /* now and then, where the pool replaces: else SUCCEED */
    WHAT_COUNT
};

struct order {
    struct site *site;
    uint32_t number;
    enum what what;
};

struct large_order {
    struct order order;
    unsigned char rest[200];
};

/* What became of a message. */
struct fate {
    _Atomic uint8_t ran;       /* how often its handler began */
    _Atomic uint8_t never_ran; /* somebody was told that it would not */
};

/* The same order, in a cell and in a box. The answer is an uint64_t. */
extern const struct vivero_operation small;
extern const struct vivero_operation large;

extern struct site sites[SITES];
extern struct fate *fates; /* by number */
extern _Thread_local bool is_client;

uint64_t roll(uint64_t *random, uint64_t sides);
void nap(int64_t length_ns);

void complain(const char *what, uint32_t number, int result);
uint32_t complaints(void);

void start_answering(uint64_t seed);
void stop_answering(void);

/* Count what was refused before it was accepted. */
void count_refusal(struct site *site, int result);

/* Whether a call's answer can have come of its order; has_owner: somebody may
 * cancel it. */
bool call_fits(const struct order *order, int result, uint64_t out,
               bool has_owner);
bool cast_fits(int result);

/* That a message never ran is looked at once more, in the end. */
void note_if_it_never_ran(uint32_t number, int result);

#endif
