/* SPDX-License-Identifier: MIT */
/* One mailbox on one thread: order, bound, lanes, laps, closing. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/hash.h"
#include "mailbox/mailbox.h"
#include "os/clock.h"
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#define POOL VV_LANE_POOL
#define OWN VV_LANE_OWN
#define NOTHING (-1)
#define FROZEN (UINT64_C(1) << 63)
#define INDEX_END UINT32_C(0x80000000) /* where the tail's indices wrap */

static struct vv_space space;
static struct vv_mailbox mailbox;

static int never_run(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    return 0;
}

static const struct vivero_operation number = {
    .name = "number", .run = never_run, .in_size = sizeof(int)};
static const struct vivero_operation nothing = {.name = "nothing",
                                                .run = never_run};

static void open_mailbox(uint32_t depth)
{
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, depth, &space, NULL),
                          VIVERO_OK);
    vv_mailbox_reopen(&mailbox);
}

static void tear_down(void)
{
    vv_mailbox_fini(&mailbox);
}

static enum vv_put put(enum vv_lane lane, int value)
{
    const struct vv_message message = {.operation = &number};
    size_t done;

    return vv_mailbox_put(&mailbox, lane, &message, &value, 1, &done);
}

static int take(enum vv_lane lane)
{
    struct vv_message message;
    int value;

    if (!vv_mailbox_take(&mailbox, lane, &message)) {
        return NOTHING;
    }
    memcpy(&value, message.args, sizeof(value));
    return value;
}

/* ---- Order ----------------------------------------------------------------
 */

static void take_returns_messages_in_the_order_they_were_put(void)
{
    open_mailbox(8);
    for (int n = 0; n < 8; n++) {
        CU_ASSERT_EQUAL(put(POOL, n), VV_PUT_OK);
    }

    for (int n = 0; n < 8; n++) {
        CU_ASSERT_EQUAL(take(POOL), n);
    }
    CU_ASSERT_EQUAL(take(POOL), NOTHING);
}

static void lanes_do_not_mix(void)
{
    open_mailbox(8);
    (void)put(POOL, 1);
    (void)put(OWN, 2);
    (void)put(POOL, 3);

    CU_ASSERT_EQUAL(take(OWN), 2);
    CU_ASSERT_EQUAL(take(OWN), NOTHING);
    CU_ASSERT_EQUAL(take(POOL), 1);
    CU_ASSERT_EQUAL(take(POOL), 3);
    CU_ASSERT_EQUAL(take(POOL), NOTHING);
}

static void take_copies_the_arguments_of_any_small_size(void)
{
    struct vivero_operation bytes = {.name = "bytes", .run = never_run};
    unsigned char in[VV_ARGS_MAX];
    struct vv_message message = {.operation = &bytes};
    size_t done;

    open_mailbox(4);
    for (uint32_t size = 1; size <= VV_ARGS_MAX; size++) {
        memset(in, (int)size, sizeof(in));
        bytes.in_size = size;
        message = (struct vv_message){.operation = &bytes};
        CU_ASSERT(vv_message_fits(size, false));
        (void)vv_mailbox_put(&mailbox, POOL, &message, in, 1, &done);
        (void)vv_mailbox_take(&mailbox, POOL, &message);
        CU_ASSERT_EQUAL(memcmp(message.args, in, size), 0);
    }
    CU_ASSERT_FALSE(vv_message_fits(VV_ARGS_MAX + 1, false));
    CU_ASSERT_FALSE(vv_message_fits(VV_ARGS_MAX_CALL + 1, true));
}

static void a_message_without_arguments_names_its_operation(void)
{
    struct vv_message message = {.operation = &nothing};
    size_t done;

    open_mailbox(1);
    (void)vv_mailbox_put(&mailbox, OWN, &message, NULL, 1, &done);
    message.operation = NULL;

    CU_ASSERT(vv_mailbox_take(&mailbox, OWN, &message));
    CU_ASSERT_PTR_EQUAL(message.operation, &nothing);
    CU_ASSERT_PTR_NULL(message.reply);
    CU_ASSERT_PTR_NULL(message.box);
}

