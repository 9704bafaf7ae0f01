/* SPDX-License-Identifier: MIT */
/* What an incarnation leaves behind: committed payloads, deferred functions,
 * and that failing for ever costs no memory. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

#include <string.h>
#include <unistd.h>

#define DEADLINE VIVERO_MILLISECONDS(40)

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};
static _Atomic int inits;
static _Atomic int ends;
static _Atomic int destroyed;

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    atomic_store(&inits, 0);
    atomic_store(&ends, 0);
    atomic_store(&destroyed, 0);
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

/* ---- Committed payloads
 * ----------------------------------------------------------------------- */

static int init_sum(struct vivero_self *self, void *payload, void *ctx)
{
    (void)self;
    (void)ctx;
    *(int *)payload = 100;
    atomic_fetch_add(&inits, 1);
    return VIVERO_OK;
}

static void end_sum(struct vivero_self *self, void *payload,
                    const struct vivero_exit *reason, void *ctx)
{
    (void)self;
    (void)payload;
    (void)reason;
    (void)ctx;
    atomic_fetch_add(&ends, 1);
}

static void destroy_sum(void *payload, void *ctx)
{
    (void)ctx;
    journal_write(&journal, *(const int *)payload, 0);
    atomic_fetch_add(&destroyed, 1);
}

enum then { THEN_ANSWER, THEN_REFUSE, THEN_FAIL, THEN_LEAVE, THEN_HANG };

struct add_in {
    int amount;
    enum then then;
};

static int add(struct vivero_self *self, const void *in, void *out)
{
    const struct add_in *add_in = in;
    int *sum = vivero_payload(self);

    *sum += add_in->amount;
    *(int *)out = *sum;
    switch (add_in->then) {
    case THEN_ANSWER:
        break;
    case THEN_REFUSE:
        return -1000;
    case THEN_FAIL:
        return vivero_fail(self, 1, "added in vain");
    case THEN_LEAVE:
        pthread_exit(NULL);
    case THEN_HANG:
        gate_pass(&gate);
        *sum += 1000;
        break;
    }
    return VIVERO_OK;
}

static const struct vivero_operation add_operation = {.name = "add",
                                                      .run = add,
                                                      .in_size =
                                                          sizeof(struct add_in),
                                                      .out_size = sizeof(int)};

static int sum_after(int amount, enum then then, int expected)
{
    const struct add_in in = {amount, then};
    const struct add_in nothing = {0, THEN_ANSWER};
    int sum = 0;

    CU_ASSERT_EQUAL(vivero_pool_call(pool, &add_operation, &in, NULL, NULL),
                    expected);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &add_operation, &nothing, &sum, NULL),
        VIVERO_OK);
    return sum;
}

#define COUNTED                                                                \
    .workers = 1, .payload_size = sizeof(int), .init = init_sum,               \
    .terminate = end_sum, .destroy = destroy_sum, .restarts_max = 1000,        \
    .deadline_ns = DEADLINE, .on_hang = VIVERO_HANG_REPLACE

static void begins_anew_by_default(void)
{
    pool = crew_open(VIVERO_POOL_OPTIONS(COUNTED));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(sum_after(5, THEN_ANSWER, VIVERO_OK), 105);
    CU_ASSERT_EQUAL(sum_after(5, THEN_REFUSE, -1000), 110);
    CU_ASSERT_EQUAL(sum_after(7, THEN_FAIL, VIVERO_E_DOWN), 100);
    CU_ASSERT_EQUAL(atomic_load(&inits), 2);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&destroyed), 2);
}

static void goes_on_with_the_last_committed_value(void)
{
    const int last[] = {105};

    pool =
        crew_open(VIVERO_POOL_OPTIONS(COUNTED, .state = VIVERO_STATE_COMMIT));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(sum_after(5, THEN_ANSWER, VIVERO_OK), 105);
    CU_ASSERT_EQUAL(sum_after(6, THEN_REFUSE, -1000), 105);
    CU_ASSERT_EQUAL(sum_after(7, THEN_FAIL, VIVERO_E_DOWN), 105);
    CU_ASSERT_EQUAL(sum_after(8, THEN_LEAVE, VIVERO_E_DOWN), 105);
    CU_ASSERT_EQUAL(sum_after(9, THEN_HANG, VIVERO_E_DOWN), 105);
    gate_open(&gate);
    CU_ASSERT(eventually(no_zombies, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(sum_after(0, THEN_ANSWER, VIVERO_OK), 105);
    CU_ASSERT_EQUAL(atomic_load(&inits), 1);
    CU_ASSERT_EQUAL(atomic_load(&destroyed), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&ends), 4); /* three failures, the close */
    CU_ASSERT_EQUAL(atomic_load(&destroyed), 1);
    CU_ASSERT(journal_is(&journal, last, 1));
}

static void destroys_the_committed_value_of_a_pool_that_goes_down(void)
{
    const int last[] = {105};
    const struct add_in five = {5, THEN_ANSWER};
    const struct add_in leave = {5, THEN_LEAVE};

    pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .payload_size = sizeof(int),
                                      .init = init_sum, .destroy = destroy_sum,
                                      .restarts_max = VIVERO_NONE,
                                      .state = VIVERO_STATE_COMMIT));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &add_operation, &five, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &add_operation, &leave, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT(journal_is(&journal, last, 1));
}

