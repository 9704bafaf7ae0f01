/* SPDX-License-Identifier: MIT */
/* What a caller of workers on their own may not do, and a forked child. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

#include <string.h>

#define BODY_FINISHED 0

/* Each body runs in a forked child of its own. */
struct misuse {
    int (*body)(void *ctx);
    const char *sentence;
};

static void expect_all(const struct misuse *misuse, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char sentence[CREW_SENTENCE_MAX] = "";

        CU_ASSERT_EQUAL(crew_fork(misuse[i].body, NULL, sentence), CREW_MISUSE);
        CU_ASSERT_STRING_EQUAL(sentence, misuse[i].sentence);
        if (strcmp(sentence, misuse[i].sentence) != 0) {
            fprintf(stderr, "\n  got:  %s\n  want: %s\n", sentence,
                    misuse[i].sentence);
        }
    }
}

#define EXPECT_ALL(misuses_)                                                   \
    expect_all(misuses_, sizeof(misuses_) / sizeof((misuses_)[0]))

/* One call that must not return. */
#define BODY(name_, call_)                                                     \
    static int name_(void *ctx)                                                \
    {                                                                          \
        (void)ctx;                                                             \
        (void)(call_);                                                         \
        return BODY_FINISHED;                                                  \
    }

static const struct vivero_ref nobody = {0, 0};
static struct vivero_ref place;
static struct vivero_monitor monitor_place;
static void *volatile nothing; /* NULL, unknown to compilers */

static void does_nothing(struct vivero_self *self, void *argument)
{
    (void)self;
    (void)argument;
}

/* ---- Nothing where something must be ---------------------------------------------- */

static vivero_spawn_fn *no_function;
static const struct vivero_operation no_handler = {.name = "empty"};
static int64_t *no_time;

BODY(starts_nowhere, vivero_worker_start(NULL, nothing) == 0)
BODY(monitors_start_nowhere,
     vivero_worker_start_monitor(NULL, &place, nothing) == 0)
BODY(spawns_nowhere, vivero_spawn(NULL, does_nothing, NULL, nothing) == 0)
BODY(spawns_nothing, vivero_spawn(NULL, no_function, NULL, &place) == 0)
BODY(links_nothing, vivero_spawn_link(NULL, no_function, NULL, &place) == 0)
BODY(monitors_nothing,
     vivero_spawn_monitor(NULL, no_function, NULL, &place, &monitor_place) == 0)
BODY(attaches_nowhere, vivero_attach(NULL, nothing) == 0)
BODY(calls_nothing, vivero_worker_call(nobody, nothing, NULL, NULL, NULL))
BODY(calls_no_handler,
     vivero_worker_call(nobody, &no_handler, NULL, NULL, NULL))
BODY(calls_without_arguments,
     vivero_worker_call(nobody, &crew_echo, NULL, NULL, NULL))
BODY(casts_nothing, vivero_worker_cast(nobody, nothing, NULL, NULL))
BODY(casts_without_arguments,
     vivero_worker_cast(nobody, &crew_echo, NULL, NULL))
BODY(gets_a_state_nowhere, vivero_worker_get_state(nobody, nothing, 1, 0))
BODY(replaces_a_state_by_nothing,
     vivero_worker_replace_state(nobody, nothing, 1, 0))
BODY(looks_nowhere, vivero_worker_info(nobody, nothing) == 0)
BODY(opens_carriers_nowhere, vivero_carriers_open(NULL, nothing) == 0)
BODY(registers_nothing, vivero_register(nobody, nothing) == 0)
BODY(unregisters_nothing, vivero_unregister(nothing))
BODY(looks_for_nothing, vivero_whereis(nothing).slot)
BODY(tells_from_nowhere, vivero_tell(nobody, 1, NULL, 7))
BODY(signals_nothing, vivero_signal(nobody, nothing))
BODY(tells_later_from_nowhere, vivero_tell_after(nobody, 1, 1, NULL, 8, NULL))
BODY(tells_no_name, vivero_tell_name_after(nothing, 1, 1, NULL, 0, NULL))
BODY(reads_a_timer_nowhere,
     vivero_timer_read((struct vivero_timer){0, 0}, no_time))

