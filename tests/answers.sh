#!/bin/sh
# answers.sh - do models answer here as they did elsewhere? Runs each on fixed numbers
#
# usage: tests/answers.sh DIRECTORY MODEL.onnx ...
# Answers that DIRECTORY has already are compared, to a relative and absolute 1e-5; others are written there for the
# next to compare with. Models have one float32 input and one output. perl is part of every Debian.
set -eu

[ $# -gt 1 ] || {
    sed -n '4p' "$0" | sed 's/^# //' >&2
    exit 2
}
at=$(cd "$(dirname "$0")/.." && pwd)
directory=$1
shift
mkdir -p "$directory"
freezeline() { "$at/build/release/freezeline" "$@"; }

# A .npy of a fixed pseudo-random sequence in [-1, 1).
write_input() { # FILE DIMENSION ...
    perl -e '
        my ($file, @dim) = @ARGV;
        my ($n, $seed) = (1, 1);
        $n *= $_ for @dim;
        my $head = sprintf "{\x27descr\x27: \x27<f4\x27, \x27fortran_order\x27: False, \x27shape\x27: (%s,), }", join(", ", @dim);
        $head .= " " x (-(length($head) + 11) % 64) . "\n";
        open my $f, ">:raw", $file or die "$file: $!";
        print $f "\x93NUMPY\x01\x00", pack("v", length $head), $head;
        for (1 .. $n) {
            $seed = ($seed * 1664525 + 1013904223) % 4294967296;
            print $f pack("f<", ($seed >> 8) / 8388608 - 1);
        }' "$@"
}

compared=0 written=0 different=0
for model in "$@"; do
    base=$directory/$(basename "$model" .onnx)
    # shellcheck disable=SC2046 # one word for each dimension is meant
    [ -f "$base.in.npy" ] || write_input "$base.in.npy" $(freezeline inspect "$model" --json |
        awk -f "$at/deploy/scripts/flat.awk" | awk '$1 ~ /^inputs\.0\.shape\./ { print $2 }')
    if [ -f "$base.out.npy" ]; then
        compared=$((compared + 1))
        freezeline run "$model" --input "$base.in.npy" --expect "$base.out.npy" --rtol 1e-5 --atol 1e-5 ||
            different=$((different + 1))
    else
        written=$((written + 1))
        freezeline run "$model" --input "$base.in.npy" --output "$base.out.npy"
    fi
done
echo "$compared compared, $different different, $written written"
[ $different = 0 ]
