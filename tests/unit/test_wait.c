/* SPDX-License-Identifier: MIT */
/* Who may wait for whom: shapes of seats, without threads, and two threads that
 * close a cycle at once. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/crew.h"
#include "tests/lib/suite.h"

#include <pthread.h>

#define CREWS 4u
#define SEATS 4u
#define ANY VV_ANY_SEAT

static struct vv_crew crews[CREWS];
static const struct vv_spin no_spin = {0, 0};

static struct vv_seat *seat(uint32_t crew, uint32_t index)
{
    return vv_crew_seat(&crews[crew], index);
}

/* As many crews as there are numbers, with so many workers each. */
static void open_crews(const uint32_t *workers, uint32_t count)
{
    for (uint32_t c = 0; c < count; c++) {
        for (uint32_t i = 0; i < workers[c]; i++) {
            struct vv_seat *fresh;

            CU_ASSERT_EQUAL_FATAL(vv_crew_make_seat(&crews[c], 4, &fresh),
                                  VIVERO_OK);
            vv_crew_show_seat(&crews[c], fresh);
        }
        vv_crew_set_size(&crews[c], workers[c]);
    }
}

#define OPEN(...)                                                              \
    do {                                                                       \
        const uint32_t workers_[] = {__VA_ARGS__};                             \
        open_crews(workers_, sizeof(workers_) / sizeof(workers_[0]));          \
    } while (0)

static void set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    for (uint32_t c = 0; c < CREWS; c++) {
        memset(&crews[c], 0, sizeof(crews[c]));
        CU_ASSERT_EQUAL_FATAL(vv_crew_init(&crews[c], SEATS, &no_spin, NULL),
                              VIVERO_OK);
    }
}

static void tear_down(void)
{
    for (uint32_t c = 0; c < CREWS; c++) {
        vv_crew_fini(&crews[c]);
    }
    vv_reply_release();
}

/* A worker calls; its message stands in a mailbox until the test says more. */
static bool call_with(struct vv_seat *from, uint32_t crew, uint32_t index,
                      struct vv_reply *reply)
{
    return vv_wait_begin(&from->waiter, &(struct vv_wait){.crew = &crews[crew],
                                                          .index = index,
                                                          .reply = reply});
}

static bool call(struct vv_seat *from, uint32_t crew, uint32_t index)
{
    return call_with(from, crew, index, vv_reply_new(0, true));
}

/* ---- Cycles -----------------------------------------------------------------
 */

static void a_call_to_oneself_never_ends(void)
{
    OPEN(2);

    CU_ASSERT_FALSE(call(seat(0, 1), 0, 1));
}

static void the_only_worker_never_answers_its_own_pool(void)
{
    OPEN(1);

    CU_ASSERT_FALSE(call(seat(0, 0), 0, ANY));
}

static void a_refused_call_leaves_nothing_behind(void)
{
    OPEN(1, 1);
    CU_ASSERT_FALSE(call(seat(0, 0), 0, ANY));

    CU_ASSERT(call(seat(1, 0), 0, ANY));
}

static void a_call_to_a_free_sibling_ends(void)
{
    OPEN(2);

    CU_ASSERT(call(seat(0, 0), 0, ANY));
}

static void the_last_free_worker_may_not_call_its_own_pool(void)
{
    OPEN(3);

    CU_ASSERT(call(seat(0, 0), 0, ANY));
    CU_ASSERT(call(seat(0, 1), 0, ANY));
    CU_ASSERT_FALSE(call(seat(0, 2), 0, ANY));
}

static void two_that_call_each_other_never_end(void)
{
    OPEN(1, 1);

    CU_ASSERT(call(seat(0, 0), 1, ANY));
    CU_ASSERT_FALSE(call(seat(1, 0), 0, ANY));
}

static void a_longer_cycle_is_seen_where_it_closes(void)
{
    OPEN(1, 1, 1, 1);

    CU_ASSERT(call(seat(0, 0), 1, ANY));
    CU_ASSERT(call(seat(1, 0), 2, ANY));
    CU_ASSERT(call(seat(2, 0), 3, ANY));
    CU_ASSERT_FALSE(call(seat(3, 0), 0, ANY));
    CU_ASSERT_FALSE(call(seat(3, 0), 2, 0));
}

static void a_chain_without_a_cycle_ends(void)
{
    OPEN(1, 1, 1, 1);

    CU_ASSERT(call(seat(2, 0), 3, ANY));
    CU_ASSERT(call(seat(1, 0), 2, ANY));
    CU_ASSERT(call(seat(0, 0), 1, ANY));
}

static void two_ways_to_one_free_worker_end(void)
{
    OPEN(1, 2, 1);

    CU_ASSERT(call(seat(1, 0), 2, ANY));
    CU_ASSERT(call(seat(1, 1), 2, ANY));
    CU_ASSERT(call(seat(0, 0), 1, ANY));
}

