/* SPDX-License-Identifier: MIT */
#ifndef TESTS_UNIT_DECIDE_KIT_H
#define TESTS_UNIT_DECIDE_KIT_H

/* A decide() with a few children under a clock of the test's own. What an event
 * leads to comes back as a text, "ended 1, start 1", in the order of the
 * actions. */

#include <vivero/error.h>
#include <vivero/time.h>

#include "supervisor/decide.h"

#include <stdio.h>
#include <string.h>

#define KIT_CHILDREN 8u
#define KIT_PERIOD VIVERO_SECONDS(5)
#define KIT_TEXT 512u

struct kit {
    struct vv_decide decide;
    struct vv_policy policies[KIT_CHILDREN];
    struct vv_budget budgets[KIT_CHILDREN];
    struct vv_child children[KIT_CHILDREN];
    bool attached[KIT_CHILDREN];
    char said[KIT_TEXT];
    int64_t now_ns;
};

static struct kit kit;

static inline struct vv_decide_options kit_options(enum vv_strategy strategy,
                                                   uint32_t intensity)
{
    return (struct vv_decide_options){.strategy = strategy,
                                      .intensity = intensity,
                                      .period_ns = KIT_PERIOD,
                                      .seed = 1};
}

/* The policy of each child, to be changed before it is attached. */
static inline void kit_open_with(const struct vv_decide_options *options)
{
    memset(&kit, 0, sizeof(kit));
    kit.now_ns = VIVERO_SECONDS(100);
    for (uint32_t i = 0; i < KIT_CHILDREN; i++) {
        kit.policies[i] =
            (struct vv_policy){.shutdown_ns = VIVERO_SECONDS(5),
                               .start_timeout_ns = VIVERO_FOREVER};
    }
    if (vv_decide_init(&kit.decide, options, NULL) != VIVERO_OK) {
        abort();
    }
}

static inline void kit_close(void)
{
    vv_decide_fini(&kit.decide);
    for (uint32_t i = 0; i < KIT_CHILDREN; i++) {
        vv_budget_fini(&kit.budgets[i], NULL);
    }
}

static inline void kit_open(enum vv_strategy strategy, uint32_t intensity)
{
    struct vv_decide_options options = kit_options(strategy, intensity);

    kit_open_with(&options);
}

static inline void kit_attach(uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        vv_decide_attach(&kit.decide, &kit.children[i], &kit.policies[i],
                         kit.budgets[i].period_ns > 0 ? &kit.budgets[i] : NULL);
        kit.attached[i] = true;
    }
}

/* Before it is attached: a budget of its own. */
static inline void kit_own_budget(uint32_t child, uint32_t intensity)
{
    if (vv_budget_init(&kit.budgets[child], intensity, KIT_PERIOD, NULL) !=
        VIVERO_OK) {
        abort();
    }
}

static inline const char *kit_action_name(enum vv_action_kind kind)
{
    static const char *const names[VV_ACTION_COUNT] = {
        "ended",      "start_error", "shutdown_error", "refuse",
        "quarantine", "give_up",     "auto",           "start",
        "stop",       "kill",        "later",          "drop",
        "up",         "down"};

    return names[kind];
}

static inline void kit_note(const struct vv_action *action)
{
    size_t used = strlen(kit.said);
    char child[16] = "";

    if (action->child != NULL) {
        ptrdiff_t index = action->child - kit.children;

        (void)snprintf(child, sizeof(child), " %d", (int)index);
        if (action->kind == VV_ACTION_DROP) {
            kit.attached[index] = false;
        }
    }
    (void)snprintf(kit.said + used, KIT_TEXT - used, "%s%s%s",
                   used > 0 ? ", " : "", kit_action_name(action->kind), child);
}

static inline const char *kit_feed(enum vv_event_kind kind,
                                   struct vv_child *child,
                                   enum vivero_exit_kind reason)
{
    const struct vv_event event = {kind, child, reason, kit.now_ns};
    struct vv_action action;

    kit.said[0] = '\0';
    vv_decide(&kit.decide, &event);
    while (vv_decide_take(&kit.decide, &action)) {
        kit_note(&action);
    }
    return kit.said;
}

static inline const char *tell(enum vv_event_kind kind, uint32_t child)
{
    return kit_feed(kind, &kit.children[child], VIVERO_EXIT_NONE);
}

static inline const char *tell_all(enum vv_event_kind kind)
{
    return kit_feed(kind, NULL, VIVERO_EXIT_NONE);
}

static inline const char *ends(uint32_t child, enum vivero_exit_kind reason)
{
    return kit_feed(VV_EVENT_EXITED, &kit.children[child], reason);
}

static inline const char *fails(uint32_t child)
{
    return ends(child, VIVERO_EXIT_FAILED);
}

static inline const char *is_up(uint32_t child)
{
    return tell(VV_EVENT_STARTED, child);
}

/* Time passes; what falls due in it. */
static inline const char *pass(int64_t time_ns)
{
    kit.now_ns += time_ns;
    return tell_all(VV_EVENT_TICK);
}

static inline enum vv_child_phase phase_of(uint32_t child)
{
    return kit.children[child].phase;
}

/* Children 0..count-1 of a static supervisor, all up. */
static inline void kit_bring_up(uint32_t count)
{
    kit_attach(0, count);
    tell_all(VV_EVENT_OPEN);
    for (uint32_t i = 0; i < count; i++) {
        is_up(i);
    }
}

/* The same in a dynamic one, or a crew. */
static inline void kit_add(uint32_t first, uint32_t end)
{
    for (uint32_t i = first; i < end; i++) {
        kit_attach(i, i + 1);
        tell(VV_EVENT_ADD, i);
        is_up(i);
    }
}

#define SAYS(said_, expected_) CU_ASSERT_STRING_EQUAL(said_, expected_)

#endif
