/* SPDX-License-Identifier: MIT */
/* cpu: how many, and which.
 *
 * Model.    Two bounds: the affinity mask, which says where threads may run,
 *           and the cgroup's quota, which says how much of the time. A program
 *           in a container with "2 CPUs" usually sees all of the machine in its
 *           mask, and 64 threads on a quota of 2 are throttled most of the
 * time. Cgroups.  /proc/self/cgroup names our group, in version 1 per
 * controller: "4:cpu,cpuacct:/system.slice/x"     version 1
 *             "0::/system.slice/x"                version 2
 *           A line with the cpu controller wins: then it is not in version 2's
 *           hands. Every group above ours may have a lower quota, so all of
 *           them are asked up to the mount point. In a container the path may
 *           be the host's and not exist here; the mount point then *is* our
 *           group. Missing files are no limit.
 * Rejected. /proc/self/mountinfo to find the mount points: the paths below are
 *           where every distribution has them, and a wrong guess costs no more
 *           than a quota that is not seen. */
#include "os/cpu.h"

#include <vivero/error.h>

#include "base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CGROUPS "/proc/self/cgroup"
#define MOUNT "/sys/fs/cgroup"

#define TEXT_MAX 4096 /* of a file in /proc or /sys that we read */
#define PATH_MAX_SIZE 1024

/* Linux is built for at most 8192 CPUs today; ids here are 16 bits wide. */
#define MASK_BITS 65536
#define WORD_BITS (8 * sizeof(unsigned long))

/* ------------------------------------------------------------------------ */
/* Quota                                                                    */
/* ------------------------------------------------------------------------ */

uint32_t vv_cpu_parse_quota(const char *text)
{
    char *rest = NULL;
    long long quota;
    long long period;
    long long cpus;

    quota = strtoll(text, &rest, 10);
    if (rest == text || *rest != ' ' || quota <= 0) {
        return 0;
    }
    text = rest;
    period = strtoll(text, &rest, 10);
    if (rest == text || (*rest != '\0' && *rest != '\n') || period <= 0) {
        return 0;
    }
    cpus = quota / period + (quota % period != 0);
    return cpus > UINT32_MAX ? UINT32_MAX : (uint32_t)cpus;
}

/* The start of a file as text; false if there is none. */
static bool read_text(const char *path, char *text, size_t size)
{
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t used = 0;
    ssize_t got = 1;

    if (fd < 0) {
        return false;
    }
    while (got > 0 && used < size - 1) {
        got = read(fd, text + used, size - 1 - used);
        used += got > 0 ? (size_t)got : 0;
    }
    text[used] = '\0';
    (void)close(fd);
    return used > 0;
}

/* A file of a group, without its newline; false if there is none. */
static bool read_group(const char *group, const char *file, char *text,
                       size_t size)
{
    char path[PATH_MAX_SIZE + 32];
    const int length = snprintf(path, sizeof(path), "%s/%s", group, file);

    if (length < 0 || (size_t)length >= sizeof(path) ||
        !read_text(path, text, size)) {
        return false;
    }
    text[strcspn(text, "\n")] = '\0';
    return true;
}

static uint32_t quota_of_group(const char *group)
{
    char quota[32];
    char period[32];
    char both[sizeof(quota) + sizeof(period)];

    if (read_group(group, "cpu.max", both, sizeof(both))) {
        return vv_cpu_parse_quota(both);
    }
    if (!read_group(group, "cpu.cfs_quota_us", quota, sizeof(quota)) ||
        !read_group(group, "cpu.cfs_period_us", period, sizeof(period))) {
        return 0;
    }
    (void)snprintf(both, sizeof(both), "%s %s", quota, period);
    return vv_cpu_parse_quota(both);
}

static uint32_t lower_quota(uint32_t one, uint32_t other)
{
    if (one == 0 || other == 0) {
        return one + other;
    }
    return one < other ? one : other;
}

