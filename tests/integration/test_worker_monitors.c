/* SPDX-License-Identifier: MIT */
/* Monitors: who is told of whose end, when, how often. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;
static struct vivero_ref worker;

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    CU_ASSERT(solo_attach());
    worker = solo_start(SOLO_OPTIONS(.ctx = &witness));
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(solo_end(worker));
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

static struct vivero_monitor watch(struct vivero_ref ref)
{
    struct vivero_monitor monitor = {0, 0};

    CU_ASSERT_EQUAL(vivero_monitor(ref, &monitor), VIVERO_OK);
    return monitor;
}

static bool same(struct vivero_monitor a, struct vivero_monitor b)
{
    return a.slot == b.slot && a.generation == b.generation;
}

static void t_pr_03_the_end_is_told_once_with_its_reason(void)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 9, "over");
    struct vivero_monitor monitor = watch(worker);

    CU_ASSERT_EQUAL(vivero_worker_stop(worker, &why, CREW_PATIENCE), VIVERO_OK);

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
    CU_ASSERT(same(info.monitor, monitor));
    CU_ASSERT(vivero_ref_equal(info.from, worker));
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_SHUTDOWN_WITH);
    CU_ASSERT_EQUAL(info.exit.code, 9);
    CU_ASSERT_STRING_EQUAL(info.exit.text, "over");
    CU_ASSERT(solo_hears_nothing());
}

static void s3_14_a_monitor_of_a_dead_one_is_told_nobody_at_once(void)
{
    struct vivero_monitor monitor;
    struct vivero_info info;

    CU_ASSERT(solo_stop(worker));
    monitor = watch(worker);
    info = solo_receive();
    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_NOBODY);
    CU_ASSERT(same(info.monitor, monitor));
    CU_ASSERT(vivero_ref_equal(info.from, worker));
    CU_ASSERT(solo_hears_nothing());
}

static void t_pr_03_nobody_at_all_can_be_monitored(void)
{
    struct vivero_ref nobody = {0, 0};
    struct vivero_ref wild = {UINT32_MAX, 3};

    (void)watch(nobody);
    CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_NOBODY);
    (void)watch(wild);
    CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_NOBODY);
}

static void t_pr_03_several_monitors_are_told_each(void)
{
    struct vivero_monitor first = watch(worker);
    struct vivero_monitor second = watch(worker);
    struct vivero_monitor third = watch(worker);
    bool told[3] = {false, false, false};

    CU_ASSERT_FALSE(same(first, second));
    CU_ASSERT_EQUAL(solo_look(worker).monitors, 3);
    CU_ASSERT_EQUAL(vivero_demonitor(second, false), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_look(worker).monitors, 2);
    CU_ASSERT(solo_stop(worker));
    for (int i = 0; i < 2; i++) {
        struct vivero_info info = solo_receive();

        told[0] = told[0] || same(info.monitor, first);
        told[1] = told[1] || same(info.monitor, second);
        told[2] = told[2] || same(info.monitor, third);
    }
    CU_ASSERT(told[0]);
    CU_ASSERT_FALSE(told[1]);
    CU_ASSERT(told[2]);
}

static void t_pr_03_after_demonitor_nothing_is_told(void)
{
    struct vivero_monitor monitor = watch(worker);

    CU_ASSERT_EQUAL(vivero_demonitor(monitor, false), VIVERO_OK);
    CU_ASSERT(solo_stop(worker));
    CU_ASSERT(solo_hears_nothing());
    CU_ASSERT_EQUAL(vivero_demonitor(monitor, false), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_demonitor(monitor, true), VIVERO_E_GONE);
}

static void t_pr_03_without_flush_what_is_there_stays(void)
{
    struct vivero_monitor monitor = watch(worker);

    CU_ASSERT(solo_stop(worker));
    CU_ASSERT_EQUAL(vivero_demonitor(monitor, false), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_DOWN);
}

static void t_pr_03_flush_takes_out_what_is_there(void)
{
    struct vivero_monitor monitor = watch(worker);

    CU_ASSERT(solo_stop(worker));
    /* Whether it had fired or not, it is silent now. */
    (void)vivero_demonitor(monitor, true);
    CU_ASSERT(solo_hears_nothing());
}

static void flush_leaves_what_others_were_told(void)
{
    struct vivero_monitor first = watch(worker);
    struct vivero_monitor second = watch(worker);

    CU_ASSERT_EQUAL(vivero_tell(vivero_current(), 5, NULL, 0), VIVERO_OK);
    CU_ASSERT(solo_stop(worker));
    (void)vivero_demonitor(first, true);
    CU_ASSERT_EQUAL(solo_receive().tag, 5);

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
    CU_ASSERT(same(info.monitor, second));
}

static int demonitors(struct vivero_self *self, void *arg)
{
    (void)self;
    return vivero_demonitor(*(struct vivero_monitor *)arg, true);
}

static void only_its_owner_takes_a_monitor_back(void)
{
    struct vivero_monitor monitor = watch(worker);
    struct vivero_ref other = solo_start(NULL);

    CU_ASSERT_EQUAL(solo_ask(other, demonitors, &monitor), VIVERO_E_GONE);
    CU_ASSERT(solo_stop(worker));
    CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_DOWN);
    CU_ASSERT(solo_stop(other));
}

static void demonitor_of_what_never_was_is_gone(void)
{
    const struct vivero_monitor none = {0, 0};
    const struct vivero_monitor wild = {UINT32_MAX, 7};

    CU_ASSERT_EQUAL(vivero_demonitor(none, true), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_demonitor(wild, false), VIVERO_E_GONE);
}

