/* SPDX-License-Identifier: MIT */
/* Workers on their own and forked children. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#define BODY_FINISHED 0

static struct vivero_ref place;
static struct vivero_monitor monitor_place;

static void does_nothing(struct vivero_self *self, void *argument)
{
    (void)self;
    (void)argument;
}

/* ---- A forked child ---------------------------------------------------------------------------- */

#define IS_FORKED(call_)                                                       \
    do {                                                                       \
        which++;                                                               \
        if ((call_) != VIVERO_E_FORKED) {                                      \
            return which;                                                      \
        }                                                                      \
    } while (0)

/* The number of the first function that says something else; 0: none. */
static int uses_its_parents_worker(void *ctx)
{
    const struct vivero_ref ref = *(const struct vivero_ref *)ctx;
    const struct vivero_exit why = vivero_reason(VIVERO_EXIT_KILL, 0, NULL);
    const struct vivero_info *info;
    struct vivero_worker_info seen;
    struct vivero_carriers *carriers;
    struct vivero_future future;
    struct vivero_timer timer = {0, 0};
    struct solo solo = {0};
    int64_t left;
    int which = 0;

    IS_FORKED(vivero_worker_start(NULL, &place));
    IS_FORKED(vivero_worker_start_link(NULL, &place));
    IS_FORKED(vivero_worker_start_monitor(NULL, &place, &monitor_place));
    IS_FORKED(vivero_worker_stop(ref, NULL, VIVERO_FOREVER));
    IS_FORKED(vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL));
    IS_FORKED(vivero_worker_cast(ref, &crew_nothing, NULL, NULL));
    IS_FORKED(
        vivero_worker_call_async(ref, &crew_nothing, NULL, NULL, &future));
    IS_FORKED(vivero_worker_suspend(ref, VIVERO_FOREVER));
    IS_FORKED(vivero_worker_resume(ref, VIVERO_FOREVER));
    IS_FORKED(vivero_worker_get_state(ref, &solo, sizeof(solo), 0));
    IS_FORKED(vivero_worker_replace_state(ref, &solo, sizeof(solo), 0));
    IS_FORKED(vivero_worker_info(ref, &seen));
    IS_FORKED(vivero_spawn(NULL, does_nothing, NULL, &place));
    IS_FORKED(vivero_spawn_link(NULL, does_nothing, NULL, &place));
    IS_FORKED(
        vivero_spawn_monitor(NULL, does_nothing, NULL, &place, &monitor_place));
    IS_FORKED(vivero_receive(&info, VIVERO_FOREVER));
    IS_FORKED(vivero_attach(NULL, &place));
    IS_FORKED(vivero_carriers_open(NULL, &carriers));
    IS_FORKED(vivero_register(ref, "forked"));
    IS_FORKED(vivero_unregister("parent"));
    IS_FORKED(vivero_tell(ref, 1, NULL, 0));
    IS_FORKED(vivero_tell_after(ref, 1, 1, NULL, 0, &timer));
    IS_FORKED(vivero_tell_at(ref, 1, 1, NULL, 0, &timer));
    IS_FORKED(vivero_tell_name_after("parent", 1, 1, NULL, 0, &timer));
    IS_FORKED(vivero_timer_cancel(timer, NULL));
    IS_FORKED(vivero_timer_read(timer, &left));
    IS_FORKED(vivero_signal(ref, &why));
    IS_FORKED(vivero_link(ref));
    IS_FORKED(vivero_unlink(ref, true));
    IS_FORKED(vivero_monitor(ref, &monitor_place));
    IS_FORKED(vivero_demonitor(monitor_place, true));
    return vivero_is_alive(ref) ||
                   !vivero_ref_is_nobody(vivero_whereis("parent"))
               ? which + 1
               : 0;
}

static void answers_forked_in_a_forked_child(void)
{
    struct vivero_ref ref = solo_start(VIVERO_WORKER_OPTIONS(.name = "parent"));

    CU_ASSERT_FATAL(solo_attach());
    CU_ASSERT_EQUAL(crew_fork(uses_its_parents_worker, &ref, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    solo_detach();
    CU_ASSERT(solo_stop(ref));
}

static int lives_by_itself(void *ctx)
{
    struct vivero_ref ref = solo_start(NULL);

    (void)ctx;
    return vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL) ==
                       VIVERO_OK &&
                   solo_stop(ref)
               ? BODY_FINISHED
               : 1;
}

static void serves_a_child_forked_while_there_was_no_worker(void)
{
    CU_ASSERT_EQUAL(crew_fork(lives_by_itself, NULL, NULL), BODY_FINISHED);
}

SUITE_MAIN("worker_fork", NULL, NULL, TEST(answers_forked_in_a_forked_child),
           TEST(serves_a_child_forked_while_there_was_no_worker))
