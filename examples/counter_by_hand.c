/* SPDX-License-Identifier: MIT */
/* A counter of nothing but a function and messages. You will see:
 *
 *   2                       after inc, inc
 *   1                       after dec
 *   :timeout                it is suspended, and answers nothing
 *   2                       one inc later, and resumed: a late 1 is passed over
 *   ** (exit) timed_out     whoever asks in vain once more ends
 *
 * See counter.c for calls, which do all this. */
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>

enum tag { INC = 1, DEC, VAL, ANSWER };

struct answer {
    uint64_t question; /* its number */
    long value;
};

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

static void count(struct vivero_self *self, void *argument)
{
    const struct vivero_info *info;
    long total = 0;

    (void)self, (void)argument;
    while (vivero_receive(&info, VIVERO_FOREVER) == VIVERO_OK) {
        if (info->tag == VAL) {
            const uint64_t *question = info->data;
            const struct answer answer = {*question, total};

            vivero_tell(info->from, ANSWER, &answer, sizeof(answer));
        } else {
            total += info->tag == INC ? 1 : -1;
        }
    }
}

/* The number tells the answer from those to earlier questions. */
static int val(struct vivero_ref counter, int64_t timeout_ns, long *value)
{
    static _Thread_local uint64_t question;
    int64_t deadline_ns = vivero_now() + timeout_ns;
    const struct vivero_info *info;
    const struct answer *answer;
    int error;

    question++;
    error = vivero_tell(counter, VAL, &question, sizeof(question));
    while (error == VIVERO_OK) {
        error = vivero_receive(&info, deadline_ns - vivero_now());
        answer = error == VIVERO_OK ? info->data : NULL;
        if (answer != NULL && answer->question == question) {
            *value = answer->value;
            break;
        }
    }
    return error;
}

static void print_val(struct vivero_ref counter, int64_t timeout_ns)
{
    long value;
    int error = val(counter, timeout_ns, &value);

    if (error == VIVERO_E_TIMED_OUT) {
        printf(":timeout\n");
        return;
    }
    check(error, "val");
    printf("%ld\n", value);
}

static void use(struct vivero_self *self, void *argument)
{
    struct vivero_ref counter = *(struct vivero_ref *)argument;
    long value;

    (void)self;
    check(vivero_tell(counter, INC, NULL, 0), "inc");
    check(vivero_tell(counter, INC, NULL, 0), "inc");
    print_val(counter, VIVERO_SECONDS(5));
    check(vivero_tell(counter, DEC, NULL, 0), "dec");
    print_val(counter, VIVERO_SECONDS(5));
    check(vivero_worker_suspend(counter, VIVERO_SECONDS(5)), "suspend");
    print_val(counter, VIVERO_MILLISECONDS(20));
    check(vivero_tell(counter, INC, NULL, 0), "inc");
    check(vivero_worker_resume(counter, VIVERO_SECONDS(5)), "resume");
    print_val(counter, VIVERO_SECONDS(5));
    check(vivero_worker_suspend(counter, VIVERO_SECONDS(5)), "suspend");
    if (val(counter, VIVERO_MILLISECONDS(20), &value) != VIVERO_OK) {
        vivero_exit_with(&(struct vivero_exit){VIVERO_EXIT_TIMED_OUT, 0, ""});
    }
}

int main(void)
{
    const struct vivero_info *info;
    struct vivero_monitor monitor;
    struct vivero_ref user, counter;

    check(vivero_attach(NULL, &user), "attach"); /* to be told of the end */
    check(vivero_spawn(NULL, count, NULL, &counter), "spawn");
    check(vivero_spawn_monitor(NULL, use, &counter, &user, &monitor), "spawn");
    check(vivero_receive(&info, VIVERO_FOREVER), "receive");
    printf("** (exit) %s\n", vivero_exit_kind_name(info->exit.kind));
    check(vivero_worker_stop(counter, NULL, VIVERO_FOREVER), "stop");
    vivero_detach(NULL);
    return 0;
}
