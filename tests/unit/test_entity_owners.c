/* SPDX-License-Identifier: MIT */
/* Who hears of an entity: its owner, who waits for its end, and whoever knew the
 * bare one in whose place it came. */
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#include <pthread.h>

static const struct vivero_exit failed = {
    .kind = VIVERO_EXIT_FAILED, .code = 13, .text = "bad luck"};

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
}

static void tear_down(void)
{
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

/* ---- Owners --------------------------------------------------------------------------- */

static void the_owner_is_told_once_that_it_came_up(void)
{
    struct patron patron;
    struct vv_entity *subject;

    patron_init(&patron);
    subject = subject_new(0, 1, &patron);
    vv_entity_started(subject->ref, VIVERO_E_AGAIN, NULL);
    vv_entity_started(subject->ref, VIVERO_OK, NULL);

    CU_ASSERT_EQUAL(patron.started, 1);
    CU_ASSERT_EQUAL(patron.error, VIVERO_E_AGAIN);
    CU_ASSERT_EQUAL(patron.ended, 0);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
    CU_ASSERT_EQUAL(patron.started, 1);
    CU_ASSERT_EQUAL(patron.ended, 1);
}

static void the_owner_hears_nothing_after_the_end(void)
{
    struct patron patron;
    struct vv_entity *subject;
    struct vivero_ref ref;

    patron_init(&patron);
    subject = subject_new(0, 1, &patron);
    ref = subject->ref;
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
    vv_entity_started(ref, VIVERO_OK, NULL);

    CU_ASSERT_EQUAL(patron.started, 0);
    CU_ASSERT_EQUAL(patron.ended, 1);
}

static void who_disowned_hears_nothing(void)
{
    struct patron patron;
    struct vv_entity *subject;

    patron_init(&patron);
    subject = subject_new(0, 1, &patron);
    CU_ASSERT(vv_entity_disown(subject->ref));
    vv_entity_started(subject->ref, VIVERO_OK, NULL);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));

    CU_ASSERT_EQUAL(patron.started + patron.ended, 0);
}

/* What an owner can see of the world when it is told. */
struct witness {
    struct patron patron;
    struct vv_entity *watcher;
    enum vivero_exit_kind told;
};

static void look_around(struct vv_owner *owner, const struct vivero_exit *exit)
{
    struct witness *witness = (struct witness *)owner;

    (void)exit;
    witness->patron.ended++;
    /* The watcher's inbox is looked at without its lock: one thread here. */
    witness->told = witness->watcher->first != NULL
                        ? witness->watcher->first->exit.kind
                        : VIVERO_EXIT_NONE;
}

static void the_owner_is_told_last(void)
{
    struct witness witness = {.watcher = subject_new(0, 1, NULL)};
    struct vivero_monitor monitor;
    struct vv_entity *subject;

    patron_init(&witness.patron);
    witness.patron.owner.ended = look_around;
    subject = subject_new(0, 1, &witness.patron);
    CU_ASSERT_EQUAL(vv_entity_monitor(witness.watcher, subject->ref, &monitor),
                    VIVERO_OK);
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_FAILED));

    CU_ASSERT_EQUAL(witness.patron.ended, 1);
    CU_ASSERT_EQUAL(witness.told, VIVERO_EXIT_FAILED);
    CU_ASSERT(subject_end(witness.watcher, VIVERO_EXIT_NORMAL));
}

/* ---- In place of a bare one ---------------------------------------------------------------- */

static void a_successor_has_the_bare_ones_reference_owner_and_parent(void)
{
    struct vv_entity *parent = subject_new(0, 1, NULL);
    struct vv_entity *bare = subject_new_below(VV_ENTITY_DEAF, parent->ref);
    struct vv_entity *successor = subject_new_unbound(0, 1);
    struct vivero_ref ref = bare->ref;
    struct patron patron;

    patron_init(&patron);
    bare->owner = &patron.owner;
    CU_ASSERT(vv_entity_bind(successor, ref));
    CU_ASSERT_EQUAL(subject_count(), 2);
    CU_ASSERT_EQUAL(patron.started + patron.ended, 0);
    CU_ASSERT(vivero_ref_equal(successor->ref, ref));
    CU_ASSERT(vv_entity_is_below(ref, parent->ref));
    CU_ASSERT_EQUAL(subject_put(successor, 3), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_take_number(successor), 3);
    vv_entity_started(ref, VIVERO_OK, NULL);
    CU_ASSERT(subject_end(successor, VIVERO_EXIT_NORMAL));

    CU_ASSERT_EQUAL(patron.started, 1);
    CU_ASSERT_EQUAL(patron.ended, 1);
    CU_ASSERT(subject_end(parent, VIVERO_EXIT_NORMAL));
}

static void there_is_no_successor_after_the_bare_ones_end(void)
{
    struct vv_entity *other = subject_new(0, 1, NULL);
    struct vv_entity *bare = subject_new(VV_ENTITY_DEAF, 0, NULL);
    struct vv_entity *successor = subject_new_unbound(0, 1);
    struct vivero_ref ref = bare->ref;

    CU_ASSERT(subject_end(bare, VIVERO_EXIT_NORMAL));
    CU_ASSERT_FALSE(vv_entity_bind(successor, ref));

    successor->ops->free(successor);
    CU_ASSERT(subject_end(other, VIVERO_EXIT_NORMAL));
}

