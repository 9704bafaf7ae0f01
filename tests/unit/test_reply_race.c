/* SPDX-License-Identifier: MIT */
/* One slot after another, and everybody who may end its message at once: a
 * caller with a deadline, a worker, a canceller, one who fences, one who pays
 * by token. Exactly one of them is right. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/hash.h"
#include "mailbox/mailbox.h"
#include "mailbox/spin.h"
#include "os/cpu.h"
#include "tests/lib/suite.h"

#include <pthread.h>

#define ROUNDS 10000u
#define OTHERS 4u

enum result { ANSWERED = 100, PAID = 200, FENCED = -300, DEFAULTED = -301 };

/* One round: written by the main thread before it begins, by each thread in
 * its own field during it, read by the main thread after it. */
struct round {
    struct vv_reply *reply;
    struct vivero_message handle;
    struct vv_debts debts;
    bool owes;
    bool debtor_ends;
    uint64_t seed;
    /* what came of it */
    bool begun;
    bool cancelled;
    bool fenced;
    int payment;
};

static struct vv_space space;
static struct vv_mailbox mailbox;
static struct round this_round;
static pthread_barrier_t beginning;
static pthread_barrier_t end;
static bool over; /* written before a beginning */

static void dawdle(uint64_t seed)
{
    uint32_t looks = (uint32_t)(vv_random_next(&seed) % 64);

    for (uint32_t i = 0; i < looks; i++) {
        if (i % 16 == 0) {
            vv_cpu_yield();
        }
        vv_cpu_relax();
    }
}

/* ---- The four others
 * ----------------------------------------------------------- */

static void work(struct round *round)
{
    struct vv_box *box;
    uint32_t generation;
    struct vivero_reply_token token;
    int answer = ANSWERED;

    dawdle(round->seed + 1);
    round->begun = vv_reply_begin(round->reply, &generation, &box);
    if (!round->begun) {
        return;
    }
    dawdle(round->seed + 2);
    if (!round->owes) {
        vv_reply_settle(round->reply, generation, VIVERO_OK, &answer, NULL);
        return;
    }
    (void)vv_reply_owe(round->reply, generation, &round->debts, &token);
    if (round->debtor_ends) {
        dawdle(round->seed + 3);
        vv_reply_default(&round->debts, VIVERO_E_DOWN, NULL);
    }
}

static void cancel(struct round *round)
{
    dawdle(round->seed + 4);
    round->cancelled = vv_reply_cancel(round->handle);
}

/* Fences are for workers that answer themselves. */
static void fence(struct round *round)
{
    const struct vivero_reply_token token = {round->handle.slot,
                                             round->handle.generation};

    dawdle(round->seed + 5);
    round->fenced = !round->owes && vv_reply_fence(token, FENCED, NULL);
}

static void pay(struct round *round)
{
    const struct vivero_reply_token token = {round->handle.slot,
                                             round->handle.generation};
    int payment = PAID;

    dawdle(round->seed + 6);
    round->payment = vv_reply_pay(token, VIVERO_OK, &payment, sizeof(payment));
}

typedef void act_fn(struct round *round);

static void *take_part(void *ctx)
{
    act_fn *const *act = ctx;

    for (;;) {
        pthread_barrier_wait(&beginning);
        if (over) {
            return NULL;
        }
        (*act)(&this_round);
        pthread_barrier_wait(&end);
    }
}

/* ---- The caller
 * ------------------------------------------------------------------- */

struct outcome {
    int result;
    int out;
    bool expired;
};

static struct outcome play(uint64_t seed)
{
    const struct vv_spin spin = {(int64_t)(seed % 3) * 1000, 10};
    struct outcome outcome = {0};
    uint64_t random = seed;

