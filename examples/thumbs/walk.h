/* SPDX-License-Identifier: MIT */
#ifndef THUMBS_WALK_H
#define THUMBS_WALK_H

/* Finds the pictures below a folder. */

#include <stddef.h>

struct walk {
    char **name; /* relative to the folder, sorted */
    size_t count;
    size_t passed_over; /* files that are not named like pictures */
};

/* Find everything called *.png, *.jpg or *.jpeg in folder and below it, except
 * in the folder `except`. Symbolic links to files count as files, those to
 * folders are not followed. A folder below that cannot be opened is reported on
 * standard error and left out.
 *
 * Owns: the caller, until walk_fini(), whatever is returned.
 * Returns 0, or the errno that folder itself or the memory gave. */
int walk_find(struct walk *walk, const char *folder, const char *except);

void walk_fini(struct walk *walk);

#endif
