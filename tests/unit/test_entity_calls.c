/* SPDX-License-Identifier: MIT */
/* Calls and requests: each is answered once, whatever happens to those who ask
 * and to those who are asked. */
#include "mailbox/here.h"
#include "mailbox/spin.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#include <pthread.h>

#define DEPTH 3u
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
    (void)subject_end(subject, VIVERO_EXIT_NORMAL);
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void end_early(void)
{
    const struct vivero_exit exit = {VIVERO_EXIT_FAILED, 13, "bad luck"};

    CU_ASSERT(vv_entity_end(subject, &exit));
}

/* ---- Calls ----------------------------------------------------------------------- */

static void a_call_is_answered(void)
{
    struct call call;

    CU_ASSERT_EQUAL(call_put(&call, subject->ref, 42, LONG_ENOUGH), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_take(subject).what, CALL);

    CU_ASSERT_EQUAL(call_wait(&call), VIVERO_OK);
    CU_ASSERT_EQUAL(call.answer, 42);
}

static void the_end_tells_every_queued_caller_once(void)
{
    struct call calls[DEPTH];

    for (uint32_t i = 0; i < DEPTH; i++) {
        CU_ASSERT_EQUAL(call_put(&calls[i], subject->ref, 1, LONG_ENOUGH),
                        VIVERO_OK);
    }
    end_early();

    for (uint32_t i = 0; i < DEPTH; i++) {
        CU_ASSERT_EQUAL(call_wait(&calls[i]), VIVERO_E_DOWN);
        CU_ASSERT_EQUAL(vv_here()->last_exit.kind, VIVERO_EXIT_FAILED);
        CU_ASSERT_EQUAL(vv_here()->last_exit.code, 13);
        CU_ASSERT_STRING_EQUAL(vv_here()->last_exit.text, "bad luck");
    }
}

static void the_end_passes_over_callers_who_gave_up(void)
{
    struct call late;
    struct call cut;
    struct call good;

    CU_ASSERT_EQUAL(call_put(&late, subject->ref, 1, 0), VIVERO_OK);
    CU_ASSERT_EQUAL(call_put(&cut, subject->ref, 2, LONG_ENOUGH), VIVERO_OK);
    CU_ASSERT_EQUAL(call_put(&good, subject->ref, 3, LONG_ENOUGH), VIVERO_OK);
    CU_ASSERT_EQUAL(call_wait(&late), VIVERO_E_TIMED_OUT);
    CU_ASSERT(call_cancel(&cut));
    end_early();

    CU_ASSERT_EQUAL(call_wait(&cut), VIVERO_E_CANCELLED);
    CU_ASSERT_EQUAL(call_wait(&good), VIVERO_E_DOWN);
}

