/* SPDX-License-Identifier: MIT */
/* One mailbox, several producers and consumers, and everything that may end a
 * message at once: every message is settled exactly once. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/hash.h"
#include "mailbox/here.h"
#include "mailbox/mailbox.h"
#include "mailbox/spin.h"
#include "os/cpu.h"
#include "tests/lib/suite.h"

#include <pthread.h>

#define PRODUCERS_MAX 4u
#define CONSUMERS 2u
#define EACH 20000u
#define KINDS 5u

enum kind { PLAIN, BOXED, CANCELLABLE, CALL, OWNED_CALL };

static struct vv_space space;
static struct vv_mailbox mailbox;
static struct vv_account account;
static _Atomic uint32_t producers_left;

/* What became of each message; indexed by its number. */
static _Atomic uint8_t handled[PRODUCERS_MAX * EACH];
static _Atomic uint8_t ended[PRODUCERS_MAX * EACH]; /* known to its sender */

struct producer {
    pthread_t thread;
    uint32_t number;
    uint64_t random;
    uint64_t accepted;
    uint64_t answered; /* calls that were told OK */
    uint64_t expired;
    uint64_t cancelled; /* by this thread, or told so */
    uint64_t dropped;
    uint64_t wrong;
};

struct consumer {
    pthread_t thread;
    uint64_t handled;
    uint64_t handled_calls;
    uint64_t out_of_order;
    int64_t latest[PRODUCERS_MAX]; /* of each producer, in the own lane */
};

static int never_run(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return 0;
}

static const struct vivero_operation number = {.name = "number",
                                               .run = never_run,
                                               .in_size = sizeof(uint32_t),
                                               .out_size = sizeof(uint32_t)};
static const struct vivero_operation large = {
    .name = "large", .run = never_run, .in_size = 256};

static uint32_t roll(uint64_t *random, uint32_t sides)
{
    return (uint32_t)(vv_random_next(random) % sides);
}

/* ---- Producers --------------------------------------------------------------
 */

static struct vv_message compose(enum kind kind, const uint32_t *value)
{
    struct vv_message message = {.operation = &number};

    switch (kind) {
    case PLAIN:
        break;
    case BOXED:
        message.operation = &large;
        message.box = vv_box_new(large.in_size, &account);
        memcpy(message.box->bytes, value, sizeof(*value));
        break;
    case CANCELLABLE:
        message.reply = vv_reply_new(0, false);
        break;
    case CALL:
    case OWNED_CALL:
        message.reply = vv_reply_new(sizeof(uint32_t), true);
        break;
    }
    return message;
}

static bool put(struct producer *producer, enum vv_lane lane,
                const struct vv_message *message, const uint32_t *value)
{
    size_t done;

    for (;;) {
        switch (vv_mailbox_put(&mailbox, lane, message, value, 1, &done)) {
        case VV_PUT_OK:
            producer->accepted++;
            return true;
        case VV_PUT_FULL:
            if (roll(&producer->random, 4) == 0) {
                producer->dropped += vv_mailbox_drop(
                    &mailbox, VV_LANE_POOL, VIVERO_E_FULL, VV_SETTLED_DROPPED);
            }
            vv_cpu_yield();
            break;
        case VV_PUT_CLOSED:
            producer->wrong++;
            return false;
        }
    }
}

static void finish_call(struct producer *producer, struct vv_reply *reply,
                        uint32_t value)
{
    static const struct vv_spin none = {0, 0};
    uint32_t out = 0;
    bool expired;

    switch (vv_reply_wait(reply, &none, &out, &expired)) {
    case VIVERO_OK:
        producer->answered++;
        producer->wrong += out != ~value;
        producer->wrong += atomic_load(&handled[value]) != 1;
        break;
    case VIVERO_E_TIMED_OUT:
        producer->expired += expired;
        break;
    case VIVERO_E_CANCELLED:
        producer->cancelled++;
        atomic_fetch_add(&ended[value], 1);
        break;
    case VIVERO_E_FULL:
        atomic_fetch_add(&ended[value], 1);
        break;
    default:
        producer->wrong++;
    }
}

