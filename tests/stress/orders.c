/* SPDX-License-Identifier: MIT */
#include "tests/stress/orders.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define TOKENS_MAX 256u
#define NONSENSE 77
#define HANGS_AT_ONCE 6 /* the process may have sixteen zombies */
#define HANG_NS 150000000
#define ERROR_LATER (-2000)

struct site sites[SITES];
struct fate *fates;
_Thread_local bool is_client;

static int error_of(uint32_t number)
{
    return -1000 - (int)(number % 100);
}

static int code_of(uint32_t number)
{
    return (int)(number % 1000);
}

static uint64_t answer_of(uint32_t number)
{
    return (uint64_t)number * 3 + 1;
}

/* ---- Random numbers and complaints ------------------------------------------
 */

uint64_t roll(uint64_t *random, uint64_t sides)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return *random % sides;
}

static _Atomic uint32_t complaint_count;

void complain(const char *what, uint32_t number, int result)
{
    if (atomic_fetch_add(&complaint_count, 1) < 20) {
        fprintf(stderr, "stress_pool: message %" PRIu32 ": %s (%d, %s)\n",
                number, what, result, vivero_error_name(result));
    }
}

uint32_t complaints(void)
{
    return atomic_load(&complaint_count);
}

void nap(int64_t length_ns)
{
    nanosleep(&(struct timespec){.tv_nsec = length_ns}, NULL);
}

/* ---- Answers that come later, from a thread of their own
 * ------------------------ */

static pthread_mutex_t token_lock = PTHREAD_MUTEX_INITIALIZER;
/* guarded by token_lock */
static struct {
    struct vivero_reply_token token;
    uint32_t number;
} tokens[TOKENS_MAX];
static uint32_t token_count;
static _Atomic bool answering = true;

static bool keep_token(struct vivero_reply_token token, uint32_t number)
{
    bool kept;

    pthread_mutex_lock(&token_lock);
    kept = token_count < TOKENS_MAX;
    if (kept) {
        tokens[token_count].token = token;
        tokens[token_count].number = number;
        token_count++;
    }
    pthread_mutex_unlock(&token_lock);
    return kept;
}

static bool answer_one(uint64_t *random)
{
    struct vivero_reply_token token = {0, 0};
    uint32_t number = 0;
    uint64_t answer;
    bool found;

    pthread_mutex_lock(&token_lock);
    found = token_count > 0;
    if (found) {
        uint32_t at = (uint32_t)roll(random, token_count);

        token = tokens[at].token;
        number = tokens[at].number;
        tokens[at] = tokens[--token_count];
    }
    pthread_mutex_unlock(&token_lock);
    if (found && roll(random, 4) == 0) {
        (void)vivero_reply_error(token, ERROR_LATER);
    } else if (found) {
        answer = answer_of(number);
        (void)vivero_reply(token, &answer, sizeof(answer));
    }
    return found;
}

static void *answer_later(void *ctx)
{
    uint64_t random = *(const uint64_t *)ctx;

    while (atomic_load(&answering) || answer_one(&random)) {
        if (!answer_one(&random)) {
            nap(20000);
        }
    }
    return NULL;
}

static pthread_t answerer;
static uint64_t answerer_seed;

void start_answering(uint64_t seed)
{
    answerer_seed = seed;
    pthread_create(&answerer, NULL, answer_later, &answerer_seed);
}

void stop_answering(void)
{
    atomic_store(&answering, false);
    pthread_join(answerer, NULL);
}

/* ---- Handlers
 * ----------------------------------------------------------------------- */

static volatile uint32_t bottom;

/* Leaves the handler from a few frames down. */
static uint64_t go_deep(uint32_t number, uint32_t depth)
{
    if (depth > bottom) {
        return go_deep(number, depth - 1) + depth;
    }
    if (bottom == 0) {
        vivero_exit(code_of(number), "jumped out");
    }
    return 0;
}

static int run_later(struct vivero_self *self, const struct order *order,
                     uint64_t *out)
{
    struct vivero_reply_token token;

    if (vivero_reply_later(self, &token) != VIVERO_OK) {
        return ERROR_LATER; /* a cast, or no memory */
    }
    if (order->what == ANSWER_LATER && !keep_token(token, order->number)) {
        *out = answer_of(order->number);
        (void)vivero_reply(token, out, sizeof(*out));
    }
    return VIVERO_NO_REPLY;
}

static void call_next(const struct order *order);

/* A zombie's work is as good as any, but nobody hears of it. */
static void hang(const struct order *order)
{
    static _Atomic int hanging;

    if (!order->site->replaces || is_client || order->number % 16 != 0) {
        return;
    }
    if (atomic_fetch_add(&hanging, 1) < HANGS_AT_ONCE) {
        nap(HANG_NS);
    }
    atomic_fetch_sub(&hanging, 1);
}

static int carry_out(struct vivero_self *self, const struct order *order,
                     uint64_t *out)
{
    atomic_fetch_add(&order->site->begun, 1);
    if (order->number != UNTRACKED) {
        atomic_fetch_add(&fates[order->number].ran, 1);
    }
    switch (order->what) {
    case ANSWER_LATER:
    case NEVER_ANSWER:
        return run_later(self, order, out);
    case RETURN_ERROR:
        return error_of(order->number);
    case RETURN_NONSENSE:
        return NONSENSE;
    case JUMP_OUT:
        *out = go_deep(order->number, order->number % 8);
        break;
    case END_THREAD:
        if (!is_client) {
            pthread_exit(NULL);
        }
        return vivero_fail(self, code_of(order->number), "in its caller");
    case FAIL:
        return vivero_fail(self, code_of(order->number), "asked to");
    case SUCCEED_LATE:
        nap(300000);
        break;
    case CALL_NEXT:
        call_next(order);
        break;
    case HANG:
        hang(order);
        break;
    case SUCCEED:
    case WHAT_COUNT:
        break;
    }
    *out = answer_of(order->number);
    return 0;
}

