/* SPDX-License-Identifier: MIT */
#include <vivero/error.h>
#include <vivero/time.h>

#include "os/thread.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"
#include "timer/timer.h"

#include <stdatomic.h>

#define PATIENCE VIVERO_SECONDS(20)
#define HOUR VIVERO_SECONDS(3600)

/* ---- Timers that write down when they fired ----------------------------------
 */

#define RECORDS_MAX 10000u

struct record {
    struct vv_timer timer;
    uint32_t id;
};

/* Written by the driver, read once `fired` says that it is there. */
static uint32_t order[RECORDS_MAX];
static int64_t fired_at[RECORDS_MAX];
static _Atomic uint32_t fired;
static struct record records[RECORDS_MAX];

static uint32_t fired_count(void)
{
    return atomic_load(&fired);
}

static void write_down(struct vv_timer *timer)
{
    uint32_t n = atomic_load(&fired);

    order[n] = ((struct record *)timer)->id;
    fired_at[n] = vivero_now();
    atomic_store(&fired, n + 1);
}

static bool so_many_fired(void *ctx)
{
    return fired_count() >= *(const uint32_t *)ctx;
}

static bool await_fired(uint32_t n)
{
    return eventually(so_many_fired, &n, PATIENCE);
}

/* A shut gate holds the driver up in a callback. */
static _Atomic bool gate_is_open;
static _Atomic bool is_in_gate;

static void pass_gate(struct vv_timer *timer)
{
    (void)timer;
    atomic_store(&is_in_gate, true);
    while (!atomic_load(&gate_is_open)) {
        eventually_nap();
    }
    atomic_store(&is_in_gate, false);
}

static bool is_set(void *ctx)
{
    return atomic_load((_Atomic bool *)ctx);
}

static struct vv_timer gate;

static bool hold_driver(void)
{
    atomic_store(&gate_is_open, false);
    vv_timer_init(&gate, pass_gate);
    vv_timer_start(&gate, 0);
    return eventually(is_set, &is_in_gate, PATIENCE);
}

static void set_up(void)
{
    atomic_store(&fired, 0);
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        vv_timer_init(&records[i].timer, write_down);
        records[i].id = i;
    }
    CU_ASSERT_EQUAL(vv_timer_retain(), VIVERO_OK);
}

static void tear_down(void)
{
    vv_timer_release();
}

/* ---- Firing ---------------------------------------------------------------------
 */

static void timers_fire_in_the_order_of_their_deadlines(void)
{
    static const int64_t after_ms[] = {30, 10, 40, 20, 0};
    static const uint32_t expected[] = {4, 1, 3, 0, 2};
    int64_t now = vivero_now();

    CU_ASSERT_TRUE_FATAL(hold_driver());
    for (uint32_t i = 0; i < 5; i++) {
        vv_timer_start(&records[i].timer,
                       now + VIVERO_MILLISECONDS(after_ms[i]));
    }
    atomic_store(&gate_is_open, true);

    CU_ASSERT_TRUE_FATAL(await_fired(5));
    CU_ASSERT_EQUAL(memcmp(order, expected, sizeof(expected)), 0);
}

static void no_timer_fires_before_its_time(void)
{
    int64_t due[20];

    for (uint32_t i = 0; i < 20; i++) {
        due[i] = vivero_now() + VIVERO_MILLISECONDS(1 + i * 7 % 20);
        vv_timer_start(&records[i].timer, due[i]);
    }

    CU_ASSERT_TRUE_FATAL(await_fired(20));
    for (uint32_t i = 0; i < 20; i++) {
        CU_ASSERT_TRUE(fired_at[i] >= due[order[i]]);
    }
}

static void equal_deadlines_fire_in_the_order_of_their_starts(void)
{
    int64_t due = vivero_now();

    CU_ASSERT_TRUE_FATAL(hold_driver());
    for (uint32_t i = 100; i-- > 0;) {
        vv_timer_start(&records[i].timer, due);
    }
    atomic_store(&gate_is_open, true);

    CU_ASSERT_TRUE_FATAL(await_fired(100));
    for (uint32_t i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(order[i], 99 - i);
    }
}

static void a_deadline_long_past_fires_at_once(void)
{
    vv_timer_start(&records[0].timer, INT64_MIN);

    CU_ASSERT_TRUE(await_fired(1));
}

