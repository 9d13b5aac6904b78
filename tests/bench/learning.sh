#!/bin/sh
# learning.sh - learning from nothing beside builds on the same requests, on the demo's network
#
# usage: tests/bench/learning.sh WORK [REQUESTS ..]
#
# Plays the largest number of REQUESTS (5000 20000) through tests/bench/learning_lab, which starts without caches, and
# builds on as many of the same pictures (four fifths teach, one fifth certifies); prints what each answers early, of
# pictures that it has not seen. Agreement, 1.0 point at 95%. What is in WORK is used again. A build on 60000 takes ten
# minutes.
set -eu
work=${1:?usage: learning.sh WORK [REQUESTS ..]}
shift
[ $# -gt 0 ] || set -- 5000 20000
bin=${FREEZELINE_BUILD:-build/release}
terms='--set cache.promise=agreement --set cache.max_accuracy_loss=1.0'
config='-c configs/demo/demo-learned.yaml'
mkdir -p "$work"
most=0
for n; do [ "$n" -le "$most" ] || most=$n; done
[ -s "$work/pictures.bin" ] || "$bin/freezeline" generate --count "$most" --seed 11 --output "$work/pictures.bin" >/dev/null
[ -s "$work/fresh.bin" ] || "$bin/freezeline" generate --count 10000 --seed 99 --output "$work/fresh.bin" >/dev/null

"$bin/tests/bench/learning_lab" $config $terms --set state="$work/none" --work "$work/lab" --requests "$most" \
    --window 1000 >"$work/lab.txt"
tail -n 2 "$work/lab.txt"
printf '%10s %16s %16s %8s\n' requests 'learned: early' 'built: early' ratio
for n; do
    state="--set state=$work/built-$n"
    teach=$((n * 4 / 5))
    [ -s "$work/built-$n.json" ] || {
        "$bin/freezeline" build $config $terms $state --train "cifar10:$work/pictures.bin#0-$((teach - 1))" \
            --calibrate "cifar10:$work/pictures.bin#$teach-$((n - 1))" >"$work/built-$n.txt" 2>&1
        "$bin/freezeline" eval $config $terms $state --data "cifar10:$work/fresh.bin" --json >"$work/built-$n.json"
    }
    built=$(sed -n 's/^ *"early_share": \([0-9.]*\).*/\1/p' "$work/built-$n.json" | head -n 1)
    # The two windows that end there: what it answers early by then.
    learned=$(awk -v n="$n" '$3 == "early" && ($1 == n || $1 == n - 1000) { sum += $4; k++ } END { print sum / k / 100 }' "$work/lab.txt")
    awk -v n="$n" -v l="$learned" -v b="$built" 'BEGIN { printf "%10d %15.1f%% %15.1f%% %8.3f\n", n, 100 * l, 100 * b, l / b }'
done
