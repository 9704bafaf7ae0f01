/* SPDX-License-Identifier: MIT */
/* A stranger's program, compiled as C and as C++ against the installed
 * library. Prints the version it runs with, which must be the one it was
 * compiled for. */
#include <vivero/vivero.h>

#include <stdio.h>
#include <string.h>

int main(void)
{
    char compiled_for[64];

    snprintf(compiled_for, sizeof(compiled_for), "%d.%d.%d",
             VIVERO_VERSION_MAJOR, VIVERO_VERSION_MINOR, VIVERO_VERSION_PATCH);
    printf("vivero %s, %s\n", vivero_version(), vivero_strerror(VIVERO_OK));
    return strcmp(compiled_for, vivero_version()) == 0 ? 0 : 1;
}
