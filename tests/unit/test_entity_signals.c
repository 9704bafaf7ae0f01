/* SPDX-License-Identifier: MIT */
/* Exit signals: the whole table of entity/signal.c, and what happens when two of
 * them meet. */
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#define TRAPS VV_ENTITY_TRAPS
#define OBEYS VV_ENTITY_OBEYS

static struct vv_entity *parent;
static struct vv_entity *stranger;

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
    parent = subject_new(0, 1, NULL);
    stranger = subject_new(0, 1, NULL);
    CU_ASSERT_FATAL(parent != NULL && stranger != NULL);
}

static void tear_down(void)
{
    CU_ASSERT(subject_end(parent, VIVERO_EXIT_NORMAL));
    CU_ASSERT(subject_end(stranger, VIVERO_EXIT_NORMAL));
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static int send(struct vv_entity *to, struct vivero_ref from,
                enum vivero_exit_kind kind, int code)
{
    struct vv_envelope *note = vv_envelope_new(VV_ENVELOPE_EXIT);

    note->from = from;
    note->exit = vivero_reason(kind, code, "because");
    return vv_entity_signal(to->ref, note);
}

/* ---- The table ------------------------------------------------------------------------ */

enum sender { ITSELF, PARENT, STRANGER, NOBODY };

static struct vivero_ref ref_of(enum sender sender, struct vivero_ref self)
{
    switch (sender) {
    case ITSELF:
        return self;
    case PARENT:
        return parent->ref;
    case STRANGER:
        return stranger->ref;
    case NOBODY:
        break;
    }
    return (struct vivero_ref){0, 0};
}

/* What a fresh subject with these flags finds when this has been sent. */
static struct taken after(uint32_t flags, enum sender sender,
                          enum vivero_exit_kind kind)
{
    struct vv_entity *subject = subject_new_below(flags, parent->ref);
    struct vivero_ref from = ref_of(sender, subject->ref);
    struct taken taken;

    CU_ASSERT_EQUAL(send(subject, from, kind, 13), VIVERO_OK);
    taken = subject_take(subject);
    CU_ASSERT_EQUAL(subject_take(subject).what, NOTHING);
    if (taken.what != NOTHING) {
        CU_ASSERT(vivero_ref_equal(taken.from, from));
        CU_ASSERT_EQUAL(taken.exit.code, 13);
        CU_ASSERT_STRING_EQUAL(taken.exit.text, "because");
    }
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
    return taken;
}

static const uint32_t all_flags[] = {0, TRAPS, OBEYS, TRAPS | OBEYS};

static void normal_from_itself_ends_it(void)
{
    for (uint32_t i = 0; i < 4; i++) {
        struct taken taken = after(all_flags[i], ITSELF, VIVERO_EXIT_NORMAL);

        CU_ASSERT_EQUAL(taken.what, VERDICT);
        CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_NORMAL);
    }
}

static void normal_from_its_parent_ends_one_that_obeys_if_it_traps(void)
{
    CU_ASSERT_EQUAL(after(OBEYS | TRAPS, PARENT, VIVERO_EXIT_NORMAL).what,
                    VERDICT);
    CU_ASSERT_EQUAL(after(OBEYS, PARENT, VIVERO_EXIT_NORMAL).what, NOTHING);
    CU_ASSERT_EQUAL(after(TRAPS, PARENT, VIVERO_EXIT_NORMAL).what, EXIT);
    CU_ASSERT_EQUAL(after(0, PARENT, VIVERO_EXIT_NORMAL).what, NOTHING);
}

static void normal_from_others_is_a_message_or_nothing(void)
{
    for (enum sender sender = STRANGER; sender <= NOBODY; sender++) {
        for (uint32_t i = 0; i < 4; i++) {
            struct taken taken =
                after(all_flags[i], sender, VIVERO_EXIT_NORMAL);

            CU_ASSERT_EQUAL(taken.what,
                            (all_flags[i] & TRAPS) != 0 ? EXIT : NOTHING);
        }
    }
}

static void kill_ends_everybody_and_is_seen_as_killed(void)
{
    for (enum sender sender = ITSELF; sender <= NOBODY; sender++) {
        for (uint32_t i = 0; i < 4; i++) {
            struct taken taken = after(all_flags[i], sender, VIVERO_EXIT_KILL);

            CU_ASSERT_EQUAL(taken.what, VERDICT);
            CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_KILLED);
        }
    }
}

static void killed_is_like_any_other_reason(void)
{
    CU_ASSERT_EQUAL(after(TRAPS, STRANGER, VIVERO_EXIT_KILLED).what, EXIT);
    CU_ASSERT_EQUAL(after(0, STRANGER, VIVERO_EXIT_KILLED).what, VERDICT);
}

