/* SPDX-License-Identifier: MIT */
/* Handlers that do not come back: they are reported, fenced, replaced, and what
 * becomes of them when they do come back. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE VIVERO_MILLISECONDS(40)

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    pool = NULL;
}

static bool no_zombies(void *ctx)
{
    (void)ctx;
    return vivero_abandoned_threads() == 0;
}

static void tear_down(void)
{
    gate_open(&gate);
    (void)eventually(no_zombies, NULL, CREW_PATIENCE);
}

static void open_replacing(uint32_t workers)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = workers, .workers_max = 8,
                                         .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE,
                                         .restarts_max = 100));
}

static uint32_t zombies_of(struct vivero_pool *of)
{
    return crew_numbers(of).abandoned;
}

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

static int spin(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    (void)out;
    while (!vivero_should_stop(self)) {
    }
    return VIVERO_OK;
}

static const struct vivero_operation spin_operation = {.name = "spin",
                                                       .run = spin};

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

/* ---- Forgiving
 * ---------------------------------------------------------------------------- */

static int be_well(struct vivero_self *self, const void *in, void *out)
{
    int64_t until_ns = vivero_now() + 5 * DEADLINE;

    (void)in;
    (void)out;
    while (vivero_now() < until_ns) {
        vivero_alive(self);
        eventually_nap();
    }
    return VIVERO_OK;
}

static const struct vivero_operation be_well_operation = {.name = "be_well",
                                                          .run = be_well};

static void a_handler_that_says_it_is_alive_is_left_alone(void)
{
    pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                      .deadline_ns = VIVERO_MILLISECONDS(200),
                                      .on_hang = VIVERO_HANG_REPLACE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &be_well_operation, NULL, NULL, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void a_handler_sees_that_its_deadline_has_passed(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                                         .payload_size = 8));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    gate_open(&gate);
    int64_t began_ns = vivero_now();
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &spin_operation, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT(vivero_now() - began_ns >= DEADLINE / 2);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static int nap_in_parts(struct vivero_self *self, const void *in, void *out)
{
    (void)self;
    (void)in;
    (void)out;
    for (int i = 0; i < 100; i++) {
        eventually_nap();
    }
    return VIVERO_OK;
}

static const struct vivero_operation nap_operation = {.name = "nap",
                                                      .run = nap_in_parts};

/* In the child: a handler of 100 ms, a deadline of 400 ms; the parent stops the
 * whole process for a second in the middle. */
static int be_stopped(void *ctx)
{
    int ready = *(const int *)ctx;
    struct caller caller;
    int error = vivero_pool_open(
        VIVERO_POOL_OPTIONS(.workers = 1,
                            .deadline_ns = VIVERO_MILLISECONDS(400),
                            .on_hang = VIVERO_HANG_REPLACE),
        &pool);

    if (error != VIVERO_OK) {
        return 1;
    }
    start_call(&caller, &nap_operation, NULL);
    eventually_nap();
    eventually_nap();
    if (write(ready, "r", 1) != 1) {
        return 2;
    }
    caller_join(&caller);
    return caller.result == VIVERO_OK && zombies_of(pool) == 0 ? 0 : 3;
}

static void forgives_when_the_whole_process_stood_still(void)
{
    int ready[2];
    int status = -1;
    char byte;
    pid_t child;

    CU_ASSERT_EQUAL_FATAL(pipe(ready), 0);
    child = fork();
    if (child == 0) {
        _exit(be_stopped(&ready[1]));
    }
    CU_ASSERT_FATAL(child > 0);
    CU_ASSERT_EQUAL(read(ready[0], &byte, 1), 1);
    CU_ASSERT_EQUAL(kill(child, SIGSTOP), 0);
    crew_await_time(vivero_now() + VIVERO_SECONDS(1));
    CU_ASSERT_EQUAL(kill(child, SIGCONT), 0);
    CU_ASSERT_EQUAL(waitpid(child, &status, 0), child);
    CU_ASSERT(WIFEXITED(status));
    CU_ASSERT_EQUAL(WEXITSTATUS(status), 0);
    close(ready[0]);
    close(ready[1]);
}

/* ---- Reporting and aborting
 * ---------------------------------------------------------------- */

static void count_reports(const struct vivero_log_event *record, void *ctx)
{
    if (record->component != NULL &&
        strcmp(record->component, "watchdog") == 0) {
        atomic_fetch_add((_Atomic uint32_t *)ctx, 1);
    }
}

static _Atomic uint32_t reports;

static bool has_reported(void *ctx)
{
    (void)ctx;
    return atomic_load(&reports) > 0;
}