static void send_one(struct producer *producer, uint32_t value)
{
    enum kind kind = (enum kind)roll(&producer->random, KINDS);
    enum vv_lane lane =
        roll(&producer->random, 2) == 0 ? VV_LANE_OWN : VV_LANE_POOL;
    struct vv_message message = compose(kind, &value);
    struct vivero_message handle = {0, 0};

    if (message.reply != NULL) {
        handle = (struct vivero_message){message.reply->index,
                                         vv_reply_generation(message.reply)};
        message.reply->owner = kind == OWNED_CALL ? producer : NULL;
        message.reply->deadline_ns =
            kind == CANCELLABLE
                ? VIVERO_FOREVER
                : vivero_now() + roll(&producer->random, 100000);
    }
    if (!put(producer, lane, &message, &value)) {
        return;
    }
    if (kind == CANCELLABLE && roll(&producer->random, 2) == 0 &&
        vv_reply_cancel(handle)) {
        producer->cancelled++;
        atomic_fetch_add(&ended[value], 1);
    }
    if (kind == CALL || kind == OWNED_CALL) {
        finish_call(producer, message.reply, value);
    }
}

static void *produce(void *ctx)
{
    struct producer *producer = ctx;

    for (uint32_t i = 0; i < EACH; i++) {
        send_one(producer, producer->number * EACH + i);
    }
    atomic_fetch_sub(&producers_left, 1);
    return NULL;
}

/* ---- Consumers
 * ---------------------------------------------------------------- */

static void handle(struct consumer *consumer, enum vv_lane lane,
                   struct vv_message *message)
{
    uint32_t value;
    uint32_t out;

    memcpy(&value, message->box != NULL ? message->box->bytes : message->args,
           sizeof(value));
    atomic_fetch_add(&handled[value], 1);
    if (lane == VV_LANE_OWN) {
        consumer->out_of_order +=
            consumer->latest[value / EACH] >= (int64_t)value;
        consumer->latest[value / EACH] = value;
    }
    consumer->handled++;
    if (message->reply != NULL) {
        out = ~value;
        vv_reply_settle(message->reply, message->generation, VIVERO_OK, &out,
                        NULL);
    }
    vv_message_fini(message);
}

static void *consume(void *ctx)
{
    struct consumer *consumer = ctx;
    uint64_t random = (uint64_t)(uintptr_t)ctx;

    while (atomic_load(&producers_left) > 0 ||
           vv_mailbox_queued(&mailbox) > 0) {
        enum vv_lane lane = roll(&random, 2) == 0 ? VV_LANE_OWN : VV_LANE_POOL;
        struct vv_message message;

        if (vv_mailbox_take(&mailbox, lane, &message)) {
            handle(consumer, lane, &message);
        } else {
            vv_cpu_yield();
        }
    }
    return NULL;
}

/* Everything else that goes through a mailbox's role. */
static void *disturb(void *ctx)
{
    struct producer *producers = ctx;
    uint64_t *cancelled = calloc(1, sizeof(*cancelled));
    uint64_t random = 3;

    while (cancelled != NULL && atomic_load(&producers_left) > 0) {
        *cancelled += vv_mailbox_cancel_owner(
            &mailbox, &producers[roll(&random, PRODUCERS_MAX)]);
        (void)vv_mailbox_oldest_age(&mailbox);
        vv_mailbox_want_room(&mailbox);
        vv_cpu_yield();
    }
    return cancelled;
}

/* ---- The test
 * -------------------------------------------------------------------- */

static uint32_t settled_twice(uint32_t messages)
{
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < messages; i++) {
        wrong += atomic_load(&handled[i]) + atomic_load(&ended[i]) > 1;
    }
    return wrong;
}

static uint64_t settled(enum vv_settled how)
{
    return vv_mailbox_settled(&mailbox, how);
}

static void clear_counts(void)
{
    for (uint32_t i = 0; i < PRODUCERS_MAX * EACH; i++) {
        atomic_store(&handled[i], 0);
        atomic_store(&ended[i], 0);
    }
    memset(&account, 0, sizeof(account));
}

