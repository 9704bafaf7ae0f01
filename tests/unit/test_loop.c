/* SPDX-License-Identifier: MIT */
/* The loop's thread, keeping a crew, with a table of operations that reads its part from a
 * script: how each start of each child goes. */
#include <vivero/error.h>
#include <vivero/time.h>

#include "os/thread.h"
#include "supervisor/loop.h"
#include "tests/lib/eventually.h"
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"

#include <pthread.h>
#include <stdatomic.h>

#define CHILDREN 3u
#define PATIENCE VIVERO_SECONDS(20)
#define LINES_MAX 1024u
enum part { COMES_UP = 0, FAILS_TO_START, STARVES, COMES_UP_AND_FAILS };

enum what { START, STOP, REFUSED, STARVED, NOTICED, GAVE_UP, SERVED, DOWN };

struct line {
    enum what what;
    uint32_t child;
    enum vv_event_kind event; /* of NOTICED */
    int code;                 /* of the reason */
    int64_t at_ns;
    bool on_its_thread;
};

struct child {
    struct vv_child child; /* first */
    struct vv_notice up;
    struct vv_notice end;
    struct vv_notice owner;
    const enum part *script; /* the last part repeats; NULL: COMES_UP */
    uint32_t script_left;
};

static struct vv_loop loop;
static struct vv_policy policy;
static struct child children[CHILDREN];
static struct vv_notice stop_notice;
static struct vv_turn late_turn;
static struct vv_turn *turn_to_queue; /* by the next look */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* guarded by lock */
static struct line lines[LINES_MAX];
static uint32_t line_count;

/* ---- What the supervisor does ----------------------------------------------
 */

static void write_line(struct line line)
{
    line.at_ns = vivero_now();
    line.on_its_thread = vv_loop_is_self(&loop);
    pthread_mutex_lock(&lock);
    if (line_count < LINES_MAX) {
        lines[line_count++] = line;
    }
    pthread_mutex_unlock(&lock);
}

static void tell(struct vv_notice *notice, uint32_t index,
                 enum vv_event_kind event, int code)
{
    const struct vivero_exit exit = {VIVERO_EXIT_FAILED, code, "told"};

    vv_loop_tell(&loop, notice, &children[index].child, event, &exit);
}

static enum part next_part(struct child *child)
{
    enum part part = child->script_left > 0 ? *child->script : COMES_UP;

    if (child->script_left > 1) {
        child->script++;
        child->script_left--;
    }
    return part;
}

static void start(uint32_t index)
{
    struct child *child = &children[index];

    write_line((struct line){.what = START, .child = index});
    switch (next_part(child)) {
    case COMES_UP:
        tell(&child->up, index, VV_EVENT_STARTED, 0);
        break;
    case FAILS_TO_START:
        tell(&child->end, index, VV_EVENT_EXITED, 7);
        break;
    case STARVES:
        tell(&child->end, index, VV_EVENT_STARVED, 8);
        break;
    case COMES_UP_AND_FAILS:
        tell(&child->up, index, VV_EVENT_STARTED, 0);
        tell(&child->end, index, VV_EVENT_EXITED, 9);
        break;
    }
}

static void stop(uint32_t index)
{
    write_line((struct line){.what = STOP, .child = index});
    tell(&children[index].end, index, VV_EVENT_FINISHED, 0);
}

static uint32_t index_of(const struct vv_child *child)
{
    return child != NULL ? (uint32_t)((const struct child *)child - children)
                         : 0;
}

static void perform(void *ctx, const struct vv_action *action,
                    const struct vv_notice *cause)
{
    uint32_t index = index_of(action->child);

    (void)ctx;
    if (action->kind == VV_ACTION_START) {
        start(index);
    } else if (action->kind == VV_ACTION_STOP) {
        stop(index);
    } else if (action->kind == VV_ACTION_REFUSE) {
        write_line((struct line){
            .what = cause->event == VV_EVENT_STARVED ? STARVED : REFUSED,
            .child = index,
            .code = cause->exit.code});
    } else if (action->kind == VV_ACTION_GIVE_UP) {
        write_line((struct line){
            .what = GAVE_UP, .child = index, .code = cause->exit.code});
    }
}

static void noticed(void *ctx, const struct vv_notice *notice)
{
    (void)ctx;
    if (notice->event != VV_EVENT_TURN) {
        write_line((struct line){.what = NOTICED,
                                 .child = index_of(notice->child),
                                 .event = notice->event});
    }
}

static void down(void *ctx)
{
    (void)ctx;
    write_line((struct line){.what = DOWN});
}

static void serve(void *ctx, struct vv_turn *turn)
{
    (void)ctx;
    write_line((struct line){.what = SERVED, .child = turn == &late_turn});
}