static void one_free_worker_behind_a_cycle_is_enough(void)
{
    OPEN(1, 2);

    CU_ASSERT(call(seat(0, 0), 1, ANY));
    CU_ASSERT(call(seat(1, 0), 0, ANY));
    CU_ASSERT_FALSE(call(seat(1, 1), 0, ANY));
}

static void an_address_counts_although_its_siblings_are_free(void)
{
    OPEN(1, 3);

    CU_ASSERT(call(seat(1, 1), 0, 0));
    CU_ASSERT_FALSE(call(seat(0, 0), 1, 1));
    CU_ASSERT(call(seat(0, 0), 1, 2));
}

/* ---- What is no obstacle, and what is no help
 * --------------------------------- */

static void a_wait_that_is_over_is_no_obstacle(void)
{
    OPEN(1, 1);
    CU_ASSERT(call(seat(0, 0), 1, ANY));
    vv_wait_end(&seat(0, 0)->waiter);

    CU_ASSERT(call(seat(1, 0), 0, ANY));
}

static void a_caller_whose_answer_is_owed_is_no_obstacle(void)
{
    struct vv_reply *reply = vv_reply_new(0, true);
    struct vv_debts debts = {.first = NULL};
    struct vivero_reply_token token;
    struct vv_box *box;
    uint32_t generation;

    OPEN(1, 1);
    CU_ASSERT(call_with(seat(0, 0), 1, ANY, reply));
    CU_ASSERT_FALSE(call(seat(1, 0), 0, ANY));
    CU_ASSERT(vv_reply_begin(reply, &generation, &box));
    CU_ASSERT_FALSE(call(seat(1, 0), 0, ANY));
    CU_ASSERT(vv_reply_owe(reply, generation, &debts, &token));

    CU_ASSERT(call(seat(1, 0), 0, ANY));
    vv_reply_default(&debts, VIVERO_E_DOWN, NULL);
}

static void a_caller_whose_answer_is_there_is_no_obstacle(void)
{
    struct vv_reply *reply = vv_reply_new(0, true);
    struct vv_box *box;
    uint32_t generation;

    OPEN(1, 1);
    CU_ASSERT(call_with(seat(0, 0), 1, ANY, reply));
    CU_ASSERT(vv_reply_begin(reply, &generation, &box));
    vv_reply_settle(reply, generation, VIVERO_OK, NULL, NULL);

    CU_ASSERT(call(seat(1, 0), 0, ANY));
}

static void a_slot_that_somebody_else_uses_by_now_is_no_obstacle(void)
{
    struct vv_reply *reply = vv_reply_new(0, true);

    OPEN(1, 1);
    CU_ASSERT(call_with(seat(0, 0), 1, ANY, reply));
    vv_reply_discard(reply);
    CU_ASSERT_PTR_EQUAL(vv_reply_new(0, true), reply);

    CU_ASSERT(call(seat(1, 0), 0, ANY));
}

static void a_seat_without_a_worker_is_no_help(void)
{
    OPEN(2);
    vv_wait_set_absent(&seat(0, 1)->waiter, true);
    CU_ASSERT_FALSE(call(seat(0, 0), 0, ANY));
    CU_ASSERT_FALSE(call(seat(0, 0), 0, 1));

    vv_wait_set_absent(&seat(0, 1)->waiter, false);
    CU_ASSERT(call(seat(0, 0), 0, ANY));
}

static void a_worker_that_leaves_helps_only_whom_it_is_addressed_by(void)
{
    OPEN(2);
    vv_wait_set_leaving(&seat(0, 1)->waiter, true);
    CU_ASSERT_FALSE(call(seat(0, 0), 0, ANY));
    CU_ASSERT(call(seat(0, 0), 0, 1));
    vv_wait_end(&seat(0, 0)->waiter);

    vv_wait_set_leaving(&seat(0, 1)->waiter, false);
    CU_ASSERT(call(seat(0, 0), 0, ANY));
}

static void who_runs_in_anothers_place_waits_for_that_one(void)
{
    OPEN(1, 1, 1);
    vv_wait_for_seat(&seat(0, 0)->waiter, seat(1, 0));

    CU_ASSERT(call(seat(2, 0), 0, ANY));
    CU_ASSERT_FALSE(call(seat(1, 0), 2, ANY));
    vv_wait_end(&seat(2, 0)->waiter);
    CU_ASSERT_FALSE(call(seat(1, 0), 0, ANY));
    vv_wait_end(&seat(0, 0)->waiter);
    CU_ASSERT(call(seat(1, 0), 0, ANY));
}

static void workers_of_one_pool_may_wait_in_a_row_but_not_in_a_ring(void)
{
    OPEN(4);

    CU_ASSERT(call(seat(0, 0), 0, 1));
    CU_ASSERT(call(seat(0, 1), 0, 2));
    CU_ASSERT(call(seat(0, 2), 0, 3));
    CU_ASSERT_FALSE(call(seat(0, 3), 0, 0));
    CU_ASSERT_FALSE(call(seat(0, 3), 0, ANY));
}

