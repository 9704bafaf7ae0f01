/* SPDX-License-Identifier: MIT */
#include <vivero/error.h>
#include <vivero/time.h>

#include "os/clock.h"
#include "os/mutex.h"
#include "os/park.h"
#include "os/thread.h"
#include "tests/lib/suite.h"

#include <setjmp.h>
#include <stdatomic.h>

#define LONG_ENOUGH VIVERO_SECONDS(60)

/* Whatever their names are today. */
#define LOW ((enum vv_lock_rank)1)
#define MIDDLE ((enum vv_lock_rank)2)
#define HIGH ((enum vv_lock_rank)3)

static const struct vv_thread_options no_options = {0};

/* ------------------------------------------------------------------------ */
/* Clock                                                                    */
/* ------------------------------------------------------------------------ */

static void now_does_not_go_back(void)
{
    const int64_t first = vivero_now();
    const int64_t second = vivero_now();

    CU_ASSERT_TRUE(first > 0);
    CU_ASSERT_TRUE(second >= first);
}

static void the_coarse_clock_is_the_same_clock_a_little_behind(void)
{
    const int64_t before = vivero_now();
    const int64_t coarse = vv_clock_coarse();
    const int64_t after = vivero_now();

    CU_ASSERT_TRUE(coarse <= after);
    CU_ASSERT_TRUE(coarse >= before - VIVERO_MILLISECONDS(100));
}

static void a_deadline_is_now_and_the_timeout(void)
{
    CU_ASSERT_EQUAL(vv_deadline_after(1000, 24), 1024);
    CU_ASSERT_EQUAL(vv_deadline_after(1000, 0), 1000);
}

static void a_negative_timeout_is_none(void)
{
    CU_ASSERT_EQUAL(vv_deadline_after(1000, -24), 1000);
    CU_ASSERT_EQUAL(vv_deadline_after(1000, INT64_MIN), 1000);
}

static void a_deadline_does_not_overflow(void)
{
    CU_ASSERT_EQUAL(vv_deadline_after(0, VIVERO_FOREVER), VIVERO_FOREVER);
    CU_ASSERT_EQUAL(vv_deadline_after(1000, VIVERO_FOREVER), VIVERO_FOREVER);
    CU_ASSERT_EQUAL(vv_deadline_after(1000, VIVERO_FOREVER - 5),
                    VIVERO_FOREVER);
    CU_ASSERT_EQUAL(vv_deadline_after(-1000, VIVERO_FOREVER), VIVERO_FOREVER);
}

/* ------------------------------------------------------------------------ */
/* Park                                                                     */
/* ------------------------------------------------------------------------ */

static void nobody_sleeps_on_a_word_that_has_changed(void)
{
    _Atomic uint32_t word = 1;

    CU_ASSERT_TRUE(vv_park(&word, 0, VIVERO_FOREVER));
}

static void a_sleep_ends_at_its_deadline(void)
{
    _Atomic uint32_t word = 0;
    const int64_t deadline = vivero_now() + VIVERO_MILLISECONDS(5);
    bool passed = false;

    while (!passed) {
        passed = !vv_park(&word, 0, deadline);
    }

    CU_ASSERT_TRUE(vivero_now() >= deadline);
}

static void a_deadline_in_the_past_is_no_sleep(void)
{
    _Atomic uint32_t word = 0;

    CU_ASSERT_FALSE(vv_park(&word, 0, vivero_now() - 1));
    CU_ASSERT_FALSE(vv_park(&word, 0, 0));
    CU_ASSERT_FALSE(vv_park(&word, 0, -1));
}

struct sleeper {
    struct vv_thread thread;
    _Atomic uint32_t *word;
    int64_t deadline;
    bool in_time;
};

static void sleep_until_changed(void *ctx)
{
    struct sleeper *sleeper = ctx;

    sleeper->in_time = true;
    /* sync(test.word): what was written before the wake-up. */
    while (sleeper->in_time &&
           atomic_load_explicit(sleeper->word, memory_order_acquire) == 0) {
        sleeper->in_time = vv_park(sleeper->word, 0, sleeper->deadline);
    }
}

#define SLEEPERS 4

