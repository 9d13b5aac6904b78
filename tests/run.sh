#!/bin/sh
# run.sh - run test programs one after another, each with a time limit, and count what passed
#
# usage: run.sh LABEL PROGRAM ...
# Each program is a cmocka test, or a script that ends with a line "N passed, N failed". The log of one that fails is
# shown. Counts add up in $TEST_COUNTS (a file) when that is set, so that several calls can be summed by `run.sh --sum`.
set -u

counts=${TEST_COUNTS:-}
if [ "${1:-}" = --sum ]; then
    awk '{ p += $1; f += $2; s += $3 } END { printf "%d passed, %d failed, %d skipped\n", p, f, s; exit f > 0 }' "$counts"
    exit
fi

label=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
passed=0 failed=0 skipped=0
count() { # SED-EXPRESSION ...: sums the numbers that it prints
    sed -n "$1" "$log" | awk '{ n += $1 } END { print n + 0 }'
}
for t in "$@"; do
    start=$(date +%s)
    timeout -k 10 "${TEST_TIMEOUT:-300}" "$t" >"$log" 2>&1 </dev/null
    rc=$?
    p=$(count 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p; s/^\([0-9]*\) passed, [0-9]* failed.*/\1/p')
    f=$(count 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p; s/^[0-9]* passed, \([0-9]*\) failed.*/\1/p')
    s=$(grep -c '^\[  SKIPPED \] [A-Za-z]' "$log")
    if [ $rc -ne 0 ] || [ "$f" -gt 0 ] || [ $((p + s)) -eq 0 ]; then
        why=
        [ $rc -eq 124 ] && why=" (time limit)"
        [ $rc -eq 0 ] && [ "$f" -eq 0 ] && why=" (no test ran)"
        [ "$f" -gt 0 ] || f=1
        printf '  FAIL    %s %s%s, exit status %d\n' "$label" "$(basename "$t")" "$why" "$rc"
        grep -v '^\[ *\(RUN\|OK\) ' "$log" | tail -n 60 | sed 's/^/    | /'
    else
        printf '  ok      %s %s: %d passed%s (%d s)\n' "$label" "$(basename "$t")" "$p" \
            "$([ "$s" -gt 0 ] && echo ", $s skipped")" $(($(date +%s) - start))
        [ "$s" -gt 0 ] && grep -i '^skipped: ' "$log" | sed 's/^/    | /'
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
done
[ -z "$counts" ] || echo "$passed $failed $skipped" >>"$counts"
[ $failed -eq 0 ]
