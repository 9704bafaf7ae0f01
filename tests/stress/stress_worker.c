/* SPDX-License-Identifier: MIT */
/* stress_worker [ROUNDS]: workers on their own, everything at once.
 *
 * Thirty workers, half of them on shared carriers, come and go. Attached clients
 * call, cast, tell and arm timers; workers call one another, link, monitor, fail,
 * stop; clients kill, stop and suspend them and start others in their place.
 * Every call must be answered once, with the right number or a reason that can
 * be; every monitor must say once that it is over; when all is done nothing may
 * be left: no worker, no thread.
 *
 * The seed is printed; VV_SEED sets it. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS_DEFAULT 3000u
#define WORKERS 30u
#define CLIENTS 4u
#define MONITORS_MAX 256u
#define PATIENCE VIVERO_SECONDS(60)

enum deed { ADD, FAIL, JUMP, LEAVE, STOP, LINK, MONITOR, CALL_ANOTHER, LATER };
#define DEEDS 9u

struct order {
    enum deed deed;
    uint32_t a;
    uint32_t b;
    struct vivero_ref other;
};

struct client {
    pthread_t thread;
    uint64_t random;
    uint32_t index;
    /* monitors that have not said anything yet */
    uint32_t watched;
    struct vivero_monitor watch[MONITORS_MAX];
};

static uint32_t rounds;
static struct vivero_carriers *carriers;
static _Atomic uint64_t places[WORKERS]; /* references */
static atomic_uint wrong;

static uint32_t roll(uint64_t *random, uint32_t sides)
{
    *random = *random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*random >> 33) % sides;
}

static void complain(const char *what, int number)
{
    fprintf(stderr, "stress_worker: %s: %d\n", what, number);
    atomic_fetch_add(&wrong, 1);
}

/* ---- Workers ----------------------------------------------------------------- */

static uint64_t pack(struct vivero_ref ref)
{
    return (uint64_t)ref.generation << 32 | ref.slot;
}

static struct vivero_ref at_place(uint32_t place)
{
    uint64_t packed = atomic_load(&places[place]);

    return (struct vivero_ref){(uint32_t)packed, (uint32_t)(packed >> 32)};
}

static int obey(struct vivero_self *self, const void *in, void *out);

static const struct vivero_operation obey_operation = {
    .name = "obey",
    .run = obey,
    .in_size = sizeof(struct order),
    .out_size = sizeof(uint32_t)};

static int call_another(const struct order *order, uint32_t *out)
{
    const struct order inner = {ADD, order->a, order->b, {0, 0}};
    uint32_t sum = 0;
    int result = vivero_worker_call(order->other, &obey_operation, &inner, &sum,
                                    VIVERO_SEND(.timeout_ns = PATIENCE));

    if (result == VIVERO_OK && sum != order->a + order->b) {
        complain("an inner call was answered wrongly", (int)sum);
    }
    *out = order->a + order->b; /* whatever became of it */
    return VIVERO_OK;
}

static int answer_later(struct vivero_self *self, const struct order *order,
                        uint32_t *out)
{
    const uint32_t sum = order->a + order->b;
    struct vivero_reply_token token;
    int error = vivero_reply_later(self, &token);

    if (error != VIVERO_OK) {
        *out = sum; /* it was a cast */
        return VIVERO_OK;
    }
    error = vivero_reply(token, &sum, sizeof(sum));
    if (error != VIVERO_OK && error != VIVERO_E_GONE) {
        complain("a reply was refused", error);
    }
    return VIVERO_NO_REPLY;
}

static int obey(struct vivero_self *self, const void *in, void *out)
{
    const struct order *order = in;
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 77, "told to");
    struct vivero_monitor monitor;
    uint32_t nowhere;
    uint32_t *sum = out != NULL ? out : &nowhere;

    *sum = order->a + order->b;
    switch (order->deed) {
    case ADD:
        break;
    case FAIL:
        return vivero_fail(self, 77, "told to");
    case JUMP:
        vivero_exit(77, "told to");
    case LEAVE:
        pthread_exit(NULL);
    case STOP:
        return vivero_stop(self, &why);
    case LINK:
        (void)vivero_link(order->other);
        break;
    case MONITOR:
        if (vivero_monitor(order->other, &monitor) == VIVERO_OK &&
            order->a % 2 == 0) {
            (void)vivero_demonitor(monitor, true);
        }
        break;
    case CALL_ANOTHER:
        return call_another(order, sum);
    case LATER:
        return answer_later(self, order, sum);
    }
    return VIVERO_OK;
}

