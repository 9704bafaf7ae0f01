/* SPDX-License-Identifier: MIT */
/* What a worker on its own is told outside calls and casts: messages, and
 * what it asked to continue with. */
#include <vivero/vivero.h>

#include "tests/lib/solo.h"
#include "tests/lib/suite.h"

static struct witness witness = WITNESS;
static struct gate gate = GATE_SHUT;
static struct vivero_ref worker;
static atomic_uint errors_logged;

static void count_errors(const struct vivero_log_event *event, void *ctx)
{
    (void)ctx;
    if (event->level == VIVERO_LOG_ERROR) {
        atomic_fetch_add(&errors_logged, 1);
    }
}

static void set_up(void)
{
    witness_clear(&witness);
    gate_shut(&gate);
    atomic_store(&errors_logged, 0);
    vivero_log_set_sink(VIVERO_LOG_ERROR, count_errors, NULL);
    worker = solo_start(SOLO_OPTIONS(.ctx = &witness));
}

static void tear_down(void)
{
    gate_open(&gate);
    CU_ASSERT(solo_end(worker));
    vivero_log_set_sink(VIVERO_LOG_ERROR, NULL, NULL);
}

/* ---- Messages ------------------------------------------------------------------- */

static void a_message_arrives_with_its_tag_and_data(void)
{
    int value = 99;

    CU_ASSERT_EQUAL(vivero_tell(worker, 7, &value, sizeof(value)), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_tell(worker, 8, NULL, 0), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 2));

    struct sight first = witness_sight(&witness, SAW_INFO, 0);
    struct sight second = witness_sight(&witness, SAW_INFO, 1);

    CU_ASSERT_EQUAL(first.info, VIVERO_INFO_MESSAGE);
    CU_ASSERT_EQUAL(first.tag, 7);
    CU_ASSERT_EQUAL(first.value, 99);
    CU_ASSERT_EQUAL(first.size, sizeof(int));
    CU_ASSERT(vivero_ref_is_nobody(first.from));
    CU_ASSERT_EQUAL(second.tag, 8);
    CU_ASSERT_EQUAL(second.size, 0);
}

static void a_message_says_who_sent_it(void)
{
    struct vivero_ref me;

    CU_ASSERT_EQUAL_FATAL(vivero_attach(NULL, &me), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_tell(worker, 1, NULL, 0), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT(vivero_ref_equal(witness_sight(&witness, SAW_INFO, 0).from, me));
    vivero_detach(NULL);
}

static atomic_int big_is_right;

static int looks_at_big(struct vivero_self *self,
                        const struct vivero_info *info, void *ctx)
{
    const unsigned char *bytes = info->data;
    bool right =
        info->size == 1048576 && (uintptr_t)bytes % _Alignof(max_align_t) == 0;

    (void)self;
    for (size_t i = 0; right && i < info->size; i++) {
        right = bytes[i] == (unsigned char)(i % 251);
    }
    atomic_store(&big_is_right, right);
    witness_see(ctx, &(struct sight){.kind = SAW_INFO});
    return VIVERO_OK;
}

static void a_mebibyte_is_told_whole_and_no_more(void)
{
    static unsigned char bytes[1048577];
    struct vivero_ref big =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .on_info = looks_at_big));

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)(i % 251);
    }
    CU_ASSERT_EQUAL(vivero_tell(big, 1, bytes, 1048577), VIVERO_E_LIMIT);
    CU_ASSERT_EQUAL(vivero_tell(big, 1, bytes, 1048576), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT(atomic_load(&big_is_right));
    CU_ASSERT(solo_stop(big));
}

static void what_nobody_hears_is_logged_and_it_goes_on(void)
{
    struct vivero_ref deaf = solo_start(NULL);

    CU_ASSERT_EQUAL(vivero_tell(deaf, 1, NULL, 0), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_worker_call(deaf, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(atomic_load(&errors_logged), 1);
    CU_ASSERT(solo_stop(deaf));
}

static int info_fails(struct vivero_self *self, const struct vivero_info *info,
                      void *ctx)
{
    (void)info;
    (void)ctx;
    return vivero_fail(self, 51, "in info");
}

static int info_is_rubbish(struct vivero_self *self,
                           const struct vivero_info *info, void *ctx)
{
    (void)self;
    (void)info;
    (void)ctx;
    return 1234;
}

static int info_halts(struct vivero_self *self, const struct vivero_info *info,
                      void *ctx)
{
    (void)self;
    (void)info;
    (void)ctx;
    return VIVERO_HALT;
}

static int info_stops(struct vivero_self *self, const struct vivero_info *info,
                      void *ctx)
{
    const struct vivero_exit why =
        vivero_reason(VIVERO_EXIT_SHUTDOWN_WITH, 52, "in info");

    (void)info;
    (void)ctx;
    return vivero_stop(self, &why);
}

static int info_jumps(struct vivero_self *self, const struct vivero_info *info,
                      void *ctx)
{
    (void)self;
    (void)info;
    (void)ctx;
    vivero_exit(53, "in info");
}

static int info_is_negative(struct vivero_self *self,
                            const struct vivero_info *info, void *ctx)
{
    (void)self;
    (void)info;
    witness_see(ctx, &(struct sight){.kind = SAW_INFO});
    return -5;
}

static struct vivero_exit end_by_info(vivero_info_fn *on_info)
{
    struct vivero_ref ref =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .on_info = on_info));

    witness_clear(&witness);
    CU_ASSERT_EQUAL(vivero_tell(ref, 1, NULL, 0), VIVERO_OK);
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_TERMINATE), 1);
    CU_ASSERT_EQUAL(witness_count(&witness, SAW_DESTROY), 1);
    return witness_sight(&witness, SAW_TERMINATE, 0).exit;
}