/* ---- Deferred functions
 * ---------------------------------------------------------------------- */

static void note_deferred(void *ctx)
{
    journal_write(&journal, *(const int *)ctx, 0);
}

struct defer_in {
    enum then then;
    bool by_supervisor;
};

static int defer_three(struct vivero_self *self, const void *in, void *out)
{
    static const int numbers[] = {1, 2, 3};
    const struct defer_in *defer_in = in;
    uint32_t flags = defer_in->by_supervisor ? VIVERO_DEFER_SUPERVISOR : 0;
    static struct vivero_defer kept_node[3]; /* for pthread_exit() */
    struct vivero_defer stack_node[3];
    struct vivero_defer *node =
        defer_in->then == THEN_LEAVE ? kept_node : stack_node;

    (void)out;
    for (int i = 0; i < 3; i++) {
        if (vivero_defer_flags(self, &node[i], note_deferred,
                               (void *)(uintptr_t)&numbers[i],
                               flags) != VIVERO_OK) {
            return VIVERO_E_INVALID;
        }
    }
    if (!vivero_undefer(&node[1]) || vivero_undefer(&node[1])) {
        return VIVERO_E_INVALID;
    }
    if (defer_in->then == THEN_FAIL) {
        return vivero_fail(self, 1, "after deferring");
    } else if (defer_in->then == THEN_LEAVE) {
        pthread_exit(NULL);
    } else if (defer_in->then == THEN_HANG) {
        gate_pass(&gate);
    }
    (void)vivero_undefer(&node[0]);
    (void)vivero_undefer(&node[2]);
    return VIVERO_OK;
}

static const struct vivero_operation defer_operation = {
    .name = "defer", .run = defer_three, .in_size = sizeof(struct defer_in)};

static int defer_call(enum then then, bool by_supervisor)
{
    const struct defer_in in = {then, by_supervisor};

    return vivero_pool_call(pool, &defer_operation, &in, NULL, NULL);
}

static void end_note(struct vivero_self *self, void *payload,
                     const struct vivero_exit *reason, void *ctx)
{
    (void)self;
    (void)payload;
    (void)ctx;
    journal_write(&journal, 1000 + (int)reason->kind, 0);
}

static void open_deferring(void)
{
    pool =
        crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .terminate = end_note,
                                      .restarts_max = 100,
                                      .deadline_ns = VIVERO_MILLISECONDS(100),
                                      .on_hang = VIVERO_HANG_REPLACE));
}