static int stops_for_no_reason(void *ctx)
{
    const struct vivero_exit none = {.kind = VIVERO_EXIT_NONE};

    (void)ctx;
    return vivero_worker_stop(nobody, &none, 0);
}

static int closes_no_carriers(void *ctx)
{
    (void)ctx;
    vivero_carriers_close(nothing);
    return BODY_FINISHED;
}

static int calls_for_no_future(void *ctx)
{
    struct vivero_ref ref = solo_start(NULL);

    (void)ctx;
    return vivero_worker_call_async(ref, &crew_nothing, NULL, NULL, NULL);
}

static void tells_the_hook_of_what_is_missing(void)
{
    const struct misuse misuses[] = {
        {starts_nowhere,
         "vivero_worker_start(): the place for the result is NULL"},
        {monitors_start_nowhere,
         "vivero_worker_start_monitor(): the place for the result is NULL"},
        {spawns_nowhere, "vivero_spawn(): the place for the result is NULL"},
        {spawns_nothing, "vivero_spawn(): the function is NULL"},
        {links_nothing, "vivero_spawn_link(): the function is NULL"},
        {monitors_nothing, "vivero_spawn_monitor(): the function is NULL"},
        {attaches_nowhere, "vivero_attach(): the place for the result is NULL"},
        {calls_nothing,
         "vivero_worker_call(): no operation, or one without a handler"},
        {calls_no_handler,
         "vivero_worker_call(): no operation, or one without a handler"},
        {calls_without_arguments,
         "vivero_worker_call(): operation echo has arguments, and in is NULL"},
        {casts_nothing,
         "vivero_worker_cast(): no operation, or one without a handler"},
        {casts_without_arguments,
         "vivero_worker_cast(): operation echo has arguments, and in is NULL"},
        {calls_for_no_future,
         "vivero_worker_call_async() to worker worker: neither a place for "
         "the future nor a completion queue"},
        {gets_a_state_nowhere, "vivero_worker_get_state(): no place for it"},
        {replaces_a_state_by_nothing,
         "vivero_worker_replace_state(): no state"},
        {looks_nowhere, "vivero_worker_info(): no place for it"},
        {stops_for_no_reason, "vivero_worker_stop(): the reason has no kind"},
        {opens_carriers_nowhere, "vivero_carriers_open(): no place for them"},
        {closes_no_carriers, "vivero_carriers_close(): NULL"},
        {registers_nothing, "vivero_register(): the name is NULL"},
        {unregisters_nothing, "vivero_unregister(): the name is NULL"},
        {looks_for_nothing, "vivero_whereis(): the name is NULL"},
        {tells_from_nowhere, "vivero_tell(): 7 bytes at NULL"},
        {signals_nothing, "vivero_signal(): the reason is NULL"},
        {tells_later_from_nowhere, "vivero_tell_after(): 8 bytes at NULL"},
        {tells_no_name, "vivero_tell_name_after(): the name is NULL"},
        {reads_a_timer_nowhere,
         "vivero_timer_read(): no place for the result"}};

    EXPECT_ALL(misuses);
}

/* ---- Callers that are nobody ----------------------------------------------------------- */

#define IS_NOBODY                                                              \
    "(): the calling thread is no worker on its own, and was not attached"

BODY(starts_linked_as_nobody, vivero_worker_start_link(NULL, &place) == 0)
BODY(starts_monitored_as_nobody,
     vivero_worker_start_monitor(NULL, &place, &monitor_place) == 0)
BODY(spawns_linked_as_nobody,
     vivero_spawn_link(NULL, does_nothing, NULL, &place) == 0)
