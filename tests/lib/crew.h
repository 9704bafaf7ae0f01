/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_CREW_H
#define TESTS_LIB_CREW_H

/* A crew: what a test puts around a pool. Gates that keep workers busy,
 * journals in which handlers write, threads that call, an allocator that
 * counts and refuses, forked children that may misuse the library, and a look
 * into /proc. Nothing here asserts. */

#include <vivero/memory.h>
#include <vivero/pool.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* How long a test waits for what must happen. */
#define CREW_PATIENCE VIVERO_SECONDS(20)

/* Undefined behaviour checkers change what the system refuses and counts. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CREW_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||     \
    __has_feature(memory_sanitizer)
#define CREW_SANITIZED 1
#endif
#endif
#ifndef CREW_SANITIZED
#define CREW_SANITIZED 0
#endif

/* ---- Gates -------------------------------------------------------------- */

/* Whoever passes a shut gate stands there until it is opened. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_open;
    uint32_t arrived; /* since gate_shut */
    uint32_t passed;
};

#define GATE_SHUT                                                              \
    {                                                                          \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, 0, 0       \
    }

void gate_shut(struct gate *gate);
void gate_open(struct gate *gate);
void gate_pass(struct gate *gate);
uint32_t gate_passed(struct gate *gate);

/* Wait until so many have arrived; false: they did not in CREW_PATIENCE. */
bool gate_await(struct gate *gate, uint32_t arrived);

/* ---- Journals ------------------------------------------------------------ */

#define JOURNAL_MAX 4096

struct journal_entry {
    int value;
    uint32_t worker;
};

struct journal {
    pthread_mutex_t lock;
    uint32_t count;
    struct journal_entry entry[JOURNAL_MAX];
};

void journal_clear(struct journal *journal);
void journal_write(struct journal *journal, int value, uint32_t worker);
uint32_t journal_count(struct journal *journal);

/* Wait until there are so many entries; false: CREW_PATIENCE is over. */
bool journal_await(struct journal *journal, uint32_t count);

/* Whether the entries are exactly these values in this order. */
bool journal_is(struct journal *journal, const int *values, uint32_t count);

/* ---- Operations -----------------------------------------------------------
 */

struct hold_in {
    struct gate *gate;
};

struct note_in {
    struct journal *journal;
    int value;
};

struct fail_in {
    int code;
    const char *text;
};

/* All of them may be cast as well as called. */
extern const struct vivero_operation crew_hold;    /* passes the gate */
extern const struct vivero_operation crew_note;    /* writes in the journal */
extern const struct vivero_operation crew_echo;    /* int -> the same int */
extern const struct vivero_operation crew_answer;  /* returns the int */
extern const struct vivero_operation crew_fail;    /* vivero_fail */
extern const struct vivero_operation crew_leave;   /* pthread_exit */
extern const struct vivero_operation crew_whoami;  /* -> uint32_t, its id */
extern const struct vivero_operation crew_nothing; /* neither in nor out */

/* ---- Pools -----------------------------------------------------------------
 */

/* NULL when it does not open; the code goes to standard error. */
struct vivero_pool *crew_open(const struct vivero_pool_options *options);

/* Cast a hold to every worker and wait until all stand at the gate. */
bool crew_hold_all(struct vivero_pool *pool, struct gate *gate);
bool crew_hold_worker(struct vivero_pool *pool, uint32_t worker,
                      struct gate *gate);

/* A copy of the pool's own numbers, without names and workers. */
struct vivero_pool_snapshot crew_numbers(struct vivero_pool *pool);

/* The same of one worker, without texts; all zero when it is not there. */
struct vivero_worker_snapshot crew_worker(struct vivero_pool *pool,
                                          uint32_t worker);

/* Wait until so many messages stand in mailboxes. */
bool crew_await_queued(struct vivero_pool *pool, uint64_t queued);

/* Wait until the pool has had so many restarts and no worker is missing. */
bool crew_await_restarts(struct vivero_pool *pool, uint64_t restarts);

/* Wait until vivero_pool_size() says so. */
bool crew_await_size(struct vivero_pool *pool, uint32_t size);

/* Wait until the pool is idle; whether its numbers obey the conservation law
 * then. */
bool crew_is_conserved(struct vivero_pool *pool);

/* The future of an echo of value, which must not be refused; and what it
 * answers: the value, or a negative code. */
struct vivero_future crew_call_echo(struct vivero_pool *pool, int value);
int crew_value_of(struct vivero_future future, int64_t timeout_ns);

/* Wait until the monotonic clock has passed an instant. */
void crew_await_time(int64_t instant_ns);

/* ---- Threads that call ------------------------------------------------------
 */

/* Fill in the first members, then start; read the last ones after join. */
struct caller {
    struct vivero_pool *pool;
    const struct vivero_operation *operation;
    const void *in;
    void *out;
    const struct vivero_send *send;

    pthread_t thread;
    int result;
    struct vivero_exit reason;
    int64_t took_ns;
};

void caller_start(struct caller *caller);
void caller_join(struct caller *caller);

/* ---- Memory
 * ------------------------------------------------------------------ */

/* Goes between the library and malloc while it is installed. */
struct accountant {
    atomic_llong bytes;  /* held now */
    atomic_llong blocks; /* held now */
    atomic_llong asked;  /* allocations since install */
    atomic_llong refuse; /* this one and all later ones fail; 0: none */
    atomic_llong wrong;  /* releases with another size or alignment */
};

/* Returns what vivero_set_allocator says. */
int accountant_install(struct accountant *accountant);
int accountant_remove(void);

/* ---- The process
 * --------------------------------------------------------------- */

uint32_t crew_threads(void);
uint32_t crew_files(void);

/* Wait until the process has no more than so many threads. */
bool crew_await_threads(uint32_t threads);

/* How many threads have a name that begins like this. */
uint32_t crew_threads_named(const char *prefix);

/* Run body(ctx) in a forked child. What it returns is the result, or
 * CREW_MISUSE when the misuse hook was called; then sentence, if not NULL and
 * CREW_SENTENCE_MAX long, receives what the hook was told. CREW_BROKEN: the
 * child was ended by a signal. */
#define CREW_MISUSE 200
#define CREW_BROKEN 201
#define CREW_SENTENCE_MAX 256
int crew_fork(int (*body)(void *ctx), void *ctx, char *sentence);

#endif
