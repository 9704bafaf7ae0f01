/* SPDX-License-Identifier: MIT */
/* Looking after workers on their own: suspend, resume, their state, names, and
 * what can be seen of them; their dictionaries. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#include <string.h>

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;
static struct vivero_ref worker;

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    worker = solo_start(SOLO_OPTIONS(.ctx = &witness, .label = "patient"));
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(solo_end(worker));
}

static bool answers(struct vivero_ref ref)
{
    return vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL) ==
           VIVERO_OK;
}

/* ---- Suspended -------------------------------------------------------------------- */

static void suspended_it_handles_no_message(void)
{
    int value = 1;

    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL(vivero_tell(worker, 1, NULL, 0), 0);
    CU_ASSERT_EQUAL(vivero_worker_call(worker, &crew_nothing, NULL, NULL,
                                       VIVERO_SEND(.timeout_ns = SOLO_SILENCE)),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_HANDLED), 0);
    CU_ASSERT(solo_look(worker).suspended);
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, 1));
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT_FALSE(solo_look(worker).suspended);
}

static void suspended_its_state_can_be_had(void)
{
    struct solo solo = {0};
    const struct solo fresh = {&witness, 12};

    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_replace_state(worker, &fresh, sizeof(fresh),
                                                CREW_PATIENCE),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_worker_get_state(worker, &solo, sizeof(solo), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(solo.value, 12);
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, CREW_PATIENCE), VIVERO_OK);
}

static void suspended_it_can_be_stopped(void)
{
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(solo_stop(worker));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 1);
}

static void suspended_it_can_be_killed(void)
{
    const struct vivero_exit kill = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);

    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_signal(worker, &kill), VIVERO_OK);
    CU_ASSERT(solo_await_end(worker));
}

static void to_suspend_twice_is_to_suspend_once(void)
{
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(answers(worker));
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(answers(worker));
}

static void to_suspend_waits_for_the_running_message(void)
{
    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, SOLO_SILENCE),
                    VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    /* The request that timed out is carried out all the same. */
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(answers(worker));
}

/* ---- The state ------------------------------------------------------------------------ */

