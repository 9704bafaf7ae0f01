/* SPDX-License-Identifier: MIT */
/* References from reserve to the end, and what the end leaves: nothing. */
#include "tests/lib/fault_allocator.h"
#include "tests/lib/suite.h"
#include "tests/unit/subject.h"

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

/* ---- References --------------------------------------------------------------------- */

static void nobody_is_nobody(void)
{
    struct vivero_ref nobody = {0, 0};

    CU_ASSERT(vivero_ref_is_nobody(nobody));
    CU_ASSERT_FALSE(vivero_is_alive(nobody));
    CU_ASSERT_PTR_NULL(vv_entity_retain(nobody));
    CU_ASSERT_EQUAL(vivero_tell(nobody, 0, NULL, 0), VIVERO_E_GONE);
    CU_ASSERT_EQUAL(vivero_signal(nobody, &failed), VIVERO_E_GONE);
}

static void what_never_was_is_gone(void)
{
    const struct vivero_ref odd[] = {
        {0, UINT32_MAX}, {UINT32_MAX, 1}, {UINT32_MAX / 2, UINT32_MAX}};

    for (uint32_t i = 0; i < 3; i++) {
        struct vivero_exit exit;

        CU_ASSERT_FALSE(vivero_is_alive(odd[i]));
        CU_ASSERT_EQUAL(vivero_tell(odd[i], 0, NULL, 0), VIVERO_E_GONE);
        CU_ASSERT_FALSE(vv_entity_disown(odd[i]));
        CU_ASSERT_FALSE(vv_entity_end_ref(odd[i], &failed));
        CU_ASSERT_EQUAL(vv_entity_await_end(odd[i], 0, &exit), VIVERO_E_GONE);
    }
}

static void a_reserved_reference_is_not_alive_yet(void)
{
    struct vivero_ref ref;
    struct vivero_exit exit;

    CU_ASSERT_EQUAL_FATAL(vv_entity_reserve(&ref), VIVERO_OK);
    CU_ASSERT_FALSE(vivero_ref_is_nobody(ref));
    CU_ASSERT_FALSE(vivero_is_alive(ref));
    CU_ASSERT_PTR_NULL(vv_entity_retain(ref));
    CU_ASSERT_FALSE(vv_entity_end_ref(ref, &failed));
    CU_ASSERT_EQUAL(vv_entity_await_end(ref, VIVERO_FOREVER, &exit),
                    VIVERO_E_GONE);
    vv_entity_started(ref, VIVERO_OK, NULL);
    vv_entity_unreserve(ref);

    CU_ASSERT_FALSE(vivero_is_alive(ref));
}

static void an_unreserved_reference_can_not_be_bound(void)
{
    struct vv_entity *subject = subject_new_unbound(0, 1);
    struct vv_entity *other = subject_new(0, 1, NULL);
    struct vivero_ref ref;

    CU_ASSERT_EQUAL_FATAL(vv_entity_reserve(&ref), VIVERO_OK);
    vv_entity_unreserve(ref);
    CU_ASSERT_FALSE(vv_entity_bind(subject, ref));

    subject->ops->free(subject);
    CU_ASSERT(subject_end(other, VIVERO_EXIT_NORMAL));
}

static void a_bound_one_lives_until_its_end(void)
{
    struct vv_entity *subject = subject_new(0, 1, NULL);
    struct vivero_ref ref = subject->ref;

    CU_ASSERT(vivero_is_alive(ref));
    CU_ASSERT_PTR_EQUAL(vv_entity_retain(ref), subject);
    CU_ASSERT(vv_entity_end(subject, &failed));
    CU_ASSERT_FALSE(vivero_is_alive(ref));
    CU_ASSERT_PTR_NULL(vv_entity_retain(ref));
    CU_ASSERT_EQUAL(subject_count(), 1);
    vv_entity_release(subject);
    CU_ASSERT_EQUAL(subject_count(), 1);
    vv_entity_release(subject);
    CU_ASSERT_EQUAL(subject_count(), 0);
}

