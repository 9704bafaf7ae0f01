/* SPDX-License-Identifier: MIT */
/* Handlers that do not come back are replaced; and what becomes of them when
 * they do come back. */
#include <vivero/vivero.h>

#include "tests/integration/hang_kit.h"
#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <string.h>

static bool pool_has_no_zombie(void *ctx)
{
    (void)ctx;
    return zombies_of(pool) == 0;
}

static void start_call(struct caller *caller,
                       const struct vivero_operation *operation, const void *in)
{
    *caller = (struct caller){.pool = pool, .operation = operation, .in = in};
    caller_start(caller);
}

static bool is_hung(const struct vivero_exit *exit)
{
    return exit->kind == VIVERO_EXIT_HUNG_CPU ||
           exit->kind == VIVERO_EXIT_HUNG_BLOCKED;
}

/* ---- Replacing
 * ------------------------------------------------------------------------ */

static void t_x_02_hung_handler_is_replaced_and_the_callers_are_told(void)
{
    const struct hold_in hold = {&gate};
    struct caller caller;
    uint32_t id = 0;

    open_replacing(1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    start_call(&caller, &crew_hold, &hold);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    /* Queued behind the hung one, in its mailbox: kept, and served. */
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_whoami, NULL, &id,
                                     VIVERO_SEND(.worker = 1)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(id, 1);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(caller.reason.kind, VIVERO_EXIT_HUNG_BLOCKED);
    CU_ASSERT_PTR_NOT_NULL(strstr(caller.reason.text, "hold"));
    CU_ASSERT(caller.took_ns >= DEADLINE / 2);
    CU_ASSERT_EQUAL(zombies_of(pool), 1);
    CU_ASSERT_EQUAL(vivero_abandoned_threads(), 1);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 1);
    CU_ASSERT_EQUAL(crew_worker(pool, 1).restarts, 1);
    CU_ASSERT_EQUAL(crew_worker(pool, 1).failed, 1);
    CU_ASSERT_EQUAL(crew_worker(pool, 1).last_exit.kind,
                    VIVERO_EXIT_HUNG_BLOCKED);

    int64_t began_ns = vivero_now();
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT(vivero_now() - began_ns < VIVERO_SECONDS(4));
    CU_ASSERT_EQUAL(vivero_abandoned_threads(), 1);
    gate_open(&gate);
    CU_ASSERT(eventually(no_zombies, NULL, CREW_PATIENCE));
}

static int spin_on(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    while (gate_passed(&gate) == 0) {
    }
    return VIVERO_OK;
}

static const struct vivero_operation spin_on_operation = {.name = "spin_on",
                                                          .run = spin_on};

static void a_handler_that_computes_is_told_from_one_that_waits(void)
{
    open_replacing(1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &spin_on_operation, NULL, NULL, NULL),
        VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_HUNG_CPU);
    gate_open(&gate);
    gate_pass(&gate);
    CU_ASSERT(eventually(pool_has_no_zombie, NULL, CREW_PATIENCE));
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void a_zombie_leaves_no_thread_and_no_byte(void)
{
    static struct accountant accountant;
    const struct hold_in hold = {&gate};
    uint32_t threads = crew_threads();

    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
    open_replacing(2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL),
                        VIVERO_E_DOWN);
    }
    CU_ASSERT_EQUAL(zombies_of(pool), 3);
    gate_open(&gate);
    CU_ASSERT(eventually(pool_has_no_zombie, NULL, CREW_PATIENCE));
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(accountant.bytes, 0);
    CU_ASSERT_EQUAL(accountant.blocks, 0);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

/* The spares are used again and again. */
static void replaces_more_often_than_it_has_spares(void)
{
    const struct hold_in hold = {&gate};

    open_replacing(1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 12; i++) {
        gate_shut(&gate);
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL),
                        VIVERO_E_DOWN);
        gate_open(&gate);
        CU_ASSERT(eventually(pool_has_no_zombie, NULL, CREW_PATIENCE));
    }
    CU_ASSERT_EQUAL(crew_numbers(pool).failed, 12);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static struct vivero_exit down_reason;

