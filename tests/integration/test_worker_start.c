/* SPDX-License-Identifier: MIT */
/* How workers on their own begin. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#include <string.h>

static struct witness witness = WITNESS;

static void set_up(void)
{
    witness_clear(&witness);
    CU_ASSERT(solo_attach());
}

static void tear_down(void)
{
    CU_ASSERT(solo_hears_nothing());
    solo_detach();
}

/* ---- Starts that succeed --------------------------------------------------------- */

static void t_gs_01_init_has_run_when_start_returns(void)
{
    struct vivero_ref ref = solo_start(SOLO_OPTIONS(.ctx = &witness));

    CU_ASSERT_EQUAL(witness_count(&witness, SAW_INIT), 1);
    CU_ASSERT(vivero_is_alive(ref));
    CU_ASSERT(solo_stop(ref));
    CU_ASSERT_FALSE(vivero_is_alive(ref));
}

static void t_gs_01_starts_with_no_options_at_all(void)
{
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(vivero_worker_start(NULL, &ref), VIVERO_OK);
    CU_ASSERT(solo_stop(ref));
}

static struct vivero_ref found_in_init;

static int init_looks_for_itself(struct vivero_self *self, void *payload,
                                 void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    found_in_init = vivero_whereis("known");
    return vivero_ref_equal(found_in_init, vivero_current()) ? VIVERO_OK : -1;
}

static void t_gs_01_the_name_is_registered_before_init_runs(void)
{
    struct vivero_ref ref = solo_start(
        VIVERO_WORKER_OPTIONS(.name = "known", .init = init_looks_for_itself));

    CU_ASSERT(vivero_ref_equal(ref, found_in_init));
    CU_ASSERT(vivero_ref_equal(ref, vivero_whereis("known")));
    CU_ASSERT_STRING_EQUAL(solo_look(ref).name, "known");
    CU_ASSERT(solo_stop(ref));
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("known")));
}

static void t_gs_17_one_without_a_name_is_found_nowhere(void)
{
    struct vivero_ref ref = solo_start(SOLO_OPTIONS(.ctx = &witness));

    CU_ASSERT_STRING_EQUAL(solo_look(ref).name, "");
    CU_ASSERT_STRING_EQUAL(solo_look(ref).label, "worker");
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("worker")));
    CU_ASSERT(solo_stop(ref));
}

static void t_gs_01_a_taken_name_answers_exists_and_its_holder(void)
{
    struct vivero_ref first =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .name = "taken"));
    struct vivero_ref second = {0, 0};

    CU_ASSERT_EQUAL(
        vivero_worker_start(SOLO_OPTIONS(.ctx = &witness, .name = "taken"),
                            &second),
        VIVERO_E_EXISTS);
    CU_ASSERT(vivero_ref_equal(first, second));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_INIT), 1);
    CU_ASSERT(vivero_is_alive(first));
    CU_ASSERT(solo_stop(first));
}

static void t_gs_01_a_taken_name_leaves_no_link_and_no_monitor(void)
{
    struct vivero_ref first =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .name = "taken"));
    struct vivero_ref second = {0, 0};
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(
        vivero_worker_start_link(SOLO_OPTIONS(.ctx = &witness, .name = "taken"),
                                 &second),
        VIVERO_E_EXISTS);
    CU_ASSERT(vivero_ref_equal(first, second));
    CU_ASSERT_EQUAL(
        vivero_worker_start_monitor(
            SOLO_OPTIONS(.ctx = &witness, .name = "taken"), &second, &monitor),
        VIVERO_E_EXISTS);
    CU_ASSERT_EQUAL(solo_look(first).links, 0);
    CU_ASSERT_EQUAL(solo_look(first).monitors, 0);
    CU_ASSERT(solo_stop(first));
}

static int reads_argument(struct vivero_self *self, void *payload, void *ctx)
{
    const int *argument = vivero_argument(self);

    (void)ctx;
    *(int *)payload = argument != NULL ? *argument : -1;
    return VIVERO_OK;
}

