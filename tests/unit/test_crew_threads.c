/* SPDX-License-Identifier: MIT */
/* Seats with threads of the test's own: sleeping and waking, borrowing,
 * suspending, coming to rest. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/crew.h"
#include "mailbox/here.h"
#include "os/cpu.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <pthread.h>

#define SEATS_MAX 8u
#define PATIENCE VIVERO_SECONDS(100)
#define LAPS 100000u
#define CROWD 20000u

struct member {
    struct vv_seat *seat;
    pthread_t thread;
    struct member *next; /* gets what this one got, one less; NULL: nobody */
    uint64_t handled;
    uint64_t rests;
};

struct crew {
    struct vv_crew crew;
    struct member members[SEATS_MAX];
    uint32_t count;
    _Atomic bool leaving;
};

static struct crew crew;
static struct crew other;

static int never_run(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return 0;
}

static const struct vivero_operation number = {
    .name = "number", .run = never_run, .in_size = sizeof(uint32_t)};

static const struct vv_spin no_spin = {0, 0};
static const struct vv_spin some_spin = {20000, 50};

/* ---- Crews
 * ------------------------------------------------------------------- */

static void open_crew(struct crew *it, uint32_t count, uint32_t depth,
                      const struct vv_spin *spin)
{
    memset(it, 0, sizeof(*it));
    CU_ASSERT_EQUAL_FATAL(vv_crew_init(&it->crew, SEATS_MAX, spin, NULL),
                          VIVERO_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct vv_seat **seat = &it->members[i].seat;

        CU_ASSERT_EQUAL_FATAL(vv_crew_make_seat(&it->crew, depth, seat),
                              VIVERO_OK);
        vv_crew_show_seat(&it->crew, *seat);
        vv_mailbox_reopen((*seat)->mailbox);
    }
    vv_crew_set_size(&it->crew, count);
    it->count = count;
}

static enum vv_put put(struct vv_seat *seat, enum vv_lane lane, uint32_t value)
{
    const struct vv_message message = {.operation = &number};
    enum vv_put result;
    size_t done;

    result = vv_mailbox_put(seat->mailbox, lane, &message, &value, 1, &done);
    if (result == VV_PUT_OK && lane == VV_LANE_OWN) {
        vv_crew_notify_seat(seat->crew, seat->index);
    } else if (result == VV_PUT_OK) {
        vv_crew_notify_any(seat->crew);
    }
    return result;
}

static void handle(struct member *member, const struct vv_message *message)
{
    uint32_t value;

    memcpy(&value, message->args, sizeof(value));
    member->handled++;
    if (member->next != NULL && value > 0) {
        (void)put(member->next->seat,
                  value % 2 == 0 ? VV_LANE_OWN : VV_LANE_POOL, value - 1);
    }
    vv_crew_finished(member->seat);
}

static void *be_member(void *ctx)
{
    struct member *member = ctx;
    struct vv_message message;
    const _Atomic bool *leaving =
        member->seat->crew == &crew.crew ? &crew.leaving : &other.leaving;

    for (;;) {
        if (vv_crew_take_attention(member->seat) && atomic_load(leaving)) {
            break;
        }
        if (vv_crew_take(member->seat, &message)) {
            handle(member, &message);
        } else {
            member->rests++;
            (void)vv_crew_rest(member->seat, VIVERO_FOREVER);
        }
    }
    vv_crew_stop_searching(member->seat);
    return NULL;
}

static void start_members(struct crew *it)
{
    for (uint32_t i = 0; i < it->count; i++) {
        pthread_create(&it->members[i].thread, NULL, be_member,
                       &it->members[i]);
    }
}

static uint64_t join_members(struct crew *it)
{
    uint64_t handled = 0;

    atomic_store(&it->leaving, true);
    for (uint32_t i = 0; i < it->count; i++) {
        vv_crew_call_attention(&it->crew, i);
    }
    for (uint32_t i = 0; i < it->count; i++) {
        pthread_join(it->members[i].thread, NULL);
        handled += it->members[i].handled;
    }
    return handled;
}

