/* SPDX-License-Identifier: MIT */
/* Processes that receive. You will see:
 *
 *   "Hey you"       received by a process that receives once,
 *   false           and is not alive after that
 *   :foo            what main sends to one that goes on,
 *   :foo            and what that has received
 *   :bar
 *   :bar
 *   :baz
 *   :baz
 *   true            it is alive
 *   nil             there is no such key in main's own dictionary;
 *   true            to delete one ends nobody
 *
 * A message is bytes with a tag: here a string, or the name of an atom. */
#include <vivero/vivero.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum tag { STRING = 1, ATOM, PRINTED };

static void check(int error, const char *what)
{
    if (error != VIVERO_OK) {
        fprintf(stderr, "%s: %s\n", what, vivero_strerror(error));
        exit(1);
    }
}

static void receive_once(struct vivero_self *self, void *argument)
{
    const struct vivero_info *info;

    (void)self, (void)argument;
    check(vivero_receive(&info, VIVERO_FOREVER), "receive");
    printf(info->tag == STRING ? "\"%s\"\n" : ":%s\n",
           (const char *)info->data);
    vivero_tell(info->from, PRINTED, NULL, 0);
}

static void receive_for_ever(struct vivero_self *self, void *argument)
{
    for (;;) {
        receive_once(self, argument);
    }
}

/* DOWN: a process has ended. MESSAGE: it has printed. */
static void await(enum vivero_info_kind kind)
{
    const struct vivero_info *info;

    do {
        check(vivero_receive(&info, VIVERO_FOREVER), "receive");
    } while (info->kind != kind);
}

static void print_alive(struct vivero_ref process)
{
    puts(vivero_is_alive(process) ? "true" : "false");
}

int main(void)
{
    static const char *const words[] = {"foo", "bar", "baz"};
    struct vivero_monitor monitor;
    struct vivero_ref process;

    check(vivero_attach(NULL, &process), "attach"); /* to receive, too */
    check(vivero_spawn_monitor(NULL, receive_once, NULL, &process, &monitor),
          "spawn");
    check(vivero_tell(process, STRING, "Hey you", sizeof("Hey you")), "tell");
    await(VIVERO_INFO_DOWN);
    print_alive(process);

    check(vivero_spawn(NULL, receive_for_ever, NULL, &process), "spawn");
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        printf(":%s\n", words[i]);
        check(vivero_tell(process, ATOM, words[i], strlen(words[i]) + 1),
              "tell");
        await(VIVERO_INFO_MESSAGE);
    }
    print_alive(process);
    puts(vivero_dictionary_delete("key") == NULL ? "nil" : "a value");
    print_alive(process);
    check(vivero_worker_stop(process, NULL, VIVERO_FOREVER), "stop");
    vivero_detach(NULL);
    return 0;
}
