/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_POOL_DEFINE_H
#define VIVERO_POOL_DEFINE_H

/* Write a function body once, get a typed function that a free worker of the
 * pool runs.
 *
 *     VIVERO_POOL_TYPE(counter, long);
 *
 *     VIVERO_DEFSYNCH(counter, long, add, (long, n))
 *     {
 *         long *total = counter_payload(self);
 *         *total += n;
 *         *reply = *total;
 *         return VIVERO_OK;
 *     }
 *
 * gives `int counter_add(struct counter *pool, long n, long *reply)`.
 * With VIVERO_SHORT_NAMES defined first: defsynch, defasynch, declsynch,
 * declasynch. */

#include <vivero/future.h>
#include <vivero/pool.h>
#include <vivero/pool_define_args.h>

/* The reply type of a call that has nothing to say; pass NULL for reply. */
struct vivero_nothing {
    char nothing;
};

/* VIVERO_POOL_TYPE(name, payload_type); a kind of pool.
 *
 *   struct NAME                              a handle: closed when zeroed
 *   struct NAME_self                         what its bodies get
 *   int NAME_open(options, struct NAME *)    as vivero_pool_open, with
 *                                            payload_size = sizeof(payload)
 *   int NAME_close(struct NAME *)            as vivero_pool_close, and zeroes
 *   struct vivero_child_pool_options NAME_child(options, struct NAME *)
 *                                            for a supervisor's child, whose
 *                                            handle this is
 *   struct vivero_pool *NAME_pool(...)       for everything else
 *   payload_type *NAME_payload(self)         this worker's payload
 *   uint32_t NAME_id(self)                   this worker's number
 *   struct NAME_state NAME_state(self)       both: .id and .payload
 *   NAME_to_call, NAME_to_cast, NAME_to_call_async
 *                                            for the functions below */
#define VIVERO_POOL_TYPE(name_, payload_type_)                                \
    struct name_ {                                                            \
        struct vivero_pool *pool;                                             \
    };                                                                        \
    struct name_##_self {                                                     \
        struct vivero_entity *entity;                                         \
    };                                                                        \
    struct name_##_state {                                                    \
        uint32_t id;                                                          \
        payload_type_ *payload;                                               \
    };                                                                        \
    VIVERO_UNUSED VIVERO_MUST_USE static inline int name_##_open(             \
        const struct vivero_pool_options *options, struct name_ *pool)        \
    {                                                                         \
        return vivero_pool_open_payload(options, sizeof(payload_type_),       \
                                        &pool->pool);                         \
    }                                                                         \
    VIVERO_UNUSED static inline int name_##_close(struct name_ *pool)         \
    {                                                                         \
        struct vivero_pool *closing = pool->pool;                             \
                                                                              \
        pool->pool = NULL;                                                    \
        return vivero_pool_close(closing);                                    \
    }                                                                         \
    VIVERO_UNUSED static inline struct vivero_child_pool_options              \
        name_##_child(const struct vivero_pool_options *options,              \
                      struct name_ *pool)                                     \
    {                                                                         \
        struct vivero_child_pool_options child;                               \
                                                                              \
        vivero_child_pool_options_init(&child);                               \
        child.options = options;                                              \
        child.payload_size = sizeof(payload_type_);                           \
        child.pool = &pool->pool;                                             \
        return child;                                                         \
    }                                                                         \
    VIVERO_UNUSED static inline int name_##_to_call(                          \
        const struct name_ *pool, const struct vivero_operation *operation,   \
        const void *in, void *out, const struct vivero_send *send)            \
    {                                                                         \
        return vivero_pool_call(pool->pool, operation, in, out, send);        \
    }                                                                         \
    VIVERO_UNUSED static inline int name_##_to_call_async(                    \
        const struct name_ *pool, const struct vivero_operation *operation,   \
        const void *in, const struct vivero_send *send,                       \
        struct vivero_future *future)                                         \
    {                                                                         \
        return vivero_pool_call_async(pool->pool, operation, in, send,        \
                                      future);                                \
    }                                                                         \
    VIVERO_UNUSED static inline int name_##_to_cast(                          \
        const struct name_ *pool, const struct vivero_operation *operation,   \
        const void *in, const struct vivero_send *send)                       \
    {                                                                         \
        return vivero_pool_cast(pool->pool, operation, in, send);             \
    }                                                                         \
    VIVERO_UNUSED static inline struct vivero_pool *name_##_pool(             \
        const struct name_ *pool)                                             \
    {                                                                         \
        return pool->pool;                                                    \
    }                                                                         \
    VIVERO_UNUSED static inline payload_type_ *name_##_payload(               \
        const struct name_##_self *self)                                      \
    {                                                                         \
        return (payload_type_ *)vivero_entity_payload(self->entity);          \
    }                                                                         \
    VIVERO_UNUSED static inline uint32_t name_##_id(                          \
        const struct name_##_self *self)                                      \
    {                                                                         \
        return vivero_entity_id(self->entity);                                \
    }                                                                         \
    VIVERO_UNUSED static inline struct name_##_state name_##_state(           \
        const struct name_##_self *self)                                      \
    {                                                                         \
        struct name_##_state state;                                           \
                                                                              \
        state.id = name_##_id(self);                                          \
        state.payload = name_##_payload(self);                                \
        return state;                                                         \
    }                                                                         \
    struct name_

