/* SPDX-License-Identifier: MIT */
#ifndef TESTS_ABI_OPTIONS_0_1_H
#define TESTS_ABI_OPTIONS_0_1_H

/* The option structs as a program compiled against 0.1 has them. Never changed:
 * a later version gets a header of its own. */

#include <vivero/pool.h>

struct pool_options_0_1 {
    size_t size;
    const char *name;
    uint32_t workers;
    uint32_t workers_max;
    uint32_t mailbox_depth;
    enum vivero_pick pick;
    enum vivero_full full_call;
    enum vivero_full full_cast;
    int64_t call_timeout_ns;
    size_t payload_size;
    vivero_init_fn *init;
    vivero_terminate_fn *terminate;
    vivero_destroy_fn *destroy;
    vivero_print_payload_fn *print_payload;
    vivero_pool_down_fn *on_down;
    void *ctx;
    int32_t restarts_max;
    bool restarts_per_worker;
    bool caller_runs;
    bool own_threads;
    bool arena;
    int64_t restart_period_ns;
    int64_t backoff_ns;
    int64_t backoff_max_ns;
    int64_t spin_ns;
    int64_t linger_ns;
    int64_t shutdown_ns;
    const char *thread_name;
    const uint16_t *cpus;
    size_t cpu_count;
    size_t stack_size;
    int32_t scheduling_policy;
    int32_t scheduling_priority;
    vivero_thread_hook_fn *on_thread_start;
    vivero_thread_hook_fn *on_thread_stop;
    vivero_runner_fn *runner;
    void *thread_ctx;
    uint64_t seed;
};

struct send_0_1 {
    size_t size;
    const void *key;
    uint32_t key_size;
    uint32_t worker;
    int64_t timeout_ns;
    const void *owner;
    struct vivero_message *message;
};

/* Every member of 0.1, for those who compare. */
#define POOL_OPTIONS_0_1(M)                                                    \
    M(size)                                                                    \
    M(name)                                                                    \
    M(workers)                                                                 \
    M(workers_max)                                                             \
    M(mailbox_depth)                                                           \
    M(pick)                                                                    \
    M(full_call)                                                               \
    M(full_cast)                                                               \
    M(call_timeout_ns)                                                         \
    M(payload_size)                                                            \
    M(init)                                                                    \
    M(terminate)                                                               \
    M(destroy)                                                                 \
    M(print_payload)                                                           \
    M(on_down)                                                                 \
    M(ctx)                                                                     \
    M(restarts_max)                                                            \
    M(restarts_per_worker)                                                     \
    M(caller_runs)                                                             \
    M(own_threads)                                                             \
    M(arena)                                                                   \
    M(restart_period_ns)                                                       \
    M(backoff_ns)                                                              \
    M(backoff_max_ns)                                                          \
    M(spin_ns)                                                                 \
    M(linger_ns)                                                               \
    M(shutdown_ns)                                                             \
    M(thread_name)                                                             \
    M(cpus)                                                                    \
    M(cpu_count)                                                               \
    M(stack_size)                                                              \
    M(scheduling_policy)                                                       \
    M(scheduling_priority)                                                     \
    M(on_thread_start)                                                         \
    M(on_thread_stop)                                                          \
    M(runner)                                                                  \
    M(thread_ctx)                                                              \
    M(seed)

#define SEND_0_1(M)                                                            \
    M(size)                                                                    \
    M(key)                                                                     \
    M(key_size)                                                                \
    M(worker)                                                                  \
    M(timeout_ns)                                                              \
    M(owner)                                                                   \
    M(message)

#endif
