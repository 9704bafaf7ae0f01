/* SPDX-License-Identifier: MIT */
/* probe: looking at another thread from outside.
 *
 * By the kernel's number, not by pthread_t: the number of a thread that has
 * ended names nobody, or at worst a younger thread of ours. */
#include "os/probe.h"

#include <vivero/time.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* The kernel's clock of one thread's processor time: clock_getcpuclockid(3). */
#define CPU_CLOCK_OF_THREAD 6u

struct vv_probe vv_probe_self(void)
{
    struct vv_probe probe = {(int32_t)syscall(SYS_gettid)};

    return probe;
}

int64_t vv_probe_cpu_ns(const struct vv_probe *probe)
{
    clockid_t clock =
        (clockid_t)((~(unsigned)probe->thread << 3) | CPU_CLOCK_OF_THREAD);
    struct timespec used;

    if (probe->thread == 0 || clock_gettime(clock, &used) != 0) {
        return -1;
    }
    return VIVERO_SECONDS(used.tv_sec) + used.tv_nsec;
}

void vv_probe_signal(const struct vv_probe *probe, int signal)
{
    if (probe->thread != 0) {
        (void)syscall(SYS_tgkill, getpid(), probe->thread, signal);
    }
}

void vv_signal_unblock(int signal)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, signal);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

bool vv_signal_interrupts(int signal)
{
    struct sigaction action;

    if (sigaction(signal, NULL, &action) != 0) {
        return false;
    }
    return action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN &&
           (action.sa_flags & SA_RESTART) == 0;
}

static void try_stream(FILE *stream)
{
    flockfile(stream);
    funlockfile(stream);
}

void vv_streams_try(void)
{
    try_stream(stdout);
    try_stream(stderr);
}

bool vv_process_is_traced(void)
{
    static const char key[] = "TracerPid:";
    char text[2048];
    const char *found;
    ssize_t length;
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);

    if (file < 0) {
        return false;
    }
    length = read(file, text, sizeof(text) - 1);
    (void)close(file);
    text[length > 0 ? length : 0] = '\0';
    found = strstr(text, key);
    return found != NULL && strtol(found + sizeof(key) - 1, NULL, 10) != 0;
}