static void unpark_wakes_all_sleepers(void)
{
    _Atomic uint32_t word = 0;
    struct sleeper sleepers[SLEEPERS];

    for (size_t i = 0; i < SLEEPERS; i++) {
        /* One kind of sleep each: with a deadline, without. */
        sleepers[i] = (struct sleeper){
            .word = &word,
            .deadline = i % 2 == 0
                            ? VIVERO_FOREVER
                            : vv_deadline_after(vivero_now(), LONG_ENOUGH)};
        CU_ASSERT_EQUAL_FATAL(vv_thread_start(&sleepers[i].thread, &no_options,
                                              sleep_until_changed,
                                              &sleepers[i]),
                              VIVERO_OK);
    }
    /* sync(test.word): publishes to the sleepers. */
    atomic_store_explicit(&word, 1, memory_order_release);
    vv_unpark(&word, VV_UNPARK_ALL);

    for (size_t i = 0; i < SLEEPERS; i++) {
        vv_thread_join(&sleepers[i].thread);
        CU_ASSERT_TRUE(sleepers[i].in_time);
    }
}

/* ------------------------------------------------------------------------ */
/* Mutex and condition                                                      */
/* ------------------------------------------------------------------------ */

struct shared {
    struct vv_mutex lock;
    struct vv_cond changed;
    /* guarded by lock */
    int sum;
    bool open;
};

static void set_up_shared(struct shared *shared)
{
    *shared = (struct shared){.sum = 0};
    vv_mutex_init(&shared->lock, LOW);
    CU_ASSERT_EQUAL_FATAL(vv_cond_init(&shared->changed), VIVERO_OK);
}

static void tear_down_shared(struct shared *shared)
{
    vv_cond_fini(&shared->changed);
    vv_mutex_fini(&shared->lock);
}

#define ROUNDS 10000

static void add_many(void *ctx)
{
    struct shared *shared = ctx;

    for (int i = 0; i < ROUNDS; i++) {
        vv_mutex_lock(&shared->lock);
        vv_mutex_assert_held(&shared->lock);
        shared->sum++;
        vv_mutex_unlock(&shared->lock);
    }
}

static void a_mutex_lets_one_in_at_a_time(void)
{
    struct shared shared;
    struct vv_thread threads[4];

    set_up_shared(&shared);
    for (size_t i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL_FATAL(
            vv_thread_start(&threads[i], &no_options, add_many, &shared),
            VIVERO_OK);
    }
    for (size_t i = 0; i < 4; i++) {
        vv_thread_join(&threads[i]);
    }

    CU_ASSERT_EQUAL(shared.sum, 4 * ROUNDS);
    tear_down_shared(&shared);
}

static void open_door(void *ctx)
{
    struct shared *shared = ctx;

    vv_mutex_lock(&shared->lock);
    shared->open = true;
    vv_cond_broadcast(&shared->changed);
    vv_mutex_unlock(&shared->lock);
}

static void a_broadcast_wakes_who_waits(void)
{
    struct shared shared;
    struct vv_thread thread;

    set_up_shared(&shared);
    vv_mutex_lock(&shared.lock);
    CU_ASSERT_EQUAL_FATAL(
        vv_thread_start(&thread, &no_options, open_door, &shared), VIVERO_OK);
    while (!shared.open) {
        vv_cond_wait(&shared.changed, &shared.lock);
    }
    vv_mutex_unlock(&shared.lock);

    vv_thread_join(&thread);
    CU_ASSERT_TRUE(shared.open);
    tear_down_shared(&shared);
}

static void a_broadcast_wakes_who_waits_with_a_deadline(void)
{
    const int64_t deadlines[] = {VIVERO_FOREVER, vivero_now() + LONG_ENOUGH};

    for (size_t i = 0; i < 2; i++) {
        struct shared shared;
        struct vv_thread thread;
        bool in_time = true;

        set_up_shared(&shared);
        vv_mutex_lock(&shared.lock);
        CU_ASSERT_EQUAL_FATAL(
            vv_thread_start(&thread, &no_options, open_door, &shared),
            VIVERO_OK);
        while (!shared.open && in_time) {
            in_time =
                vv_cond_wait_until(&shared.changed, &shared.lock, deadlines[i]);
        }
        vv_mutex_unlock(&shared.lock);
        vv_thread_join(&thread);

        CU_ASSERT_TRUE(in_time);
        tear_down_shared(&shared);
    }
}

static void a_wait_ends_at_its_deadline(void)
{
    const int64_t deadline = vivero_now() + VIVERO_MILLISECONDS(5);
    struct shared shared;
    bool in_time = true;

    set_up_shared(&shared);
    vv_mutex_lock(&shared.lock);
    while (in_time) {
        in_time = vv_cond_wait_until(&shared.changed, &shared.lock, deadline);
    }
    CU_ASSERT_FALSE(vv_cond_wait_until(&shared.changed, &shared.lock, -1));
    vv_mutex_unlock(&shared.lock);

    CU_ASSERT_TRUE(vivero_now() >= deadline);
    tear_down_shared(&shared);
}