static const enum vivero_exit_kind any_other[] = {
    VIVERO_EXIT_SHUTDOWN, VIVERO_EXIT_SHUTDOWN_WITH, VIVERO_EXIT_FAILED,
    VIVERO_EXIT_NOBODY,   VIVERO_EXIT_KILLED,        VIVERO_EXIT_RESTART_LIMIT};

#define ANY_OTHER_COUNT (sizeof(any_other) / sizeof(any_other[0]))

static void any_other_from_its_parent_ends_one_that_obeys(void)
{
    for (uint32_t i = 0; i < ANY_OTHER_COUNT; i++) {
        CU_ASSERT_EQUAL(after(OBEYS, PARENT, any_other[i]).what, VERDICT);
        CU_ASSERT_EQUAL(after(OBEYS | TRAPS, PARENT, any_other[i]).what,
                        VERDICT);
        CU_ASSERT_EQUAL(after(TRAPS, PARENT, any_other[i]).what, EXIT);
        CU_ASSERT_EQUAL(after(0, PARENT, any_other[i]).what, VERDICT);
    }
}

static void any_other_is_a_message_to_one_that_traps_and_ends_the_rest(void)
{
    for (uint32_t i = 0; i < ANY_OTHER_COUNT; i++) {
        for (enum sender sender = ITSELF; sender <= NOBODY; sender++) {
            struct taken told;

            if (sender == PARENT) {
                continue;
            }
            told = after(TRAPS | OBEYS, sender, any_other[i]);
            CU_ASSERT_EQUAL(told.what, EXIT);
            CU_ASSERT_EQUAL(told.exit.kind, any_other[i]);
            told = after(OBEYS, sender, any_other[i]);
            CU_ASSERT_EQUAL(told.what, VERDICT);
            CU_ASSERT_EQUAL(told.exit.kind, any_other[i]);
        }
    }
}

static void nobody_is_no_parent_of_one_without(void)
{
    struct vv_entity *orphan = subject_new(OBEYS | TRAPS, 1, NULL);

    CU_ASSERT_EQUAL(
        send(orphan, (struct vivero_ref){0, 0}, VIVERO_EXIT_SHUTDOWN, 0),
        VIVERO_OK);

    CU_ASSERT_EQUAL(subject_take(orphan).what, EXIT);
    CU_ASSERT(subject_end(orphan, VIVERO_EXIT_NORMAL));
}

/* ---- When signals meet --------------------------------------------------------------------- */

static void the_first_verdict_wins(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);
    struct taken taken;

    CU_ASSERT_EQUAL(send(subject, parent->ref, VIVERO_EXIT_FAILED, 1),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(send(subject, stranger->ref, VIVERO_EXIT_SHUTDOWN, 2),
                    VIVERO_OK);
    taken = subject_take(subject);

    CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(taken.exit.code, 1);
    CU_ASSERT_EQUAL(subject_take(subject).what, NOTHING);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
}

static void a_kill_sets_aside_what_came_before_and_stays(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);
    struct taken taken;

    CU_ASSERT_EQUAL(send(subject, parent->ref, VIVERO_EXIT_FAILED, 1),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(send(subject, stranger->ref, VIVERO_EXIT_KILL, 2),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(send(subject, parent->ref, VIVERO_EXIT_SHUTDOWN, 3),
                    VIVERO_OK);
    taken = subject_take(subject);

    CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_KILLED);
    CU_ASSERT_EQUAL(taken.exit.code, 2);
    CU_ASSERT_EQUAL(subject_take(subject).what, NOTHING);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
}

static void a_kill_sets_aside_what_a_link_said(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);
    struct vv_entity *friend = subject_new(0, 1, NULL);

    CU_ASSERT_EQUAL(vv_entity_link(subject, friend->ref), VIVERO_OK);
    CU_ASSERT(subject_end(friend, VIVERO_EXIT_FAILED));
    CU_ASSERT_EQUAL(send(subject, parent->ref, VIVERO_EXIT_KILL, 2), VIVERO_OK);

    CU_ASSERT_EQUAL(subject_take_exit(subject), VIVERO_EXIT_KILLED);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
}