static void the_state_is_copied_between_messages(void)
{
    struct solo solo = {0};
    int three = 3;

    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_add, &three, NULL), 0);
    CU_ASSERT(answers(worker));
    CU_ASSERT_EQUAL(
        vivero_worker_get_state(worker, &solo, sizeof(solo), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(solo.value, 3);
    CU_ASSERT_PTR_EQUAL(solo.witness, &witness);
}

static void a_state_of_another_size_is_invalid(void)
{
    struct solo solo = {0};

    CU_ASSERT_EQUAL(
        vivero_worker_get_state(worker, &solo, sizeof(solo) - 1, CREW_PATIENCE),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        vivero_worker_replace_state(worker, &solo, 1, CREW_PATIENCE),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 0);
}

static void requests_of_a_dead_one_are_gone(void)
{
    struct solo solo = {0};
    struct vivero_worker_info info;

    CU_ASSERT(solo_stop(worker));
    CU_ASSERT_EQUAL(vivero_worker_suspend(worker, 0), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_worker_resume(worker, 0), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_worker_get_state(worker, &solo, sizeof(solo), 0),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_worker_replace_state(worker, &solo, sizeof(solo), 0),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_worker_info(worker, &info), VIVERO_E_GONE);
}

struct state_asker {
    struct vivero_ref ref;
    pthread_t thread;
    int result;
    struct vivero_exit exit;
};

static void *asks_for_state(void *arg)
{
    struct state_asker *asker = arg;
    struct solo solo;

    asker->result =
        vivero_worker_get_state(asker->ref, &solo, sizeof(solo), CREW_PATIENCE);
    asker->exit = *vivero_last_exit();
    return NULL;
}

static int fails_at_gate(struct vivero_self *self, void *arg)
{
    (void)arg;
    gate_pass(&gate);
    return vivero_fail(self, 44, "while asked");
}

static void a_request_to_one_that_ends_is_down(void)
{
    struct state_asker asker = {.ref = worker};

    CU_ASSERT_EQUAL(solo_order(worker, fails_at_gate, NULL), 0);
    CU_ASSERT(gate_await(&gate, 1));
    pthread_create(&asker.thread, NULL, asks_for_state, &asker);
    crew_await_time(vivero_now() + SOLO_SILENCE);
    gate_open(&gate);
    pthread_join(asker.thread, NULL);
    CU_ASSERT(asker.result == VIVERO_E_DOWN || asker.result == VIVERO_E_GONE);
    CU_ASSERT(asker.result == VIVERO_E_GONE || asker.exit.code == 44);
}

/* ---- What can be seen ----------------------------------------------------------------------- */

static void a_busy_one_can_be_seen_without_its_help(void)
{
    struct vivero_worker_info info;
    int value = 1;

    CU_ASSERT(solo_hold(worker, &gate));
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_cast(worker, &solo_note, &value, NULL), 0);
    CU_ASSERT_EQUAL_FATAL(vivero_worker_info(worker, &info), VIVERO_OK);
    CU_ASSERT_EQUAL(info.worker.state, VIVERO_WORKER_BUSY);
    CU_ASSERT_EQUAL(info.worker.queued, 2);
    CU_ASSERT_STRING_EQUAL(info.worker.operation, "hold");
    CU_ASSERT(info.worker.busy_for_ns > 0);
    CU_ASSERT_EQUAL(info.worker.id, 0);
    CU_ASSERT_PTR_NULL(info.worker.payload);
    CU_ASSERT_STRING_EQUAL(info.label, "patient");
    CU_ASSERT_STRING_EQUAL(info.name, "");
    CU_ASSERT_FALSE(info.shares_carriers);
    gate_open(&gate);
    CU_ASSERT(solo_await_state(worker, VIVERO_WORKER_IDLE));
}

static void it_counts_what_it_handled(void)
{
    uint64_t before = solo_look(worker).worker.handled;

    for (int i = 0; i < 10; i++) {
        CU_ASSERT(answers(worker));
    }
    CU_ASSERT_EQUAL(solo_look(worker).worker.handled, before + 10);
}

static int init_waits(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    gate_pass(&gate);
    return VIVERO_OK;
}

static void *starts_with_waiting_init(void *arg)
{
    *(struct vivero_ref *)arg =
        solo_start(VIVERO_WORKER_OPTIONS(.name = "slow", .init = init_waits));
    return NULL;
}

static void one_in_init_is_starting(void)
{
    pthread_t thread;
    struct vivero_ref slow = {0, 0};

    pthread_create(&thread, NULL, starts_with_waiting_init, &slow);
    CU_ASSERT(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(solo_look(vivero_whereis("slow")).worker.state,
                    VIVERO_WORKER_STARTING);
    gate_open(&gate);
    pthread_join(thread, NULL);
    CU_ASSERT(solo_await_state(slow, VIVERO_WORKER_IDLE));
    CU_ASSERT(solo_stop(slow));
}

static int looks_at_itself(struct vivero_self *self, void *arg)
{
    (void)arg;
    return strcmp(vivero_name(self), "patient") == 0 && vivero_id(self) == 0 &&
                   vivero_incarnation(self) == 0
               ? VIVERO_OK
               : -1;
}

static void a_handler_sees_its_own_worker(void)
{
    CU_ASSERT_EQUAL(solo_ask(worker, looks_at_itself, NULL), VIVERO_OK);
}

/* ---- Names ---------------------------------------------------------------------------------------- */

static void t_gs_17_a_name_can_be_given_and_taken(void)
{
    CU_ASSERT_EQUAL(vivero_register(worker, "given"), VIVERO_OK);
    CU_ASSERT(vivero_ref_equal(vivero_whereis("given"), worker));
    CU_ASSERT_EQUAL(vivero_register(worker, "second"), VIVERO_E_EXISTS);
    CU_ASSERT_EQUAL(vivero_unregister("given"), VIVERO_OK);
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("given")));
    CU_ASSERT_EQUAL(vivero_unregister("given"), VIVERO_E_NOT_FOUND);
    CU_ASSERT_EQUAL(vivero_register(worker, "second"), VIVERO_OK);
}

