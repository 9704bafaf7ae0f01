/* SPDX-License-Identifier: MIT */
/* Entities among threads: nothing is lost, nobody sleeps on, and one that rests
 * costs nothing. */
#include "mailbox/spin.h"
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#include <pthread.h>
#include <time.h>

#define THREADS 4u
#define LONG_ENOUGH VIVERO_SECONDS(60)

static const struct vv_spin no_spin = {0, 0};
static const struct vv_spin some_spin = {2000, 10};

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
}

static void tear_down(void)
{
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void start(pthread_t *threads, uint32_t count, void *(*run)(void *),
                  void *ctx, size_t size)
{
    for (uint32_t i = 0; i < count; i++) {
        pthread_create(&threads[i], NULL, run, (char *)ctx + i * size);
    }
}

static void join(const pthread_t *threads, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
}

/* ---- Many senders, one taker that rests ------------------------------------------------- */

#define MESSAGES 20000

struct sender {
    struct vivero_ref to;
    int first;
    uint32_t failed;
};

/* Sends its numbers in order, waiting for room. */
static void *send_all(void *ctx)
{
    struct sender *sender = ctx;
    struct vv_entity *to = vv_entity_retain(sender->to);

    for (int i = 0; i < MESSAGES; i++) {
        int error = subject_put(to, sender->first + i);

        while (error == VIVERO_E_FULL) {
            (void)vv_entity_wait_for_room(to, VIVERO_FOREVER);
            error = subject_put(to, sender->first + i);
        }
        sender->failed += error != VIVERO_OK;
    }
    vv_entity_release(to);
    return NULL;
}

struct taker {
    struct vv_entity *entity;
    const struct vv_spin *spin;
    uint32_t expected;
    uint32_t taken;
    uint32_t out_of_order;
};

static void *take_all(void *ctx)
{
    struct taker *taker = ctx;
    int next[THREADS] = {0};

    while (taker->taken < taker->expected) {
        int number = subject_take_number(taker->entity);

        if (number >= 0) {
            taker->taken++;
            taker->out_of_order +=
                number % MESSAGES != next[number / MESSAGES]++;
        } else {
            (void)vv_entity_rest(taker->entity, taker->spin, VIVERO_FOREVER);
        }
    }
    return NULL;
}

static void send_to_one_taker(uint32_t depth, const struct vv_spin *spin)
{
    struct taker taker = {.entity = subject_new(0, depth, NULL),
                          .spin = spin,
                          .expected = THREADS * MESSAGES};
    struct sender senders[THREADS];
    pthread_t threads[THREADS];
    pthread_t thread;

    for (uint32_t i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){taker.entity->ref, (int)i * MESSAGES, 0};
    }
    pthread_create(&thread, NULL, take_all, &taker);
    start(threads, THREADS, send_all, senders, sizeof(senders[0]));
    join(threads, THREADS);
    pthread_join(thread, NULL);

    for (uint32_t i = 0; i < THREADS; i++) {
        CU_ASSERT_EQUAL(senders[i].failed, 0);
    }
    CU_ASSERT_EQUAL(taker.taken, THREADS * MESSAGES);
    CU_ASSERT_EQUAL(taker.out_of_order, 0);
    CU_ASSERT(subject_end(taker.entity, VIVERO_EXIT_NORMAL));
}

static void all_arrives_in_order_at_one_that_sleeps(void)
{
    send_to_one_taker(1000, &no_spin);
}

static void all_arrives_in_order_at_one_that_looks_before_it_sleeps(void)
{
    send_to_one_taker(1000, &some_spin);
}

static void all_arrives_through_a_small_inbox(void)
{
    send_to_one_taker(1, &no_spin);
    send_to_one_taker(3, &no_spin);
}

/* ---- A ball between two sleepers ------------------------------------------------------------ */

#define RALLY 20000

struct player {
    struct vv_entity *self;
    struct vivero_ref other;
    bool late;
};

/* Each put must wake the other: a lost wake-up is seen as a deadline. */
static void *play(void *ctx)
{
    struct player *player = ctx;

    for (int i = 0; i < RALLY && !player->late; i++) {
        struct vv_entity *other;

        while (!player->late && subject_take_number(player->self) < 0) {
            player->late = !vv_entity_rest(player->self, &no_spin,
                                           vivero_now() + LONG_ENOUGH);
        }
        other = vv_entity_retain(player->other);
        (void)subject_put_reserved(other, i);
        vv_entity_release(other);
    }
    return NULL;
}