static void an_end_by_kill_is_no_kill_to_those_linked(void)
{
    struct vv_entity *traps = subject_new(TRAPS, 1, NULL);
    struct vv_entity *dying = subject_new(0, 1, NULL);
    struct vv_entity *friend = subject_new(0, 1, NULL);

    CU_ASSERT_EQUAL(vv_entity_link(traps, friend->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(dying, friend->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(send(dying, parent->ref, VIVERO_EXIT_FAILED, 1), VIVERO_OK);
    CU_ASSERT(subject_end(friend, VIVERO_EXIT_KILL));

    CU_ASSERT_EQUAL(subject_take_exit(traps), VIVERO_EXIT_KILLED);
    CU_ASSERT_EQUAL(subject_take_exit(dying), VIVERO_EXIT_FAILED);
    CU_ASSERT(subject_end(traps, VIVERO_EXIT_NORMAL));
    CU_ASSERT(subject_end(dying, VIVERO_EXIT_NORMAL));
}

static void a_verdict_comes_before_messages(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);

    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_OK);
    CU_ASSERT_EQUAL(send(subject, parent->ref, VIVERO_EXIT_FAILED, 1),
                    VIVERO_OK);

    CU_ASSERT_EQUAL(subject_take(subject).what, VERDICT);
    CU_ASSERT_EQUAL(subject_take_number(subject), 5);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
}

static void a_trapped_exit_needs_no_room_and_keeps_its_place(void)
{
    struct vv_entity *subject = subject_new(TRAPS, 2, NULL);

    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_OK);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(send(subject, parent->ref, VIVERO_EXIT_FAILED, i),
                        VIVERO_OK);
    }
    CU_ASSERT_EQUAL(subject_put(subject, 6), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 7), VIVERO_E_FULL);

    CU_ASSERT_EQUAL(subject_take_number(subject), 5);
    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(subject_take(subject).exit.code, i);
    }
    CU_ASSERT_EQUAL(subject_take_number(subject), 6);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
}

/* ---- For users --------------------------------------------------------------------------- */

static void gone_when_it_has_ended(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);
    struct vivero_ref ref = subject->ref;
    struct vivero_exit reason = vivero_reason(VIVERO_EXIT_FAILED, 0, NULL);

    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
    CU_ASSERT_EQUAL(vivero_signal(ref, &reason), VIVERO_E_GONE);
}

static void gone_frees_the_note(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);

    CU_ASSERT(vv_entity_end(subject, &(struct vivero_exit){0}));
    CU_ASSERT_EQUAL(send(subject, parent->ref, VIVERO_EXIT_FAILED, 0),
                    VIVERO_E_GONE);
    vv_entity_release(subject);
}

static void invalid_without_a_reason(void)
{
    struct vivero_exit reason = {.kind = VIVERO_EXIT_NONE};

    CU_ASSERT_EQUAL(vivero_signal(parent->ref, &reason), VIVERO_E_INVALID);
}

static void no_memory_sends_no_signal(void)
{
    struct vivero_exit reason = vivero_reason(VIVERO_EXIT_FAILED, 0, NULL);

    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(vivero_signal(parent->ref, &reason), VIVERO_E_NO_MEMORY);

    CU_ASSERT_FALSE(vv_entity_has_mail(parent));
}

static void who_signals_is_said_and_trapping_can_be_changed(void)
{
    struct vivero_exit reason = vivero_reason(VIVERO_EXIT_FAILED, 4, "x");
    struct taken taken;

    vv_entity_set_here(parent);
    CU_ASSERT_FALSE(vivero_trap_exits(true));
    CU_ASSERT(vivero_trap_exits(true));
    CU_ASSERT_EQUAL(vivero_signal(parent->ref, &reason), VIVERO_OK);
    taken = subject_take(parent);
    CU_ASSERT_EQUAL(taken.what, EXIT);
    CU_ASSERT(vivero_ref_equal(taken.from, parent->ref));
    CU_ASSERT(vivero_trap_exits(false));
    CU_ASSERT_EQUAL(vivero_signal(parent->ref, &reason), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_take(parent).what, VERDICT);
    vv_entity_set_here(NULL);
}

SUITE_MAIN("entity_signals", set_up, tear_down,
           TEST(normal_from_itself_ends_it),
           TEST(normal_from_its_parent_ends_one_that_obeys_if_it_traps),
           TEST(normal_from_others_is_a_message_or_nothing),
           TEST(kill_ends_everybody_and_is_seen_as_killed),
           TEST(killed_is_like_any_other_reason),
           TEST(any_other_from_its_parent_ends_one_that_obeys),
           TEST(any_other_is_a_message_to_one_that_traps_and_ends_the_rest),
           TEST(nobody_is_no_parent_of_one_without),
           TEST(the_first_verdict_wins),
           TEST(a_kill_sets_aside_what_came_before_and_stays),
           TEST(a_kill_sets_aside_what_a_link_said),
           TEST(an_end_by_kill_is_no_kill_to_those_linked),
           TEST(a_verdict_comes_before_messages),
           TEST(a_trapped_exit_needs_no_room_and_keeps_its_place),
           TEST(gone_when_it_has_ended), TEST(gone_frees_the_note),
           TEST(invalid_without_a_reason), TEST(no_memory_sends_no_signal),
           TEST(who_signals_is_said_and_trapping_can_be_changed))
