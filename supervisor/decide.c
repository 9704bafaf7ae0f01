/* SPDX-License-Identifier: MIT */
/* decide: what a supervisor should do, as a pure function.
 *
 * Model.   Children in phases, one budget for all or one each:
 *
 *            STOPPED --ADD--> STARTING --STARTED--> RUNNING
 *               ^                | ^                   |
 *               |   START_FAILED | | TICK, due         | EXITED
 *               |  STARVED       v |                   v
 *               |             WAITING <---- backoff? --+--> STARTING
 *               |                |                     |
 *               +-- FINISHED ----+-- STOPPING <--REMOVE, STOP, budget spent
 *
 *          Strategy: one for one. A group strategy would change what EXITED
 *          does and nothing else.
 * Rules.   Every attempt to start again costs one unit of the budget; a first
 *          start that fails is not tried again and costs nothing; a start that
 *          the system refused (no thread) waits and costs nothing.
 *          A child that cannot be replaced (EXHAUSTED) is like one budget spent.
          Giving up: the child that failed stays stopped, the others are
 *          stopped in reverse order, then DOWN.
 * Invariants.
 *   I1 START is only asked for a child in STARTING, STOP only in STOPPING.
 *   I2 A child that fails while it is being stopped is told again: what should
 *      have obeyed may be gone.
 *   I3 Every START is answered by STARTED, START_FAILED, STARVED, EXITED or
 *      FINISHED, every STOP by EXITED or FINISHED.
 *   I4 After stopping began nothing is started. DOWN comes once. */
#include "supervisor/decide.h"

#include <vivero/error.h>
#include <vivero/time.h>

#include "base/check.h"
#include "base/hash.h"

#include <string.h>

/* A start that the system refused is tried again after so long, doubling. */
#define STARVED_BASE_NS VIVERO_MILLISECONDS(10)
#define STARVED_MAX_NS VIVERO_SECONDS(1)

/* ---- Budget and backoff ---------------------------------------------------- */

bool vv_budget_spend(struct vv_budget *budget, int64_t now_ns)
{
    int64_t oldest_that_counts = now_ns - budget->period_ns;

    if (budget->intensity == VV_INTENSITY_UNLIMITED) {
        return true;
    }
    if (budget->intensity == 0) {
        return false;
    }
    if (budget->count == budget->intensity) {
        if (budget->times[budget->next] >= oldest_that_counts) {
            return false;
        }
    } else {
        budget->count++;
    }
    budget->times[budget->next] = now_ns;
    budget->next = (budget->next + 1) % budget->intensity;
    return true;
}

int64_t vv_backoff_delay(int64_t base_ns, int64_t max_ns, uint32_t in_a_row,
                         uint64_t *random)
{
    int64_t delay = base_ns;

    if (base_ns <= 0 || in_a_row == 0) {
        return 0;
    }
    while (--in_a_row > 0 && delay < max_ns) {
        delay = delay > max_ns / 2 ? max_ns : delay * 2;
    }
    if (delay > max_ns) {
        delay = max_ns;
    }
    return delay -
           (int64_t)(vv_random_next(random) % ((uint64_t)delay / 4 + 1));
}

/* ---- Life --------------------------------------------------------------------- */

static uint32_t budget_count(const struct vv_decide_options *options)
{
    return options->budget_per_child ? options->children_max : 1;
}

static size_t times_size(const struct vv_decide_options *options)
{
    if (options->intensity == VV_INTENSITY_UNLIMITED ||
        options->intensity == 0) {
        return 0;
    }
    return (size_t)budget_count(options) * options->intensity * sizeof(int64_t);
}

static struct vv_budget make_budget(const struct vv_decide *decide,
                                    uint32_t index)
{
    struct vv_budget budget = {NULL, decide->options.intensity, 0, 0,
                               decide->options.period_ns};

    if (decide->times != NULL) {
        budget.times = decide->times + (size_t)index * budget.intensity;
    }
    return budget;
}

int vv_decide_init(struct vv_decide *decide,
                   const struct vv_decide_options *options,
                   struct vv_account *account)
{
    size_t size = times_size(options);

