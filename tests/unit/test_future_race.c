/* SPDX-License-Identifier: MIT */
/* One slot after another, and everybody at once: who runs it, cancels it, waits
 * for it in two ways and abandons it. Each future is used up exactly once. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/crew.h"
#include "mailbox/future.h"
#include "os/thread.h"
#include "tests/lib/suite.h"

#include <sched.h>
#include <stdatomic.h>

#define ROUNDS 4000u
#define PLAYERS 5u

static struct vv_crew crew;
static struct vv_mailbox mailbox;
static struct vv_space space;
static struct vivero_completions *completions;

/* Set by the dealer, who then begins a round. */
static struct vv_reply *reply;
static struct vivero_future future;
static _Atomic uint32_t begun;
static _Atomic uint32_t ended;
/* Of all rounds. */
static _Atomic uint32_t answered;
static _Atomic uint32_t taken;
static _Atomic uint32_t seen;
static _Atomic uint32_t wrong;

static void settle(uint32_t round)
{
    struct vv_box *box;
    uint32_t generation;
    int value = (int)round;

    if (vv_reply_begin(reply, &generation, &box)) {
        atomic_fetch_add(&answered, 1);
        vv_reply_settle(reply, generation, VIVERO_OK, &value, NULL);
    }
}

static void cancel(uint32_t round)
{
    if (round % 3 == 0) {
        (void)vv_reply_cancel(
            (struct vivero_message){future.slot, future.generation});
    }
}

static void wait_for_it(uint32_t round)
{
    int out = -1;
    int result = vivero_future_wait(future, &out, sizeof(out), VIVERO_FOREVER);

    if (result == VIVERO_OK || result == VIVERO_E_CANCELLED) {
        atomic_fetch_add(&taken, 1);
    }
    atomic_fetch_add(&wrong, result == VIVERO_OK && out != (int)round);
}

static void wait_any_for_it(uint32_t round)
{
    int result = vivero_future_wait_any(&future, 1, VIVERO_FOREVER);

    (void)round;
    atomic_fetch_add(&seen, result == 0 || result == VIVERO_E_GONE);
}

static void abandon(uint32_t round)
{
    if (round % 2 == 0) {
        vivero_future_abandon(future);
    }
}

static void (*const plays[PLAYERS])(uint32_t round) = {
    settle, cancel, wait_for_it, wait_any_for_it, abandon};

struct player {
    struct vv_thread thread;
    void (*play)(uint32_t round);
};

static void play_all(void *ctx)
{
    const struct player *player = ctx;

    for (uint32_t round = 1; round <= ROUNDS; round++) {
        while (atomic_load(&begun) != round) {
            sched_yield();
        }
        player->play(round);
        atomic_fetch_add(&ended, 1);
    }
}

static void deal(uint32_t round)
{
    const struct vv_future_target target = {
        .object = &crew, .crew = &crew, .addressed = false};

    reply = vv_reply_new(sizeof(int), true);
    if (reply == NULL) {
        abort();
    }
    vv_future_begin(reply, &target, round % 5 == 0 ? completions : NULL, NULL);
    vv_reply_set_credit(reply, &mailbox.credit);
    future = vv_future_of(reply);
    atomic_store(&ended, 0);
    atomic_store(&begun, round);
    while (atomic_load(&ended) != PLAYERS) {
        sched_yield();
    }
}

static void every_future_is_used_up_once(void)
{
    static struct player players[PLAYERS];
    const struct vv_thread_options options = {0};
    struct vivero_completion completion;

    for (uint32_t i = 0; i < PLAYERS; i++) {
        players[i].play = plays[i];
        CU_ASSERT_EQUAL_FATAL(vv_thread_start(&players[i].thread, &options,
                                              play_all, &players[i]),
                              VIVERO_OK);
    }
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        deal(round);
    }
    for (uint32_t i = 0; i < PLAYERS; i++) {
        vv_thread_join(&players[i].thread);
    }

    CU_ASSERT_EQUAL(atomic_load(&wrong), 0);
    CU_ASSERT_EQUAL(atomic_load(&seen), ROUNDS);
    /* Half of them nobody abandons. */
    CU_ASSERT_TRUE(atomic_load(&taken) >= ROUNDS / 2);
    CU_ASSERT_TRUE(atomic_load(&answered) > 0);
    CU_ASSERT_EQUAL(vivero_completions_next(completions, &completion, 0),
                    VIVERO_E_AGAIN);
}

static void set_up(void)
{
    const struct vv_spin none = {0, 0};

    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vivero_completions_open(&completions), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_crew_init(&crew, 1, &none, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, 4, &space, NULL),
                          VIVERO_OK);
}

static void tear_down(void)
{
    vv_mailbox_fini(&mailbox);
    vv_crew_fini(&crew);
    vivero_completions_close(completions);
    vv_reply_release();
}

SUITE_MAIN("future_race", set_up, tear_down, TEST(every_future_is_used_up_once))
