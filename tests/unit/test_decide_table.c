/* SPDX-License-Identifier: MIT */
/* Every event in every phase of one child. */
#include <vivero/error.h>

#include "supervisor/decide.h"
#include "tests/lib/suite.h"

#define NOTHING UINT32_MAX

/* Child 0 of one, which has been up before or not. */
struct row {
    enum vv_child_phase from;
    bool was_up;
    enum vv_event_kind event;
    enum vv_child_phase to;
    uint32_t first;  /* action, or NOTHING */
    uint32_t second; /* action, or NOTHING */
};

#define NO_ACTION NOTHING, NOTHING
#define ONLY(action_) VV_ACTION_##action_, NOTHING
#define ROW(from_, was_up_, event_, to_, ...)                                  \
    {                                                                          \
        VV_CHILD_##from_, was_up_, VV_EVENT_##event_, VV_CHILD_##to_,          \
            __VA_ARGS__                                                        \
    }

static const struct row rows[] = {
    ROW(STOPPED, false, ADD, STARTING, ONLY(START)),
    ROW(STOPPED, false, STARTED, STOPPED, NO_ACTION),
    ROW(STOPPED, false, EXHAUSTED, STOPPED, NO_ACTION),
    ROW(STOPPED, false, FINISHED, STOPPED, NO_ACTION),
    ROW(STOPPED, false, REMOVE, STOPPED, NO_ACTION),
    ROW(STOPPED, false, TICK, STOPPED, NO_ACTION),
    ROW(STOPPED, false, STOP, STOPPED, ONLY(DOWN)),

    ROW(STARTING, false, ADD, STARTING, NO_ACTION),
    ROW(STARTING, false, STARTED, RUNNING, NO_ACTION),
    ROW(STARTING, false, START_FAILED, STOPPING, VV_ACTION_REFUSE,
        VV_ACTION_STOP),
    ROW(STARTING, false, STARVED, STOPPED, ONLY(REFUSE)),
    ROW(STARTING, false, EXITED, STARTING, ONLY(START)),
    ROW(STARTING, false, EXHAUSTED, STOPPING, VV_ACTION_GIVE_UP,
        VV_ACTION_STOP),
    ROW(STARTING, false, FINISHED, STOPPED, NO_ACTION),
    ROW(STARTING, false, REMOVE, STOPPING, ONLY(STOP)),
    ROW(STARTING, false, TICK, STARTING, NO_ACTION),
    ROW(STARTING, false, STOP, STOPPING, ONLY(STOP)),

    ROW(STARTING, true, ADD, STARTING, NO_ACTION),
    ROW(STARTING, true, STARTED, RUNNING, NO_ACTION),
    ROW(STARTING, true, START_FAILED, STARTING, ONLY(START)),
    ROW(STARTING, true, STARVED, WAITING, NO_ACTION),
    ROW(STARTING, true, EXITED, STARTING, ONLY(START)),
    ROW(STARTING, true, EXHAUSTED, STOPPING, VV_ACTION_GIVE_UP, VV_ACTION_STOP),
    ROW(STARTING, true, FINISHED, STOPPED, NO_ACTION),
    ROW(STARTING, true, REMOVE, STOPPING, ONLY(STOP)),
    ROW(STARTING, true, TICK, STARTING, NO_ACTION),
    ROW(STARTING, true, STOP, STOPPING, ONLY(STOP)),

    ROW(RUNNING, true, ADD, RUNNING, NO_ACTION),
    ROW(RUNNING, true, STARTED, RUNNING, NO_ACTION),
    ROW(RUNNING, true, START_FAILED, STARTING, ONLY(START)),
    ROW(RUNNING, true, STARVED, WAITING, NO_ACTION),
    ROW(RUNNING, true, EXITED, STARTING, ONLY(START)),
    ROW(RUNNING, true, EXHAUSTED, STOPPING, VV_ACTION_GIVE_UP, VV_ACTION_STOP),
    ROW(RUNNING, true, FINISHED, STOPPED, NO_ACTION),
    ROW(RUNNING, true, REMOVE, STOPPING, ONLY(STOP)),
    ROW(RUNNING, true, TICK, RUNNING, NO_ACTION),
    ROW(RUNNING, true, STOP, STOPPING, ONLY(STOP)),

    ROW(WAITING, true, ADD, WAITING, NO_ACTION),
    ROW(WAITING, true, STARTED, WAITING, NO_ACTION),
    ROW(WAITING, true, EXHAUSTED, WAITING, NO_ACTION),
    ROW(WAITING, true, FINISHED, STOPPED, NO_ACTION),
    ROW(WAITING, true, REMOVE, STOPPING, ONLY(STOP)),
    ROW(WAITING, true, TICK, STARTING, ONLY(START)),
    ROW(WAITING, true, STOP, STOPPING, ONLY(STOP)),

    ROW(STOPPING, false, ADD, STOPPING, NO_ACTION),
    ROW(STOPPING, false, STARTED, STOPPING, NO_ACTION),
    ROW(STOPPING, false, START_FAILED, STOPPING, ONLY(STOP)),
    ROW(STOPPING, false, STARVED, STOPPED, NO_ACTION),
    ROW(STOPPING, false, EXITED, STOPPING, ONLY(STOP)),
    ROW(STOPPING, false, EXHAUSTED, STOPPING, ONLY(STOP)),
    ROW(STOPPING, false, FINISHED, STOPPED, NO_ACTION),
    ROW(STOPPING, false, REMOVE, STOPPING, NO_ACTION),
    ROW(STOPPING, false, TICK, STOPPING, NO_ACTION),
    ROW(STOPPING, false, STOP, STOPPING, NO_ACTION),

    ROW(STOPPING, true, ADD, STOPPING, NO_ACTION),
    ROW(STOPPING, true, STARTED, STOPPING, NO_ACTION),
    ROW(STOPPING, true, START_FAILED, STOPPING, ONLY(STOP)),
    ROW(STOPPING, true, STARVED, STOPPED, NO_ACTION),
    ROW(STOPPING, true, EXITED, STOPPING, ONLY(STOP)),
    ROW(STOPPING, true, EXHAUSTED, STOPPING, ONLY(STOP)),
    ROW(STOPPING, true, FINISHED, STOPPED, NO_ACTION),
    ROW(STOPPING, true, REMOVE, STOPPING, NO_ACTION),
    ROW(STOPPING, true, TICK, STOPPING, NO_ACTION),
    ROW(STOPPING, true, STOP, STOPPING, NO_ACTION)};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static struct vv_decide decide;
