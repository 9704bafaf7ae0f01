/* SPDX-License-Identifier: MIT */
/* A supervisor and its worker, which is found by its name. You will see:
 *
 *   1
 *   2
 *   GONE        from the killed one
 *   1           from the one that has its name now
 *
 * The second worker starts afresh, with 0. A reference names one incarnation, so
 * that nobody mistakes the second for the first; whoever wants the worker of the
 * moment keeps its name. That one is up main hears from the supervisor, which
 * reports it. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>

VIVERO_WORKER_TYPE(my_worker, long);

defsynch(my_worker, long, increment)
{
    *reply = ++*my_worker_payload(self);
    return VIVERO_OK;
}

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

/* On the supervisor's thread: pass on to main that a child is up. */
static void on_report(const struct vivero_report *report, void *ctx)
{
    const struct vivero_ref *main_thread = ctx;

    if (report->kind == VIVERO_REPORT_STARTED) {
        vivero_tell(*main_thread, 0, NULL, 0);
    }
}

static void await_start(void)
{
    const struct vivero_info *info;

    check(vivero_receive(&info, VIVERO_FOREVER), "receive");
}

static void print_increment(void)
{
    struct my_worker worker = {vivero_whereis("my_worker")};
    long value;

    check(my_worker_increment(&worker, &value), "increment");
    printf("%ld\n", value);
}

int main(void)
{
    struct vivero_ref main_thread, supervisor;
    struct my_worker stale;

    check(vivero_attach(NULL, &main_thread), "attach");
    check(vivero_supervisor_start(
              VIVERO_SUPERVISOR_OPTIONS(
                      .name = "my_supervisor", .on_report = on_report,
                      .ctx = &main_thread,
                      VIVERO_CHILDREN(VIVERO_CHILD_SPEC(
                              .id = "my_worker", .ops = &vivero_child_worker,
                              .options = VIVERO_WORKER_OPTIONS_OF(
                                  my_worker, .name = "my_worker")))),
              &supervisor, NULL),
          "start");
    await_start();
    print_increment();
    print_increment();

    stale.ref = vivero_whereis("my_worker");
    check(vivero_kill(stale.ref), "kill");
    await_start();
    printf("%s\n", vivero_error_name(my_worker_increment(&stale, NULL)));
    print_increment();

    check(vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER), "stop");
    vivero_detach(NULL);
    return 0;
}
