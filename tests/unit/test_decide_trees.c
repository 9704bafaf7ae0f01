/* SPDX-License-Identifier: MIT */
/* Long random lives of supervisors of all strategies, under a fake clock. What
 * is asked for is held against a model that knows only the rules: what runs, in
 * which order it was started, and when restarts were made. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "base/hash.h"
#include "supervisor/decide.h"
#include "tests/lib/suite.h"

#define PLACES 8u
#define TURNS_MAX 64u
#define RESTARTS_MAX 4096u
#define STEP 50 /* so that instants meet */

enum life { NOWHERE, RISING, UP, TOLD, LOST };

/* One place in start order; a dynamic supervisor's are used again. */
struct place {
    struct vv_child child; /* first */
    struct vv_policy policy;
    enum life life;
    bool known;   /* attached */
    bool silent;  /* does not obey a STOP */
    bool by_hand; /* this start was asked for */
    bool owes;    /* it failed, and no unit has been spent for that */
};

static struct vv_decide decide;
static struct vv_decide_options options;
static struct place places[PLACES];
static uint32_t turns[TURNS_MAX]; /* queue of those who wait for a TURN */
static uint32_t turn_first;
static uint32_t turn_count;
static int64_t restarts[RESTARTS_MAX]; /* when units were spent */
static uint32_t restart_count;
static uint64_t dice;
static int64_t now;
static bool up;
static bool down;
static bool gave_up;
static bool leaving;
static bool asked_to_stop;    /* this event is somebody's wish */
static uint32_t group_first;  /* who failed, and began the restart of a group */
static uint32_t next_revived; /* none before it is started again */
static const char *complaint;
static uint64_t starts;
static uint64_t group_restarts;

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

static bool parallel(void)
{
    return options.strategy == VV_DYNAMIC;
}

static bool is_alive(const struct place *place)
{
    return place->life == RISING || place->life == UP || place->life == TOLD;
}

static uint32_t count_life(enum life life)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < PLACES; i++) {
        count += places[i].life == life;
    }
    return count;
}

/* ---- The rules --------------------------------------------------------------- */

/* Stopped one after another, the last one first: whoever runs above it and may
 * be stopped with it has ended before. */
static void check_stop_order(uint32_t index)
{
    check(count_life(TOLD) == 0, "STOP while another one is stopping");
    if (leaving) {
        for (uint32_t i = index + 1; i < PLACES; i++) {
            check(!is_alive(&places[i]), "STOP before a later one");
        }
    }
}

/* Only a group's restart stops what nobody asked to stop. */
static void check_stopped_with_group(uint32_t index)
{
    if (leaving || asked_to_stop) {
        return;
    }
    check(options.strategy == VV_ONE_FOR_ALL ||
              (options.strategy == VV_REST_FOR_ONE && index > group_first),
          "STOP of one that is in no group");
}

static void check_revived_in_order(uint32_t index)
{
    if (decide.round == VV_ROUND_REVIVING) {
        check(index >= next_revived, "revived out of order");
        next_revived = index + 1;
    }
}

static void check_start(uint32_t index)
{
    const struct place *place = &places[index];

    check(!leaving, "START after stopping began");
    check(!is_alive(place), "START of one that runs: there are two of it");
    check(place->known, "START of one that is forgotten");
    if (!parallel()) {
        check(count_life(RISING) == 0 && count_life(TOLD) == 0,
              "START before another one is up or down");
    }
    if (!up) {
        for (uint32_t i = index + 1; i < PLACES; i++) {
            check(places[i].life == NOWHERE, "opened out of order");
        }
    }
}

static void start(uint32_t index)
{
    check_start(index);
    check_revived_in_order(index);
    places[index].life = RISING;
    starts++;
}

static void stop(uint32_t index, bool kill)
{
    check(is_alive(&places[index]), "STOP or KILL of one that is not there");
    if (places[index].life != TOLD) {
        if (!parallel() && !(kill && places[index].life == RISING)) {
            check_stop_order(index);
            check_stopped_with_group(index);
        }
    } else {
        check(kill, "STOP twice");
    }
    places[index].life = kill ? LOST : TOLD;
}

/* ---- What it asks for -------------------------------------------------------------- */

static void feed(enum vv_event_kind kind, uint32_t index,
                 enum vivero_exit_kind reason);

static uint32_t index_of(const struct vv_child *child)
{
    return (uint32_t)((const struct place *)child - places);
}

static void later(uint32_t index)
{
    check(turn_count < TURNS_MAX, "too many wait for their turn");
    turns[(turn_first + turn_count++) % TURNS_MAX] = index;
}

static void forget_turn(uint32_t index)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < turn_count; i++) {
        uint32_t turn = turns[(turn_first + i) % TURNS_MAX];

        if (turn != index) {
            turns[(turn_first + kept++) % TURNS_MAX] = turn;
        }
    }
    turn_count = kept;
}

