#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The promises of examples/thumbs: under chaos every thumbnail is, byte for
# byte, what a run without threads makes; poison is quarantined and named; what
# cannot be done is said clearly and shows in the exit status; Ctrl-C is quick.
#
# THUMBS and THUMBS_PICTURES may name the two programs.
#
# Functions are called through check:
# shellcheck disable=SC2317

thumbs=${THUMBS:-${top_builddir:-.}/examples/thumbs/thumbs}
pictures=${THUMBS_PICTURES:-${top_builddir:-.}/tests/integration/thumbs_pictures}

if [ ! -x "$thumbs" ] || [ ! -x "$pictures" ]; then
    echo "no $thumbs or no $pictures: built without libpng and libjpeg?"
    exit 77
fi

folder=$(mktemp -d "${TMPDIR:-/tmp}/thumbs_test.XXXXXX") || exit 99
running=
trap 'test -z "$running" || kill -9 "$running" 2>/dev/null; rm -rf "$folder"' EXIT
trap 'exit 99' HUP INT TERM
failed=0

# check WHAT COMMAND...: the command must succeed.
check() {
    what=$1
    shift
    if "$@"; then
        echo "ok: $what"
    else
        echo "FAILED: $what"
        sed 's/^/    /' "$folder/stdout" "$folder/stderr"
        failed=1
    fi
}

# run ARGUMENTS...: leaves status, and the two outputs in files.
run() {
    "$thumbs" "$@" >"$folder/stdout" 2>"$folder/stderr"
    status=$?
}

# The numbers of the last line.
number() {
    tail -n 1 "$folder/stdout" | tr ',' '\n' | sed -n "s/^ *\\([0-9]*\\) $1.*/\\1/p"
}

last_line_is_well_formed() {
    tail -n 1 "$folder/stdout" | grep -Eq \
        '^[0-9]+ done, [0-9]+ lost, [0-9]+ worker deaths, [0-9]+ quarantined, [0-9]+\.[0-9]+ seconds$'
}

sums() {
    (cd "$1" && find . -type f -exec cksum {} + | sort)
}

same_as_serial() {
    sums "$1" >"$folder/sums"
    cmp -s "$folder/sums" "$folder/sums.serial"
}

says() {
    grep -q -e "$1" "$folder/stdout" "$folder/stderr"
}

# ---- The measure of all that follows ----------------------------------------

mkdir "$folder/in"
count=$("$pictures" "$folder/in") || exit 99
: >"$folder/in/no picture.txt"

run --serial "$folder/in" "$folder/serial"
sums "$folder/serial" >"$folder/sums.serial"
check "a serial run makes $count thumbnails" \
    test "$status $(number 'done') $(grep -c thumb "$folder/sums.serial")" = "0 $count $count"
check "its last line is well formed" last_line_is_well_formed
check "files that are not named like pictures are passed over" says '^thumbs: 1 files are not'

# ---- The farm ----------------------------------------------------------------

run "$folder/in" "$folder/calm"
check "a farm without chaos loses nothing and nobody" \
    test "$status $(number 'done') $(number lost) $(number 'worker deaths')" = "0 $count 0 0"
check "its thumbnails are the same" same_as_serial "$folder/calm"

for seed in 1 2 3 4 5; do
    run --chaos 20 --seed $seed --workers 3 "$folder/in" "$folder/chaos$seed"
    check "chaos with seed $seed: L is 0" \
        test "$status $(number 'done') $(number lost) $(number quarantined)" = "0 $count 0 0"
    check "chaos with seed $seed: $(number 'worker deaths') workers died" \
        test "$(number 'worker deaths')" -gt 0
    check "chaos with seed $seed: the thumbnails are the same, nothing else is left" \
        same_as_serial "$folder/chaos$seed"
done
deaths=$(number 'worker deaths')
run --chaos 20 --seed 5 --workers 1 "$folder/in" "$folder/again"
check "the same seed kills the same number, whatever the threads do" \
    test "$(number 'worker deaths')" = "$deaths"

run --chaos 100 --quiet "$folder/in" "$folder/chaos100"
check "even chaos of 100 percent ends, and loses nothing" \
    test "$status $(number 'done') $(number lost)" = "0 $count 0"
check "its thumbnails are the same" same_as_serial "$folder/chaos100"
check "--quiet is quiet" test ! -s "$folder/stderr"

# ---- Bare threads -------------------------------------------------------------

run --bare "$folder/in" "$folder/bare"
check "bare threads manage without chaos" same_as_serial "$folder/bare"
run --bare --chaos 20 "$folder/in" "$folder/bare_chaos"
check "bare threads die under chaos (status $status)" test "$status" -ge 128
check "and said so before" says 'no supervision'

