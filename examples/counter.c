/* SPDX-License-Identifier: MIT */
/* A counter: a worker on its own that owns a number. You will see:
 *
 *   {:ok, counter}
 *   :ok
 *   :ok
 *   8
 *
 * It starts with 10. The two that take one away are casts, which say that they
 * were accepted; the last is a call, which brings the answer. What one thread
 * sends is handled in order, so the answer knows of both casts. How this looks
 * without callbacks is in counter_by_hand.c. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>

VIVERO_WORKER_TYPE(counter, long); /* workers that own a long */

defasynch(counter, inc) /* int counter_inc(worker) */
{
    ++*counter_payload(self);
    return VIVERO_OK;
}

defasynch(counter, dec) /* int counter_dec(worker) */
{
    --*counter_payload(self);
    return VIVERO_OK;
}

defsynch(counter, long, val) /* int counter_val(worker, &reply) */
{
    *reply = *counter_payload(self);
    return VIVERO_OK;
}

/* Before the first message: the number is what the start was given. */
static int init(struct vivero_self *self, void *payload, void *ctx)
{
    const long *initial = vivero_argument(self);
    long *total = payload;

    (void)ctx;
    *total = *initial;
    return VIVERO_OK;
}

/* How Elixir shows a status. */
static const char *status(int error)
{
    return error == VIVERO_OK ? ":ok" : vivero_error_name(error);
}

int main(void)
{
    const long initial = 10;
    struct counter counter;
    long value;
    int error =
        counter_start(VIVERO_WORKER_OPTIONS(.name = "counter", .init = init,
                                            .argument = &initial,
                                            .argument_size = sizeof(initial)),
                      &counter);

    if (error != VIVERO_OK) {
        fprintf(stderr, "start: %s\n", vivero_strerror(error));
        return 1;
    }
    printf("{:ok, counter}\n");
    printf("%s\n", status(counter_dec(&counter)));
    printf("%s\n", status(counter_dec(&counter)));
    error = counter_val(&counter, &value);
    if (error == VIVERO_OK) {
        printf("%ld\n", value);
    } else {
        printf("%s\n", status(error));
    }
    return counter_stop(&counter) == VIVERO_OK ? 0 : 1;
}
