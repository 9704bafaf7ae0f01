#!/bin/sh
# run-test passes a test's status on, and ends one that hangs.
set -eu
tool=${top_srcdir:?}/tools/run-test
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

expect() { # status command...
    wanted=$1
    shift
    status=0
    VV_TEST_TIMEOUT=1 sh "$tool" "$@" >"$scratch/out" 2>&1 || status=$?
    if [ "$status" -ne "$wanted" ]; then
        cat "$scratch/out"
        echo "$*: expected status $wanted, got $status"
        exit 1
    fi
}

expect 0 true
expect 1 false
expect 77 sh -c 'exit 77'
expect 124 sleep 60
grep -q 'still running after 1 seconds' "$scratch/out"