# ---- Poison, and what is no picture -------------------------------------------

cp -R "$folder/in" "$folder/mixed"
echo "this is no picture" >"$folder/mixed/0/lies.png"
: >"$folder/mixed/1/empty.jpg"
for picture in "$folder/in"/2/*.png; do
    head -c 300 "$picture" >"$folder/mixed/2/short.png"
done
ln -s nowhere "$folder/mixed/3/dangling.png"
for chaos in 0 20; do
    run --chaos $chaos "$folder/mixed" "$folder/poison$chaos"
    check "chaos $chaos: three poisoned files are quarantined, the rest is done" \
        test "$status $(number 'done') $(number lost) $(number quarantined)" = "1 $count 0 3"
    check "chaos $chaos: they are listed" \
        test "$(grep -c '^quarantined: ./.*killed 3 workers' "$folder/stdout")" = 3
    check "chaos $chaos: with the reason" says '^quarantined: 0/lies.png: neither PNG nor JPEG'
    check "chaos $chaos: a file that cannot be read is reported" \
        says '^failed: 3/dangling.png: No such file'
    check "chaos $chaos: the other thumbnails are the same" same_as_serial "$folder/poison$chaos"
done
run --quiet "$folder/mixed" "$folder/poison_deaths"
check "each of them killed three workers" test "$(number 'worker deaths')" = 9

# ---- Folders that will not do --------------------------------------------------

run "$folder/missing" "$folder/out"
check "a missing folder: status 2" test $status = 2
check "a missing folder: said" says 'missing: No such file'
mkdir "$folder/empty"
run "$folder/empty" "$folder/out"
check "an empty folder: status 2" test $status = 2
check "an empty folder: said" says 'empty: there is no PNG or JPEG'
: >"$folder/file"
run "$folder/in" "$folder/file"
check "an output that is a file: status 2" test $status = 2
check "an output that is a file: said" says 'file: Not a directory'
run "$folder/in" "$folder/missing/out"
check "an output in no folder: status 2" test $status = 2
check "an output in no folder: said" says 'missing/out: No such file'
run "$folder/file" "$folder/out"
check "an input that is a file: status 2" test $status = 2
run --chaos 101 "$folder/in" "$folder/out"
check "impossible options: status 2" test $status = 2
check "impossible options: said" says 'chaos: wants a number from 0 to 100'
run "$folder/in"
check "no output: status 2" test $status = 2

# A file where a folder of thumbnails should be: those are reported.
mkdir "$folder/blocked"
: >"$folder/blocked/0"
run --chaos 20 "$folder/in" "$folder/blocked"
blocked=$(find "$folder/in/0" -type f | wc -l)
check "thumbnails that cannot be written are reported, the rest is done" \
    test "$status $(number 'done') $(grep -c '^failed: 0/' "$folder/stdout") $(number lost)" = \
    "1 $((count - blocked)) $((blocked)) 0"

cp -R "$folder/in" "$folder/within"
run "$folder/within" "$folder/within/out"
run "$folder/within" "$folder/within/out"
check "thumbnails inside the input are no input" test "$(number 'done')" = "$count"

# ---- Ctrl-C --------------------------------------------------------------------

interrupt() {
    rm -rf "$folder/stopped"
    "$thumbs" --delay 400 --workers 2 --chaos 20 "$folder/in" "$folder/stopped" \
        >"$folder/stdout" 2>"$folder/stderr" &
    running=$!
    tries=0
    until [ "$(find "$folder/stopped" -type f 2>/dev/null | wc -l)" -gt 0 ] ||
        [ $tries -ge 100 ]; do
        sleep 0.1 2>/dev/null || sleep 1
        tries=$((tries + 1))
    done
    began=$(date +%s)
    kill -s "$1" $running
    wait $running
    status=$?
    running=
    seconds=$(($(date +%s) - began))
}

for signal in INT TERM; do
    interrupt $signal
    check "SIG$signal: it ends within 2 seconds and a margin ($seconds)" test $seconds -le 4
    check "SIG$signal: status 1" test $status = 1
    check "SIG$signal: it says how many are left" \
        says "^stopped: $(number lost) of $count pictures are left"
    check "SIG$signal: some are left, all are accounted for" \
        test "$(number lost)" -gt 0 -a "$(($(number 'done') + $(number lost)))" = "$count"
    check "SIG$signal: nothing half done is left behind" \
        test "$(find "$folder/stopped" -name '*.thumb.png' | wc -l)" -eq "$(number 'done')" \
        -a -z "$(find "$folder/stopped" -name '*.part')"
done

exit $failed
