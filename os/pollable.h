/* SPDX-License-Identifier: MIT */
#ifndef OS_POLLABLE_H
#define OS_POLLABLE_H

/* A descriptor that others may poll: readable exactly while it is set. The
 * caller serialises what is done with it. */

#include <stdbool.h>

struct vv_pollable {
    int fd;       /* to be polled */
    int write_fd; /* the same, where one is enough */
    bool is_set;
};

/* Not set at first. Errors: LIMIT (no more descriptors), NO_MEMORY. */
int vv_pollable_open(struct vv_pollable *pollable);
void vv_pollable_close(struct vv_pollable *pollable);
void vv_pollable_set(struct vv_pollable *pollable, bool is_set);

/* Tests make the system refuse its better way, so that the other one is
 * taken. */
void vv_pollable_refuse_eventfd(bool refuse);

#endif