static int run(struct vivero_self *self, const void *in, void *out)
{
    uint64_t ignored;

    return carry_out(self, in, out != NULL ? out : &ignored);
}

const struct vivero_operation small = {.name = "small",
                                       .run = run,
                                       .in_size = sizeof(struct order),
                                       .out_size = sizeof(uint64_t),
                                       .key_size = sizeof(void *) + 4};
const struct vivero_operation large = {.name = "large",
                                       .run = run,
                                       .in_size = sizeof(struct large_order),
                                       .out_size = sizeof(uint64_t),
                                       .key_size = sizeof(void *) + 4};

/* ---- What may come of it
 * ---------------------------------------------------------------------------
 */

void count_refusal(struct site *site, int result)
{
    if (result == VIVERO_E_NOT_FOUND || result == VIVERO_E_DEADLOCK) {
        atomic_fetch_add(&site->refused, 1);
    } else if (result == VIVERO_E_GONE || result == VIVERO_E_FENCED) {
        atomic_fetch_add(&site->gone, 1);
    }
}

static bool has_hung(const struct site *site)
{
    const struct vivero_exit *exit = vivero_last_exit();

    return site->replaces && (exit->kind == VIVERO_EXIT_HUNG_CPU ||
                              exit->kind == VIVERO_EXIT_HUNG_BLOCKED);
}

/* GONE, NOT_FOUND: a worker picked by key or at random was taken away. FENCED:
 * the calling worker was; DOWN: on a busy machine anybody is late. */
static bool nested_fits(const struct site *site, int result, uint64_t out)
{
    switch (result) {
    case VIVERO_OK:
        return out == answer_of(UNTRACKED);
    case VIVERO_E_FULL:
        return site->call_may_be_full;
    case VIVERO_E_TIMED_OUT:
    case VIVERO_E_DEADLOCK:
    case VIVERO_E_GONE:
    case VIVERO_E_NOT_FOUND:
    case VIVERO_E_FENCED:
        return true;
    case VIVERO_E_DOWN:
        return has_hung(site);
    default:
        return false;
    }
}

static void call_next(const struct order *order)
{
    struct site *next = &sites[(size_t)(order->site - sites + 1) % SITES];
    const struct order nested = {next, UNTRACKED, SUCCEED};
    uint64_t out = 0;
    int result;

    atomic_fetch_add(&next->attempts, 1);
    result = vivero_pool_call(next->pool, &small, &nested, &out,
                              VIVERO_SEND(.timeout_ns = 2000000));
    count_refusal(next, result);
    if (!nested_fits(next, result, out)) {
        complain("a call from a handler got", order->number, result);
    }
}

static bool down_fits(const struct order *order)
{
    const struct vivero_exit *exit = vivero_last_exit();

    if (has_hung(order->site)) {
        return true;
    }
    switch (order->what) {
    case FAIL:
    case JUMP_OUT:
        return exit->kind == VIVERO_EXIT_FAILED &&
               exit->code == code_of(order->number);
    case RETURN_NONSENSE:
        return exit->kind == VIVERO_EXIT_FAILED && exit->code == NONSENSE;
    case END_THREAD:
        return exit->kind == VIVERO_EXIT_THREAD_LEFT ||
               exit->kind == VIVERO_EXIT_FAILED;
    case ANSWER_LATER:
    case NEVER_ANSWER:
        return true; /* its worker failed with another message */
    case SUCCEED:
    case SUCCEED_LATE:
    case CALL_NEXT:
    case RETURN_ERROR:
    case HANG:
    case WHAT_COUNT:
        break;
    }
    return false;
}

static bool ok_fits(const struct order *order, uint64_t out)
{
    return out == answer_of(order->number) &&
           (order->what <= ANSWER_LATER || order->what == CALL_NEXT ||
            order->what == HANG);
}

bool call_fits(const struct order *order, int result, uint64_t out,
               bool has_owner)
{
    bool has_run = atomic_load(&fates[order->number].ran) == 1;

    switch (result) {
    case VIVERO_OK:
        return has_run && ok_fits(order, out);
    case VIVERO_E_DOWN:
        return has_run && down_fits(order);
    case VIVERO_E_TIMED_OUT:
        return true;
    case VIVERO_E_CANCELLED:
        return !has_run && has_owner;
    case VIVERO_E_FULL:
        return !has_run && order->site->call_may_be_full;
    case VIVERO_E_GONE:
    case VIVERO_E_NOT_FOUND:
        return !has_run;
    case ERROR_LATER:
        return has_run && order->what == ANSWER_LATER;
    default:
        return has_run && order->what == RETURN_ERROR &&
               result == error_of(order->number);
    }
}

void note_if_it_never_ran(uint32_t number, int result)
{
    if (result == VIVERO_E_CANCELLED || result == VIVERO_E_FULL ||
        result == VIVERO_E_GONE || result == VIVERO_E_NOT_FOUND) {
        atomic_store(&fates[number].never_ran, 1);
    }
}

bool cast_fits(int result)
{
    return result == VIVERO_OK || result == VIVERO_E_FULL ||
           result == VIVERO_E_TIMED_OUT || result == VIVERO_E_GONE ||
           result == VIVERO_E_NOT_FOUND;
}
