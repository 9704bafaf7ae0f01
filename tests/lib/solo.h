/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_SOLO_H
#define TESTS_LIB_SOLO_H

/* A solo: what a test puts around a worker on its own, beside its crew.
 * Witnesses that write down what callbacks see, operations that have a worker
 * do something on its own thread, threads that call. Nothing here asserts. */

#include <vivero/worker.h>
#include <vivero/worker_carriers.h>
#include <vivero/worker_spawn.h>

#include "tests/lib/crew.h"

/* How long a test listens before it says that nothing comes. */
#define SOLO_SILENCE VIVERO_MILLISECONDS(50)

/* ---- Witnesses ------------------------------------------------------------ */

enum sight_kind {
    SAW_NOTHING = 0,
    SAW_INIT,
    SAW_HANDLED, /* solo_note */
    SAW_INFO,
    SAW_CONTINUE,
    SAW_TERMINATE,
    SAW_DESTROY
};

struct sight {
    enum sight_kind kind;
    int value;    /* HANDLED: the number; INFO: the one in its data */
    uint32_t tag; /* CONTINUE; INFO of a message */
    enum vivero_info_kind info;
    size_t size; /* of the data */
    struct vivero_ref from;
    struct vivero_exit exit; /* TERMINATE; INFO of EXIT and DOWN */
    struct vivero_monitor monitor;
};

#define SIGHTS_MAX 4096

/* The ctx of a worker's callbacks. Begin with all zero but the lock. */
struct witness {
    pthread_mutex_t lock;
    uint32_t count;
    struct sight sight[SIGHTS_MAX];
};

#define WITNESS                                                                \
    {                                                                          \
        PTHREAD_MUTEX_INITIALIZER, 0,                                          \
        {                                                                      \
            {                                                                  \
                0                                                              \
            }                                                                  \
        }                                                                      \
    }

void witness_clear(struct witness *witness);
void witness_see(struct witness *witness, const struct sight *sight);
uint32_t witness_count(struct witness *witness, enum sight_kind kind);
/* The nth of its kind, from 0; all zero when there are not so many. */
struct sight witness_sight(struct witness *witness, enum sight_kind kind,
                           uint32_t nth);
/* Wait until there are so many of a kind; false: CREW_PATIENCE is over. */
bool witness_await(struct witness *witness, enum sight_kind kind,
                   uint32_t count);
/* Whether these kinds were seen, in this order, and no others. */
bool witness_saw(struct witness *witness, const enum sight_kind *kinds,
                 uint32_t count);

/* What every worker with a witness has as payload. */
struct solo {
    struct witness *witness;
    int value;
};

/* Callbacks for a worker whose ctx is a witness. */
int solo_init(struct vivero_self *self, void *payload, void *ctx);
void solo_terminate(struct vivero_self *self, void *payload,
                    const struct vivero_exit *reason, void *ctx);
void solo_destroy(void *payload, void *ctx);
int solo_info(struct vivero_self *self, const struct vivero_info *info,
              void *ctx);
int solo_continue(struct vivero_self *self, uint32_t tag, void *ctx);

/* Options of a worker that tells the witness in .ctx everything; callbacks that
 * are given stand instead of those above. */
#define SOLO_OPTIONS(...)                                                      \
    solo_options(VIVERO_WORKER_OPTIONS(__VA_ARGS__),                           \
                 &(struct vivero_worker_options){0})
const struct vivero_worker_options *
solo_options(const struct vivero_worker_options *given,
             struct vivero_worker_options *place);

/* ---- Operations ----------------------------------------------------------- */

/* Done by a worker, in a handler of its own; returns what a handler does. */
typedef int solo_fn(struct vivero_self *self, void *arg);

struct solo_do_in {
    solo_fn *fn;
    void *arg;
};

extern const struct vivero_operation solo_do;   /* what solo_do_in says */
extern const struct vivero_operation solo_note; /* int, for the witness */
extern const struct vivero_operation solo_add;  /* int -> the sum so far */

/* Call, or cast, a solo_do. */
int solo_ask(struct vivero_ref ref, solo_fn *fn, void *arg);
int solo_order(struct vivero_ref ref, solo_fn *fn, void *arg);

/* ---- Workers --------------------------------------------------------------- */

/* Nobody when it does not start; the code goes to standard error. */
struct vivero_ref solo_start(const struct vivero_worker_options *options);
/* The same, linked to the calling entity. */
struct vivero_ref solo_start_link(const struct vivero_worker_options *options);
struct vivero_ref solo_spawn(const struct vivero_spawn_options *options,
                             vivero_spawn_fn *fn, void *argument);

/* Stop it normally; false: that did not go as it should. */
bool solo_stop(struct vivero_ref ref);

/* Have it ended, whether it is about to end by itself or not. */
bool solo_end(struct vivero_ref ref);

/* Wait until it has ended; false: CREW_PATIENCE is over. */
bool solo_await_end(struct vivero_ref ref);
/* Wait until so many messages stand in its mailbox. */
bool solo_await_queued(struct vivero_ref ref, uint32_t queued);
bool solo_await_state(struct vivero_ref ref, enum vivero_worker_state state);
struct vivero_worker_info solo_look(struct vivero_ref ref);

/* Cast a hold to it, and wait until it stands at the gate. */
bool solo_hold(struct vivero_ref ref, struct gate *gate);

/* ---- The test's own thread, attached ------------------------------------------ */

bool solo_attach(void);
void solo_detach(void);
/* A copy of the next thing the calling entity is told, without its data; kind
 * is 0 when nothing came in CREW_PATIENCE. */
struct vivero_info solo_receive(void);
/* Whether nothing comes for a while. */
bool solo_hears_nothing(void);

/* ---- Threads that call ---------------------------------------------------------- */

/* Fill in the first members, then start; read the last ones after join. */
struct solo_caller {
    struct vivero_ref to;
    const struct vivero_operation *operation;
    const void *in;
    void *out;
    const struct vivero_send *send;

    pthread_t thread;
    int result;
    struct vivero_exit reason;
    int64_t took_ns;
};

void solo_caller_start(struct solo_caller *caller);
void solo_caller_join(struct solo_caller *caller);

/* A thread that stops a worker. */
struct solo_stopper {
    struct vivero_ref to;
    const struct vivero_exit *reason;
    int64_t timeout_ns;

    pthread_t thread;
    int result;
    struct vivero_exit exit;
};

void solo_stopper_start(struct solo_stopper *stopper);
void solo_stopper_join(struct solo_stopper *stopper);

#endif