BODY(spawns_monitored_as_nobody,
     vivero_spawn_monitor(NULL, does_nothing, NULL, &place, &monitor_place) ==
         0)
BODY(links_as_nobody, vivero_link(nobody))
BODY(unlinks_as_nobody, vivero_unlink(nobody, true))
BODY(monitors_as_nobody, vivero_monitor(nobody, &monitor_place) == 0)
BODY(demonitors_as_nobody, vivero_demonitor(monitor_place, true))
BODY(traps_as_nobody, vivero_trap_exits(true))
BODY(puts_as_nobody, vivero_dictionary_put("key", NULL, NULL))
BODY(gets_as_nobody, vivero_dictionary_get("key"))
BODY(deletes_as_nobody, vivero_dictionary_delete("key"))

static int receives_as_nobody(void *ctx)
{
    const struct vivero_info *info;

    (void)ctx;
    return vivero_receive(&info, 0);
}

static int detaches_as_nobody(void *ctx)
{
    (void)ctx;
    vivero_detach(NULL);
    return BODY_FINISHED;
}

static void tells_the_hook_of_callers_that_are_nobody(void)
{
    const struct misuse misuses[] = {
        {starts_linked_as_nobody, "vivero_worker_start_link" IS_NOBODY},
        {starts_monitored_as_nobody, "vivero_worker_start_monitor" IS_NOBODY},
        {spawns_linked_as_nobody, "vivero_spawn_link" IS_NOBODY},
        {spawns_monitored_as_nobody, "vivero_spawn_monitor" IS_NOBODY},
        {links_as_nobody, "vivero_link" IS_NOBODY},
        {unlinks_as_nobody, "vivero_unlink" IS_NOBODY},
        {monitors_as_nobody, "vivero_monitor" IS_NOBODY},
        {demonitors_as_nobody, "vivero_demonitor" IS_NOBODY},
        {traps_as_nobody, "vivero_trap_exits" IS_NOBODY},
        {puts_as_nobody, "vivero_dictionary_put" IS_NOBODY},
        {gets_as_nobody, "vivero_dictionary_get" IS_NOBODY},
        {deletes_as_nobody, "vivero_dictionary_delete" IS_NOBODY},
        {receives_as_nobody, "vivero_receive" IS_NOBODY},
        {detaches_as_nobody, "vivero_detach" IS_NOBODY}};

    EXPECT_ALL(misuses);
}

/* ---- In callbacks that may not ------------------------------------------------------------ */

static int in_a_worker(solo_fn *fn)
{
    struct vivero_ref ref = solo_start(VIVERO_WORKER_OPTIONS(.label = "wrong"));

    return solo_ask(ref, fn, NULL);
}

