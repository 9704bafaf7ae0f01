/* SPDX-License-Identifier: MIT */
/* pool_options: what the program asked for, with the written defaults filled in
 * and the impossible refused. */
#include <vivero/error.h>

#include "base/check.h"
#include "base/options.h"
#include "os/cpu.h"
#include "os/fault.h"
#include "os/probe.h"
#include "pool/pool_private.h"

#include <stdio.h>
#include <string.h>

#define DEPTH_DEFAULT 1024u
#define DEPTH_MAX (UINT32_C(1) << 20)
#define WORKERS_MAX_DEFAULT 64u
#define CALL_TIMEOUT_DEFAULT VIVERO_SECONDS(5)
#define RESTARTS_DEFAULT 3
#define RESTARTS_MAX 1000000
#define PERIOD_DEFAULT VIVERO_SECONDS(5)
#define BACKOFF_MAX_DEFAULT VIVERO_SECONDS(1)
#define SPIN_DEFAULT VIVERO_MICROSECONDS(50)
#define SHUTDOWN_DEFAULT VIVERO_SECONDS(5)
#define HANG_REPORT_DEFAULT VIVERO_SECONDS(10)
#define DEADLINE_MIN VIVERO_MILLISECONDS(10)
#define DRAIN_DEFAULT VIVERO_SECONDS(5)
#define ABANDONED_DEFAULT 4u
#define FAULTS_DEFAULT 1u
#define ABANDONED_MAX 1024u
#define RETRIES_MAX 3u

VV_NO_TAIL_PADDING(struct vivero_pool_options, reserved);

void vivero_pool_options_init(struct vivero_pool_options *options)
{
    memset(options, 0, sizeof(*options));
    options->size = sizeof(*options);
}

static void set_default_u32(uint32_t *field, uint32_t value)
{
    if (*field == 0) {
        *field = value;
    }
}

/* NONE is allowed where none is true. False: not a valid length. */
static bool set_default_time(int64_t *field, int64_t value, bool none)
{
    if (*field == 0) {
        *field = value;
    } else if (*field == VIVERO_NONE && none) {
        *field = 0;
    }
    return *field >= 0;
}

static bool fill_times(struct vivero_pool_options *options)
{
    return set_default_time(&options->call_timeout_ns, CALL_TIMEOUT_DEFAULT,
                            true) &&
           set_default_time(&options->restart_period_ns, PERIOD_DEFAULT,
                            false) &&
           set_default_time(&options->backoff_ns, 0, true) &&
           set_default_time(&options->backoff_max_ns, BACKOFF_MAX_DEFAULT,
                            false) &&
           set_default_time(&options->spin_ns, SPIN_DEFAULT, true) &&
           set_default_time(&options->linger_ns, 0, true) &&
           set_default_time(&options->shutdown_ns, SHUTDOWN_DEFAULT, true);
}

static bool fill_sizes(struct vivero_pool_options *options)
{
    uint32_t cpus = vv_cpu_usable();

    if (options->workers == 0) {
        options->workers =
            options->workers_max > 0 && options->workers_max < cpus
                ? options->workers_max
                : cpus;
    }
    set_default_u32(&options->workers_max,
                    options->workers > WORKERS_MAX_DEFAULT
                        ? options->workers
                        : WORKERS_MAX_DEFAULT);
    set_default_u32(&options->mailbox_depth, DEPTH_DEFAULT);
    return options->workers <= options->workers_max &&
           options->workers_max <= VV_SEATS_MAX &&
           options->mailbox_depth <= DEPTH_MAX;
}

static bool fill_policies(struct vivero_pool_options *options)
{
    if (options->full_call == VIVERO_FULL_DEFAULT) {
        options->full_call = VIVERO_FULL_WAIT;
    }
    if (options->full_cast == VIVERO_FULL_DEFAULT) {
        options->full_cast = VIVERO_FULL_REJECT;
    }
    return (unsigned)options->full_call <= VIVERO_FULL_DROP_NEWEST &&
           (unsigned)options->full_cast <= VIVERO_FULL_DROP_NEWEST &&
           (unsigned)options->pick <= VIVERO_PICK_KEY;
}

