/* SPDX-License-Identifier: MIT */
/* names: one name for one entity, process-wide.
 *
 * A table of buckets under one lock: names are given at starts and looked up to
 * find a reference, which is then kept. A name is forgotten before anybody hears
 * of its entity's end, so a successor can take it at once. */
#include <vivero/error.h>

#include "base/check.h"
#include "base/hash.h"
#include "entity/entity_private.h"
#include "mailbox/here.h"
#include "os/thread.h"

#include <stdio.h>
#include <string.h>

#define BUCKETS 1024u
#define NAME_MAX_BYTES 63u

struct vv_name {
    struct vv_name *next;
    struct vv_entity *entity;
    struct vivero_ref ref;
    char text[NAME_MAX_BYTES + 1];
};

static struct vv_mutex lock = VV_MUTEX_INIT(VV_RANK_NAMES);
static struct vv_name *buckets[BUCKETS]; /* guarded by lock */

static struct vv_name **bucket_of(const char *text)
{
    return &buckets[vv_hash_bytes(text, strlen(text), 0) % BUCKETS];
}

static struct vv_name *find_locked(const char *text)
{
    struct vv_name *name = *bucket_of(text);

    vv_mutex_assert_held(&lock);
    while (name != NULL && strcmp(name->text, text) != 0) {
        name = name->next;
    }
    return name;
}

static void remove_locked(struct vv_name *name)
{
    struct vv_name **at = bucket_of(name->text);

    while (*at != name) {
        at = &(*at)->next;
    }
    *at = name->next;
    name->entity->name = NULL;
}

static void free_name(struct vv_name *name)
{
    if (name != NULL) {
        vv_release(NULL, name, sizeof(*name), _Alignof(struct vv_name));
    }
}

/* Put it in, unless that cannot be. */
static int insert_locked(struct vv_name *name, struct vivero_ref *holder)
{
    const struct vv_name *other = find_locked(name->text);
    struct vv_entity *entity = vv_entity_lock(name->ref);

    if (entity == NULL) {
        return VIVERO_E_GONE;
    }
    /* Its end, if it begins now, takes our lock before it forgets names. */
    vv_entity_unlock(entity);
    if (other != NULL || entity->name != NULL) {
        if (other != NULL && holder != NULL) {
            *holder = other->ref;
        }
        return VIVERO_E_EXISTS;
    }
    name->entity = entity;
    entity->name = name;
    name->next = *bucket_of(name->text);
    *bucket_of(name->text) = name;
    return VIVERO_OK;
}

int vv_name_give(struct vivero_ref ref, const char *text,
                 struct vivero_ref *holder)
{
    size_t length = strlen(text);
    struct vv_name *name;
    int error;

    if (length == 0 || length > NAME_MAX_BYTES) {
        return VIVERO_E_INVALID;
    }
    name = vv_allocate(NULL, sizeof(*name), _Alignof(struct vv_name));
    if (name == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    name->ref = ref;
    memcpy(name->text, text, length);
    vv_mutex_lock(&lock);
    error = insert_locked(name, holder);
    vv_mutex_unlock(&lock);
    if (error != VIVERO_OK) {
        free_name(name);
    }
    return error;
}

void vv_name_forget(struct vv_entity *entity)
{
    struct vv_name *name;

    vv_mutex_lock(&lock);
    name = entity->name;
    if (name != NULL) {
        remove_locked(name);
    }
    vv_mutex_unlock(&lock);
    free_name(name);
}

void vv_name_copy(const struct vv_entity *entity, char *text, size_t size)
{
    vv_mutex_lock(&lock);
    (void)snprintf(text, size, "%s",
                   entity->name != NULL ? entity->name->text : "");
    vv_mutex_unlock(&lock);
}

/* ---- For users ------------------------------------------------------------------ */

int vivero_register(struct vivero_ref ref, const char *name)
{
    int refused = vv_here_may_act();

    VV_CHECK(name != NULL, "vivero_register(): the name is NULL");
    return refused != VIVERO_OK ? refused : vv_name_give(ref, name, NULL);
}

int vivero_unregister(const char *text)
{
    int refused = vv_here_may_act();
    struct vv_name *name;

    VV_CHECK(text != NULL, "vivero_unregister(): the name is NULL");
    if (refused != VIVERO_OK) {
        return refused;
    }
    vv_mutex_lock(&lock);
    name = find_locked(text);
    if (name != NULL) {
        remove_locked(name);
    }
    vv_mutex_unlock(&lock);
    free_name(name);
    return name != NULL ? VIVERO_OK : VIVERO_E_NOT_FOUND;
}

struct vivero_ref vivero_whereis(const char *text)
{
    struct vivero_ref ref = {0, 0};
    const struct vv_name *name;

    VV_CHECK(text != NULL, "vivero_whereis(): the name is NULL");
    if (vv_forked()) {
        return ref;
    }
    vv_mutex_lock(&lock);
    name = find_locked(text);
    if (name != NULL) {
        ref = name->ref;
    }
    vv_mutex_unlock(&lock);
    return ref;
}