static void no_wake_up_is_lost_between_two_that_sleep(void)
{
    struct player players[2];
    pthread_t threads[2];

    for (uint32_t i = 0; i < 2; i++) {
        players[i] = (struct player){.self = subject_new(0, 4, NULL)};
    }
    players[0].other = players[1].self->ref;
    players[1].other = players[0].self->ref;
    CU_ASSERT_EQUAL(subject_put(players[0].self, 1), VIVERO_OK);
    start(threads, 2, play, players, sizeof(players[0]));
    join(threads, 2);

    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_FALSE(players[i].late);
        CU_ASSERT(subject_end(players[i].self, VIVERO_EXIT_NORMAL));
    }
}

/* ---- One that sleeps costs nothing ------------------------------------------------------------ */

static void *rest_until_told(void *ctx)
{
    while (subject_take_number(ctx) < 0) {
        (void)vv_entity_rest(ctx, &some_spin, VIVERO_FOREVER);
    }
    return NULL;
}

static int64_t cpu_time_of(pthread_t thread)
{
    struct timespec used = {0, 0};
    clockid_t clock;

    if (pthread_getcpuclockid(thread, &clock) == 0) {
        clock_gettime(clock, &used);
    }
    return (int64_t)used.tv_sec * VIVERO_SECONDS(1) + used.tv_nsec;
}

struct stillness {
    pthread_t thread;
    int64_t used;
};

/* It has used nothing for some naps: it sleeps. */
static bool is_still(void *ctx)
{
    struct stillness *stillness = ctx;
    int64_t before = stillness->used;

    for (uint32_t i = 0; i < 20; i++) {
        eventually_nap();
    }
    stillness->used = cpu_time_of(stillness->thread);
    return before == stillness->used;
}

static void one_that_rests_uses_no_processor(void)
{
    struct vv_entity *subject = subject_new(0, 4, NULL);
    struct stillness stillness = {.used = -1};
    int64_t used;

    pthread_create(&stillness.thread, NULL, rest_until_told, subject);
    CU_ASSERT(eventually(is_still, &stillness, LONG_ENOUGH));
    used = stillness.used;
    for (uint32_t i = 0; i < 10; i++) {
        (void)is_still(&stillness);
    }
    CU_ASSERT_EQUAL(stillness.used, used);
    CU_ASSERT_EQUAL(subject_put(subject, 1), VIVERO_OK);
    pthread_join(stillness.thread, NULL);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
}

/* ---- Declared dead ------------------------------------------------------------------------------------ */

static void *rest_for_ever(void *ctx)
{
    (void)vv_entity_rest(ctx, &no_spin, VIVERO_FOREVER);
    return NULL;
}

static void one_declared_dead_in_its_sleep_wakes(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);
    struct stillness stillness = {.used = -1};

    pthread_create(&stillness.thread, NULL, rest_for_ever, subject);
    CU_ASSERT(eventually(is_still, &stillness, LONG_ENOUGH));
    CU_ASSERT(
        vv_entity_end_ref(subject->ref, &(struct vivero_exit){.code = 1}));
    pthread_join(stillness.thread, NULL);

    CU_ASSERT_FALSE(subject_end(subject, VIVERO_EXIT_NORMAL));
}

/* Its thread, which has not noticed, may still look at it and rest. */
static void the_slot_of_one_declared_dead_is_its_own_until_it_is_released(void)
{
    struct vv_entity *dead = subject_new(0, 1, NULL);
    struct vivero_ref ref = dead->ref;
    struct vv_entity *many[600];
    uint32_t reused = 0;

    CU_ASSERT(vv_entity_end_ref(ref, &(struct vivero_exit){.code = 1}));
    for (uint32_t i = 0; i < 600; i++) {
        many[i] = subject_new(0, 1, NULL);
        reused += many[i]->ref.slot == ref.slot;
    }
    CU_ASSERT_EQUAL(reused, 0);
    CU_ASSERT(vv_entity_rest(dead, &no_spin, VIVERO_FOREVER));
    CU_ASSERT_EQUAL(subject_take(dead).what, OVER);
    CU_ASSERT_FALSE(subject_end(dead, VIVERO_EXIT_NORMAL));

    for (uint32_t i = 0; i < 600; i++) {
        CU_ASSERT(subject_end(many[i], VIVERO_EXIT_NORMAL));
    }
}

SUITE_MAIN("entity_threads", set_up, tear_down,
           TEST(all_arrives_in_order_at_one_that_sleeps),
           TEST(all_arrives_in_order_at_one_that_looks_before_it_sleeps),
           TEST(all_arrives_through_a_small_inbox),
           TEST(no_wake_up_is_lost_between_two_that_sleep),
           TEST(one_that_rests_uses_no_processor),
           TEST(one_declared_dead_in_its_sleep_wakes),
           TEST(the_slot_of_one_declared_dead_is_its_own_until_it_is_released))
