#!/bin/sh
# Public headers compile alone; one that leans on another is noticed.
set -eu
tool=${top_srcdir:?}/tools/check-headers
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sh "$tool" "$top_srcdir/include"

mkdir "$scratch/vivero"
echo 'size_t vivero_count(void);' >"$scratch/vivero/leaning.h"
if sh "$tool" "$scratch" >/dev/null 2>&1; then
    echo "a header that needs another was not noticed"
    exit 1
fi