static void reports_a_long_handler_once(void)
{
    const struct hold_in hold = {&gate};
    struct caller caller;

    atomic_store(&reports, 0);
    vivero_log_set_sink(VIVERO_LOG_WARNING, count_reports, &reports);
    pool = crew_open(
        VIVERO_POOL_OPTIONS(.workers = 1, .hang_report_ns = DEADLINE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    start_call(&caller, &crew_hold, &hold);
    CU_ASSERT(eventually(has_reported, NULL, CREW_PATIENCE));
    crew_await_time(vivero_now() + 4 * DEADLINE);
    CU_ASSERT_EQUAL(atomic_load(&reports), 1);
    gate_open(&gate);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_OK);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    vivero_log_set_sink(VIVERO_LOG_WARNING, NULL, NULL);
}

static int hang_and_abort(void *ctx)
{
    const struct hold_in hold = {&gate};

    (void)ctx;
    if (vivero_pool_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                             .deadline_ns = DEADLINE,
                                             .on_hang = VIVERO_HANG_ABORT),
                         &pool) != VIVERO_OK) {
        return 1;
    }
    return vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL);
}

static void aborts_when_asked_to(void)
{
    CU_ASSERT_EQUAL(crew_fork(hang_and_abort, NULL, NULL), CREW_BROKEN);
}

/* ---- Nudging
 * -------------------------------------------------------------------------------- */

static void take_nudge(int signal)
{
    (void)signal;
}

static int block_in_the_system(struct vivero_self *self, const void *in,
                               void *out)
{
    struct timespec long_time = {.tv_sec = 600};

    (void)self;
    (void)in;
    *(int *)out = nanosleep(&long_time, NULL);
    return VIVERO_OK;
}

static const struct vivero_operation block_operation = {
    .name = "block", .run = block_in_the_system, .out_size = sizeof(int)};

static void a_nudge_interrupts_a_system_call(void)
{
    const struct vivero_pool_options *options =
        VIVERO_POOL_OPTIONS(.workers = 1, .deadline_ns = DEADLINE,
                            .on_hang = VIVERO_HANG_REPLACE,
                            .nudge_signal = SIGURG);
    struct sigaction action = {.sa_handler = take_nudge};
    struct sigaction before;
    int interrupted = 0;

    CU_ASSERT_EQUAL(vivero_pool_open(options, &pool), VIVERO_E_DENIED);
    CU_ASSERT_EQUAL_FATAL(sigaction(SIGURG, &action, &before), 0);
    pool = crew_open(options);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &block_operation, NULL, &interrupted, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(interrupted, -1);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(sigaction(SIGURG, &before, NULL), 0);
}

/* ---- Closing, resizing, lending
 * ---------------------------------------------------------------- */

static void closes_while_a_handler_hangs(void)
{
    const struct hold_in hold = {&gate};
    struct caller caller;

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 2, .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE,
                                         .shutdown_ns = VIVERO_SECONDS(60)));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    start_call(&caller, &crew_hold, &hold);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    /* The watchdog is quicker than shutdown_ns. */
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_abandoned_threads(), 1);
}

static void a_worker_that_retires_is_replaced_and_leaves(void)
{
    const struct hold_in hold = {&gate};
    struct caller caller;

    open_replacing(2);
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    caller = (struct caller){.pool = pool,
                             .operation = &crew_hold,
                             .in = &hold,
                             .send = VIVERO_SEND(.worker = 2)};
    caller_start(&caller);
    CU_ASSERT_FATAL(gate_await(&gate, 1));
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 1), VIVERO_OK);
    caller_join(&caller);
    CU_ASSERT_EQUAL(caller.result, VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_resize(pool, 2), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.worker = 2)),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

struct lender {
    pthread_t thread;
    int result;
};

static void *lend(void *arg)
{
    struct lender *lender = arg;

    lender->result = vivero_pool_run_here(pool);
    return NULL;
}

static void a_lent_thread_comes_back_fenced(void)
{
    const struct hold_in hold = {&gate};
    struct lender lender[2];

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .own_threads = true,
                                         .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    pthread_create(&lender[0].thread, NULL, lend, &lender[0]);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_hold, &hold, NULL, NULL),
                    VIVERO_E_DOWN);
    pthread_create(&lender[1].thread, NULL, lend, &lender[1]);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    gate_open(&gate);
    pthread_join(lender[0].thread, NULL);
    CU_ASSERT_EQUAL(lender[0].result, VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    pthread_join(lender[1].thread, NULL);
    CU_ASSERT_EQUAL(lender[1].result, VIVERO_OK);
}