static bool never_stop(void *ctx)
{
    (void)ctx;
    return false;
}

static int wait_quiet(struct crew *it)
{
    return vv_crew_wait_quiet(&it->crew, vivero_now() + PATIENCE, never_stop,
                              NULL);
}

static bool is_idle(void *ctx)
{
    const struct vv_seat *seat = ctx;

    return vv_idle_is_set(&seat->crew->idle, seat->index);
}

static bool await_idle(struct vv_seat *seat)
{
    return eventually(is_idle, seat, PATIENCE);
}

/* ---- With threads: no wake-up is lost
 * ------------------------------------------------ */

/* One message there and back: at every step somebody must be woken. */
static void play_ping_pong(const struct vv_spin *spin)
{
    uint64_t handled;

    open_crew(&crew, 1, 4, spin);
    open_crew(&other, 1, 4, spin);
    crew.members[0].next = &other.members[0];
    other.members[0].next = &crew.members[0];
    start_members(&crew);
    start_members(&other);
    (void)put(crew.members[0].seat, VV_LANE_POOL, LAPS - 1);
    while (vv_crew_finished_count(crew.members[0].seat) +
                   vv_crew_finished_count(other.members[0].seat) <
               LAPS &&
           wait_quiet(&crew) == 1) {
        eventually_nap();
    }
    handled = join_members(&crew) + join_members(&other);

    CU_ASSERT_EQUAL(handled, LAPS);
    CU_ASSERT_EQUAL(vv_crew_accepted(&crew.crew), LAPS / 2);
    vv_crew_fini(&crew.crew);
    vv_crew_fini(&other.crew);
}

static void ping_pong_without_spinning_loses_no_wake_up(void)
{
    play_ping_pong(&no_spin);
}

static void ping_pong_with_spinning_loses_no_wake_up(void)
{
    play_ping_pong(&some_spin);
}

static void *send_crowd(void *ctx)
{
    uint32_t *failed = ctx;

    for (uint32_t i = 0; i < CROWD; i++) {
        struct vv_seat *seat = crew.members[i % crew.count].seat;
        enum vv_lane lane = i % 7 == 0 ? VV_LANE_OWN : VV_LANE_POOL;

        while (put(seat, lane, i) == VV_PUT_FULL) {
            uint32_t prepared = vv_crew_prepare_for_room(&crew.crew);

            if (put(seat, lane, i) != VV_PUT_FULL) {
                break;
            }
            if (!vv_crew_wait_for_room(&crew.crew, prepared,
                                       vivero_now() + PATIENCE)) {
                (*failed)++;
            }
        }
        if (i % 64 == 0) {
            vv_cpu_yield(); /* let them fall asleep now and then */
        }
    }
    return NULL;
}

static void send_from_two_threads(const struct vv_spin *spin)
{
    pthread_t threads[2];
    uint32_t failed[2] = {0, 0};

    open_crew(&crew, 4, 8, spin);
    start_members(&crew);
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, send_crowd, &failed[i]);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }

    CU_ASSERT_EQUAL(wait_quiet(&crew), 1);
    CU_ASSERT(vv_crew_is_quiet(&crew.crew));
    CU_ASSERT_EQUAL(failed[0] + failed[1], 0);
    CU_ASSERT_EQUAL(join_members(&crew), 2 * CROWD);
    CU_ASSERT_EQUAL(vv_crew_accepted(&crew.crew), 2 * CROWD);
    vv_crew_fini(&crew.crew);
}

static void a_crowd_without_spinning_is_handled_to_the_last(void)
{
    send_from_two_threads(&no_spin);
}

static void a_crowd_with_spinning_is_handled_to_the_last(void)
{
    send_from_two_threads(&some_spin);
}

