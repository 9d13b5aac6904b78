#!/bin/sh
# overload.sh - what is answered in time at three times the capacity, with a deadline of 100 ms
#
# usage: [MODEL=FILE.onnx CIFAR10=DIRECTORY] tests/bench/overload.sh [SECONDS]     how long each overload lasts (30)
# Serves the embedded network in three stages, without caches and with them; with MODEL also a ResNet-18 for CIFAR-10
# (DIRECTORY has its binary files). For each: the capacity, which is the most that a closed loop of 8, 16 or 32 in
# flight gets answered within the deadline; then three times that in an open loop. Run it on a machine that is quiet.
set -eu
cd "$(dirname "$0")/../.."
seconds=${1:-30}
tool=$PWD/build/release/freezeline
dir=$(mktemp -d)
up=
finish() {
    [ -z "$up" ] || "$tool" down -c "$up" >/dev/null 2>&1 || true
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# get FILE PATH
get() { awk -f deploy/scripts/flat.awk "$1" | awk -v path="$2" '$1 == path { print $2 }'; }
quietly() { "$@" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }; }
# load OUTPUT OPTION ...: what many failures spoil has its figures all the same
load() {
    output=$1
    shift
    "$tool" bench -c "$up" --data "$data" --json "$@" >"$output" 2>"$dir/log" || [ -s "$output" ] || { cat "$dir/log" >&2; exit 1; }
}

line='%-24s %9s %9s %7s %10s %16s %16s\n'
# measure NAME: of the pipeline in $up
measure() {
    quietly "$tool" up -c "$up"
    capacity=0
    for n in 8 16 32; do
        load "$dir/closed" --closed $n --duration 5 --deadline 100
        capacity=$(awk -v a="$capacity" -v b="$(get "$dir/closed" goodput_rps)" 'BEGIN { print (a > b ? a : b) }')
    done
    load "$dir/open" --rate "$(awk -v c="$capacity" 'BEGIN { print 3 * c }')" --deadline 100 --duration "$seconds"
    quietly "$tool" down -c "$up"
    up=
    awk -v line="$line" -v name="$1" -v capacity="$capacity" -v goodput="$(get "$dir/open" goodput_rps)" -v p99="$(get "$dir/open" latency_ms.p99)" \
        -v refused="$(get "$dir/open" refused)" -v sent="$(get "$dir/open" sent)" -v r50="$(get "$dir/open" refusal_ms.p50)" \
        -v r99="$(get "$dir/open" refusal_ms.p99)" 'BEGIN { printf line, name, sprintf("%.1f", capacity), sprintf("%.1f", goodput),
            sprintf("%.1f%%", 100 * goodput / capacity), sprintf("%.1f ms", p99), sprintf("%.1f%%", 100 * refused / sent), sprintf("%.2f, %.2f ms", r50, r99) }'
}

# without CONFIG: the same pipeline without caches; its exits stay, since cuts may be named by them
without() { sed -e '/^cache:/,/^[a-z]/{/^  /d}' -e 's/^cache:.*/cache: {kind: none}/' -e '/^state: /d' "$1"; }

# settle CONFIG MODEL NAME: paths made whole, a state of its own, no learning
settle() {
    sed -e "s|^model: .*|model: $2|" -e "s|^name: .*|name: $3|" -e '/^state: /d' -e 's/managed: true/managed: false/' \
        -e 's/sample: .*/sample: 0/' "$1"
    echo "state: $dir/$3"
}

# shellcheck disable=SC2059 # one format for all lines
printf "$line" '' 'capacity' 'goodput' '' 'p99' 'refused' 'within p50, p99'
quietly "$tool" generate --count 2400 --output "$dir/demo.bin"
data=cifar10:$dir/demo.bin#2000-2399
settle configs/demo/demo.yaml "$PWD/configs/demo/demo.onnx" demo >"$dir/cached.yaml"
without "$dir/cached.yaml" | sed "s|^name: .*|name: bare|" >"$dir/bare.yaml"
echo "state: $dir/bare" >>"$dir/bare.yaml"
up=$dir/bare.yaml
measure 'demo'
quietly "$tool" build -c "$dir/cached.yaml" --train "cifar10:$dir/demo.bin#0-1499" --calibrate "cifar10:$dir/demo.bin#1500-1999"
up=$dir/cached.yaml
measure 'demo, caches'
[ -n "${MODEL:-}" ] || exit 0

model=$(cd "$(dirname "$MODEL")" && pwd)/$(basename "$MODEL")
data=cifar10:$CIFAR10/test_batch.bin
settle configs/cifar10-resnet18-learned.yaml "$model" resnet18 >"$dir/resnet.yaml"
without "$dir/resnet.yaml" | sed "s|^name: .*|name: bare18|" >"$dir/bare18.yaml"
echo "state: $dir/bare18" >>"$dir/bare18.yaml"
up=$dir/bare18.yaml
measure 'ResNet-18'
quietly "$tool" build -c "$dir/resnet.yaml" --set cache.augment=0 --set cache.tune=0 --train "cifar10:$CIFAR10/data_batch_1.bin" \
    --calibrate "cifar10:$CIFAR10/data_batch_5.bin#5000-9999"
up=$dir/resnet.yaml
measure 'ResNet-18, caches'
