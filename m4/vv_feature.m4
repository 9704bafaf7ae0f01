# VV_FEATURE(NAME, DEFAULT, HELP)
# -------------------------------
# A yes-or-no option, --enable-NAME or --disable-NAME, whichever is not the
# DEFAULT. Sets vv_NAME to yes or no; anything else on the command line is an
# error.
AC_DEFUN([VV_FEATURE], [
AC_ARG_ENABLE([$1],
    [AS_HELP_STRING([m4_if([$2], [yes], [--disable-$1], [--enable-$1])], [$3])],
    [AS_VAR_COPY([vv_$1], [enableval])],
    [AS_VAR_SET([vv_$1], [$2])])
AS_CASE([$vv_$1], [yes|no], [],
    [AC_MSG_ERROR([--enable-$1 takes yes or no, not "$vv_$1"])])
])
