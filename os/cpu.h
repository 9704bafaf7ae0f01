/* SPDX-License-Identifier: MIT */
#ifndef OS_CPU_H
#define OS_CPU_H

#include <stddef.h>
#include <stdint.h>

/* CPUs this process may use: the affinity mask of the calling thread, lowered
 * to the cgroup's quota (v2 cpu.max, v1 cpu.cfs_quota_us/period) rounded up;
 * at least 1. */
uint32_t vv_cpu_usable(void);

/* The quota part, pure, for tests: the text of cpu.max ("max 100000",
 * "150000 100000\n") -> CPUs rounded up, 0: no limit or not understood. */
uint32_t vv_cpu_parse_quota(const char *text);

/* The lowest quota of our cgroup and those above it, from a text such as
 * /proc/self/cgroup and the tree at mount; 0: no limit. */
uint32_t vv_cpu_read_quota(const char *cgroups, const char *mount);

/* Run the calling thread on these CPUs only.
 * Errors: INVALID when none of them exists, DENIED, NO_MEMORY. */
int vv_cpu_pin_self(const uint16_t *cpus, size_t count);

/* Give the other hyper-thread a moment. */
static inline void vv_cpu_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__) || defined(__arm__)
    __asm__ volatile("yield");
#endif
}

/* Ask for a cache line that is about to be written. The compiler's own prefetch
 * asks for a readable copy only, unless told of the very CPU. */
static inline void vv_cpu_prefetch_write(const void *address)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" : : "m"(*(const char *)address));
#else
    __builtin_prefetch(address, 1, 3);
#endif
}

/* Let another thread have this CPU. */
void vv_cpu_yield(void);

#endif