static void a_call_in_its_callers_place_is_not_replaced(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .caller_runs = true,
                                         .deadline_ns = DEADLINE,
                                         .on_hang = VIVERO_HANG_REPLACE,
                                         .spin_ns = VIVERO_NONE));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    /* Idle workers are lent: wait until it is. */
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(20));
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &nap_operation, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(zombies_of(pool), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- Options
 * ------------------------------------------------------------------------------- */

static int try_open(const struct vivero_pool_options *options)
{
    return vivero_pool_open(options, &pool);
}

static void answers_invalid_for_impossible_options(void)
{
    CU_ASSERT_EQUAL(
        try_open(VIVERO_POOL_OPTIONS(.deadline_ns = VIVERO_MILLISECONDS(9))),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_open(VIVERO_POOL_OPTIONS(.deadline_ns = VIVERO_NONE)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        try_open(VIVERO_POOL_OPTIONS(.on_hang = VIVERO_HANG_REPLACE)),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_open(VIVERO_POOL_OPTIONS(.hang_report_ns = -5)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_open(VIVERO_POOL_OPTIONS(.abandoned_max = 1025)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(try_open(VIVERO_POOL_OPTIONS(.retries = 1)),
                    VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        try_open(VIVERO_POOL_OPTIONS(.retries = 4, .idempotent = true)),
        VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(
        try_open(VIVERO_POOL_OPTIONS(.isolation = VIVERO_ISOLATION_PROCESS)),
        VIVERO_E_UNSUPPORTED);
}

/* The spares, and the committed payloads, are made at the open. */
static void opens_or_leaves_nothing_whatever_allocation_fails(void)
{
    static struct accountant accountant;
    uint32_t threads = crew_threads();
    int error = VIVERO_E_NO_MEMORY;
    int refusals = 0;

    CU_ASSERT_EQUAL_FATAL(accountant_install(&accountant), VIVERO_OK);
    while (error == VIVERO_E_NO_MEMORY && refusals < 1000) {
        atomic_store(&accountant.asked, 0);
        atomic_store(&accountant.refuse, ++refusals);
        error = vivero_pool_open(
            VIVERO_POOL_OPTIONS(.workers = 2, .payload_size = 100,
                                .deadline_ns = DEADLINE,
                                .on_hang = VIVERO_HANG_REPLACE,
                                .state = VIVERO_STATE_COMMIT),
            &pool);
        if (error == VIVERO_E_NO_MEMORY) {
            CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
        }
    }
    atomic_store(&accountant.refuse, 0);
    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT(refusals > 10);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(atomic_load(&accountant.blocks), 0);
    CU_ASSERT_EQUAL(accountant_remove(), VIVERO_OK);
}

static void t_x_07_a_thousand_pools_leave_nothing_behind(void)
{
    uint32_t threads = crew_threads();
    uint32_t files = crew_files();
    uint32_t wrong = 0;

    for (int i = 0; i < (CREW_SANITIZED ? 200 : 1000); i++) {
        struct vivero_pool *one = NULL;
        int error = vivero_pool_open(
            VIVERO_POOL_OPTIONS(.workers = 2, .deadline_ns = DEADLINE,
                                .on_hang = VIVERO_HANG_REPLACE),
            &one);

        wrong += error != VIVERO_OK ||
                 vivero_pool_call(one, &crew_nothing, NULL, NULL, NULL) !=
                     VIVERO_OK ||
                 vivero_pool_close(one) != VIVERO_OK;
    }
    CU_ASSERT_EQUAL(wrong, 0);
    CU_ASSERT(crew_await_threads(threads));
    CU_ASSERT_EQUAL(crew_files(), files);
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
           TEST(starts_again_when_a_later_init_hangs),
           TEST(a_handler_that_says_it_is_alive_is_left_alone),
           TEST(a_handler_sees_that_its_deadline_has_passed),
           TEST(forgives_when_the_whole_process_stood_still),
           TEST(reports_a_long_handler_once), TEST(aborts_when_asked_to),
           TEST(a_nudge_interrupts_a_system_call),
           TEST(closes_while_a_handler_hangs),
           TEST(a_worker_that_retires_is_replaced_and_leaves),
           TEST(a_lent_thread_comes_back_fenced),
           TEST(a_call_in_its_callers_place_is_not_replaced),
           TEST(answers_invalid_for_impossible_options),
           TEST(opens_or_leaves_nothing_whatever_allocation_fails),
           TEST(t_x_07_a_thousand_pools_leave_nothing_behind))
