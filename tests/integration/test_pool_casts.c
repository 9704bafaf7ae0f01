/* SPDX-License-Identifier: MIT */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

static struct vivero_pool *pool;
static struct gate gate = GATE_SHUT;
static struct journal journal = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void set_up(void)
{
    gate_shut(&gate);
    journal_clear(&journal);
    pool = NULL;
}

static void tear_down(void)
{
    gate_open(&gate);
    if (pool != NULL) {
        CU_ASSERT(crew_is_conserved(pool));
        CU_ASSERT_EQUAL(vivero_pool_close(pool), VIVERO_OK);
    }
}

static bool open_pool(const struct vivero_pool_options *options)
{
    pool = crew_open(options);
    return pool != NULL;
}

static int cast_note(int value, const struct vivero_send *send)
{
    struct note_in in = {&journal, value};

    return vivero_pool_cast(pool, &crew_note, &in, send);
}

/* ---- One
 * ----------------------------------------------------------------------- */

static void returns_before_the_handler_ran(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));

    CU_ASSERT_EQUAL(cast_note(1, NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(journal_count(&journal), 0);
    gate_open(&gate);
    CU_ASSERT(journal_await(&journal, 1));
}

static void copies_the_argument_before_it_returns(void)
{
    struct note_in in = {&journal, 5};
    static const int five[] = {5};

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_note, &in, NULL), VIVERO_OK);
    in.value = 6;
    gate_open(&gate);

    CU_ASSERT(journal_await(&journal, 1));
    CU_ASSERT(journal_is(&journal, five, 1));
}

static void queues_more_messages_than_there_are_workers(void)
{
    uint32_t sum = 0;

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    for (int n = 1; n <= 3; n++) {
        CU_ASSERT_EQUAL(cast_note(n, NULL), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    for (uint32_t i = 0; i < 3; i++) {
        sum += (uint32_t)journal.entry[i].value;
    }
    CU_ASSERT_EQUAL(journal.count, 3);
    CU_ASSERT_EQUAL(sum, 6);
}

static void ignores_an_error_a_cast_returns(void)
{
    int code = -12;

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_answer, &code, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(crew_numbers(pool).handled, 1);
    CU_ASSERT_EQUAL(crew_numbers(pool).restarts, 0);
}

/* ---- Order
 * ---------------------------------------------------------------------- */

static bool is_in_order(uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (journal.entry[i].value != (int)i) {
            return false;
        }
    }
    return journal.count == count;
}

static void keeps_one_senders_order_to_one_worker(void)
{
    uint32_t elsewhere = 0;

    CU_ASSERT_FATAL(open_pool(
        VIVERO_POOL_OPTIONS(.workers = 3, .mailbox_depth = JOURNAL_MAX)));
    for (int n = 0; n < 4000; n++) {
        CU_ASSERT_EQUAL(cast_note(n, VIVERO_SEND(.worker = 2)), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    CU_ASSERT(is_in_order(4000));
    for (uint32_t i = 0; i < journal.count; i++) {
        elsewhere += journal.entry[i].worker != 2;
    }
    CU_ASSERT_EQUAL(elsewhere, 0);
}

static void shows_a_cast_to_the_same_senders_next_call(void)
{
    int wrong = 0;

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 2)));
    for (int n = 0; n < 500; n++) {
        const struct vivero_send *send = VIVERO_SEND(.worker = 1);

        wrong += cast_note(n, send) != VIVERO_OK;
        wrong += vivero_pool_call(pool, &crew_nothing, NULL, NULL, send) != 0;
        wrong += journal_count(&journal) != (uint32_t)n + 1;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

struct sender {
    pthread_t thread;
    int first;
    int refused;
};

static void *send_a_thousand(void *arg)
{
    struct sender *sender = arg;

    for (int n = 0; n < 1000; n++) {
        sender->refused +=
            cast_note(sender->first + n,
                      VIVERO_SEND(.key = "k", .key_size = 1)) != VIVERO_OK;
    }
    return NULL;
}

static void keeps_every_senders_own_order(void)
{
    struct sender sender[4] = {{.refused = 0}};
    int next[4] = {0, 0, 0, 0};
    int wrong = 0;

    CU_ASSERT_FATAL(open_pool(
        VIVERO_POOL_OPTIONS(.workers = 3, .mailbox_depth = JOURNAL_MAX)));
    for (int s = 0; s < 4; s++) {
        sender[s].first = s * 1000;
        pthread_create(&sender[s].thread, NULL, send_a_thousand, &sender[s]);
    }
    for (int s = 0; s < 4; s++) {
        pthread_join(sender[s].thread, NULL);
        wrong += sender[s].refused;
    }
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    CU_ASSERT_EQUAL_FATAL(journal.count, 4000);
    for (uint32_t i = 0; i < 4000; i++) {
        int s = journal.entry[i].value / 1000;

        wrong += journal.entry[i].value % 1000 != next[s];
        wrong += journal.entry[i].worker != journal.entry[0].worker;
        next[s]++;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

/* ---- Who gets it
 * ------------------------------------------------------------------ */

static void gives_a_message_to_a_worker_that_is_free(void)
{
    static struct gate other = GATE_SHUT;

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 3)));
    CU_ASSERT_FATAL(crew_hold_worker(pool, 1, &gate));
    CU_ASSERT_FATAL(crew_hold_worker(pool, 3, &other));

    for (int i = 0; i < 100; i++) {
        uint32_t id = 0;

        CU_ASSERT_EQUAL(vivero_pool_call(pool, &crew_whoami, NULL, &id, NULL),
                        VIVERO_OK);
        CU_ASSERT_EQUAL(id, 2);
    }
    gate_open(&gate);
    gate_open(&other);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
}

static void leaves_nothing_behind_a_slow_handler_while_others_are_free(void)
{
    struct hold_in in = {&gate};

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 4)));
    CU_ASSERT_EQUAL(vivero_pool_cast(pool, &crew_hold, &in, NULL), VIVERO_OK);
    for (int n = 0; n < 200; n++) {
        CU_ASSERT_EQUAL(cast_note(n, NULL), VIVERO_OK);
    }

    CU_ASSERT(journal_await(&journal, 200));
    CU_ASSERT_EQUAL(gate_passed(&gate), 0);
}

