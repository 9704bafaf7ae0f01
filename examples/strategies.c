/* SPDX-License-Identifier: MIT */
/* Who is restarted when the middle one of three is killed. You will see:
 *
 *   one_for_one: b
 *   one_for_all: a b c
 *   rest_for_one: b c
 *   rest_for_one
 *     a (worker, running, restarts 0)
 *     b (worker, running, restarts 1)
 *     c (worker, running, restarts 1)
 *
 * The last four lines are the tree as the library shows it. The supervisor
 * reports each child that comes up; a question to it is answered only when it
 * has restarted all it has to, so then all the reports are there. */
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

/* On the supervisor's thread: pass on to main which child is up. */
static void on_report(const struct vivero_report *report, void *ctx)
{
    const struct vivero_ref *main_thread = ctx;

    if (report->kind == VIVERO_REPORT_STARTED) {
        vivero_tell(*main_thread, 0, report->child, strlen(report->child) + 1);
    }
}

/* Who has come up; NULL: nobody in this time. */
static const char *next_report(int64_t timeout_ns)
{
    const struct vivero_info *info;
    int error = vivero_receive(&info, timeout_ns);

    if (error == VIVERO_E_TIMED_OUT) {
        return NULL;
    }
    check(error, "receive");
    return info->data;
}

static void kill_middle_one(struct vivero_ref supervisor)
{
    struct vivero_child_counts counts;
    const char *child;

    for (int i = 0; i < 3; i++) {
        (void)next_report(VIVERO_FOREVER); /* of the first start */
    }
    check(vivero_kill(vivero_whereis("b")), "kill");
    printf(" %s", next_report(VIVERO_FOREVER));
    check(vivero_supervisor_count_children(supervisor, &counts, VIVERO_FOREVER),
          "count_children");
    while ((child = next_report(0)) != NULL) {
        printf(" %s", child);
    }
    printf("\n");
}

#define CHILD(name_)                                                           \
    VIVERO_CHILD_SPEC(.id = (name_), .ops = &vivero_child_worker,              \
                      .options = VIVERO_WORKER_OPTIONS(.name = (name_)))

static struct vivero_ref start(const char *name, enum vivero_strategy strategy,
                               struct vivero_ref *main_thread)
{
    struct vivero_ref supervisor;

    check(vivero_supervisor_start(
              VIVERO_SUPERVISOR_OPTIONS(.name = name, .strategy = strategy,
                                        .on_report = on_report,
                                        .ctx = main_thread,
                                        VIVERO_CHILDREN(CHILD("a"), CHILD("b"),
                                                        CHILD("c"))),
              &supervisor, NULL),
          name);
    return supervisor;
}

int main(void)
{
    static const struct {
        const char *name;
        enum vivero_strategy strategy;
    } tour[] = {{"one_for_one", VIVERO_ONE_FOR_ONE},
                {"one_for_all", VIVERO_ONE_FOR_ALL},
                {"rest_for_one", VIVERO_REST_FOR_ONE}};
    struct vivero_ref main_thread;

    check(vivero_attach(NULL, &main_thread), "attach");
    for (size_t i = 0; i < 3; i++) {
        struct vivero_ref supervisor =
            start(tour[i].name, tour[i].strategy, &main_thread);

        printf("%s:", tour[i].name);
        kill_middle_one(supervisor);
        if (i == 2) {
            check(vivero_tree_print(supervisor, stdout, VIVERO_TREE_TEXT,
                                    VIVERO_FOREVER),
                  "tree_print");
        }
        check(vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER), "stop");
    }
    vivero_detach(NULL);
    return 0;
}
