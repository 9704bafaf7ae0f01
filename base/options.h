/* SPDX-License-Identifier: MIT */
#ifndef BASE_OPTIONS_H
#define BASE_OPTIONS_H

#include <stddef.h>

/* Copy a caller's options struct, whose first member is its size, into ours.
 *
 * to is zeroed first and to->size set to to_size. from NULL: all defaults. An
 * older, shorter from leaves the rest at its default; a newer, longer one is
 * accepted if what we do not know is zero.
 * Errors: VIVERO_E_INVALID for a size smaller than size_t or an unknown
 * non-zero tail. */
int vv_options_copy(void *to, size_t to_size, const void *from);

#endif