static void spreads_itself_over_all_workers_at_random(void)
{
    uint32_t hits[9] = {0};

    CU_ASSERT_FATAL(open_pool(
        VIVERO_POOL_OPTIONS(.workers = 8, .pick = VIVERO_PICK_RANDOM)));
    for (int i = 0; i < 1600; i++) {
        uint32_t id = 0;

        CU_ASSERT_EQUAL_FATAL(
            vivero_pool_call(pool, &crew_whoami, NULL, &id, NULL), VIVERO_OK);
        CU_ASSERT_FATAL(id >= 1 && id <= 8);
        hits[id]++;
    }

    for (uint32_t id = 1; id <= 8; id++) {
        CU_ASSERT(hits[id] > 0);
    }
}

/* ---- Keys
 * ------------------------------------------------------------------------- */

#define KEYS 1000

static uint32_t worker_of_key(uint32_t key)
{
    uint32_t id = 0;
    int error =
        vivero_pool_call(pool, &crew_whoami, NULL, &id,
                         VIVERO_SEND(.key = &key, .key_size = sizeof key));

    return error == VIVERO_OK ? id : 0;
}

static void sends_the_same_key_to_the_same_worker(void)
{
    uint32_t hits[6] = {0};

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 5)));
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t id = worker_of_key(key);

        CU_ASSERT_FATAL(id >= 1 && id <= 5);
        CU_ASSERT_EQUAL(worker_of_key(key), id);
        hits[id]++;
    }
    for (uint32_t id = 1; id <= 5; id++) {
        CU_ASSERT(hits[id] > KEYS / 5 / 4);
        CU_ASSERT(hits[id] < KEYS / 5 * 4);
    }
}

static void moves_about_one_key_in_n_when_it_grows(void)
{
    static uint32_t before[KEYS];
    uint32_t moved = 0;
    uint32_t moved_elsewhere = 0;

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 4)));
    for (uint32_t key = 0; key < KEYS; key++) {
        before[key] = worker_of_key(key);
    }
    CU_ASSERT_EQUAL_FATAL(vivero_pool_resize(pool, 5), VIVERO_OK);
    for (uint32_t key = 0; key < KEYS; key++) {
        uint32_t id = worker_of_key(key);

        moved += id != before[key];
        moved_elsewhere += id != before[key] && id != 5;
    }

    /* A fifth of them, and to the new worker only. */
    CU_ASSERT(moved > KEYS / 5 / 4);
    CU_ASSERT(moved < KEYS / 5 * 5 / 2);
    CU_ASSERT_EQUAL(moved_elsewhere, 0);
}

static void picks_by_operation_and_first_argument(void)
{
    static struct vivero_operation operation;
    uint32_t hits[5] = {0};

    operation = crew_whoami;
    operation.in_size = 2 * sizeof(uint32_t);
    operation.key_size = sizeof(uint32_t);
    CU_ASSERT_FATAL(
        open_pool(VIVERO_POOL_OPTIONS(.workers = 4, .pick = VIVERO_PICK_KEY)));
    for (uint32_t key = 0; key < 200; key++) {
        uint32_t in[2] = {key, 0};
        uint32_t first = 0;

        CU_ASSERT_EQUAL_FATAL(
            vivero_pool_call(pool, &operation, in, &first, NULL), VIVERO_OK);
        CU_ASSERT_FATAL(first >= 1 && first <= 4);
        hits[first]++;
        for (in[1] = 1; in[1] < 5; in[1]++) {
            uint32_t id = 0;

            CU_ASSERT_EQUAL(vivero_pool_call(pool, &operation, in, &id, NULL),
                            VIVERO_OK);
            CU_ASSERT_EQUAL(id, first);
        }
    }
    for (uint32_t id = 1; id <= 4; id++) {
        CU_ASSERT(hits[id] > 0);
    }
}

