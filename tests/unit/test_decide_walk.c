/* SPDX-License-Identifier: MIT */
/* Long random lives of a crew of one to five children, under a fake clock. They are
 * modelled after the workers: one word of command each, one queue of news for
 * all. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/hash.h"
#include "supervisor/decide.h"
#include "tests/lib/suite.h"

#define CHILDREN_MAX 5u
#define QUEUE_MAX 64u

static struct vv_decide decide;
static struct vv_policy policy;
static struct vv_budget budgets[CHILDREN_MAX];

/* ---- The model -------------------------------------------------------------
 */

enum life { ABSENT, IN_INIT, UP, WAITS_FOR_A_WORD };

enum word { NO_WORD, WORD_START, WORD_STOP };

struct child {
    struct vv_child child; /* first */
    enum life life;
    enum word word;
    bool has_thread; /* until its FINISHED has been heard */
    bool lost;       /* the thread it had has left */
    bool spoken_for; /* STARVED or FINISHED is on the way without it */
    bool asked;      /* an ADD or REMOVE has not been heard */
};

struct news {
    enum vv_event_kind event;
    uint32_t child;
};

static struct child children[CHILDREN_MAX];
static uint32_t child_count;
static struct news queue[QUEUE_MAX];
static uint32_t queue_first;
static uint32_t queue_count;
static uint64_t dice;
static int64_t now;
static const char *complaint;
static uint32_t downs;
static uint32_t give_ups;
static uint64_t starts;

static void check(bool right, const char *what)
{
    if (!right && complaint == NULL) {
        complaint = what;
    }
}

static uint32_t roll(uint32_t sides)
{
    return (uint32_t)(vv_random_next(&dice) % sides);
}

static void tell(enum vv_event_kind event, uint32_t child)
{
    check(queue_count < QUEUE_MAX, "the queue of news is full");
    queue[(queue_first + queue_count++) % QUEUE_MAX] =
        (struct news){event, child};
}

/* ---- What the supervisor does to children -----------------------------------
 */

static void start_child(uint32_t index)
{
    struct child *child = &children[index];

    starts++;
    if (child->has_thread && !child->lost) {
        check(child->life == WAITS_FOR_A_WORD && child->word == NO_WORD,
              "START of a child that does not wait for it");
        child->word = WORD_START;
    } else if (roll(8) == 0) {
        child->has_thread = false;
        child->spoken_for = true;
        tell(VV_EVENT_STARVED, index);
    } else {
        child->life = IN_INIT;
        child->has_thread = true;
        child->lost = false;
    }
}

static void stop_child(uint32_t index)
{
    struct child *child = &children[index];

    if (child->spoken_for) {
        return;
    }
    if (child->has_thread && !child->lost) {
        child->word = WORD_STOP;
    } else {
        child->has_thread = false;
        child->spoken_for = true;
        tell(VV_EVENT_FINISHED, index);
    }
}

static void check_start(uint32_t index, enum vv_child_phase before)
{
    check(!vv_decide_is_leaving(&decide), "START after stopping began");
    check(children[index].child.phase == VV_CHILD_STARTING,
          "START of a child that is not STARTING");
    check(before != VV_CHILD_STOPPING, "START of a child that is to stop");
}

/* Who failed while it was to stop is told again. */
static void check_stop(uint32_t index, enum vv_event_kind event,
                       enum vv_child_phase before)
{
    bool again = before == VV_CHILD_STOPPING && event == VV_EVENT_EXITED;

    check(children[index].child.phase == VV_CHILD_STOPPING,
          "STOP of a child that is not STOPPING");
    check(again || (before != VV_CHILD_STOPPING && before != VV_CHILD_STOPPED),
          "STOP twice, or of a child that is not there");
}

static void check_down(void)
{
    downs++;
    check(downs == 1, "DOWN twice");
    for (uint32_t i = 0; i < child_count; i++) {
        check(children[i].child.phase == VV_CHILD_STOPPED &&
                  children[i].life == ABSENT,
              "DOWN before the last child ended");
    }
}

static uint32_t index_of(const struct vv_child *child)
{
    return child != NULL ? (uint32_t)((const struct child *)child - children)
                         : 0;
}