static void look(void *ctx)
{
    (void)ctx;
    if (turn_to_queue != NULL) {
        vv_loop_queue(&loop, turn_to_queue);
        turn_to_queue = NULL;
    }
}

static const struct vv_loop_ops ops = {.perform = perform,
                                       .noticed = noticed,
                                       .look = look,
                                       .serve = serve,
                                       .down = down};

/* ---- What a test does
 * ---------------------------------------------------------- */

static void set_up(void)
{
    memset(children, 0, sizeof(children));
    memset(&stop_notice, 0, sizeof(stop_notice));
    turn_to_queue = NULL;
    line_count = 0;
}

static int open_it(uint32_t intensity, int64_t backoff_ns)
{
    const struct vv_decide_options options = {.strategy = VV_CREW,
                                              .intensity = intensity,
                                              .period_ns = VIVERO_SECONDS(60)};
    int error = vv_loop_init(&loop, &options, &ops, NULL, NULL);

    if (error != VIVERO_OK) {
        return error;
    }
    policy = (struct vv_policy){.shutdown_ns = VIVERO_FOREVER,
                                .start_timeout_ns = VIVERO_FOREVER,
                                .backoff_ns = backoff_ns,
                                .backoff_max_ns = backoff_ns};
    for (uint32_t i = 0; i < CHILDREN; i++) {
        vv_decide_attach(&loop.decide, &children[i].child, &policy, NULL);
    }
    error = vv_loop_start(&loop, "test/keeper");
    if (error != VIVERO_OK) {
        vv_loop_fini(&loop);
    }
    return error;
}

/* The children's parts, from now on. */
static void script(uint32_t index, const enum part *parts, uint32_t count)
{
    children[index].script = parts;
    children[index].script_left = count;
}

static void add(uint32_t index)
{
    tell(&children[index].owner, index, VV_EVENT_ADD, 0);
}

static void stop_and_close(void)
{
    vv_loop_tell(&loop, &stop_notice, NULL, VV_EVENT_STOP, NULL);
    vv_loop_join(&loop);
    vv_loop_fini(&loop);
}

static uint32_t count_lines(enum what what, uint32_t child)
{
    uint32_t count = 0;

    pthread_mutex_lock(&lock);
    for (uint32_t i = 0; i < line_count; i++) {
        count += lines[i].what == what && lines[i].child == child;
    }
    pthread_mutex_unlock(&lock);
    return count;
}

struct wanted {
    enum what what;
    uint32_t child;
    uint32_t count;
};

static bool is_written(void *ctx)
{
    const struct wanted *wanted = ctx;

    return count_lines(wanted->what, wanted->child) >= wanted->count;
}

static bool await(enum what what, uint32_t child, uint32_t count)
{
    struct wanted wanted = {what, child, count};

    return eventually(is_written, &wanted, PATIENCE);
}

/* Whether the lines other than NOTICED are these. After close only. */
static bool story_is(const struct wanted *story, uint32_t count)
{
    uint32_t at = 0;

    for (uint32_t i = 0; i < line_count; i++) {
        if (lines[i].what == NOTICED) {
            continue;
        }
        if (at == count || lines[i].what != story[at].what ||
            lines[i].child != story[at].child) {
            return false;
        }
        at++;
    }
    return at == count;
}

static const struct line *line_of(enum what what, uint32_t number)
{
    static const struct line none = {.code = -1};

    for (uint32_t i = 0; i < line_count; i++) {
        if (lines[i].what == what && number-- == 0) {
            return &lines[i];
        }
    }
    return &none;
}

/* ---- Tests
 * ------------------------------------------------------------------- */

static void a_child_is_started_when_it_is_added_and_stopped_at_the_end(void)
{
    static const struct wanted story[] = {
        {START, 1, 0}, {STOP, 1, 0}, {DOWN, 0, 0}};

    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    add(1);
    CU_ASSERT(await(NOTICED, 1, 2));
    stop_and_close();

    CU_ASSERT(story_is(story, 3));
}

static void everything_happens_on_its_own_thread(void)
{
    uint32_t elsewhere = 0;

    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    CU_ASSERT_FALSE(vv_loop_is_self(&loop));
    add(0);
    stop_and_close();

    for (uint32_t i = 0; i < line_count; i++) {
        elsewhere += !lines[i].on_its_thread;
    }
    CU_ASSERT_EQUAL(elsewhere, 0);
}

