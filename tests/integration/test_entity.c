/* SPDX-License-Identifier: MIT */
/* The functions behind the macros of <vivero/worker_self.h>, as a language without
 * macros would call them. */
#include <vivero/vivero.h>

#include "tests/lib/crew.h"
#include "tests/lib/suite.h"

#include <string.h>

struct findings {
    uint32_t id;
    uint64_t incarnation;
    char name[32];
    int payload;
};

static struct vivero_pool *pool;
static struct vivero_reply_token token;

static int look(struct vivero_self *self, const void *in, void *out)
{
    struct findings *findings = out;

    (void)in;
    findings->id = vivero_entity_id(self->entity);
    findings->incarnation = vivero_entity_incarnation(self->entity);
    strncpy(findings->name, vivero_entity_name(self->entity),
            sizeof(findings->name) - 1);
    findings->payload = *(int *)vivero_entity_payload(self->entity);
    return VIVERO_OK;
}

static int replace(struct vivero_self *self, const void *in, void *out)
{
    (void)out;
    return vivero_entity_replace(self->entity, in);
}

static int fail(struct vivero_self *self, const void *in, void *out)
{
    (void)in;
    (void)out;
    return vivero_entity_fail(self->entity, 7, "on purpose");
}

static int answer_later(struct vivero_self *self, const void *in, void *out)
{
    int error = vivero_entity_reply_later(self->entity, &token);

    (void)in;
    (void)out;
    return error == VIVERO_OK ? vivero_reply_error(token, -77) == VIVERO_OK
                                    ? VIVERO_NO_REPLY
                                    : VIVERO_E_INVALID
                              : error;
}

static const struct vivero_operation look_operation = {
    .name = "look", .run = look, .out_size = sizeof(struct findings)};
static const struct vivero_operation replace_operation = {
    .name = "replace", .run = replace, .in_size = sizeof(int)};
static const struct vivero_operation fail_operation = {.name = "fail",
                                                       .run = fail};
static const struct vivero_operation later_operation = {.name = "later",
                                                        .run = answer_later};

static void set_up(void)
{
    if (vivero_pool_open_payload(
            VIVERO_POOL_OPTIONS(.name = "entity", .workers = 1), sizeof(int),
            &pool) != VIVERO_OK) {
        pool = NULL;
    }
}

static void tear_down(void)
{
    (void)vivero_pool_close(pool);
}

static struct findings find(void)
{
    struct findings findings = {0};

    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &look_operation, NULL, &findings, NULL),
        VIVERO_OK);
    return findings;
}

static void shows_the_worker_to_its_handler(void)
{
    struct findings findings = find();

    CU_ASSERT_EQUAL(findings.id, 1);
    CU_ASSERT_EQUAL(findings.incarnation, 0);
    CU_ASSERT_STRING_EQUAL(findings.name, "entity/1");
    CU_ASSERT_EQUAL(findings.payload, 0);
}

static void replaces_the_payload(void)
{
    const int value = 42;

    CU_ASSERT_EQUAL(
        vivero_pool_call(pool, &replace_operation, &value, NULL, NULL),
        VIVERO_OK);
    CU_ASSERT_EQUAL(find().payload, 42);
}

static void begins_a_new_incarnation_after_a_failure(void)
{
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &fail_operation, NULL, NULL, NULL),
                    VIVERO_E_DOWN);
    CU_ASSERT_EQUAL(vivero_last_exit()->code, 7);
    CU_ASSERT_STRING_EQUAL(vivero_last_exit()->text, "on purpose");
    CU_ASSERT_EQUAL(find().incarnation, 1);
}

static void answers_later(void)
{
    CU_ASSERT_EQUAL(vivero_pool_call(pool, &later_operation, NULL, NULL, NULL),
                    -77);
}

SUITE_MAIN("entity", set_up, tear_down, TEST(shows_the_worker_to_its_handler),
           TEST(replaces_the_payload),
           TEST(begins_a_new_incarnation_after_a_failure), TEST(answers_later))