static void a_frozen_lane_gives_nothing_and_takes_all(void)
{
    open_mailbox(3);
    (void)put(POOL, 1);
    atomic_fetch_or(&mailbox.head[POOL], FROZEN);

    CU_ASSERT_EQUAL(take(POOL), NOTHING);
    CU_ASSERT_FALSE(vv_mailbox_ready(&mailbox, POOL));
    CU_ASSERT(vv_mailbox_has(&mailbox, POOL));
    CU_ASSERT_EQUAL(put(POOL, 2), VV_PUT_OK);
    CU_ASSERT_EQUAL(put(OWN, 3), VV_PUT_OK);
    CU_ASSERT_EQUAL(put(OWN, 4), VV_PUT_FULL);
    CU_ASSERT_EQUAL(take(OWN), 3);
    atomic_fetch_and(&mailbox.head[POOL], ~FROZEN);
    CU_ASSERT_EQUAL(take(POOL), 1);
    CU_ASSERT_EQUAL(take(POOL), 2);
}

static void has_says_which_lane_is_not_empty(void)
{
    open_mailbox(2);
    CU_ASSERT_FALSE(vv_mailbox_has(&mailbox, OWN));
    CU_ASSERT_FALSE(vv_mailbox_ready(&mailbox, OWN));
    (void)put(OWN, 1);

    CU_ASSERT(vv_mailbox_has(&mailbox, OWN));
    CU_ASSERT(vv_mailbox_ready(&mailbox, OWN));
    CU_ASSERT_FALSE(vv_mailbox_has(&mailbox, POOL));
    (void)take(OWN);
    CU_ASSERT_FALSE(vv_mailbox_has(&mailbox, OWN));
}

/* ---- Bound ------------------------------------------------------------------
 */

static void put_reports_full_instead_of_waiting(void)
{
    open_mailbox(3);
    for (int n = 0; n < 3; n++) {
        CU_ASSERT_EQUAL(put(POOL, n), VV_PUT_OK);
    }

    CU_ASSERT_EQUAL(put(POOL, 3), VV_PUT_FULL);
    CU_ASSERT_EQUAL(vv_mailbox_queued(&mailbox), 3);
    CU_ASSERT_EQUAL(vv_mailbox_accepted(&mailbox), 3);
}

static void the_bound_is_one_for_both_lanes(void)
{
    for (int own = 0; own <= 5; own++) {
        open_mailbox(5);
        for (int n = 0; n < 5; n++) {
            CU_ASSERT_EQUAL(put(n < own ? OWN : POOL, n), VV_PUT_OK);
        }
        CU_ASSERT_EQUAL(put(OWN, 5), VV_PUT_FULL);
        CU_ASSERT_EQUAL(put(POOL, 5), VV_PUT_FULL);
        CU_ASSERT_EQUAL(take(own > 0 ? OWN : POOL), 0);
        CU_ASSERT_EQUAL(put(own > 0 ? POOL : OWN, 5), VV_PUT_OK);
        CU_ASSERT_EQUAL(put(OWN, 6), VV_PUT_FULL);
        vv_mailbox_fini(&mailbox);
    }
    open_mailbox(1);
}

static void a_batch_goes_in_as_far_as_there_is_room(void)
{
    const struct vv_message message = {.operation = &number};
    static const int values[] = {0, 1, 2, 3, 4, 5, 6, 7};
    size_t done = 99;

    open_mailbox(5);
    (void)put(OWN, 100);

    CU_ASSERT_EQUAL(vv_mailbox_put(&mailbox, POOL, &message, values, 8, &done),
                    VV_PUT_OK);
    CU_ASSERT_EQUAL(done, 4);
    CU_ASSERT_EQUAL(vv_mailbox_put(&mailbox, POOL, &message, values, 8, &done),
                    VV_PUT_FULL);
    CU_ASSERT_EQUAL(done, 0);
    for (int n = 0; n < 4; n++) {
        CU_ASSERT_EQUAL(take(POOL), n);
    }
    CU_ASSERT_EQUAL(take(POOL), NOTHING);
}

static void a_batch_that_fits_goes_in_whole(void)
{
    const struct vv_message message = {.operation = &number};
    static const int values[] = {0, 1, 2, 3};
    size_t done;

    open_mailbox(4);
    for (int lap = 0; lap < 100; lap++) {
        CU_ASSERT_EQUAL(
            vv_mailbox_put(&mailbox, POOL, &message, values, 3, &done),
            VV_PUT_OK);
        CU_ASSERT_EQUAL(done, 3);
        for (int n = 0; n < 3; n++) {
            CU_ASSERT_EQUAL(take(POOL), n);
        }
    }
}