static void runs_what_was_deferred_last_one_first_before_terminate(void)
{
    const int order[] = {3, 1, 1000 + VIVERO_EXIT_FAILED,
                         3, 1, 1000 + VIVERO_EXIT_THREAD_LEFT};

    open_deferring();
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(defer_call(THEN_ANSWER, false), VIVERO_OK);
    CU_ASSERT_EQUAL(defer_call(THEN_FAIL, false), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(defer_call(THEN_LEAVE, true), VIVERO_E_DOWN);
    CU_ASSERT(journal_await(&journal, 6));
    CU_ASSERT(journal_is(&journal, order, 6));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void a_hung_handlers_defers_wait_for_it(void)
{
    open_deferring();
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(defer_call(THEN_HANG, false), VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    gate_open(&gate);
    CU_ASSERT(eventually(no_zombies, NULL, CREW_PATIENCE));
    /* It took them off itself, in time. */
    CU_ASSERT_EQUAL(journal_count(&journal), 1);
    CU_ASSERT_EQUAL(journal.entry[0].value, 1000 + VIVERO_EXIT_FENCED);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static void the_supervisor_runs_those_it_may_at_the_fencing(void)
{
    const int order[] = {3, 1};

    open_deferring();
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(defer_call(THEN_HANG, true), VIVERO_E_DOWN);
    CU_ASSERT(journal_await(&journal, 2));
    CU_ASSERT(journal_is(&journal, order, 2));
    gate_open(&gate);
    CU_ASSERT(eventually(no_zombies, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

static struct vivero_defer kept;

static int defer_and_go(struct vivero_self *self, const void *in, void *out)
{
    static const int number = 8;

    (void)in;
    (void)out;
    return vivero_defer(self, &kept, note_deferred, (void *)(uintptr_t)&number);
}

static const struct vivero_operation defer_and_go_operation = {
    .name = "defer_and_go", .run = defer_and_go};

static void what_a_handler_leaves_deferred_runs_at_the_incarnations_end(void)
{
    const int order[] = {8, 1000 + VIVERO_EXIT_SHUTDOWN};

    open_deferring();
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &defer_and_go_operation, NULL, NULL, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT(journal_is(&journal, order, 2));
}

static int defer_wrongly(void *ctx)
{
    struct vivero_self self = {ctx};
    static struct vivero_defer node;

    return vivero_defer(&self, &node, note_deferred, NULL);
}

static int ask_self(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    *(struct vivero_entity **)out = self->entity;
    return VIVERO_OK;
}

static const struct vivero_operation ask_self_operation = {
    .name = "self", .run = ask_self, .out_size = sizeof(void *)};

static int defer_from_outside(void *ctx)
{
    struct vivero_entity *entity = NULL;

    (void)ctx;
    open_deferring();
    if (pool == NULL || vivero_pool_call(pool, &ask_self_operation, NULL,
                                         &entity, NULL) != VIVERO_OK) {
        return 1;
    }
    return defer_wrongly(entity);
}

static void deferring_from_outside_is_misuse(void)
{
    char sentence[CREW_SENTENCE_MAX];

    CU_ASSERT_EQUAL(crew_fork(defer_from_outside, NULL, sentence), CREW_MISUSE);
    CU_ASSERT_PTR_NOT_NULL(strstr(sentence, "vivero_defer"));
}

/* ---- The functions behind the macros
 * --------------------------------------------------------- */

struct seen {
    uint64_t generation;
    uint32_t attempt;
    bool should_stop;
};

static int look(struct vivero_self *self, const void *in, void *out)
{
    struct seen *seen = out;
    struct vivero_defer node;

    (void)in;
    seen->generation = vivero_entity_generation(self->entity);
    seen->attempt = vivero_entity_attempt(self->entity);
    seen->should_stop = vivero_entity_should_stop(self->entity);
    vivero_entity_alive(self->entity);
    (void)vivero_entity_defer(self->entity, &node, note_deferred, NULL, 0);
    return vivero_undefer(&node) ? VIVERO_OK : VIVERO_E_INVALID;
}

static const struct vivero_operation look_operation = {
    .name = "look", .run = look, .out_size = sizeof(struct seen)};

static void generations_grow_with_each_incarnation(void)
{
    const struct fail_in fail = {1, "next"};

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1, .restarts_max = 100));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    for (uint64_t i = 1; i < 5; i++) {
        struct seen seen = {0};

        CU_ASSERT_EQUAL(
            vivero_pool_call(pool, &look_operation, NULL, &seen, NULL),
            VIVERO_OK);
        CU_ASSERT_EQUAL(seen.generation, i);
        CU_ASSERT_EQUAL(seen.attempt, 1);
        CU_ASSERT_FALSE(seen.should_stop);
        CU_ASSERT_EQUAL(
            vivero_pool_call(pool, i % 2 == 0 ? &crew_leave : &crew_fail,
                             i % 2 == 0 ? NULL : (const void *)&fail, NULL,
                             NULL),
            VIVERO_E_DOWN);
    }
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* ---- For ever
 * -------------------------------------------------------------------------------- */

static int64_t resident_bytes(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long size = 0;
    long resident = 0;

    if (file != NULL) {
        if (fscanf(file, "%ld %ld", &size, &resident) != 2) {
            resident = 0;
        }
        fclose(file);
    }
    return (int64_t)resident * sysconf(_SC_PAGESIZE);
}

static uint32_t fail_often(const struct vivero_operation *operation,
                           const void *in, int count)
{
    uint32_t wrong = 0;

    for (int i = 0; i < count; i++) {
        wrong +=
            vivero_pool_call(pool, operation, in, NULL, NULL) != VIVERO_E_DOWN;
    }
    return wrong;
}

static void failing_for_ever_costs_no_memory(void)
{
    const struct fail_in fail = {1, "again"};
    int64_t before;

    pool = crew_open(VIVERO_POOL_OPTIONS(.workers = 1,
                                         .restarts_max = VIVERO_UNLIMITED,
                                         .payload_size = 64));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
    CU_ASSERT_EQUAL(fail_often(&crew_fail, &fail, 1000), 0);
    CU_ASSERT_EQUAL(fail_often(&crew_leave, NULL, 200), 0);
    before = resident_bytes();
    CU_ASSERT_EQUAL(
        fail_often(&crew_fail, &fail, CREW_SANITIZED ? 2000 : 100000), 0);
    CU_ASSERT_EQUAL(fail_often(&crew_leave, NULL, CREW_SANITIZED ? 200 : 4000),
                    0);
    CU_ASSERT(CREW_SANITIZED || resident_bytes() - before < 2 * 1024 * 1024);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

SUITE_MAIN("pool_state", set_up, tear_down, TEST(begins_anew_by_default),
           TEST(goes_on_with_the_last_committed_value),
           TEST(destroys_the_committed_value_of_a_pool_that_goes_down),
           TEST(runs_what_was_deferred_last_one_first_before_terminate),
           TEST(a_hung_handlers_defers_wait_for_it),
           TEST(the_supervisor_runs_those_it_may_at_the_fencing),
           TEST(what_a_handler_leaves_deferred_runs_at_the_incarnations_end),
           TEST(deferring_from_outside_is_misuse),
           TEST(generations_grow_with_each_incarnation),
           TEST(failing_for_ever_costs_no_memory))
