/* SPDX-License-Identifier: MIT */
#ifndef TESTS_LIB_FAULT_ALLOCATOR_H
#define TESTS_LIB_FAULT_ALLOCATOR_H

/* An allocator that counts, fails when told and looks at what comes back.
 *
 * Every operation that may report NO_MEMORY is tried in a loop like this one,
 * in which the first, the second, ... allocation fails until none does:
 *
 *     for (uint64_t n = 0; error == VIVERO_E_NO_MEMORY; n++) {
 *         fault_allocator_fail_after(n);
 *         error = open_something(&it);
 *         leaked += error != VIVERO_OK ? fault_allocator_blocks() - before : 0;
 *     }
 *     fault_allocator_fail_after(FAULT_NEVER);
 *
 * Fresh blocks are full of rubbish, so that who forgets to clear them is seen.
 * All of this may be used from any thread. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FAULT_NEVER UINT64_MAX

/* Puts it in place of the library's allocator and sets all counts to 0. False:
 * some object is still open. */
bool fault_allocator_install(void);

/* Restores the default. False: some object is still open. */
bool fault_allocator_uninstall(void);

/* The next n allocations succeed, the one after them fails, later ones succeed
 * again; FAULT_NEVER: none fails. */
void fault_allocator_fail_after(uint64_t n);

uint64_t fault_allocator_calls(void);  /* allocations asked for */
uint64_t fault_allocator_blocks(void); /* blocks held now */
uint64_t fault_allocator_bytes(void);  /* bytes held now, as asked for */

/* Releases whose size or alignment was not that of the allocation, and blocks
 * that were written to right before their beginning or after their end. */
uint64_t fault_allocator_mistakes(void);

/* What the latest allocation asked for. */
size_t fault_allocator_last_size(void);
size_t fault_allocator_last_alignment(void);

#endif
