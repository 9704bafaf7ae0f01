/* SPDX-License-Identifier: MIT */
#include "os/pages.h"

#include <sys/mman.h>

void *vv_pages_map(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return pages != MAP_FAILED ? pages : NULL;
}

void vv_pages_unmap(void *pages, size_t size)
{
    (void)munmap(pages, size);
}
