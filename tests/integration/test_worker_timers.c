/* SPDX-License-Identifier: MIT */
/* Messages that are sent when their time has come. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#define SHORT VIVERO_MILLISECONDS(20)
#define LONG VIVERO_SECONDS(1000)

static struct vivero_ref me;

static void set_up(void)
{
    CU_ASSERT_EQUAL(vivero_attach(NULL, &me), VIVERO_OK);
}

static void tear_down(void)
{
    CU_ASSERT(solo_hears_nothing());
    vivero_detach(NULL);
}

static struct vivero_timer after(int64_t delay_ns, uint32_t tag)
{
    struct vivero_timer timer = {0, 0};

    CU_ASSERT_EQUAL(vivero_tell_after(me, delay_ns, tag, NULL, 0, &timer),
                    VIVERO_OK);
    return timer;
}

/* The tag of the next message; 0: something else. */
static uint32_t next_tag(void)
{
    struct vivero_info info = solo_receive();

    return info.kind == VIVERO_INFO_MESSAGE ? info.tag : 0;
}

static void t_pr_04_a_message_comes_after_its_time_and_not_before(void)
{
    int64_t began = vivero_now();
    int value = 77;
    const struct vivero_info *info;

    CU_ASSERT_EQUAL(
        vivero_tell_after(me, SHORT, 5, &value, sizeof(value), NULL),
        VIVERO_OK);
    value = 78;
    CU_ASSERT_EQUAL_FATAL(vivero_receive(&info, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(vivero_now() - began >= SHORT);
    CU_ASSERT_EQUAL(info->kind, VIVERO_INFO_MESSAGE);
    CU_ASSERT_EQUAL(info->tag, 5);
    CU_ASSERT_EQUAL_FATAL(info->size, sizeof(int));
    CU_ASSERT_EQUAL(*(const int *)info->data, 77);
}

static void t_pr_04_cancel_returns_what_is_left(void)
{
    struct vivero_timer timer = after(LONG, 1);
    int64_t left = 0;

    CU_ASSERT_EQUAL(vivero_timer_cancel(timer, &left), VIVERO_OK);
    CU_ASSERT(left > LONG - CREW_PATIENCE);
    CU_ASSERT(left <= LONG);
    CU_ASSERT_EQUAL(vivero_timer_cancel(timer, &left), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_timer_read(timer, &left), VIVERO_E_GONE);
}

static void t_pr_04_cancel_wants_no_place_for_what_is_left(void)
{
    CU_ASSERT_EQUAL(vivero_timer_cancel(after(LONG, 1), NULL), VIVERO_OK);
}

static void t_pr_04_one_that_has_fired_cannot_be_cancelled(void)
{
    struct vivero_timer timer = after(SHORT, 9);
    int64_t left = 0;

    CU_ASSERT_EQUAL(next_tag(), 9);
    CU_ASSERT_EQUAL(vivero_timer_cancel(timer, &left), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_timer_read(timer, &left), VIVERO_E_GONE);
}

/* What has been delivered stays. */
static void t_pr_04_a_cancel_takes_no_message_out(void)
{
    struct vivero_timer timer = after(0, 9);
    struct vivero_ref other = solo_start(NULL);

    /* When the later one is here, so is the earlier one. */
    (void)after(SHORT, 10);
    crew_await_time(vivero_now() + 3 * SHORT);
    (void)vivero_timer_cancel(timer, NULL);
    CU_ASSERT_EQUAL(next_tag(), 9);
    CU_ASSERT_EQUAL(next_tag(), 10);
    CU_ASSERT(solo_stop(other));
}

static void t_pr_04_a_cancelled_one_never_comes(void)
{
    for (int i = 0; i < 50; i++) {
        CU_ASSERT_EQUAL(vivero_timer_cancel(after(LONG, 1), NULL), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_timer_cancel(after(SHORT, 2), NULL), VIVERO_OK);
    CU_ASSERT(solo_hears_nothing());
}

static void t_pr_04_read_says_what_is_left_and_changes_nothing(void)
{
    struct vivero_timer timer = after(LONG, 1);
    int64_t first = 0;
    int64_t second = 0;

    CU_ASSERT_EQUAL(vivero_timer_read(timer, &first), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_timer_read(timer, &second), VIVERO_OK);
    CU_ASSERT(second <= first);
    CU_ASSERT(first <= LONG);
    CU_ASSERT(second > LONG - CREW_PATIENCE);
    CU_ASSERT_EQUAL(vivero_timer_cancel(timer, NULL), VIVERO_OK);
}

static void t_pr_04_an_instant_is_absolute(void)
{
    int64_t instant = vivero_now() + SHORT;

    CU_ASSERT_EQUAL(vivero_tell_at(me, instant, 6, NULL, 0, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(next_tag(), 6);
    CU_ASSERT(vivero_now() >= instant);
}

static void an_instant_that_has_passed_fires_at_once(void)
{
    CU_ASSERT_EQUAL(vivero_tell_at(me, vivero_now() - LONG, 7, NULL, 0, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(next_tag(), 7);
    CU_ASSERT_EQUAL(vivero_tell_at(me, 0, 8, NULL, 0, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(next_tag(), 8);
    CU_ASSERT_EQUAL(vivero_tell_after(me, -5, 9, NULL, 0, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(next_tag(), 9);
}

static void timers_fire_in_the_order_of_their_time(void)
{
    (void)after(3 * SHORT, 3);
    (void)after(1 * SHORT, 1);
    (void)after(2 * SHORT, 2);
    CU_ASSERT_EQUAL(next_tag(), 1);
    CU_ASSERT_EQUAL(next_tag(), 2);
    CU_ASSERT_EQUAL(next_tag(), 3);
}

static void for_ever_can_be_cancelled(void)
{
    int64_t left = 0;
    struct vivero_timer timer = after(VIVERO_FOREVER, 1);

    CU_ASSERT_EQUAL(vivero_timer_read(timer, &left), VIVERO_OK);
    CU_ASSERT(left > LONG);
    CU_ASSERT_EQUAL(vivero_timer_cancel(timer, NULL), VIVERO_OK);
}

static void it_says_who_armed_it(void)
{
    (void)after(0, 1);
    CU_ASSERT(vivero_ref_equal(solo_receive().from, me));
}

/* ---- To whom ----------------------------------------------------------------------- */

static void one_to_a_dead_one_is_gone_at_once(void)
{
    struct vivero_ref dead = solo_start(NULL);
    struct vivero_timer timer;

    CU_ASSERT(solo_stop(dead));
    CU_ASSERT_EQUAL(vivero_tell_after(dead, SHORT, 1, NULL, 0, &timer),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_tell_at(dead, 0, 1, NULL, 0, &timer), VIVERO_E_GONE);
}

static void one_to_somebody_who_ends_meanwhile_goes_nowhere(void)
{
    struct vivero_ref mortal = solo_start(NULL);

    CU_ASSERT_EQUAL(vivero_tell_after(mortal, SHORT, 1, NULL, 0, NULL),
                    VIVERO_OK);
    CU_ASSERT(solo_stop(mortal));
    (void)after(2 * SHORT, 2);
    CU_ASSERT_EQUAL(next_tag(), 2);
}

static void a_name_is_looked_up_when_the_time_has_come(void)
{
    struct vivero_ref first = solo_start(VIVERO_WORKER_OPTIONS(.name = "heir"));

    CU_ASSERT_EQUAL(vivero_tell_name_after("heir", SHORT, 4, NULL, 0, NULL),
                    VIVERO_OK);
    CU_ASSERT(solo_stop(first));
    CU_ASSERT_EQUAL(vivero_register(me, "heir"), VIVERO_OK);
    CU_ASSERT_EQUAL(next_tag(), 4);
    CU_ASSERT_EQUAL(vivero_unregister("heir"), VIVERO_OK);
}

static void a_name_that_nobody_has_by_then_is_nothing(void)
{
    CU_ASSERT_EQUAL(vivero_tell_name_after("none", SHORT, 4, NULL, 0, NULL),
                    VIVERO_OK);
    (void)after(2 * SHORT, 2);
    CU_ASSERT_EQUAL(next_tag(), 2);
}

static void *tells_a_name(void *arg)
{
    *(int *)arg = vivero_tell_name_after("nobody", SHORT, 1, NULL, 0, NULL);
    return NULL;
}

static void a_name_that_nobody_has_is_gone_for_a_stranger(void)
{
    pthread_t thread;
    int result = 0;

    pthread_create(&thread, NULL, tells_a_name, &result);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(result, VIVERO_E_GONE);
}

static void a_name_that_cannot_be_is_invalid(void)
{
    CU_ASSERT_EQUAL(vivero_tell_name_after("", SHORT, 1, NULL, 0, NULL),
                    VIVERO_E_INVALID);
}

static void too_much_is_refused(void)
{
    static char bytes[1048577];

    CU_ASSERT_EQUAL(vivero_tell_after(me, SHORT, 1, bytes, sizeof(bytes), NULL),
                    VIVERO_E_LIMIT);
}

static void in_a_full_mailbox_there_is_room_for_a_timer(void)
{
    static struct witness witness = WITNESS;
    static struct gate gate = GATE_SHUT;
    struct vivero_ref small;

    witness_clear(&witness);
    small = solo_start(SOLO_OPTIONS(.ctx = &witness, .mailbox_depth = 1));
    CU_ASSERT(solo_hold(small, &gate));
    CU_ASSERT_EQUAL(vivero_tell(small, 1, NULL, 0), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_tell(small, 2, NULL, 0), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(vivero_tell_after(small, 1, 3, NULL, 0, NULL), VIVERO_OK);
    crew_await_time(vivero_now() + SHORT);
    gate_open(&gate);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 2));
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_INFO, 1).tag, 3);
    CU_ASSERT(solo_stop(small));
}

/* ---- One for all (S3.16) ------------------------------------------------------------- */

static int answers_the_asker(struct vivero_self *self, const void *in,
                             void *out)
{
    (void)self;
    (void)out;
    return vivero_tell(*(const struct vivero_ref *)in, 100, NULL, 0);
}

static const struct vivero_operation ask_back = {.name = "ask_back",
                                                 .run = answers_the_asker,
                                                 .in_size =
                                                     sizeof(struct vivero_ref)};

static void s3_16_one_timer_bounds_a_query_of_many(void)
{
    static struct gate gate = GATE_SHUT;
    struct vivero_ref silent[3];
    struct vivero_ref quick = solo_start(NULL);
    struct vivero_timer timer;
    int64_t began = vivero_now();

    gate_shut(&gate);
    for (int i = 0; i < 3; i++) {
        struct hold_in in = {&gate};

        silent[i] = solo_start(NULL);
        CU_ASSERT_EQUAL(vivero_worker_cast(silent[i], &crew_hold, &in, NULL),
                        0);
        CU_ASSERT_EQUAL(vivero_worker_cast(silent[i], &ask_back, &me, NULL), 0);
    }
    timer = after(2 * SHORT, 200);
    CU_ASSERT_EQUAL(vivero_worker_cast(quick, &ask_back, &me, NULL), 0);
    CU_ASSERT_EQUAL(next_tag(), 100);
    CU_ASSERT_EQUAL(next_tag(), 200);
    CU_ASSERT(vivero_now() - began >= 2 * SHORT);
    CU_ASSERT_EQUAL(vivero_timer_cancel(timer, NULL), VIVERO_E_GONE);
    for (int i = 0; i < 3; i++) {
        const struct vivero_exit kill =
            vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

        CU_ASSERT_EQUAL(vivero_signal(silent[i], &kill), VIVERO_OK);
    }
    gate_open(&gate);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT(solo_await_end(silent[i]));
    }
    CU_ASSERT(solo_stop(quick));
}

SUITE_MAIN("worker_timers", set_up, tear_down,
           TEST(t_pr_04_a_message_comes_after_its_time_and_not_before),
           TEST(t_pr_04_cancel_returns_what_is_left),
           TEST(t_pr_04_cancel_wants_no_place_for_what_is_left),
           TEST(t_pr_04_one_that_has_fired_cannot_be_cancelled),
           TEST(t_pr_04_a_cancel_takes_no_message_out),
           TEST(t_pr_04_a_cancelled_one_never_comes),
           TEST(t_pr_04_read_says_what_is_left_and_changes_nothing),
           TEST(t_pr_04_an_instant_is_absolute),
           TEST(an_instant_that_has_passed_fires_at_once),
           TEST(timers_fire_in_the_order_of_their_time),
           TEST(for_ever_can_be_cancelled), TEST(it_says_who_armed_it),
           TEST(one_to_a_dead_one_is_gone_at_once),
           TEST(one_to_somebody_who_ends_meanwhile_goes_nowhere),
           TEST(a_name_is_looked_up_when_the_time_has_come),
           TEST(a_name_that_nobody_has_by_then_is_nothing),
           TEST(a_name_that_nobody_has_is_gone_for_a_stranger),
           TEST(a_name_that_cannot_be_is_invalid), TEST(too_much_is_refused),
           TEST(in_a_full_mailbox_there_is_room_for_a_timer),
           TEST(s3_16_one_timer_bounds_a_query_of_many))
