#!/bin/sh
# The tree keeps to its layers; each kind of violation is noticed.
set -eu
tool=${top_srcdir:?}/tools/check-layers
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sh "$tool" "$top_srcdir"

mkdir -p "$scratch/tools" "$scratch/base" "$scratch/mailbox" "$scratch/pool" \
    "$scratch/examples" "$scratch/tests/unit"
cp "$top_srcdir/tools/layers" "$scratch/tools"

expect() { # status, file, include line
    echo "$3" >"$scratch/$2"
    status=0
    sh "$tool" "$scratch" >"$scratch/out" || status=$?
    rm "$scratch/$2"
    if [ "$status" -ne "$1" ]; then
        cat "$scratch/out"
        echo "$2 with '$3': expected status $1, got $status"
        exit 1
    fi
}

expect 0 pool/pool.c '#include "mailbox/mailbox.h"'
expect 0 pool/pool.c '#include <vivero/pool_define.h>'
expect 0 pool/pool.c '#include <stdio.h>'
expect 0 mailbox/mailbox.c '#include "mailbox/mailbox_private.h"'
expect 0 examples/pool.c '#include <vivero/vivero.h>'
expect 0 examples/pool.c '#include "neighbour.h"'
expect 0 tests/unit/test_pool.c '#include "pool/pool_private.h"'
expect 1 mailbox/mailbox.c '#include "pool/pool.h"'
expect 1 mailbox/mailbox.c '#include <vivero/pool_define.h>'
expect 1 base/log.c '#  include "os/mutex.h"'
expect 1 pool/pool.c '#include "mailbox/mailbox_private.h"'
expect 1 pool/pool.c '#include "../pool/pool.h"'
expect 1 pool/pool.c '#include "pool.h"'
expect 1 pool/pool.c '#include <vivero/vivero.h>'
expect 1 pool/pool.c '#include "elsewhere/thing.h"'
expect 1 examples/pool.c '#include "pool/pool.h"'
