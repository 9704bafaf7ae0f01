/* SPDX-License-Identifier: MIT */
/* Monitors: to be told of an end, once. You will see:
 *
 *   {:DOWN, :normal}
 *   {:DOWN, :nobody}
 *   :timeout
 *   true
 *   :timeout
 *
 * Main watches a process that waits until it is let go, and is told that it has
 * ended. To watch it after that brings the news at once that there is nobody,
 * and nothing more: the wait for another message lasts its hundred milliseconds
 * and not less, which is true. Last, main gives up watching one before it ends,
 * and is told nothing. */
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

/* Ends with the first message, which says: go. */
static void wait_for_go(struct vivero_self *self, void *argument)
{
    const struct vivero_info *info;

    (void)self, (void)argument;
    check(vivero_receive(&info, VIVERO_FOREVER), "receive");
}

static void print_next(int64_t timeout_ns)
{
    const struct vivero_info *info;
    int error = vivero_receive(&info, timeout_ns);

    if (error == VIVERO_E_TIMED_OUT) {
        printf(":timeout\n");
        return;
    }
    check(error, "receive");
    if (info->kind == VIVERO_INFO_DOWN) {
        printf("{:DOWN, :%s}\n", vivero_exit_kind_name(info->exit.kind));
    }
}

int main(void)
{
    const int64_t timeout_ns = VIVERO_MILLISECONDS(100);
    struct vivero_monitor monitor;
    struct vivero_ref process;
    int64_t start_ns;

    check(vivero_attach(NULL, &process), "attach");

    check(vivero_spawn(NULL, wait_for_go, NULL, &process), "spawn");
    check(vivero_monitor(process, &monitor), "monitor");
    check(vivero_tell(process, 0, NULL, 0), "tell");
    print_next(VIVERO_FOREVER);

    check(vivero_monitor(process, &monitor), "monitor");
    print_next(VIVERO_FOREVER);
    start_ns = vivero_now();
    print_next(timeout_ns);
    puts(vivero_now() - start_ns >= timeout_ns ? "true" : "false");

    check(vivero_spawn(NULL, wait_for_go, NULL, &process), "spawn");
    check(vivero_monitor(process, &monitor), "monitor");
    check(vivero_demonitor(monitor, false), "demonitor");
    check(vivero_worker_stop(process, NULL, VIVERO_FOREVER), "stop");
    print_next(0);

    vivero_detach(NULL);
    return 0;
}
