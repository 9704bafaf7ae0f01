/* SPDX-License-Identifier: MIT */
/* pollable: an eventfd; a pipe where the system has none to give, as in some
 * sandboxes. One byte, or a count of one, stands in it while it is set, so
 * neither writing nor reading ever waits. */
#include "os/pollable.h"

#include <vivero/error.h>

#include "base/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

static _Atomic bool eventfd_is_refused;

void vv_pollable_refuse_eventfd(bool refuse)
{
    /* relaxed: a switch for tests. */
    atomic_store_explicit(&eventfd_is_refused, refuse, memory_order_relaxed);
}

static int open_eventfd(void)
{
    /* relaxed: as above. */
    return atomic_load_explicit(&eventfd_is_refused, memory_order_relaxed)
               ? -1
               : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int vv_pollable_open(struct vv_pollable *pollable)
{
    int ends[2];

    ends[0] = ends[1] = open_eventfd();
    if (ends[0] < 0 && pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return errno == ENOMEM ? VIVERO_E_NO_MEMORY : VIVERO_E_LIMIT;
    }
    *pollable = (struct vv_pollable){ends[0], ends[1], false};
    return VIVERO_OK;
}

void vv_pollable_close(struct vv_pollable *pollable)
{
    if (pollable->write_fd != pollable->fd) {
        (void)close(pollable->write_fd);
    }
    (void)close(pollable->fd);
}

/* The eight bytes of an eventfd; a pipe takes them as well. */
void vv_pollable_set(struct vv_pollable *pollable, bool is_set)
{
    uint64_t token = 1;
    ssize_t moved;

    if (is_set == pollable->is_set) {
        return;
    }
    do {
        moved = is_set ? write(pollable->write_fd, &token, sizeof(token))
                       : read(pollable->fd, &token, sizeof(token));
    } while (moved < 0 && errno == EINTR);
    VV_CHECK(moved == sizeof(token),
             "the descriptor %d of a completion queue was read, written or "
             "closed by the program",
             pollable->fd);
    pollable->is_set = is_set;
}
