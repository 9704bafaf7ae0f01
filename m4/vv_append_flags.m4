# VV_APPEND_FLAGS(VARIABLE, FLAGS, [OTHER-FLAGS])
# -----------------------------------------------
# Append to VARIABLE those FLAGS, one by one, with which the compiler both
# compiles and links a program. The probe runs with -Werror and, for clang, with
# unknown options and unused arguments made errors, so that a flag the compiler
# merely tolerates with a remark is left out. OTHER-FLAGS take part in every
# probe but are not appended.
#
# A FLAG may not contain blanks; -Wl,-z,relro is fine.
AC_DEFUN([VV_APPEND_FLAGS], [
AC_REQUIRE([AC_PROG_CC])dnl
m4_foreach_w([vv_flag], [$2], [_VV_APPEND_ONE_FLAG([$1], m4_defn([vv_flag]), [$3])])
])

m4_define([_VV_APPEND_ONE_FLAG], [
AS_VAR_PUSHDEF([vv_cache], [vv_cv_flag_$2])dnl
AC_CACHE_CHECK([whether $CC takes $2], [vv_cache], [
    vv_saved_CFLAGS=$CFLAGS
    CFLAGS="$CFLAGS -Werror $vv_strict_flags $3 $2"
    AC_LINK_IFELSE([AC_LANG_PROGRAM([[#include <string.h>]],
                                    [[return (int)strlen("")]])],
                   [AS_VAR_SET([vv_cache], [yes])],
                   [AS_VAR_SET([vv_cache], [no])])
    CFLAGS=$vv_saved_CFLAGS
])
AS_VAR_IF([vv_cache], [yes], [AS_VAR_APPEND([$1], [" $2"])])
AS_VAR_POPDEF([vv_cache])dnl
])

# VV_STRICT_FLAGS
# ---------------
# Find the options that make clang complain about options it does not know.
AC_DEFUN([VV_STRICT_FLAGS], [
vv_strict_flags=
VV_APPEND_FLAGS([vv_found_strict_flags],
    [-Werror=unknown-warning-option -Werror=unused-command-line-argument])
vv_strict_flags=$vv_found_strict_flags
])