static void for_ever_never_fires_and_is_armed(void)
{
    vv_timer_start(&records[0].timer, VIVERO_FOREVER);
    vv_timer_start(&records[1].timer, 0);

    CU_ASSERT_TRUE(await_fired(1));
    CU_ASSERT_EQUAL(order[0], 1);
    CU_ASSERT_EQUAL(vv_timer_due(&records[0].timer), VIVERO_FOREVER);
    CU_ASSERT_TRUE(vv_timer_cancel(&records[0].timer));
}

static void a_start_before_all_others_wakes_the_driver(void)
{
    vv_timer_start(&records[0].timer, vivero_now() + HOUR);
    vv_timer_start(&records[1].timer, vivero_now() + HOUR / 2);
    vv_timer_start(&records[2].timer, vivero_now() + VIVERO_MILLISECONDS(1));

    CU_ASSERT_TRUE(await_fired(1));
    CU_ASSERT_EQUAL(order[0], 2);
    CU_ASSERT_TRUE(vv_timer_cancel(&records[0].timer));
    CU_ASSERT_TRUE(vv_timer_cancel(&records[1].timer));
}

static void ten_thousand_timers_fire_once_each_and_in_order(void)
{
    static uint32_t times[RECORDS_MAX];
    static int64_t due[RECORDS_MAX];
    int64_t now = vivero_now();
    bool ordered = true;
    bool once = true;

    memset(times, 0, sizeof(times));
    CU_ASSERT_TRUE_FATAL(hold_driver());
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        due[i] = now + VIVERO_MICROSECONDS(i * UINT32_C(2654435761) % 50000);
        vv_timer_start(&records[i].timer, due[i]);
    }
    atomic_store(&gate_is_open, true);

    CU_ASSERT_TRUE_FATAL(await_fired(RECORDS_MAX));
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        times[order[i]]++;
        ordered = ordered && (i == 0 || due[order[i - 1]] <= due[order[i]]);
    }
    for (uint32_t i = 0; i < RECORDS_MAX; i++) {
        once = once && times[i] == 1;
    }
    CU_ASSERT_TRUE(ordered);
    CU_ASSERT_TRUE(once);
}

/* ---- Arming anew and cancelling ---------------------------------------------------
 */

static void a_second_start_forgets_the_first(void)
{
    CU_ASSERT_TRUE_FATAL(hold_driver());
    vv_timer_start(&records[0].timer, 0);
    vv_timer_start(&records[1].timer, 0);
    vv_timer_start(&records[0].timer, vivero_now());
    atomic_store(&gate_is_open, true);

    CU_ASSERT_TRUE_FATAL(await_fired(2));
    CU_ASSERT_EQUAL(order[0], 1);
    CU_ASSERT_EQUAL(order[1], 0);
    CU_ASSERT_TRUE_FATAL(hold_driver());
    atomic_store(&gate_is_open, true);
    CU_ASSERT_EQUAL(fired_count(), 2);
}

static void a_start_may_be_put_off(void)
{
    CU_ASSERT_TRUE_FATAL(hold_driver());
    vv_timer_start(&records[0].timer, 0);
    vv_timer_start(&records[0].timer, vivero_now() + HOUR);
    vv_timer_start(&records[1].timer, 0);
    atomic_store(&gate_is_open, true);

    CU_ASSERT_TRUE(await_fired(1));
    CU_ASSERT_EQUAL(order[0], 1);
    CU_ASSERT_TRUE(vv_timer_cancel(&records[0].timer));
}

static void due_tells_when_an_armed_timer_fires(void)
{
    int64_t due = vivero_now() + HOUR;

    CU_ASSERT_EQUAL(vv_timer_due(&records[0].timer), 0);
    vv_timer_start(&records[0].timer, due);
    CU_ASSERT_EQUAL(vv_timer_due(&records[0].timer), due);
    CU_ASSERT_TRUE(vv_timer_cancel(&records[0].timer));
    CU_ASSERT_EQUAL(vv_timer_due(&records[0].timer), 0);
}

static void a_cancelled_timer_does_not_fire(void)
{
    CU_ASSERT_TRUE_FATAL(hold_driver());
    vv_timer_start(&records[0].timer, 0);
    vv_timer_start(&records[1].timer, 0);
    CU_ASSERT_TRUE(vv_timer_cancel(&records[0].timer));
    atomic_store(&gate_is_open, true);

    CU_ASSERT_TRUE(await_fired(1));
    CU_ASSERT_EQUAL(order[0], 1);
}

