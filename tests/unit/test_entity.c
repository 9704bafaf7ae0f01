/* SPDX-License-Identifier: MIT */
/* Inboxes: order, bound, room, and what passes by the bound. */
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#include <pthread.h>

#define DEPTH 4u
#define LONG_ENOUGH VIVERO_SECONDS(60)

static struct vv_entity *subject;

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
    subject = subject_new(0, DEPTH, NULL);
    CU_ASSERT_PTR_NOT_NULL_FATAL(subject);
}

static void tear_down(void)
{
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void set_flag(uint32_t flag, bool on)
{
    (void)vv_entity_lock(subject->ref);
    subject->flags = on ? subject->flags | flag : subject->flags & ~flag;
    vv_entity_unlock(subject);
}

/* Put numbers 1, 2, ... until it is full. */
static void fill(void)
{
    for (int i = 1; i <= (int)DEPTH; i++) {
        CU_ASSERT_EQUAL(subject_put(subject, i), VIVERO_OK);
    }
}

/* ---- Order and bound ------------------------------------------------------------- */

static void nothing_is_taken_from_an_empty_inbox(void)
{
    struct vv_mail mail;

    CU_ASSERT_FALSE(vv_entity_has_mail(subject));
    CU_ASSERT_FALSE(vv_entity_take(subject, &mail));
    CU_ASSERT(mail.request == NULL && mail.verdict == NULL &&
              mail.envelope == NULL);
}

static void take_returns_what_was_put_in_order(void)
{
    fill();
    CU_ASSERT(vv_entity_has_mail(subject));

    for (int i = 1; i <= (int)DEPTH; i++) {
        CU_ASSERT_EQUAL(subject_take_number(subject), i);
    }
    CU_ASSERT_FALSE(vv_entity_has_mail(subject));
}

static void messages_calls_and_notices_stand_in_one_order(void)
{
    struct call call;

    CU_ASSERT_EQUAL(subject_put(subject, 1), VIVERO_OK);
    CU_ASSERT_EQUAL(call_put(&call, subject->ref, 2, LONG_ENOUGH), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put_reserved(subject, 3), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 4), VIVERO_OK);

    for (int i = 1; i <= 4; i++) {
        CU_ASSERT_EQUAL(subject_take_number(subject), i);
    }
    CU_ASSERT_EQUAL(call_wait(&call), VIVERO_OK);
    CU_ASSERT_EQUAL(call.answer, 2);
}

static void full_at_the_depth_until_one_is_taken(void)
{
    fill();
    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(subject_take_number(subject), 1);

    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 6), VIVERO_E_FULL);
}

static void reserved_ones_pass_by_the_bound_and_take_no_room(void)
{
    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(subject_put_reserved(subject, 100 + i), VIVERO_OK);
    }
    fill();
    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(subject_put_reserved(subject, 200), VIVERO_OK);

    for (int i = 0; i < 100; i++) {
        CU_ASSERT_EQUAL(subject_take_number(subject), 100 + i);
    }
    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_E_FULL);
}

static void a_refused_envelope_is_still_the_senders(void)
{
    struct vv_envelope *letter = subject_letter(5, false);

    fill();
    CU_ASSERT_EQUAL(vv_entity_put(subject, letter), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(subject_take_number(subject), 1);
    CU_ASSERT_EQUAL(vv_entity_put(subject, letter), VIVERO_OK);

    for (int i = 2; i <= 5; i++) {
        CU_ASSERT_EQUAL(subject_take_number(subject), i);
    }
}

static void unsupported_by_a_deaf_one(void)
{
    set_flag(VV_ENTITY_DEAF, true);

    CU_ASSERT_EQUAL(subject_put(subject, 1), VIVERO_E_UNSUPPORTED);
    CU_ASSERT_EQUAL(vivero_tell(subject->ref, 0, NULL, 0),
                    VIVERO_E_UNSUPPORTED);
    CU_ASSERT_FALSE(vv_entity_has_mail(subject));
}

static void gone_after_the_end(void)
{
    struct vv_entity *other = subject_new(0, DEPTH, NULL);
    struct vv_entity *mine = vv_entity_retain(other->ref);

    CU_ASSERT(subject_end(other, VIVERO_EXIT_NORMAL));
    CU_ASSERT_EQUAL(subject_put(mine, 1), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(subject_put_reserved(mine, 1), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vv_entity_wait_for_room(mine, VIVERO_FOREVER),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_tell(mine->ref, 0, NULL, 0), VIVERO_E_GONE);
    vv_entity_drop_oldest(mine);
    vv_entity_release(mine);
}

/* ---- Dropping ---------------------------------------------------------------------- */

static void the_oldest_is_dropped_and_its_caller_told_full(void)
{
    struct call call;

    CU_ASSERT_EQUAL(subject_put_reserved(subject, 9), VIVERO_OK);
    CU_ASSERT_EQUAL(call_put(&call, subject->ref, 1, LONG_ENOUGH), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 2), VIVERO_OK);
    vv_entity_drop_oldest(subject);

    CU_ASSERT_EQUAL(call_wait(&call), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(subject_take_number(subject), 9);
    CU_ASSERT_EQUAL(subject_take_number(subject), 2);
    CU_ASSERT_FALSE(vv_entity_has_mail(subject));
}

static void dropping_makes_room_for_one(void)
{
    fill();
    vv_entity_drop_oldest(subject);

    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 6), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(subject_take_number(subject), 2);
}

static void dropping_passes_over_what_nobody_waits_for_any_more(void)
{
    struct call late;

    CU_ASSERT_EQUAL(call_put(&late, subject->ref, 0, 0), VIVERO_OK);
    CU_ASSERT_EQUAL(call_wait(&late), VIVERO_E_TIMED_OUT);
    fill();
    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_E_FULL);
    vv_entity_drop_oldest(subject);

    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_take_number(subject), 2);
}

