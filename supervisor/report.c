/* SPDX-License-Identifier: MIT */
/* report: what a supervisor has to say, once per incident: to the log, and to
 * its on_report. */
#include <vivero/error.h>

#include "base/log.h"
#include "supervisor/supervisor_private.h"

#include <string.h>

static enum vivero_log_level level_of(const struct vv_ward *ward,
                                      enum vivero_report_kind kind)
{
    if (kind != VIVERO_REPORT_STARTED) {
        return VIVERO_LOG_ERROR;
    }
    return ward->by_request ? VIVERO_LOG_DEBUG : VIVERO_LOG_INFO;
}

static const char *words_of(enum vivero_report_kind kind)
{
    switch (kind) {
    case VIVERO_REPORT_STARTED:
        return "started";
    case VIVERO_REPORT_START_ERROR:
        return "could not start";
    case VIVERO_REPORT_ENDED:
        return "ended";
    case VIVERO_REPORT_SHUTDOWN_ERROR:
        return "did not end as it was asked to";
    case VIVERO_REPORT_QUARANTINED:
        return "failed once too often and is left alone";
    case VIVERO_REPORT_GAVE_UP:
        return "failed once too often, the supervisor gives up";
    }
    return "";
}

static void log_report(const struct vv_ward *ward,
                       const struct vivero_report *report)
{
    const char *kind = report->reason != NULL
                           ? vivero_exit_kind_name(report->reason->kind)
                           : "";
    const char *text = report->reason != NULL ? report->reason->text : "";

    if (report->child_count != 1) {
        vv_log(level_of(ward, report->kind), "supervisor", report->supervisor,
               NULL, 0, "%u children %s: %s %s", report->child_count,
               words_of(report->kind), kind, text);
    } else if (report->reason == NULL) {
        vv_log(level_of(ward, report->kind), "supervisor", report->supervisor,
               NULL, 0, "child %s (%s) %s", report->child,
               ward->spec->given.ops->kind, words_of(report->kind));
    } else {
        vv_log(level_of(ward, report->kind), "supervisor", report->supervisor,
               NULL, 0, "child %s %s: %s %d %s", report->child,
               words_of(report->kind), kind, report->reason->code, text);
    }
}

static void send(struct vv_ward *ward, enum vivero_report_kind kind,
                 const struct vivero_exit *reason, uint32_t count)
{
    const struct vivero_supervisor_options *options =
        &ward->supervisor->blueprint->options;
    const struct vivero_child_spec *spec = &ward->spec->given;
    const struct vivero_report report = {
        .kind = kind,
        .supervisor = options->name != NULL ? options->name : "supervisor",
        .child = ward->spec->id,
        .ref = vivero_ref_is_nobody(ward->ref) ? ward->past : ward->ref,
        .reason = reason,
        .restart = spec->restart,
        .type = spec->type,
        .shutdown_ns = ward->spec->policy.shutdown_ns,
        .significant = spec->significant,
        .child_count = count};

    log_report(ward, &report);
    if (options->on_report != NULL) {
        options->on_report(&report, options->ctx);
    }
}

void vv_report(struct vv_ward *ward, enum vivero_report_kind kind,
               const struct vivero_exit *reason)
{
    send(ward, kind, reason, 1);
}

/* ---- Many with the same reason ----------------------------------------------------- */

static bool is_same(const struct vivero_exit *a, const struct vivero_exit *b)
{
    return a->kind == b->kind && a->code == b->code &&
           strncmp(a->text, b->text, sizeof(a->text)) == 0;
}

void vv_report_collect(struct vv_ward *ward, const struct vivero_exit *reason)
{
    struct vv_supervisor *supervisor = ward->supervisor;
    uint32_t i = 0;

    while (i < supervisor->reason_count &&
           !is_same(&supervisor->reasons[i].reason, reason)) {
        i++;
    }
    if (i == VV_REASONS_MAX) {
        send(ward, VIVERO_REPORT_SHUTDOWN_ERROR, reason, 1);
        return;
    }
    if (i == supervisor->reason_count) {
        supervisor->reason_count++;
        supervisor->reasons[i] =
            (struct vv_reason_count){*reason, 0, ward->spec};
        (void)vv_spec_retain(ward->spec);
    }
    supervisor->reasons[i].count++;
}

void vv_report_collected(struct vv_supervisor *supervisor)
{
    for (uint32_t i = 0; i < supervisor->reason_count; i++) {
        struct vv_reason_count *counted = &supervisor->reasons[i];
        /* None of them in particular. */
        struct vv_ward some = {.supervisor = supervisor, .spec = counted->spec};

        send(&some, VIVERO_REPORT_SHUTDOWN_ERROR, &counted->reason,
             counted->count);
        vv_spec_release(counted->spec);
    }
    supervisor->reason_count = 0;
}