static void ranks_in_order_are_fine(void)
{
    struct vv_mutex outer = VV_MUTEX_INIT(LOW);
    struct vv_mutex inner = VV_MUTEX_INIT(HIGH);

    for (int i = 0; i < 2; i++) {
        vv_mutex_lock(&outer);
        vv_mutex_lock(&inner);
        /* Not the reverse of locking: allowed. */
        vv_mutex_unlock(&outer);
        vv_mutex_assert_held(&inner);
        vv_mutex_unlock(&inner);
    }
    vv_mutex_fini(&outer);
    vv_mutex_fini(&inner);
}

#ifdef VV_DEBUG
static jmp_buf back;
static char sentence_of_misuse[256];

static void catch_misuse(const char *sentence, void *ctx)
{
    (void)ctx;
    snprintf(sentence_of_misuse, sizeof(sentence_of_misuse), "%s", sentence);
    longjmp(back, 1);
}

/* What the misuse hook is told by action(mutex), "" for nothing. */
static const char *misuse_of(void (*action)(struct vv_mutex *mutex),
                             struct vv_mutex *mutex)
{
    sentence_of_misuse[0] = '\0';
    vivero_set_misuse_hook(catch_misuse, NULL);
    if (setjmp(back) == 0) {
        action(mutex);
    }
    vivero_set_misuse_hook(NULL, NULL);
    return sentence_of_misuse;
}

static void assert_held(struct vv_mutex *mutex)
{
    vv_mutex_assert_held(mutex);
}

static void an_inversion_is_detected(void)
{
    struct vv_mutex outer = VV_MUTEX_INIT(LOW);
    struct vv_mutex inner = VV_MUTEX_INIT(HIGH);

    vv_mutex_lock(&inner);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(misuse_of(vv_mutex_lock, &outer), "is taken after"));
    vv_mutex_unlock(&inner);

    /* The refused one was not taken, and nothing is left behind. */
    CU_ASSERT_STRING_EQUAL(misuse_of(vv_mutex_lock, &outer), "");
    vv_mutex_unlock(&outer);
}

static void two_of_one_rank_are_detected(void)
{
    struct vv_mutex one = VV_MUTEX_INIT(HIGH);
    struct vv_mutex other = VV_MUTEX_INIT(HIGH);

    vv_mutex_lock(&one);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(misuse_of(vv_mutex_lock, &other), "is taken after"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(misuse_of(vv_mutex_lock, &one), "is taken after"));
    vv_mutex_unlock(&one);
}

static void an_inversion_is_detected_after_unlocking_out_of_order(void)
{
    struct vv_mutex one = VV_MUTEX_INIT(LOW);
    struct vv_mutex two = VV_MUTEX_INIT(MIDDLE);
    struct vv_mutex three = VV_MUTEX_INIT(HIGH);

    vv_mutex_lock(&one);
    vv_mutex_lock(&three);
    vv_mutex_unlock(&one);
    CU_ASSERT_PTR_NOT_NULL(
        strstr(misuse_of(vv_mutex_lock, &two), "is taken after"));
    vv_mutex_unlock(&three);
}

static void unlocking_what_one_does_not_hold_is_detected(void)
{
    struct vv_mutex mutex = VV_MUTEX_INIT(HIGH);

    CU_ASSERT_PTR_NOT_NULL(
        strstr(misuse_of(vv_mutex_unlock, &mutex), "does not hold"));
    CU_ASSERT_PTR_NOT_NULL(
        strstr(misuse_of(assert_held, &mutex), "should be held"));
}

#define DEBUG_TESTS                                                            \
    TEST(an_inversion_is_detected), TEST(two_of_one_rank_are_detected),        \
        TEST(an_inversion_is_detected_after_unlocking_out_of_order),           \
        TEST(unlocking_what_one_does_not_hold_is_detected),
#else
#define DEBUG_TESTS
#endif

SUITE_MAIN("os", NULL, NULL, DEBUG_TESTS TEST(now_does_not_go_back),
           TEST(the_coarse_clock_is_the_same_clock_a_little_behind),
           TEST(a_deadline_is_now_and_the_timeout),
           TEST(a_negative_timeout_is_none), TEST(a_deadline_does_not_overflow),
           TEST(nobody_sleeps_on_a_word_that_has_changed),
           TEST(a_sleep_ends_at_its_deadline),
           TEST(a_deadline_in_the_past_is_no_sleep),
           TEST(unpark_wakes_all_sleepers), TEST(a_mutex_lets_one_in_at_a_time),
           TEST(a_broadcast_wakes_who_waits),
           TEST(a_broadcast_wakes_who_waits_with_a_deadline),
           TEST(a_wait_ends_at_its_deadline), TEST(ranks_in_order_are_fine))