static struct vv_action actions[1 + 3];

static bool open_decide(const struct vv_decide_options *options)
{
    return vv_decide_init(&decide, options, NULL) == VIVERO_OK;
}

static uint32_t action_at(uint32_t index, uint32_t count)
{
    return index < count ? (uint32_t)actions[index].kind : NOTHING;
}

static bool obeys(const struct row *row)
{
    const struct vv_decide_options options = {
        .children_max = 1, .intensity = 5, .period_ns = 10};
    bool right;
    uint32_t count;

    if (!open_decide(&options)) {
        return false;
    }
    decide.children[0].phase = row->from;
    decide.children[0].was_up = row->was_up;
    decide.children[0].due_ns = 90;
    count = vv_decide(&decide, row->event, 0, 100, actions);
    right = decide.children[0].phase == row->to && count <= 2 &&
            action_at(0, count) == row->first &&
            action_at(1, count) == row->second;
    if (!right) {
        fprintf(stderr, "\nphase %d, event %d: phase %d, %u actions\n",
                (int)row->from, (int)row->event, (int)decide.children[0].phase,
                count);
    }
    vv_decide_fini(&decide);
    return right;
}

static void every_event_in_every_phase_does_what_the_table_says(void)
{
    uint32_t wrong = 0;

    for (size_t i = 0; i < ROWS; i++) {
        wrong += !obeys(&rows[i]);
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

/* What cannot come before the child is started: it is in no row. */
static bool may_come(enum vv_child_phase phase, enum vv_event_kind event)
{
    bool about_a_start = event == VV_EVENT_START_FAILED ||
                         event == VV_EVENT_STARVED || event == VV_EVENT_EXITED;

    return !about_a_start ||
           (phase != VV_CHILD_STOPPED && phase != VV_CHILD_WAITING);
}

static void the_table_leaves_nothing_out(void)
{
    uint32_t missing = 0;

    for (int phase = 0; phase < VV_CHILD_PHASE_COUNT; phase++) {
        for (int event = 0; event < VV_EVENT_COUNT; event++) {
            bool found = !may_come((enum vv_child_phase)phase,
                                   (enum vv_event_kind)event);

            for (size_t i = 0; i < ROWS; i++) {
                found = found || ((int)rows[i].from == phase &&
                                  (int)rows[i].event == event);
            }
            missing += !found;
        }
    }

    CU_ASSERT_EQUAL(missing, 0);
}

SUITE_MAIN("decide_table", NULL, NULL,
           TEST(every_event_in_every_phase_does_what_the_table_says),
           TEST(the_table_leaves_nothing_out))
