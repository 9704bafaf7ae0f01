/* SPDX-License-Identifier: MIT */
/* Names: one for one entity, free again before anybody hears of its end. */
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

#include <pthread.h>

static struct vv_entity *subject;
static struct vv_entity *other;

static void set_up(void)
{
    CU_ASSERT_FATAL(fault_allocator_install());
    subject = subject_new(0, 1, NULL);
    other = subject_new(VV_ENTITY_TRAPS, 1, NULL);
    CU_ASSERT_FATAL(subject != NULL && other != NULL);
}

static void tear_down(void)
{
    (void)subject_end(subject, VIVERO_EXIT_NORMAL);
    (void)subject_end(other, VIVERO_EXIT_NORMAL);
    CU_ASSERT_EQUAL(subject_count(), 0);
    CU_ASSERT_EQUAL(fault_allocator_blocks(), 0);
    CU_ASSERT_EQUAL(fault_allocator_mistakes(), 0);
    CU_ASSERT(fault_allocator_uninstall());
}

static bool is_at(const char *name, const struct vv_entity *entity)
{
    return vivero_ref_equal(vivero_whereis(name), entity->ref);
}

static bool is_free(const char *name)
{
    return vivero_ref_is_nobody(vivero_whereis(name));
}

static void a_name_leads_to_its_holder(void)
{
    char name[64];

    CU_ASSERT(is_free("anna"));
    vv_name_copy(subject, name, sizeof(name));
    CU_ASSERT_STRING_EQUAL(name, "");
    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_OK);

    CU_ASSERT(is_at("anna", subject));
    CU_ASSERT(is_free("ann"));
    vv_name_copy(subject, name, sizeof(name));
    CU_ASSERT_STRING_EQUAL(name, "anna");
    vv_name_copy(subject, name, 3);
    CU_ASSERT_STRING_EQUAL(name, "an");
}

static void a_name_is_copied(void)
{
    char name[] = "anna";

    CU_ASSERT_EQUAL(vivero_register(subject->ref, name), VIVERO_OK);
    name[0] = 'h';

    CU_ASSERT(is_at("anna", subject));
    CU_ASSERT(is_free(name));
}

static void exists_when_the_name_is_taken_and_says_by_whom(void)
{
    struct vivero_ref holder = {0, 0};

    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_register(other->ref, "anna"), VIVERO_E_EXISTS);
    CU_ASSERT_EQUAL(vv_name_give(other->ref, "anna", NULL), VIVERO_E_EXISTS);
    CU_ASSERT_EQUAL(vv_name_give(other->ref, "anna", &holder), VIVERO_E_EXISTS);

    CU_ASSERT(vivero_ref_equal(holder, subject->ref));
    CU_ASSERT(is_at("anna", subject));
}

static void exists_when_the_entity_has_a_name(void)
{
    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_OK);

    CU_ASSERT_EQUAL(vivero_register(subject->ref, "berta"), VIVERO_E_EXISTS);
    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_E_EXISTS);
    CU_ASSERT(is_free("berta"));
}

static void invalid_when_empty_or_too_long(void)
{
    char name[65];

    memset(name, 'a', sizeof(name));
    name[64] = '\0';
    CU_ASSERT_EQUAL(vivero_register(subject->ref, ""), VIVERO_E_INVALID);
    CU_ASSERT_EQUAL(vivero_register(subject->ref, name), VIVERO_E_INVALID);
    name[63] = '\0';
    CU_ASSERT_EQUAL(vivero_register(subject->ref, name), VIVERO_OK);

    CU_ASSERT(is_at(name, subject));
}

static void gone_when_it_has_ended(void)
{
    const struct vivero_ref nobody = {0, 0};

    CU_ASSERT(vv_entity_end(subject, &(struct vivero_exit){0}));

    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_register(nobody, "anna"), VIVERO_E_GONE);
    CU_ASSERT(is_free("anna"));
}

static void not_found_when_nobody_has_the_name(void)
{
    CU_ASSERT_EQUAL(vivero_unregister("anna"), VIVERO_E_NOT_FOUND);
}

