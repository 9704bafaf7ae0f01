/* SPDX-License-Identifier: MIT */
/* Links: who ends with whom. You will see:
 *
 *   {:DOWN, :failed}
 *   {:EXIT, :failed}
 *   {:DOWN, :failed}
 *   Received: hello
 *   {:EXIT, :normal}
 *   Received: one
 *   Received: two
 *   {:EXIT, :killed}
 *   GONE
 *
 * A process crashes that nobody is linked to: main watches it and is told. One
 * crashes that main is linked to: main traps exits, as every attached thread
 * does, and so it is told instead of ending, too. One that traps nothing ends
 * with the process it is linked to, for the same reason. Then main is linked to
 * one that prints what it receives, until it is asked to exit; and to another,
 * which is killed. What is sent after that goes nowhere. */
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>

enum tag { SAY = 1, EXIT, PRINTED };

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

static void crash(struct vivero_self *self, void *argument)
{
    (void)self, (void)argument;
    vivero_exit(1, "no reason at all");
}

static void start_one_that_crashes(struct vivero_self *self, void *argument)
{
    const struct vivero_info *info;
    struct vivero_ref child;

    (void)self, (void)argument;
    check(vivero_spawn_link(NULL, crash, NULL, &child), "spawn_link");
    check(vivero_receive(&info, VIVERO_FOREVER), "receive"); /* ends here */
}

static void print_received(struct vivero_self *self, void *argument)
{
    const struct vivero_info *info;

    (void)self, (void)argument;
    for (;;) {
        check(vivero_receive(&info, VIVERO_FOREVER), "receive");
        if (info->tag == EXIT) {
            return;
        }
        printf("Received: %s\n", (const char *)info->data);
        vivero_tell(info->from, PRINTED, NULL, 0);
    }
}

static void say(struct vivero_ref process, const char *word, size_t size)
{
    const struct vivero_info *info;

    check(vivero_tell(process, SAY, word, size), "tell");
    check(vivero_receive(&info, VIVERO_FOREVER), "receive"); /* PRINTED */
}

static void print_end(void)
{
    const struct vivero_info *info;

    check(vivero_receive(&info, VIVERO_FOREVER), "receive");
    printf("{:%s, :%s}\n", info->kind == VIVERO_INFO_EXIT ? "EXIT" : "DOWN",
           vivero_exit_kind_name(info->exit.kind));
}

int main(void)
{
    struct vivero_monitor monitor;
    struct vivero_ref process;

    check(vivero_attach(NULL, &process), "attach");

    check(vivero_spawn_monitor(NULL, crash, NULL, &process, &monitor),
          "spawn_monitor");
    print_end();
    check(vivero_spawn_link(NULL, crash, NULL, &process), "spawn_link");
    print_end();
    check(vivero_spawn_monitor(NULL, start_one_that_crashes, NULL, &process,
                               &monitor),
          "spawn_monitor");
    print_end();

    check(vivero_spawn_link(NULL, print_received, NULL, &process),
          "spawn_link");
    say(process, "hello", sizeof("hello"));
    check(vivero_tell(process, EXIT, NULL, 0), "tell");
    print_end();

    check(vivero_spawn_link(NULL, print_received, NULL, &process),
          "spawn_link");
    say(process, "one", sizeof("one"));
    say(process, "two", sizeof("two"));
    check(vivero_kill(process), "kill");
    print_end();
    printf("%s\n", vivero_error_name(vivero_tell(process, SAY, "three", 6)));
    vivero_detach(NULL);
    return 0;
}