static bool fill_restarts(struct vivero_pool_options *options)
{
    if (options->restarts_max == 0) {
        options->restarts_max = RESTARTS_DEFAULT;
    } else if (options->restarts_max == VIVERO_NONE) {
        options->restarts_max = 0;
    }
    return options->restarts_max == VIVERO_UNLIMITED ||
           (options->restarts_max >= 0 &&
            options->restarts_max <= RESTARTS_MAX);
}

/* "%s" at most once, then "%u" at most once, no other "%". */
static bool is_thread_template(const char *text)
{
    const char *allowed = "su";

    for (; *text != '\0'; text++) {
        if (*text == '%') {
            const char *found =
                text[1] != '\0' ? strchr(allowed, text[1]) : NULL;

            if (found == NULL) {
                return false;
            }
            allowed = found + 1;
            text++;
        }
    }
    return true;
}

static bool fill_threads(struct vivero_pool_options *options)
{
    if (options->thread_name == NULL) {
        options->thread_name = "%s/%u";
    }
    return is_thread_template(options->thread_name) &&
           (options->cpus == NULL) == (options->cpu_count == 0);
}

static bool fill_hangs(struct vivero_pool_options *options)
{
    set_default_u32(&options->abandoned_max, ABANDONED_DEFAULT);
    set_default_u32(&options->fault_budget, FAULTS_DEFAULT);
    return set_default_time(&options->hang_report_ns, HANG_REPORT_DEFAULT,
                            true) &&
           set_default_time(&options->drain_ns, DRAIN_DEFAULT, false) &&
           (options->deadline_ns == 0 ||
            options->deadline_ns >= DEADLINE_MIN) &&
           (options->deadline_ns > 0 ||
            options->on_hang == VIVERO_HANG_REPORT) &&
           (unsigned)options->on_hang <= VIVERO_HANG_ABORT &&
           options->abandoned_max <= ABANDONED_MAX;
}

static bool fill_failures(const struct vivero_pool_options *options)
{
    return (unsigned)options->state <= VIVERO_STATE_COMMIT &&
           (unsigned)options->mailbox <= VIVERO_MAILBOX_FLUSH &&
           (unsigned)options->fault <= VIVERO_FAULT_UNSAFE_CONTAIN &&
           (unsigned)options->isolation <= VIVERO_ISOLATION_PROCESS &&
           options->retries <= RETRIES_MAX &&
           (options->retries == 0 || options->idempotent) &&
           !options->reserved[0] && !options->reserved[1] &&
           !options->reserved[2];
}

/* What is possible in principle, but not here. */
static int check_support(const struct vivero_pool_options *options)
{
    if (options->isolation != VIVERO_ISOLATION_THREAD) {
        return VIVERO_E_UNSUPPORTED;
    }
    if (options->fault != VIVERO_FAULT_DIE && !vv_fault_is_installed()) {
        return VIVERO_E_DENIED;
    }
    if (options->nudge_signal != 0 &&
        !vv_signal_interrupts(options->nudge_signal)) {
        return VIVERO_E_DENIED;
    }
    return VIVERO_OK;
}

int vv_pool_fill_options(struct vv_pool *pool,
                         const struct vivero_pool_options *options,
                         const size_t *payload_size)
{
    struct vivero_pool_options *mine = &pool->options;
    int error = vv_options_copy(mine, sizeof(*mine), options);

    if (error != VIVERO_OK) {
        return error;
    }
    if (payload_size != NULL) {
        mine->payload_size = *payload_size;
    }
    if (!fill_sizes(mine) || !fill_policies(mine) || !fill_times(mine) ||
        !fill_restarts(mine) || !fill_threads(mine) || !fill_hangs(mine) ||
        !fill_failures(mine)) {
        return VIVERO_E_INVALID;
    }
    error = check_support(mine);
    if (error != VIVERO_OK) {
        return error;
    }
    (void)snprintf(pool->name, sizeof(pool->name), "%s",
                   mine->name != NULL ? mine->name : "pool");
    return VIVERO_OK;
}
