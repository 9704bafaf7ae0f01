/* SPDX-License-Identifier: MIT */
/* Functions as processes. You will see:
 *
 *   hi padawan                      a process says it,
 *   false                           and is not alive after that
 *   true                            another one sleeps first: it is alive
 *   hi padawan
 *   false
 *   Hello from a spawned process!
 *
 * Main is told of each end by a monitor. The sleeper wakes by a message that
 * comes after a while, sent only when main has seen it alive: so it was. */
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

static void say(struct vivero_self *self, void *sentence)
{
    (void)self;
    puts(sentence);
}

static void sleep_and_say(struct vivero_self *self, void *sentence)
{
    const struct vivero_info *info;

    check(vivero_receive(&info, VIVERO_FOREVER), "receive");
    say(self, sentence);
}

static void await_end(void)
{
    const struct vivero_info *info;

    do {
        check(vivero_receive(&info, VIVERO_FOREVER), "receive");
    } while (info->kind != VIVERO_INFO_DOWN);
}

static void print_alive(struct vivero_ref process)
{
    puts(vivero_is_alive(process) ? "true" : "false");
}

int main(void)
{
    char hi[] = "hi padawan", hello[] = "Hello from a spawned process!";
    struct vivero_monitor monitor;
    struct vivero_ref process;

    check(vivero_attach(NULL, &process), "attach"); /* to be told of ends */

    check(vivero_spawn_monitor(NULL, say, hi, &process, &monitor), "spawn");
    await_end();
    print_alive(process);

    check(vivero_spawn_monitor(NULL, sleep_and_say, hi, &process, &monitor),
          "spawn");
    print_alive(process);
    check(vivero_tell_after(process, VIVERO_MILLISECONDS(50), 0, NULL, 0, NULL),
          "tell_after");
    await_end();
    print_alive(process);

    check(vivero_spawn_monitor(NULL, say, hello, &process, &monitor), "spawn");
    await_end();
    vivero_detach(NULL);
    return 0;
}
