/* SPDX-License-Identifier: MIT */
/* Links and exit signals between workers on their own, spawned functions and
 * attached threads. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;

/* A worker that is linked to the next one, which is linked to the test. */
static struct vivero_ref first;
static struct vivero_ref second;

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    CU_ASSERT(solo_attach());
    first = solo_start(SOLO_OPTIONS(.ctx = &witness));
    second = solo_start(SOLO_OPTIONS(.ctx = &witness));
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(solo_end(first));
    CU_ASSERT(solo_end(second));
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

/* ---- What workers are asked to do --------------------------------------------------- */

static int links(struct vivero_self *self, void *other)
{
    (void)self;
    return vivero_link(*(struct vivero_ref *)other);
}

static int unlinks(struct vivero_self *self, void *other)
{
    (void)self;
    return vivero_unlink(*(struct vivero_ref *)other, false);
}

static int traps(struct vivero_self *self, void *arg)
{
    (void)self;
    (void)vivero_trap_exits(*(bool *)arg);
    return VIVERO_OK;
}

static void have_trap(struct vivero_ref ref)
{
    bool yes = true;

    CU_ASSERT_EQUAL(solo_ask(ref, traps, &yes), VIVERO_OK);
}

static void tie(struct vivero_ref one, struct vivero_ref *other)
{
    CU_ASSERT_EQUAL(solo_ask(one, links, other), VIVERO_OK);
}

static int fail_of(struct vivero_ref ref, int code)
{
    struct fail_in fail = {code, "failed"};

    return vivero_worker_cast(ref, &crew_fail, &fail, NULL);
}

static bool answers(struct vivero_ref ref)
{
    return vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL) ==
           VIVERO_OK;
}

/* ---- Links --------------------------------------------------------------------------- */