static void the_argument_is_copied(void)
{
    int argument = 31;
    int payload = 0;
    struct vivero_ref ref = solo_start(
        VIVERO_WORKER_OPTIONS(.payload_size = sizeof(int),
                              .init = reads_argument, .argument = &argument,
                              .argument_size = sizeof(argument)));

    CU_ASSERT_EQUAL(
        vivero_worker_get_state(ref, &payload, sizeof(int), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(payload, 31);
    CU_ASSERT(solo_stop(ref));
}

/* As a language without macros would write it. */
static int reads_argument_too(struct vivero_self *self, void *payload,
                              void *ctx)
{
    const int *argument = vivero_entity_argument(self->entity);

    (void)ctx;
    *(int *)payload = *argument;
    return VIVERO_OK;
}

static int stops_itself(struct vivero_self *self, void *arg)
{
    return vivero_entity_stop(self->entity, arg);
}

static void a_start_can_say_the_payloads_size_apart(void)
{
    struct vivero_exit why = vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 3, NULL);
    int argument = 32;
    int payload = 0;
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_start_payload(
            VIVERO_WORKER_OPTIONS(.payload_size = 1, .init = reads_argument_too,
                                  .argument = &argument,
                                  .argument_size = sizeof(argument)),
            sizeof(int), 1, &ref),
        VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_worker_get_state(ref, &payload, sizeof(int), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(payload, 32);
    CU_ASSERT_EQUAL(solo_ask(ref, stops_itself, &why), VIVERO_OK);

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_EXIT);
    CU_ASSERT_EQUAL(info.exit.code, 3);
}

static void without_an_argument_there_is_none(void)
{
    int payload = 0;
    struct vivero_ref ref =
        solo_start(VIVERO_WORKER_OPTIONS(.payload_size = sizeof(int),
                                         .init = reads_argument));

    CU_ASSERT_EQUAL(
        vivero_worker_get_state(ref, &payload, sizeof(int), CREW_PATIENCE),
        VIVERO_OK);
    CU_ASSERT_EQUAL(payload, -1);
    CU_ASSERT(solo_stop(ref));
}

static void t_gs_01_start_link_links(void)
{
    struct vivero_ref ref = solo_start_link(SOLO_OPTIONS(.ctx = &witness));

    CU_ASSERT_EQUAL(solo_look(ref).links, 1);
    CU_ASSERT(solo_stop(ref));

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_EXIT);
    CU_ASSERT(vivero_ref_equal(info.from, ref));
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_NORMAL);
}

static void t_gs_01_start_monitor_monitors(void)
{
    struct vivero_ref ref;
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL_FATAL(vivero_worker_start_monitor(
                              SOLO_OPTIONS(.ctx = &witness), &ref, &monitor),
                          VIVERO_OK);
    CU_ASSERT(solo_stop(ref));

    struct vivero_info info = solo_receive();

    CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_DOWN);
    CU_ASSERT(vivero_ref_equal(info.from, ref));
    CU_ASSERT_EQUAL(info.monitor.slot, monitor.slot);
    CU_ASSERT_EQUAL(info.monitor.generation, monitor.generation);
    CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_NORMAL);
}

static int init_continues_and_ends(struct vivero_self *self, void *payload,
                                   void *ctx)
{
    vivero_continue(self, 1);
    return solo_init(self, payload, ctx);
}

static int fails_at_once(struct vivero_self *self, uint32_t tag, void *ctx)
{
    (void)tag;
    (void)ctx;
    return vivero_fail(self, 3, "at once");
}

