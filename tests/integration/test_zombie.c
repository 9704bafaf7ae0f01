/* SPDX-License-Identifier: MIT */
/* A worker that was replaced while its handler ran is refused whatever it asks
 * for when it comes back. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <stdio.h>

#define SHORT VIVERO_MILLISECONDS(20)

static struct gate gate = GATE_SHUT;
static struct vivero_ref other;
static struct vivero_timer timer;
static struct vivero_monitor monitor;
static struct vivero_future future;
static const struct vivero_exit reason = {.kind = VIVERO_EXIT_FAILED};

/* ---- What it asks for ----------------------------------------------------- */

static int say_it(void)
{
    return vivero_tell(other, 1, NULL, 0);
}

static int say_it_later(void)
{
    return vivero_tell_after(other, 0, 1, NULL, 0, NULL);
}

static int say_it_to_a_name(void)
{
    return vivero_tell_name_after("zombie/other", 0, 1, NULL, 0, NULL);
}

static int take_it_back(void)
{
    return vivero_timer_cancel(timer, NULL);
}

static int read_the_timer(void)
{
    int64_t left;

    return vivero_timer_read(timer, &left);
}

static int signal_it(void)
{
    return vivero_signal(other, &reason);
}

static int name_it(void)
{
    return vivero_register(other, "zombie/name");
}

static int forget_the_name(void)
{
    return vivero_unregister("zombie/other");
}

static int wait_for_a_future(void)
{
    return vivero_future_wait(future, NULL, 0, 0);
}

static int wait_for_all(void)
{
    return vivero_future_wait_all(&future, 1, 0);
}

static int wait_for_any(void)
{
    return vivero_future_wait_any(&future, 1, 0);
}

static int open_completions(void)
{
    struct vivero_completions *queue;

    return vivero_completions_open(&queue);
}

static int cast_to_it(void)
{
    return vivero_worker_cast(other, &crew_nothing, NULL, NULL);
}

static int suspend_it(void)
{
    return vivero_worker_suspend(other, CREW_PATIENCE);
}

static int stop_it(void)
{
    return vivero_worker_stop(other, NULL, CREW_PATIENCE);
}

static int start_one(void)
{
    struct vivero_ref ref;

    return vivero_worker_start(NULL, &ref);
}

static void be_nobody(struct vivero_self *self, void *argument)
{
    (void)self;
    (void)argument;
}

static int spawn_one(void)
{
    struct vivero_ref ref;

    return vivero_spawn(NULL, be_nobody, NULL, &ref);
}

static int open_carriers(void)
{
    struct vivero_carriers *carriers;

    return vivero_carriers_open(NULL, &carriers);
}

static int start_a_supervisor(void)
{
    struct vivero_ref ref;

    return vivero_supervisor_start(NULL, &ref, NULL);
}

static int stop_a_supervisor(void)
{
    return vivero_supervisor_stop(other, NULL, CREW_PATIENCE);
}

static int restart_a_child(void)
{
    struct vivero_ref ref;

    return vivero_supervisor_restart_child(other, "child", CREW_PATIENCE, &ref);
}

static int open_a_pool(void)
{
    struct vivero_pool *pool;

    return vivero_pool_open(NULL, &pool);
}

static int link_it(void)
{
    return vivero_link(other);
}

static int unlink_it(void)
{
    return vivero_unlink(other, false);
}

static int monitor_it(void)
{
    struct vivero_monitor fresh;

    return vivero_monitor(other, &fresh);
}

static int demonitor_it(void)
{
    return vivero_demonitor(monitor, false);
}

struct wish {
    const char *what;
    int (*ask)(void);
    bool as_entity; /* only a worker on its own may ask */
};

#define WISH(ask_)                                                             \
    {                                                                          \
#ask_, ask_, false                                                     \
    }
#define OWN_WISH(ask_)                                                         \
    {                                                                          \
#ask_, ask_, true                                                      \
    }