static void attention_wakes_the_one_it_is_for(void)
{
    open_crew(&crew, 3, 4, &no_spin);
    start_members(&crew);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT(await_idle(crew.members[i].seat));
    }

    CU_ASSERT_EQUAL(join_members(&crew), 0);
    vv_crew_fini(&crew.crew);
}

/* ---- Borrowing and suspending beside a thread
 * -------------------------------------------- */

static void a_borrowed_worker_runs_nothing_until_it_is_back(void)
{
    struct vv_seat *seat;

    open_crew(&crew, 1, 4, &no_spin);
    start_members(&crew);
    seat = crew.members[0].seat;
    CU_ASSERT(await_idle(seat));
    CU_ASSERT_PTR_EQUAL_FATAL(vv_crew_borrow(&crew.crew, 0), seat);
    (void)put(seat, VV_LANE_POOL, 1);
    (void)put(seat, VV_LANE_OWN, 1);
    CU_ASSERT_EQUAL(vv_crew_wait_quiet(&crew.crew,
                                       vivero_now() + VIVERO_MILLISECONDS(5),
                                       never_stop, NULL),
                    0);

    vv_crew_give_back(seat, false);
    CU_ASSERT_EQUAL(wait_quiet(&crew), 1);
    CU_ASSERT_EQUAL(join_members(&crew), 2);
    vv_crew_fini(&crew.crew);
}

static void a_worker_that_is_given_back_to_be_woken_wakes(void)
{
    struct vv_seat *seat;

    open_crew(&crew, 1, 4, &no_spin);
    start_members(&crew);
    seat = crew.members[0].seat;
    for (int i = 0; i < 1000; i++) {
        CU_ASSERT_FATAL(await_idle(seat));
        CU_ASSERT_PTR_NOT_NULL_FATAL(vv_crew_borrow(&crew.crew, 0));
        CU_ASSERT_FATAL(vv_crew_lend(seat));
        vv_crew_finished(seat);
        vv_crew_give_back(seat, i % 2 == 0);
    }

    CU_ASSERT_EQUAL(wait_quiet(&crew), 1);
    CU_ASSERT_EQUAL(vv_crew_accepted(&crew.crew), 1000);
    CU_ASSERT_EQUAL(join_members(&crew), 0);
    vv_crew_fini(&crew.crew);
}

static void messages_stay_while_suspended_and_run_when_resumed(void)
{
    open_crew(&crew, 2, 16, &some_spin);
    start_members(&crew);
    vv_crew_suspend(&crew.crew, true);
    for (uint32_t i = 0; i < 10; i++) {
        (void)put(crew.members[i % 2].seat,
                  i % 3 == 0 ? VV_LANE_OWN : VV_LANE_POOL, i);
    }
    CU_ASSERT(await_idle(crew.members[0].seat));
    CU_ASSERT(await_idle(crew.members[1].seat));
    CU_ASSERT_EQUAL(vv_crew_finished_count(crew.members[0].seat) +
                        vv_crew_finished_count(crew.members[1].seat),
                    0);

    vv_crew_suspend(&crew.crew, false);
    CU_ASSERT_EQUAL(wait_quiet(&crew), 1);
    CU_ASSERT_EQUAL(join_members(&crew), 10);
    vv_crew_fini(&crew.crew);
}

SUITE_MAIN("crew_threads", NULL, NULL,
           TEST(ping_pong_without_spinning_loses_no_wake_up),
           TEST(ping_pong_with_spinning_loses_no_wake_up),
           TEST(a_crowd_without_spinning_is_handled_to_the_last),
           TEST(a_crowd_with_spinning_is_handled_to_the_last),
           TEST(attention_wakes_the_one_it_is_for),
           TEST(a_borrowed_worker_runs_nothing_until_it_is_back),
           TEST(a_worker_that_is_given_back_to_be_woken_wakes),
           TEST(messages_stay_while_suspended_and_run_when_resumed))