/* ---- Batches and broadcasts
 * ----------------------------------------------------------- */

static void fill_batch(struct note_in *batch, int count)
{
    for (int n = 0; n < count; n++) {
        batch[n] = (struct note_in){&journal, n};
    }
}

static void casts_a_batch_and_handles_each_once(void)
{
    static struct note_in batch[500];
    static uint32_t seen[500];
    uint32_t wrong = 0;

    memset(seen, 0, sizeof seen);
    fill_batch(batch, 500);
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 3)));
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &crew_note, batch, 500), 500);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    CU_ASSERT_EQUAL_FATAL(journal.count, 500);
    for (uint32_t i = 0; i < 500; i++) {
        seen[journal.entry[i].value]++;
    }
    for (uint32_t n = 0; n < 500; n++) {
        wrong += seen[n] != 1;
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void takes_the_front_of_a_batch_that_does_not_fit(void)
{
    struct note_in batch[10];
    static const int front[] = {0, 1, 2, 3};

    fill_batch(batch, 10);
    CU_ASSERT_FATAL(
        open_pool(VIVERO_POOL_OPTIONS(.workers = 1, .mailbox_depth = 4)));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &crew_note, batch, 10), 4);
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &crew_note, batch, 10),
                    VIVERO_E_FULL);
    gate_open(&gate);

    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT(journal_is(&journal, front, 4));
}

static void casts_an_empty_batch(void)
{
    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 1)));
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &crew_nothing, NULL, 0), 0);
    CU_ASSERT_EQUAL(vivero_pool_cast_batch(pool, &crew_nothing, NULL, 3), 3);
}

static void broadcasts_to_every_worker_once(void)
{
    struct note_in in = {&journal, 1};
    uint32_t hits[8] = {0};

    CU_ASSERT_FATAL(open_pool(VIVERO_POOL_OPTIONS(.workers = 7)));
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &crew_note, &in), 7);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);

    CU_ASSERT_EQUAL_FATAL(journal.count, 7);
    for (uint32_t i = 0; i < 7; i++) {
        hits[journal.entry[i].worker]++;
    }
    for (uint32_t id = 1; id <= 7; id++) {
        CU_ASSERT_EQUAL(hits[id], 1);
    }
}

static void broadcasts_to_those_with_room(void)
{
    struct note_in in = {&journal, 1};

    CU_ASSERT_FATAL(
        open_pool(VIVERO_POOL_OPTIONS(.workers = 2, .mailbox_depth = 1)));
    CU_ASSERT_FATAL(crew_hold_all(pool, &gate));
    CU_ASSERT_EQUAL(cast_note(2, VIVERO_SEND(.worker = 1)), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &crew_note, &in), 1);
    CU_ASSERT_EQUAL(vivero_pool_broadcast(pool, &crew_note, &in),
                    VIVERO_E_FULL);
    gate_open(&gate);
    CU_ASSERT_EQUAL(vivero_pool_wait_idle(pool, CREW_PATIENCE), VIVERO_OK);
    CU_ASSERT_EQUAL(journal.count, 2);
}

SUITE_MAIN("pool_casts", set_up, tear_down,
           TEST(returns_before_the_handler_ran),
           TEST(copies_the_argument_before_it_returns),
           TEST(queues_more_messages_than_there_are_workers),
           TEST(ignores_an_error_a_cast_returns),
           TEST(keeps_one_senders_order_to_one_worker),
           TEST(shows_a_cast_to_the_same_senders_next_call),
           TEST(keeps_every_senders_own_order),
           TEST(gives_a_message_to_a_worker_that_is_free),
           TEST(leaves_nothing_behind_a_slow_handler_while_others_are_free),
           TEST(spreads_itself_over_all_workers_at_random),
           TEST(sends_the_same_key_to_the_same_worker),
           TEST(moves_about_one_key_in_n_when_it_grows),
           TEST(picks_by_operation_and_first_argument),
           TEST(casts_a_batch_and_handles_each_once),
           TEST(takes_the_front_of_a_batch_that_does_not_fit),
           TEST(casts_an_empty_batch), TEST(broadcasts_to_every_worker_once),
           TEST(broadcasts_to_those_with_room))
