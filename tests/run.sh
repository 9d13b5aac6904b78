#!/bin/sh
# run.sh - run test programs, a few at a time, each with a time limit, and count what passed
#
# usage: run.sh LABEL PROGRAM ...
# Each program is a cmocka test, or a script that ends with a line "N passed, N failed". The log of one that fails is
# shown: first what it says of each failure, then its end. Two run at once for each core ($TEST_JOBS: another number),
# since most wait more than they compute: put the longest first. One that fails with real processes beside the others
# runs once more alone, as a slow machine may have let their clocks run out: when it passes then, it counts as passed,
# and is said to be unsteady. A hang, a crash or what a sanitizer finds is never run again (but memory that a failed
# test has not freed is no finding). Counts add up in $TEST_COUNTS (a file) when that is set, so that several calls can
# be summed by `run.sh --sum`, which says once more what failed.
set -u

if [ "${1:-}" = --sum ]; then
    [ ! -f "$TEST_COUNTS.failed" ] || { echo 'what failed:' && cat "$TEST_COUNTS.failed"; }
    awk '{ p += $1; f += $2; s += $3; u += $4 }
        END { printf "%d passed, %d failed, %d skipped%s\n", p, f, s, u ? ", " u " of the programs unsteady" : ""; exit f > 0 }' "$TEST_COUNTS"
    exit
fi

count() { # FILE SED-EXPRESSION: sums the numbers that it prints
    sed -n "$2" "$1" | awk '{ n += $1 } END { print n + 0 }'
}

# What a log says of each failure. What follows may be long: a test that fails leaves memory behind, say.
why() {
    {
        sed -n '/^ERROR: /p; /^\[  ERROR/,/^\[  FAILED/p; /^FAIL/p; /^[a-z_]*\.sh: /p' "$1" | head -n 40
        sed -n '/[a-z0-9]: runtime error: /,+6p; /==[0-9]*==ERROR: /,/^ *$/p; /SUMMARY: /p' "$1" | head -n 40
    }
}

# May this failure be the machine's? Then the program runs again, alone. One that hangs or dies by a signal has a fault.
may_be_slow() { # PROGRAM LOG STATUS
    [ "$3" -lt 124 ] || return 1
    case $1 in */integration/* | */faults/*) ;; *) return 1 ;; esac
    ! grep -qE '(ERROR|WARNING): (Address|Memory|Thread|UndefinedBehavior)Sanitizer|runtime error: |stack smashing|double free' "$2" &&
        { grep -q '^\[  FAILED' "$2" || ! grep -q 'ERROR: LeakSanitizer' "$2"; }
}

# --one|--alone FOLDER LABEL PROGRAM: what is printed goes out in one piece.
if [ "${1:-}" = --one ] || [ "${1:-}" = --alone ]; then
    label=$3 t=$4 name=$(basename "$4") u=0
    log=$2/$name.log
    start=$(date +%s)
    timeout -k 10 "${TEST_TIMEOUT:-1200}" "$t" >"$log" 2>&1 </dev/null
    rc=$?
    p=$(count "$log" 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p; s/^\([0-9]*\) passed, [0-9]* failed.*/\1/p')
    f=$(count "$log" 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p; s/^[0-9]* passed, \([0-9]*\) failed.*/\1/p')
    s=$(grep -c '^\[  SKIPPED \] [A-Za-z]' "$log")
    if [ $rc -ne 0 ] || [ "$f" -gt 0 ] || [ $((p + s)) -eq 0 ]; then
        why=
        [ $rc -eq 124 ] && why=" (time limit)"
        [ $rc -eq 0 ] && [ "$f" -eq 0 ] && why=" (no test ran)"
        [ "$f" -gt 0 ] || f=1
        says=FAIL
        if [ "$1" = --one ] && may_be_slow "$t" "$log" "$rc"; then
            says=again
            echo "$t" >>"$2/again"
        fi
        printf '  %-7s %s %s%s, exit status %d\n' $says "$label" "$name" "$why" "$rc" >"$log.said"
        {
            why "$log"
            echo ...
            grep -v '^\[ *\(RUN\|OK\) ' "$log" | tail -n 100
        } | sed 's/^/    | /' >>"$log.said"
        [ -z "${TEST_COUNTS:-}" ] || [ $says = again ] || { head -n 1 "$log.said" && why "$log" | sed 's/^/    | /'; } >>"$TEST_COUNTS.failed"
    else
        says=ok
        [ "$1" = --one ] || says=unsteady u=1
        printf '  %-7s %s %s: %d passed%s (%d s)\n' $says "$label" "$name" "$p" \
            "$([ "$s" -gt 0 ] && echo ", $s skipped")" $(($(date +%s) - start)) >"$log.said"
        [ "$s" -gt 0 ] && grep -i '^skipped: ' "$log" | sed 's/^/    | /' >>"$log.said"
    fi
    echo "$p $f $s $u" >"$log.counts"
    flock "$2" cat "$log.said"
    exit 0
fi

label=$1
shift
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
[ $# -eq 0 ] || printf '%s\0' "$@" | xargs -0 -n 1 -P "${TEST_JOBS:-$(($(nproc) * 2))}" "$0" --one "$folder" "$label"
[ ! -f "$folder/again" ] || while read -r t; do "$0" --alone "$folder" "$label" "$t"; done <"$folder/again"
failed=$#
if [ $# -gt 0 ] && cat "$folder"/*.counts >"$folder/all" 2>/dev/null && [ "$(wc -l <"$folder/all")" -eq $# ]; then
    failed=$(awk '{ f += $2 } END { print f + 0 }' "$folder/all")
    [ -z "${TEST_COUNTS:-}" ] || cat "$folder/all" >>"$TEST_COUNTS"
elif [ $# -gt 0 ]; then
    echo "  FAIL    $label: not every program ended"
    [ -z "${TEST_COUNTS:-}" ] || echo "0 1 0" >>"$TEST_COUNTS"
fi
[ "$failed" -eq 0 ]
