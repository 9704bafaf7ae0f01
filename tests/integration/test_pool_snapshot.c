/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/eventually.h"
#include "tests/lib/suite.h"

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;

static int fill(struct vivero_self *self, void *payload, void *ctx)
{
    (void)ctx;
    *(uint32_t *)payload = vivero_id(self) * 1000;
    return VIVERO_OK;
}

static char label[] = "number";

static void print_number(const void *payload, FILE *out, void *ctx)
{
    fprintf(out, "%s=%u", (const char *)ctx, *(const uint32_t *)payload);
}

static void set_up(void)
{
    gate_shut(&gate);
    pool = crew_open(
        VIVERO_POOL_OPTIONS(.name = "gallery", .workers = 3,
                            .payload_size = sizeof(uint32_t), .init = fill,
                            .print_payload = print_number, .ctx = label));
    CU_ASSERT_PTR_NOT_NULL_FATAL(pool);
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
}

/* Never NULL: a test without its picture cannot go on. */
static const struct vivero_pool_snapshot *picture(void)
{
    const struct vivero_pool_snapshot *snapshot = NULL;
    int error = vivero_pool_snapshot(pool, &snapshot);

    if (error != VIVERO_OK || snapshot == NULL) {
        fprintf(stderr, "snapshot: %s\n", vivero_strerror(error));
        abort();
    }
    return snapshot;
}

static void shows_an_idle_pool(void)
{
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    const struct vivero_pool_snapshot *snapshot = picture();

    CU_ASSERT_STRING_EQUAL(snapshot->name, "gallery");
    CU_ASSERT_EQUAL(snapshot->workers, 3);
    CU_ASSERT_EQUAL_FATAL(snapshot->worker_count, 3);
    CU_ASSERT_EQUAL(snapshot->accepted, 0);
    CU_ASSERT_EQUAL(snapshot->queued, 0);
    CU_ASSERT_EQUAL(snapshot->running, 0);
    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(snapshot->worker[i].id, i + 1);
        CU_ASSERT_EQUAL(snapshot->worker[i].state, VIVERO_WORKER_IDLE);
        CU_ASSERT_EQUAL(snapshot->worker[i].queued, 0);
        CU_ASSERT_EQUAL(snapshot->worker[i].oldest_age_ns, 0);
        CU_ASSERT_EQUAL(snapshot->worker[i].busy_for_ns, 0);
        CU_ASSERT_PTR_NULL(snapshot->worker[i].operation);
        CU_ASSERT_EQUAL(snapshot->worker[i].last_exit.kind, VIVERO_EXIT_NONE);
    }
    vivero_pool_snapshot_free(snapshot);
}

/* A worker that is about to rest may still count as busy. */
static bool shows_all_payloads(void *ctx)
{
    const struct vivero_pool_snapshot *snapshot = picture();
    uint32_t shown = 0;

    (void)ctx;
    for (uint32_t i = 0; i < snapshot->worker_count; i++) {
        char expected[32];

        snprintf(expected, sizeof expected, "number=%u",
                 snapshot->worker[i].id * 1000);
        shown += snapshot->worker[i].payload != NULL &&
                 strcmp(snapshot->worker[i].payload, expected) == 0;
    }
    vivero_pool_snapshot_free(snapshot);
    return shown == 3;
}

static void prints_payloads_of_idle_workers(void)
{
    CU_ASSERT(eventually(shows_all_payloads, NULL, CREW_PATIENCE));
}

static void shows_a_busy_worker(void)
{
    CU_ASSERT_FATAL(crew_hold_worker(pool, 2, &gate));
    for (int i = 0; i < 5; i++) {
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL,
                                         VIVERO_SEND(.worker = 2)),
                        VIVERO_OK);
    }
    /* Ages are good to four milliseconds. */
    crew_await_time(vivero_now() + VIVERO_MILLISECONDS(50));
    const struct vivero_pool_snapshot *snapshot = picture();

    CU_ASSERT_EQUAL(snapshot->worker[1].state, VIVERO_WORKER_BUSY);
    CU_ASSERT_PTR_NOT_NULL_FATAL(snapshot->worker[1].operation);
    CU_ASSERT_STRING_EQUAL(snapshot->worker[1].operation, "hold");
    CU_ASSERT_PTR_NULL(snapshot->worker[1].payload);
    CU_ASSERT_EQUAL(snapshot->worker[1].queued, 5);
    CU_ASSERT(snapshot->worker[1].oldest_age_ns >= VIVERO_MILLISECONDS(40));
    CU_ASSERT(snapshot->worker[1].busy_for_ns >= VIVERO_MILLISECONDS(40));
    CU_ASSERT(snapshot->worker[1].busy_for_ns < VIVERO_SECONDS(60));
    CU_ASSERT_EQUAL(snapshot->running, 1);
    CU_ASSERT_EQUAL(snapshot->queued, 5);
    CU_ASSERT_EQUAL(snapshot->accepted, 6);
    vivero_pool_snapshot_free(snapshot);
}