static void no_reference_is_given_twice(void)
{
    static struct vivero_ref seen[2000];
    uint32_t same = 0;

    for (uint32_t i = 0; i < 2000; i++) {
        struct vv_entity *subject = subject_new(0, 1, NULL);

        seen[i] = subject->ref;
        CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
        for (uint32_t k = 0; k < i; k++) {
            same += vivero_ref_equal(seen[i], seen[k]);
        }
    }

    CU_ASSERT_EQUAL(same, 0);
}

static void a_stale_reference_never_means_its_successor(void)
{
    static struct vv_entity *many[1000];
    struct vv_entity *subject = subject_new(0, 1, NULL);
    struct vivero_ref old = subject->ref;
    bool reused = false;

    CU_ASSERT(subject_end(subject, VIVERO_EXIT_NORMAL));
    for (uint32_t i = 0; i < 1000; i++) {
        many[i] = subject_new(0, 1, NULL);
        reused = reused || many[i]->ref.slot == old.slot;
    }
    CU_ASSERT(reused);
    CU_ASSERT_FALSE(vivero_is_alive(old));
    CU_ASSERT_EQUAL(vivero_tell(old, 0, NULL, 0), VIVERO_E_GONE);
    CU_ASSERT_FALSE(vv_entity_end_ref(old, &failed));
    CU_ASSERT_FALSE(vv_entity_disown(old));

    for (uint32_t i = 0; i < 1000; i++) {
        CU_ASSERT(subject_end(many[i], VIVERO_EXIT_NORMAL));
    }
}

/* ---- The end ------------------------------------------------------------------------ */

static void only_the_first_end_counts(void)
{
    struct patron patron;
    struct vv_entity *subject;

    patron_init(&patron);
    subject = subject_new(0, 1, &patron);
    CU_ASSERT(vv_entity_end_ref(subject->ref, &failed));
    CU_ASSERT_FALSE(vv_entity_end_ref(subject->ref, &failed));
    CU_ASSERT_FALSE(subject_end(subject, VIVERO_EXIT_NORMAL));

    CU_ASSERT_EQUAL(patron.ended, 1);
    CU_ASSERT_EQUAL(patron.exit.kind, VIVERO_EXIT_FAILED);
    CU_ASSERT_EQUAL(patron.exit.code, 13);
    CU_ASSERT_STRING_EQUAL(patron.exit.text, "bad luck");
}

static void others_see_killed_of_a_kill(void)
{
    struct patron patron;

    patron_init(&patron);
    CU_ASSERT(subject_end(subject_new(0, 1, &patron), VIVERO_EXIT_KILL));

    CU_ASSERT_EQUAL(patron.exit.kind, VIVERO_EXIT_KILLED);
    CU_ASSERT_EQUAL(patron.exit.code, 7);
}

static void an_end_needs_no_memory(void)
{
    struct vv_entity *subject = subject_new(0, 10, NULL);
    struct vv_entity *watcher = subject_new(VV_ENTITY_TRAPS, 10, NULL);
    struct vivero_monitor monitor;
    uint64_t calls;

    CU_ASSERT_EQUAL(vv_name_give(subject->ref, "ends", NULL), VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_monitor(watcher, subject->ref, &monitor),
                    VIVERO_OK);
    CU_ASSERT_EQUAL(vv_entity_link(watcher, subject->ref), VIVERO_OK);
    CU_ASSERT_EQUAL(subject_put(subject, 1), VIVERO_OK);
    calls = fault_allocator_calls();
    CU_ASSERT(subject_end(subject, VIVERO_EXIT_FAILED));

    CU_ASSERT_EQUAL(fault_allocator_calls(), calls);
    CU_ASSERT(subject_end(watcher, VIVERO_EXIT_NORMAL));
}

/* ---- Ancestors ------------------------------------------------------------------------------ */

