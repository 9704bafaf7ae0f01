/* SPDX-License-Identifier: MIT */
/* Plain functions as workers, and foreign threads that attach themselves. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#define SHORT VIVERO_MILLISECONDS(30)

enum tag { TAG_INCREMENT = 1, TAG_DECREMENT, TAG_VALUE, TAG_END, TAG_FAIL };

static struct vivero_ref me;
static struct gate gate = GATE_SHUT;

static void set_up(void)
{
    gate_shut(&gate);
    CU_ASSERT_EQUAL(vivero_attach(NULL, &me), VIVERO_OK);
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(solo_hears_nothing());
    vivero_detach(NULL);
}

/* ---- A counter made by hand (S3.1) ------------------------------------------------- */

/* Receives for ever; answers TAG_VALUE to whoever asks, with the question's own
 * number as tag. */
static void counter(struct vivero_self *self, void *argument)
{
    int value = (int)(intptr_t)argument;
    const struct vivero_info *info;

    (void)self;
    while (vivero_receive(&info, VIVERO_FOREVER) == VIVERO_OK) {
        switch (info->tag) {
        case TAG_INCREMENT:
            value++;
            break;
        case TAG_DECREMENT:
            value--;
            break;
        case TAG_VALUE:
            (void)vivero_tell(info->from, *(const uint32_t *)info->data, &value,
                              sizeof(value));
            break;
        case TAG_END:
            return;
        case TAG_FAIL:
            vivero_exit(91, "told to");
        }
    }
}

static int value_of(struct vivero_ref ref, uint32_t question)
{
    const struct vivero_info *info;

    if (vivero_tell(ref, TAG_VALUE, &question, sizeof(question)) != VIVERO_OK) {
        return -1000;
    }
    do {
        if (vivero_receive(&info, CREW_PATIENCE) != VIVERO_OK) {
            return -2000;
        }
    } while (info->tag != question);
    return *(const int *)info->data;
}

static void end(struct vivero_ref ref)
{
    (void)vivero_tell(ref, TAG_END, NULL, 0);
    CU_ASSERT(solo_await_end(ref));
}

static void s3_1_a_counter_made_by_hand_counts(void)
{
    struct vivero_ref ref = solo_spawn(NULL, counter, NULL);

    (void)vivero_tell(ref, TAG_INCREMENT, NULL, 0);
    (void)vivero_tell(ref, TAG_INCREMENT, NULL, 0);
    CU_ASSERT_EQUAL(value_of(ref, 1001), 2);
    (void)vivero_tell(ref, TAG_DECREMENT, NULL, 0);
    CU_ASSERT_EQUAL(value_of(ref, 1002), 1);
    end(ref);
}

static void silent(struct vivero_self *self, void *argument)
{
    (void)self;
    gate_pass(argument);
}

static void s3_1_a_query_to_a_silent_one_times_out(void)
{
    struct vivero_ref ref = solo_spawn(NULL, silent, &gate);
    const struct vivero_info *info;
    uint32_t question = 7;
    int64_t began = vivero_now();

    CU_ASSERT_EQUAL(vivero_tell(ref, TAG_VALUE, &question, sizeof(question)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_receive(&info, SHORT), VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_now() - began >= SHORT);
    gate_open(&gate);
    CU_ASSERT(solo_await_end(ref));
}

static void s3_15_a_receive_waits_as_long_as_it_is_told(void)
{
    const struct vivero_info *info;
    int64_t began = vivero_now();

    CU_ASSERT_EQUAL(vivero_receive(&info, SHORT), VIVERO_E_TIMED_OUT);
    CU_ASSERT(vivero_now() - began >= SHORT);
    CU_ASSERT(vivero_now() - began < 100 * SHORT);
    CU_ASSERT_EQUAL(vivero_receive(&info, 0), VIVERO_E_TIMED_OUT);
    (void)vivero_tell(me, 4, NULL, 0);
    CU_ASSERT_EQUAL(vivero_receive(&info, 0), VIVERO_OK);
    CU_ASSERT_EQUAL(info->tag, 4);
}

/* ---- Ends ---------------------------------------------------------------------------- */

static void does_nothing(struct vivero_self *self, void *argument)
{
    (void)self;
    (void)argument;
}

static void s4_1_a_function_that_returns_is_not_alive(void)
{
    CU_ASSERT(solo_await_end(solo_spawn(NULL, does_nothing, NULL)));
}

static void s4_2_one_that_still_runs_is(void)
{
    struct vivero_ref ref = solo_spawn(NULL, silent, &gate);

    CU_ASSERT(gate_await(&gate, 1));
    CU_ASSERT(vivero_is_alive(ref));
    gate_open(&gate);
    CU_ASSERT(solo_await_end(ref));
}

static void the_return_is_a_normal_end(void)
{
    struct vivero_ref ref;
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL_FATAL(
        vivero_spawn_monitor(NULL, does_nothing, NULL, &ref, &monitor),
        VIVERO_OK);

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_NORMAL);
    CU_ASSERT_EQUAL(info.monitor.slot, monitor.slot);
}