/* The worker fails as soon as it is up; the starter must hear of each. */
static void t_gs_01_start_link_cannot_miss_the_end(void)
{
    for (int i = 0; i < 200; i++) {
        struct vivero_ref ref = solo_start_link(
            VIVERO_WORKER_OPTIONS(.payload_size = sizeof(struct solo),
                                  .init = init_continues_and_ends,
                                  .on_continue = fails_at_once,
                                  .ctx = &witness));
        struct vivero_info info = solo_receive();

        CU_ASSERT_EQUAL(info.kind, VIVERO_INFO_EXIT);
        CU_ASSERT(vivero_ref_equal(info.from, ref));
        CU_ASSERT_EQUAL(info.exit.kind, VIVERO_EXIT_FAILED);
        CU_ASSERT_EQUAL(info.exit.code, 3);
    }
}

/* ---- Options ------------------------------------------------------------------------------ */

static int try_start(const struct vivero_worker_options *options)
{
    struct vivero_ref ref = {0, 0};
    int result = vivero_worker_start(options, &ref);

    if (result == VIVERO_OK) {
        (void)vivero_worker_stop(ref, NULL, CREW_PATIENCE);
    }
    return result;
}

static void options_out_of_range_are_invalid(void)
{
    static const char long_name[] =
        "0123456789012345678901234567890123456789012345678901234567890123";
    struct vivero_worker_options options;

    CU_ASSERT_EQUAL(try_start(VIVERO_WORKER_OPTIONS(.name = "")),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_start(VIVERO_WORKER_OPTIONS(.name = long_name)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_start(VIVERO_WORKER_OPTIONS(.name = long_name + 1)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(try_start(VIVERO_WORKER_OPTIONS(.mailbox_depth = 1048577)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_start(VIVERO_WORKER_OPTIONS(.mailbox_depth = 1048576)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(
        try_start(VIVERO_WORKER_OPTIONS(.full_cast = (enum vivero_full)9)),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        try_start(VIVERO_WORKER_OPTIONS(.full_call = (enum vivero_full)9)),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_start(VIVERO_WORKER_OPTIONS(.start_timeout_ns = -1)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        try_start(VIVERO_WORKER_OPTIONS(.call_timeout_ns = INT64_MIN)),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_start(VIVERO_WORKER_OPTIONS(.argument_size = 4)),
                    VIVERO_E_INVALID);
    vivero_worker_options_init(&options);
    CU_ASSERT_EQUAL(options.size, sizeof(options));
    CU_ASSERT_EQUAL(try_start(&options), VIVERO_OK);
    options.size = 0;
    CU_ASSERT_EQUAL(try_start(&options), VIVERO_E_INVALID);
}

/* Neither the strings nor the options need to outlive the start. */
static void options_are_copied(void)
{
    char name[] = "mortal";
    char label[] = "a label";
    struct vivero_ref ref =
        solo_start(VIVERO_WORKER_OPTIONS(.name = name, .label = label));

    memset(name, 'x', sizeof(name) - 1);
    memset(label, 'x', sizeof(label) - 1);
    CU_ASSERT_STRING_EQUAL(solo_look(ref).name, "mortal");
    CU_ASSERT_STRING_EQUAL(solo_look(ref).label, "a label");
    CU_ASSERT(vivero_ref_equal(vivero_whereis("mortal"), ref));
    CU_ASSERT(solo_stop(ref));
}

SUITE_MAIN("worker_start", set_up, tear_down,
           TEST(t_gs_01_init_has_run_when_start_returns),
           TEST(t_gs_01_starts_with_no_options_at_all),
           TEST(t_gs_01_the_name_is_registered_before_init_runs),
           TEST(t_gs_17_one_without_a_name_is_found_nowhere),
           TEST(t_gs_01_a_taken_name_answers_exists_and_its_holder),
           TEST(t_gs_01_a_taken_name_leaves_no_link_and_no_monitor),
           TEST(the_argument_is_copied),
           TEST(a_start_can_say_the_payloads_size_apart),
           TEST(without_an_argument_there_is_none),
           TEST(t_gs_01_start_link_links), TEST(t_gs_01_start_monitor_monitors),
           TEST(t_gs_01_start_link_cannot_miss_the_end),
           TEST(options_out_of_range_are_invalid), TEST(options_are_copied))
