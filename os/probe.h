/* SPDX-License-Identifier: MIT */
#ifndef OS_PROBE_H
#define OS_PROBE_H

#include <stdbool.h>
#include <stdint.h>

/* Looking at another thread from outside. A plain value; that the thread has
 * ended meanwhile is harmless. */
struct vv_probe {
    int32_t thread; /* the system's number; 0: none */
};

/* Of the calling thread. */
struct vv_probe vv_probe_self(void);

/* Processor time the thread has used; -1: it has ended. */
int64_t vv_probe_cpu_ns(const struct vv_probe *probe);

/* Send it a signal. */
void vv_probe_signal(const struct vv_probe *probe, int signal);

/* Let the calling thread take this signal. */
void vv_signal_unblock(int signal);
/* Whether the program has a handler for it that interrupts system calls. */
bool vv_signal_interrupts(int signal);

/* Take and leave the locks of standard output and error. Does not come back if
 * whoever has them never lets them go. */
void vv_streams_try(void);

/* Whether somebody debugs this process. Reads a file. */
bool vv_process_is_traced(void);

#endif