static void crashes(struct vivero_self *self, void *argument)
{
    (void)self;
    (void)argument;
    vivero_exit(92, "crashed");
}

static void s4_3_a_crash_of_a_spawned_one_leaves_the_caller_alone(void)
{
    CU_ASSERT(solo_await_end(solo_spawn(NULL, crashes, NULL)));
}

static void s4_3_a_crash_of_a_linked_one_is_told_to_one_that_traps(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(vivero_spawn_link(NULL, crashes, NULL, &ref),
                          VIVERO_OK);

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_EXIT);
    CU_ASSERT(vivero_ref_equal(info.from, ref));
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(info.exit.code, 92);
}

/* Links to one that crashes, and waits: that is its end. */
static void spawns_a_crash(struct vivero_self *self, void *argument)
{
    struct vivero_ref ref;
    const struct vivero_info *info;

    (void)self;
    if (vivero_spawn_link(NULL, crashes, NULL, &ref) != VIVERO_OK) {
        return;
    }
    atomic_store((atomic_int *)argument, /* not reached */
                 vivero_receive(&info, VIVERO_FOREVER) == VIVERO_OK ? 1 : 2);
}

static void s4_3_a_crash_of_a_linked_one_ends_one_that_does_not_trap(void)
{
    atomic_int reached = 0;
    struct vivero_ref ref;
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL_FATAL(
        vivero_spawn_monitor(NULL, spawns_a_crash, &reached, &ref, &monitor),
        VIVERO_OK);
    CU_ASSERT_EQUAL(solo_receive().exit.code, 92);
    CU_ASSERT_EQUAL(atomic_load(&reached), 0);
}

static void s4_10_a_normal_end_of_a_linked_one_does_not_hurt(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(vivero_spawn_link(NULL, counter, NULL, &ref),
                          VIVERO_OK);
    end(ref);
    CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_NORMAL);
    CU_ASSERT(vivero_is_alive(me));
}

static void s4_11_a_killed_one_is_killed_for_its_partner(void)
{
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(
        vivero_spawn_link(VIVERO_SPAWN_OPTIONS(.trap_exits = true), counter,
                          NULL, &ref),
        VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_signal(ref, &kill), VIVERO_OK);

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_EXIT);
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_KILLED);
}

static void s4_12_what_comes_before_a_kill_is_handled_in_order(void)
{
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);
    struct vivero_ref ref = solo_spawn(NULL, counter, NULL);

    (void)vivero_tell(ref, TAG_INCREMENT, NULL, 0);
    CU_ASSERT_EQUAL(value_of(ref, 1003), 1);
    CU_ASSERT_EQUAL(vivero_signal(ref, &kill), VIVERO_OK);
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(vivero_tell(ref, TAG_INCREMENT, NULL, 0), VIVERO_E_GONE);
}

static void a_stop_reaches_one_that_receives(void)
{
    struct vivero_ref ref = solo_spawn(NULL, counter, NULL);

    CU_ASSERT(solo_stop(ref));
    CU_ASSERT_FALSE(vivero_is_alive(ref));
}

static void t_pr_01_normal_to_another_is_ignored(void)
{
    const struct vivero_exit normal =
        vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);
    struct vivero_ref ref = solo_spawn(NULL, counter, NULL);

    CU_ASSERT_EQUAL(vivero_signal(ref, &normal), VIVERO_OK);
    CU_ASSERT_EQUAL(value_of(ref, 1004), 0);
    end(ref);
}

static void ends_itself(struct vivero_self *self, void *argument)
{
    const struct vivero_exit *reason = argument;
    const struct vivero_info *info;

    (void)self;
    (void)vivero_trap_exits(reason->kind != VIVERO_EXIT_NORMAL);
    (void)vivero_signal(vivero_current(), reason);
    if (vivero_receive(&info, VIVERO_FOREVER) == VIVERO_OK &&
        info->kind == VIVERO_INFO_EXIT && info->exit.code == reason->code &&
        vivero_ref_equal(info->from, vivero_current())) {
        vivero_exit(93, "it was a message");
    }
    vivero_exit(94, "it did not end");
}