static void note_down(struct vivero_pool *of, const struct vivero_exit *reason,
                      void *ctx)
{
    (void)of;
    (void)ctx;
    down_reason = *reason;
    journal_write(&journal, 1, 0);
}

static void goes_down_with_one_zombie_too_many(void)
{
    const struct hold_in hold = {&gate};

    pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                            .on_hang = VIVERO_HANG_REPLACE, .abandoned_max = 2,
                            .restarts_max = 100, .on_down = note_down));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL),
                        VIVERO_E_DOWN);
        CU_ASSERT(is_hung(vivero_last_exit()));
    }
    CU_ASSERT(journal_await(&journal, 1));
    CU_ASSERT(is_hung(&down_reason));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->kind, VIVERO_EXIT_RESTART_LIMIT);
    CU_ASSERT_EQUAL(zombies_of(pool), 3);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    gate_open(&gate);
    CU_ASSERT(eventually(no_zombies, NULL, CREW_PATIENCE));
}

static void spends_its_budget_on_hangs(void)
{
    const struct hold_in hold = {&gate};

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE,
                                         .restarts_max = VIVERO_NONE,
                                         .on_down = note_down));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT(journal_await(&journal, 1));
    CU_ASSERT(is_hung(&down_reason));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- What a zombie may do
 * ---------------------------------------------------------------- */

struct findings {
    int call;
    int cast;
    int batch;
    int broadcast;
    int each;
    int cancel;
    int idle;
    int resize;
    int drain;
    int snapshot;
    int open;
    int later;
    int reply;
    int defer;
    int replace;
    bool should_stop;
    uint64_t generation;
    struct vivero_exit terminated;
    uint32_t deferred;
    uint32_t destroyed;
};

static struct findings findings;
static struct vivero_reply_token token;

static void note_defer(void *ctx)
{
    findings.deferred += *(const uint32_t *)ctx;
}

static void do_each(struct vivero_self *self, size_t index, void *ctx)
{
    (void)self;
    (void)index;
    (void)ctx;
}

static void try_pool(struct vivero_pool *other)
{
    const struct vivero_pool_snapshot *snapshot;

    findings.call = vivero_pool_call(other, &crew_nothing, NULL, NULL, NULL);
    findings.cast = vivero_pool_cast(other, &crew_nothing, NULL, NULL);
    findings.batch = vivero_pool_cast_batch(other, &crew_nothing, NULL, 2);
    findings.broadcast = vivero_pool_broadcast(other, &crew_nothing, NULL);
    findings.each = vivero_pool_each(other, 2, 0, do_each, NULL);
    findings.cancel = vivero_pool_cancel(other, (struct vivero_message){0, 0});
    findings.idle = vivero_pool_wait_idle(other, 0);
    findings.resize = vivero_pool_resize(other, 2);
    findings.drain = vivero_pool_drain(other, 0, NULL);
    findings.snapshot = vivero_pool_snapshot(other, &snapshot);
    findings.open = vivero_pool_open(NULL, &other);
}

static int come_back(struct vivero_self *self, const void *in, void *out)
{
    static const uint32_t one = 1;
    static const uint32_t ten = 10;
    struct vivero_pool *other = *(struct vivero_pool *const *)in;
    static struct vivero_defer before;
    static struct vivero_defer after;
    struct vivero_reply_token own;

    (void)out;
    (void)vivero_defer(self, &before, note_defer, (void *)(uintptr_t)&one);
    gate_pass(&gate);
    findings.should_stop = vivero_should_stop(self);
    findings.generation = vivero_generation(self);
    findings.defer =
        vivero_defer(self, &after, note_defer, (void *)(uintptr_t)&ten);
    findings.later = vivero_reply_later(self, &own);
    findings.reply = vivero_reply_error(token, -1);
    findings.replace = vivero_replace(self, vivero_payload(self));
    try_pool(other);
    return VIVERO_OK;
}

