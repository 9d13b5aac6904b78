#!/bin/sh
# stages.sh - what cutting a network into stages costs a request, and what it brings
#
# usage: tests/bench/stages.sh MODEL.onnx PIPELINE.yaml DATA [STAGES ...]
# For each number of stages (1 2 3 4 8): plans the cuts, starts the pipeline without caches, and measures one request at
# a time beside the whole model in one process, in interleaved rounds (latency, its parts, the bytes of a hop beside
# bare ZeroMQ), then 16 requests in flight (throughput), then the same with batches of up to 8. Run it on a machine that
# is quiet.
set -eu
cd "$(dirname "$0")/../.."
[ $# -ge 3 ] || { sed -n '4s/^# //p' "$0" >&2; exit 2; }
model=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") config=$2 data=$3
shift 3
[ $# -gt 0 ] || set -- 1 2 3 4 8
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

# pipeline NAME STAGES BATCH: no caches, equal cuts
pipeline() {
    sed -e '/^exits:/,/^stages:/{/^stages:/!d}' -e '/^stages:/,/^[a-z]/{/^  /d}' -e '/^redis:/,$d' -e '/^cache:/,/^[a-z]/{/^  /d}' \
        -e "s|^model: .*|model: $model|" -e "s|^name: .*|name: $1|" -e '/^stages:/d' -e '/^cache:/d' -e '/^state:/d' "$config" >"$dir/$1.yaml"
    {
        echo "state: $dir/$1"
        echo "cache: {kind: none}"
        echo "stages:"
        i=0
        while [ $i -lt "$2" ]; do
            echo "  - {threads: 1, batch: $3}"
            i=$((i + 1))
        done
    } >>"$dir/$1.yaml"
    "$tool" plan -c "$dir/$1.yaml" --stages "$2" >"$dir/$1.plan" 2>&1 || { cat "$dir/$1.plan" >&2; exit 1; }
}

# started NAME: up it goes
started() {
    up=$dir/$1.yaml
    "$tool" up -c "$up" >"$dir/$1.up" 2>&1 || { cat "$dir/$1.up" >&2; exit 1; }
}
ended() { "$tool" down -c "$up" >/dev/null 2>&1; up=; }

# load NAME OUTPUT OPTIONS: a run that spoils is said, its figures are kept
load() {
    name=$1 output=$2
    shift 2
    "$tool" bench -c "$dir/$name.yaml" --data "$data" --json "$@" >"$output" 2>"$dir/bench.err" ||
        [ -s "$output" ] || { cat "$dir/bench.err" >&2; exit 1; }
}

line='%-7s %-28s %-9s %-34s %-9s %s\n'
# shellcheck disable=SC2059 # one format for all lines
printf "$line" stages 'p50, ms = times one process' 'CPU, ms' 'compute + wire + queue + rest, ms' 'per s' 'batches: per s, p50 ms'
for n in "$@"; do
    pipeline "s$n" "$n" 1
    started "s$n"
    load "s$n" "$dir/one" --closed 1 --requests 600 --rounds 6 --against whole
    load "s$n" "$dir/many" --closed 16 --duration 8
    ended
    pipeline "b$n" "$n" 8
    started "b$n"
    load "b$n" "$dir/batch" --closed 16 --duration 8
    ended
    awk -v n="$n" -v p50="$(get "$dir/one" latency_ms.p50)" -v ratio="$(get "$dir/one" against.ratios.1.ratio)" \
        -v low="$(get "$dir/one" against.ratios.1.low)" -v high="$(get "$dir/one" against.ratios.1.high)" \
        -v cpu="$(get "$dir/one" cpu_seconds_per_request)" -v compute="$(get "$dir/one" parts_p50_ms.compute)" \
        -v wire="$(get "$dir/one" parts_p50_ms.wire)" -v queue="$(get "$dir/one" parts_p50_ms.queue)" \
        -v many="$(get "$dir/many" achieved_rps)" -v batch="$(get "$dir/batch" achieved_rps)" -v bp50="$(get "$dir/batch" latency_ms.p50)" \
        -v line="$line" 'BEGIN { printf line, n, sprintf("%.2f = %.2fx [%.2f .. %.2f]", p50, ratio, low, high), sprintf("%.2f", 1000 * cpu),
             sprintf("%.2f + %.2f + %.2f + %.2f", compute, wire, queue, p50 - compute - wire - queue), sprintf("%.1f", many),
             sprintf("%.1f, %.1f", batch, bp50) }'
    if [ "$n" -gt 1 ]; then
        awk -f deploy/scripts/flat.awk "$dir/one" | sed -n 's/^stages\.\([0-9]*\)\.wire_ms \(.*\)/        to stage \1: \2 ms on the wire/p'
    fi
done
echo
echo "bare ZeroMQ over ipc after 1.5 ms of computing (median, 10th, 90th percentile, us)"
for bytes in 12288 32768 65536 131072 262144; do
    printf '%8s bytes: %s\n' "$bytes" "$(build/release/tests/bench/bench_hop "$bytes" 1.5)"
done