static struct vivero_exit
end_of_one_that_signals_itself(struct vivero_exit *reason)
{
    struct vivero_ref ref;
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL_FATAL(
        vivero_spawn_monitor(NULL, ends_itself, reason, &ref, &monitor),
        VIVERO_OK);
    return solo_receive().exit;
}

static void t_pr_01_normal_to_itself_ends_one_that_does_not_trap(void)
{
    struct vivero_exit normal = vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);

    CU_ASSERT_EQUAL(end_of_one_that_signals_itself(&normal).kind,
                    VIVERO_EXIT_NORMAL);
}

static void t_pr_01_any_other_to_itself_is_told_to_one_that_traps(void)
{
    struct vivero_exit why = vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 7, NULL);

    CU_ASSERT_EQUAL(end_of_one_that_signals_itself(&why).code, 93);
}

static void spawn_monitor_cannot_miss_the_end(void)
{
    for (int i = 0; i < 200; i++) {
        struct vivero_ref ref;
        struct vivero_monitor monitor;

        CU_ASSERT_EQUAL_FATAL(
            vivero_spawn_monitor(NULL, crashes, NULL, &ref, &monitor),
            VIVERO_OK);
        CU_ASSERT_EQUAL(solo_receive().exit.code, 92);
    }
}

static void a_taken_name_answers_exists_and_its_holder(void)
{
    const struct vivero_spawn_options *options =
        VIVERO_SPAWN_OPTIONS(.name = "spawned one");
    struct vivero_ref first = solo_spawn(options, counter, NULL);
    struct vivero_ref second = {0, 0};

    CU_ASSERT_EQUAL(vivero_spawn(options, counter, NULL, &second),
                    VIVERO_E_EXISTS);
    CU_ASSERT(vivero_ref_equal(first, second));
    CU_ASSERT_EQUAL(vivero_spawn_link(options, counter, NULL, &second),
                    VIVERO_E_EXISTS);
    end(first);
    first = solo_spawn(options, counter, NULL);
    end(first);
}

static void all_zero_options_are_the_defaults(void)
{
    struct vivero_spawn_options options;
    struct vivero_ref ref;

    vivero_spawn_options_init(&options);
    CU_ASSERT_EQUAL(options.size, sizeof(options));
    ref = solo_spawn(&options, counter, NULL);
    CU_ASSERT_STRING_EQUAL(solo_look(ref).label, "spawned");
    CU_ASSERT_EQUAL(vivero_kill(ref), VIVERO_OK);
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(vivero_kill(ref), VIVERO_E_GONE);
    options.size = 0;
    CU_ASSERT_EQUAL(vivero_spawn(&options, counter, NULL, &ref),
                    VIVERO_E_INVALID);
}

static void leaves_its_thread(struct vivero_self *self, void *argument)
{
    (void)self;
    (void)argument;
    pthread_exit(NULL);
}

static void one_that_leaves_its_thread_has_ended(void)
{
    struct vivero_ref ref;
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL_FATAL(
        vivero_spawn_monitor(NULL, leaves_its_thread, NULL, &ref, &monitor),
        VIVERO_OK);
    CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_THREAD_LEFT);
}

SUITE_MAIN("worker_spawn", set_up, tear_down,
           TEST(s3_1_a_counter_made_by_hand_counts),
           TEST(s3_1_a_query_to_a_silent_one_times_out),
           TEST(s3_15_a_receive_waits_as_long_as_it_is_told),
           TEST(s4_1_a_function_that_returns_is_not_alive),
           TEST(s4_2_one_that_still_runs_is), TEST(the_return_is_a_normal_end),
           TEST(s4_3_a_crash_of_a_spawned_one_leaves_the_caller_alone),
           TEST(s4_3_a_crash_of_a_linked_one_is_told_to_one_that_traps),
           TEST(s4_3_a_crash_of_a_linked_one_ends_one_that_does_not_trap),
           TEST(s4_10_a_normal_end_of_a_linked_one_does_not_hurt),
           TEST(s4_11_a_killed_one_is_killed_for_its_partner),
           TEST(s4_12_what_comes_before_a_kill_is_handled_in_order),
           TEST(a_stop_reaches_one_that_receives),
           TEST(t_pr_01_normal_to_another_is_ignored),
           TEST(t_pr_01_normal_to_itself_ends_one_that_does_not_trap),
           TEST(t_pr_01_any_other_to_itself_is_told_to_one_that_traps),
           TEST(spawn_monitor_cannot_miss_the_end),
           TEST(a_taken_name_answers_exists_and_its_holder),
           TEST(all_zero_options_are_the_defaults),
           TEST(one_that_leaves_its_thread_has_ended))