static const struct vivero_operation come_back_operation = {
    .name = "come_back",
    .run = come_back,
    .in_size = sizeof(struct vivero_pool *)};

static void note_end(struct vivero_self *self, void *payload,
                     const struct vivero_exit *reason, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    if (reason->kind == VIVERO_EXIT_FENCED) {
        findings.terminated = *reason;
    }
}

static void count_destroyed(void *payload, void *ctx)
{
    (void)payload;
    (void)ctx;
    findings.destroyed++;
}

static void a_zombie_is_refused_everything_and_cleans_up(void)
{
    struct vivero_pool *other = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));

    memset(&findings, 0, sizeof(findings));
    pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                            .on_hang = VIVERO_HANG_REPLACE, .payload_size = 8,
                            .terminate = note_end, .destroy = count_destroyed));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &come_back_operation, &other, NULL, NULL),
        VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(zombies_of(pool), 1);
    CU_ASSERT_EQUAL(findings.deferred, 0);
    gate_open(&gate);
    CU_ASSERT_FATAL(eventually(pool_has_no_zombie, NULL, CREW_PATIENCE));

    CU_ASSERT_EQUAL(findings.call, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.cast, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.batch, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.broadcast, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.each, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.cancel, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.idle, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.resize, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.drain, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.snapshot, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.open, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.later, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.reply, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.defer, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(findings.replace, VIVERO_E_FENCED);
    CU_ASSERT(findings.should_stop);
    CU_ASSERT_EQUAL(findings.generation, 1);
    CU_ASSERT_EQUAL(findings.deferred, 1);
    CU_ASSERT_EQUAL(findings.terminated.kind, VIVERO_EXIT_FENCED);
    CU_ASSERT_EQUAL(findings.destroyed, 1);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(other), VIVERO_OK);
}

/* A worker that waits for an answer is replaced; what comes back to it is not
 * its any more, and its seat is not in anybody's way. */
static int call_other(struct vivero_self *self, const void *in, void *out)
{
    const struct hold_in hold = {&gate};

    (void)self;
    (void)out;
    findings.call =
        vivero_pool_call(*(struct vivero_pool *const *)in, &crew_hold, &hold,
                         NULL, VIVERO_SEND(.timeout_ns = VIVERO_FOREVER));
    return VIVERO_OK;
}

static const struct vivero_operation call_other_operation = {
    .name = "call_other",
    .run = call_other,
    .in_size = sizeof(struct vivero_pool *)};

static void a_worker_that_waits_for_another_pool_is_replaced_too(void)
{
    struct vivero_pool *other = crew_open(VIVERO_POOL_OPTIONS(.workers = 1));
    const struct vivero_pool *mine;

    memset(&findings, 0, sizeof(findings));
    open_replacing(1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_PTR_NOT_NULL_FATAL(other);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &call_other_operation, &other, NULL, NULL),
        VIVERO_E_DOWN);
    CU_ASSERT(is_hung(vivero_last_exit()));
    gate_open(&gate);
    CU_ASSERT(eventually(pool_has_no_zombie, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(findings.call, VIVERO_E_FENCED);
    /* Its successor may wait for the same worker. */
    mine = other;
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &call_other_operation, &mine, NULL, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(findings.call, VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(other), VIVERO_OK);
}

static int leave_late(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)out;
    gate_pass(&gate);
    if (*(const int *)in == 0) {
        vivero_exit(3, "too late");
    } else if (*(const int *)in == 1) {
        pthread_exit(NULL);
    } else if (*(const int *)in == 2) {
        return vivero_fail(self, 4, "too late");
    }
    return VIVERO_HALT;
}

static const struct vivero_operation leave_late_operation = {
    .name = "leave_late", .run = leave_late, .in_size = sizeof(int)};

