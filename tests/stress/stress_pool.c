/* SPDX-License-Identifier: MIT */
/* stress_pool [MESSAGES]: several pools, several clients, everything at once.
 *
 * Clients call and cast with random time-outs; handlers succeed, fail, jump out
 * of deep calls, end their threads, sleep past the deadline, hang until they are
 * replaced and come back as zombies, answer later from another thread, call the
 * next pool; meanwhile messages are cancelled, pools
 * are pictured, suspended and resized. Every answer must fit what its handler
 * did, no message may be handled twice, and in the end the numbers of each pool
 * must add up exactly.
 *
 * The seed is printed; VV_SEED sets it. */
#include <vivero/vivero.h>

#include "tests/stress/orders.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MESSAGES_DEFAULT 20000u
#define CLIENTS 4u
#define PATIENCE VIVERO_SECONDS(60)

struct client {
    pthread_t thread;
    uint64_t random;
    uint64_t right;
};

static _Atomic uint32_t next_number = 1;
static uint32_t messages;

/* ---- Calls
 * ------------------------------------------------------------------- */

static int64_t some_timeout(struct client *client, enum what what)
{
    switch (roll(&client->random, 8)) {
    case 0:
        return VIVERO_NONE;
    case 1:
    case 2:
        return (int64_t)(1 + roll(&client->random, 50000));
    case 3:
        return (int64_t)(1 + roll(&client->random, 2000000));
    default:
        return what == NEVER_ANSWER ? 1000000 : PATIENCE;
    }
}

static void call(struct client *client, struct order order)
{
    struct large_order big = {.order = order};
    bool is_big = roll(&client->random, 8) == 0;
    struct vivero_send send = {.size = sizeof(send)};
    uint64_t out = 0;
    bool right;
    int result;

    send.timeout_ns = some_timeout(client, order.what);
    send.owner = roll(&client->random, 4) == 0 ? client : NULL;
    send.worker = roll(&client->random, 8) == 0
                      ? 1 + (uint32_t)roll(&client->random, 4)
                      : 0;
    if (roll(&client->random, 8) == 0) {
        send.key = &order.number;
        send.key_size = sizeof(order.number);
    }
    atomic_fetch_add(&order.site->attempts, 1);
    result =
        vivero_pool_call(order.site->pool, is_big ? &large : &small,
                         is_big ? (const void *)&big : &order, &out, &send);
    count_refusal(order.site, result);
    note_if_it_never_ran(order.number, result);
    right = call_fits(&order, result, out, send.owner != NULL);
    client->right += right;
    if (!right) {
        complain("a call got what does not fit", order.number, result);
    }
}

/* ---- Casts
 * ---------------------------------------------------------------------------
 */

static void cast(struct client *client, struct order order)
{
    struct vivero_message message;
    struct vivero_send send = {.size = sizeof(send)};
    struct large_order big = {.order = order};
    bool is_big = roll(&client->random, 8) == 0;
    int result;

    send.message = roll(&client->random, 3) == 0 ? &message : NULL;
    send.owner = roll(&client->random, 4) == 0 ? client : NULL;
    send.timeout_ns = (int64_t)(roll(&client->random, 3) * 100000);
    send.worker = roll(&client->random, 8) == 0 ? 1 : 0;
    atomic_fetch_add(&order.site->attempts, 1);
    result = vivero_pool_cast(order.site->pool, is_big ? &large : &small,
                              is_big ? (const void *)&big : &order, &send);
    count_refusal(order.site, result);
    note_if_it_never_ran(order.number, result);
    if (!cast_fits(result)) {
        complain("a cast got", order.number, result);
    }
    if (result == VIVERO_OK && send.message != NULL &&
        roll(&client->random, 2) == 0 &&
        vivero_pool_cancel(order.site->pool, message) == VIVERO_OK) {
        atomic_store(&fates[order.number].never_ran, 1);
    }
}

static void cast_batch(struct order order)
{
    struct order orders[] = {order, order, order, order, order};
    int result;

    for (size_t i = 0; i < 5; i++) {
        orders[i].number = UNTRACKED;
    }
    atomic_fetch_add(&order.site->batches, 1);
    result = vivero_pool_cast_batch(order.site->pool, &small, orders, 5);
    if (result > 0) {
        atomic_fetch_add(&order.site->batched, (uint64_t)result);
    } else {
        atomic_fetch_add(&order.site->attempts, 1);
        count_refusal(order.site, result);
    }
}

