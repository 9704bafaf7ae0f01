/* SPDX-License-Identifier: MIT */
/* A worker that owns a queue. You will see:
 *
 *   1
 *   2
 *   [3]
 *   :ok
 *   [3, 20]
 *   NOT_FOUND
 *
 * It starts with [1, 2, 3]. Two are taken out, 20 is put in, and when the last
 * two are out there is nothing to be found. To put one in is a call, not a cast:
 * a queue may be full, and whoever sends has to hear of that. Arguments and
 * replies are copied, whatever their type: a list that is printed is the
 * caller's own. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct items {
    size_t count;
    int item[8];
};

VIVERO_WORKER_TYPE(queue, struct items);

defsynch(queue, int, dequeue) /* int queue_dequeue(worker, &reply) */
{
    struct items *items = queue_payload(self);

    if (items->count == 0) {
        return VIVERO_E_NOT_FOUND;
    }
    *reply = items->item[0];
    items->count--;
    memmove(&items->item[0], &items->item[1],
            items->count * sizeof(items->item[0]));
    return VIVERO_OK;
}

defsynch(queue, struct vivero_nothing, enqueue, (int, item))
{
    struct items *items = queue_payload(self);

    if (items->count == sizeof(items->item) / sizeof(items->item[0])) {
        return VIVERO_E_LIMIT;
    }
    items->item[items->count++] = item;
    return VIVERO_OK;
}

defsynch(queue, struct items, list)
{
    *reply = *queue_payload(self);
    return VIVERO_OK;
}

static int init(struct vivero_self *self, void *payload, void *ctx)
{
    (void)ctx;
    memcpy(payload, vivero_argument(self), sizeof(struct items));
    return VIVERO_OK;
}

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

static void print_next(struct queue *queue)
{
    int item;

    check(queue_dequeue(queue, &item), "dequeue");
    printf("%d\n", item);
}

static void print_list(struct queue *queue)
{
    struct items items;

    check(queue_list(queue, &items), "list");
    for (size_t i = 0; i < items.count; i++) {
        printf("%s%d", i == 0 ? "[" : ", ", items.item[i]);
    }
    printf("%s\n", items.count == 0 ? "[]" : "]");
}

int main(void)
{
    const struct items initial = {3, {1, 2, 3}};
    struct queue queue;

    check(queue_start(VIVERO_WORKER_OPTIONS(.name = "queue", .init = init,
                                            .argument = &initial,
                                            .argument_size = sizeof(initial)),
                      &queue),
          "start");
    print_next(&queue);
    print_next(&queue);
    print_list(&queue);
    check(queue_enqueue(&queue, 20, NULL), "enqueue");
    printf(":ok\n");
    print_list(&queue);
    check(queue_dequeue(&queue, NULL), "dequeue");
    check(queue_dequeue(&queue, NULL), "dequeue");
    printf("%s\n", vivero_error_name(queue_dequeue(&queue, NULL)));
    check(queue_stop(&queue), "stop");
    return 0;
}
