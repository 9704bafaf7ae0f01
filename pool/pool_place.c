/* SPDX-License-Identifier: MIT */
/* pool_place: what the incarnations of one child pool have in common, shared by
 * the options that the supervisor keeps and by each incarnation's thread, and
 * counted. The last one closes the handle and frees the pool that was left
 * behind it; that may be a thread that was given up, long after the supervisor
 * is gone. */
#include <vivero/error.h>

#include "pool/pool_child.h"

#include <stddef.h>
#include <string.h>

struct vv_mutex vv_pool_children = VV_MUTEX_INIT(VV_RANK_CHILDREN);

struct vv_pool_place *vv_pool_place_new(struct vivero_pool **shown)
{
    struct vv_pool_place *place;

    vv_memory_retain(); /* threads that were given up may be the last */
    place = vv_allocate(NULL, sizeof(*place), _Alignof(max_align_t));
    if (place == NULL) {
        vv_memory_release();
        return NULL;
    }
    place->shown = shown;
    place->references = 1;
    return place;
}

void vv_pool_place_release(struct vv_pool_place *place)
{
    bool last = false;

    if (place != NULL) {
        vv_mutex_lock(&vv_pool_children);
        last = --place->references == 0;
        vv_mutex_unlock(&vv_pool_children);
    }
    if (!last) {
        return;
    }
    if (place->handle != NULL) {
        vv_handle_retire(place->handle);
    }
    if (place->behind != NULL) {
        vv_pool_dispose(place->behind);
    }
    vv_release(NULL, place, sizeof(*place), _Alignof(max_align_t));
    vv_memory_release();
}

int vv_pool_place_occupy(const struct vv_pool_kept *kept,
                         struct vv_pool_place **place)
{
    int error = VIVERO_OK;

    if (kept == NULL || kept->place == NULL) {
        *place = vv_pool_place_new(NULL);
        return *place != NULL ? VIVERO_OK : VIVERO_E_NO_MEMORY;
    }
    *place = kept->place;
    vv_mutex_lock(&vv_pool_children);
    if (kept->place->occupied) {
        error = VIVERO_E_EXISTS;
    } else {
        kept->place->occupied = true;
        kept->place->references++;
    }
    vv_mutex_unlock(&vv_pool_children);
    return error;
}

void vv_pool_place_vacate(struct vv_pool_place *place)
{
    vv_mutex_lock(&vv_pool_children);
    place->occupied = false;
    vv_mutex_unlock(&vv_pool_children);
    vv_pool_place_release(place);
}

int vv_pool_place_lend(struct vv_pool_place *place, struct vv_pool *pool)
{
    int error = VIVERO_OK;

    if (place->handle == NULL) {
        memcpy(place->name, pool->name, sizeof(place->name));
        error = vv_handle_take(&place->handle, vv_pool_closed(), true);
    }
    pool->handle = place->handle;
    pool->public_name = place->name;
    return error;
}
