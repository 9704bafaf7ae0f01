/* SPDX-License-Identifier: MIT */
/* Receiving by hand: requests with tokens, and attached threads. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#define SHORT VIVERO_MILLISECONDS(30)

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

/* ---- Requests by hand ---------------------------------------------------------------------- */

/* Echoes calls in pairs, the second one first; ends on a call to leave. */
static void echoes_in_pairs(struct vivero_self *self, void *argument)
{
    const struct vivero_info *info;
    struct vivero_reply_token token = {0, 0};
    int held = 0;
    bool holds = false;

    (void)self;
    (void)argument;
    while (vivero_receive(&info, VIVERO_FOREVER) == VIVERO_OK) {
        if (info->kind != VIVERO_INFO_REQUEST ||
            info->operation != &crew_echo) {
            return;
        }
        int value = *(const int *)info->data;

        if (holds) {
            (void)vivero_reply(info->token, &value, sizeof(value));
            (void)vivero_reply(token, &held, sizeof(held));
        }
        token = info->token;
        held = value;
        holds = !holds;
    }
}

static void calls_are_answered_by_their_tokens(void)
{
    struct vivero_ref ref = solo_spawn(NULL, echoes_in_pairs, NULL);
    int in[2] = {11, 22};
    int out[2] = {0, 0};
    struct solo_caller caller[2];

    for (int i = 0; i < 2; i++) {
        caller[i] = (struct solo_caller){
            .to = ref, .operation = &crew_echo, .in = &in[i], .out = &out[i]};
        solo_caller_start(&caller[i]);
    }
    for (int i = 0; i < 2; i++) {
        solo_caller_join(&caller[i]);
        CU_ASSERT_EQUAL(caller[i].result, VIVERO_OK);
        CU_ASSERT_EQUAL(out[i], in[i]);
    }
    CU_ASSERT_EQUAL(vivero_worker_cast(ref, &crew_nothing, NULL, NULL), 0);
    CU_ASSERT(solo_await_end(ref));
}

static void an_unanswered_call_is_down_when_it_ends(void)
{
    struct vivero_ref ref = solo_spawn(NULL, echoes_in_pairs, NULL);
    int in = 1;
    int out = 0;
    struct solo_caller caller = {
        .to = ref, .operation = &crew_echo, .in = &in, .out = &out};

    solo_caller_start(&caller);
    crew_await_time(vivero_now() + SHORT);
    CU_ASSERT_EQUAL(vivero_worker_cast(ref, &crew_nothing, NULL, NULL), 0);
    solo_caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(caller.reason.kind, VIVERO_EXIT_NORMAL);
}

static void looks_at_cast(struct vivero_self *self, void *argument)
{
    const struct vivero_info *info;

    (void)self;
    if (vivero_receive(&info, VIVERO_FOREVER) == VIVERO_OK) {
        *(bool *)argument =
            info->kind == VIVERO_INFO_REQUEST &&
            info->operation == &crew_echo && info->size == sizeof(int) &&
            *(const int *)info->data == 6 && info->token.slot == 0 &&
            info->token.generation == 0 && vivero_ref_equal(info->from, me);
    }
}

static void a_cast_has_no_token(void)
{
    bool right = false;
    struct vivero_ref ref = solo_spawn(NULL, looks_at_cast, &right);
    int value = 6;

    CU_ASSERT_EQUAL(vivero_worker_cast(ref, &crew_echo, &value, NULL), 0);
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT(right);
}

static void receives_for_ever(struct vivero_self *self, void *argument)
{
    const struct vivero_info *info;

    (void)self;
    (void)argument;
    while (vivero_receive(&info, VIVERO_FOREVER) == VIVERO_OK) {
    }
}

/* ---- Attached threads ------------------------------------------------------------------------- */

static void an_attached_thread_is_an_entity(void)
{
    struct vivero_ref again = {0, 0};
    struct vivero_worker_info info = solo_look(me);

    CU_ASSERT(vivero_is_alive(me));
    CU_ASSERT(vivero_ref_equal(vivero_current(), me));
    CU_ASSERT_EQUAL(vivero_attach(NULL, &again), VIVERO_E_EXISTS);
    CU_ASSERT(info.traps_exits);
    CU_ASSERT_STRING_EQUAL(info.label, "attached");
}

static void a_detached_one_is_none_and_its_links_hear_of_it(void)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 95, NULL);
    struct vivero_ref ref;
    struct vivero_ref old = me;

    CU_ASSERT_EQUAL_FATAL(
        vivero_spawn_link(NULL, receives_for_ever, NULL, &ref), VIVERO_OK);
    vivero_detach(&why);
    CU_ASSERT(vivero_ref_is_nobody(vivero_current()));
    CU_ASSERT_FALSE(vivero_is_alive(old));
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(vivero_attach(NULL, &me), VIVERO_OK);
    CU_ASSERT_FALSE(vivero_ref_equal(me, old));
}

static void an_attached_one_that_does_not_trap_is_told_down(void)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 96, "go");
    const struct vivero_info *info;

    (void)vivero_trap_exits(false);
    CU_ASSERT_EQUAL(vivero_signal(me, &why), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_receive(&info, CREW_PATIENCE), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_SHUTDOWN_WITH);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 96);
    CU_ASSERT(vivero_ref_is_nobody(vivero_current()));
    CU_ASSERT_FALSE(vivero_is_alive(me));
    CU_ASSERT_EQUAL(vivero_attach(NULL, &me), VIVERO_OK);
}

static void a_kill_is_told_down_though_it_traps(void)
{
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);
    const struct vivero_info *info;

    CU_ASSERT_EQUAL(vivero_signal(me, &kill), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_receive(&info, CREW_PATIENCE), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_KILLED);
    CU_ASSERT_EQUAL(vivero_attach(NULL, &me), VIVERO_OK);
}

static void *attaches_and_ends(void *arg)
{
    struct vivero_ref ref;

    if (vivero_attach(VIVERO_SPAWN_OPTIONS(.name = "visitor"), &ref) ==
        VIVERO_OK) {
        *(struct vivero_ref *)arg = ref;
    }
    gate_pass(&gate);
    return NULL;
}

static void the_end_of_its_thread_detaches_it(void)
{
    struct vivero_ref visitor = {0, 0};
    struct vivero_monitor monitor;
    pthread_t thread;

    pthread_create(&thread, NULL, attaches_and_ends, &visitor);
    CU_ASSERT(gate_await(&gate, 1));
    visitor = vivero_whereis("visitor");
    CU_ASSERT(vivero_is_alive(visitor));
    CU_ASSERT_EQUAL(vivero_monitor(visitor, &monitor), VIVERO_OK);
    gate_open(&gate);
    pthread_join(thread, NULL);
    CU_ASSERT_EQUAL(solo_receive().exit.kind, VIVERO_EXIT_NORMAL);
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("visitor")));
}

SUITE_MAIN("worker_receive", set_up, tear_down,
           TEST(calls_are_answered_by_their_tokens),
           TEST(an_unanswered_call_is_down_when_it_ends),
           TEST(a_cast_has_no_token), TEST(an_attached_thread_is_an_entity),
           TEST(a_detached_one_is_none_and_its_links_hear_of_it),
           TEST(an_attached_one_that_does_not_trap_is_told_down),
           TEST(a_kill_is_told_down_though_it_traps),
           TEST(the_end_of_its_thread_detaches_it))