static int monitors(struct vivero_self *self, void *arg)
{
    struct vivero_monitor monitor;

    (void)self;
    return vivero_monitor(*(struct vivero_ref *)arg, &monitor);
}

static void the_end_of_the_watcher_takes_its_monitors_along(void)
{
    struct vivero_ref watcher = solo_start(NULL);

    CU_ASSERT_EQUAL(solo_ask(watcher, monitors, &worker), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_look(watcher).monitored, 1);
    CU_ASSERT_EQUAL(solo_look(worker).monitors, 1);
    CU_ASSERT(solo_stop(watcher));
    CU_ASSERT_EQUAL(solo_look(worker).monitors, 0);
}

static void a_worker_is_told_by_its_on_info(void)
{
    struct vivero_ref target = solo_start(NULL);
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

    CU_ASSERT_EQUAL(solo_ask(worker, monitors, &target), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_signal(target, &kill), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));

    struct sight sight = witness_sight(&witness, SAW_INFO, 0);

    CU_ASSERT_EQUAL(sight.info, VIVERO_INFO_DOWN);
    CU_ASSERT_EQUAL(sight.exit.kind, VIVERO_EXIT_KILLED);
    CU_ASSERT(vivero_ref_equal(sight.from, target));
}

/* A worker may watch itself; nobody is left to be told. */
static void a_monitor_of_itself_is_harmless(void)
{
    struct vivero_ref self = worker;

    CU_ASSERT_EQUAL(solo_ask(worker, monitors, &self), VIVERO_OK);
    CU_ASSERT(solo_stop(worker));
}

struct speech {
    struct vivero_ref to;
    uint32_t count;
};

static int speaks_and_fails(struct vivero_self *self, void *arg)
{
    struct speech *speech = arg;

    for (uint32_t i = 0; i < speech->count; i++) {
        (void)vivero_tell(speech->to, i, NULL, 0);
    }
    return vivero_fail(self, 1, "said it all");
}

static void all_that_was_sent_comes_before_the_down(void)
{
    struct speech speech = {vivero_current(), 100};

    for (int round = 0; round < 50; round++) {
        struct vivero_ref speaker = solo_start(NULL);
        bool in_order = true;

        (void)watch(speaker);
        CU_ASSERT_EQUAL(solo_order(speaker, speaks_and_fails, &speech), 0);
        for (uint32_t i = 0; i < speech.count; i++) {
            struct vivero_info info = solo_receive();

            in_order = in_order && info.kind == VIVERO_INFO_MESSAGE &&
                       info.tag == i && vivero_ref_equal(info.from, speaker);
        }
        CU_ASSERT(in_order);
        CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_DOWN);
    }
}

/* The successor under the same name is not heard before the end is. */
static void the_down_comes_before_anything_of_the_successor(void)
{
    struct speech speech = {vivero_current(), 1};

    for (int round = 0; round < 50; round++) {
        struct vivero_ref speaker =
            solo_start(VIVERO_WORKER_OPTIONS(.name = "speaker"));
        struct vivero_ref successor = speaker;
        const struct vivero_exit kill =
            vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

        (void)watch(speaker);
        CU_ASSERT_EQUAL(vivero_signal(speaker, &kill), VIVERO_OK);
        while (vivero_worker_start(VIVERO_WORKER_OPTIONS(.name = "speaker"),
                                   &successor) == VIVERO_E_EXISTS) {
        }
        CU_ASSERT_EQUAL(solo_order(successor, speaks_and_fails, &speech), 0);
        CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_DOWN);
        CU_ASSERT(vivero_ref_equal(solo_receive().from, successor));
        CU_ASSERT(solo_await_end(successor));
    }
}

/* Watched and ended at the same time: told once, with a reason or with none. */
static void a_monitor_set_while_it_ends_is_told_exactly_once(void)
{
    for (int i = 0; i < 300; i++) {
        struct vivero_ref target = solo_start(NULL);
        struct fail_in fail = {5, ""};

        CU_ASSERT_EQUAL(vivero_worker_cast(target, &crew_fail, &fail, NULL), 0);
        (void)watch(target);

        struct vivero_info info = solo_receive();

        CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
        CU_ASSERT(info.exit.kind == VIVERO_EXIT_NOBODY || info.exit.code == 5);
    }
    CU_ASSERT(solo_hears_nothing());
}

SUITE_MAIN("worker_monitors", set_up, tear_down,
           TEST(t_pr_03_the_end_is_told_once_with_its_reason),
           TEST(s3_14_a_monitor_of_a_dead_one_is_told_nobody_at_once),
           TEST(t_pr_03_nobody_at_all_can_be_monitored),
           TEST(t_pr_03_several_monitors_are_told_each),
           TEST(t_pr_03_after_demonitor_nothing_is_told),
           TEST(t_pr_03_without_flush_what_is_there_stays),
           TEST(t_pr_03_flush_takes_out_what_is_there),
           TEST(flush_leaves_what_others_were_told),
           TEST(only_its_owner_takes_a_monitor_back),
           TEST(demonitor_of_what_never_was_is_gone),
           TEST(the_end_of_the_watcher_takes_its_monitors_along),
           TEST(a_worker_is_told_by_its_on_info),
           TEST(a_monitor_of_itself_is_harmless),
           TEST(all_that_was_sent_comes_before_the_down),
           TEST(the_down_comes_before_anything_of_the_successor),
           TEST(a_monitor_set_while_it_ends_is_told_exactly_once))
