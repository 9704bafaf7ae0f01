/* SPDX-License-Identifier: MIT */
/* A program that was compiled against an older version passes the older
 * structs: they work, and mean what they meant. */
#include <vivero/vivero.h>

#include "tests/abi/options_0_1.h"
#include "tests/lib/suite.h"

/* What follows the newest members in a struct from the future. */
#define FUTURE 16u

static struct vivero_pool *pool;

static void set_up(void)
{
    pool = NULL;
}

static void tear_down(void)
{
    if (pool != NULL) {
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    }
}

/* ---- Layout: a member never moves and never changes its size ----------------
 */

#define HAS_ITS_PLACE(old_, new_, member_)                                     \
    (offsetof(old_, member_) == offsetof(new_, member_) &&                     \
     sizeof(((old_ *)0)->member_) == sizeof(((new_ *)0)->member_))
#define OPTION_HAS_ITS_PLACE(member_)                                          \
    HAS_ITS_PLACE(struct pool_options_0_1, struct vivero_pool_options,         \
                  member_) &&
#define SEND_HAS_ITS_PLACE(member_)                                            \
    HAS_ITS_PLACE(struct send_0_1, struct vivero_send, member_) &&

static void pool_options_only_grow_at_their_end(void)
{
    CU_ASSERT(POOL_OPTIONS_0_1(OPTION_HAS_ITS_PLACE) true);
    CU_ASSERT(sizeof(struct vivero_pool_options) >=
              sizeof(struct pool_options_0_1));
}

static void send_options_only_grow_at_their_end(void)
{
    CU_ASSERT(SEND_0_1(SEND_HAS_ITS_PLACE) true);
    CU_ASSERT(sizeof(struct vivero_send) >= sizeof(struct send_0_1));
}

static void numbers_in_enums_stay(void)
{
    CU_ASSERT_EQUAL(VIVERO_FULL_DEFAULT, 0);
    CU_ASSERT_EQUAL(VIVERO_FULL_WAIT, 1);
    CU_ASSERT_EQUAL(VIVERO_FULL_REJECT, 2);
    CU_ASSERT_EQUAL(VIVERO_FULL_DROP_OLDEST, 3);
    CU_ASSERT_EQUAL(VIVERO_FULL_DROP_NEWEST, 4);
    CU_ASSERT_EQUAL(VIVERO_PICK_FREE, 0);
    CU_ASSERT_EQUAL(VIVERO_PICK_RANDOM, 1);
    CU_ASSERT_EQUAL(VIVERO_PICK_KEY, 2);
    CU_ASSERT_EQUAL(VIVERO_HANG_REPORT, 0);
    CU_ASSERT_EQUAL(VIVERO_HANG_REPLACE, 1);
    CU_ASSERT_EQUAL(VIVERO_HANG_ABORT, 2);
    CU_ASSERT_EQUAL(VIVERO_STATE_INIT, 0);
    CU_ASSERT_EQUAL(VIVERO_STATE_COMMIT, 1);
    CU_ASSERT_EQUAL(VIVERO_MAILBOX_KEEP, 0);
    CU_ASSERT_EQUAL(VIVERO_MAILBOX_FLUSH, 1);
    CU_ASSERT_EQUAL(VIVERO_FAULT_DIE, 0);
    CU_ASSERT_EQUAL(VIVERO_FAULT_DRAIN, 1);
    CU_ASSERT_EQUAL(VIVERO_FAULT_UNSAFE_CONTAIN, 2);
    CU_ASSERT_EQUAL(VIVERO_NONE, -1);
    CU_ASSERT_EQUAL(VIVERO_UNLIMITED, -2);
}

/* ---- Behaviour
 * ---------------------------------------------------------------- */

static int answer_worker(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    *(uint32_t *)out = vivero_id(self);
    return 0;
}

static const struct vivero_operation who = {
    .name = "who", .run = answer_worker, .out_size = sizeof(uint32_t)};

static int open_old(const struct pool_options_0_1 *options)
{
    return vivero_pool_open((const struct vivero_pool_options *)options, &pool);
}

static int init_counts(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    ++*(_Atomic uint32_t *)ctx;
    return 0;
}

static void pool_options_of_0_1_open_a_pool(void)
{
    _Atomic uint32_t inits = 0;
    const struct pool_options_0_1 options = {.size = sizeof(options),
                                             .name = "old",
                                             .workers = 3,
                                             .mailbox_depth = 7,
                                             .payload_size = 4,
                                             .init = init_counts,
                                             .ctx = &inits,
                                             .seed = 9};

    CU_ASSERT_EQUAL_FATAL(open_old(&options), VIVERO_OK);

    CU_ASSERT_STRING_EQUAL(vivero_pool_name(pool), "old");
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 3);
    CU_ASSERT_EQUAL(inits, 3);
}

static void send_options_of_0_1_send(void)
{
    const struct pool_options_0_1 options = {.size = sizeof(options),
                                             .workers = 2};
    const struct send_0_1 send = {
        .size = sizeof(send), .worker = 2, .timeout_ns = VIVERO_SECONDS(20)};
    uint32_t out = 0;

    CU_ASSERT_EQUAL_FATAL(open_old(&options), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &who, NULL, &out,
                                     (const struct vivero_send *)&send),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(out, 2);
}

static void options_cut_short_leave_the_rest_at_its_default(void)
{
    const struct pool_options_0_1 options = {
        .size = offsetof(struct pool_options_0_1, workers_max),
        .workers = 2,
        .workers_max = UINT32_MAX,
        .mailbox_depth = UINT32_MAX};

    CU_ASSERT_EQUAL(open_old(&options), VIVERO_OK);
}

struct future_options {
    struct vivero_pool_options known;
    unsigned char unknown[FUTURE];
};

static void options_of_the_future_work_while_they_ask_for_nothing_new(void)
{
    const struct future_options options = {
        .known = {.size = sizeof(options), .workers = 2}};

    CU_ASSERT_EQUAL_FATAL(vivero_pool_open(&options.known, &pool), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 2);
}

static void options_of_the_future_that_ask_for_more_are_invalid(void)
{
    const struct future_options options = {
        .known = {.size = sizeof(options), .workers = 2}, .unknown = {1}};

    CU_ASSERT_EQUAL(vivero_pool_open(&options.known, &pool), VIVERO_E_INVALID);
}

SUITE_MAIN("abi", set_up, tear_down, TEST(pool_options_only_grow_at_their_end),
           TEST(send_options_only_grow_at_their_end),
           TEST(numbers_in_enums_stay), TEST(pool_options_of_0_1_open_a_pool),
           TEST(send_options_of_0_1_send),
           TEST(options_cut_short_leave_the_rest_at_its_default),
           TEST(options_of_the_future_work_while_they_ask_for_nothing_new),
           TEST(options_of_the_future_that_ask_for_more_are_invalid))
