/* SPDX-License-Identifier: MIT */
/* The ticket: whoever changes it from the busy word ends the message; and what
 * the watchdog makes of what it sees. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "os/clock.h"
#include "tests/lib/suite.h"
#include "worker/ticket.h"

#include <pthread.h>

#define ROUNDS 20000
#define MS(n_) VIVERO_MILLISECONDS(n_)

static struct vv_watch watch;
static struct vv_worker_spec spec;
static struct vv_account account;
static struct vv_crew crew;
static struct vv_seat *seat;
static struct vivero_entity *worker;
static struct vivero_entity *spare;

static void ignore_news(struct vivero_entity *who, enum vv_worker_news news,
                        const struct vivero_exit *exit, void *owner)
{
    (void)who;
    (void)news;
    (void)exit;
    (void)owner;
}

static uint32_t rings;

static void ring(void *owner)
{
    (void)owner;
    rings++;
}

static int run_nothing(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return VIVERO_OK;
}

static const struct vivero_operation nothing = {.name = "nothing",
                                                .run = run_nothing};

static void set_up(void)
{
    const struct vv_spin none = {0, 0};

    account = (struct vv_account){0};
    crew = (struct vv_crew){0};
    watch = (struct vv_watch){.report_ns = MS(400),
                              .deadline_ns = MS(100),
                              .tick_ns = MS(25),
                              .replaces = true,
                              .ring = ring};
    spec = (struct vv_worker_spec){.family = "test",
                                   .payload_size = 8,
                                   .news = ignore_news,
                                   .account = &account,
                                   .watch = &watch};
    rings = 0;
    vv_memory_retain();
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_crew_init(&crew, 1, &none, &account), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_crew_make_seat(&crew, 4, &seat), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_worker_new(&spec, seat, &worker), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_worker_new(&spec, NULL, &spare), VIVERO_OK);
    vv_crew_show_seat(&crew, seat);
}

static void tear_down(void)
{
    vv_worker_free(worker);
    vv_worker_free(spare);
    vv_crew_fini(&crew);
    vv_reply_release();
    vv_memory_release();
}

/* ---- The four orders
 * -------------------------------------------------------------------------- */

static void begin(void)
{
    atomic_store(&worker->operation, &nothing);
    atomic_store(&worker->busy_since_ns, vv_clock_coarse());
    vv_ticket_begin(worker, false);
}

static void finish_before_fence_keeps_the_message(void)
{
    uint64_t sampled;

    begin();
    sampled = vv_ticket_load(worker);
    CU_ASSERT(vv_ticket_end(worker));
    CU_ASSERT_FALSE(vv_worker_take_away(worker, sampled));
    CU_ASSERT_FALSE(vv_worker_is_fenced(worker));
    CU_ASSERT_FALSE(vv_worker_is_zombie(worker));
}

static void fence_before_finish_takes_the_message(void)
{
    uint64_t sampled;

    begin();
    sampled = vv_ticket_load(worker);
    CU_ASSERT(vv_worker_take_away(worker, sampled));
    CU_ASSERT_FALSE(vv_ticket_end(worker));
    CU_ASSERT(vv_worker_is_fenced(worker));
    CU_ASSERT(vv_worker_is_zombie(worker));
    CU_ASSERT_FALSE(vv_worker_take_away(worker, sampled));
}

static void a_fence_does_not_hit_the_next_message(void)
{
    uint64_t sampled;

    begin();
    sampled = vv_ticket_load(worker);
    CU_ASSERT(vv_ticket_end(worker));
    begin();
    CU_ASSERT_FALSE(vv_worker_take_away(worker, sampled));
    CU_ASSERT(vv_ticket_end(worker));
}

static void *notice(void *ctx)
{
    if (!vv_ticket_end(worker)) {
        vv_worker_notice_fence(worker);
        atomic_store((_Atomic int *)ctx, 1);
    }
    return NULL;
}

