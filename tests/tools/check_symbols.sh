#!/bin/sh
# The library shows its own names only; a stray one is noticed.
set -eu
tool=${top_srcdir:?}/tools/check-symbols
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sh "$tool" "${top_builddir:?}/.libs"

archive() { # source line
    rm -f "$scratch/libvivero.a"
    echo "$1" >"$scratch/x.c"
    $CC -c -o "$scratch/x.o" "$scratch/x.c"
    ar crs "$scratch/libvivero.a" "$scratch/x.o"
}

if sh "$tool" "$scratch" >/dev/null; then
    echo "a missing library was not noticed"
    exit 1
fi
archive 'int vivero_x; int vv_y; static int z; int *vv_w(void) { return &z; }'
sh "$tool" "$scratch"
archive 'int vivero_x = 1; int log_init(void) { return 0; }'
if sh "$tool" "$scratch" >/dev/null; then
    echo "an unprefixed symbol was not noticed"
    exit 1
fi
