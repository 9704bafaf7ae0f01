/* SPDX-License-Identifier: MIT */
/* pool_dead: dead letters. Two ways lead here: a handler that failed with its
 * message, and a mailbox whose messages are discarded. */
#include <vivero/error.h>

#include "pool/pool_private.h"

#include <stdio.h>

static void tell(const struct vv_message *message, const void *in,
                 const struct vivero_exit *reason, void *owner)
{
    struct vv_pool *pool = owner;
    const struct vivero_dead dead = {.operation = message->operation,
                                     .in = in,
                                     .reason = reason,
                                     .attempt = message->attempt};

    pool->options.on_dead(pool->handle, &dead, pool->options.ctx);
}

static const void *arguments(const struct vv_message *message)
{
    if (message->operation->in_size == 0) {
        return NULL;
    }
    return message->box != NULL ? message->box->bytes : message->args;
}

/* A queued message is discarded with an error code, or with a reason. */
static void discarded(const struct vv_dead_hook *hook,
                      const struct vv_message *message, int result,
                      const struct vivero_exit *exit)
{
    struct vivero_exit reason = {.kind = VIVERO_EXIT_SHUTDOWN, .code = result};

    (void)snprintf(reason.text, sizeof(reason.text), "%s",
                   vivero_strerror(result));
    tell(message, arguments(message), exit != NULL ? exit : &reason, hook->ctx);
}

void vv_pool_fill_dead(struct vv_pool *pool)
{
    pool->dead_hook = (struct vv_dead_hook){discarded, pool};
    pool->spec.dead = pool->options.on_dead != NULL ? tell : NULL;
}
