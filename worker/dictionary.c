/* SPDX-License-Identifier: MIT */
/* dictionary: what a worker keeps for itself under names of its own choice. A
 * list: dictionaries are small, or they should be a payload. */
#include <vivero/error.h>

#include "base/check.h"
#include "worker/single_private.h"

#include <string.h>

static size_t size_of(const char *key)
{
    return offsetof(struct vv_dictionary_entry, key) + strlen(key) + 1;
}

static struct vv_dictionary_entry **find(const char *key, const char *what)
{
    struct vv_single *single = vv_single_here(what);
    struct vv_dictionary_entry **at = &single->dictionary;

    VV_CHECK(key != NULL, "%s(): the key is NULL", what);
    while (*at != NULL && strcmp((*at)->key, key) != 0) {
        at = &(*at)->next;
    }
    return at;
}

static void *take_out(struct vv_dictionary_entry **at)
{
    struct vv_dictionary_entry *entry = *at;
    void *value = entry->value;

    *at = entry->next;
    vv_release(NULL, entry, size_of(entry->key), _Alignof(max_align_t));
    return value;
}

int vivero_dictionary_put(const char *key, void *value, void **old)
{
    struct vv_dictionary_entry **at = find(key, "vivero_dictionary_put");
    void *before = NULL;

    if (*at != NULL) {
        before = (*at)->value;
    } else {
        *at = vv_allocate(NULL, size_of(key), _Alignof(max_align_t));
        if (*at == NULL) {
            return VIVERO_E_NO_MEMORY;
        }
        memcpy((*at)->key, key, strlen(key) + 1);
    }
    (*at)->value = value;
    if (old != NULL) {
        *old = before;
    }
    return VIVERO_OK;
}

void *vivero_dictionary_get(const char *key)
{
    struct vv_dictionary_entry **at = find(key, "vivero_dictionary_get");

    return *at != NULL ? (*at)->value : NULL;
}

void *vivero_dictionary_delete(const char *key)
{
    struct vv_dictionary_entry **at = find(key, "vivero_dictionary_delete");

    return *at != NULL ? take_out(at) : NULL;
}

void vv_dictionary_free(struct vv_single *single)
{
    while (single->dictionary != NULL) {
        (void)take_out(&single->dictionary);
    }
}