    this_round = (struct round){.seed = seed * 10,
                                .owes = seed % 2 == 0,
                                .debtor_ends = seed % 4 == 0,
                                .reply = vv_reply_new(sizeof(int), true)};
    this_round.handle = (struct vivero_message){
        this_round.reply->index, vv_reply_generation(this_round.reply)};
    vv_reply_set_credit(this_round.reply, &mailbox.credit);
    this_round.reply->deadline_ns =
        vivero_now() + (int64_t)(vv_random_next(&random) % 200000);
    pthread_barrier_wait(&beginning);
    outcome.result =
        vv_reply_wait(this_round.reply, &spin, &outcome.out, &outcome.expired);
    pthread_barrier_wait(&end);
    return outcome;
}

/* What each side says happened must be one story. */
static bool fits(const struct outcome *outcome)
{
    const struct round *round = &this_round;
    bool paid = round->payment == VIVERO_OK;

    switch (outcome->result) {
    case VIVERO_OK:
        return round->begun && !round->cancelled && !round->fenced &&
               (outcome->out == ANSWERED ? !round->owes && !paid
                                         : outcome->out == PAID && paid);
    case VIVERO_E_CANCELLED:
        return round->cancelled && !round->begun && !round->fenced && !paid;
    case FENCED:
        return round->fenced && round->begun && !round->cancelled && !paid;
    case VIVERO_E_DOWN:
        return round->debtor_ends && round->begun && !paid &&
               !round->cancelled && !round->fenced;
    case VIVERO_E_TIMED_OUT:
        return outcome->expired == !round->begun && !round->cancelled &&
               !round->fenced && !paid;
    default:
        return false;
    }
}

/* A caller that left leaves the slot to its debtor: make it end. */
static bool slot_is_free_in_the_end(void)
{
    uint32_t old = this_round.handle.generation;

    vv_reply_default(&this_round.debts, VIVERO_E_DOWN, NULL);
    return vv_reply_generation(this_round.reply) == old + 1 &&
           vv_reply_pay(
               (struct vivero_reply_token){this_round.handle.slot, old}, -1,
               NULL, 0) == VIVERO_E_GONE &&
           !vv_reply_cancel(this_round.handle);
}

static void exactly_one_of_all_who_may_end_a_message_does(void)
{
    static act_fn *acts[OTHERS] = {work, cancel, fence, pay};
    pthread_t threads[OTHERS];
    uint32_t seen[6] = {0};
    uint64_t settled;

    for (uint32_t i = 0; i < OTHERS; i++) {
        pthread_create(&threads[i], NULL, take_part, &acts[i]);
    }
    over = false;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct outcome outcome = play(seed);

        seen[0] += !fits(&outcome);
        seen[1] += !slot_is_free_in_the_end();
        seen[2] += outcome.result == VIVERO_OK;
        seen[3] += outcome.result == VIVERO_E_CANCELLED;
        seen[4] += outcome.expired;
        seen[5] += outcome.result == FENCED;
    }
    over = true;
    pthread_barrier_wait(&beginning);
    for (uint32_t i = 0; i < OTHERS; i++) {
        pthread_join(threads[i], NULL);
    }

    CU_ASSERT_EQUAL(seen[0], 0);
    CU_ASSERT_EQUAL(seen[1], 0);
    CU_ASSERT(seen[2] > 0);
    CU_ASSERT(seen[3] > 0);
    settled = vv_mailbox_settled(&mailbox, VV_SETTLED_CANCELLED);
    CU_ASSERT_EQUAL(settled, seen[3]);
    settled = vv_mailbox_settled(&mailbox, VV_SETTLED_EXPIRED);
    CU_ASSERT_EQUAL(settled, seen[4]);
}

static void set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    pthread_barrier_init(&beginning, NULL, OTHERS + 1);
    pthread_barrier_init(&end, NULL, OTHERS + 1);
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, 4, &space, NULL),
                          VIVERO_OK);
}

static void tear_down(void)
{
    vv_mailbox_fini(&mailbox);
    pthread_barrier_destroy(&beginning);
    pthread_barrier_destroy(&end);
    vv_reply_release();
}

SUITE_MAIN("reply_race", set_up, tear_down,
           TEST(exactly_one_of_all_who_may_end_a_message_does))