/* ---- A list of arguments: the usual form -------------------------------- */

/* VIVERO_DECLARE_SYNCH(type, reply_type, name, (type, arg), ...);
 * VIVERO_DEFSYNCH(type, reply_type, name, (type, arg), ...) { body }
 *
 *   int TYPE_NAME(struct TYPE *pool, args..., reply_type *reply)
 *   int TYPE_NAME_with(struct TYPE *pool, const struct vivero_send *send,
 *                      args..., reply_type *reply)
 *   int TYPE_NAME_async(struct TYPE *pool, const struct vivero_send *send,
 *                       args..., struct vivero_future *future)
 *   struct TYPE_NAME_in, TYPE_NAME_operation, TYPE_NAME_thunk, TYPE_NAME_body
 *
 * In the body: self, the arguments, reply (never NULL). It returns what a
 * vivero_handler_fn returns. Callers may pass NULL for reply. */
#define VIVERO_DECLARE_SYNCH(type_, reply_type_, ...)                         \
    VIVERO_DECLARE_SYNCH_(type_, reply_type_,                                 \
                          VIVERO_JOIN(type_##_,                               \
                                      VIVERO_ARGS_NAME(__VA_ARGS__)),         \
                          __VA_ARGS__)
#define VIVERO_DECLARE_SYNCH_(type_, reply_type_, function_, ...)             \
    VIVERO_DECLARE_SYNCH__(type_, reply_type_, function_, __VA_ARGS__)
#define VIVERO_DECLARE_SYNCH__(type_, reply_type_, function_, ...)            \
    int function_(struct type_ *target VIVERO_ARGS_PARAMS(__VA_ARGS__),         \
                  reply_type_ *reply);                                        \
    int function_##_with(struct type_ *target, const struct vivero_send *send   \
                             VIVERO_ARGS_PARAMS(__VA_ARGS__),                 \
                         reply_type_ *reply);                                 \
    int function_##_async(struct type_ *target,                               \
                          const struct vivero_send *send                      \
                              VIVERO_ARGS_PARAMS(__VA_ARGS__),                \
                          struct vivero_future *future)