    memset(decide, 0, sizeof(*decide));
    decide->options = *options;
    decide->account = account;
    decide->random = options->seed;
    decide->children =
        vv_allocate(account, options->children_max * sizeof(struct vv_child),
                    _Alignof(max_align_t));
    if (decide->children == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    if (size > 0) {
        decide->times = vv_allocate(account, size, _Alignof(max_align_t));
        if (decide->times == NULL) {
            vv_decide_fini(decide);
            return VIVERO_E_NO_MEMORY;
        }
    }
    decide->shared = make_budget(decide, 0);
    for (uint32_t i = 0; options->budget_per_child && i < options->children_max;
         i++) {
        decide->children[i].own = make_budget(decide, i);
    }
    return VIVERO_OK;
}

void vv_decide_fini(struct vv_decide *decide)
{
    vv_release(decide->account, decide->times, times_size(&decide->options),
               _Alignof(max_align_t));
    vv_release(decide->account, decide->children,
               decide->options.children_max * sizeof(struct vv_child),
               _Alignof(max_align_t));
    decide->times = NULL;
    decide->children = NULL;
}

/* ---- Deciding -------------------------------------------------------------------- */

struct step {
    struct vv_decide *decide;
    struct vv_action *actions;
    uint32_t count;
    int64_t now_ns;
};

static void act(struct step *step, enum vv_action_kind kind, uint32_t child)
{
    step->actions[step->count].kind = kind;
    step->actions[step->count].child = child;
    step->count++;
}

static void start(struct step *step, uint32_t index)
{
    step->decide->children[index].phase = VV_CHILD_STARTING;
    act(step, VV_ACTION_START, index);
}

static void start_at(struct step *step, uint32_t index, int64_t delay_ns)
{
    struct vv_child *child = &step->decide->children[index];

    if (delay_ns == 0) {
        start(step, index);
    } else {
        child->phase = VV_CHILD_WAITING;
        child->due_ns = delay_ns < VIVERO_FOREVER - step->now_ns
                            ? step->now_ns + delay_ns
                            : VIVERO_FOREVER - 1;
    }
}

static void stop_one(struct step *step, uint32_t index)
{
    struct vv_child *child = &step->decide->children[index];

    switch (child->phase) {
    case VV_CHILD_STARTING:
    case VV_CHILD_RUNNING:
        child->phase = VV_CHILD_STOPPING;
        act(step, VV_ACTION_STOP, index);
        break;
    case VV_CHILD_WAITING:
        /* It failed before and waits for the word: tell it to leave. */
        child->phase = VV_CHILD_STOPPING;
        act(step, VV_ACTION_STOP, index);
        break;
    case VV_CHILD_STOPPED:
    case VV_CHILD_STOPPING:
    case VV_CHILD_PHASE_COUNT:
        break;
    }
}

static void stop_all(struct step *step)
{
    step->decide->stopping = true;
    for (uint32_t i = step->decide->options.children_max; i-- > 0;) {
        stop_one(step, i);
    }
}

static void give_up(struct step *step, uint32_t index)
{
    act(step, VV_ACTION_GIVE_UP, index);
    stop_all(step);
}

static void failed(struct step *step, uint32_t index)
{
    struct vv_decide *decide = step->decide;
    struct vv_child *child = &decide->children[index];
    struct vv_budget *budget =
        decide->options.budget_per_child ? &child->own : &decide->shared;

    /* A run that outlasted the period was stable; a start that failed was no
     * run. */
    if (child->phase == VV_CHILD_RUNNING &&
        step->now_ns - child->started_ns > decide->options.period_ns) {
        child->in_a_row = 0;
    }
    child->phase = VV_CHILD_WAITING;
    if (!vv_budget_spend(budget, step->now_ns)) {
        give_up(step, index);
        return;
    }
    start_at(step, index,
             vv_backoff_delay(decide->options.backoff_ns,
                              decide->options.backoff_max_ns, child->in_a_row,
                              &decide->random));
    child->in_a_row++;
}

static void start_failed(struct step *step, uint32_t index)
{
    struct vv_child *child = &step->decide->children[index];

    if (child->was_up) {
        failed(step, index);
    } else {
        child->phase = VV_CHILD_STOPPING;
        act(step, VV_ACTION_REFUSE, index);
        act(step, VV_ACTION_STOP, index);
    }
}

static void starved(struct step *step, uint32_t index)
{
    struct vv_child *child = &step->decide->children[index];

    if (!child->was_up) {
        child->phase = VV_CHILD_STOPPED;
        act(step, VV_ACTION_REFUSE, index);
        return;
    }
    start_at(step, index,
             vv_backoff_delay(STARVED_BASE_NS, STARVED_MAX_NS, ++child->starved,
                              &step->decide->random));
}

static void tick(struct step *step)
{
    for (uint32_t i = 0; i < step->decide->options.children_max; i++) {
        const struct vv_child *child = &step->decide->children[i];

        if (child->phase == VV_CHILD_WAITING && child->due_ns <= step->now_ns) {
            start(step, i);
        }
    }
}

static void started(struct step *step, uint32_t index)
{
    struct vv_child *child = &step->decide->children[index];

    if (child->phase == VV_CHILD_STARTING) {
        child->phase = VV_CHILD_RUNNING;
        child->was_up = true;
        child->starved = 0;
        child->started_ns = step->now_ns;
    }
}

static void ended(struct step *step, uint32_t index)
{
    step->decide->children[index] =
        (struct vv_child){.own = step->decide->children[index].own};
}

static void check_down(struct step *step)
{
    struct vv_decide *decide = step->decide;

    for (uint32_t i = 0; i < decide->options.children_max; i++) {
        if (decide->children[i].phase != VV_CHILD_STOPPED) {
            return;
        }
    }
    if (decide->stopping && !decide->down) {
        decide->down = true;
        act(step, VV_ACTION_DOWN, 0);
    }
}

uint32_t vv_decide_actions_max(const struct vv_decide *decide)
{
    return decide->options.children_max + 3;
}

static bool is_stopping(const struct vv_decide *decide, uint32_t child)
{
    return decide->children[child].phase == VV_CHILD_STOPPING;
}

/* It was started and has not ended, as far as we know. */
static bool is_up(const struct vv_decide *decide, uint32_t child)
{
    return decide->children[child].phase == VV_CHILD_STARTING ||
           decide->children[child].phase == VV_CHILD_RUNNING;
}

uint32_t vv_decide(struct vv_decide *decide, enum vv_event_kind event,
                   uint32_t child, int64_t now_ns, struct vv_action *actions)
{
    struct step step = {decide, actions, 0, now_ns};

    switch (event) {
    case VV_EVENT_ADD:
        if (!decide->stopping &&
            decide->children[child].phase == VV_CHILD_STOPPED) {
            start(&step, child);
        }
        break;
    case VV_EVENT_STARTED:
        started(&step, child);
        break;
    case VV_EVENT_START_FAILED:
        if (is_stopping(decide, child)) {
            act(&step, VV_ACTION_STOP, child); /* it may not have heard */
        } else if (is_up(decide, child)) {
            start_failed(&step, child);
        }
        break;
    case VV_EVENT_STARVED:
        if (is_stopping(decide, child)) {
            ended(&step, child);
        } else if (is_up(decide, child)) {
            starved(&step, child);
        }
        break;
    case VV_EVENT_EXITED:
        if (is_stopping(decide, child)) {
            act(&step, VV_ACTION_STOP, child);
        } else if (is_up(decide, child)) {
            failed(&step, child);
        }
        break;
    case VV_EVENT_EXHAUSTED:
        if (is_stopping(decide, child)) {
            act(&step, VV_ACTION_STOP, child);
        } else if (is_up(decide, child)) {
            decide->children[child].phase = VV_CHILD_WAITING;
            give_up(&step, child);
        }
        break;
    case VV_EVENT_FINISHED:
        ended(&step, child);
        break;
    case VV_EVENT_REMOVE:
        stop_one(&step, child);
        break;
    case VV_EVENT_TICK:
        tick(&step);
        break;
    case VV_EVENT_STOP:
        stop_all(&step);
        break;
    case VV_EVENT_COUNT:
        break;
    }
    check_down(&step);
    return step.count;
}

int64_t vv_decide_next(const struct vv_decide *decide)
{
    int64_t next = VIVERO_FOREVER;

    for (uint32_t i = 0; i < decide->options.children_max; i++) {
        const struct vv_child *child = &decide->children[i];

        if (child->phase == VV_CHILD_WAITING && child->due_ns < next) {
            next = child->due_ns;
        }
    }
    return next;
}