/* ---- Laps
 * --------------------------------------------------------------------- */

/* A model beside the mailbox: two queues and one bound. */
struct model {
    int values[VV_LANE_COUNT][8];
    uint32_t count[VV_LANE_COUNT];
};

static int model_take(struct model *model, enum vv_lane lane)
{
    int value = model->values[lane][0];

    if (model->count[lane] == 0) {
        return NOTHING;
    }
    model->count[lane]--;
    memmove(model->values[lane], model->values[lane] + 1,
            model->count[lane] * sizeof(int));
    return value;
}

static uint32_t step(struct model *model, uint32_t depth, int value,
                     uint64_t *random)
{
    uint64_t dice = vv_random_next(random);
    enum vv_lane lane = (dice & 1) != 0 ? OWN : POOL;
    bool full = model->count[OWN] + model->count[POOL] == depth;

    if ((dice & 2) == 0) {
        return take(lane) != model_take(model, lane);
    }
    if (!full) {
        model->values[lane][model->count[lane]++] = value;
    }
    return put(lane, value) != (full ? VV_PUT_FULL : VV_PUT_OK);
}

static uint32_t differences(uint32_t depth, uint32_t steps)
{
    struct model model = {0};
    uint64_t random = depth;
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < steps; i++) {
        wrong += step(&model, depth, (int)i, &random);
        wrong +=
            vv_mailbox_queued(&mailbox) != model.count[OWN] + model.count[POOL];
    }
    return wrong;
}

static void tiny_rings_stay_in_order_over_many_laps(void)
{
    for (uint32_t depth = 1; depth <= 5; depth++) {
        open_mailbox(depth);
        CU_ASSERT_EQUAL(differences(depth, 20000), 0);
        vv_mailbox_fini(&mailbox);
    }
    open_mailbox(1);
}

/* As if so many messages had gone through each lane before. */
static void age_mailbox(uint64_t before)
{
    uint32_t index = (uint32_t)before & (INDEX_END - 1);

    atomic_store(&mailbox.tail, (uint64_t)index << 32 | index); /* open */
    atomic_store(&mailbox.released_seen, (uint32_t)(2 * before));
    for (int lane = 0; lane < VV_LANE_COUNT; lane++) {
        atomic_store(&mailbox.head[lane], before);
        atomic_store(&mailbox.head_seen[lane], (uint32_t)before);
    }
}

static void indices_wrap_without_losing_or_repeating(void)
{
    for (uint32_t depth = 1; depth <= 5; depth++) {
        open_mailbox(depth);
        age_mailbox(INDEX_END - 100 * mailbox.capacity);
        CU_ASSERT_EQUAL(differences(depth, 20000), 0);
        CU_ASSERT(vv_mailbox_accepted(&mailbox) > 2 * (uint64_t)INDEX_END);
        vv_mailbox_fini(&mailbox);
    }
    open_mailbox(1);
}

/* ---- Closing
 * ------------------------------------------------------------------- */

static void a_mailbox_starts_closed(void)
{
    CU_ASSERT_EQUAL_FATAL(vv_mailbox_init(&mailbox, 4, &space, NULL),
                          VIVERO_OK);

    CU_ASSERT_FALSE(vv_mailbox_is_open(&mailbox));
    CU_ASSERT_EQUAL(put(POOL, 1), VV_PUT_CLOSED);
}

static void a_closed_mailbox_takes_nothing_and_gives_what_it_has(void)
{
    open_mailbox(4);
    (void)put(POOL, 1);
    (void)put(OWN, 2);
    vv_mailbox_close(&mailbox);

    CU_ASSERT_FALSE(vv_mailbox_is_open(&mailbox));
    CU_ASSERT_EQUAL(put(POOL, 3), VV_PUT_CLOSED);
    CU_ASSERT_EQUAL(put(OWN, 3), VV_PUT_CLOSED);
    CU_ASSERT_EQUAL(vv_mailbox_queued(&mailbox), 2);
    CU_ASSERT_EQUAL(take(POOL), 1);
    CU_ASSERT_EQUAL(take(OWN), 2);
    CU_ASSERT_EQUAL(vv_mailbox_accepted(&mailbox), 2);
}