static void perform(const struct vv_action *action, enum vv_event_kind event,
                    const enum vv_child_phase *before)
{
    uint32_t index = index_of(action->child);

    if (action->kind == VV_ACTION_START) {
        check_start(index, before[index]);
        start_child(index);
    } else if (action->kind == VV_ACTION_STOP) {
        check_stop(index, event, before[index]);
        stop_child(index);
    } else if (action->kind == VV_ACTION_LATER) {
        tell(VV_EVENT_TURN, index);
    } else if (action->kind == VV_ACTION_GIVE_UP) {
        give_ups++;
        check(give_ups == 1, "GIVE_UP twice");
    } else if (action->kind == VV_ACTION_DOWN) {
        check_down();
    } else {
        check(action->kind == VV_ACTION_REFUSE ||
                  action->kind == VV_ACTION_REPORT_ENDED ||
                  action->kind == VV_ACTION_REPORT_START_ERROR,
              "what no crew is told");
    }
}

/* What a pool does when it hears of something. */
static void notice(enum vv_event_kind event, uint32_t index)
{
    struct child *child = &children[index];

    switch (event) {
    case VV_EVENT_STARVED:
        child->spoken_for = false;
        break;
    case VV_EVENT_FINISHED:
        child->life = ABSENT;
        child->word = NO_WORD;
        child->has_thread = false;
        child->lost = false;
        child->spoken_for = false;
        break;
    case VV_EVENT_ADD:
    case VV_EVENT_REMOVE:
        child->asked = false;
        break;
    case VV_EVENT_OPEN:
    case VV_EVENT_IGNORED:
    case VV_EVENT_STARTED:
    case VV_EVENT_EXITED:
    case VV_EVENT_EXHAUSTED:
    case VV_EVENT_TURN:
    case VV_EVENT_TICK:
    case VV_EVENT_STOP:
    case VV_EVENT_COUNT:
        break;
    }
}

static void feed(enum vv_event_kind event, uint32_t index)
{
    enum vv_child_phase before[CHILDREN_MAX];
    struct vv_event told = {event, &children[index].child, VIVERO_EXIT_FAILED,
                            now};
    struct vv_action action;

    for (uint32_t i = 0; i < child_count; i++) {
        before[i] = children[i].child.phase;
    }
    vv_decide(&decide, &told);
    while (vv_decide_take(&decide, &action)) {
        perform(&action, event, before);
    }
    notice(event, index);
}

static void feed_next(void)
{
    struct news news = queue[queue_first];

    queue_first = (queue_first + 1) % QUEUE_MAX;
    queue_count--;
    feed(news.event, news.child);
}

/* ---- What children do
 * --------------------------------------------------------- */

static void end_life(uint32_t index)
{
    children[index].life = ABSENT;
    tell(VV_EVENT_FINISHED, index);
}

static void obey(uint32_t index)
{
    struct child *child = &children[index];
    enum word word = child->word;

    child->word = NO_WORD;
    if (word == WORD_STOP) {
        end_life(index);
    } else if (child->life == WAITS_FOR_A_WORD) {
        child->life = IN_INIT;
    }
}

static void fall(uint32_t index, enum vv_event_kind event)
{
    children[index].lost = roll(4) == 0;
    children[index].life = children[index].lost ? ABSENT : WAITS_FOR_A_WORD;
    tell(event, index);
}

static void live(uint32_t index, bool may_fail)
{
    struct child *child = &children[index];

    if (child->life == IN_INIT) {
        if (may_fail && roll(4) == 0) {
            fall(index, VV_EVENT_EXITED);
        } else {
            child->life = UP;
            tell(VV_EVENT_STARTED, index);
        }
    } else if (child->life != ABSENT && child->word != NO_WORD) {
        obey(index);
    } else if (child->life == UP && may_fail) {
        if (roll(16) == 0) {
            end_life(index);
        } else {
            fall(index, VV_EVENT_EXITED);
        }
    }
}

static void own(uint32_t index)
{
    if (!children[index].asked) {
        children[index].asked = true;
        tell(roll(2) == 0 ? VV_EVENT_ADD : VV_EVENT_REMOVE, index);
    }
}

static void pass_time(int64_t step)
{
    now += step;
    if (vv_decide_due(&decide) <= now) {
        feed(VV_EVENT_TICK, 0);
    }
}

