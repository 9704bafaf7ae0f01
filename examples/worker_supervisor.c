/* SPDX-License-Identifier: MIT */
/* Two workers that stand and fall together. You will see:
 *
 *   worker_a 400, worker_b 400
 *   worker_a 0, worker_b 0
 *
 * Four processes at once send each worker a hundred increments; when all have
 * ended, these stand in the mailboxes before main's question. Then worker_a is
 * killed: by one_for_all the supervisor restarts both, and reports it. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>

enum { PROCESSES = 4, INCREMENTS = 100 };

VIVERO_WORKER_TYPE(counter, long);

defasynch(counter, increment)
{
    ++*counter_payload(self);
    return VIVERO_OK;
}

defsynch(counter, long, value)
{
    *reply = *counter_payload(self);
    return VIVERO_OK;
}

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

static void increment_both(struct vivero_self *self, void *argument)
{
    struct counter a = {vivero_whereis("worker_a")};
    struct counter b = {vivero_whereis("worker_b")};

    (void)self, (void)argument;
    for (int i = 0; i < INCREMENTS; i++) {
        check(counter_increment(&a), "increment");
        check(counter_increment(&b), "increment");
    }
}

static void print_values(void)
{
    struct counter a = {vivero_whereis("worker_a")};
    struct counter b = {vivero_whereis("worker_b")};
    long value_a, value_b;

    check(counter_value(&a, &value_a), "value");
    check(counter_value(&b, &value_b), "value");
    printf("worker_a %ld, worker_b %ld\n", value_a, value_b);
}

/* On the supervisor's thread: pass on to main that a child is up. */
static void on_report(const struct vivero_report *report, void *ctx)
{
    const struct vivero_ref *main_thread = ctx;

    if (report->kind == VIVERO_REPORT_STARTED) {
        vivero_tell(*main_thread, 0, NULL, 0);
    }
}

/* So many children are up, or processes have ended. */
static void await(int count)
{
    const struct vivero_info *info;

    for (int i = 0; i < count; i++) {
        check(vivero_receive(&info, VIVERO_FOREVER), "receive");
    }
}

#define COUNTER(name_)                                                         \
    VIVERO_CHILD_SPEC(.id = (name_), .ops = &vivero_child_worker,              \
                      .options =                                               \
                          VIVERO_WORKER_OPTIONS_OF(counter, .name = (name_)))

int main(void)
{
    struct vivero_ref main_thread, supervisor, process;
    struct vivero_monitor monitor;

    check(vivero_attach(NULL, &main_thread), "attach");
    check(vivero_supervisor_start(
              VIVERO_SUPERVISOR_OPTIONS(.name = "worker_supervisor",
                                        .strategy = VIVERO_ONE_FOR_ALL,
                                        .on_report = on_report,
                                        .ctx = &main_thread,
                                        VIVERO_CHILDREN(COUNTER("worker_a"),
                                                        COUNTER("worker_b"))),
              &supervisor, NULL),
          "start");
    await(2);
    for (int i = 0; i < PROCESSES; i++) {
        check(vivero_spawn_monitor(NULL, increment_both, NULL, &process,
                                   &monitor),
              "spawn_monitor");
    }
    await(PROCESSES);
    print_values();
    check(vivero_kill(vivero_whereis("worker_a")), "kill");
    await(2);
    print_values();
    check(vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER), "stop");
    vivero_detach(NULL);
    return 0;
}