static void a_child_that_failed_is_started_again(void)
{
    static const enum part parts[] = {COMES_UP_AND_FAILS, COMES_UP};
    static const struct wanted story[] = {
        {START, 2, 0}, {START, 2, 0}, {STOP, 2, 0}, {DOWN, 0, 0}};

    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    script(2, parts, 2);
    add(2);
    CU_ASSERT(await(NOTICED, 2, 4));
    stop_and_close();

    CU_ASSERT(story_is(story, 4));
}

static void an_event_is_noticed_after_it_was_dealt_with(void)
{
    static const enum part parts[] = {COMES_UP_AND_FAILS, COMES_UP};
    uint32_t noticed_at = 0;

    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    script(0, parts, 2);
    add(0);
    CU_ASSERT(await(NOTICED, 0, 4));
    stop_and_close();

    for (uint32_t i = 0; i < line_count; i++) {
        if (lines[i].what == NOTICED && lines[i].event == VV_EVENT_EXITED) {
            noticed_at = i;
        }
    }
    CU_ASSERT(&lines[noticed_at] > line_of(START, 1));
}

static void a_second_restart_waits_for_its_delay(void)
{
    static const enum part parts[] = {COMES_UP_AND_FAILS, COMES_UP_AND_FAILS,
                                      COMES_UP};
    const int64_t delay = VIVERO_MILLISECONDS(20);

    CU_ASSERT_EQUAL_FATAL(open_it(3, delay), VIVERO_OK);
    script(0, parts, 3);
    add(0);
    CU_ASSERT(await(START, 0, 3));
    stop_and_close();

    CU_ASSERT(line_of(START, 2)->at_ns - line_of(START, 1)->at_ns >=
              delay - delay / 4);
}

static void a_first_start_that_fails_is_refused_with_its_reason(void)
{
    static const enum part parts[] = {FAILS_TO_START};
    static const struct wanted story[] = {
        {START, 1, 0}, {REFUSED, 1, 0}, {STOP, 1, 0}, {DOWN, 0, 0}};

    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    script(1, parts, 1);
    add(1);
    CU_ASSERT(await(NOTICED, 1, 3));
    stop_and_close();

    CU_ASSERT(story_is(story, 4));
    CU_ASSERT_EQUAL(line_of(REFUSED, 0)->code, 7);
}

static void a_first_start_without_a_thread_is_refused_as_starved(void)
{
    static const enum part parts[] = {STARVES};
    static const struct wanted story[] = {
        {START, 1, 0}, {STARVED, 1, 0}, {DOWN, 0, 0}};

    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    script(1, parts, 1);
    add(1);
    CU_ASSERT(await(STARVED, 1, 1));
    stop_and_close();

    CU_ASSERT(story_is(story, 3));
    CU_ASSERT_EQUAL(line_of(STARVED, 0)->code, 8);
}

static void a_starved_restart_is_tried_until_there_is_a_thread(void)
{
    static const enum part parts[] = {COMES_UP_AND_FAILS, STARVES, STARVES,
                                      COMES_UP};
    static const struct wanted story[] = {{START, 0, 0}, {START, 0, 0},
                                          {START, 0, 0}, {START, 0, 0},
                                          {STOP, 0, 0},  {DOWN, 0, 0}};

    CU_ASSERT_EQUAL_FATAL(open_it(1, 0), VIVERO_OK);
    script(0, parts, 4);
    add(0);
    CU_ASSERT(await(START, 0, 4));
    stop_and_close();

    CU_ASSERT(story_is(story, 6));
}

static void giving_up_tells_why_and_stops_all_and_then_is_down(void)
{
    static const enum part parts[] = {COMES_UP_AND_FAILS};
    static const struct wanted story[] = {
        {START, 0, 0},   {START, 1, 0}, {START, 1, 0}, {START, 1, 0},
        {GAVE_UP, 1, 0}, {STOP, 1, 0},  {STOP, 0, 0},  {DOWN, 0, 0}};

    CU_ASSERT_EQUAL_FATAL(open_it(2, 0), VIVERO_OK);
    script(1, parts, 1);
    add(0);
    CU_ASSERT(await(NOTICED, 0, 2));
    add(1);
    vv_loop_join(&loop);
    vv_loop_fini(&loop);

    CU_ASSERT(story_is(story, 8));
    CU_ASSERT_EQUAL(line_of(GAVE_UP, 0)->code, 9);
}

static void a_stop_during_a_delay_does_not_wait_for_it(void)
{
    static const enum part parts[] = {COMES_UP_AND_FAILS};

    CU_ASSERT_EQUAL_FATAL(open_it(9, VIVERO_SECONDS(1000)), VIVERO_OK);
    script(0, parts, 1);
    add(0);
    CU_ASSERT(await(START, 0, 2));
    stop_and_close();

    CU_ASSERT_EQUAL(count_lines(STOP, 0), 1);
}

/* ---- Turns
 * ------------------------------------------------------------------------- */

