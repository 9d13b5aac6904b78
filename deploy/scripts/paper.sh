#!/bin/sh
# paper.sh - the experiment of arXiv 2002.02645 with this program's caches, as tables and frontiers
#
# usage: deploy/scripts/paper.sh [-m MODELS] [-a CIFAR10] [-b CIFAR100] [-o OUT] [-k "KEY=VALUE ..."] [CONFIG ...]
#
# A CONFIG is a pipeline file called DATA-NETWORK-learned.yaml, all of configs/ unless some are given. Its network lies
# in the directory MODELS under the name that the file gives; CIFAR10 has data_batch_1..5.bin and test_batch.bin, CIFAR100
# has train.bin, unseen.bin and test.bin. What is not at hand is left out, and said. For each, three kinds of caches are
# built and asked: `knn` and `kmeans` after every block, as published, with thresholds by `max-wrong`, and what the file
# says. 35,000 pictures make the caches, 5,000 that the network was not trained on choose, 5,000 others are requests.
# OUT (.freezeline/paper) gets PAPER.md and a frontier for each; reports and descriptors (6 GB for each) are kept there
# until a configuration is done, so an interrupted run goes on where it was.
set -eu
here=$PWD
cd "$(dirname "$0")/../.."
# Paths are relative to where the command was given.
absolute() {
    case $1 in
    "" | /*) echo "$1" ;;
    *) echo "$here/$1" ;;
    esac
}
models=. cifar10='' cifar100='' out=$PWD/.freezeline/paper keys=''
while getopts m:a:b:o:k: option; do
    case $option in
    m) models=$(absolute "$OPTARG") ;;
    a) cifar10=$(absolute "$OPTARG") ;;
    b) cifar100=$(absolute "$OPTARG") ;;
    o) out=$(absolute "$OPTARG") ;;
    k) keys=$OPTARG ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
if [ -z "$cifar10$cifar100" ]; then
    echo "usage: make paper MODELS=DIRECTORY [CIFAR10=DIRECTORY] [CIFAR100=DIRECTORY] [CONFIG=FILE] [SET=\"KEY=VALUE ..\"]" >&2
    exit 2
fi
[ $# -gt 0 ] || set -- configs/cifar*-learned.yaml
mkdir -p "$out"

# Sets train, calibrate and requests; fails, with a word, where the data set is not there.
data_of() {
    case $1 in
    cifar10)
        at=$cifar10 kind=CIFAR-10 variable=CIFAR10
        needs="data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch"
        train=cifar10:$at/data_batch_1.bin,$at/data_batch_2.bin,$at/data_batch_3.bin,$at/data_batch_4.bin#0-34999
        calibrate=cifar10:$at/data_batch_5.bin#5000-9999 requests=cifar10:$at/test_batch.bin ;;
    cifar100)
        at=$cifar100 kind=CIFAR-100 variable=CIFAR100 needs="train unseen test"
        train=cifar100:$at/train.bin calibrate=cifar100:$at/unseen.bin requests=cifar100:$at/test.bin ;;
    *) echo "paper: $2 is about data that this script does not know: $1" >&2 && return 1 ;;
    esac
    [ -n "$at" ] || { echo "paper: without $2: $kind is not at hand, name its folder with $variable=DIRECTORY" >&2 && return 1; }
    for f in $needs; do
        [ -f "$at/$f.bin" ] || { echo "paper: without $2: $at/$f.bin is missing ($kind, binary version)" >&2 && return 1; }
    done
}

# The paper's figures for half of the layers: oracle, k-NN, k-means.
published() {
    case $1 in
    cifar10-resnet18) echo "91.58% ~20% ~33%" ;;
    cifar10-resnet50) echo "- - 46%" ;;
    cifar100-resnet18) echo "55% 15% 19%" ;;
    *) echo "- - -" ;;
    esac
}

# report NAME OPTIONS: build, then evaluate; what was done before, of the same file with the same options, is not done
# again
report() {
    json=$work/$1.json name=$1
    shift
    how="$(cksum <"$config") $train $calibrate $requests $*"
    [ ! -f "$json" ] || [ "$(cat "$work/$name.how" 2>/dev/null)" != "$how" ] || return 0
    rm -f "$json"
    echo "== $title, $name" >&2
    build/release/freezeline build "$@" --threads "$(nproc)" --train "$train" --calibrate "$calibrate" >"$work/$name.txt"
    [ "$name" != learned ] || set -- "$@" --frontier "$out/$title-frontier.svg"
    build/release/freezeline eval "$@" --data "$requests" --json >"$json.part"
    echo "$how" >"$work/$name.how"
    mv "$json.part" "$json"
}

flat() { awk -f deploy/scripts/flat.awk "$work/$1.json"; }
# What a report says at a path, in percent; as a number; as a share of another number.
percent() { flat "$1" | awk -v p="$2" '$1 == p { if ($2 == "null") print "-"; else printf "%.1f%%\n", 100 * $2 }'; }
points() { flat "$1" | awk -v p="$2" '$1 == p { printf "%.2f\n", 100 * $2 }'; }
number() { flat "$1" | awk -v p="$2" '$1 == p { printf "%d\n", $2 }'; }
megabytes() { flat "$1" | awk -v p="$2" '$1 == p { printf "%.1f MB\n", $2 / 1e6 }'; }
latency() { flat "$1" | awk '{ v[$1] = $2 } END { printf "%.2f\n", v["latency_ms.served.mean"] / v["latency_ms.full.mean"] }'; }
# Agreement with the full answer of the requests that exits within half of the depth answered.
half_agreement() {
    flat "$1" | awk '{ v[$1] = $2 }
        END { for (i = 0; ("exits." i ".name") in v; i++) {
                  e = "exits." i "."
                  if (2 * v[e "depth"] <= v["depth"] && v[e "share"] > 0) {
                      n += v[e "share"]; a += v[e "share"] * v[e "agreement"] } }
              if (n > 0) printf "%.1f%%\n", 100 * a / n; else print "-" }'
}
# row TITLE FUNCTION PATH [PAPER'S K-NN, K-MEANS]
row() {
    printf '| %s | %s | %s | %s | %s | %s |\n' "$1" "$($2 knn "$3")" "${4:-}" "$($2 kmeans "$3")" "${5:-}" \
        "$($2 learned "$3")"
}

table() {
    echo
    echo "## $title"
    echo
    echo "$(number knn requests) requests, full network $(percent learned full_accuracy) right."
    echo
    echo "| | \`knn\` | paper, k-NN | \`kmeans\` | paper, k-means | \`learned\`, $promise |"
    echo "|---|---:|---:|---:|---:|---:|"
    # shellcheck disable=SC2046 # three words
    set -- $(published "$title")
    row "answered by half of the layers" percent by_half_share "$2" "$3"
    row "of these, as the full network answers" half_agreement ""
    row "oracle, by half of the layers (the paper's: $1)" percent oracle_by_half_share
    row "answered by any exit" percent early_share
    row "same answer as the full network, all requests" percent agreement
    row "points of accuracy lost" points accuracy_gap
    row "exact 95% upper bound of them" points accuracy_gap_upper
    row "mean share of the FLOPs" percent mean_flops_share
    row "mean latency with caches / without, one process" latency ""
    row "all caches" megabytes cache_bytes
}

# What the pipeline file promises, in words.
promise_of() {
    awk '$1 == "max_accuracy_loss:" { l = $2 } $1 == "certainty:" { c = $2 }
        END { if (l != "") printf "%s points at %g%%", l, 100 * c; else print "max-wrong" }' "$1"
}

experiment() {
    title=$(basename "$1" -learned.yaml) model=$models/$(sed -n 's/^model: *//p' "$1") promise=$(promise_of "$1")
    work=$out/$title
    data_of "${title%%-*}" "$title" || return 0
    [ -f "$model" ] || { echo "paper: without $title: there is no network $model" >&2 && return 0; }
    mkdir -p "$work"
    sets="--set model=$model"
    for s in $keys; do
        sets="$sets --set $s"
    done
    # shellcheck disable=SC2086 # a list of words is meant
    report learned -c "$1" $sets --set state="$work/learned"
    # knn keeps every point, as the paper does; kmeans has the paper's memory budget.
    for kind in knn:0 kmeans:12.5; do
        # shellcheck disable=SC2086
        report "${kind%:*}" -c "$1" $sets --set state="$work/published" --set exits=auto --set stages=1 \
            --set "cache.grids=[1,2]" --set cache.threshold=max-wrong --set cache.train_epochs=5 \
            --set "cache.kind=${kind%:*}" --set "cache.memory_mb=${kind#*:}"
    done
    table >>"$out/PAPER.md.part"
    rm -rf "$work/published/build" "$work/learned/build"
}

printf '' >"$out/PAPER.md.part"
for config; do
    experiment "$config"
done
if [ ! -s "$out/PAPER.md.part" ]; then
    rm "$out/PAPER.md.part"
    echo "paper: nothing was at hand to be measured" >&2
    exit 1
fi
mv "$out/PAPER.md.part" "$out/PAPER.md"
cat "$out/PAPER.md"