#define VIVERO_DEFSYNCH(type_, reply_type_, ...)                              \
    VIVERO_DEFSYNCH_(type_, reply_type_,                                      \
                     VIVERO_JOIN(type_##_, VIVERO_ARGS_NAME(__VA_ARGS__)),    \
                     __VA_ARGS__)
#define VIVERO_DEFSYNCH_(type_, reply_type_, function_, ...)                  \
    VIVERO_DEFSYNCH__(type_, reply_type_, function_, __VA_ARGS__)
#define VIVERO_DEFSYNCH__(type_, reply_type_, function_, ...)                 \
    VIVERO_DECLARE_SYNCH__(type_, reply_type_, function_, __VA_ARGS__);       \
    struct function_##_in {                                                   \
        VIVERO_ARGS_FIELDS(__VA_ARGS__)                                       \
    };                                                                        \
    static int function_##_body(struct type_##_self *self                     \
                                    VIVERO_ARGS_PARAMS(__VA_ARGS__),          \
                                reply_type_ *reply);                          \
    static int function_##_thunk(struct vivero_self *vivero_self,             \
                                 const void *vivero_in, void *vivero_out)     \
    {                                                                         \
        const struct function_##_in *vivero_args =                                     \
            (const struct function_##_in *)vivero_in;                         \
        struct type_##_self self;                                             \
                                                                              \
        (void)vivero_args;                                                             \
        self.entity = vivero_self->entity;                                    \
        return function_##_body(&self VIVERO_ARGS_UNPACK(__VA_ARGS__),        \
                                (reply_type_ *)vivero_out);                   \
    }                                                                         \
    VIVERO_OPERATION_(function_,                                              \
                      VIVERO_ARGS_SIZE(struct function_##_in, __VA_ARGS__),   \
                      sizeof(reply_type_), VIVERO_ARGS_KEY(__VA_ARGS__));     \
    int function_##_with(struct type_ *target, const struct vivero_send *send   \
                             VIVERO_ARGS_PARAMS(__VA_ARGS__),                 \
                         reply_type_ *reply)                                  \
    {                                                                         \
        const struct function_##_in vivero_args = {                           \
            VIVERO_ARGS_VALUES(__VA_ARGS__)};   \
                                                                              \
        return type_##_to_call(target, &function_##_operation, &vivero_args,  \
                               reply, send);                                  \
    }                                                                         \
    int function_##_async(struct type_ *target,                               \
                          const struct vivero_send *send                      \
                              VIVERO_ARGS_PARAMS(__VA_ARGS__),                \
                          struct vivero_future *future)                       \
    {                                                                         \
        const struct function_##_in vivero_args = {                           \
            VIVERO_ARGS_VALUES(__VA_ARGS__)};                                 \
                                                                              \
        return type_##_to_call_async(target, &function_##_operation,          \
                                     &vivero_args, send, future);             \
    }                                                                         \
    int function_(struct type_ *target VIVERO_ARGS_PARAMS(__VA_ARGS__),         \
                  reply_type_ *reply)                                         \
    {                                                                         \
        return function_##_with(target, NULL VIVERO_ARGS_PASS(__VA_ARGS__),     \
                                reply);                                       \
    }                                                                         \
    static int function_##_body(struct type_##_self *self VIVERO_UNUSED       \
                                    VIVERO_ARGS_PARAMS(__VA_ARGS__),          \
                                reply_type_ *reply VIVERO_UNUSED)

/* VIVERO_DECLARE_ASYNCH(type, name, (type, arg), ...);
 * VIVERO_DEFASYNCH(type, name, (type, arg), ...) { body }
 *
 *   int TYPE_NAME(struct TYPE *pool, args...)
 *   int TYPE_NAME_with(struct TYPE *pool, const struct vivero_send *send,
 *                      args...)
 *
 * 0: accepted, it stands in a mailbox. In the body: self and the arguments. */
#define VIVERO_DECLARE_ASYNCH(type_, ...)                                     \
    VIVERO_DECLARE_ASYNCH_(type_,                                             \
                           VIVERO_JOIN(type_##_,                              \
                                       VIVERO_ARGS_NAME(__VA_ARGS__)),        \
                           __VA_ARGS__)
#define VIVERO_DECLARE_ASYNCH_(type_, function_, ...)                         \
    VIVERO_DECLARE_ASYNCH__(type_, function_, __VA_ARGS__)
#define VIVERO_DECLARE_ASYNCH__(type_, function_, ...)                        \
    int function_(struct type_ *target VIVERO_ARGS_PARAMS(__VA_ARGS__));        \
    int function_##_with(struct type_ *target, const struct vivero_send *send   \
                             VIVERO_ARGS_PARAMS(__VA_ARGS__))

