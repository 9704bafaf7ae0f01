/* SPDX-License-Identifier: MIT */
/* Monitors, and what links and monitors have in common. */
#include "tests/lib/suite.h"
#include "tests/unit/pair.h"
#include "tests/unit/subject.h"

#include <pthread.h>

/* ---- Monitors ------------------------------------------------------------------------- */

static bool same(struct vivero_monitor a, struct vivero_monitor b)
{
    return a.slot == b.slot && a.generation == b.generation;
}

static void a_monitor_tells_once_and_only_its_watcher(void)
{
    struct vivero_monitor monitor;
    struct taken taken;

    CU_ASSERT_EQUAL(vv_entity_monitor(berta, anna->ref, &monitor), VIVERO_OK);
    CU_ASSERT(has_ties(berta, 0, 0, 1));
    CU_ASSERT(has_ties(anna, 0, 1, 0));
    end(anna, VIVERO_EXIT_FAILED);
    taken = subject_take(berta);

    CU_ASSERT_EQUAL(taken.what, DOWN);
    CU_ASSERT(same(taken.monitor, monitor));
    CU_ASSERT(vivero_ref_equal(taken.from, anna->ref));
    CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(taken.exit.code, 13);
    CU_ASSERT_EQUAL(subject_take(berta).what, NOTHING);
    CU_ASSERT(has_ties(berta, 0, 0, 0));
}

static void the_target_hears_nothing_of_its_watchers_end(void)
{
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vv_entity_monitor(berta, anna->ref, &monitor), VIVERO_OK);
    end(berta, VIVERO_EXIT_FAILED);

    CU_ASSERT_EQUAL(subject_take(anna).what, NOTHING);
    CU_ASSERT(has_ties(anna, 0, 0, 0));
}

static void each_monitor_of_one_target_tells(void)
{
    struct vivero_monitor monitors[3];
    bool told[3] = {false};

    for (uint32_t i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(vv_entity_monitor(anna, berta->ref, &monitors[i]),
                        VIVERO_OK);
    }
    end(berta, VIVERO_EXIT_NORMAL);
    for (uint32_t k = 0; k < 3; k++) {
        struct taken taken = subject_take(anna);

        CU_ASSERT_EQUAL(taken.what, DOWN);
        for (uint32_t i = 0; i < 3; i++) {
            told[i] = told[i] || same(taken.monitor, monitors[i]);
        }
    }

    CU_ASSERT(told[0] && told[1] && told[2]);
    CU_ASSERT_EQUAL(subject_take(anna).what, NOTHING);
}

static void nobody_for_one_that_has_ended(void)
{
    struct vivero_ref other = ended_one();
    struct vivero_monitor monitor;
    struct taken taken;

    CU_ASSERT_EQUAL(vv_entity_monitor(berta, other, &monitor), VIVERO_OK);
    taken = subject_take(berta);

    CU_ASSERT_EQUAL(taken.what, DOWN);
    CU_ASSERT(same(taken.monitor, monitor));
    CU_ASSERT(vivero_ref_equal(taken.from, other));
    CU_ASSERT_EQUAL(taken.exit.kind, VIVERO_EXIT_NOBODY);
}

static void one_may_monitor_oneself(void)
{
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vv_entity_monitor(anna, anna->ref, &monitor), VIVERO_OK);
    CU_ASSERT(has_ties(anna, 0, 1, 1));
    end(anna, VIVERO_EXIT_NORMAL);

    CU_ASSERT(has_ties(anna, 0, 0, 0));
}