static void another_name_after_the_first_was_given_up(void)
{
    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_unregister("anna"), VIVERO_OK);
    CU_ASSERT(is_free("anna"));

    CU_ASSERT_EQUAL(vivero_register(subject->ref, "berta"), VIVERO_OK);
    CU_ASSERT_EQUAL(vivero_register(other->ref, "anna"), VIVERO_OK);
    CU_ASSERT(is_at("berta", subject));
    CU_ASSERT(is_at("anna", other));
}

static void no_memory_gives_no_name(void)
{
    fault_allocator_fail_after(0);
    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_E_NO_MEMORY);

    CU_ASSERT(is_free("anna"));
    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_OK);
}

/* ---- Ends -------------------------------------------------------------------------- */

static void a_name_is_free_again_after_the_end(void)
{
    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_OK);
    CU_ASSERT(vv_entity_end(subject, &(struct vivero_exit){0}));

    CU_ASSERT(is_free("anna"));
    CU_ASSERT_EQUAL(vivero_register(other->ref, "anna"), VIVERO_OK);
    CU_ASSERT(is_at("anna", other));
}

static struct vv_entity *poked;
static bool free_when_poked;

/* Runs under locks of higher rank than names': look from another thread. */
static void *look_from_elsewhere(void *ctx)
{
    (void)ctx;
    free_when_poked = is_free("anna");
    return NULL;
}

static void note_poke(struct vv_entity *entity)
{
    pthread_t thread;

    poked = entity;
    pthread_create(&thread, NULL, look_from_elsewhere, NULL);
    pthread_join(thread, NULL);
}

static void free_nothing(struct vv_entity *entity)
{
    (void)entity;
}

static void a_name_is_free_before_anybody_hears_of_the_end(void)
{
    static const struct vv_entity_ops pokes = {.poke = note_poke,
                                               .free = free_nothing};
    struct vv_entity watcher = {.ops = &pokes};
    struct vivero_monitor monitor;
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(vv_entity_reserve(&ref), VIVERO_OK);
    CU_ASSERT(vv_entity_bind(&watcher, ref));
    CU_ASSERT_EQUAL(vivero_register(subject->ref, "anna"), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_monitor(&watcher, subject->ref, &monitor),
                    VIVERO_OK);
    poked = NULL;
    free_when_poked = false;
    CU_ASSERT(vv_entity_end(subject, &(struct vivero_exit){0}));

    CU_ASSERT_PTR_EQUAL(poked, &watcher);
    CU_ASSERT(free_when_poked);
    (void)subject_end(&watcher, VIVERO_EXIT_NORMAL);
}

static void a_thousand_names_are_told_apart(void)
{
    static struct vv_entity *many[1000];
    char name[32];
    uint32_t wrong = 0;

    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "name %d", i);
        many[i] = subject_new(0, 1, NULL);
        wrong += vivero_register(many[i]->ref, name) != VIVERO_OK;
    }
    for (int i = 0; i < 1000; i += 2) {
        CU_ASSERT(subject_end(many[i], VIVERO_EXIT_NORMAL));
    }
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof(name), "name %d", i);
        wrong += i % 2 == 0 ? !is_free(name) : !is_at(name, many[i]);
    }
    for (int i = 1; i < 1000; i += 2) {
        CU_ASSERT(subject_end(many[i], VIVERO_EXIT_NORMAL));
    }

    CU_ASSERT_EQUAL(wrong, 0);
}

SUITE_MAIN("entity_names", set_up, tear_down, TEST(a_name_leads_to_its_holder),
           TEST(a_name_is_copied),
           TEST(exists_when_the_name_is_taken_and_says_by_whom),
           TEST(exists_when_the_entity_has_a_name),
           TEST(invalid_when_empty_or_too_long), TEST(gone_when_it_has_ended),
           TEST(not_found_when_nobody_has_the_name),
           TEST(another_name_after_the_first_was_given_up),
           TEST(no_memory_gives_no_name),
           TEST(a_name_is_free_again_after_the_end),
           TEST(a_name_is_free_before_anybody_hears_of_the_end),
           TEST(a_thousand_names_are_told_apart))
