#!/bin/sh
# test_planted.sh - puts faults back into copies of the sources, and sees that the search finds each of them
#
# usage: test_planted.sh [NAME ...]     all of tests/faults/planted/ unless some are named
#        test_planted.sh --fits         only sees that each still changes the lines that it names; `make test` does
# Each is a script for sed with lines "# file: PATH" before the changes to that file. It may name the kinds of trouble
# that show it ("# kinds: kill,reload"; else all are played), the first seed ("# seed: N"), or a unit test that searches
# instead ("# by: tests/unit/test_keeper_brain"). Run by make, which tells how to compile (CC, C_FLAGS, LD_FLAGS,
# LD_LIBS) and where the objects are (FREEZELINE_BUILD).
set -eu
cd "$(dirname "$0")/../.."
most=${PLANTED_SCHEDULES:-6000}
fits=
[ "${1:-}" != --fits ] || { fits=1 && shift; }
if [ -n "$fits" ]; then
    out=$(mktemp -d)
    trap 'rm -rf "$out"' EXIT
else
    out=$FREEZELINE_BUILD/planted
fi
passed=0 failed=0
[ $# -gt 0 ] || set -- $(cd tests/faults/planted && ls *.sed | sed 's/\.sed$//')

# Copies, changes and compiles the files of one fault; its objects stand before the library that has the others.
plant() {
    script=tests/faults/planted/$1.sed
    rm -rf "$out/$1" && mkdir -p "$out/$1"
    part=0
    for file in $(sed -n 's/^# file: //p' "$script"); do
        part=$((part + 1))
        copy=$out/$1/$file
        mkdir -p "$(dirname "$copy")"
        [ -e "$copy" ] || cp "$file" "$copy"
        awk -v part=$part '/^# file: / { n++; next } n == part' "$script" >"$out/$1/part.sed"
        sed -f "$out/$1/part.sed" "$copy" >"$copy.new"
        if cmp -s "$copy" "$copy.new"; then
            echo "$script no longer changes $file: look what became of the lines that it names"
            return 1
        fi
        mv "$copy.new" "$copy"
        [ -z "$fits" ] || continue
        $CC $C_FLAGS -w -I"$(dirname "$file")" -c -o "$out/$1/$(basename "$file" .c).o" "$copy" || return 1
    done
    [ -z "$fits" ] || return 0
    by=$(sed -n 's/^# by: //p' "$script")
    set -- "$1" "$FREEZELINE_BUILD"/tests/faults/*.o
    [ -z "$by" ] || set -- "$1" "$FREEZELINE_BUILD/$by.o"
    name=$1 && shift
    $CC $LD_FLAGS -o "$out/$name/search" "$out/$name"/*.o "$@" "$FREEZELINE_BUILD/libfreezeline.a" $LD_LIBS -lcmocka
}

# How it was found; nothing where it was not.
found() {
    if [ -n "$by" ]; then
        "$out/$1/search" >"$out/$1/log" 2>&1 ||
            sed -n 's/^\[  FAILED  \] \([a-z_]*\)$/\1/p; s/^with SEED/SEED/p' "$out/$1/log" | sort -u | tr '\n' ' '
    else
        "$out/$1/search" --schedules "$most" --quiet $kinds >"$out/$1/log" 2>&1 ||
            sed -n 's/^FOUND  \(.*\) (seed \([0-9]*\);.*/seed \2: \1/p' "$out/$1/log"
    fi
}

for name in "$@"; do
    kinds=$(sed -n 's/^# kinds: /--kinds /p; s/^# seed: /--seed /p' "tests/faults/planted/$name.sed")
    if [ -n "$fits" ]; then
        plant "$name" && passed=$((passed + 1)) || failed=$((failed + 1))
    elif plant "$name" && how=$(found "$name") && [ -n "$how" ]; then
        passed=$((passed + 1))
        printf '  %-22s %s\n' "$name" "$how"
    else
        failed=$((failed + 1))
        printf '  %-22s NOT FOUND (%s schedules)\n' "$name" "$most"
    fi
done
[ -n "$fits" ] && echo "planted faults: $passed fit the sources, $failed do not" || echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
