/* SPDX-License-Identifier: MIT */
/* tree [CHILDREN]: what a dynamic child costs, for a thousand of them and for ten
 * times and a hundred times as many: to start one, to stop all, and its memory.
 * Once on shared carriers, once (not the largest number) with a thread each. */
#include <vivero/vivero.h>

#include "bench/lib/measure.h"

#include <stdio.h>
#include <stdlib.h>

#define WITH_THREADS_MAX 10000

static struct vivero_ref start_supervisor(bool own_thread)
{
    struct vivero_ref supervisor;
    const struct vivero_child_spec *child =
        VIVERO_CHILD_SPEC(.ops = &vivero_child_worker, .own_thread = own_thread,
                          .options =
                              VIVERO_WORKER_OPTIONS(.payload_size =
                                                        sizeof(long),
                                                    .stack_size = 65536));

    if (vivero_supervisor_start(
            VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC,
                                      .template_ = child),
            &supervisor, NULL) != VIVERO_OK) {
        bench_fail("tree: no supervisor");
    }
    return supervisor;
}

static void start_children(struct vivero_ref supervisor, int count)
{
    struct vivero_ref child;

    for (int i = 0; i < count; i++) {
        int error = vivero_supervisor_start_child(supervisor, NULL,
                                                  VIVERO_FOREVER, &child);

        if (error != VIVERO_OK) {
            bench_fail("tree: child %d: %s", i, vivero_strerror(error));
        }
    }
}

static void measure(int count, bool own_thread)
{
    struct vivero_ref supervisor = start_supervisor(own_thread);
    int64_t resident = bench_resident();
    int64_t began = bench_now();
    int64_t started;
    int64_t stopping;
    char workload[64];

    start_children(supervisor, count);
    started = bench_now();
    (void)snprintf(workload, sizeof(workload), "tree_%s_%d",
                   own_thread ? "threads" : "shared", count);
    bench_report("vivero", workload, "start",
                 (double)(started - began) / count / 1000, "us");
    bench_report("vivero", workload, "memory",
                 (double)(bench_resident() - resident) / count, "bytes");
    stopping = bench_now();
    if (vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER) != VIVERO_OK) {
        bench_fail("tree: it did not stop");
    }
    bench_report("vivero", workload, "stop",
                 (double)(bench_now() - stopping) / count / 1000, "us");
}

int main(int argc, char **argv)
{
    int most = argc > 1 ? atoi(argv[1]) : 100000;

    for (int count = most / 100; count <= most && count > 0; count *= 10) {
        measure(count, false);
        if (count <= WITH_THREADS_MAX) {
            measure(count, true);
        }
    }
    return 0;
}
