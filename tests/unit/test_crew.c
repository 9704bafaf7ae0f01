/* SPDX-License-Identifier: MIT */
/* Seats on one thread: what is idle, what is lent, when there is rest. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "mailbox/crew.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#define SEATS_MAX 8u

struct crew {
    struct vv_crew crew;
    struct {
        struct vv_seat *seat;
    } members[SEATS_MAX];
};

static struct crew crew;

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

static bool never_stop(void *ctx)
{
    (void)ctx;
    return false;
}

static bool always_stop(void *ctx)
{
    (void)ctx;
    return true;
}

static bool is_idle(void *ctx)
{
    const struct vv_seat *seat = ctx;

    return vv_idle_is_set(&seat->crew->idle, seat->index);
}

/* ---- Idle bits
 * ------------------------------------------------------------------ */

static void the_lowest_idle_seat_comes_first(void)
{
    struct vv_idle_set set;

    CU_ASSERT_EQUAL_FATAL(vv_idle_init(&set, 200, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_idle_first(&set), VV_IDLE_NONE);
    vv_idle_set(&set, 199);
    vv_idle_set(&set, 64);
    vv_idle_set(&set, 130);

    CU_ASSERT_EQUAL(vv_idle_first(&set), 64);
    CU_ASSERT(vv_idle_clear(&set, 64));
    CU_ASSERT_FALSE(vv_idle_clear(&set, 64));
    CU_ASSERT_EQUAL(vv_idle_first(&set), 130);
    CU_ASSERT(vv_idle_clear(&set, 130));
    CU_ASSERT(vv_idle_is_set(&set, 199));
    CU_ASSERT_EQUAL(vv_idle_first(&set), 199);
    vv_idle_fini(&set, NULL);
}

/* ---- Without other threads
 * -------------------------------------------------------- */

static void rest_ends_at_its_deadline(void)
{
    open_crew(&crew, 1, 4, &no_spin);

    CU_ASSERT_FALSE(vv_crew_rest(crew.members[0].seat,
                                 vivero_now() + VIVERO_MILLISECONDS(1)));
    CU_ASSERT_FALSE(is_idle(crew.members[0].seat));
    vv_crew_fini(&crew.crew);
}

static void rest_does_not_sleep_when_there_is_something(void)
{
    struct vv_seat *seat;
    struct vv_message message;

    open_crew(&crew, 2, 4, &no_spin);
    seat = crew.members[0].seat;
    (void)put(crew.members[1].seat, VV_LANE_POOL, 1);
    CU_ASSERT(vv_crew_rest(seat, VIVERO_FOREVER));
    CU_ASSERT(vv_crew_take(seat, &message));
    vv_crew_call_attention(&crew.crew, 0);
    CU_ASSERT(vv_crew_rest(seat, VIVERO_FOREVER));
    CU_ASSERT(vv_crew_take_attention(seat));
    CU_ASSERT_FALSE(vv_crew_take_attention(seat));
    vv_crew_fini(&crew.crew);
}

static void a_sibling_takes_from_the_pool_lane_and_not_from_the_own(void)
{
    struct vv_message message;

    open_crew(&crew, 3, 4, &no_spin);
    (void)put(crew.members[1].seat, VV_LANE_OWN, 1);
    (void)put(crew.members[1].seat, VV_LANE_POOL, 2);

    CU_ASSERT(vv_crew_take(crew.members[0].seat, &message));
    CU_ASSERT_EQUAL(atomic_load(&crew.members[0].seat->taken), 1);
    CU_ASSERT_FALSE(vv_crew_take(crew.members[2].seat, &message));
    CU_ASSERT(vv_crew_take_own(crew.members[1].seat, &message));
    CU_ASSERT_FALSE(vv_crew_take(crew.members[1].seat, &message));
    vv_crew_fini(&crew.crew);
}

static void a_free_one_is_picked_first_and_else_the_last_place(void)
{
    open_crew(&crew, 3, 4, &no_spin);
    CU_ASSERT_EQUAL(vv_crew_pick_free(&crew.crew, 7), 1);
    vv_idle_set(&crew.crew.idle, 2);
    CU_ASSERT_EQUAL(vv_crew_pick_free(&crew.crew, 7), 2);
    vv_crew_set_size(&crew.crew, 2);
    CU_ASSERT_EQUAL(vv_crew_pick_free(&crew.crew, 5), 1);
    vv_crew_fini(&crew.crew);
}

static void nothing_idle_can_be_borrowed_twice(void)
{
    struct vv_seat *seat;

    open_crew(&crew, 2, 4, &no_spin);
    CU_ASSERT_PTR_NULL(vv_crew_borrow(&crew.crew, VV_ANY_SEAT));
    CU_ASSERT_PTR_NULL(vv_crew_borrow(&crew.crew, 1));
    vv_idle_set(&crew.crew.idle, 1);
    CU_ASSERT_PTR_NULL(vv_crew_borrow(&crew.crew, 0));
    seat = vv_crew_borrow(&crew.crew, VV_ANY_SEAT);
    CU_ASSERT_PTR_EQUAL(seat, crew.members[1].seat);
    CU_ASSERT_PTR_NULL(vv_crew_borrow(&crew.crew, VV_ANY_SEAT));
    vv_crew_give_back(seat, false);
    CU_ASSERT_PTR_EQUAL(vv_crew_borrow(&crew.crew, 1), seat);
    vv_crew_fini(&crew.crew);
}

static void a_worker_is_lent_only_when_nothing_waits_for_it(void)
{
    struct vv_seat *seat;

    open_crew(&crew, 1, 4, &no_spin);
    seat = crew.members[0].seat;
    vv_crew_suspend(&crew.crew, true);
    CU_ASSERT_FALSE(vv_crew_lend(seat));
    vv_crew_suspend(&crew.crew, false);
    vv_mailbox_close(seat->mailbox);
    CU_ASSERT_FALSE(vv_crew_lend(seat));
    vv_mailbox_reopen(seat->mailbox);
    vv_crew_call_attention(&crew.crew, 0);
    CU_ASSERT_FALSE(vv_crew_lend(seat));
    CU_ASSERT(vv_crew_take_attention(seat));
    CU_ASSERT_EQUAL(vv_crew_accepted(&crew.crew), 0);

    CU_ASSERT(vv_crew_lend(seat));
    CU_ASSERT_EQUAL(vv_crew_accepted(&crew.crew), 1);
    CU_ASSERT_FALSE(vv_crew_is_quiet(&crew.crew));
    vv_crew_finished(seat);
    CU_ASSERT(vv_crew_is_quiet(&crew.crew));
    (void)put(seat, VV_LANE_POOL, 1);
    CU_ASSERT_FALSE(vv_crew_lend(seat));
    vv_crew_fini(&crew.crew);
}

static void waiting_for_rest_can_be_stopped_and_has_a_deadline(void)
{
    open_crew(&crew, 1, 4, &no_spin);
    CU_ASSERT_EQUAL(vv_crew_wait_quiet(&crew.crew, 1, never_stop, NULL), 1);
    (void)put(crew.members[0].seat, VV_LANE_POOL, 1);

    CU_ASSERT_EQUAL(vv_crew_wait_quiet(&crew.crew, 1, never_stop, NULL), 0);
    CU_ASSERT_EQUAL(
        vv_crew_wait_quiet(&crew.crew, VIVERO_FOREVER, always_stop, NULL), -1);
    CU_ASSERT_FALSE(vv_crew_is_quiet(&crew.crew));
    vv_crew_fini(&crew.crew);
}

static void waiting_for_room_has_a_deadline(void)
{
    uint32_t prepared;

    open_crew(&crew, 1, 1, &no_spin);
    prepared = vv_crew_prepare_for_room(&crew.crew);

    CU_ASSERT_FALSE(vv_crew_wait_for_room(&crew.crew, prepared, 1));
    vv_crew_fini(&crew.crew);
}

static void init_and_seats_report_no_memory_and_leave_nothing(void)
{
    const uint64_t never = FAULT_NEVER;
    struct vv_seat *seat;
    uint64_t left = 0;
    int error = VIVERO_E_NO_MEMORY;

    CU_ASSERT_FATAL(fault_allocator_install());
    for (uint64_t n = 0; error == VIVERO_E_NO_MEMORY; n++) {
        memset(&crew, 0, sizeof(crew));
        fault_allocator_fail_after(n);
        error = vv_crew_init(&crew.crew, SEATS_MAX, &no_spin, NULL);
        left += error != VIVERO_OK ? fault_allocator_blocks() : 0;
    }
    error = VIVERO_E_NO_MEMORY;
    for (uint64_t n = 0; error == VIVERO_E_NO_MEMORY; n++) {
        fault_allocator_fail_after(n);
        error = vv_crew_make_seat(&crew.crew, 4, &seat);
        left += error != VIVERO_OK ? fault_allocator_blocks() - 2 : 0;
    }
    fault_allocator_fail_after(never);
    vv_crew_show_seat(&crew.crew, seat);
    vv_crew_fini(&crew.crew);

    CU_ASSERT_EQUAL(left, 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

SUITE_MAIN("crew", NULL, NULL, TEST(the_lowest_idle_seat_comes_first),
           TEST(rest_ends_at_its_deadline),
           TEST(rest_does_not_sleep_when_there_is_something),
           TEST(a_sibling_takes_from_the_pool_lane_and_not_from_the_own),
           TEST(a_free_one_is_picked_first_and_else_the_last_place),
           TEST(nothing_idle_can_be_borrowed_twice),
           TEST(a_worker_is_lent_only_when_nothing_waits_for_it),
           TEST(waiting_for_rest_can_be_stopped_and_has_a_deadline),
           TEST(waiting_for_room_has_a_deadline),
           TEST(init_and_seats_report_no_memory_and_leave_nothing))