static void perform(const struct vv_action *action)
{
    uint32_t index = action->child != NULL ? index_of(action->child) : 0;

    switch (action->kind) {
    case VV_ACTION_START:
        start(index);
        break;
    case VV_ACTION_STOP:
        stop(index, false);
        break;
    case VV_ACTION_KILL:
        stop(index, true);
        break;
    case VV_ACTION_LATER:
        later(index);
        break;
    case VV_ACTION_DROP:
        check(!is_alive(&places[index]), "DROP of one that runs");
        check(places[index].known, "DROP twice");
        places[index].known = false;
        forget_turn(index);
        break;
    case VV_ACTION_GIVE_UP:
        check(!gave_up, "GIVE_UP twice");
        gave_up = true;
        leaving = true;
        break;
    case VV_ACTION_AUTO_SHUTDOWN:
        check(places[index].policy.significant, "AUTO by an insignificant one");
        leaving = true;
        break;
    case VV_ACTION_UP:
        check(!up && !leaving, "UP twice, or while it leaves");
        up = true;
        break;
    case VV_ACTION_DOWN:
        check(!down && leaving, "DOWN twice, or for nothing");
        for (uint32_t i = 0; i < PLACES; i++) {
            check(!is_alive(&places[i]), "DOWN before the last one ended");
        }
        down = true;
        break;
    case VV_ACTION_REFUSE:
        check(places[index].by_hand, "REFUSE of what nobody asked for");
        leaving = leaving || !up;
        break;
    case VV_ACTION_REPORT_ENDED:
    case VV_ACTION_REPORT_START_ERROR:
    case VV_ACTION_REPORT_SHUTDOWN_ERROR:
    case VV_ACTION_QUARANTINE:
    case VV_ACTION_COUNT:
        break;
    }
}

/* How many units count at an attempt now, by the rule. */
static uint32_t units_that_count(void)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < restart_count; i++) {
        count += restarts[i] >= now - options.period_ns;
    }
    return count;
}

/* Changes whenever a unit is spent. */
static uint64_t ring_sum(void)
{
    uint64_t sum = decide.shared.next;

    for (uint32_t i = 0; i < decide.shared.count; i++) {
        sum = sum * 31 + (uint64_t)decide.shared.times[i];
    }
    return sum + decide.shared.count * UINT64_C(1000003);
}

static void feed(enum vv_event_kind kind, uint32_t index,
                 enum vivero_exit_kind reason)
{
    struct vv_event event = {kind, index < PLACES ? &places[index].child : NULL,
                             reason, now};
    uint64_t before = ring_sum();
    uint32_t counted = units_that_count();
    bool had_given_up = gave_up;
    enum vv_round round = decide.round;
    struct vv_action action;

    asked_to_stop = kind == VV_EVENT_REMOVE;
    if (round == VV_ROUND_NONE) {
        group_first = index;
        next_revived = options.strategy == VV_REST_FOR_ONE ? index : 0;
    }
    vv_decide(&decide, &event);
    while (vv_decide_take(&decide, &action)) {
        perform(&action);
    }
    if (ring_sum() != before) {
        check(counted < options.intensity, "restarted beyond the budget");
        check(index < PLACES && places[index].owes, "two units for one");
        check(restart_count < RESTARTS_MAX, "the model is too small");
        places[index].owes = false;
        restarts[restart_count++ % RESTARTS_MAX] = now;
    }
    if (gave_up && !had_given_up) {
        check(counted == options.intensity, "gave up within the budget");
    }
    group_restarts +=
        round == VV_ROUND_NONE &&
        (decide.round == VV_ROUND_HALTING || decide.round == VV_ROUND_REVIVING);
}

static void feed_all(enum vv_event_kind kind)
{
    feed(kind, PLACES, VIVERO_EXIT_NONE);
}

/* ---- What happens ------------------------------------------------------------------- */

static const enum vivero_exit_kind reasons[] = {
    VIVERO_EXIT_NORMAL, VIVERO_EXIT_SHUTDOWN, VIVERO_EXIT_FAILED,
    VIVERO_EXIT_KILLED};

static void end(uint32_t index, enum vivero_exit_kind reason)
{
    places[index].life = NOWHERE;
    places[index].owes = true;
    feed(VV_EVENT_EXITED, index, reason);
}

static void live(uint32_t index)
{
    struct place *place = &places[index];

    switch (place->life) {
    case RISING:
        if (roll(up ? 6 : 60) == 0) {
            end(index, VIVERO_EXIT_FAILED);
        } else if (roll(30) == 0) {
            place->life = NOWHERE;
            feed(VV_EVENT_STARVED, index, VIVERO_EXIT_NONE);
        } else if (roll(20) == 0) {
            place->life = NOWHERE;
            feed(VV_EVENT_IGNORED, index, VIVERO_EXIT_IGNORED);
        } else {
            place->life = UP;
            place->by_hand = false;
            feed(VV_EVENT_STARTED, index, VIVERO_EXIT_NONE);
        }
        break;
    case UP:
        if (roll(3) == 0) {
            end(index, reasons[roll(4)]);
        }
        break;
    case TOLD:
        if (!place->silent) {
            end(index, roll(4) == 0 ? reasons[roll(4)] : VIVERO_EXIT_SHUTDOWN);
        }
        break;
    case LOST:
        end(index, VIVERO_EXIT_KILLED);
        break;
    case NOWHERE:
        break;
    }
}

