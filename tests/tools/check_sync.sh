#!/bin/sh
# Every memory order in the tree has its note and its partner; each kind of
# mistake is noticed.
set -eu
tool=${top_srcdir:?}/tools/check-sync
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

sh "$tool" "$top_srcdir"

expect() { # status; the source comes on standard input
    cat >"$scratch/x.c"
    status=0
    sh "$tool" "$scratch/x.c" >"$scratch/out" || status=$?
    if [ "$status" -ne "$1" ]; then
        cat "$scratch/x.c" "$scratch/out"
        echo "expected status $1, got $status"
        exit 1
    fi
}

expect 0 <<'END'
/* sync(x.flag): publishes value. */
atomic_store_explicit(&flag, 1, memory_order_release);
/* sync(x.flag): sees value. */
atomic_load_explicit(&flag, memory_order_acquire);
/* relaxed: statistics only. */
atomic_fetch_add_explicit(&count, 1, memory_order_relaxed);
/* A comment may say memory_order_seq_cst or atomic_load(x). */
END
expect 0 <<'END'
/* sync(x.flag): publishes value. */
/* sync(x.other): and the rest. */
atomic_exchange_explicit(&flag, 1, memory_order_acq_rel);
END
expect 1 <<'END'
atomic_store_explicit(&flag, 1, memory_order_release);
END
expect 1 <<'END'
/* sync(x.flag): nobody listens. */
atomic_store_explicit(&flag, 1, memory_order_release);
END
expect 1 <<'END'
/* sync(x.flag): nobody speaks. */
atomic_load_explicit(&flag, memory_order_acquire);
END
expect 1 <<'END'
/* relaxed: but it is not. */
atomic_store_explicit(&flag, 1, memory_order_release);
END
expect 1 <<'END'
atomic_store(&flag, 1);
END
expect 1 <<'END'
/* sync(x.flag): all of it. */
atomic_thread_fence(memory_order_seq_cst);
END