static int hear(struct vivero_self *self, const struct vivero_info *info,
                void *ctx)
{
    (void)ctx;
    if (info->kind == VIVERO_INFO_MESSAGE && info->tag % 8 == 0) {
        vivero_idle_timeout(self, VIVERO_MICROSECONDS(info->tag));
    }
    return VIVERO_OK;
}

/* A new worker for a place; whoever was there goes on by himself. */
static void fill_place(uint32_t place)
{
    struct vivero_ref ref;
    int error = vivero_worker_start(
        VIVERO_WORKER_OPTIONS(.on_info = hear, .trap_exits = place % 3 == 0,
                              .mailbox_depth = 16, .quiet = true,
                              .carriers = place % 2 == 0 ? carriers : NULL),
        &ref);

    if (error != VIVERO_OK) {
        complain("a start failed", error);
        return;
    }
    uint64_t before = atomic_exchange(&places[place], pack(ref));

    (void)vivero_worker_stop(
        (struct vivero_ref){(uint32_t)before, (uint32_t)(before >> 32)}, NULL,
        PATIENCE);
}

/* ---- Clients ------------------------------------------------------------------- */

/* What a call may be answered when its worker may end at any moment. */
static bool may_be(int result, bool had_time)
{
    return result == VIVERO_OK || result == VIVERO_E_GONE ||
           result == VIVERO_E_DOWN ||
           (!had_time && result == VIVERO_E_TIMED_OUT);
}

static struct order some_order(struct client *client)
{
    static const enum deed mostly[] = {ADD, ADD, ADD, LATER, CALL_ANOTHER};
    struct order order = {.a = roll(&client->random, 1000000),
                          .b = roll(&client->random, 1000000),
                          .other = at_place(roll(&client->random, WORKERS))};

    order.deed = roll(&client->random, 4) > 0
                     ? mostly[roll(&client->random, 5)]
                     : (enum deed)roll(&client->random, DEEDS);
    return order;
}

static void call(struct client *client, struct vivero_ref to)
{
    struct order order = some_order(client);
    bool had_time = roll(&client->random, 8) != 0;
    uint32_t sum = 0;
    int result = vivero_worker_call(
        to, &obey_operation, &order, &sum,
        VIVERO_SEND(.timeout_ns = had_time
                                      ? PATIENCE
                                      : 1 + roll(&client->random, 200000)));

    if (!may_be(result, had_time)) {
        complain("a call got", result);
    } else if (result == VIVERO_OK && sum != order.a + order.b) {
        complain("a call was answered wrongly", (int)sum);
    } else if (result == VIVERO_E_DOWN &&
               vivero_last_exit()->kind == VIVERO_EXIT_NONE) {
        complain("a call was DOWN without a reason", result);
    }
}

static void cast(struct client *client, struct vivero_ref to)
{
    struct order order = some_order(client);
    int result = vivero_worker_cast(to, &obey_operation, &order, NULL);

    if (result != VIVERO_OK && result != VIVERO_E_GONE &&
        result != VIVERO_E_FULL) {
        complain("a cast got", result);
    }
}

static void arm(struct client *client, struct vivero_ref to)
{
    struct vivero_timer timer;

    if (vivero_tell_after(to, roll(&client->random, 2000000),
                          roll(&client->random, 64), &client->index,
                          sizeof(client->index), &timer) == VIVERO_OK &&
        roll(&client->random, 2) == 0) {
        (void)vivero_timer_cancel(timer, NULL);
    }
}

static void signal_it(struct client *client, struct vivero_ref to)
{
    const struct vivero_exit why = vivero_reason(
        roll(&client->random, 2) == 0 ? VIVERO_EXIT_KILL : VIVERO_EXIT_SHUTDOWN,
        1, "signal");

    (void)vivero_signal(to, &why);
}

static void hold_up(struct vivero_ref to)
{
    struct vivero_worker_info info;
    int result = vivero_worker_suspend(to, PATIENCE);

    if (!may_be(result, true)) {
        complain("a suspend got", result);
    }
    result = vivero_worker_info(to, &info);
    if (!may_be(result, true)) {
        complain("a look got", result);
    }
    result = vivero_worker_resume(to, PATIENCE);
    if (!may_be(result, true)) {
        complain("a resume got", result);
    }
}

/* ---- Monitors: each says once that it is over ------------------------------------- */

static bool is(struct vivero_monitor a, struct vivero_monitor b)
{
    return a.slot == b.slot && a.generation == b.generation;
}

static bool forget(struct client *client, struct vivero_monitor monitor)
{
    for (uint32_t i = 0; i < client->watched; i++) {
        if (is(client->watch[i], monitor)) {
            client->watch[i] = client->watch[--client->watched];
            return true;
        }
    }
    return false;
}