static void demonitor_ends_it_and_is_gone_the_second_time(void)
{
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vv_entity_monitor(anna, berta->ref, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_demonitor(berta, monitor), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vv_entity_demonitor(anna, monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_demonitor(anna, monitor), VIVERO_E_GONE);
    end(berta, VIVERO_EXIT_FAILED);

    CU_ASSERT_EQUAL(subject_take(anna).what, NOTHING);
}

static void demonitor_knows_its_monitor_from_all_later_ones(void)
{
    struct vivero_monitor first;
    struct vivero_monitor second;

    CU_ASSERT_EQUAL(vv_entity_monitor(anna, berta->ref, &first), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_demonitor(anna, first), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_monitor(anna, berta->ref, &second), VIVERO_OK);
    CU_ASSERT_FALSE(same(first, second));
    CU_ASSERT_EQUAL(vv_entity_demonitor(anna, first), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vv_entity_demonitor(anna, (struct vivero_monitor){9999, 1}),
                    VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vv_entity_demonitor(anna, (struct vivero_monitor){0, 0}),
                    VIVERO_E_GONE);
    CU_ASSERT(has_ties(anna, 0, 0, 1));
}

static void demonitor_leaves_what_was_told_and_flush_takes_it_out(void)
{
    struct vivero_monitor monitors[2];

    vv_entity_set_here(anna);
    for (uint32_t i = 0; i < 2; i++) {
        CU_ASSERT_EQUAL(vivero_monitor(berta->ref, &monitors[i]), VIVERO_OK);
    }
    end(berta, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(vivero_demonitor(monitors[0], false), VIVERO_E_GONE);
    (void)vivero_demonitor(monitors[1], true);
    CU_ASSERT_EQUAL(vivero_demonitor(monitors[1], true), VIVERO_E_GONE);

    CU_ASSERT(same(subject_take(anna).monitor, monitors[0]));
    CU_ASSERT_EQUAL(subject_take(anna).what, NOTHING);
}

static void a_notice_needs_no_room(void)
{
    struct vivero_monitor monitor;

    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(subject_put(anna, i), VIVERO_OK);
    }
    CU_ASSERT_EQUAL(vv_entity_monitor(anna, berta->ref, &monitor), VIVERO_OK);
    end(berta, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(subject_put(anna, 10), VIVERO_E_FULL);

    for (int i = 0; i < 10; i++) {
        CU_ASSERT_EQUAL(subject_take_number(anna), i);
    }
    CU_ASSERT_EQUAL(subject_take(anna).what, DOWN);
}

static void all_it_sent_before_its_end_comes_before_the_notices(void)
{
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vv_entity_monitor(anna, berta->ref, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(vivero_tell(anna->ref, 0, &i, sizeof(i)), VIVERO_OK);
    }
    end(berta, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(subject_put(anna, 3), VIVERO_OK);

    for (int i = 0; i < 3; i++) {
        CU_ASSERT_EQUAL(subject_take_number(anna), i);
    }
    for (int i = 0; i < 2; i++) {
        struct taken taken = subject_take(anna);

        CU_ASSERT(taken.what == EXIT || taken.what == DOWN);
    }
    CU_ASSERT_EQUAL(subject_take_number(anna), 3);
}

static void ten_thousand_monitors_tell_once_each(void)
{
    static struct vivero_monitor monitors[10000];
    static bool told[10000];
    uint32_t wrong = 0;

    for (uint32_t i = 0; i < 10000; i++) {
        wrong += vv_entity_monitor(anna, berta->ref, &monitors[i]) != VIVERO_OK;
        told[i] = false;
    }
    for (uint32_t i = 0; i < 10000; i += 3) {
        wrong += vv_entity_demonitor(anna, monitors[i]) != VIVERO_OK;
    }
    end(berta, VIVERO_EXIT_FAILED);
    for (struct taken taken = subject_take(anna); taken.what == DOWN;
         taken = subject_take(anna)) {
        /* They were made one after another, so their places are dense. */
        bool found = false;

        for (uint32_t i = taken.monitor.slot; i < 10000 && !found; i++) {
            found = same(monitors[i], taken.monitor);
            wrong += found && (told[i] || i % 3 == 0);
            told[i] = told[i] || found;
        }
        wrong += !found;
    }

    CU_ASSERT_EQUAL(wrong, 0);
    for (uint32_t i = 0; i < 10000; i++) {
        wrong += told[i] != (i % 3 != 0);
    }
    CU_ASSERT_EQUAL(wrong, 0);
}

static void no_memory_monitors_nothing(void)
{
    struct vivero_monitor monitor;

    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(vv_entity_monitor(anna, berta->ref, &monitor),
                    VIVERO_E_NO_MEMORY);

    CU_ASSERT(has_ties(anna, 0, 0, 0));
}

/* ---- Ends ------------------------------------------------------------------------------- */

static void one_that_was_ended_by_others_gets_no_new_ties(void)
{
    struct vivero_monitor monitor;

    end(berta, VIVERO_EXIT_KILLED);
    CU_ASSERT_EQUAL(vv_entity_link(berta, anna->ref), VIVERO_E_FENCED);
    CU_ASSERT_EQUAL(vv_entity_monitor(berta, anna->ref, &monitor),
                    VIVERO_E_FENCED);

    CU_ASSERT(has_ties(anna, 0, 0, 0));
    CU_ASSERT(has_ties(berta, 0, 0, 0));
}

static void unread_notices_end_with_their_receiver(void)
{
    struct vivero_monitor monitor;

    CU_ASSERT_EQUAL(vv_entity_monitor(anna, berta->ref, &monitor), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(anna, berta->ref), VIVERO_OK);
    end(berta, VIVERO_EXIT_FAILED);
    end(anna, VIVERO_EXIT_FAILED);
    /* What is left is seen in tear_down. */
}

struct crossing {
    pthread_barrier_t *barrier;
    struct vv_entity *entity;
};

static void *cross(void *ctx)
{
    struct crossing *crossing = ctx;

    pthread_barrier_wait(crossing->barrier);
    (void)subject_end(crossing->entity, VIVERO_EXIT_FAILED);
    return NULL;
}

static void ends_may_cross(void)
{
    pthread_barrier_t barrier;

    pthread_barrier_init(&barrier, NULL, 2);
    for (uint32_t i = 0; i < 500; i++) {
        struct crossing crossings[2];
        struct vivero_monitor monitor;
        pthread_t threads[2];

        for (uint32_t k = 0; k < 2; k++) {
            crossings[k] = (struct crossing){
                &barrier, subject_new(k == 0 ? VV_ENTITY_TRAPS : 0, 1, NULL)};
        }
        for (uint32_t k = 0; k < 2; k++) {
            struct vv_entity *self = crossings[k].entity;
            struct vivero_ref far = crossings[1 - k].entity->ref;

            CU_ASSERT_EQUAL(vv_entity_link(self, far), VIVERO_OK);
            CU_ASSERT_EQUAL(vv_entity_monitor(self, far, &monitor), VIVERO_OK);
        }
        for (uint32_t k = 0; k < 2; k++) {
            pthread_create(&threads[k], NULL, cross, &crossings[k]);
        }
        pthread_join(threads[0], NULL);
        pthread_join(threads[1], NULL);
    }
    pthread_barrier_destroy(&barrier);
    /* Nothing is left: seen in tear_down. */
}

SUITE_MAIN("entity_ties", set_up, tear_down,
           TEST(a_monitor_tells_once_and_only_its_watcher),
           TEST(the_target_hears_nothing_of_its_watchers_end),
           TEST(each_monitor_of_one_target_tells),
           TEST(nobody_for_one_that_has_ended), TEST(one_may_monitor_oneself),
           TEST(demonitor_ends_it_and_is_gone_the_second_time),
           TEST(demonitor_knows_its_monitor_from_all_later_ones),
           TEST(demonitor_leaves_what_was_told_and_flush_takes_it_out),
           TEST(a_notice_needs_no_room),
           TEST(all_it_sent_before_its_end_comes_before_the_notices),
           TEST(ten_thousand_monitors_tell_once_each),
           TEST(no_memory_monitors_nothing),
           TEST(one_that_was_ended_by_others_gets_no_new_ties),
           TEST(unread_notices_end_with_their_receiver), TEST(ends_may_cross))