static void check_conservation(uint32_t count, uint32_t depth)
{
    struct producer producers[PRODUCERS_MAX];
    struct consumer consumers[CONSUMERS];
    struct producer sum = {.number = 0};
    struct vivero_memory_stats stats;
    pthread_t disturber;
    void *by_owner;
    uint64_t taken = 0;

    clear_counts();
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, depth, &space, NULL),
                          VIVERO_OK);
    vv_mailbox_reopen(&mailbox);
    atomic_store(&producers_left, count);
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        consumers[i] = (struct consumer){.latest = {-1, -1, -1, -1}};
        pthread_create(&consumers[i].thread, NULL, consume, &consumers[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        producers[i] = (struct producer){.number = i, .random = i + depth};
        pthread_create(&producers[i].thread, NULL, produce, &producers[i]);
    }
    pthread_create(&disturber, NULL, disturb, producers);

    for (uint32_t i = 0; i < count; i++) {
        pthread_join(producers[i].thread, NULL);
        sum.accepted += producers[i].accepted;
        sum.expired += producers[i].expired;
        sum.cancelled += producers[i].cancelled;
        sum.dropped += producers[i].dropped;
        sum.wrong += producers[i].wrong;
    }
    for (uint32_t i = 0; i < CONSUMERS; i++) {
        pthread_join(consumers[i].thread, NULL);
        taken += consumers[i].handled;
        sum.wrong += consumers[i].out_of_order;
    }
    pthread_join(disturber, &by_owner);

    CU_ASSERT_EQUAL(sum.wrong, 0);
    CU_ASSERT_EQUAL(sum.accepted, (uint64_t)count * EACH);
    CU_ASSERT_EQUAL(vv_mailbox_accepted(&mailbox), sum.accepted);
    CU_ASSERT_EQUAL(vv_mailbox_queued(&mailbox), 0);
    CU_ASSERT_EQUAL(settled_twice(count * EACH), 0);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_DROPPED), sum.dropped);
    CU_ASSERT_EQUAL(settled(VV_SETTLED_CANCELLED), sum.cancelled);
    CU_ASSERT(settled(VV_SETTLED_EXPIRED) >= sum.expired);
    CU_ASSERT(*(uint64_t *)by_owner <= sum.cancelled);
    CU_ASSERT_EQUAL(taken + settled(VV_SETTLED_EXPIRED) + sum.cancelled +
                        sum.dropped,
                    sum.accepted);
    vv_account_stats(&account, &stats);
    CU_ASSERT_EQUAL(stats.bytes, 0);
    free(by_owner);
    vv_mailbox_fini(&mailbox);
    vv_reply_release();
}

static void two_producers_at_a_tiny_mailbox_lose_and_double_nothing(void)
{
    check_conservation(2, 2);
}

static void three_producers_lose_and_double_nothing(void)
{
    check_conservation(3, 7);
}

static void four_producers_at_a_roomy_mailbox_lose_and_double_nothing(void)
{
    check_conservation(4, 64);
}

/* ---- Batches
 * ------------------------------------------------------------------------ */

static void *put_batches(void *ctx)
{
    const struct vv_message message = {.operation = &number};
    struct producer *producer = ctx;
    uint32_t values[16];

    while (producer->accepted < EACH) {
        uint32_t first = producer->number * EACH + (uint32_t)producer->accepted;
        uint32_t want = 1 + roll(&producer->random, 16);
        size_t done;

        if (want > EACH - producer->accepted) {
            want = EACH - (uint32_t)producer->accepted;
        }
        for (uint32_t i = 0; i < want; i++) {
            values[i] = first + i;
        }
        if (vv_mailbox_put(&mailbox, VV_LANE_OWN, &message, values, want,
                           &done) != VV_PUT_OK) {
            vv_cpu_yield();
        }
        producer->accepted += done;
    }
    atomic_fetch_sub(&producers_left, 1);
    return NULL;
}

static void batches_of_two_producers_stay_in_order_and_whole(void)
{
    struct producer producers[2];
    struct consumer consumer = {.latest = {-1, -1, -1, -1}};
    uint32_t missing = 0;

    clear_counts();
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, 8, &space, NULL),
                          VIVERO_OK);
    vv_mailbox_reopen(&mailbox);
    atomic_store(&producers_left, 2);
    for (uint32_t i = 0; i < 2; i++) {
        producers[i] = (struct producer){.number = i, .random = i};
        pthread_create(&producers[i].thread, NULL, put_batches, &producers[i]);
    }
    (void)consume(&consumer);
    pthread_join(producers[0].thread, NULL);
    pthread_join(producers[1].thread, NULL);

    for (uint32_t i = 0; i < 2 * EACH; i++) {
        missing += atomic_load(&handled[i]) != 1;
    }
    CU_ASSERT_EQUAL(missing, 0);
    CU_ASSERT_EQUAL(consumer.handled, 2 * EACH);
    CU_ASSERT_EQUAL(consumer.out_of_order, 0);
    vv_mailbox_fini(&mailbox);
}

SUITE_MAIN("mailbox_threads", NULL, NULL,
           TEST(two_producers_at_a_tiny_mailbox_lose_and_double_nothing),
           TEST(three_producers_lose_and_double_nothing),
           TEST(four_producers_at_a_roomy_mailbox_lose_and_double_nothing),
           TEST(batches_of_two_producers_stay_in_order_and_whole))