#define IN_WORKER(name_, statement_)                                           \
    static int name_##_handler(struct vivero_self *self, void *arg)            \
    {                                                                          \
        const struct vivero_info *info;                                        \
                                                                               \
        (void)self;                                                            \
        (void)arg;                                                             \
        (void)info;                                                            \
        statement_;                                                            \
        return VIVERO_OK;                                                      \
    }                                                                          \
    static int name_(void *ctx)                                                \
    {                                                                          \
        (void)ctx;                                                             \
        return in_a_worker(name_##_handler);                                   \
    }

IN_WORKER(receives_in_a_worker, return vivero_receive(&info, 0))
IN_WORKER(detaches_a_worker, vivero_detach(NULL))
IN_WORKER(continues_without, vivero_continue(self, 1))
IN_WORKER(stops_without_reason,
          return vivero_stop(self, (const struct vivero_exit *)nothing))
IN_WORKER(exits_without_reason,
          vivero_exit_with((const struct vivero_exit *)nothing))
IN_WORKER(monitors_without_place, return vivero_monitor(nobody, nothing))
IN_WORKER(puts_without_key, return vivero_dictionary_put(nothing, NULL, NULL))

static struct vivero_entity *stolen;

static int shows_itself(struct vivero_self *self, void *arg)
{
    (void)arg;
    stolen = self->entity;
    return VIVERO_OK;
}

static int continues_another(void *ctx)
{
    int error = in_a_worker(shows_itself);

    (void)ctx;
    vivero_entity_continue(stolen, 1);
    return error;
}

static int idles_another(void *ctx)
{
    int error = in_a_worker(shows_itself);

    (void)ctx;
    vivero_entity_idle_timeout(stolen, 1);
    return error;
}

static int receives_nowhere(void *ctx)
{
    struct vivero_ref me;

    (void)ctx;
    return vivero_attach(NULL, &me) == VIVERO_OK ? vivero_receive(nothing, 0)
                                                 : BODY_FINISHED;
}

static int idles(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    (void)out;
    vivero_idle_timeout(self, 1);
    return VIVERO_OK;
}

static int looks_for_argument(struct vivero_self *self, const void *in,
                              void *out)
{
    (void)in;
    (void)out;
    return vivero_argument(self) != NULL;
}

static const struct vivero_operation idle_operation = {.name = "idle",
                                                       .run = idles};
static const struct vivero_operation argument_operation = {
    .name = "argument", .run = looks_for_argument};

static int in_a_pool(const struct vivero_operation *operation)
{
    struct vivero_pool *pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));

    return vivero_pool_call(pool, operation, NULL, NULL, NULL);
}

static int idles_in_a_pool(void *ctx)
{
    (void)ctx;
    return in_a_pool(&idle_operation);
}

static int looks_for_an_argument_in_a_pool(void *ctx)
{
    (void)ctx;
    return in_a_pool(&argument_operation);
}

static struct vivero_carriers *ridden;

static int closes_its_carriers(struct vivero_self *self, void *arg)
{
    (void)self;
    (void)arg;
    vivero_carriers_close(ridden);
    return VIVERO_OK;
}

static int closes_carriers_from_inside(void *ctx)
{
    struct vivero_ref ref;

    (void)ctx;
    if (vivero_carriers_open(
            VIVERO_CARRIERS_OPTIONS(.name = "branch", .threads = 1), &ridden) !=
        VIVERO_OK) {
        return BODY_FINISHED;
    }
    ref = solo_start(VIVERO_WORKER_OPTIONS(.carriers = ridden));
    return solo_ask(ref, closes_its_carriers, NULL);
}

static void tells_the_hook_of_what_callbacks_may_not_do(void)
{
    const struct misuse misuses[] = {
        {receives_in_a_worker,
         "vivero_receive() in worker wrong, which has callbacks"},
        {receives_nowhere, "vivero_receive(): the place for it is NULL"},
        {detaches_a_worker,
         "vivero_detach() on worker wrong, which was not attached"},
        {continues_without,
         "vivero_continue() in worker wrong, which has no on_continue"},
        {stops_without_reason,
         "vivero_stop() on worker wrong: the reason is NULL"},
        {exits_without_reason, "vivero_exit_with(): the reason is NULL"},
        {monitors_without_place, "vivero_monitor(): its place is NULL"},
        {puts_without_key, "vivero_dictionary_put(): the key is NULL"},
        {continues_another,
         "vivero_continue() outside the worker's own callback"},
        {idles_another,
         "vivero_idle_timeout() outside the worker's own callback"},
        {idles_in_a_pool, "vivero_idle_timeout() in a pool's worker"},
        {looks_for_an_argument_in_a_pool,
         "vivero_argument() in a pool's worker"},
        {closes_carriers_from_inside,
         "vivero_carriers_close() of branch on one of its own threads"}};

    EXPECT_ALL(misuses);
}

SUITE_MAIN("worker_misuse", NULL, NULL, TEST(tells_the_hook_of_what_is_missing),
           TEST(tells_the_hook_of_callers_that_are_nobody),
           TEST(tells_the_hook_of_what_callbacks_may_not_do))