/* ---- Everything else
 * -------------------------------------------------------------------- */

static void look(struct vivero_pool *pool)
{
    const struct vivero_pool_snapshot *snapshot;

    if (vivero_pool_snapshot(pool, &snapshot) == VIVERO_OK) {
        vivero_pool_snapshot_free(snapshot);
    }
}

static void disturb(struct client *client, struct site *site)
{
    int result;

    switch (roll(&client->random, 8)) {
    case 0:
    case 1:
    case 2:
        (void)vivero_pool_cancel_owner(site->pool, client);
        break;
    case 3:
    case 4:
        look(site->pool);
        break;
    case 5:
        vivero_pool_suspend(site->pool);
        nap(1 + (int64_t)roll(&client->random, 100000));
        vivero_pool_resume(site->pool);
        break;
    default:
        result = vivero_pool_resize(site->pool,
                                    1 + (uint32_t)roll(&client->random, 4));
        if (result != VIVERO_OK && result != VIVERO_E_AGAIN) {
            complain("a resize got", 0, result);
        }
    }
}

/* Half of them simply succeed. */
static enum what something(struct client *client)
{
    return roll(&client->random, 2) == 0
               ? SUCCEED
               : (enum what)roll(&client->random, WHAT_COUNT);
}

static void *be_client(void *ctx)
{
    struct client *client = ctx;

    is_client = true;
    for (;;) {
        struct order order = {&sites[roll(&client->random, SITES)],
                              atomic_fetch_add(&next_number, 1),
                              something(client)};

        if (order.number > messages) {
            return NULL;
        }
        switch (roll(&client->random, 16)) {
        case 0:
        case 1:
        case 2:
            cast(client, order);
            break;
        case 3:
            cast_batch(order);
            break;
        case 4:
            disturb(client, order.site);
            break;
        default:
            call(client, order);
        }
    }
}

/* ---- The pools
 * ------------------------------------------------------------------ */

static int init_payload(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)ctx;
    *(uint64_t *)payload = 42;
    return 0;
}

static void print_payload(const void *payload, FILE *out, void *ctx)
{
    (void)ctx;
    (void)fprintf(out, "%" PRIu64, *(const uint64_t *)payload);
}

#define COMMON                                                                 \
    .workers_max = 4, .restarts_max = VIVERO_UNLIMITED,                        \
    .payload_size = sizeof(uint64_t), .init = init_payload,                    \
    .print_payload = print_payload

#define REPLACING                                                              \
    .deadline_ns = 50000000, .on_hang = VIVERO_HANG_REPLACE, .abandoned_max = 16

static const struct vivero_pool_options *const options[SITES] = {
    VIVERO_POOL_OPTIONS(COMMON, REPLACING, .name = "waiting", .workers = 4,
                        .mailbox_depth = 8, .full_call = VIVERO_FULL_WAIT,
                        .full_cast = VIVERO_FULL_REJECT),
    VIVERO_POOL_OPTIONS(COMMON, .name = "rejecting", .workers = 3,
                        .mailbox_depth = 2, .full_call = VIVERO_FULL_REJECT,
                        .full_cast = VIVERO_FULL_DROP_OLDEST,
                        .pick = VIVERO_PICK_RANDOM, .spin_ns = VIVERO_NONE),
    VIVERO_POOL_OPTIONS(COMMON, .name = "dropping", .workers = 4,
                        .mailbox_depth = 4,
                        .full_call = VIVERO_FULL_DROP_OLDEST,
                        .full_cast = VIVERO_FULL_DROP_NEWEST,
                        .pick = VIVERO_PICK_KEY, .linger_ns = 1000000),
    VIVERO_POOL_OPTIONS(COMMON, REPLACING, .name = "inline", .workers = 2,
                        .mailbox_depth = 3, .full_call = VIVERO_FULL_WAIT,
                        .full_cast = VIVERO_FULL_WAIT, .caller_runs = true,
                        .call_timeout_ns = PATIENCE, .backoff_ns = 20000,
                        .backoff_max_ns = 200000)};