static void a_full_mailbox_that_is_closed_says_closed(void)
{
    open_mailbox(1);
    (void)put(POOL, 1);
    vv_mailbox_close(&mailbox);

    CU_ASSERT_EQUAL(put(POOL, 2), VV_PUT_CLOSED);
}

static void a_reopened_mailbox_goes_on_where_it_was(void)
{
    open_mailbox(2);
    (void)put(POOL, 1);
    vv_mailbox_close(&mailbox);
    vv_mailbox_reopen(&mailbox);

    CU_ASSERT(vv_mailbox_is_open(&mailbox));
    CU_ASSERT_EQUAL(put(POOL, 2), VV_PUT_OK);
    CU_ASSERT_EQUAL(put(POOL, 3), VV_PUT_FULL);
    CU_ASSERT_EQUAL(take(POOL), 1);
    CU_ASSERT_EQUAL(take(POOL), 2);
}

/* ---- Room, age, memory
 * ------------------------------------------------------------ */

static void who_wants_room_is_woken_when_half_of_it_is_there(void)
{
    uint32_t before = atomic_load(&space.sequence);

    open_mailbox(4);
    for (int n = 0; n < 4; n++) {
        (void)put(POOL, n);
    }
    vv_mailbox_want_room(&mailbox);

    (void)take(POOL);
    CU_ASSERT_EQUAL(atomic_load(&space.sequence), before);
    (void)take(POOL);
    CU_ASSERT_EQUAL(atomic_load(&space.sequence), before + 1);
    (void)take(POOL);
    CU_ASSERT_EQUAL(atomic_load(&space.sequence), before + 1);
}

static bool is_older_than(void *ctx)
{
    return vv_mailbox_oldest_age(&mailbox) > *(int64_t *)ctx;
}

static void the_oldest_age_is_that_of_the_first_message(void)
{
    int64_t age = VIVERO_MILLISECONDS(20);

    open_mailbox(4);
    CU_ASSERT_EQUAL(vv_mailbox_oldest_age(&mailbox), 0);
    (void)put(OWN, 1);
    CU_ASSERT(eventually(is_older_than, &age, VIVERO_SECONDS(20)));
    (void)put(POOL, 2);
    CU_ASSERT(vv_mailbox_oldest_age(&mailbox) > age);

    (void)take(OWN);
    CU_ASSERT(vv_mailbox_oldest_age(&mailbox) < VIVERO_SECONDS(20));
    (void)take(POOL);
    CU_ASSERT_EQUAL(vv_mailbox_oldest_age(&mailbox), 0);
}

static void init_reports_no_memory_and_leaves_nothing(void)
{
    int error = VIVERO_E_NO_MEMORY;
    uint64_t left = 0;

    CU_ASSERT_FATAL(fault_allocator_install());
    for (uint64_t n = 0; error == VIVERO_E_NO_MEMORY; n++) {
        fault_allocator_fail_after(n);
        error = vv_mailbox_init(&mailbox, 100, &space, NULL);
        left += error != VIVERO_OK ? fault_allocator_blocks() : 0;
    }
    fault_allocator_fail_after(FAULT_NEVER);
    vv_mailbox_fini(&mailbox);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT_EQUAL(left, 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

SUITE_MAIN("mailbox", NULL, tear_down,
           TEST(take_returns_messages_in_the_order_they_were_put),
           TEST(lanes_do_not_mix),
           TEST(take_copies_the_arguments_of_any_small_size),
           TEST(a_message_without_arguments_names_its_operation),
           TEST(a_frozen_lane_gives_nothing_and_takes_all),
           TEST(has_says_which_lane_is_not_empty),
           TEST(put_reports_full_instead_of_waiting),
           TEST(the_bound_is_one_for_both_lanes),
           TEST(a_batch_goes_in_as_far_as_there_is_room),
           TEST(a_batch_that_fits_goes_in_whole),
           TEST(tiny_rings_stay_in_order_over_many_laps),
           TEST(indices_wrap_without_losing_or_repeating),
           TEST(a_mailbox_starts_closed),
           TEST(a_closed_mailbox_takes_nothing_and_gives_what_it_has),
           TEST(a_full_mailbox_that_is_closed_says_closed),
           TEST(a_reopened_mailbox_goes_on_where_it_was),
           TEST(who_wants_room_is_woken_when_half_of_it_is_there),
           TEST(the_oldest_age_is_that_of_the_first_message),
           TEST(init_reports_no_memory_and_leaves_nothing))