static void cancelling_an_idle_or_firing_timer_says_no(void)
{
    CU_ASSERT_FALSE(vv_timer_cancel(&records[0].timer));
    CU_ASSERT_FALSE(vv_timer_cancel_and_wait(&records[0].timer));

    CU_ASSERT_TRUE_FATAL(hold_driver());
    CU_ASSERT_FALSE(vv_timer_cancel(&gate));
    atomic_store(&gate_is_open, true);
    CU_ASSERT_FALSE(vv_timer_cancel_and_wait(&gate));
    CU_ASSERT_FALSE(atomic_load(&is_in_gate));
}

static void open_gate_later(void *ctx)
{
    (void)ctx;
    eventually_nap();
    atomic_store(&gate_is_open, true);
}

static void cancel_and_wait_returns_after_the_callback(void)
{
    const struct vv_thread_options options = {0};

    for (int i = 0; i < 20; i++) {
        struct vv_thread opener;

        CU_ASSERT_TRUE_FATAL(hold_driver());
        CU_ASSERT_EQUAL_FATAL(
            vv_thread_start(&opener, &options, open_gate_later, NULL),
            VIVERO_OK);
        CU_ASSERT_FALSE(vv_timer_cancel_and_wait(&gate));
        CU_ASSERT_FALSE(atomic_load(&is_in_gate));
        vv_thread_join(&opener);
    }
}

static void count_and_start_again(struct vv_timer *timer)
{
    atomic_fetch_add(&fired, 1);
    vv_timer_start(timer, 0);
}

static void cancel_and_wait_stops_a_timer_that_starts_itself(void)
{
    struct vv_timer timer;
    uint32_t count;

    vv_timer_init(&timer, count_and_start_again);
    vv_timer_start(&timer, 0);
    CU_ASSERT_TRUE(await_fired(100));

    vv_timer_cancel_and_wait(&timer);
    count = fired_count();
    CU_ASSERT_TRUE_FATAL(hold_driver());
    atomic_store(&gate_is_open, true);

    CU_ASSERT_EQUAL(fired_count(), count);
    CU_ASSERT_EQUAL(vv_timer_due(&timer), 0);
}

/* ---- What callbacks may do ------------------------------------------------------ */

static void free_itself(struct vv_timer *timer)
{
    free(timer);
    atomic_fetch_add(&fired, 1);
}

static void a_callback_may_free_its_timer(void)
{
    for (uint32_t i = 0; i < 100; i++) {
        struct vv_timer *timer = malloc(sizeof(*timer));

        vv_timer_init(timer, free_itself);
        vv_timer_start(timer, vivero_now() + i % 3);
    }

    CU_ASSERT_TRUE(await_fired(100));
}

static bool cancelled_in_callback;

static void cancel_the_next(struct vv_timer *timer)
{
    struct record *record = (struct record *)timer;

    cancelled_in_callback = vv_timer_cancel_and_wait(&(record + 1)->timer);
    /* Of itself it can but say that it is not armed. */
    cancelled_in_callback =
        cancelled_in_callback && !vv_timer_cancel_and_wait(timer);
    vv_timer_start(&(record + 2)->timer, 0);
}

static void a_callback_may_cancel_and_start_others(void)
{
    vv_timer_init(&records[0].timer, cancel_the_next);
    CU_ASSERT_TRUE_FATAL(hold_driver());
    vv_timer_start(&records[0].timer, 0);
    vv_timer_start(&records[1].timer, 0);
    atomic_store(&gate_is_open, true);

    CU_ASSERT_TRUE(await_fired(1));
    CU_ASSERT_EQUAL(order[0], 2);
    CU_ASSERT_TRUE(cancelled_in_callback);
}

SUITE_MAIN("timer", set_up, tear_down,
           TEST(timers_fire_in_the_order_of_their_deadlines),
           TEST(no_timer_fires_before_its_time),
           TEST(equal_deadlines_fire_in_the_order_of_their_starts),
           TEST(a_deadline_long_past_fires_at_once),
           TEST(for_ever_never_fires_and_is_armed),
           TEST(a_start_before_all_others_wakes_the_driver),
           TEST(ten_thousand_timers_fire_once_each_and_in_order),
           TEST(a_second_start_forgets_the_first), TEST(a_start_may_be_put_off),
           TEST(due_tells_when_an_armed_timer_fires),
           TEST(a_cancelled_timer_does_not_fire),
           TEST(cancelling_an_idle_or_firing_timer_says_no),
           TEST(cancel_and_wait_returns_after_the_callback),
           TEST(cancel_and_wait_stops_a_timer_that_starts_itself),
           TEST(a_callback_may_free_its_timer),
           TEST(a_callback_may_cancel_and_start_others))