/* The lowest quota from mount + group up to mount itself. */
static uint32_t quota_up_from(const char *mount, const char *group)
{
    const size_t mount_length = strlen(mount);
    char path[PATH_MAX_SIZE];
    uint32_t quota = 0;
    const int length = snprintf(path, sizeof(path), "%s%s", mount, group);

    if (length < 0 || (size_t)length >= sizeof(path)) {
        return quota_of_group(mount);
    }
    for (;;) {
        char *end = strrchr(path + mount_length, '/');

        quota = lower_quota(quota, quota_of_group(path));
        if (end == NULL) {
            return quota;
        }
        *end = '\0';
    }
}

/* Whether a comma-separated list of controllers names cpu. */
static bool has_cpu(const char *controllers)
{
    while (*controllers != '\0') {
        const size_t length = strcspn(controllers, ",");

        if (length == 3 && memcmp(controllers, "cpu", 3) == 0) {
            return true;
        }
        controllers += length;
        controllers += *controllers == ',';
    }
    return false;
}

static uint32_t quota_below(const char *mount, const char *folder,
                            const char *group)
{
    char path[PATH_MAX_SIZE];
    const int length = snprintf(path, sizeof(path), "%s/%s", mount, folder);

    if (length < 0 || (size_t)length >= sizeof(path)) {
        return 0;
    }
    return quota_up_from(path, group);
}

/* Version 1 mounts "cpu,cpuacct" together but links "cpu" to it. */
static uint32_t quota_version_1(const char *mount, const char *group)
{
    return quota_below(mount, "cpu", group);
}

/* Beside version 1, version 2 is mounted in "unified". */
static uint32_t quota_version_2(const char *mount, const char *group)
{
    return lower_quota(quota_up_from(mount, group),
                       quota_below(mount, "unified", group));
}

uint32_t vv_cpu_read_quota(const char *cgroups, const char *mount)
{
    char text[TEXT_MAX];
    char *next = text;
    char *line;
    uint32_t quota = 0;

    if (!read_text(cgroups, text, sizeof(text))) {
        return 0;
    }
    while ((line = strsep(&next, "\n")) != NULL) {
        char *group = line;
        const char *controllers;

        (void)strsep(&group, ":");
        controllers = strsep(&group, ":");
        if (controllers == NULL || group == NULL) {
            continue;
        }
        if (has_cpu(controllers)) {
            return quota_version_1(mount, group);
        }
        if (*controllers == '\0') {
            quota = quota_version_2(mount, group);
        }
    }
    return quota;
}

/* ------------------------------------------------------------------------ */
/* Affinity                                                                 */
/* ------------------------------------------------------------------------ */

static uint32_t count_affinity(void)
{
    /* As large as a mask can be: there is nothing to grow and retry. */
    unsigned long mask[MASK_BITS / WORD_BITS];
    uint32_t count = 0;
    long online;

    memset(mask, 0, sizeof(mask));
    if (sched_getaffinity(0, sizeof(mask), (cpu_set_t *)(void *)mask) == 0) {
        for (size_t i = 0; i < MASK_BITS / WORD_BITS; i++) {
            count += (uint32_t)__builtin_popcountl(mask[i]);
        }
    }
    if (count > 0) {
        return count;
    }
    online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? (uint32_t)online : 1;
}

uint32_t vv_cpu_usable(void)
{
    return lower_quota(count_affinity(), vv_cpu_read_quota(CGROUPS, MOUNT));
}

static int error_of(int system_error)
{
    switch (system_error) {
    case EPERM:
        return VIVERO_E_DENIED;
    default:
        return VIVERO_E_INVALID;
    }
}

int vv_cpu_pin_self(const uint16_t *cpus, size_t count)
{
    const size_t size = MASK_BITS / 8;
    unsigned long *mask = vv_allocate(NULL, size, _Alignof(unsigned long));
    int error = VIVERO_OK;

    if (mask == NULL) {
        return VIVERO_E_NO_MEMORY;
    }
    for (size_t i = 0; i < count; i++) {
        mask[cpus[i] / WORD_BITS] |= 1UL << (cpus[i] % WORD_BITS);
    }
    if (sched_setaffinity(0, size, (const cpu_set_t *)(const void *)mask) !=
        0) {
        error = error_of(errno);
    }
    vv_release(NULL, mask, size, _Alignof(unsigned long));
    return error;
}

void vv_cpu_yield(void)
{
    (void)sched_yield();
}