static void a_zombie_that_comes_back_first_waits_for_the_settlement(void)
{
    const struct vivero_exit exit = {.kind = VIVERO_EXIT_HUNG_CPU};
    _Atomic int noticed = 0;
    pthread_t zombie;

    begin();
    CU_ASSERT(vv_worker_take_away(worker, vv_ticket_load(worker)));
    pthread_create(&zombie, NULL, notice, &noticed);
    vv_worker_succeed(worker, spare);
    vv_worker_settle_fenced(worker, spare, &exit);
    CU_ASSERT_EQUAL(atomic_load(&noticed), 0);
    CU_ASSERT_PTR_EQUAL(vv_worker_of(seat), spare);
    vv_worker_release_fenced(worker);
    pthread_join(zombie, NULL);
    CU_ASSERT_EQUAL(atomic_load(&noticed), 1);
    CU_ASSERT_EQUAL(worker->exit.kind, VIVERO_EXIT_FENCED);
    CU_ASSERT_EQUAL(spare->last_exit.kind, VIVERO_EXIT_HUNG_CPU);
    CU_ASSERT_EQUAL(atomic_load(&spare->failed), 1);
    CU_ASSERT_EQUAL(vv_crew_finished_count(seat), 1);
    CU_ASSERT(vv_worker_lost_thread(spare));

    vv_worker_make_spare(worker);
    CU_ASSERT_FALSE(vv_worker_is_fenced(worker));
    begin();
    CU_ASSERT(vv_ticket_end(worker));
}

struct race {
    pthread_barrier_t start;
    uint64_t sampled;
    uint32_t finished;
    uint32_t taken;
};

static void *finish_each(void *ctx)
{
    struct race *race = ctx;

    for (int i = 0; i < ROUNDS; i++) {
        begin();
        race->sampled = vv_ticket_load(worker);
        pthread_barrier_wait(&race->start);
        race->finished += vv_ticket_end(worker);
        pthread_barrier_wait(&race->start);
        pthread_barrier_wait(&race->start);
    }
    return NULL;
}

static void in_a_race_exactly_one_of_them_ends_the_message(void)
{
    struct race race = {.finished = 0};
    pthread_t thread;

    pthread_barrier_init(&race.start, NULL, 2);
    pthread_create(&thread, NULL, finish_each, &race);
    for (int i = 0; i < ROUNDS; i++) {
        bool taken;

        pthread_barrier_wait(&race.start);
        taken = vv_worker_take_away(worker, race.sampled);
        pthread_barrier_wait(&race.start);
        if (taken) {
            race.taken++;
            vv_worker_make_spare(worker);
        }
        pthread_barrier_wait(&race.start);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&race.start);
    CU_ASSERT_EQUAL(race.finished + race.taken, ROUNDS);
}

static void a_plain_end_needs_no_exchange_where_nothing_is_replaced(void)
{
    watch.replaces = false;
    begin();
    CU_ASSERT(vv_ticket_end(worker));
    spec.watch = NULL;
    begin();
    CU_ASSERT(vv_ticket_end(worker));
}

/* ---- The watchdog
 * ------------------------------------------------------------------------------- */

static void a_tick_is_a_quarter_between_a_millisecond_and_a_second(void)
{
    CU_ASSERT_EQUAL(vv_watch_tick(MS(10000), VIVERO_FOREVER), MS(1000));
    CU_ASSERT_EQUAL(vv_watch_tick(VIVERO_FOREVER, MS(100)), MS(25));
    CU_ASSERT_EQUAL(vv_watch_tick(VIVERO_FOREVER, MS(2)), MS(1));
}

static enum vv_watch_verdict look_at(struct vv_watched *watched,
                                     struct vv_ticker *ticker, int64_t after_ns)
{
    int64_t since = atomic_load(&worker->busy_since_ns);
    struct vv_look look;

    return vv_watch_look(&watch, ticker, watched, worker, since + after_ns,
                         &look);
}

static void a_late_message_is_overdue_when_its_clock_was_read_twice(void)
{
    struct vv_watched watched = {0};
    struct vv_ticker ticker = {0};

    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(200)), VV_WATCH_FINE);
    begin();
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(40)), VV_WATCH_FINE);
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(75)), VV_WATCH_FINE);
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(100)), VV_WATCH_OVERDUE);
    CU_ASSERT(vv_ticket_end(worker));
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(125)), VV_WATCH_FINE);
    begin();
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(99)), VV_WATCH_FINE);
    CU_ASSERT(vv_ticket_end(worker));
}

static void a_long_message_is_reported_once(void)
{
    struct vv_watched watched = {0};
    struct vv_ticker ticker = {0};

    watch.deadline_ns = VIVERO_FOREVER;
    begin();
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(300)), VV_WATCH_FINE);
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(400)), VV_WATCH_REPORT);
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(900)), VV_WATCH_FINE);
    CU_ASSERT(vv_ticket_end(worker));
}