static void only_notices_are_never_dropped(void)
{
    CU_ASSERT_EQUAL(subject_put_reserved(subject, 1), VIVERO_OK);
    vv_entity_drop_oldest(subject);

    CU_ASSERT_EQUAL(subject_take_number(subject), 1);
}

/* ---- Taking one thing out -------------------------------------------------------------- */

static bool has_number(const struct vv_envelope *envelope, const void *number)
{
    return *(const int *)vv_envelope_bytes(envelope) == *(const int *)number;
}

static int take_if(int number)
{
    struct vv_envelope *found = vv_entity_take_if(subject, has_number, &number);

    if (found == NULL) {
        return -1;
    }
    number = *(const int *)vv_envelope_bytes(found);
    vv_envelope_free(found);
    return number;
}

static void one_thing_is_taken_from_anywhere(void)
{
    const int order[] = {2, 1, 4}; /* the middle, the first, the last */

    fill();
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(take_if(order[i]), order[i]);
        CU_ASSERT_EQUAL(take_if(order[i]), -1);
    }

    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_take_number(subject), 3);
    CU_ASSERT_EQUAL(subject_take_number(subject), 5);
    CU_ASSERT_EQUAL(subject_take_number(subject), -1);
}

static void the_only_one_is_taken_and_the_inbox_goes_on(void)
{
    CU_ASSERT_EQUAL(subject_put(subject, 1), VIVERO_OK);
    CU_ASSERT_EQUAL(take_if(1), 1);
    CU_ASSERT_FALSE(vv_entity_has_mail(subject));

    fill();
    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(subject_take_number(subject), 1);
}

/* ---- Suspended ---------------------------------------------------------------------------- */

static int signal_with(enum vivero_exit_kind kind)
{
    struct vivero_exit reason = vivero_reason(kind, 0, NULL);

    return vivero_signal(subject->ref, &reason);
}

static void a_suspended_one_keeps_its_messages_but_hears_signals(void)
{
    set_flag(VV_ENTITY_SUSPENDED, true);
    fill();
    CU_ASSERT_FALSE(vv_entity_has_mail(subject));
    CU_ASSERT_EQUAL(subject_take(subject).what, NOTHING);
    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_E_FULL);
    CU_ASSERT_EQUAL(signal_with(VIVERO_EXIT_SHUTDOWN), VIVERO_OK);
    CU_ASSERT(vv_entity_has_mail(subject));
    CU_ASSERT_EQUAL(subject_take(subject).what, VERDICT);

    set_flag(VV_ENTITY_SUSPENDED, false);
    CU_ASSERT(vv_entity_has_mail(subject));
    CU_ASSERT_EQUAL(subject_take_number(subject), 1);
}

/* ---- Waiting for room ------------------------------------------------------------------------ */

struct waiter {
    pthread_t thread;
    struct vv_entity *entity;
    _Atomic bool over;
    int result;
};

static void *wait_for_room(void *ctx)
{
    struct waiter *waiter = ctx;

    waiter->result = vv_entity_wait_for_room(waiter->entity, VIVERO_FOREVER);
    /* sync(test.over): the result stands. */
    atomic_store_explicit(&waiter->over, true, memory_order_release);
    vv_entity_release(waiter->entity);
    return NULL;
}

static bool is_over(void *ctx)
{
    struct waiter *waiter = ctx;

    /* sync(test.over): the result stands. */
    return atomic_load_explicit(&waiter->over, memory_order_acquire);
}

