/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_WORKER_DEFINE_H
#define VIVERO_WORKER_DEFINE_H

/* Typed workers on their own. What is written for them with VIVERO_DEFSYNCH and
 * VIVERO_DEFASYNCH (<vivero/pool_define.h>) runs on the one worker:
 *
 *     VIVERO_WORKER_TYPE(counter, long);
 *
 *     VIVERO_DEFSYNCH(counter, long, value)
 *     {
 *         *reply = *counter_payload(self);
 *         return VIVERO_OK;
 *     }
 *
 * gives `int counter_value(struct counter *worker, long *reply)`. */

#include <vivero/worker.h>

/* VIVERO_WORKER_TYPE(name, payload_type); a kind of worker.
 *
 *   struct NAME                              .ref; nobody when zeroed. Any
 *                                            reference to such a worker may be
 *                                            put there
 *   struct NAME_self                         what its bodies get
 *   int NAME_start(options, struct NAME *)   as vivero_worker_start, with
 *                                            payload_size = sizeof(payload)
 *   int NAME_start_link(options, struct NAME *)
 *   int NAME_stop(struct NAME *)             normal, waits until it has ended
 *   payload_type *NAME_payload(self)         this worker's payload
 *   NAME_to_call, NAME_to_cast, NAME_to_call_async
 *                                            for VIVERO_DEFSYNCH and ..ASYNCH */
#define VIVERO_WORKER_TYPE(name_, payload_type_)                              \
    struct name_ {                                                            \
        struct vivero_ref ref;                                                \
    };                                                                        \
    struct name_##_self {                                                     \
        struct vivero_entity *entity;                                         \
    };                                                                        \
    VIVERO_UNUSED VIVERO_MUST_USE static inline int name_##_start(            \
        const struct vivero_worker_options *options, struct name_ *worker)    \
    {                                                                         \
        return vivero_worker_start_payload(options, sizeof(payload_type_),    \
                                           0, &worker->ref);                  \
    }                                                                         \
    VIVERO_UNUSED VIVERO_MUST_USE static inline int name_##_start_link(       \
        const struct vivero_worker_options *options, struct name_ *worker)    \
    {                                                                         \
        return vivero_worker_start_payload(options, sizeof(payload_type_),    \
                                           1, &worker->ref);                  \
    }                                                                         \
    VIVERO_UNUSED static inline int name_##_stop(struct name_ *worker)        \
    {                                                                         \
        return vivero_worker_stop(worker->ref, NULL, VIVERO_FOREVER);         \
    }                                                                         \
    VIVERO_UNUSED static inline int name_##_to_call(                          \
        const struct name_ *worker, const struct vivero_operation *operation, \
        const void *in, void *out, const struct vivero_send *send)            \
    {                                                                         \
        return vivero_worker_call(worker->ref, operation, in, out, send);     \
    }                                                                         \
    VIVERO_UNUSED static inline int name_##_to_call_async(                    \
        const struct name_ *worker, const struct vivero_operation *operation, \
        const void *in, const struct vivero_send *send,                       \
        struct vivero_future *future)                                         \
    {                                                                         \
        return vivero_worker_call_async(worker->ref, operation, in, send,     \
                                        future);                              \
    }                                                                         \
    VIVERO_UNUSED static inline int name_##_to_cast(                          \
        const struct name_ *worker, const struct vivero_operation *operation, \
        const void *in, const struct vivero_send *send)                       \
    {                                                                         \
        return vivero_worker_cast(worker->ref, operation, in, send);          \
    }                                                                         \
    VIVERO_UNUSED static inline payload_type_ *name_##_payload(               \
        const struct name_##_self *self)                                      \
    {                                                                         \
        return (payload_type_ *)vivero_entity_payload(self->entity);          \
    }                                                                         \
    struct name_

/* The options of such a worker as a supervisor's child, with the size of its
 * payload; at least one more, such as .name:
 *
 *     .options = VIVERO_WORKER_OPTIONS_OF(counter, .name = "counter") */
#define VIVERO_WORKER_OPTIONS_OF(name_, ...)                                  \
    VIVERO_WORKER_OPTIONS(.payload_size = sizeof(*name_##_payload(NULL)),     \
                          __VA_ARGS__)

#endif
