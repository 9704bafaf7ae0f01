/* SPDX-License-Identifier: MIT */
/* commit: payloads that outlive a failure.
 *
 * Two buffers of the same flat bytes: the payload, which handlers change, and
 * the committed one, which follows it when a message is done. The commit comes
 * after the ticket's end, so a fenced handler cannot commit, and whoever fenced
 * it reads a buffer nobody writes. Whoever holds the committed value owes it
 * one destroy. */
#include "worker/worker_private.h"

#include <string.h>

bool vv_worker_restore(struct vivero_entity *worker)
{
    if (worker->has_committed) {
        memcpy(worker->payload, worker->committed, worker->spec->payload_size);
    }
    return worker->has_committed;
}

void vv_worker_commit(struct vivero_entity *worker, bool good)
{
    if (!worker->spec->commits) {
        return;
    }
    if (good) {
        memcpy(worker->committed, worker->payload, worker->spec->payload_size);
        worker->has_committed = true;
    } else {
        (void)vv_worker_restore(worker);
    }
}

void vv_worker_destroy_payload(struct vivero_entity *worker)
{
    const struct vv_worker_spec *spec = worker->spec;

    if (spec->commits && !worker->final) {
        return; /* the next incarnation goes on with it */
    }
    if (spec->commits && !vv_worker_restore(worker)) {
        return; /* somebody else does, or it was destroyed before */
    }
    worker->has_committed = false;
    if (spec->destroy != NULL) {
        spec->destroy(worker->payload, spec->ctx);
    }
}
