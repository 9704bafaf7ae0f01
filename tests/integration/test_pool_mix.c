/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

/* Everything at once: threads that call, cast and cancel, workers that fail,
 * a main thread that resizes and suspends. Whatever the schedule, no message
 * is lost and every number fits. */

#define SENDERS 6
#define STEPS 4000

struct sender {
    pthread_t thread;
    struct vivero_pool *pool;
    uint64_t seed;
    uint32_t strange; /* codes that nothing here explains */
};

static atomic_ullong ran;
static atomic_ullong failed;

static int run(struct vivero_self *self, const void *in, void *out)
{
    int value = *(const int *)in;

    if (value < 0) {
        atomic_fetch_add(&failed, 1);
        return vivero_fail(self, value, "as asked");
    }
    atomic_fetch_add(&ran, 1);
    if (out != NULL) {
        memcpy(out, in, sizeof value);
    }
    return VIVERO_OK;
}

static const struct vivero_operation operation = {
    .name = "run", .run = run, .in_size = sizeof(int), .out_size = sizeof(int)};

static uint32_t next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

static bool is_expected(int result)
{
    return result >= 0 || result == VIVERO_E_FULL ||
           result == VIVERO_E_TIMED_OUT || result == VIVERO_E_CANCELLED ||
           result == VIVERO_E_DOWN || result == VIVERO_E_NOT_FOUND;
}

static int call_once(struct sender *sender, int value, uint32_t random)
{
    int out = 0;
    int result = vivero_pool_call(
        sender->pool, &operation, &value, &out,
        VIVERO_SEND(.timeout_ns = VIVERO_MICROSECONDS(random % 2000 + 1),
                    .key = &value, .key_size = random % 3 == 0 ? 4 : 0,
                    .owner = random % 5 == 0 ? &ran : NULL));

    if ((result == VIVERO_OK && out != value) ||
        (result == VIVERO_E_DOWN && value >= 0)) {
        fprintf(stderr, "\nstrange: call of %d: %d, %s", value, out,
                vivero_error_name(result));
        sender->strange++;
    }
    return result;
}

static int cast_once(struct sender *sender, int value, uint32_t random)
{
    struct vivero_message message;
    int result = vivero_pool_cast(
        sender->pool, &operation, &value,
        VIVERO_SEND(.worker = random % 4 == 0 ? random % 7 + 1 : 0,
                    .message = &message));

    if (result == VIVERO_OK && random % 8 == 0) {
        int gone = vivero_pool_cancel(sender->pool, message);

        sender->strange += gone != VIVERO_OK && gone != VIVERO_E_GONE;
    }
    return result;
}

static int send_once(struct sender *sender)
{
    uint32_t random = next_random(&sender->seed);
    int value = random % 50 == 0 ? -1 - (int)(random % 9) : (int)(random % 99);
    int batch[8] = {1, 2, 3, 4, 5, 6, 7, 8};

    switch (random / 64 % 16) {
    case 0:
        return vivero_pool_cast_batch(sender->pool, &operation, batch, 8);
    case 1:
        return vivero_pool_broadcast(sender->pool, &operation, batch);
    case 2:
        return vivero_pool_cancel_owner(sender->pool, &ran);
    case 3:
    case 4:
    case 5:
    case 6:
    case 7:
        return call_once(sender, value, random / 1024);
    default:
        return cast_once(sender, value, random / 1024);
    }
}

static void *send_many(void *arg)
{
    struct sender *sender = arg;

    for (int i = 0; i < STEPS; i++) {
        int result = send_once(sender);

        if (!is_expected(result)) {
            fprintf(stderr, "\nstrange: %s", vivero_error_name(result));
            sender->strange++;
        }
    }
    return NULL;
}

static void *disturb(void *arg)
{
    struct sender *sender = arg;

    for (int i = 0; i < STEPS / 20; i++) {
        uint32_t random = next_random(&sender->seed);
        int result = vivero_pool_resize(sender->pool, random % 6 + 1);

        sender->strange += result != VIVERO_OK && result != VIVERO_E_AGAIN;
        vivero_pool_suspend(sender->pool);
        (void)crew_numbers(sender->pool);
        vivero_pool_resume(sender->pool);
    }
    return NULL;
}

static void mix(const struct vivero_pool_options *options)
{
    struct sender sender[SENDERS + 1] = {{.strange = 0}};
    struct vivero_pool *pool = crew_open(options);

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    atomic_store(&ran, 0);
    atomic_store(&failed, 0);
    for (uint64_t i = 0; i <= SENDERS; i++) {
        sender[i].pool = pool;
        sender[i].seed = i + 1;
        pthread_create(&sender[i].thread, NULL,
                       i == SENDERS ? disturb : send_many, &sender[i]);
    }
    for (uint32_t i = 0; i <= SENDERS; i++) {
        pthread_join(sender[i].thread, NULL);
        CU_ASSERT_EQUAL(sender[i].strange, 0);
    }

    CU_ASSERT(crew_is_conserved(pool));
    struct vivero_pool_snapshot n = crew_numbers(pool);
    CU_ASSERT_EQUAL(n.handled, atomic_load(&ran));
    CU_ASSERT_EQUAL(n.failed, atomic_load(&failed));
    CU_ASSERT_EQUAL(n.queued + n.running + n.dead, 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void loses_nothing_in_a_small_pool_that_rejects(void)
{
    mix(VIVERO_POOL_OPTIONS(.workers = 2, .workers_max = 6, .mailbox_depth = 4,
                            .restarts_max = VIVERO_UNLIMITED));
}

static void loses_nothing_in_a_pool_that_drops_the_oldest(void)
{
    mix(VIVERO_POOL_OPTIONS(.workers = 3, .workers_max = 6, .mailbox_depth = 8,
                            .restarts_max = VIVERO_UNLIMITED,
                            .full_call = VIVERO_FULL_DROP_OLDEST,
                            .full_cast = VIVERO_FULL_DROP_OLDEST));
}

static void loses_nothing_in_a_pool_that_drops_the_newest(void)
{
    mix(VIVERO_POOL_OPTIONS(.workers = 3, .workers_max = 6, .mailbox_depth = 8,
                            .restarts_max = VIVERO_UNLIMITED,
                            .full_call = VIVERO_FULL_DROP_NEWEST,
                            .full_cast = VIVERO_FULL_DROP_NEWEST));
}

static void loses_nothing_when_callers_run_handlers(void)
{
    mix(VIVERO_POOL_OPTIONS(.workers = 3, .workers_max = 6, .mailbox_depth = 64,
                            .restarts_max = VIVERO_UNLIMITED,
                            .caller_runs = true, .full_cast = VIVERO_FULL_WAIT,
                            .linger_ns = VIVERO_MILLISECONDS(1)));
}

static void loses_nothing_when_workers_never_spin(void)
{
    mix(VIVERO_POOL_OPTIONS(.workers = 2, .workers_max = 6,
                            .restarts_max = VIVERO_UNLIMITED,
                            .pick = VIVERO_PICK_RANDOM, .spin_ns = VIVERO_NONE,
                            .backoff_ns = VIVERO_MICROSECONDS(50)));
}

SUITE_MAIN("pool_mix", NULL, NULL,
           TEST(loses_nothing_in_a_small_pool_that_rejects),
           TEST(loses_nothing_in_a_pool_that_drops_the_oldest),
           TEST(loses_nothing_in_a_pool_that_drops_the_newest),
           TEST(loses_nothing_when_callers_run_handlers),
           TEST(loses_nothing_when_workers_never_spin))