static void choose_policy(uint32_t index)
{
    bool significant =
        options.auto_shutdown != VIVERO_AUTO_NEVER && roll(4) == 0;

    places[index].policy = (struct vv_policy){
        .restart = significant ? VIVERO_TRANSIENT + roll(2) : roll(3),
        .significant = significant,
        .shutdown_ns =
            roll(4) == 0 ? VIVERO_BRUTAL_KILL : (int64_t)(1 + roll(500)),
        .start_timeout_ns =
            roll(2) == 0 ? VIVERO_FOREVER : (int64_t)(1 + roll(500)),
        .backoff_ns = roll(3) * 50,
        .backoff_max_ns = 1 + roll(400)};
    places[index].silent = roll(8) == 0;
}

static bool may_ask(void)
{
    return up && !leaving && !vv_decide_is_busy(&decide);
}

/* Somebody wants a child started, stopped, forgotten. */
static void ask(uint32_t index)
{
    struct place *place = &places[index];

    if (!may_ask()) {
        return;
    }
    if (!place->known) {
        if (parallel()) {
            choose_policy(index);
            places[index].policy.significant = false;
            place->known = true;
            vv_decide_attach(&decide, &place->child, &place->policy, NULL);
        }
    }
    if (!place->known) {
        return;
    }
    if (place->child.phase == VV_CHILD_STOPPED) {
        place->by_hand = true;
        feed(VV_EVENT_ADD, index, VIVERO_EXIT_NONE);
    } else if (roll(2) == 0) {
        feed(VV_EVENT_REMOVE, index, VIVERO_EXIT_NONE);
    }
}

static void take_turn(void)
{
    uint32_t index;

    if (turn_count == 0 || vv_decide_is_busy(&decide)) {
        return;
    }
    index = turns[turn_first];
    turn_first = (turn_first + 1) % TURNS_MAX;
    turn_count--;
    feed(VV_EVENT_TURN, index, VIVERO_EXIT_NONE);
}

static void pass_time(int64_t step)
{
    now += step;
    if (vv_decide_due(&decide) <= now) {
        feed_all(VV_EVENT_TICK);
    }
}

static void answer_kills(void)
{
    for (uint32_t i = 0; i < PLACES; i++) {
        if (places[i].life == LOST) {
            live(i);
        }
    }
}

static void random_step(void)
{
    switch (roll(8)) {
    case 0:
        ask(roll(PLACES));
        break;
    case 1:
        pass_time(STEP * (1 + roll(6)));
        break;
    case 2:
    case 3:
        take_turn();
        break;
    default:
        live(roll(PLACES));
    }
    answer_kills();
}

/* ---- One life ------------------------------------------------------------------------- */

static void begin_walk(uint64_t seed)
{
    static const uint32_t intensities[] = {0, 1, 3, 40};

    dice = seed;
    options = (struct vv_decide_options){.strategy = (enum vv_strategy)roll(4),
                                         .intensity = intensities[roll(4)],
                                         .period_ns = STEP * (1 + roll(20)),
                                         .seed = seed};
    options.auto_shutdown = parallel() ? VIVERO_AUTO_NEVER : roll(3);
    memset(places, 0, sizeof(places));
    turn_count = 0;
    restart_count = 0;
    up = false;
    down = false;
    gave_up = false;
    leaving = false;
    now = VIVERO_SECONDS(1);
    check(vv_decide_init(&decide, &options, NULL) == VIVERO_OK, "no memory");
    for (uint32_t i = 0; i < PLACES && !parallel(); i++) {
        choose_policy(i);
        places[i].known = true;
        places[i].by_hand = true;
        vv_decide_attach(&decide, &places[i].child, &places[i].policy, NULL);
    }
    feed_all(VV_EVENT_OPEN);
}

static void end_walk(void)
{
    leaving = true;
    feed_all(VV_EVENT_STOP);
    for (uint32_t i = 0; i < 2000 && !down; i++) {
        live(roll(PLACES));
        answer_kills();
        pass_time(roll(50));
    }
    check(down, "DOWN never came");
    vv_decide_fini(&decide);
}

static void any_life_of_any_strategy_keeps_the_rules(void)
{
    uint64_t seed = 0;

    complaint = NULL;
    starts = 0;
    group_restarts = 0;
    while (seed < 10000 && complaint == NULL) {
        begin_walk(++seed);
        for (uint32_t i = 0; i < 400 && complaint == NULL && !down; i++) {
            random_step();
        }
        end_walk();
    }
    if (complaint != NULL) {
        fprintf(stderr, "\nwalk %llu, strategy %d: %s\n",
                (unsigned long long)seed, (int)options.strategy, complaint);
    }

    CU_ASSERT_PTR_NULL(complaint);
    CU_ASSERT(starts > 50000);
    CU_ASSERT(group_restarts > 1000);
}

SUITE_MAIN("decide_trees", NULL, NULL,
           TEST(any_life_of_any_strategy_keeps_the_rules))
