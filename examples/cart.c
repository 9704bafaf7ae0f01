/* SPDX-License-Identifier: MIT */
/* A cart for each customer: workers of one kind, each with memory of its own.
 * You will see:
 *
 *   :ok
 *   :ok
 *   ["apple", "bread"]
 *   []
 *
 * Two items are added to the first cart, and the second stays empty. A cart is a
 * list that grows with malloc(); what init and the handlers take, destroy gives
 * back, however the worker ends. The view is printed by the cart: what it owns
 * stays on its thread. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct item {
    struct item *next;
    char name[16];
};

struct items {
    struct item *first;
    struct item **end; /* where the next one goes */
};

/* What is sent is copied: the name itself, not where it stands. */
struct name {
    char text[16];
};

VIVERO_WORKER_TYPE(cart, struct items);

defsynch(cart, struct vivero_nothing, add, (struct name, name))
{
    struct items *items = cart_payload(self);
    struct item *item = malloc(sizeof(*item));

    if (item == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    item->next = NULL;
    memcpy(item->name, name.text, sizeof(item->name));
    *items->end = item;
    items->end = &item->next;
    return VIVERO_OK;
}

defsynch(cart, struct vivero_nothing, view)
{
    const char *before = "";

    printf("[");
    for (const struct item *item = cart_payload(self)->first; item != NULL;
         item = item->next) {
        printf("%s\"%s\"", before, item->name);
        before = ", ";
    }
    printf("]\n");
    return VIVERO_OK;
}

static int init(struct vivero_self *self, void *payload, void *ctx)
{
    struct items *items = payload;

    (void)self, (void)ctx;
    items->end = &items->first;
    return VIVERO_OK;
}

static void destroy(void *payload, void *ctx)
{
    struct items *items = payload;

    (void)ctx;
    while (items->first != NULL) {
        struct item *item = items->first;

        items->first = item->next;
        free(item);
    }
}

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

int main(void)
{
    struct cart alice, bob;

    check(cart_start(VIVERO_WORKER_OPTIONS(.label = "alice", .init = init,
                                           .destroy = destroy),
                     &alice),
          "start");
    check(cart_start(VIVERO_WORKER_OPTIONS(.label = "bob", .init = init,
                                           .destroy = destroy),
                     &bob),
          "start");
    check(cart_add(&alice, (struct name){"apple"}, NULL), "add");
    printf(":ok\n");
    check(cart_add(&alice, (struct name){"bread"}, NULL), "add");
    printf(":ok\n");
    check(cart_view(&alice, NULL), "view");
    check(cart_view(&bob, NULL), "view");
    check(cart_stop(&alice), "stop");
    check(cart_stop(&bob), "stop");
    return 0;
}
