/* SPDX-License-Identifier: MIT */
/* Many threads at once: calls, ends of children, and a stop in the midst. */
#include <vivero/supervisor.h>

#include "tests/lib/fake_child.h"
#include "tests/lib/suite.h"

#include <pthread.h>

#define LONG VIVERO_SECONDS(60)
#define THREADS 4
#define STEPS 400u
#define IDS 3u

static struct vivero_ref supervisor;
static struct fake a;
static struct vivero_child_spec specs[IDS];
static const char *const ids[IDS] = {"a", "b", "c"};

struct caller {
    pthread_t thread;
    uint64_t dice;
    uint32_t odd; /* answers that nothing explains */
};

static uint32_t roll(struct caller *caller, uint32_t sides)
{
    caller->dice = caller->dice * UINT64_C(6364136223846793005) + 1;
    return (uint32_t)(caller->dice >> 33) % sides;
}

static bool is_known(int error)
{
    return error == VIVERO_OK || error == VIVERO_E_EXISTS ||
           error == VIVERO_E_AGAIN || error == VIVERO_E_NOT_FOUND ||
           error == VIVERO_E_GONE || error == VIVERO_E_CLOSING ||
           error == VIVERO_E_DOWN;
}

static void end_by_itself(struct vivero_ref child)
{
    struct vivero_exit reason = vivero_reason(VIVERO_EXIT_FAILED, 1, "storm");

    vivero_child_ended(child, &reason);
}

static int dynamic_step(struct caller *caller, struct vivero_ref *child)
{
    struct vivero_child_counts counts;

    switch (roll(caller, 5)) {
    case 0:
    case 1:
        return vivero_supervisor_start_child(supervisor, &specs[0], LONG,
                                             child);
    case 2:
        end_by_itself(*child);
        return VIVERO_OK;
    case 3:
        return vivero_supervisor_terminate_ref(supervisor, *child, LONG);
    default:
        return vivero_supervisor_count_children(supervisor, &counts, LONG);
    }
}

static int static_step(struct caller *caller, struct vivero_ref *child)
{
    const char *id = ids[roll(caller, IDS)];
    struct vivero_child_info info;
    int error;

    switch (roll(caller, 6)) {
    case 0:
        return vivero_supervisor_start_child(
            supervisor, &specs[roll(caller, IDS)], LONG, child);
    case 1:
        return vivero_supervisor_terminate_child(supervisor, id, LONG);
    case 2:
        return vivero_supervisor_restart_child(supervisor, id, LONG, child);
    case 3:
        return vivero_supervisor_delete_child(supervisor, id, LONG);
    case 4:
        end_by_itself(*child);
        return VIVERO_OK;
    default:
        error = vivero_supervisor_which_child(supervisor, id, &info, LONG);
        if (error == VIVERO_OK) {
            *child = info.ref;
        }
        return error;
    }
}

static void *call_dynamic(void *ctx)
{
    struct caller *caller = ctx;
    struct vivero_ref child = {0, 0};

    for (uint32_t i = 0; i < STEPS; i++) {
        caller->odd += !is_known(dynamic_step(caller, &child));
    }
    return NULL;
}

static void *call_static(void *ctx)
{
    struct caller *caller = ctx;
    struct vivero_ref child = {0, 0};

    for (uint32_t i = 0; i < STEPS; i++) {
        caller->odd += !is_known(static_step(caller, &child));
    }
    return NULL;
}

static void set_up(void)
{
    fake_reset();
    fake_be_quiet();
    a = (struct fake){.name = "a"};
    for (uint32_t i = 0; i < IDS; i++) {
        specs[i] = fake_spec(&a);
        specs[i].id = ids[i];
    }
}

/* True: the supervisor was stopped while they called, and all is well. */
static uint32_t storm(enum vivero_strategy strategy, void *(*call)(void *),
                      bool stop_early)
{
    static struct caller callers[THREADS];
    uint32_t odd = 0;

    if (vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.strategy = strategy,
                                      .intensity = VIVERO_UNLIMITED),
            &supervisor, NULL) != VIVERO_OK) {
        return UINT32_MAX;
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        callers[i] = (struct caller){.dice = i * 77 + strategy};
        pthread_create(&callers[i].thread, NULL, call, &callers[i]);
    }
    if (stop_early) {
        odd += vivero_supervisor_stop(supervisor, NULL, LONG) != VIVERO_OK;
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(callers[i].thread, NULL);
        odd += callers[i].odd;
    }
    if (!stop_early) {
        odd += vivero_supervisor_stop(supervisor, NULL, LONG) != VIVERO_OK;
    }
    return odd;
}

static void a_dynamic_supervisor_weathers_a_storm(void)
{
    CU_ASSERT_EQUAL(storm(VIVERO_DYNAMIC, call_dynamic, false), 0);
}

static void each_static_strategy_weathers_a_storm(void)
{
    CU_ASSERT_EQUAL(storm(VIVERO_ONE_FOR_ONE, call_static, false), 0);
    CU_ASSERT_EQUAL(storm(VIVERO_ONE_FOR_ALL, call_static, false), 0);
    CU_ASSERT_EQUAL(storm(VIVERO_REST_FOR_ONE, call_static, false), 0);
}

static void a_stop_in_a_storm_answers_everybody(void)
{
    for (int i = 0; i < 20; i++) {
        CU_ASSERT_EQUAL(storm(VIVERO_DYNAMIC, call_dynamic, true), 0);
        CU_ASSERT_EQUAL(storm(VIVERO_ONE_FOR_ALL, call_static, true), 0);
    }
}

SUITE_MAIN("supervisor_storm", set_up, NULL,
           TEST(a_dynamic_supervisor_weathers_a_storm),
           TEST(each_static_strategy_weathers_a_storm),
           TEST(a_stop_in_a_storm_answers_everybody))