static void one_is_below_itself_and_all_its_ancestors(void)
{
    struct vv_entity *root = subject_new(0, 1, NULL);
    struct vv_entity *child = subject_new_below(0, root->ref);
    struct vv_entity *grandchild = subject_new_below(0, child->ref);
    struct vv_entity *stranger = subject_new(0, 1, NULL);

    CU_ASSERT(vv_entity_is_below(grandchild->ref, grandchild->ref));
    CU_ASSERT(vv_entity_is_below(grandchild->ref, child->ref));
    CU_ASSERT(vv_entity_is_below(grandchild->ref, root->ref));
    CU_ASSERT_FALSE(vv_entity_is_below(root->ref, grandchild->ref));
    CU_ASSERT_FALSE(vv_entity_is_below(grandchild->ref, stranger->ref));
    CU_ASSERT_FALSE(vv_entity_is_above_here(root->ref));
    vv_entity_set_here(grandchild);
    CU_ASSERT(vivero_ref_equal(vivero_current(), grandchild->ref));
    CU_ASSERT(vv_entity_is_above_here(root->ref));
    CU_ASSERT_FALSE(vv_entity_is_above_here(stranger->ref));
    vv_entity_set_here(NULL);
    CU_ASSERT(vivero_ref_is_nobody(vivero_current()));

    CU_ASSERT(subject_end(stranger, VIVERO_EXIT_NORMAL));
    CU_ASSERT(subject_end(grandchild, VIVERO_EXIT_NORMAL));
    CU_ASSERT(subject_end(child, VIVERO_EXIT_NORMAL));
    CU_ASSERT(subject_end(root, VIVERO_EXIT_NORMAL));
}

/* ---- Memory -------------------------------------------------------------------------------------- */

/* Make one, use everything once, end it. */
static int live_once(void)
{
    struct vv_entity *subject = subject_new(VV_ENTITY_TRAPS, 10, NULL);
    struct vivero_monitor monitor;
    struct call call;
    int error;

    if (subject == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    error = vv_name_give(subject->ref, "once", NULL);
    if (error == VIVERO_OK) {
        error = vivero_tell(subject->ref, 1, &failed, sizeof(failed));
    }
    if (error == VIVERO_OK) {
        error = vv_entity_monitor(subject, (struct vivero_ref){0, 0}, &monitor);
    }
    if (error == VIVERO_OK) {
        error = vivero_signal(subject->ref, &failed);
    }
    if (error == VIVERO_OK) {
        error = call_put(&call, subject->ref, 1, 0);
    }
    (void)vv_entity_end(subject, &failed);
    if (error == VIVERO_OK) {
        (void)call_wait(&call);
    }
    vv_entity_release(subject);
    return error;
}

static void every_allocation_may_fail_and_nothing_is_left(void)
{
    int error = VIVERO_E_NO_MEMORY;
    uint64_t left = 0;
    uint64_t n = 0;

    for (; error == VIVERO_E_NO_MEMORY && n < 100; n++) {
        fault_allocator_fail_after(n);
        error = live_once();
        left += fault_allocator_blocks() + subject_count();
    }
    fault_allocator_fail_after(FAULT_NEVER);

    CU_ASSERT_EQUAL(error, VIVERO_OK);
    CU_ASSERT(n > 5);
    CU_ASSERT_EQUAL(left, 0);
}

static void a_thousand_lives_leave_nothing(void)
{
    uint64_t left = 0;

    for (uint32_t i = 0; i < 1000; i++) {
        CU_ASSERT_EQUAL(live_once(), VIVERO_OK);
        left += fault_allocator_blocks();
    }

    CU_ASSERT_EQUAL(left, 0);
}

SUITE_MAIN("entity_life", set_up, tear_down, TEST(nobody_is_nobody),
           TEST(what_never_was_is_gone),
           TEST(a_reserved_reference_is_not_alive_yet),
           TEST(an_unreserved_reference_can_not_be_bound),
           TEST(a_bound_one_lives_until_its_end),
           TEST(no_reference_is_given_twice),
           TEST(a_stale_reference_never_means_its_successor),
           TEST(only_the_first_end_counts), TEST(others_see_killed_of_a_kill),
           TEST(an_end_needs_no_memory),
           TEST(one_is_below_itself_and_all_its_ancestors),
           TEST(every_allocation_may_fail_and_nothing_is_left),
           TEST(a_thousand_lives_leave_nothing))
