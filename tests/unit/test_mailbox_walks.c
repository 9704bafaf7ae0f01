/* SPDX-License-Identifier: MIT */
/* Walks over a lane, to look, to cancel or to compact, take nothing from those
 * who use it meanwhile. */
#include <vivero/error.h>

#include "mailbox/mailbox.h"
#include "tests/lib/suite.h"

#include <pthread.h>

#define DROPS 200000u
#define ROUNDS 20000u

static struct vv_space space;
static struct vv_mailbox mailbox;

static int never_run(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return 0;
}

static const struct vivero_operation nothing = {.name = "nothing",
                                                .run = never_run};

static void open_mailbox(uint32_t depth)
{
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, depth, &space, NULL),
                          VIVERO_OK);
    vv_mailbox_reopen(&mailbox);
}

static void tear_down(void)
{
    (void)vv_mailbox_flush(&mailbox, VIVERO_E_CLOSING, NULL, VV_SETTLED_DEAD);
    vv_mailbox_fini(&mailbox);
    vv_reply_release();
}

static enum vv_put put(struct vv_reply *reply)
{
    const struct vv_message message = {.operation = &nothing, .reply = reply};
    size_t done;

    return vv_mailbox_put(&mailbox, VV_LANE_POOL, &message, NULL, 1, &done);
}

/* ---- Looking ------------------------------------------------------------- */

static _Atomic bool looking;

static void *look(void *ctx)
{
    (void)ctx;
    while (atomic_load(&looking)) {
        (void)vv_mailbox_oldest_age(&mailbox);
    }
    return NULL;
}

static void drop_finds_the_oldest_while_somebody_looks_at_the_lane(void)
{
    uint32_t not_found = 0;
    pthread_t looker;

    open_mailbox(64);
    atomic_store(&looking, true);
    pthread_create(&looker, NULL, look, NULL);
    for (uint32_t i = 0; i < DROPS; i++) {
        if (put(NULL) == VV_PUT_FULL) {
            not_found += !vv_mailbox_drop(&mailbox, VV_LANE_POOL, VIVERO_E_FULL,
                                          VV_SETTLED_DROPPED);
        }
    }
    atomic_store(&looking, false);
    pthread_join(looker, NULL);

    CU_ASSERT_EQUAL(not_found, 0);
}

/* ---- Compacting ------------------------------------------------------------
 */

struct pair {
    pthread_barrier_t barrier;
    uint32_t refused; /* of the other thread's puts */
};

static void *put_in_every_round(void *ctx)
{
    struct pair *pair = ctx;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        pthread_barrier_wait(&pair->barrier);
        pair->refused += put(NULL) != VV_PUT_OK;
        pthread_barrier_wait(&pair->barrier);
    }
    return NULL;
}

/* Four messages, of which the two in the middle are cancelled. */
static void fill_and_leave_room_for_two(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        struct vv_reply *reply = vv_reply_new(0, false);

        (void)put(reply);
        if (i == 1 || i == 2) {
            (void)vv_reply_cancel((struct vivero_message){
                reply->index, vv_reply_generation(reply)});
        }
    }
}

static void two_producers_share_the_room_that_tombstones_leave(void)
{
    struct pair pair = {.refused = 0};
    uint32_t refused = 0;
    pthread_t thread;

    open_mailbox(4);
    pthread_barrier_init(&pair.barrier, NULL, 2);
    pthread_create(&thread, NULL, put_in_every_round, &pair);
    for (uint32_t i = 0; i < ROUNDS; i++) {
        fill_and_leave_room_for_two();
        pthread_barrier_wait(&pair.barrier);
        refused += put(NULL) != VV_PUT_OK;
        pthread_barrier_wait(&pair.barrier);
        (void)vv_mailbox_flush(&mailbox, VIVERO_E_CLOSING, NULL,
                               VV_SETTLED_DEAD);
    }
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&pair.barrier);

    CU_ASSERT_EQUAL(refused + pair.refused, 0);
}

SUITE_MAIN("mailbox_walks", NULL, tear_down,
           TEST(drop_finds_the_oldest_while_somebody_looks_at_the_lane),
           TEST(two_producers_share_the_room_that_tombstones_leave))
