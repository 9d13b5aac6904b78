#!/bin/sh
# batches.sh - batches that keep to a latency target against batches of fixed sizes, side by side in one run
#
# usage: tests/bench/batches.sh [MODEL.onnx PIPELINE.yaml DATA] [TARGET_MS]     the embedded network and 50 ms
# Serves the same pipeline without caches five times: with batches of up to 32 that adapt, and with 1, 4, 8 and 32 at
# most whatever they take. With 8, 32 and 64 requests in flight that have the target as their deadline, in interleaved
# rounds: what is answered in time per second, p99, and the ratio of the adaptive one to each. Run it on a machine that
# is quiet.
set -eu
cd "$(dirname "$0")/../.."
tool=$PWD/build/release/freezeline
dir=$(mktemp -d)
names="adaptive 1 4 8 32"
finish() {
    for name in $names; do "$tool" down -c "$dir/$name.yaml" >/dev/null 2>&1 || true; done
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM
quietly() { "$@" >"$dir/log" 2>&1 || { cat "$dir/log" >&2; exit 1; }; }

target=50
case $# in 1 | 4) eval "target=\${$#}" ;; esac
if [ $# -ge 3 ]; then
    model=$(cd "$(dirname "$1")" && pwd)/$(basename "$1") config=$2 data=$3
else
    model=$PWD/configs/demo/demo.onnx config=configs/demo/demo.yaml data=cifar10:$dir/demo.bin
    quietly "$tool" generate --count 400 --output "$dir/demo.bin"
fi

# pipeline NAME BATCH FIXED: the file's, cut anew, without caches
pipeline() {
    sed -e '/^exits:/,/^stages:/{/^stages:/!d}' -e '/^stages:/,/^[a-z]/{/^  /d}' -e '/^redis:/,$d' \
        -e '/^cache:/,/^[a-z]/{/^  /d}' -e '/^broker:/,/^[a-z]/{/^  /d}' -e '/^broker:/d' -e '/^stages:/d' -e '/^cache:/d' -e '/^state:/d' \
        -e "s|^model: .*|model: $model|" -e "s|^name: .*|name: batch-$1|" "$config" >"$dir/$1.yaml"
    cat >>"$dir/$1.yaml" <<END
state: $dir/$1
cache: {kind: none}
broker: {latency_target_ms: $target}
stages:
  - {batch: $2, fixed_batch: $3}
  - {batch: $2, fixed_batch: $3}
END
    quietly "$tool" up -c "$dir/$1.yaml"
}

against=
pipeline adaptive 32 false
for size in 1 4 8 32; do
    pipeline $size $size true
    against="$against --against $dir/$size.yaml"
done
line='%-10s %-10s %14s %10s %s\n'
# shellcheck disable=SC2059 # one format for all lines
printf "$line" 'in flight' batch 'in time, 1/s' 'p99, ms' 'adaptive in time / this'
for n in 8 32 64; do
    # shellcheck disable=SC2086 # a list of options
    "$tool" bench -c "$dir/adaptive.yaml" --data "$data" --closed $n --deadline "$target" --duration 10 --rounds 5 $against --json \
        >"$dir/report" 2>"$dir/log" || [ -s "$dir/report" ] || { cat "$dir/log" >&2; exit 1; }
    i=0
    for name in $names; do
        awk -f deploy/scripts/flat.awk "$dir/report" | awk -v i=$i -v n=$n -v name="$name" -v line="$line" '
            $1 == "against.configurations.0.goodput_rps" { ours = $2 }
            $1 == "against.configurations." i ".goodput_rps" { this = $2 }
            $1 == "against.configurations." i ".latency_ms.p99" { p99 = $2 }
            END { printf line, n, name, sprintf("%.1f", this), sprintf("%.1f", p99), (this > 0 ? sprintf("%.2f", ours / this) : "-") }'
        i=$((i + 1))
    done
done
