/* SPDX-License-Identifier: MIT */
/* defer: what an incarnation wants done when it fails.
 *
 * Two lists of the caller's own nodes, last one first. The plain one belongs to
 * the worker's thread. The one that a supervisor may run is guarded by the
 * worker's lock; whoever takes a node off it runs it, without the lock. A
 * zombie that takes back a node first waits until its supervisor is done with
 * all of them, since the node may stand on its stack. For the same reason
 * vivero_fail() and vivero_exit() run the lists before the handler's frames are
 * gone; after pthread_exit() they are gone, and C has no way to be quicker. */
#include <vivero/error.h>
#include <vivero/worker_defer.h>

#include "base/check.h"
#include "mailbox/here.h"
#include "worker/worker_private.h"

static void link_node(struct vivero_defer **list, struct vivero_defer *node)
{
    node->previous = NULL;
    node->next = *list;
    if (*list != NULL) {
        (*list)->previous = node;
    }
    *list = node;
}

static void unlink_node(struct vivero_defer **list, struct vivero_defer *node)
{
    if (node->previous != NULL) {
        node->previous->next = node->next;
    } else {
        *list = node->next;
    }
    if (node->next != NULL) {
        node->next->previous = node->previous;
    }
    node->entity = NULL;
}

static bool link_supervised(struct vivero_entity *worker,
                            struct vivero_defer *node)
{
    bool ours;

    vv_mutex_lock(&worker->lock);
    ours = worker->fate != FATE_FENCED;
    if (ours) {
        link_node(&worker->supervised, node);
    }
    vv_mutex_unlock(&worker->lock);
    return ours;
}

int vivero_entity_defer(struct vivero_entity *entity, struct vivero_defer *node,
                        vivero_defer_fn *fn, void *ctx, uint32_t flags)
{
    vv_worker_check_is_here(entity, "vivero_defer");
    VV_CHECK(node != NULL && fn != NULL,
             "vivero_defer() on worker %s: no node or no function",
             entity->name);
    if (vv_worker_is_fenced(entity)) {
        return VIVERO_E_FENCED;
    }
    *node = (struct vivero_defer){.fn = fn, .ctx = ctx, .flags = flags};
    if ((flags & VIVERO_DEFER_SUPERVISOR) == 0) {
        link_node(&entity->defers, node);
    } else if (!link_supervised(entity, node)) {
        return VIVERO_E_FENCED;
    }
    node->entity = entity;
    return VIVERO_OK;
}

/* Take a node off the list that two threads use. False: it is not there. */
static bool unlink_supervised(struct vivero_entity *worker,
                              struct vivero_defer *node)
{
    bool ours;

    vv_mutex_lock(&worker->lock);
    ours = worker->fate != FATE_FENCED;
    if (ours) {
        unlink_node(&worker->supervised, node);
    }
    vv_mutex_unlock(&worker->lock);
    if (!ours) {
        vv_worker_await_settled(worker);
    }
    return ours;
}

bool vivero_undefer(struct vivero_defer *node)
{
    struct vivero_entity *worker = vv_here()->worker;

    if (node->entity == NULL) {
        return false;
    }
    /* On shared carriers a worker has another struct for each slice. */
    VV_CHECK(worker != NULL &&
                 (worker == node->entity || worker->single != NULL),
             "vivero_undefer() outside the handlers of the node's worker");
    if ((node->flags & VIVERO_DEFER_SUPERVISOR) != 0) {
        return unlink_supervised(worker, node);
    }
    unlink_node(&worker->defers, node);
    return true;
}

static struct vivero_defer *pop(struct vivero_defer **list)
{
    struct vivero_defer *node = *list;

    if (node != NULL) {
        unlink_node(list, node);
    }
    return node;
}

static struct vivero_defer *pop_supervised(struct vivero_entity *worker)
{
    struct vivero_defer *node;

    vv_mutex_lock(&worker->lock);
    node = pop(&worker->supervised);
    vv_mutex_unlock(&worker->lock);
    return node;
}

void vv_worker_run_supervised_defers(struct vivero_entity *worker)
{
    struct vivero_defer *node;

    while ((node = pop_supervised(worker)) != NULL) {
        node->fn(node->ctx);
    }
}

void vv_worker_run_defers(struct vivero_entity *worker)
{
    struct vivero_defer *node;
    sigjmp_buf *recovery = worker->recovery;

    worker->recovery = NULL; /* nobody jumps out of them */
    while ((node = pop(&worker->defers)) != NULL) {
        node->fn(node->ctx);
    }
    vv_worker_run_supervised_defers(worker);
    worker->recovery = recovery;
}