static void t_gs_17_a_name_is_one_entitys(void)
{
    struct vivero_ref other = solo_start(NULL);

    CU_ASSERT_EQUAL(vivero_register(worker, "mine"), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_register(other, "mine"), VIVERO_E_EXISTS);
    CU_ASSERT(solo_stop(worker));
    CU_ASSERT_EQUAL(vivero_register(other, "mine"), VIVERO_OK);
    CU_ASSERT(solo_stop(other));
    CU_ASSERT_EQUAL(vivero_register(other, "mine"), VIVERO_E_GONE);
}

static void t_gs_17_names_have_a_length(void)
{
    CU_ASSERT_EQUAL(vivero_register(worker, ""), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_register(worker,
                                    "0123456789012345678901234567890123456789"
                                    "012345678901234567890123"),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_register(worker,
                                    "012345678901234567890123456789012345678"
                                    "901234567890123456789012"),
                    VIVERO_OK);
}

/* ---- Dictionaries (S4.7) ------------------------------------------------------------------------------ */

static int keeps_things(struct vivero_self *self, void *arg)
{
    int *thing = arg;
    char key[] = "key";
    void *old = thing;

    (void)self;
    if (vivero_dictionary_get("key") != NULL ||
        vivero_dictionary_put(key, &thing[0], &old) != 0 || old != NULL) {
        return -1;
    }
    key[0] = 'x';
    if (vivero_dictionary_put("key", &thing[1], &old) != 0 ||
        old != &thing[0] || vivero_dictionary_get("key") != &thing[1] ||
        vivero_dictionary_get("xey") != NULL) {
        return -2;
    }
    return vivero_dictionary_put("other", &thing[0], NULL);
}

static int drops_things(struct vivero_self *self, void *arg)
{
    int *thing = arg;

    (void)self;
    return vivero_dictionary_delete("key") == &thing[1] &&
                   vivero_dictionary_delete("key") == NULL &&
                   vivero_dictionary_get("other") == &thing[0]
               ? VIVERO_OK
               : -3;
}

static void s4_7_a_dictionary_gives_back_what_was_there(void)
{
    int things[2] = {0, 0};
    struct vivero_ref other = solo_start(NULL);

    CU_ASSERT_EQUAL(solo_ask(worker, keeps_things, things), VIVERO_OK);
    CU_ASSERT_EQUAL(solo_ask(worker, drops_things, things), VIVERO_OK);
    /* Everybody has one of his own. */
    CU_ASSERT_EQUAL(solo_ask(other, keeps_things, things), VIVERO_OK);
    CU_ASSERT(vivero_is_alive(worker));
    CU_ASSERT(solo_stop(other));
}

SUITE_MAIN("worker_state", set_up, tear_down,
           TEST(suspended_it_handles_no_message),
           TEST(suspended_its_state_can_be_had),
           TEST(suspended_it_can_be_stopped), TEST(suspended_it_can_be_killed),
           TEST(to_suspend_twice_is_to_suspend_once),
           TEST(to_suspend_waits_for_the_running_message),
           TEST(the_state_is_copied_between_messages),
           TEST(a_state_of_another_size_is_invalid),
           TEST(requests_of_a_dead_one_are_gone),
           TEST(a_request_to_one_that_ends_is_down),
           TEST(a_busy_one_can_be_seen_without_its_help),
           TEST(it_counts_what_it_handled), TEST(one_in_init_is_starting),
           TEST(a_handler_sees_its_own_worker),
           TEST(t_gs_17_a_name_can_be_given_and_taken),
           TEST(t_gs_17_a_name_is_one_entitys),
           TEST(t_gs_17_names_have_a_length),
           TEST(s4_7_a_dictionary_gives_back_what_was_there))
