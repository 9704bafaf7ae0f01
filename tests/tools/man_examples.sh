#!/bin/sh
# SPDX-License-Identifier: MIT
# The examples in the manual pages compile without a warning; those that are
# whole programs link as well, run, and end with status 0.
set -eu

: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${top_builddir:=$top_srcdir/build}"
: "${CC:=cc}" "${NM:=nm}"
library=$top_builddir/.libs/libvivero.so
if [ ! -f "$library" ] || $NM -D "$library" | grep -q 'U __[at]san_init'; then
    exit 77 # a program without the sanitizer cannot load it
fi
flags="-std=c11 -D_DEFAULT_SOURCE -Wall -Wextra -Werror -I$top_srcdir/include"
folder=$(mktemp -d) || exit 99
trap 'rm -rf "$folder"' EXIT
cd "$folder"

# A literal block that includes a header of ours is an example.
for page in "$top_srcdir"/man/*.[37]; do
    awk -v name="${page##*/}" '
    /^\.Ed/ { if (ours) printf "%s", text >(name "-" ++n ".c"); inside = ours = 0 }
    inside { gsub(/\\e/, "\\"); text = text $0 "\n" }
    inside && /^#include <vivero\// { ours = 1 }
    /^\.Bd -literal/ { inside = 1; text = "" }' "$page"
done
failed=0
for example in *.c; do
    program=./${example%.c}
    # shellcheck disable=SC2086
    if ! grep -q '^int main(' "$example"; then
        $CC $flags -Wno-unused -c "$example" -o example.o || failed=1
    elif ! $CC $flags "$example" -o "$program" "$library" -lm -pthread ||
        ! LD_LIBRARY_PATH=$top_builddir/.libs timeout 60 "$program" >output 2>&1; then
        echo "$example does not compile, or does not end well" && cat output
        failed=1
    fi
done
exit $failed
