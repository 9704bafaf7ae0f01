/* SPDX-License-Identifier: MIT */
#ifndef VIVERO_API_H
#define VIVERO_API_H

/* What every public header needs: version, visibility, small attributes. */

#include <stddef.h>
#include <stdint.h>

#define VIVERO_VERSION_MAJOR 0
#define VIVERO_VERSION_MINOR 1
#define VIVERO_VERSION_PATCH 0

#if defined(__GNUC__)
#define VIVERO_API __attribute__((visibility("default")))
#define VIVERO_MUST_USE __attribute__((warn_unused_result))
#define VIVERO_UNUSED __attribute__((unused))
#define VIVERO_PRINTF(format_, first_) \
    __attribute__((format(printf, format_, first_)))
#else
#define VIVERO_API
#define VIVERO_MUST_USE
#define VIVERO_UNUSED
#define VIVERO_PRINTF(format_, first_)
#endif

#if defined(__cplusplus)
#define VIVERO_NORETURN [[noreturn]]
#define VIVERO_BEGIN extern "C" {
#define VIVERO_END }
#else
#define VIVERO_NORETURN _Noreturn
#define VIVERO_BEGIN
#define VIVERO_END
#endif

/* In an options struct 0 asks for the written default. These two ask for an
 * explicit zero and for no bound, in any integer field that says so. */
#define VIVERO_NONE (-1)
#define VIVERO_UNLIMITED (-2)

VIVERO_BEGIN

/* The version of the library at run time, as "major.minor.patch". */
VIVERO_API const char *vivero_version(void);

VIVERO_END

#endif
