#!/bin/sh
# SPDX-License-Identifier: MIT
# Wrong uses of the macros in <vivero/pool_define.h> do not compile, and the
# compiler names the user's own line. Each snippet marks that line "WRONG".

set -u

: "${top_srcdir:=$(cd "$(dirname "$0")/../.." && pwd)}"
: "${CC:=cc}"
flags='-std=c11 -Wall -Wextra -Wpedantic -Werror -c'
folder=$(mktemp -d) || exit 99
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT TERM
failed=0
passed=0

preamble() {
    cat <<'END'
#define VIVERO_SHORT_NAMES
#include <vivero/vivero.h>
VIVERO_POOL_TYPE(counter, long);
VIVERO_POOL_TYPE(printer, double);
struct job { int number; };
defsynch(counter, long, add, (long, n))
{
    *reply = *counter_payload(self) += n;
    return VIVERO_OK;
}
defasynch(counter, note, (const char *, text), (int, level))
{
    (void)counter_payload(self);
    return text == 0 || level == 0;
}
VIVERO_DEFSYNCH_STRUCT(counter, long, work, struct job)
{
    *reply = in->number;
    return VIVERO_OK;
}
END
}

compile() {
    # shellcheck disable=SC2086
    $CC $flags -I"$top_srcdir/include" "$folder/snippet.c" -o "$folder/snippet.o" \
        >"$folder/output" 2>&1
}

report() {
    echo "FAIL: $1: $2"
    sed 's/^/    /' "$folder/output" | head -n 20
    failed=$((failed + 1))
}

# accepts NAME < snippet
accepts() {
    { preamble; cat; } >"$folder/snippet.c"
    if compile; then
        passed=$((passed + 1))
    else
        report "$1" "does not compile"
    fi
}

# refuses NAME < snippet
refuses() {
    { preamble; cat; } >"$folder/snippet.c"
    line=$(grep -n WRONG "$folder/snippet.c" | head -n 1 | cut -d: -f1)
    if compile; then
        report "$1" "compiles"
    elif ! grep -q "snippet\.c:$line:[0-9]*: error:" "$folder/output" &&
        ! grep -q "snippet\.c:$line:[0-9]*: note: in expansion" \
            "$folder/output"; then
        report "$1" "the error does not name line $line"
    else
        passed=$((passed + 1))
    fi
}

accepts 'right use' <<'END'
int use(struct counter *pool);
int use(struct counter *pool)
{
    long total;
    struct job job = {1};
    return counter_add(pool, 1, &total) || counter_note(pool, "text", 2) ||
           counter_work(pool, &job, &total) ||
           counter_add_with(pool, VIVERO_SEND(.worker = 1), 1, &total);
}
END

refuses 'an argument of another type' <<'END'
int use(struct counter *pool);
int use(struct counter *pool)
{
    return counter_add(pool, "one", NULL); /* WRONG */
}
END

refuses 'an argument that is no pointer' <<'END'
int use(struct counter *pool);
int use(struct counter *pool)
{
    return counter_note(pool, 7, 2); /* WRONG */
}
END

refuses 'too few arguments' <<'END'
int use(struct counter *pool);
int use(struct counter *pool)
{
    return counter_note(pool, "text"); /* WRONG */
}
END

refuses 'too many arguments' <<'END'
int use(struct counter *pool);
int use(struct counter *pool)
{
    return counter_add(pool, 1, 2, NULL); /* WRONG */
}
END

refuses 'a reply of another type' <<'END'
int use(struct counter *pool);
int use(struct counter *pool)
{
    char reply;
    return counter_add(pool, 1, &reply); /* WRONG */
}
END

refuses 'a struct of another type' <<'END'
struct chore { int number; };
int use(struct counter *pool);
int use(struct counter *pool)
{
    struct chore chore = {1};
    return counter_work(pool, &chore, NULL); /* WRONG */
}
END

refuses 'a pool of another kind' <<'END'
int use(struct printer *pool);
int use(struct printer *pool)
{
    return counter_add(pool, 1, NULL); /* WRONG */
}
END

refuses 'a bare pool' <<'END'
int use(struct vivero_pool *pool);
int use(struct vivero_pool *pool)
{
    return counter_add(pool, 1, NULL); /* WRONG */
}
END

refuses 'a payload of another type' <<'END'
defsynch(counter, int, bad)
{
    double *payload = counter_payload(self); /* WRONG */
    *reply = payload != 0;
    return VIVERO_OK;
}
END

refuses 'the payload of a pool of another kind' <<'END'
defsynch(counter, int, bad)
{
    *reply = printer_payload(self) != 0; /* WRONG */
    return VIVERO_OK;
}
END

refuses 'the number of a worker of another kind' <<'END'
defasynch(counter, bad)
{
    return printer_id(self) == 1; /* WRONG */
}
END

refuses 'an unknown kind of pool' <<'END'
defasynch(stranger, bad, (int, n)) /* WRONG */
{
    return n;
}
END

refuses 'an operation defined twice' <<'END'
defsynch(counter, long, add, (long, n)) /* WRONG */
{
    *reply = n;
    return VIVERO_OK;
}
END

refuses 'halves that disagree' <<'END'
declsynch(counter, long, differ, (int, n));
defsynch(counter, long, differ, (long, n)) /* WRONG */
{
    *reply = n;
    return VIVERO_OK;
}
END

refuses 'a body that returns nothing' <<'END'
defsynch(counter, long, silent)
{
    *reply = 1;
    return; /* WRONG */
}
END

refuses 'a reply in an asynchronous body' <<'END'
defasynch(counter, chatty, (int, n))
{
    *reply = n; /* WRONG */
    return VIVERO_OK;
}
END

refuses 'nine arguments' <<'END'
defasynch(counter, nine, (int, a), (int, b), (int, c), (int, d), (int, e), (int, f), (int, g), (int, h), (int, i)) /* WRONG */
{
    return a + b + c + d + e + f + g + h + i;
}
END

refuses 'an open whose answer is thrown away' <<'END'
void use(struct counter *pool);
void use(struct counter *pool)
{
    counter_open(NULL, pool); /* WRONG */
}
END

echo "define_errors: $passed passed, $failed failed"
[ "$failed" -eq 0 ]
