/* SPDX-License-Identifier: MIT */
/* What becomes of arguments that do not fit a cell: however their message ends,
 * they are freed, once. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/mailbox.h"
#include "mailbox/spin.h"
#include "tests/lib/suite.h"

#define POOL VV_LANE_POOL
#define OWN VV_LANE_OWN
#define NOTHING (-1)

static struct vv_space space;
static struct vv_mailbox mailbox;
static struct vv_account account;

static int never_run(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return 0;
}

static const struct vivero_operation large = {
    .name = "large", .run = never_run, .in_size = 1000};

static uint64_t bytes_held(void)
{
    struct vivero_memory_stats stats;

    vv_account_stats(&account, &stats);
    return stats.bytes;
}

static void set_up(void)
{
    CU_ASSERT_EQUAL_FATAL(vv_reply_retain(), VIVERO_OK);
    memset(&account, 0, sizeof(account));
}

/* Every test leaves the mailbox empty, and all boxes freed exactly once. */
static void tear_down(void)
{
    CU_ASSERT_EQUAL(vv_mailbox_queued(&mailbox), 0);
    CU_ASSERT_EQUAL(bytes_held(), 0);
    vv_mailbox_fini(&mailbox);
    vv_reply_release();
}

static void open_mailbox(uint32_t depth)
{
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, depth, &space, NULL),
                          VIVERO_OK);
    vv_mailbox_reopen(&mailbox);
}

/* ---- Putting ---------------------------------------------------------------
 */

static enum vv_put put_message(enum vv_lane lane,
                               const struct vv_message *message, int value)
{
    size_t done;

    return vv_mailbox_put(&mailbox, lane, message, &value, 1, &done);
}

/* With large arguments, and a slot or none. */
static struct vv_reply *put_boxed(enum vv_lane lane, int value, bool has_slot,
                                  bool has_caller)
{
    struct vv_message message = {.operation = &large,
                                 .reply = has_slot ? vv_reply_new(0, has_caller)
                                                   : NULL,
                                 .box = vv_box_new(large.in_size, &account)};

    memcpy(message.box->bytes, &value, sizeof(value));
    CU_ASSERT_EQUAL(put_message(lane, &message, value), VV_PUT_OK);
    return message.reply;
}

static struct vivero_message handle_of(const struct vv_reply *reply)
{
    return (struct vivero_message){reply->index, vv_reply_generation(reply)};
}

/* The caller's side of a slot whose answer is there, or which is overdue. */
static int answer_of(struct vv_reply *reply)
{
    const struct vv_spin none = {0, 0};
    bool expired;

    return vv_reply_wait(reply, &none, NULL, &expired);
}

static int give_up(struct vv_reply *reply)
{
    reply->deadline_ns = 1;
    return answer_of(reply);
}

/* ---- Taking -----------------------------------------------------------------
 */

/* Take one and settle it; its value. */
static int take(enum vv_lane lane)
{
    struct vv_message message;
    int value;

    if (!vv_mailbox_take(&mailbox, lane, &message)) {
        return NOTHING;
    }
    memcpy(&value, message.box != NULL ? message.box->bytes : message.args,
           sizeof(value));
    if (message.reply != NULL) {
        vv_reply_settle(message.reply, message.generation, VIVERO_OK, NULL,
                        NULL);
    }
    vv_message_fini(&message);
    return value;
}

/* ---- Boxed arguments
 * ---------------------------- */

static void a_box_goes_to_who_takes_the_message(void)
{
    open_mailbox(4);
    (void)put_boxed(POOL, 1, false, false);
    (void)put_boxed(POOL, 2, true, false);
    CU_ASSERT(bytes_held() > 2000);

    CU_ASSERT_EQUAL(take(POOL), 1);
    CU_ASSERT_EQUAL(take(POOL), 2);
}

static void a_box_is_freed_when_its_message_is_cancelled(void)
{
    struct vv_reply *reply;

    open_mailbox(4);
    reply = put_boxed(POOL, 1, true, false);

    CU_ASSERT(vv_reply_cancel(handle_of(reply)));
    CU_ASSERT_EQUAL(bytes_held(), 0);
    CU_ASSERT_EQUAL(take(POOL), NOTHING);
}

static void a_box_is_freed_when_its_caller_gives_up(void)
{
    struct vv_reply *reply;

    open_mailbox(4);
    reply = put_boxed(POOL, 1, true, true);

    CU_ASSERT_EQUAL(give_up(reply), VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(bytes_held(), 0);
    CU_ASSERT_EQUAL(take(POOL), NOTHING);
}

static void a_box_is_freed_when_its_message_is_overdue(void)
{
    open_mailbox(4);
    put_boxed(POOL, 1, true, false)->deadline_ns = 1;

    CU_ASSERT_EQUAL(take(POOL), NOTHING);
    CU_ASSERT_EQUAL(bytes_held(), 0);
}

static void a_box_is_freed_when_its_message_is_dropped_or_flushed(void)
{
    open_mailbox(8);
    for (int n = 0; n < 2; n++) {
        (void)put_boxed(POOL, n, n == 0, false);
        (void)put_boxed(OWN, n, n == 0, false);
    }

    CU_ASSERT(
        vv_mailbox_drop(&mailbox, POOL, VIVERO_E_FULL, VV_SETTLED_DROPPED));
    CU_ASSERT_EQUAL(
        vv_mailbox_flush(&mailbox, VIVERO_E_CLOSING, NULL, VV_SETTLED_DEAD), 3);
    CU_ASSERT_EQUAL(bytes_held(), 0);
}

static void a_box_is_freed_once_when_its_tombstone_is_pushed_out(void)
{
    struct vv_reply *reply;

    open_mailbox(2);
    (void)put_boxed(POOL, 1, false, false);
    reply = put_boxed(POOL, 2, true, false);
    CU_ASSERT(vv_reply_cancel(handle_of(reply)));
    (void)put_boxed(POOL, 3, false, false);

    CU_ASSERT_EQUAL(take(POOL), 1);
    CU_ASSERT_EQUAL(take(POOL), 3);
}

SUITE_MAIN("mailbox_boxes", set_up, tear_down,
           TEST(a_box_goes_to_who_takes_the_message),
           TEST(a_box_is_freed_when_its_message_is_cancelled),
           TEST(a_box_is_freed_when_its_caller_gives_up),
           TEST(a_box_is_freed_when_its_message_is_overdue),
           TEST(a_box_is_freed_when_its_message_is_dropped_or_flushed),
           TEST(a_box_is_freed_once_when_its_tombstone_is_pushed_out))
