/* SPDX-License-Identifier: MIT */
/* Many are asked at once, and the best answer comes first. You will see:
 *
 *   AGAIN                   not all have answered in time
 *   bing: DOWN              it crashed, and is not restarted
 *   google: AGAIN           it is silent
 *   wolfram 95
 *   duck 80
 *   google is late: GONE
 *
 * Four workers of a dynamic supervisor are asked at once, under one time-out. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>

enum { CRASHES = -1, SILENT = 0, GOOGLE = 2, BACKENDS = 4 };

static const struct result {
    const char *backend;
    int score;
} jobs[BACKENDS] = {
    {"duck", 80}, {"bing", CRASHES}, {"google", SILENT}, {"wolfram", 95}};

VIVERO_WORKER_TYPE(backend, struct vivero_reply_token); /* an answer it owes */

defsynch(backend, struct result, compute)
{
    const struct result *found = vivero_argument(self);

    if (found->score == CRASHES) {
        return vivero_fail(self, 1, "no connection");
    }
    if (found->score == SILENT &&
        vivero_reply_later(self, backend_payload(self)) == VIVERO_OK) {
        return VIVERO_NO_REPLY;
    }
    *reply = *found;
    return VIVERO_HALT; /* with this answer it has done its work */
}

defsynch(backend, struct vivero_nothing, hurry)
{
    printf("google is late: %s\n",
           vivero_error_name(vivero_reply(*backend_payload(self),
                                          vivero_argument(self),
                                          sizeof(struct result))));
    return VIVERO_HALT;
}

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

static int by_score(const void *a, const void *b)
{
    return ((const struct result *)b)->score -
           ((const struct result *)a)->score;
}

static void print_answers(const struct vivero_future *calls)
{
    struct result top[BACKENDS];
    size_t count = 0;

    printf("%s\n", vivero_error_name(vivero_future_wait_all(
                       calls, BACKENDS, VIVERO_MILLISECONDS(500))));
    for (int i = 0; i < BACKENDS; i++) {
        int error = vivero_future_wait(calls[i], &top[count], sizeof(*top), 0);

        if (error == VIVERO_OK) {
            count++;
            continue;
        }
        printf("%s: %s\n", jobs[i].backend, vivero_error_name(error));
        vivero_future_abandon(calls[i]);
    }
    qsort(top, count, sizeof(*top), by_score);
    for (size_t i = 0; i < count; i++) {
        printf("%s %d\n", top[i].backend, top[i].score);
    }
}

int main(void)
{
    const struct vivero_worker_options *worker =
        VIVERO_WORKER_OPTIONS_OF(backend, .label = "backend");
    const struct vivero_child_spec *spec =
        VIVERO_CHILD_SPEC(.ops = &vivero_child_worker, .options = worker,
                          .restart = VIVERO_TEMPORARY);
    struct backend backends[BACKENDS];
    struct vivero_future calls[BACKENDS];
    struct vivero_ref supervisor;

    check(vivero_supervisor_start(
              VIVERO_SUPERVISOR_OPTIONS(.strategy = VIVERO_DYNAMIC,
                                        .template_ = spec),
              &supervisor, NULL),
          "start");
    for (int i = 0; i < BACKENDS; i++) {
        check(vivero_supervisor_start_child_with(
                  supervisor, &jobs[i], sizeof(jobs[i]), VIVERO_FOREVER,
                  &backends[i].ref),
              "start_child");
        check(backend_compute_async(&backends[i], NULL, &calls[i]), "call");
    }
    print_answers(calls);
    check(backend_hurry(&backends[GOOGLE], NULL), "hurry");
    check(vivero_supervisor_stop(supervisor, NULL, VIVERO_FOREVER), "stop");
    return 0;
}