static void a_zombie_may_come_back_by_any_way(void)
{
    open_replacing(1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (int way = 0; way < 4; way++) {
        gate_shut(&gate);
        CU_ASSERT_EQUAL(
            vivero_pool_call(pool, &leave_late_operation, &way, NULL, NULL),
            VIVERO_E_DOWN);
        gate_open(&gate);
        CU_ASSERT(eventually(pool_has_no_zombie, NULL, CREW_PATIENCE));
    }
    CU_ASSERT_EQUAL(crew_numbers(pool).failed, 4);
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 4);
    CU_ASSERT_EQUAL(vivero_pool_size(pool), 1);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int owe_and_hang(struct vivero_self *self, const void *in, void *out)
{
    (void)out;
    (void)in;
    if (vivero_reply_later(self, &token) != VIVERO_OK) {
        return VIVERO_E_INVALID;
    }
    gate_pass(&gate);
    findings.reply = vivero_reply_error(token, -77);
    return VIVERO_NO_REPLY;
}

static const struct vivero_operation owe_and_hang_operation = {
    .name = "owe_and_hang", .run = owe_and_hang};

static void an_answer_that_a_zombie_owes_is_down(void)
{
    open_replacing(1);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &owe_and_hang_operation, NULL, NULL, NULL),
        VIVERO_E_DOWN);
    CU_ASSERT(is_hung(vivero_last_exit()));
    gate_open(&gate);
    CU_ASSERT(eventually(pool_has_no_zombie, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(findings.reply, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(vivero_reply_error(token, -77), VIVERO_E_GONE);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Init
 * --------------------------------------------------------------------------------- */

static _Atomic int inits_that_hang;

static int init_may_hang(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    if (atomic_fetch_sub(&inits_that_hang, 1) > 0) {
        gate_pass(&gate);
    }
    return VIVERO_OK;
}

static int open_with_init(void)
{
    return vivero_pool_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                            .on_hang = VIVERO_HANG_REPLACE,
                            .init = init_may_hang, .restarts_max = 10),
        &pool);
}

static void answers_timed_out_when_the_first_init_hangs(void)
{
    uint32_t threads = crew_threads();

    atomic_store(&inits_that_hang, 1);
    CU_ASSERT_EQUAL(open_with_init(), VIVERO_E_TIMED_OUT);
    gate_open(&gate);
    CU_ASSERT(eventually(no_zombies, NULL, CREW_PATIENCE));
    CU_ASSERT(crew_await_threads(threads));
}

static void starts_again_when_a_later_init_hangs(void)
{
    const struct fail_in fail = {1, "once"};

    atomic_store(&inits_that_hang, 0);
    CU_ASSERT_EQUAL_FATAL(open_with_init(), VIVERO_OK);
    atomic_store(&inits_that_hang, 1);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_fail, &fail, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.timeout_ns = CREW_PATIENCE)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(zombies_of(pool), 1);
    CU_ASSERT_EQUAL(crew_worker(pool, 1).restarts, 2);
    gate_open(&gate);
    CU_ASSERT(eventually(pool_has_no_zombie, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

SUITE_MAIN("pool_hang", set_up, tear_down,
           TEST(t_x_02_hung_handler_is_replaced_and_the_callers_are_told),
           TEST(a_handler_that_computes_is_told_from_one_that_waits),
           TEST(a_zombie_leaves_no_thread_and_no_byte),
           TEST(replaces_more_often_than_it_has_spares),
           TEST(goes_down_with_one_zombie_too_many),
           TEST(spends_its_budget_on_hangs),
           TEST(a_zombie_is_refused_everything_and_cleans_up),
           TEST(a_worker_that_waits_for_another_pool_is_replaced_too),
           TEST(a_zombie_may_come_back_by_any_way),
           TEST(an_answer_that_a_zombie_owes_is_down),
           TEST(answers_timed_out_when_the_first_init_hangs),
           TEST(starts_again_when_a_later_init_hangs))
