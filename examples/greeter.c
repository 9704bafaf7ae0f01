/* SPDX-License-Identifier: MIT */
/* Greeters: what is sent chooses the words. You will see:
 *
 *   Hello, Alice!
 *   Good Morning, Alice!
 *   Good Evening, Bob!
 *   true
 *   true
 *
 * The first two come from one greeter, the third from another, and both are
 * alive after that. A function that defsynch writes is a kind of message; main
 * waits for each, and so the lines of two threads come in this order. */
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>

/* A name is copied into the message, wherever it stood. */
struct name {
    char text[32];
};

VIVERO_WORKER_TYPE(greeter, struct vivero_nothing); /* nothing to remember */

defsynch(greeter, struct vivero_nothing, hello, (struct name, name))
{
    printf("Hello, %s!\n", name.text);
    return VIVERO_OK;
}

defsynch(greeter, struct vivero_nothing, good_morning, (struct name, name))
{
    printf("Good Morning, %s!\n", name.text);
    return VIVERO_OK;
}

defsynch(greeter, struct vivero_nothing, good_evening, (struct name, name))
{
    printf("Good Evening, %s!\n", name.text);
    return VIVERO_OK;
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
    struct greeter first, second;

    check(greeter_start(VIVERO_WORKER_OPTIONS(.label = "first"), &first),
          "start");
    check(greeter_start(VIVERO_WORKER_OPTIONS(.label = "second"), &second),
          "start");
    check(greeter_hello(&first, (struct name){"Alice"}, NULL), "hello");
    check(greeter_good_morning(&first, (struct name){"Alice"}, NULL),
          "good_morning");
    check(greeter_good_evening(&second, (struct name){"Bob"}, NULL),
          "good_evening");
    puts(vivero_is_alive(first.ref) ? "true" : "false");
    puts(vivero_is_alive(second.ref) ? "true" : "false");
    check(greeter_stop(&first), "stop");
    check(greeter_stop(&second), "stop");
    return 0;
}