static void outlives_the_pool(void)
{
    const struct vivero_pool_snapshot *snapshot = picture();

    CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    CU_ASSERT_STRING_EQUAL(snapshot->name, "gallery");
    CU_ASSERT_EQUAL(snapshot->worker_count, 3);
    vivero_pool_snapshot_free(snapshot);
    vivero_pool_snapshot_free(NULL);
    set_up();
}

static void counts_every_fate_of_a_message_once(void)
{
    static const char owner;
    struct fail_in fail = {1, "counted"};

    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    for (int i = 0; i < 4; i++) {
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL, NULL), 0);
    }
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL,
                                         VIVERO_SEND(.owner = &owner)),
                        VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_fail, &fail, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_nothing, NULL, NULL,
                                     VIVERO_SEND(.timeout_ns = 2000000)),
                    VIVERO_E_TIMED_OUT);
    CU_ASSERT_EQUAL(vivero_pool_cancel_owner(pool, &owner), 3);
    gate_open(&gate);
    CU_ASSERT(crew_is_conserved(pool));
    CU_ASSERT(crew_await_restarts(pool, 1));
    struct vivero_pool_snapshot n = crew_numbers(pool);

    CU_ASSERT_EQUAL(n.accepted, 3 + 4 + 3 + 1 + 1);
    CU_ASSERT_EQUAL(n.handled, 3 + 4);
    CU_ASSERT_EQUAL(n.failed, 1);
    CU_ASSERT_EQUAL(n.expired, 1);
    CU_ASSERT_EQUAL(n.cancelled, 3);
    CU_ASSERT_EQUAL(n.dropped, 0);
    CU_ASSERT_EQUAL(n.dead, 0);
    CU_ASSERT_EQUAL(n.rejected, 0);
    CU_ASSERT_EQUAL(n.restarts, 1);
}

static void sums_up_what_its_workers_did(void)
{
    uint64_t handled = 0;
    uint64_t stolen = 0;

    for (int i = 0; i < 500; i++) {
        CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_nothing, NULL, NULL), 0);
    }
    CU_ASSERT(crew_is_conserved(pool));
    for (uint32_t worker = 1; worker <= 3; worker++) {
        handled += crew_worker(pool, worker).handled;
        stolen += crew_worker(pool, worker).stolen;
    }
    CU_ASSERT_EQUAL(handled, 500);
    CU_ASSERT(stolen <= handled);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 500);
}

static atomic_bool enough;

static void *keep_busy(void *arg)
{
    (void)arg;
    while (!atomic_load(&enough)) {
        (void)vivero_pool_call(pool, &crew_nothing, NULL, NULL, NULL);
    }
    return NULL;
}

static void may_be_taken_while_the_pool_works(void)
{
    pthread_t thread[2];
    uint64_t last = 0;
    int wrong = 0;

    atomic_store(&enough, false);
    pthread_create(&thread[0], NULL, keep_busy, NULL);
    pthread_create(&thread[1], NULL, keep_busy, NULL);
    for (int i = 0; i < 500; i++) {
        const struct vivero_pool_snapshot *snapshot = picture();

        wrong += snapshot->handled < last || snapshot->worker_count != 3;
        last = snapshot->handled;
        vivero_pool_snapshot_free(snapshot);
    }
    atomic_store(&enough, true);
    pthread_join(thread[0], NULL);
    pthread_join(thread[1], NULL);
    CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- For people
 * ----------------------------------------------------------------------- */

static void prints_a_line_for_the_pool_and_one_for_each_worker(void)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    uint32_t lines = 0;

    CU_ASSERT_PTR_NOT_NULL_FATAL(out);
    CU_ASSERT(eventually(shows_all_payloads, NULL, CREW_PATIENCE));
    CU_ASSERT_EQUAL(vivero_pool_print(pool, out), VIVERO_OK);
    fclose(out);

    for (size_t i = 0; i < size; i++) {
        lines += text[i] == '\n';
    }
    CU_ASSERT_EQUAL(lines, 4);
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "gallery"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "number=3000"));
    CU_ASSERT_PTR_NOT_NULL(strstr(text, "idle"));
    free(text);
}

static void answers_io_when_the_file_refuses(void)
{
    FILE *full = fopen("/dev/full", "w");

    CU_ASSERT_PTR_NOT_NULL_FATAL(full);
    setvbuf(full, NULL, _IONBF, 0);
    CU_ASSERT_EQUAL(vivero_pool_print(pool, full), VIVERO_E_IO);
    fclose(full);
}

SUITE_MAIN("pool_snapshot", set_up, tear_down, TEST(shows_an_idle_pool),
           TEST(prints_payloads_of_idle_workers), TEST(shows_a_busy_worker),
           TEST(outlives_the_pool), TEST(counts_every_fate_of_a_message_once),
           TEST(sums_up_what_its_workers_did),
           TEST(may_be_taken_while_the_pool_works),
           TEST(prints_a_line_for_the_pool_and_one_for_each_worker),
           TEST(answers_io_when_the_file_refuses))