static void watch(struct client *client, struct vivero_ref to)
{
    if (client->watched < MONITORS_MAX) {
        int error = vivero_monitor(to, &client->watch[client->watched]);

        if (error != VIVERO_OK) {
            complain("a monitor got", error);
        } else {
            client->watched++;
        }
    }
}

static void unwatch(struct client *client)
{
    if (client->watched > 0) {
        struct vivero_monitor monitor =
            client->watch[roll(&client->random, client->watched)];

        /* Fired or not: it has said nothing, and never will. */
        (void)vivero_demonitor(monitor, true);
        (void)forget(client, monitor);
    }
}

static void listen(struct client *client, int64_t timeout_ns)
{
    const struct vivero_info *info;

    while (vivero_receive(&info, timeout_ns) == VIVERO_OK) {
        if (info->kind == VIVERO_INFO_DOWN && !forget(client, info->monitor)) {
            complain("a monitor spoke that should not", (int)info->exit.kind);
        }
        timeout_ns = client->watched > 0 ? timeout_ns : 0;
    }
}

static void act(struct client *client)
{
    uint32_t place = roll(&client->random, WORKERS);
    struct vivero_ref to = at_place(place);

    switch (roll(&client->random, 16)) {
    case 0:
        signal_it(client, to);
        break;
    case 1:
        fill_place(place);
        break;
    case 2:
        hold_up(to);
        break;
    case 3:
        watch(client, to);
        break;
    case 4:
        unwatch(client);
        break;
    case 5:
        arm(client, to);
        break;
    case 6:
        (void)vivero_tell(to, roll(&client->random, 64), NULL, 0);
        break;
    case 7:
    case 8:
    case 9:
        cast(client, to);
        break;
    default:
        call(client, to);
    }
    if (!vivero_is_alive(to)) {
        fill_place(place);
    }
}

static void *run_client(void *arg)
{
    struct client *client = arg;
    struct vivero_ref ref;

    if (vivero_attach(NULL, &ref) != VIVERO_OK) {
        complain("an attach failed", (int)client->index);
        return NULL;
    }
    for (uint32_t i = 0; i < rounds; i++) {
        act(client);
        listen(client, 0);
    }
    return NULL;
}

/* All workers have ended: what has not spoken has to do so now. */
static void *stop_and_listen(void *arg)
{
    struct client *client = arg;
    struct vivero_ref ref;

    if (vivero_attach(NULL, &ref) != VIVERO_OK) {
        complain("an attach failed", (int)client->index);
        return NULL;
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        watch(client, at_place(i));
        watch(client, at_place(i));
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        (void)vivero_worker_stop(at_place(i), NULL, PATIENCE);
    }
    while (client->watched > 0) {
        uint32_t before = client->watched;

        listen(client, PATIENCE);
        if (client->watched == before) {
            complain("monitors never spoke", (int)before);
            break;
        }
    }
    return NULL;
}

/* ---- The whole --------------------------------------------------------------------- */

static void run_all(struct client *clients, uint32_t count,
                    void *(*body)(void *arg))
{
    for (uint32_t i = 0; i < count; i++) {
        if (pthread_create(&clients[i].thread, NULL, body, &clients[i]) != 0) {
            abort();
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(clients[i].thread, NULL);
    }
}

int main(int argc, char **argv)
{
    static struct client clients[CLIENTS];
    const char *given = getenv("VV_SEED");
    uint64_t seed =
        given != NULL ? strtoull(given, NULL, 10) : (uint64_t)vivero_now();
    uint32_t threads = crew_threads();

    rounds = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : ROUNDS_DEFAULT;
    printf("stress_worker: VV_SEED=%" PRIu64 ", %u rounds\n", seed, rounds);
    if (vivero_carriers_open(
            VIVERO_CARRIERS_OPTIONS(.name = "stress", .threads = 2),
            &carriers) != VIVERO_OK) {
        return EXIT_FAILURE;
    }
    for (uint32_t i = 0; i < WORKERS; i++) {
        fill_place(i);
    }
    for (uint32_t i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.random = seed + i, .index = i};
    }
    run_all(clients, CLIENTS, run_client);
    clients[0].watched = 0; /* its monitors ended with its first thread */
    run_all(clients, 1, stop_and_listen);
    vivero_carriers_close(carriers);
    if (!crew_await_threads(threads)) {
        complain("threads are left", (int)(crew_threads() - threads));
    }
    if (vivero_abandoned_threads() != 0) {
        complain("threads were given up", (int)vivero_abandoned_threads());
    }
    printf("stress_worker: %u wrong\n", atomic_load(&wrong));
    return atomic_load(&wrong) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