static void begin_to_wait(struct waiter *waiter, struct vv_entity *entity)
{
    memset(waiter, 0, sizeof(*waiter));
    waiter->entity = vv_entity_retain(entity->ref);
    pthread_create(&waiter->thread, NULL, wait_for_room, waiter);
}

/* Whether the waiter goes on; if not it is helped, so that the test ends. */
static bool goes_on(struct waiter *waiter)
{
    bool went_on = eventually(is_over, waiter, VIVERO_SECONDS(5));

    while (!eventually(is_over, waiter, VIVERO_MILLISECONDS(10))) {
        (void)subject_put(waiter->entity, 0);
        (void)subject_take(waiter->entity);
    }
    pthread_join(waiter->thread, NULL);
    return went_on;
}

static void room_there_is_needs_no_waiting(void)
{
    CU_ASSERT_EQUAL(vv_entity_wait_for_room(subject, 0), VIVERO_OK);
}

static void timed_out_when_there_is_no_room(void)
{
    fill();

    CU_ASSERT_EQUAL(vv_entity_wait_for_room(subject, 0), VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(
        vv_entity_wait_for_room(subject, vivero_now() + VIVERO_MILLISECONDS(5)),
        VIVERO_E_TIMED_OUT);
}

static void who_waits_for_room_goes_on_when_it_is_taken_empty(void)
{
    struct waiter waiter;

    fill();
    begin_to_wait(&waiter, subject);
    eventually_nap();
    while (subject_take_number(subject) != -1) {
    }

    CU_ASSERT(goes_on(&waiter));
    CU_ASSERT_EQUAL(waiter.result, VIVERO_OK);
}

static void who_waits_for_room_goes_on_when_all_is_dropped(void)
{
    struct waiter waiter;

    fill();
    begin_to_wait(&waiter, subject);
    eventually_nap();
    for (uint32_t i = 0; i < DEPTH; i++) {
        vv_entity_drop_oldest(subject);
    }

    CU_ASSERT(goes_on(&waiter));
}

static void who_waits_for_room_goes_on_when_callers_give_up(void)
{
    struct call calls[DEPTH];
    struct waiter waiter;

    for (uint32_t i = 0; i < DEPTH; i++) {
        CU_ASSERT_EQUAL(call_put(&calls[i], subject->ref, 0, 0), VIVERO_OK);
    }
    begin_to_wait(&waiter, subject);
    eventually_nap();
    for (uint32_t i = 0; i < DEPTH; i++) {
        CU_ASSERT_EQUAL(call_wait(&calls[i]), VIVERO_E_TIMED_OUT);
    }

    CU_ASSERT(goes_on(&waiter));
}

static void who_waits_for_room_is_told_gone_at_the_end(void)
{
    struct vv_entity *other = subject_new(0, 1, NULL);
    struct waiter waiter;

    CU_ASSERT_EQUAL(subject_put(other, 1), VIVERO_OK);
    begin_to_wait(&waiter, other);
    eventually_nap();
    CU_ASSERT(subject_end(other, VIVERO_EXIT_NORMAL));

    CU_ASSERT(goes_on(&waiter));
    CU_ASSERT_EQUAL(waiter.result, VIVERO_E_GONE);
}

SUITE_MAIN("entity", set_up, tear_down,
           TEST(nothing_is_taken_from_an_empty_inbox),
           TEST(take_returns_what_was_put_in_order),
           TEST(messages_calls_and_notices_stand_in_one_order),
           TEST(full_at_the_depth_until_one_is_taken),
           TEST(reserved_ones_pass_by_the_bound_and_take_no_room),
           TEST(a_refused_envelope_is_still_the_senders),
           TEST(unsupported_by_a_deaf_one), TEST(gone_after_the_end),
           TEST(the_oldest_is_dropped_and_its_caller_told_full),
           TEST(dropping_makes_room_for_one),
           TEST(dropping_passes_over_what_nobody_waits_for_any_more),
           TEST(only_notices_are_never_dropped),
           TEST(one_thing_is_taken_from_anywhere),
           TEST(the_only_one_is_taken_and_the_inbox_goes_on),
           TEST(a_suspended_one_keeps_its_messages_but_hears_signals),
           TEST(room_there_is_needs_no_waiting),
           TEST(timed_out_when_there_is_no_room),
           TEST(who_waits_for_room_goes_on_when_it_is_taken_empty),
           TEST(who_waits_for_room_goes_on_when_all_is_dropped),
           TEST(who_waits_for_room_goes_on_when_callers_give_up),
           TEST(who_waits_for_room_is_told_gone_at_the_end))
