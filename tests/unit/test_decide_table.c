/* SPDX-License-Identifier: MIT */
/* Every event in every phase, under every strategy: what one child becomes of
 * it, and what is asked for. The child stands between two others that run. */
#include "tests/lib/suite.h"
#include "tests/unit/decide_kit.h"

/* How the child in the middle came into its phase. */
enum from {
    STOPPED,
    STARTING_ASKED,
    STARTING_AGAIN,
    RUNNING,
    WAITING_FOR_TURN,
    WAITING_FOR_TIME,
    STOPPING,
    FROM_COUNT
};

struct row {
    enum from from;
    enum vv_event_kind event;
    const char *one_for_one; /* what is said */
    const char *dynamic;     /* NULL: the same */
    const char *crew;        /* NULL: the same */
    enum vv_child_phase to;  /* unless it is dropped */
};

#define GONE VV_CHILD_STOPPED
#define VARIES VV_CHILD_PHASE_COUNT

static const struct row rows[] = {
    {STOPPED, VV_EVENT_ADD, "start 1", NULL, NULL, VV_CHILD_STARTING},
    {STOPPED, VV_EVENT_STARTED, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_IGNORED, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_STARVED, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_EXITED, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_EXHAUSTED, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_FINISHED, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_REMOVE, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_TURN, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_TICK, "", NULL, NULL, GONE},
    {STOPPED, VV_EVENT_STOP, "stop 2", "stop 2, stop 0", "stop 2, stop 0",
     GONE},

    {STARTING_ASKED, VV_EVENT_ADD, "", NULL, NULL, VV_CHILD_STARTING},
    {STARTING_ASKED, VV_EVENT_STARTED, "", NULL, NULL, VV_CHILD_RUNNING},
    {STARTING_ASKED, VV_EVENT_IGNORED, "", "drop 1", "", GONE},
    {STARTING_ASKED, VV_EVENT_STARVED, "refuse 1", "refuse 1, drop 1",
     "refuse 1", GONE},
    {STARTING_ASKED, VV_EVENT_EXITED, "start_error 1, refuse 1",
     "start_error 1, refuse 1, drop 1", "start_error 1, refuse 1, stop 1",
     VARIES},
    {STARTING_ASKED, VV_EVENT_EXHAUSTED, "ended 1, give_up 1, stop 2",
     "ended 1, give_up 1, drop 1, stop 2, stop 0",
     "ended 1, give_up 1, stop 1, stop 2, stop 0", VARIES},
    {STARTING_ASKED, VV_EVENT_FINISHED, "", "drop 1", "", GONE},
    {STARTING_ASKED, VV_EVENT_REMOVE, "stop 1", NULL, NULL, VV_CHILD_STOPPING},
    {STARTING_ASKED, VV_EVENT_TICK, "", NULL, NULL, VV_CHILD_STARTING},
    {STARTING_ASKED, VV_EVENT_STOP, "stop 2", "stop 2, stop 1, stop 0",
     "stop 2, stop 1, stop 0", VARIES},

    {STARTING_AGAIN, VV_EVENT_ADD, "", NULL, NULL, VV_CHILD_STARTING},
    {STARTING_AGAIN, VV_EVENT_STARTED, "", NULL, NULL, VV_CHILD_RUNNING},
    {STARTING_AGAIN, VV_EVENT_IGNORED, "", "drop 1", "", GONE},
    {STARTING_AGAIN, VV_EVENT_STARVED, "", NULL, NULL, VV_CHILD_WAITING},
    {STARTING_AGAIN, VV_EVENT_EXITED, "start_error 1, later 1", NULL, NULL,
     VV_CHILD_WAITING},
    {STARTING_AGAIN, VV_EVENT_EXHAUSTED, "ended 1, give_up 1, stop 2",
     "ended 1, give_up 1, drop 1, stop 2, stop 0",
     "ended 1, give_up 1, stop 1, stop 2, stop 0", VARIES},
    {STARTING_AGAIN, VV_EVENT_FINISHED, "", "drop 1", "", GONE},
    {STARTING_AGAIN, VV_EVENT_REMOVE, "stop 1", NULL, NULL, VV_CHILD_STOPPING},
    {STARTING_AGAIN, VV_EVENT_TICK, "", NULL, NULL, VV_CHILD_STARTING},
    {STARTING_AGAIN, VV_EVENT_STOP, "stop 2", "stop 2, stop 1, stop 0",
     "stop 2, stop 1, stop 0", VARIES},

    {RUNNING, VV_EVENT_ADD, "", NULL, NULL, VV_CHILD_RUNNING},
    {RUNNING, VV_EVENT_STARTED, "", NULL, NULL, VV_CHILD_RUNNING},
    {RUNNING, VV_EVENT_IGNORED, "", NULL, NULL, VV_CHILD_RUNNING},
    {RUNNING, VV_EVENT_STARVED, "", NULL, NULL, VV_CHILD_RUNNING},
    {RUNNING, VV_EVENT_EXITED, "ended 1, start 1", NULL, NULL,
     VV_CHILD_STARTING},
    {RUNNING, VV_EVENT_EXHAUSTED, "ended 1, give_up 1, stop 2",
     "ended 1, give_up 1, drop 1, stop 2, stop 0",
     "ended 1, give_up 1, stop 1, stop 2, stop 0", VARIES},
    {RUNNING, VV_EVENT_FINISHED, "", "drop 1", "", GONE},
    {RUNNING, VV_EVENT_REMOVE, "stop 1", NULL, NULL, VV_CHILD_STOPPING},
    {RUNNING, VV_EVENT_TURN, "", NULL, NULL, VV_CHILD_RUNNING},
    {RUNNING, VV_EVENT_TICK, "", NULL, NULL, VV_CHILD_RUNNING},
    {RUNNING, VV_EVENT_STOP, "stop 2", "stop 2, stop 1, stop 0",
     "stop 2, stop 1, stop 0", VARIES},

    {WAITING_FOR_TURN, VV_EVENT_ADD, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TURN, VV_EVENT_STARTED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TURN, VV_EVENT_IGNORED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TURN, VV_EVENT_STARVED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TURN, VV_EVENT_EXITED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TURN, VV_EVENT_EXHAUSTED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TURN, VV_EVENT_FINISHED, "", "drop 1", "", GONE},
    {WAITING_FOR_TURN, VV_EVENT_REMOVE, "", "drop 1", "stop 1", VARIES},
    {WAITING_FOR_TURN, VV_EVENT_TURN, "start 1", NULL, NULL, VV_CHILD_STARTING},
    {WAITING_FOR_TURN, VV_EVENT_TICK, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TURN, VV_EVENT_STOP, "stop 2", "stop 2, drop 1, stop 0",
     "stop 2, stop 1, stop 0", VARIES},

    {WAITING_FOR_TIME, VV_EVENT_ADD, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TIME, VV_EVENT_STARTED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TIME, VV_EVENT_IGNORED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TIME, VV_EVENT_STARVED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TIME, VV_EVENT_EXITED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TIME, VV_EVENT_EXHAUSTED, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TIME, VV_EVENT_FINISHED, "", "drop 1", "", GONE},
    {WAITING_FOR_TIME, VV_EVENT_REMOVE, "", "drop 1", "stop 1", VARIES},
    {WAITING_FOR_TIME, VV_EVENT_TURN, "", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TIME, VV_EVENT_TICK, "later 1", NULL, NULL, VV_CHILD_WAITING},
    {WAITING_FOR_TIME, VV_EVENT_STOP, "stop 2", "stop 2, drop 1, stop 0",
     "stop 2, stop 1, stop 0", VARIES},

    {STOPPING, VV_EVENT_ADD, "", NULL, NULL, VV_CHILD_STOPPING},
    {STOPPING, VV_EVENT_STARTED, "", NULL, NULL, VV_CHILD_STOPPING},
    {STOPPING, VV_EVENT_IGNORED, "", "drop 1", "", GONE},
    {STOPPING, VV_EVENT_STARVED, "", "drop 1", "", GONE},
    {STOPPING, VV_EVENT_EXITED, "shutdown_error 1", "shutdown_error 1, drop 1",
     "stop 1", VARIES},
    {STOPPING, VV_EVENT_EXHAUSTED, "shutdown_error 1",
     "shutdown_error 1, drop 1", "stop 1", VARIES},
    {STOPPING, VV_EVENT_FINISHED, "", "drop 1", "", GONE},
    {STOPPING, VV_EVENT_REMOVE, "", NULL, NULL, VV_CHILD_STOPPING},
    {STOPPING, VV_EVENT_TICK, "kill 1", NULL, NULL, VV_CHILD_STOPPING},
    {STOPPING, VV_EVENT_STOP, "", "stop 2, stop 0", "stop 2, stop 0",
     VV_CHILD_STOPPING}};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void open_three(enum vv_strategy strategy)
{
    kit_open(strategy, 9);
    kit.policies[1].backoff_ns = 1000;
    kit.policies[1].backoff_max_ns = 1000;
    if (strategy < VV_DYNAMIC) {
        kit_bring_up(3);
        tell(VV_EVENT_REMOVE, 1);
        ends(1, VIVERO_EXIT_SHUTDOWN);
    } else {
        kit_attach(0, 3);
        for (uint32_t i = 0; i < 3; i += 2) {
            tell(VV_EVENT_ADD, i);
            is_up(i);
        }
    }
}