static void random_step(void)
{
    uint32_t index = roll(child_count);

    switch (roll(6)) {
    case 0:
        own(index);
        break;
    case 1:
        pass_time(1 + roll(2000));
        break;
    case 2:
    case 3:
        live(index, roll(3) == 0);
        break;
    default:
        if (queue_count > 0) {
            feed_next();
        }
    }
}

/* Let everybody finish what is under way. */
static void settle(void)
{
    for (uint32_t i = 0; i < 1000; i++) {
        live(i % child_count, false);
        if (queue_count > 0) {
            feed_next();
        }
    }
    check(queue_count == 0, "the news never end");
}

/* Every START and every STOP has been answered by now. */
static void check_rest(void)
{
    for (uint32_t i = 0; i < child_count; i++) {
        enum life life = children[i].life;

        switch (children[i].child.phase) {
        case VV_CHILD_STOPPED:
            check(life == ABSENT, "STOPPED, and yet there");
            break;
        case VV_CHILD_RUNNING:
            check(life == UP, "RUNNING, and yet not up");
            break;
        case VV_CHILD_WAITING:
            check(life == ABSENT || life == WAITS_FOR_A_WORD,
                  "WAITING, and yet alive");
            check(vv_heap_has(&decide.dues, &children[i].child.due),
                  "WAITING, and never due");
            break;
        case VV_CHILD_STARTING:
        case VV_CHILD_FALLEN:
        case VV_CHILD_STOPPING:
        case VV_CHILD_PHASE_COUNT:
            check(false, "neither here nor there");
        }
    }
}

static void begin_walk(uint64_t seed)
{
    static const uint32_t intensities[] = {0, 1, 3, 40, VV_INTENSITY_UNLIMITED};
    struct vv_decide_options options;
    bool own;

    dice = seed;
    child_count = 1 + roll(CHILDREN_MAX);
    options = (struct vv_decide_options){.strategy = VV_CREW,
                                         .intensity = intensities[roll(5)],
                                         .period_ns = 1 + roll(5000),
                                         .seed = seed};
    policy = (struct vv_policy){.shutdown_ns = VIVERO_FOREVER,
                                .start_timeout_ns = VIVERO_FOREVER,
                                .backoff_ns = roll(3) * 100,
                                .backoff_max_ns = 1 + roll(1000)};
    own = roll(2) == 0;
    memset(children, 0, sizeof(children));
    queue_count = 0;
    downs = 0;
    give_ups = 0;
    now = VIVERO_SECONDS(1);
    check(vv_decide_init(&decide, &options, NULL) == VIVERO_OK, "no memory");
    for (uint32_t i = 0; i < child_count; i++) {
        check(vv_budget_init(&budgets[i], options.intensity, options.period_ns,
                             NULL) == VIVERO_OK,
              "no memory");
        vv_decide_attach(&decide, &children[i].child, &policy,
                         own ? &budgets[i] : NULL);
    }
}

static void end_walk(void)
{
    tell(VV_EVENT_STOP, 0);
    for (uint32_t i = 0; i < 20; i++) {
        random_step();
    }
    settle();
    check_rest();
    check(downs == 1, "DOWN never came");
    vv_decide_fini(&decide);
    for (uint32_t i = 0; i < child_count; i++) {
        vv_budget_fini(&budgets[i], NULL);
    }
}

static void any_life_of_one_to_five_children_is_in_order(void)
{
    uint64_t seed = 0;

    complaint = NULL;
    starts = 0;
    while (seed < 4000 && complaint == NULL) {
        begin_walk(++seed);
        for (uint32_t i = 0; i < 300 && complaint == NULL; i++) {
            random_step();
            if (roll(64) == 0) {
                settle();
                check_rest();
            }
        }
        end_walk();
    }
    if (complaint != NULL) {
        fprintf(stderr, "\nwalk %llu: %s\n", (unsigned long long)seed,
                complaint);
    }

    CU_ASSERT_PTR_NULL(complaint);
    CU_ASSERT(starts > 10000);
}

SUITE_MAIN("decide_walk", NULL, NULL,
           TEST(any_life_of_one_to_five_children_is_in_order))