static void a_call_that_timed_out_frees_its_room_at_once(void)
{
    struct call calls[DEPTH];

    for (uint32_t i = 0; i < DEPTH; i++) {
        CU_ASSERT_EQUAL(call_put(&calls[i], subject->ref, 1, 0), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(subject_put(subject, 9), VIVERO_E_FULL);
    for (uint32_t i = 0; i < DEPTH; i++) {
        CU_ASSERT_EQUAL(call_wait(&calls[i]), VIVERO_E_TIMED_OUT);
        CU_ASSERT(calls[i].expired);
        CU_ASSERT_EQUAL(subject_put(subject, 10 + (int)i), VIVERO_OK);
        CU_ASSERT_EQUAL(subject_put(subject, 9), VIVERO_E_FULL);
    }

    /* Only living ones are taken, and the bound is the bound again. */
    for (uint32_t i = 0; i < DEPTH; i++) {
        CU_ASSERT_EQUAL(subject_take_number(subject), 10 + (int)i);
    }
    CU_ASSERT_EQUAL(subject_take(subject).what, NOTHING);
    for (uint32_t i = 0; i < DEPTH; i++) {
        CU_ASSERT_EQUAL(subject_put(subject, 1), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(subject_put(subject, 9), VIVERO_E_FULL);
}

static void a_cancelled_call_frees_its_room_at_once(void)
{
    struct call call;

    CU_ASSERT_EQUAL(call_put(&call, subject->ref, 1, LONG_ENOUGH), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 2), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 3), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 4), VIVERO_E_FULL);
    CU_ASSERT(call_cancel(&call));
    CU_ASSERT_FALSE(call_cancel(&call));
    CU_ASSERT_EQUAL(subject_put(subject, 4), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_E_FULL);

    CU_ASSERT_EQUAL(subject_take_number(subject), 2);
    CU_ASSERT_EQUAL(call_wait(&call), VIVERO_E_CANCELLED);
}

static void a_call_whose_time_is_up_is_not_handled(void)
{
    struct call call;

    CU_ASSERT_EQUAL(call_put(&call, subject->ref, 1, 0), VIVERO_OK);
    call.reply->deadline_ns = 1;
    CU_ASSERT_EQUAL(subject_put(subject, 2), VIVERO_OK);

    CU_ASSERT_EQUAL(subject_take_number(subject), 2);
    CU_ASSERT_EQUAL(call_wait(&call), VIVERO_E_TIMED_OUT);
}

static void a_late_tombstone_does_not_take_the_successors_room(void)
{
    struct call call;

    /* The end buries what the caller gives up later, and the slot is used
     * again: all of its successors have their full depth. */
    CU_ASSERT_EQUAL(call_put(&call, subject->ref, 1, LONG_ENOUGH), VIVERO_OK);
    CU_ASSERT(call_cancel(&call));
    end_early();
    CU_ASSERT_EQUAL(call_wait(&call), VIVERO_E_CANCELLED);
    for (uint32_t i = 0; i < 1000; i++) {
        struct vv_entity *next = subject_new(0, 1, NULL);

        CU_ASSERT_EQUAL(subject_put(next, 1), VIVERO_OK);
        CU_ASSERT_EQUAL(subject_put(next, 2), VIVERO_E_FULL);
        CU_ASSERT(subject_end(next, VIVERO_EXIT_NORMAL));
    }
}

/* ---- Requests --------------------------------------------------------------------- */

enum { ASK = 1, ASK_AGAIN };

struct asker {
    pthread_t thread;
    struct vivero_ref to;
    int64_t timeout_ns;
    int kind;
    int result;
    struct vivero_exit exit;
};

static _Atomic uint32_t undone;

static void undo(struct vv_request *request)
{
    (void)request;
    undone++;
}

static void *ask(void *ctx)
{
    struct asker *asker = ctx;
    struct vv_request *request =
        vv_request_new(sizeof(struct vv_request) + 100, asker->kind);

    if (request == NULL) {
        asker->result = VIVERO_E_NO_MEMORY;
        return NULL;
    }
    request->fini = undo;
    asker->result = vv_request_send(request, asker->to, asker->timeout_ns);
    if (asker->result == VIVERO_E_DOWN) {
        asker->exit = request->exit;
    }
    vv_request_release(request);
    return NULL;
}

static void begin_to_ask(struct asker *asker, int kind)
{
    *asker = (struct asker){
        .to = subject->ref, .timeout_ns = VIVERO_FOREVER, .kind = kind};
    pthread_create(&asker->thread, NULL, ask, asker);
    while (!vv_entity_has_mail(subject)) {
        (void)vv_entity_rest(subject, &(struct vv_spin){0, 0}, VIVERO_FOREVER);
    }
}

static void a_request_is_served_before_messages_and_answered(void)
{
    struct asker asker;
    struct vv_mail mail;

    undone = 0;
    begin_to_ask(&asker, ASK);
    CU_ASSERT_EQUAL(subject_put(subject, 5), VIVERO_OK);
    CU_ASSERT(vv_entity_take(subject, &mail));
    CU_ASSERT_PTR_NOT_NULL_FATAL(mail.request);
    CU_ASSERT_EQUAL(mail.request->kind, ASK);
    CU_ASSERT(vivero_ref_is_nobody(mail.request->from));
    vv_request_answer(mail.request, -77, NULL);
    pthread_join(asker.thread, NULL);

    CU_ASSERT_EQUAL(asker.result, -77);
    CU_ASSERT_EQUAL(undone, 1);
    CU_ASSERT_EQUAL(subject_take_number(subject), 5);
}

static void requests_come_before_a_verdict_and_in_order(void)
{
    struct asker askers[2];
    const struct vivero_exit reason = {.kind = VIVERO_EXIT_KILL};

    CU_ASSERT_EQUAL(vivero_signal(subject->ref, &reason), VIVERO_OK);
    begin_to_ask(&askers[0], ASK);
    /* relies on has_mail being true already: look for the second one. */
    askers[1] = (struct asker){
        .to = subject->ref, .timeout_ns = VIVERO_FOREVER, .kind = ASK_AGAIN};
    for (bool first = false; !first;) {
        first = vv_entity_lock(subject->ref)->requests != NULL;
        vv_entity_unlock(subject);
    }
    pthread_create(&askers[1].thread, NULL, ask, &askers[1]);
    for (bool second = false; !second;) {
        second = vv_entity_lock(subject->ref)->requests->next != NULL;
        vv_entity_unlock(subject);
    }

    CU_ASSERT_EQUAL(subject_take(subject).number, ASK);
    CU_ASSERT_EQUAL(subject_take(subject).number, ASK_AGAIN);
    CU_ASSERT_EQUAL(subject_take(subject).what, VERDICT);
    for (uint32_t i = 0; i < 2; i++) {
        pthread_join(askers[i].thread, NULL);
        CU_ASSERT_EQUAL(askers[i].result, VIVERO_OK);
    }
}

static void a_request_says_who_asks(void)
{
    struct vv_entity *other = subject_new(0, 1, NULL);
    struct vv_request *request;

    vv_entity_set_here(other);
    request = vv_request_new(sizeof(*request), ASK);
    vv_entity_set_here(NULL);

    CU_ASSERT(vivero_ref_equal(request->from, other->ref));
    vv_request_release(request);
    CU_ASSERT(subject_end(other, VIVERO_EXIT_NORMAL));
}

static void down_with_the_reason_when_the_asked_one_ends(void)
{
    struct asker asker;

    undone = 0;
    begin_to_ask(&asker, ASK);
    end_early();
    pthread_join(asker.thread, NULL);

    CU_ASSERT_EQUAL(asker.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(asker.exit.code, 13);
    CU_ASSERT_EQUAL(undone, 1);
}

static void gone_when_the_asked_one_has_ended(void)
{
    struct asker asker = {.to = subject->ref};

    undone = 0;
    end_early();
    (void)ask(&asker);

    CU_ASSERT_EQUAL(asker.result, VIVERO_E_GONE);
    CU_ASSERT_EQUAL(undone, 1);
}

static void timed_out_when_nobody_answers_and_answered_later_all_the_same(void)
{
    struct asker asker = {
        .to = subject->ref, .timeout_ns = VIVERO_MILLISECONDS(5), .kind = ASK};

    undone = 0;
    (void)ask(&asker);
    CU_ASSERT_EQUAL(asker.result, VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(undone, 0);

    CU_ASSERT_EQUAL(subject_take(subject).what, REQUEST);
    CU_ASSERT_EQUAL(undone, 1);
}

static void no_memory_for_a_request_is_null(void)
{
    fault_allocator_fail_after(0);

    CU_ASSERT_PTR_NULL(vv_request_new(sizeof(struct vv_request), ASK));
}

static void a_poke_wakes_though_there_is_nothing(void)
{
    const struct vv_spin none = {0, 0};

    CU_ASSERT_FALSE(vv_entity_rest(subject, &none, 0));
    vv_entity_poke(subject);
    CU_ASSERT(vv_entity_rest(subject, &none, 0));
    CU_ASSERT_FALSE(
        vv_entity_rest(subject, &none, vivero_now() + VIVERO_MILLISECONDS(5)));
}

SUITE_MAIN("entity_calls", set_up, tear_down, TEST(a_call_is_answered),
           TEST(the_end_tells_every_queued_caller_once),
           TEST(the_end_passes_over_callers_who_gave_up),
           TEST(a_call_that_timed_out_frees_its_room_at_once),
           TEST(a_cancelled_call_frees_its_room_at_once),
           TEST(a_call_whose_time_is_up_is_not_handled),
           TEST(a_late_tombstone_does_not_take_the_successors_room),
           TEST(a_request_is_served_before_messages_and_answered),
           TEST(requests_come_before_a_verdict_and_in_order),
           TEST(a_request_says_who_asks),
           TEST(down_with_the_reason_when_the_asked_one_ends),
           TEST(gone_when_the_asked_one_has_ended),
           TEST(timed_out_when_nobody_answers_and_answered_later_all_the_same),
           TEST(no_memory_for_a_request_is_null),
           TEST(a_poke_wakes_though_there_is_nothing))