static void t_pr_02_the_end_of_one_ends_the_other_with_the_same_reason(void)
{
    struct vivero_monitor monitor;

    tie(first, &second);
    CU_ASSERT_EQUAL(vivero_monitor(second, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(fail_of(first, 31), 0);
    CU_ASSERT(solo_await_end(second));

    struct vivero_info down = solo_receive();

    CU_ASSERT_EQUAL(down.exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(down.exit.code, 31);
    CU_ASSERT_STRING_EQUAL(down.exit.text, "failed");
}

static void t_pr_02_a_link_works_in_both_directions(void)
{
    tie(first, &second);
    CU_ASSERT_EQUAL(fail_of(second, 32), 0);
    CU_ASSERT(solo_await_end(first));
}

/* And whoever dies of it passes it on. */
static void t_pr_02_a_chain_falls_as_a_whole(void)
{
    struct vivero_ref third = solo_start(SOLO_OPTIONS(.ctx = &witness));
    struct vivero_monitor monitor;

    tie(first, &second);
    tie(second, &third);
    CU_ASSERT_EQUAL(vivero_monitor(third, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(fail_of(first, 33), 0);
    CU_ASSERT_EQUAL(solo_receive().exit.code, 33);
    CU_ASSERT(solo_await_end(second));
}

static void t_pr_02_a_normal_end_does_not_hurt(void)
{
    tie(first, &second);
    CU_ASSERT(solo_stop(first));
    CU_ASSERT(answers(second));
    CU_ASSERT_EQUAL(solo_look(second).links, 0);
}

static void t_pr_02_shutdown_does(void)
{
    const struct vivero_exit shutdown =
        vivero_reason(VIVERO_EXIT_SHUTDOWN, 0, NULL);

    tie(first, &second);
    CU_ASSERT_EQUAL(vivero_worker_stop(first, &shutdown, CREW_PATIENCE),
                    VIVERO_OK);
    CU_ASSERT(solo_await_end(second));
}

static void t_pr_02_one_that_traps_is_told_every_reason(void)
{
    const struct vivero_exit reasons[] = {
        vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL),
        vivero_reason(VIVERO_EXIT_SHUTDOWN, 0, NULL),
        vivero_reason(VIVERO_EXIT_FAILED, 34, "why")};

    have_trap(second);
    for (uint32_t i = 0; i < 3; i++) {
        struct vivero_ref partner = solo_start(NULL);

        tie(second, &partner);
        CU_ASSERT_EQUAL(vivero_worker_stop(partner, &reasons[i], CREW_PATIENCE),
                        VIVERO_OK);
        CU_ASSERT(witness_await(&witness, SAW_INFO, i + 1));

        struct sight sight = witness_sight(&witness, SAW_INFO, i);

        CU_ASSERT_EQUAL(sight.info, VIVERO_INFO_EXIT);
        CU_ASSERT_EQUAL(sight.exit.kind, reasons[i].kind);
        CU_ASSERT_EQUAL(sight.exit.code, reasons[i].code);
        CU_ASSERT(vivero_ref_equal(sight.from, partner));
    }
    CU_ASSERT(answers(second));
}

static void t_pr_02_kill_is_killed_for_the_partner(void)
{
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

    have_trap(first);
    have_trap(second);
    tie(first, &second);
    CU_ASSERT_EQUAL(vivero_signal(first, &kill), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_INFO, 0).exit.kind,
                    VIVERO_EXIT_KILLED);
    CU_ASSERT_FALSE(vivero_is_alive(first));
    CU_ASSERT(answers(second));
}

static void a_link_is_idempotent_and_one_unlink_removes_it(void)
{
    tie(first, &second);
    tie(first, &second);
    tie(second, &first);
    CU_ASSERT_EQUAL(solo_look(first).links, 1);
    CU_ASSERT_EQUAL(solo_look(second).links, 1);
    CU_ASSERT_EQUAL(solo_ask(second, unlinks, &first), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_look(first).links, 0);
    CU_ASSERT_EQUAL(fail_of(first, 35), 0);
    CU_ASSERT(solo_await_end(first));
    CU_ASSERT(answers(second));
}

static void an_unlink_without_a_link_is_nothing(void)
{
    struct vivero_ref nobody = {0, 0};

    CU_ASSERT_EQUAL(vivero_unlink(first, false), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_unlink(nobody, true), VIVERO_OK);
}

static void a_link_to_itself_is_nothing(void)
{
    struct vivero_ref self = first;

    tie(first, &self);
    CU_ASSERT_EQUAL(solo_look(first).links, 0);
    CU_ASSERT(answers(first));
}

static void linking_to_a_dead_one_is_told_nobody(void)
{
    struct vivero_ref dead = solo_start(NULL);

    CU_ASSERT(solo_stop(dead));
    CU_ASSERT_EQUAL(vivero_link(dead), VIVERO_OK); /* this thread traps */

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_EXIT);
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_NOBODY);
    CU_ASSERT(vivero_ref_equal(info.from, dead));
}

static void linking_to_a_dead_one_ends_one_that_does_not_trap(void)
{
    struct vivero_ref dead = solo_start(NULL);
    struct vivero_monitor monitor;

    CU_ASSERT(solo_stop(dead));
    CU_ASSERT_EQUAL(vivero_monitor(first, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_ask(first, links, &dead), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_NOBODY);
}

static void what_is_in_the_mailbox_stays_without_flush(void)
{
    struct vivero_ref partner = solo_start(NULL);

    CU_ASSERT_EQUAL(vivero_link(partner), VIVERO_OK);
    CU_ASSERT(solo_stop(partner));
    CU_ASSERT_EQUAL(vivero_unlink(partner, false), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_EXIT);
}

static void flush_takes_it_out(void)
{
    struct vivero_ref partner = solo_start(NULL);

    CU_ASSERT_EQUAL(vivero_link(partner), VIVERO_OK);
    CU_ASSERT(solo_stop(partner));
    CU_ASSERT_EQUAL(vivero_unlink(partner, true), VIVERO_OK);
    CU_ASSERT(solo_hears_nothing());
}

static void after_an_unlink_no_end_is_told(void)
{
    for (int i = 0; i < 100; i++) {
        struct vivero_ref partner = solo_start(NULL);

        CU_ASSERT_EQUAL(vivero_link(partner), VIVERO_OK);
        CU_ASSERT_EQUAL(fail_of(partner, 1), 0);
        CU_ASSERT_EQUAL(vivero_unlink(partner, true), VIVERO_OK);
        CU_ASSERT(solo_await_end(partner));
    }
    CU_ASSERT(solo_hears_nothing());
}

/* ---- Signals ---------------------------------------------------------------------------- */

static void a_signal_reaches_a_trapping_one_with_its_sender(void)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 41, "please");

    have_trap(first);
    CU_ASSERT_EQUAL(vivero_signal(first, &why), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));

    struct sight sight = witness_sight(&witness, SAW_INFO, 0);

    CU_ASSERT_EQUAL(sight.info, VIVERO_INFO_EXIT);
    CU_ASSERT(vivero_ref_equal(sight.from, vivero_current()));
    CU_ASSERT_EQUAL(sight.exit.code, 41);
    CU_ASSERT_STRING_EQUAL(sight.exit.text, "please");
    CU_ASSERT(answers(first));
}