#define VIVERO_DEFASYNCH(type_, ...)                                          \
    VIVERO_DEFASYNCH_(type_,                                                  \
                      VIVERO_JOIN(type_##_, VIVERO_ARGS_NAME(__VA_ARGS__)),   \
                      __VA_ARGS__)
#define VIVERO_DEFASYNCH_(type_, function_, ...)                              \
    VIVERO_DEFASYNCH__(type_, function_, __VA_ARGS__)
#define VIVERO_DEFASYNCH__(type_, function_, ...)                             \
    VIVERO_DECLARE_ASYNCH__(type_, function_, __VA_ARGS__);                   \
    struct function_##_in {                                                   \
        VIVERO_ARGS_FIELDS(__VA_ARGS__)                                       \
    };                                                                        \
    static int function_##_body(                                              \
        struct type_##_self *self VIVERO_ARGS_PARAMS(__VA_ARGS__));           \
    static int function_##_thunk(struct vivero_self *vivero_self,             \
                                 const void *vivero_in,                       \
                                 void *vivero_out VIVERO_UNUSED)              \
    {                                                                         \
        const struct function_##_in *vivero_args =                                     \
            (const struct function_##_in *)vivero_in;                         \
        struct type_##_self self;                                             \
                                                                              \
        (void)vivero_args;                                                             \
        self.entity = vivero_self->entity;                                    \
        return function_##_body(&self VIVERO_ARGS_UNPACK(__VA_ARGS__));       \
    }                                                                         \
    VIVERO_OPERATION_(function_,                                              \
                      VIVERO_ARGS_SIZE(struct function_##_in, __VA_ARGS__),   \
                      0, VIVERO_ARGS_KEY(__VA_ARGS__));                       \
    int function_##_with(struct type_ *target, const struct vivero_send *send   \
                             VIVERO_ARGS_PARAMS(__VA_ARGS__))                 \
    {                                                                         \
        const struct function_##_in vivero_args = {                           \
            VIVERO_ARGS_VALUES(__VA_ARGS__)};   \
                                                                              \
        return type_##_to_cast(target, &function_##_operation, &vivero_args,  \
                               send);                                         \
    }                                                                         \
    int function_(struct type_ *target VIVERO_ARGS_PARAMS(__VA_ARGS__))         \
    {                                                                         \
        return function_##_with(target, NULL VIVERO_ARGS_PASS(__VA_ARGS__));    \
    }                                                                         \
    static int function_##_body(struct type_##_self *self VIVERO_UNUSED       \
                                    VIVERO_ARGS_PARAMS(__VA_ARGS__))

/* ---- One argument struct: the base form --------------------------------- */

/* The same with `const in_type *in` as the only argument, for callers and for
 * the body. The key of VIVERO_PICK_KEY is the operation's name alone; say it
 * with VIVERO_SEND(.key = ...) instead. */
#define VIVERO_DECLARE_SYNCH_STRUCT(type_, reply_type_, name_, in_type_)      \
    int type_##_##name_(struct type_ *target, const in_type_ *in,               \
                        reply_type_ *reply);                                  \
    int type_##_##name_##_with(struct type_ *target,                            \
                               const struct vivero_send *send,                \
                               const in_type_ *in, reply_type_ *reply);       \
    int type_##_##name_##_async(struct type_ *target,                         \
                                const struct vivero_send *send,               \
                                const in_type_ *in,                           \
                                struct vivero_future *future)