static void what_was_queued_is_served_when_it_was_poked(void)
{
    static const struct wanted story[] = {{SERVED, 1, 0}, {DOWN, 0, 0}};

    CU_ASSERT_EQUAL_FATAL(
        vv_loop_init(&loop,
                     &(const struct vv_decide_options){.strategy = VV_CREW},
                     &ops, NULL, NULL),
        VIVERO_OK);
    turn_to_queue = &late_turn;
    CU_ASSERT_EQUAL_FATAL(vv_loop_start(&loop, "test/keeper"), VIVERO_OK);
    vv_loop_poke(&loop);
    CU_ASSERT(await(SERVED, 1, 1));
    stop_and_close();

    CU_ASSERT(story_is(story, 2));
}

static void what_came_before_a_failed_restart_is_served_before_the_next(void)
{
    static const enum part parts[] = {COMES_UP_AND_FAILS, FAILS_TO_START,
                                      COMES_UP};
    static const struct wanted story[] = {{START, 0, 0},  {START, 0, 0},
                                          {SERVED, 1, 0}, {START, 0, 0},
                                          {STOP, 0, 0},   {DOWN, 0, 0}};

    turn_to_queue = &late_turn;
    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    script(0, parts, 3);
    add(0);
    CU_ASSERT(await(START, 0, 3));
    stop_and_close();

    CU_ASSERT(story_is(story, 6));
}

/* ---- Many who tell
 * --------------------------------------------------------------- */

#define TELLERS 4u
#define ROUNDS 200u

struct teller {
    pthread_t thread;
    struct vv_notice notices[ROUNDS];
};

static void *tell_often(void *ctx)
{
    struct teller *teller = ctx;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        vv_loop_tell(&loop, &teller->notices[i], NULL, VV_EVENT_TICK, NULL);
    }
    return NULL;
}

static void no_news_is_lost_when_many_threads_tell(void)
{
    static struct teller tellers[TELLERS];

    memset(tellers, 0, sizeof(tellers));
    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    for (uint32_t i = 0; i < TELLERS; i++) {
        pthread_create(&tellers[i].thread, NULL, tell_often, &tellers[i]);
    }
    for (uint32_t i = 0; i < TELLERS; i++) {
        pthread_join(tellers[i].thread, NULL);
    }
    stop_and_close();

    CU_ASSERT_EQUAL(count_lines(NOTICED, 0), TELLERS * ROUNDS + 1);
}

/* ---- When it does not open
 * --------------------------------------------------------- */

static void open_reports_no_memory_and_leaves_nothing(void)
{
    int error = VIVERO_E_NO_MEMORY;
    uint64_t left = 0;

    CU_ASSERT_FATAL(fault_allocator_install());
    for (uint64_t n = 0; error == VIVERO_E_NO_MEMORY; n++) {
        fault_allocator_fail_after(n);
        error = open_it(3, 0);
        left += error != VIVERO_OK ? fault_allocator_blocks() : 0;
    }
    fault_allocator_fail_after(FAULT_NEVER);
    CU_ASSERT_EQUAL_FATAL(error, VIVERO_OK);
    stop_and_close();

    CU_ASSERT_EQUAL(left, 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static void open_reports_a_limit_when_there_is_no_thread(void)
{
    vv_thread_fail_starts(0, 1);

    CU_ASSERT_EQUAL(open_it(3, 0), VIVERO_E_LIMIT);

    vv_thread_fail_starts(0, 0);
    CU_ASSERT_EQUAL_FATAL(open_it(3, 0), VIVERO_OK);
    stop_and_close();
}

SUITE_MAIN("loop", set_up, NULL,
           TEST(a_child_is_started_when_it_is_added_and_stopped_at_the_end),
           TEST(everything_happens_on_its_own_thread),
           TEST(a_child_that_failed_is_started_again),
           TEST(an_event_is_noticed_after_it_was_dealt_with),
           TEST(a_second_restart_waits_for_its_delay),
           TEST(a_first_start_that_fails_is_refused_with_its_reason),
           TEST(a_first_start_without_a_thread_is_refused_as_starved),
           TEST(a_starved_restart_is_tried_until_there_is_a_thread),
           TEST(giving_up_tells_why_and_stops_all_and_then_is_down),
           TEST(a_stop_during_a_delay_does_not_wait_for_it),
           TEST(what_was_queued_is_served_when_it_was_poked),
           TEST(what_came_before_a_failed_restart_is_served_before_the_next),
           TEST(no_news_is_lost_when_many_threads_tell),
           TEST(open_reports_no_memory_and_leaves_nothing),
           TEST(open_reports_a_limit_when_there_is_no_thread))