static const struct wish wishes[] = {WISH(say_it),
                                     WISH(say_it_later),
                                     WISH(say_it_to_a_name),
                                     WISH(take_it_back),
                                     WISH(read_the_timer),
                                     WISH(signal_it),
                                     WISH(name_it),
                                     WISH(forget_the_name),
                                     WISH(wait_for_a_future),
                                     WISH(wait_for_all),
                                     WISH(wait_for_any),
                                     WISH(open_completions),
                                     WISH(cast_to_it),
                                     WISH(suspend_it),
                                     WISH(stop_it),
                                     WISH(start_one),
                                     WISH(spawn_one),
                                     WISH(open_carriers),
                                     WISH(start_a_supervisor),
                                     WISH(stop_a_supervisor),
                                     WISH(restart_a_child),
                                     WISH(open_a_pool),
                                     OWN_WISH(link_it),
                                     OWN_WISH(unlink_it),
                                     OWN_WISH(monitor_it),
                                     OWN_WISH(demonitor_it)};

#define WISHES (sizeof(wishes) / sizeof(wishes[0]))

static _Atomic int answers[WISHES];

/* ---- Becoming one ------------------------------------------------------------ */

static int come_back(struct vivero_self *self, const void *in, void *out)
{
    bool as_entity = *(const bool *)in;

    (void)self;
    (void)out;
    gate_pass(&gate);
    for (size_t i = 0; i < WISHES; i++) {
        answers[i] = as_entity || !wishes[i].as_entity ? wishes[i].ask()
                                                       : VIVERO_E_FENCED;
    }
    return VIVERO_OK;
}

static const struct vivero_operation come_operation = {
    .name = "come", .run = come_back, .in_size = sizeof(bool)};

static bool nobody_given_up(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 0;
}

static void let_it_come_back(void)
{
    gate_open(&gate);
    CU_ASSERT(eventually(nobody_given_up, NULL, CREW_PATIENCE));
    for (size_t i = 0; i < WISHES; i++) {
        if (answers[i] != VIVERO_E_FENCED) {
            fprintf(stderr, "%s: %s\n", wishes[i].what,
                    vivero_error_name(answers[i]));
        }
        CU_ASSERT_EQUAL(answers[i], VIVERO_E_FENCED);
    }
    CU_ASSERT(vivero_is_alive(other));
    CU_ASSERT(vivero_ref_equal(vivero_whereis("zombie/other"), other));
    CU_ASSERT(vivero_ref_is_nobody(vivero_whereis("zombie/name")));
}

static void set_up(void)
{
    gate_shut(&gate);
    for (size_t i = 0; i < WISHES; i++) {
        answers[i] = 1;
    }
    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_start(VIVERO_WORKER_OPTIONS(.name = "zombie/other"),
                            &other),
        VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_call_async(other, &crew_nothing, NULL, NULL, &future),
        VIVERO_OK);
    CU_ASSERT_EQUAL_FATAL(
        vivero_tell_after(other, VIVERO_SECONDS(1000), 1, NULL, 0, &timer),
        VIVERO_OK);
}

static void tear_down(void)
{
    CU_ASSERT_EQUAL(vivero_timer_cancel(timer, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_future_wait(future, NULL, 0, CREW_PATIENCE),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_stop(other, NULL, CREW_PATIENCE), VIVERO_OK);
}

static void that_of_a_pool_is_refused_everything(void)
{
    const bool as_entity = false;
    struct vivero_pool *pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = SHORT,
                                      .on_hang = VIVERO_HANG_REPLACE));

    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &come_operation, &as_entity, NULL,
                                     VIVERO_SEND(.timeout_ns = CREW_PATIENCE)),
                    VIVERO_E_DOWN);

    let_it_come_back();
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void one_on_its_own_is_refused_everything(void)
{
    const bool as_entity = true;
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(
        vivero_worker_start(
            VIVERO_WORKER_OPTIONS(.deadline_ns = SHORT,
                                  .on_hang = VIVERO_HANG_REPLACE),
            &ref),
        VIVERO_OK);
    CU_ASSERT_EQUAL(
        vivero_worker_call(ref, &come_operation, &as_entity, NULL,
                           VIVERO_SEND(.timeout_ns = CREW_PATIENCE)),
        VIVERO_E_DOWN);

    let_it_come_back();
}

SUITE_MAIN("zombie", set_up, tear_down,
           TEST(that_of_a_pool_is_refused_everything),
           TEST(one_on_its_own_is_refused_everything))