#define VIVERO_DEFSYNCH_STRUCT(type_, reply_type_, name_, in_type_)           \
    VIVERO_DECLARE_SYNCH_STRUCT(type_, reply_type_, name_, in_type_);         \
    static int type_##_##name_##_body(struct type_##_self *self,              \
                                      const in_type_ *in,                     \
                                      reply_type_ *reply);                    \
    static int type_##_##name_##_thunk(struct vivero_self *vivero_self,       \
                                       const void *vivero_in,                 \
                                       void *vivero_out)                      \
    {                                                                         \
        struct type_##_self self;                                             \
                                                                              \
        self.entity = vivero_self->entity;                                    \
        return type_##_##name_##_body(&self, (const in_type_ *)vivero_in,     \
                                      (reply_type_ *)vivero_out);             \
    }                                                                         \
    VIVERO_OPERATION_(type_##_##name_, (uint32_t)sizeof(in_type_),            \
                      sizeof(reply_type_), 0);                                \
    int type_##_##name_##_with(struct type_ *target,                            \
                               const struct vivero_send *send,                \
                               const in_type_ *in, reply_type_ *reply)        \
    {                                                                         \
        return type_##_to_call(target, &type_##_##name_##_operation, in,      \
                               reply, send);                                  \
    }                                                                         \
    int type_##_##name_##_async(struct type_ *target,                         \
                                const struct vivero_send *send,               \
                                const in_type_ *in,                           \
                                struct vivero_future *future)                 \
    {                                                                         \
        return type_##_to_call_async(target, &type_##_##name_##_operation,    \
                                     in, send, future);                       \
    }                                                                         \
    int type_##_##name_(struct type_ *target, const in_type_ *in,               \
                        reply_type_ *reply)                                   \
    {                                                                         \
        return type_##_##name_##_with(target, NULL, in, reply);                 \
    }                                                                         \
    static int type_##_##name_##_body(                                        \
        struct type_##_self *self VIVERO_UNUSED,                              \
        const in_type_ *in VIVERO_UNUSED, reply_type_ *reply VIVERO_UNUSED)

#define VIVERO_DECLARE_ASYNCH_STRUCT(type_, name_, in_type_)                  \
    int type_##_##name_(struct type_ *target, const in_type_ *in);              \
    int type_##_##name_##_with(struct type_ *target,                            \
                               const struct vivero_send *send,                \
                               const in_type_ *in)

#define VIVERO_DEFASYNCH_STRUCT(type_, name_, in_type_)                       \
    VIVERO_DECLARE_ASYNCH_STRUCT(type_, name_, in_type_);                     \
    static int type_##_##name_##_body(struct type_##_self *self,              \
                                      const in_type_ *in);                    \
    static int type_##_##name_##_thunk(struct vivero_self *vivero_self,       \
                                       const void *vivero_in,                 \
                                       void *vivero_out VIVERO_UNUSED)        \
    {                                                                         \
        struct type_##_self self;                                             \
                                                                              \
        self.entity = vivero_self->entity;                                    \
        return type_##_##name_##_body(&self, (const in_type_ *)vivero_in);    \
    }                                                                         \
    VIVERO_OPERATION_(type_##_##name_, (uint32_t)sizeof(in_type_), 0, 0);     \
    int type_##_##name_##_with(struct type_ *target,                            \
                               const struct vivero_send *send,                \
                               const in_type_ *in)                            \
    {                                                                         \
        return type_##_to_cast(target, &type_##_##name_##_operation, in,      \
                               send);                                         \
    }                                                                         \
    int type_##_##name_(struct type_ *target, const in_type_ *in)               \
    {                                                                         \
        return type_##_##name_##_with(target, NULL, in);                        \
    }                                                                         \
    static int type_##_##name_##_body(                                        \
        struct type_##_self *self VIVERO_UNUSED,                              \
        const in_type_ *in VIVERO_UNUSED)

/* Members in the order of struct vivero_operation: C++17 has no designators. */
#define VIVERO_OPERATION_(function_, in_size_, out_size_, key_size_)        \
    static const struct vivero_operation function_##_operation = {          \
        #function_, function_##_thunk, in_size_, (uint32_t)(out_size_),     \
        key_size_,  __LINE__,          __FILE__}

#ifdef VIVERO_SHORT_NAMES
#define defsynch VIVERO_DEFSYNCH
#define defasynch VIVERO_DEFASYNCH
#define declsynch VIVERO_DECLARE_SYNCH
#define declasynch VIVERO_DECLARE_ASYNCH
#endif

#endif