/* ---- All shapes of three workers, against a slow and plain search
 * --------------- */

#define WANTS 5u /* crew 0's seats 0..2, any of them, or nothing */
#define NOBODY 4u

/* Whether worker goes on in the end: nobody waits, or one it waits for does. */
static bool goes_on(const uint32_t *wants, uint32_t worker, uint32_t steps)
{
    uint32_t want = wants[worker];
    bool ends = want == NOBODY;

    for (uint32_t i = 0; i < 3 && steps > 0 && !ends; i++) {
        ends = (want == 3 || want == i) && goes_on(wants, i, steps - 1);
    }
    return ends;
}

static bool allowed(uint32_t worker, uint32_t want)
{
    return want == NOBODY || call(seat(0, worker), 0, want == 3 ? ANY : want);
}

static uint32_t differences_in_shape(uint32_t *wants)
{
    uint32_t wrong = 0;

    for (uint32_t worker = 0; worker < 3; worker++) {
        uint32_t want = wants[worker];
        uint32_t so_far[3] = {worker > 0 ? wants[0] : NOBODY,
                              worker > 1 ? wants[1] : NOBODY, NOBODY};
        bool may;

        so_far[worker] = want;
        may = goes_on(so_far, worker, 3);
        wrong += allowed(worker, want) != may;
        if (!may) {
            wants[worker] = NOBODY;
        }
    }
    for (uint32_t worker = 0; worker < 3; worker++) {
        vv_wait_end(&seat(0, worker)->waiter);
    }
    return wrong;
}

static void every_shape_of_three_workers_is_judged_right(void)
{
    uint32_t wrong = 0;

    OPEN(3);
    for (uint32_t shape = 0; shape < WANTS * WANTS * WANTS; shape++) {
        uint32_t wants[3] = {shape % WANTS, shape / WANTS % WANTS,
                             shape / WANTS / WANTS};

        wrong += differences_in_shape(wants);
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- Two threads
 * ------------------------------------------------------------------ */

#define ROUNDS 5000u

struct racer {
    pthread_t thread;
    pthread_barrier_t *barrier;
    struct vv_reply *reply;
    uint32_t crew;
    bool may;
    uint32_t refused;
};

static void *race(void *ctx)
{
    struct racer *racer = ctx;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(racer->barrier);
        racer->may =
            call_with(seat(racer->crew, 0), 1 - racer->crew, ANY, racer->reply);
        racer->refused += !racer->may;
        pthread_barrier_wait(racer->barrier);
        vv_wait_end(&seat(racer->crew, 0)->waiter);
    }
    return NULL;
}

static void of_two_that_close_a_cycle_at_once_exactly_one_is_refused(void)
{
    pthread_barrier_t barrier;
    struct racer racers[2];

    OPEN(1, 1);
    pthread_barrier_init(&barrier, NULL, 2);
    for (uint32_t i = 0; i < 2; i++) {
        racers[i] = (struct racer){
            .barrier = &barrier, .reply = vv_reply_new(0, true), .crew = i};
        pthread_create(&racers[i].thread, NULL, race, &racers[i]);
    }
    pthread_join(racers[0].thread, NULL);
    pthread_join(racers[1].thread, NULL);
    pthread_barrier_destroy(&barrier);

    CU_ASSERT_EQUAL(racers[0].refused + racers[1].refused, ROUNDS);
}

SUITE_MAIN("wait", set_up, tear_down, TEST(a_call_to_oneself_never_ends),
           TEST(the_only_worker_never_answers_its_own_pool),
           TEST(a_refused_call_leaves_nothing_behind),
           TEST(a_call_to_a_free_sibling_ends),
           TEST(the_last_free_worker_may_not_call_its_own_pool),
           TEST(two_that_call_each_other_never_end),
           TEST(a_longer_cycle_is_seen_where_it_closes),
           TEST(a_chain_without_a_cycle_ends),
           TEST(two_ways_to_one_free_worker_end),
           TEST(one_free_worker_behind_a_cycle_is_enough),
           TEST(an_address_counts_although_its_siblings_are_free),
           TEST(a_wait_that_is_over_is_no_obstacle),
           TEST(a_caller_whose_answer_is_owed_is_no_obstacle),
           TEST(a_caller_whose_answer_is_there_is_no_obstacle),
           TEST(a_slot_that_somebody_else_uses_by_now_is_no_obstacle),
           TEST(a_seat_without_a_worker_is_no_help),
           TEST(a_worker_that_leaves_helps_only_whom_it_is_addressed_by),
           TEST(who_runs_in_anothers_place_waits_for_that_one),
           TEST(workers_of_one_pool_may_wait_in_a_row_but_not_in_a_ring),
           TEST(every_shape_of_three_workers_is_judged_right),
           TEST(of_two_that_close_a_cycle_at_once_exactly_one_is_refused))
