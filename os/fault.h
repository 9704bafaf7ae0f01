/* SPDX-License-Identifier: MIT */
#ifndef OS_FAULT_H
#define OS_FAULT_H

/* Signals that a thread brings upon itself: SIGSEGV, SIGBUS, SIGILL, SIGFPE and
 * SIGABRT. Nothing here is done unless the program asked for it. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In a signal handler, on the thread at fault: by the processor, or by a call of
 * abort(). True: the thread is to stand still for good; false: the earlier
 * handler, or death, has it. */
typedef bool vv_fault_fn(int signal, const void *context);

/* Install the handlers, once. Errors: INVALID when the system refuses. */
int vv_fault_install(vv_fault_fn *decide);
bool vv_fault_is_installed(void);

/* Whether a sanitizer watches this process, whose reports must not be hidden. */
bool vv_fault_is_sanitized(void);

/* Whether the frames from the fault up to the function `until` are all code of
 * the program: none of the C library, the loader, the allocator or this
 * library; but for abort() and what it calls, where that is the fault. Where it
 * cannot be known: false. Signal handler. */
bool vv_fault_is_in_program(int signal, const void *context, uintptr_t until);

/* A stack for the handlers of the calling thread, for when its own is used up.
 * No memory: it has none. leave() puts back what was there before. */
struct vv_fault_stack {
    void *memory; /* NULL: none */
    size_t size;
    void *before; /* what there was: NULL for none */
    size_t before_size;
};
void vv_fault_stack_enter(struct vv_fault_stack *stack);
void vv_fault_stack_leave(struct vv_fault_stack *stack);

#endif
