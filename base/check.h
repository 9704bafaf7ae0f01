/* SPDX-License-Identifier: MIT */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#include <vivero/api.h>

/* A caller's bug: always on. The sentence names the object. */
#define VV_CHECK(condition_, ...)                                              \
    do {                                                                       \
        if (__builtin_expect(!(condition_), 0)) {                              \
            vv_misuse(__VA_ARGS__);                                            \
        }                                                                      \
    } while (0)

/* Our own bug: debug builds only (--enable-debug). */
#ifdef VV_DEBUG
#define VV_ASSERT(condition_)                                                  \
    do {                                                                       \
        if (!(condition_)) {                                                   \
            vv_misuse("internal: %s:%d: %s", __FILE__, __LINE__, #condition_); \
        }                                                                      \
    } while (0)
#else
#define VV_ASSERT(condition_) ((void)sizeof(condition_))
#endif

/* Calls the misuse hook with the formatted sentence, then aborts. Allocates
 * nothing. */
_Noreturn void vv_misuse(const char *format, ...) VIVERO_PRINTF(1, 2);

#define VV_NO_TAIL_PADDING(type_, last_)                                       \
    _Static_assert(offsetof(type_, last_) + sizeof(((type_ *)0)->last_) ==     \
                       sizeof(type_),                                          \
                   #type_ " ends in padding")

#endif