static bool open_site(uint32_t index)
{
    int error = vivero_pool_open(options[index], &sites[index].pool);

    if (error != VIVERO_OK) {
        complain("a pool does not open", index, error);
        return false;
    }
    sites[index].call_may_be_full =
        options[index]->full_call != VIVERO_FULL_WAIT;
    sites[index].replaces = options[index]->on_hang == VIVERO_HANG_REPLACE;
    return true;
}

static void print_numbers(const struct vivero_pool_snapshot *n)
{
    printf("%-10s accepted %" PRIu64 " = handled %" PRIu64 " + failed %" PRIu64
           " + expired %" PRIu64 " + cancelled %" PRIu64 " + dropped %" PRIu64
           " + dead %" PRIu64 "; rejected %" PRIu64 ", restarts %" PRIu64
           ", zombies %" PRIu32 "\n",
           n->name, n->accepted, n->handled, n->failed, n->expired,
           n->cancelled, n->dropped, n->dead, n->rejected, n->restarts,
           n->abandoned);
}

/* The conservation law, and that the pool counts as its clients do: who was
 * told GONE was accepted or not, the rest of a batch was rejected or not. */
static void check_numbers(const struct site *site,
                          const struct vivero_pool_snapshot *n)
{
    uint64_t ended = n->handled + n->failed + n->expired + n->cancelled +
                     n->dropped + n->dead;
    uint64_t sent = site->attempts + site->batched - site->refused;
    uint64_t counted = n->accepted + n->rejected;

    print_numbers(n);
    if (n->accepted != ended || n->queued != 0 || n->running != 0) {
        complain("messages were lost or doubled in a pool", 0, 0);
    }
    if (n->handled + n->failed != site->begun) {
        complain("a pool counts other handlers than there were", 0, 0);
    }
    if (counted > sent + site->batches || counted + site->gone < sent) {
        complain("a pool counts other messages than were sent", 0, 0);
    }
}

static void close_site(struct site *site)
{
    const struct vivero_pool_snapshot *snapshot;
    int error = vivero_pool_drain(site->pool, PATIENCE, NULL);

    if (error != VIVERO_OK) {
        complain("a drain got", 0, error);
    }
    error = vivero_pool_snapshot(site->pool, &snapshot);
    if (error == VIVERO_OK) {
        check_numbers(site, snapshot);
        vivero_pool_snapshot_free(snapshot);
    }
    error = vivero_pool_close(site->pool);
    if (error != VIVERO_OK) {
        complain("a close got", 0, error);
    }
}

static void check_messages(void)
{
    for (uint32_t i = 1; i <= messages; i++) {
        if (fates[i].ran > 1) {
            complain("was handled more than once", i, fates[i].ran);
        }
        if (fates[i].ran > 0 && fates[i].never_ran > 0) {
            complain("was handled although it was said to be over", i, 0);
        }
    }
}

/* ---- The program
 * ------------------------------------------------------------------- */

static void run_clients(uint64_t seed)
{
    struct client clients[CLIENTS];
    uint64_t right = 0;

    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.random = (seed + i + 1) *
                                               UINT64_C(0x9e3779b97f4a7c15)};
        pthread_create(&clients[i].thread, NULL, be_client, &clients[i]);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        right += clients[i].right;
    }
    printf("%" PRIu64 " calls were answered as they should\n", right);
}

static bool stress(uint64_t seed)
{
    fates = calloc(messages + 1, sizeof(*fates));
    if (fates == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < SITES; i++) {
        if (!open_site(i)) {
            return false;
        }
    }
    start_answering(seed + 1);
    run_clients(seed);
    stop_answering();
    for (uint32_t i = 0; i < SITES; i++) {
        close_site(&sites[i]);
    }
    while (vivero_abandoned_threads() > 0) {
        nap(1000000);
    }
    check_messages();
    free(fates);
    return complaints() == 0;
}

int main(int argc, char **argv)
{
    const char *given = getenv("VV_SEED");
    uint64_t seed =
        given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

    messages =
        argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : MESSAGES_DEFAULT;
    printf("stress_pool: seed %" PRIu64 ", %" PRIu32 " messages\n", seed,
           messages);
    (void)fflush(stdout);
    if (!stress(seed)) {
        printf("stress_pool: FAILED with VV_SEED=%" PRIu64 "\n", seed);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