/* From STOPPED. */
static void bring_to(enum from from)
{
    if (from == STOPPED) {
        return;
    }
    tell(VV_EVENT_ADD, 1);
    if (from == STARTING_ASKED) {
        return;
    }
    is_up(1);
    if (from == STOPPING) {
        tell(VV_EVENT_REMOVE, 1);
    } else if (from != RUNNING) {
        fails(1);
        if (from == WAITING_FOR_TURN) {
            kit.policies[1].backoff_ns = 0;
            fails(1);
        } else if (from == WAITING_FOR_TIME) {
            is_up(1);
            fails(1);
        }
    }
}

static const char *wanted_of(const struct row *row, enum vv_strategy strategy)
{
    if (strategy == VV_DYNAMIC && row->dynamic != NULL) {
        return row->dynamic;
    }
    return strategy == VV_CREW && row->crew != NULL ? row->crew
                                                    : row->one_for_one;
}

static bool obeys(const struct row *row, enum vv_strategy strategy)
{
    const char *wanted = wanted_of(row, strategy);
    bool all = row->event == VV_EVENT_TICK || row->event == VV_EVENT_STOP;
    bool right;

    open_three(strategy);
    bring_to(row->from);
    kit.now_ns += row->event == VV_EVENT_TICK ? VIVERO_SECONDS(10) : 0;
    (void)kit_feed(row->event, all ? NULL : &kit.children[1],
                   VIVERO_EXIT_FAILED);
    right = strcmp(kit.said, wanted) == 0 &&
            (row->to == VARIES || !kit.attached[1] || phase_of(1) == row->to);
    if (!right) {
        fprintf(stderr, "\nstrategy %d, from %d, event %d: %s, not %s\n",
                (int)strategy, (int)row->from, (int)row->event, kit.said,
                wanted);
    }
    kit_close();
    return right;
}

static void every_event_in_every_phase_does_what_the_table_says(void)
{
    uint32_t wrong = 0;

    for (size_t i = 0; i < ROWS; i++) {
        wrong += !obeys(&rows[i], VV_ONE_FOR_ONE);
        wrong += !obeys(&rows[i], VV_DYNAMIC);
        wrong += !obeys(&rows[i], VV_CREW);
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

/* OPEN comes once, before all; a TURN does not come to one that keeps its
 * supervisor busy. */
static bool may_come(enum from from, enum vv_event_kind event)
{
    return event != VV_EVENT_OPEN &&
           (event != VV_EVENT_TURN ||
            (from != STARTING_ASKED && from != STARTING_AGAIN &&
             from != STOPPING));
}

static void the_table_leaves_nothing_out(void)
{
    uint32_t missing = 0;

    for (int from = 0; from < FROM_COUNT; from++) {
        for (int event = 0; event < VV_EVENT_COUNT; event++) {
            bool found = !may_come((enum from)from, (enum vv_event_kind)event);

            for (size_t i = 0; i < ROWS; i++) {
                found = found || ((int)rows[i].from == from &&
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