static void a_nudge_comes_before_the_end(void)
{
    struct vv_watched watched = {0};
    struct vv_ticker ticker = {0};

    watch.nudge_signal = 1;
    begin();
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(75)), VV_WATCH_FINE);
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(100)), VV_WATCH_NUDGE);
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(125)), VV_WATCH_OVERDUE);
    CU_ASSERT(vv_ticket_end(worker));
}

static void a_tick_that_comes_far_too_late_forgives_everybody(void)
{
    struct vv_watched watched = {0};
    struct vv_ticker ticker = {0};
    int64_t since;

    begin();
    since = atomic_load(&worker->busy_since_ns);
    CU_ASSERT_FALSE(vv_watch_tick_begin(&ticker, &watch, since));
    CU_ASSERT_FALSE(vv_watch_tick_begin(&ticker, &watch, since + MS(24)));
    CU_ASSERT(vv_watch_tick_begin(&ticker, &watch, since + MS(30)));
    CU_ASSERT_EQUAL(ticker.forgiven_ns, 0);
    CU_ASSERT(vv_watch_tick_begin(&ticker, &watch, since + MS(500)));
    CU_ASSERT_EQUAL(ticker.forgiven_ns, since + MS(500));
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(500)), VV_WATCH_FINE);
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(575)), VV_WATCH_FINE);
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(600)), VV_WATCH_OVERDUE);
    CU_ASSERT(vv_ticket_end(worker));
}

static void ticks_twice_as_seldom_while_nobody_is_close(void)
{
    struct vv_watched watched = {0};
    struct vv_ticker ticker = {.due_ns = 1};
    int64_t since;

    begin();
    since = atomic_load(&worker->busy_since_ns);
    CU_ASSERT(vv_watch_tick_begin(&ticker, &watch, since + MS(10)));
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(10)), VV_WATCH_FINE);
    vv_watch_tick_end(&ticker, &watch, since + MS(10));
    CU_ASSERT_EQUAL(ticker.due_ns, since + MS(60));
    CU_ASSERT(vv_watch_tick_begin(&ticker, &watch, since + MS(60)));
    CU_ASSERT_EQUAL(look_at(&watched, &ticker, MS(60)), VV_WATCH_FINE);
    vv_watch_tick_end(&ticker, &watch, since + MS(60));
    CU_ASSERT_EQUAL(ticker.due_ns, since + MS(85));
    CU_ASSERT(vv_ticket_end(worker));
}

static bool is_active;

static bool anybody(void *owner)
{
    (void)owner;
    return is_active;
}

static void it_ticks_only_while_somebody_is_awake(void)
{
    struct vv_ticker ticker = {.due_ns = 1};

    CU_ASSERT_FALSE(vv_watch_is_armed(&watch));
    vv_watch_set_awake(worker, true);
    CU_ASSERT(vv_watch_is_armed(&watch));
    CU_ASSERT_EQUAL(rings, 1);
    vv_watch_arm(&watch);
    CU_ASSERT_EQUAL(rings, 1);
    CU_ASSERT(vv_watch_is_active(worker));
    is_active = true;
    CU_ASSERT_FALSE(vv_watch_disarm(&watch, &ticker, anybody));
    is_active = false;
    CU_ASSERT(vv_watch_disarm(&watch, &ticker, anybody));
    CU_ASSERT_FALSE(vv_watch_is_armed(&watch));
    CU_ASSERT_EQUAL(ticker.due_ns, 0);
    vv_watch_set_awake(worker, false);
    CU_ASSERT_FALSE(vv_watch_is_active(worker));
    CU_ASSERT_EQUAL(rings, 1);
}

SUITE_MAIN("fence", set_up, tear_down,
           TEST(finish_before_fence_keeps_the_message),
           TEST(fence_before_finish_takes_the_message),
           TEST(a_fence_does_not_hit_the_next_message),
           TEST(a_zombie_that_comes_back_first_waits_for_the_settlement),
           TEST(in_a_race_exactly_one_of_them_ends_the_message),
           TEST(a_plain_end_needs_no_exchange_where_nothing_is_replaced),
           TEST(a_tick_is_a_quarter_between_a_millisecond_and_a_second),
           TEST(a_late_message_is_overdue_when_its_clock_was_read_twice),
           TEST(a_long_message_is_reported_once),
           TEST(a_nudge_comes_before_the_end),
           TEST(a_tick_that_comes_far_too_late_forgives_everybody),
           TEST(ticks_twice_as_seldom_while_nobody_is_close),
           TEST(it_ticks_only_while_somebody_is_awake))
