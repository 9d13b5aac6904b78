#!/bin/sh
# test_planted.sh - puts faults back into copies of the sources, and sees that the search finds each of them
#
# usage: test_planted.sh [NAME ...]     all of tests/faults/planted/ unless some are named
# Each is a script for sed with lines "# file: PATH" before the changes to that file. It may name the kinds of trouble
# that show it ("# kinds: kill,reload"; else all are played) and the first seed ("# seed: N"). Run by make, which tells
# how to compile (CC, C_FLAGS, LD_FLAGS, LD_LIBS) and where the objects are (FREEZELINE_BUILD).
set -eu
cd "$(dirname "$0")/../.."
most=${PLANTED_SCHEDULES:-6000}
out=$FREEZELINE_BUILD/planted
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
        $CC $C_FLAGS -w -I"$(dirname "$file")" -c -o "$out/$1/$(basename "$file" .c).o" "$copy" || return 1
    done
    $CC $LD_FLAGS -o "$out/$1/search" "$out/$1"/*.o "$FREEZELINE_BUILD"/tests/faults/*.o \
        "$FREEZELINE_BUILD/libfreezeline.a" $LD_LIBS
}

for name in "$@"; do
    kinds=$(sed -n 's/^# kinds: /--kinds /p; s/^# seed: /--seed /p' "tests/faults/planted/$name.sed")
    if plant "$name" && ! "$out/$name/search" --schedules "$most" --quiet $kinds >"$out/$name/log" 2>&1 &&
        grep -q '^FOUND' "$out/$name/log"; then
        passed=$((passed + 1))
        printf '  %-22s seed %s\n' "$name" "$(sed -n 's/^FOUND  \(.*\) (seed \([0-9]*\);.*/\2: \1/p' "$out/$name/log")"
    else
        failed=$((failed + 1))
        printf '  %-22s NOT FOUND in %s schedules\n' "$name" "$most"
    fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
