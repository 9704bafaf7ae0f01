/* SPDX-License-Identifier: MIT */
#ifndef OS_PAGES_H
#define OS_PAGES_H

#include <stddef.h>

/* Zeroed memory from the system itself, for what is never given back and so must
 * not come from an allocator that the program may exchange. NULL: none left. */
void *vv_pages_map(size_t size);
/* Of what nobody was shown. */
void vv_pages_unmap(void *pages, size_t size);

#endif