static void a_signal_ends_another_before_its_next_message(void)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 42, NULL);
    int value = 0;
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vivero_monitor(first, &monitor), VIVERO_OK);
    CU_ASSERT(solo_hold(first, &gate));
    CU_ASSERT_EQUAL(vivero_worker_cast(first, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL(vivero_signal(first, &why), VIVERO_OK);
    gate_open(&gate);
    CU_ASSERT_EQUAL(solo_receive().exit.code, 42);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 0);
}

static void a_normal_signal_is_no_message_and_no_end(void)
{
    const struct vivero_exit normal =
        vivero_reason(VIVERO_EXIT_NORMAL, 0, NULL);

    CU_ASSERT_EQUAL(vivero_signal(first, &normal), VIVERO_OK);
    CU_ASSERT(answers(first));
}

static void a_signal_without_a_kind_is_invalid(void)
{
    const struct vivero_exit none = {.kind = VIVERO_EXIT_NONE};
    const struct vivero_exit why = vivero_reason(VIVERO_EXIT_FAILED, 1, NULL);
    struct vivero_ref nobody = {0, 0};

    CU_ASSERT_EQUAL(vivero_signal(first, &none), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_signal(nobody, &why), VIVERO_E_GONE);
}

/* The first one that ends it decides; only a kill sets it aside. */
static void kill_overtakes_a_signal_that_has_not_been_obeyed(void)
{
    const struct vivero_exit why = vivero_reason(VIVERO_EXIT_FAILED, 43, NULL);
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vivero_monitor(first, &monitor), VIVERO_OK);
    CU_ASSERT(solo_hold(first, &gate));
    CU_ASSERT_EQUAL(vivero_signal(first, &why), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_signal(first, &kill), VIVERO_OK);
    gate_open(&gate);
    CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_KILLED);
}

static void trapping_says_what_it_was_before(void)
{
    CU_ASSERT_TRUE(vivero_trap_exits(false));
    CU_ASSERT_FALSE(vivero_trap_exits(true));
    CU_ASSERT_TRUE(vivero_trap_exits(true));
    CU_ASSERT_FALSE(solo_look(first).traps_exits);
    have_trap(first);
    CU_ASSERT_TRUE(solo_look(first).traps_exits);
}

/* ---- The name is free before anybody is told ------------------------------------------------ */

static void the_name_is_free_when_the_end_is_told(void)
{
    for (int i = 0; i < 100; i++) {
        struct vivero_ref ref =
            solo_start_link(VIVERO_WORKER_OPTIONS(.name = "brief"));

        CU_ASSERT_EQUAL(fail_of(ref, 1), 0);
        CU_ASSERT_EQUAL(solo_receive().kind, VIVERO_INFO_EXIT);
        CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("brief")));
        CU_ASSERT_FALSE(vivero_is_alive(ref));
    }
}

SUITE_MAIN("worker_links", set_up, tear_down,
           TEST(t_pr_02_the_end_of_one_ends_the_other_with_the_same_reason),
           TEST(t_pr_02_a_link_works_in_both_directions),
           TEST(t_pr_02_a_chain_falls_as_a_whole),
           TEST(t_pr_02_a_normal_end_does_not_hurt),
           TEST(t_pr_02_shutdown_does),
           TEST(t_pr_02_one_that_traps_is_told_every_reason),
           TEST(t_pr_02_kill_is_killed_for_the_partner),
           TEST(a_link_is_idempotent_and_one_unlink_removes_it),
           TEST(an_unlink_without_a_link_is_nothing),
           TEST(a_link_to_itself_is_nothing),
           TEST(linking_to_a_dead_one_is_told_nobody),
           TEST(linking_to_a_dead_one_ends_one_that_does_not_trap),
           TEST(what_is_in_the_mailbox_stays_without_flush),
           TEST(flush_takes_it_out), TEST(after_an_unlink_no_end_is_told),
           TEST(a_signal_reaches_a_trapping_one_with_its_sender),
           TEST(a_signal_ends_another_before_its_next_message),
           TEST(a_normal_signal_is_no_message_and_no_end),
           TEST(a_signal_without_a_kind_is_invalid),
           TEST(kill_overtakes_a_signal_that_has_not_been_obeyed),
           TEST(trapping_says_what_it_was_before),
           TEST(the_name_is_free_when_the_end_is_told))