static void who_has_a_reference_to_the_bare_one_finds_it_ended(void)
{
    struct vv_entity *bare = subject_new(0, 1, NULL);
    struct vv_entity *mine = vv_entity_retain(bare->ref);
    struct vv_entity *successor = subject_new_unbound(0, 1);
    struct vivero_ref ref = bare->ref;

    CU_ASSERT(vv_entity_bind(successor, ref));
    CU_ASSERT_EQUAL(subject_count(), 2);
    CU_ASSERT_EQUAL(subject_put(mine, 1), VIVERO_E_GONE);
    CU_ASSERT_FALSE(vv_entity_end(mine, &failed));
    vv_entity_release(mine);
    CU_ASSERT_EQUAL(subject_count(), 1);
    CU_ASSERT(vivero_is_alive(ref));
    CU_ASSERT(vv_entity_end_ref(ref, &failed));

    CU_ASSERT_FALSE(subject_end(successor, VIVERO_EXIT_NORMAL));
}

static void an_owner_told_by_the_bare_one_is_not_told_again(void)
{
    struct vv_entity *bare;
    struct vv_entity *successor = subject_new_unbound(0, 1);
    struct patron patron;

    patron_init(&patron);
    bare = subject_new(VV_ENTITY_DEAF, 0, &patron);
    vv_entity_started(bare->ref, VIVERO_OK, NULL);
    CU_ASSERT(vv_entity_bind(successor, bare->ref));
    vv_entity_started(successor->ref, VIVERO_OK, NULL);

    CU_ASSERT_EQUAL(patron.started, 1);
    CU_ASSERT(subject_end(successor, VIVERO_EXIT_NORMAL));
}

static void a_signal_to_the_bare_one_ends_its_successor(void)
{
    struct vv_entity *bare = subject_new(VV_ENTITY_DEAF, 0, NULL);
    struct vv_entity *successor = subject_new_unbound(0, 1);

    CU_ASSERT_EQUAL(vivero_signal(bare->ref, &failed), VIVERO_OK);
    CU_ASSERT(vv_entity_bind(successor, bare->ref));

    CU_ASSERT_EQUAL(subject_take_exit(successor), VIVERO_EXIT_FAILED);
    CU_ASSERT(subject_end(successor, VIVERO_EXIT_NORMAL));
}

/* ---- Waiting for an end ----------------------------------------------------------------------- */

struct awaiter {
    pthread_t thread;
    struct vivero_ref ref;
    int result;
    struct vivero_exit exit;
};

static void *await_end(void *ctx)
{
    struct awaiter *awaiter = ctx;

    awaiter->result =
        vv_entity_await_end(awaiter->ref, VIVERO_FOREVER, &awaiter->exit);
    return NULL;
}

/* Wait until so many wait for its end. */
static void see_watches(struct vivero_ref ref, uint32_t count)
{
    uint32_t seen = 0;

    while (seen < count) {
        struct vv_entity *entity = vv_entity_lock(ref);

        seen = 0;
        for (struct vv_end_watch *at = entity->watches; at != NULL;
             at = at->next) {
            seen++;
        }
        vv_entity_unlock(entity);
    }
}

static void everybody_who_waits_for_an_end_is_told_why(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);
    struct awaiter awaiters[3];
    struct vivero_exit exit;

    for (uint32_t i = 0; i < 3; i++) {
        awaiters[i] = (struct awaiter){.ref = subject->ref};
        pthread_create(&awaiters[i].thread, NULL, await_end, &awaiters[i]);
    }
    /* In between the others one that gives up. */
    CU_ASSERT_EQUAL(vv_entity_await_end(subject->ref,
                                        vivero_now() + VIVERO_MILLISECONDS(20),
                                        &exit),
                    VIVERO_E_TIMED_OUT);
    see_watches(subject->ref, 3);
    CU_ASSERT(vv_entity_end(subject, &failed));

    for (uint32_t i = 0; i < 3; i++) {
        pthread_join(awaiters[i].thread, NULL);
        CU_ASSERT_EQUAL(awaiters[i].result, VIVERO_OK);
        CU_ASSERT_EQUAL(awaiters[i].exit.code, 13);
    }
    CU_ASSERT_EQUAL(vv_entity_await_end(subject->ref, 0, &exit), VIVERO_E_GONE);
    vv_entity_release(subject);
}

static void who_waits_for_a_bare_one_waits_for_its_successor(void)
{
    struct vv_entity *bare = subject_new(VV_ENTITY_DEAF, 0, NULL);
    struct vv_entity *successor = subject_new_unbound(0, 1);
    struct awaiter awaiter = {.ref = bare->ref};

    pthread_create(&awaiter.thread, NULL, await_end, &awaiter);
    see_watches(awaiter.ref, 1);
    CU_ASSERT(vv_entity_bind(successor, awaiter.ref));
    CU_ASSERT(subject_end(successor, VIVERO_EXIT_FAILED));

    pthread_join(awaiter.thread, NULL);
    CU_ASSERT_EQUAL(awaiter.result, VIVERO_OK);
    CU_ASSERT_EQUAL(awaiter.exit.kind, VIVERO_EXIT_FAILED);
}

SUITE_MAIN("entity_owners", set_up, tear_down,
           TEST(the_owner_is_told_once_that_it_came_up),
           TEST(the_owner_hears_nothing_after_the_end),
           TEST(who_disowned_hears_nothing), TEST(the_owner_is_told_last),
           TEST(a_successor_has_the_bare_ones_reference_owner_and_parent),
           TEST(there_is_no_successor_after_the_bare_ones_end),
           TEST(who_has_a_reference_to_the_bare_one_finds_it_ended),
           TEST(an_owner_told_by_the_bare_one_is_not_told_again),
           TEST(a_signal_to_the_bare_one_ends_its_successor),
           TEST(everybody_who_waits_for_an_end_is_told_why),
           TEST(who_waits_for_a_bare_one_waits_for_its_successor))