static void t_gs_02_an_info_can_end_it(void)
{
    struct vivero_exit exit = end_by_info(info_fails);

    CU_ASSERT_EQUAL(exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(exit.code, 51);
    exit = end_by_info(info_stops);
    CU_ASSERT_EQUAL(exit.kind, VIVERO_EXIT_SHUTDOWN_WITH);
    CU_ASSERT_EQUAL(exit.code, 52);
    exit = end_by_info(info_jumps);
    CU_ASSERT_EQUAL(exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(exit.code, 53);
    CU_ASSERT_EQUAL(end_by_info(info_halts).kind, VIVERO_EXIT_NORMAL);
    CU_ASSERT_EQUAL(end_by_info(info_is_rubbish).code, 1234);
}

static void a_negative_info_means_nothing(void)
{
    struct vivero_ref ref =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .on_info = info_is_negative));

    CU_ASSERT_EQUAL(vivero_tell(ref, 1, NULL, 0), VIVERO_OK);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT_EQUAL(vivero_worker_call(ref, &crew_nothing, NULL, NULL, NULL),
                    VIVERO_OK);
    CU_ASSERT(solo_stop(ref));
}

/* ---- Continuing --------------------------------------------------------------------------- */

static int init_continues(struct vivero_self *self, void *payload, void *ctx)
{
    gate_pass(&gate);
    vivero_continue(self, 41);
    return solo_init(self, payload, ctx);
}

static void *tells_early(void *arg)
{
    struct vivero_ref early = {0, 0};
    int value = 0;

    (void)arg;
    if (!gate_await(&gate, 1)) {
        return NULL;
    }
    early = vivero_whereis("early");
    (void)vivero_worker_cast(early, &solo_note, &value, NULL);
    (void)vivero_tell(early, 1, NULL, 0);
    gate_open(&gate);
    return NULL;
}

static void continue_runs_before_any_queued_message(void)
{
    const enum sight_kind kinds[] = {SAW_INIT, SAW_CONTINUE, SAW_HANDLED,
                                     SAW_INFO};
    pthread_t thread;

    witness_clear(&witness);
    pthread_create(&thread, NULL, tells_early, NULL);

    struct vivero_ref ref = solo_start(
        SOLO_OPTIONS(.ctx = &witness, .name = "early", .init = init_continues));

    pthread_join(thread, NULL);
    CU_ASSERT(witness_await(&witness, SAW_INFO, 1));
    CU_ASSERT(witness_saw(&witness, kinds, 4));
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_CONTINUE, 0).tag, 41);
    CU_ASSERT(solo_stop(ref));
}

static int counts_down(struct vivero_self *self, uint32_t tag, void *ctx)
{
    if (tag > 0) {
        vivero_continue(self, tag - 1);
    }
    return solo_continue(self, tag, ctx);
}

static int begins_to_count(struct vivero_self *self, void *arg)
{
    (void)arg;
    vivero_continue(self, 5);
    return VIVERO_OK;
}

static void continues_can_chain(void)
{
    struct vivero_ref ref =
        solo_start(SOLO_OPTIONS(.ctx = &witness, .on_continue = counts_down));
    int value = 0;
    const enum sight_kind kinds[] = {SAW_INIT,     SAW_CONTINUE, SAW_CONTINUE,
                                     SAW_CONTINUE, SAW_CONTINUE, SAW_CONTINUE,
                                     SAW_CONTINUE, SAW_HANDLED};

    witness_clear(&witness);
    witness_see(&witness, &(struct sight){.kind = SAW_INIT});
    CU_ASSERT(solo_hold(ref, &gate));
    CU_ASSERT_EQUAL(solo_order(ref, begins_to_count, NULL), 0);
    CU_ASSERT_EQUAL(vivero_worker_cast(ref, &solo_note, &value, NULL), 0);
    gate_open(&gate);
    CU_ASSERT(witness_await(&witness, SAW_HANDLED, 1));
    CU_ASSERT(witness_saw(&witness, kinds, 8));
    CU_ASSERT(solo_stop(ref));
}

static int continue_fails(struct vivero_self *self, uint32_t tag, void *ctx)
{
    (void)ctx;
    return vivero_fail(self, (int)tag, "in continue");
}

static void t_gs_02_a_continue_can_end_it(void)
{
    struct vivero_ref ref = solo_start(
        SOLO_OPTIONS(.ctx = &witness, .on_continue = continue_fails));

    CU_ASSERT_EQUAL(solo_ask(ref, begins_to_count, NULL), VIVERO_OK);
    CU_ASSERT(solo_await_end(ref));
    CU_ASSERT_EQUAL(witness_sight(&witness, SAW_TERMINATE, 0).exit.code, 5);
}

SUITE_MAIN("worker_info", set_up, tear_down,
           TEST(a_message_arrives_with_its_tag_and_data),
           TEST(a_message_says_who_sent_it),
           TEST(a_mebibyte_is_told_whole_and_no_more),
           TEST(what_nobody_hears_is_logged_and_it_goes_on),
           TEST(t_gs_02_an_info_can_end_it),
           TEST(a_negative_info_means_nothing),
           TEST(continue_runs_before_any_queued_message),
           TEST(continues_can_chain), TEST(t_gs_02_a_continue_can_end_it))
