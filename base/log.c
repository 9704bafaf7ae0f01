/* SPDX-License-Identifier: MIT */
/* log: events on their way to the one sink.
 *
 * Model.    A sink, its ctx and a level belong together. They are read as one
 *           by a sequence: odd while somebody writes, and changed when he is
 *           done. A reader that sees it move reads again, so a sink never gets
 *           another one's ctx.
 * Sync.     log.sequence: the three values, from the writer to readers and to
 *           the next writer.
 *           log.sink: the data are stored with release and loaded with acquire
 *           so that a reader who got a new value also sees the sequence that
 *           became odd before it: no fence is needed.
 * Rejected. An immutable pair behind one pointer: nobody knows when the old
 *           pair is out of use, and keeping all of them has no bound. A lock:
 *           os is above this layer, and a sink may set the sink. */
#include "base/log.h"

#include "base/check.h"

#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

/* Cut to this: the stack of a worker may be small. */
#define MESSAGE_MAX 512

/* atomic: odd while the three below change */
static _Atomic uint32_t sequence;
static _Atomic(vivero_log_fn *) sink_fn;
static _Atomic(void *) sink_ctx;
static _Atomic int sink_level; /* 0: nobody listens */

struct sink {
    vivero_log_fn *fn;
    void *ctx;
    int level;
};

/* The even sequence that was left behind. */
static uint32_t begin_write(void)
{
    /* relaxed: only a guess for the exchange below. */
    uint32_t before = atomic_load_explicit(&sequence, memory_order_relaxed);

    for (;;) {
        if (before % 2 != 0) {
            sched_yield();
            /* relaxed: only a guess for the exchange below. */
            before = atomic_load_explicit(&sequence, memory_order_relaxed);
            continue;
        }
        /* sync(log.sequence): after the writer before us. */
        if (atomic_compare_exchange_weak_explicit(
                &sequence, &before, before + 1, memory_order_acquire,
                memory_order_relaxed)) {
            return before;
        }
    }
}

void vivero_log_set_sink(enum vivero_log_level level, vivero_log_fn *sink,
                         void *ctx)
{
    const uint32_t before = begin_write();

    /* sync(log.sink): who sees one of these sees the sequence odd or later. */
    atomic_store_explicit(&sink_fn, sink, memory_order_release);
    atomic_store_explicit(&sink_ctx, ctx, memory_order_release);
    atomic_store_explicit(&sink_level, sink != NULL ? (int)level : 0,
                          memory_order_release);
    /* sync(log.sequence): publishes the three to readers. */
    atomic_store_explicit(&sequence, before + 2, memory_order_release);
}

static bool try_read_sink(struct sink *sink)
{
    /* sync(log.sequence): sees what was written before it became even. */
    const uint32_t before =
        atomic_load_explicit(&sequence, memory_order_acquire);

    /* sync(log.sink): a value of a later writer shows us his odd sequence. */
    sink->fn = atomic_load_explicit(&sink_fn, memory_order_acquire);
    sink->ctx = atomic_load_explicit(&sink_ctx, memory_order_acquire);
    sink->level = atomic_load_explicit(&sink_level, memory_order_acquire);
    /* relaxed: the acquiring loads above keep it behind them. */
    return before % 2 == 0 &&
           atomic_load_explicit(&sequence, memory_order_relaxed) == before;
}

bool vv_log_wants(enum vivero_log_level level)
{
    /* relaxed: a hint; vv_log() looks again before it calls anybody. */
    return (int)level <=
           atomic_load_explicit(&sink_level, memory_order_relaxed);
}

void vv_log(enum vivero_log_level level, const char *component,
            const char *object, const struct vivero_log_field *fields,
            size_t field_count, const char *format, ...)
{
    const int saved_errno = errno;
    char message[MESSAGE_MAX];
    struct sink sink;
    va_list arguments;

    if (!vv_log_wants(level)) {
        return;
    }
    while (!try_read_sink(&sink)) {
        sched_yield();
    }
    if (sink.fn == NULL || (int)level > sink.level) {
        return;
    }
    va_start(arguments, format);
    (void)vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    sink.fn(
        &(const struct vivero_log_event){
            .level = level,
            .component = component,
            .object = object,
            .message = message,
            .fields = fields,
            .field_count = field_count,
        },
        sink.ctx);
    errno = saved_errno;
}

const char *vivero_log_level_name(enum vivero_log_level level)
{
    switch (level) {
    case VIVERO_LOG_ERROR:
        return "error";
    case VIVERO_LOG_WARNING:
        return "warning";
    case VIVERO_LOG_INFO:
        return "info";
    case VIVERO_LOG_DEBUG:
        return "debug";
    }
    return "unknown";
}
