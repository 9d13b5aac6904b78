#!/bin/sh
# paper.sh - the experiment of arXiv 2002.02645 (ResNet-18, CIFAR-10) with this program's caches, as a table
#
# usage: deploy/scripts/paper.sh CIFAR10-DIRECTORY MODEL.onnx [KEY=VALUE ...]
#
# DIRECTORY has CIFAR-10's data_batch_1..5.bin and test_batch.bin. 35,000 records build the caches, 5,000 that the
# network was not trained on (the last of data_batch_5) set the thresholds, requests are the test set. KEY=VALUE
# override keys of the pipeline file. The work (about 6 GB of descriptors) is kept in .freezeline/paper until it is
# done, so that an interrupted run goes on where it was; reports stay there.
set -eu
here=$PWD
cd "$(dirname "$0")/../.."
if [ $# -lt 2 ] || [ -z "$1" ] || [ -z "$2" ]; then
    echo "usage: make paper CIFAR10=DIRECTORY MODEL=FILE.onnx" >&2
    exit 2
fi
# Paths are relative to where the command was given.
absolute() {
    case $1 in
    /*) echo "$1" ;;
    *) echo "$here/$1" ;;
    esac
}
cifar=$(absolute "$1")
model=$(absolute "$2")
shift 2
for f in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
    if [ ! -f "$cifar/$f.bin" ]; then
        echo "paper: $cifar/$f.bin is missing (CIFAR-10, binary version)" >&2
        exit 1
    fi
done
[ -f "$model" ] || { echo "paper: there is no model $model" >&2 && exit 1; }

state=$PWD/.freezeline/paper
config=configs/cifar10-resnet18.yaml
train=cifar10:$cifar/data_batch_1.bin,$cifar/data_batch_2.bin,$cifar/data_batch_3.bin,$cifar/data_batch_4.bin#0-34999
calibrate=cifar10:$cifar/data_batch_5.bin#5000-9999
mkdir -p "$state"

# kind: build, then evaluate; the report goes to $state/KIND.json. Descriptors and projections are shared by the kinds.
# knn keeps every point, as the paper does; kmeans has the paper's memory budget.
experiment() {
    kind=$1 memory=$2
    shift 2
    set -- -c $config --set "model=$model" --set "state=$state" --set "cache.kind=$kind" --set "cache.memory_mb=$memory" "$@"
    echo "== $kind" >&2
    build/release/freezeline build "$@" --threads "$(nproc)" --train "$train" --calibrate "$calibrate" >"$state/$kind-build.txt"
    build/release/freezeline eval "$@" --data "cifar10:$cifar/test_batch.bin" --json >"$state/$kind.json.part"
    mv "$state/$kind.json.part" "$state/$kind.json"
}

sets=
for s in "$@"; do
    sets="$sets --set $s"
done
# shellcheck disable=SC2086 # a list of words is meant
experiment knn 0 $sets
# shellcheck disable=SC2086
experiment kmeans 12.5 $sets

flat() { awk -f deploy/scripts/flat.awk "$state/$1.json"; }
# What a report says at a path, in percent.
percent() { flat "$1" | awk -v p="$2" '$1 == p { if ($2 == "null") print "-"; else printf "%.2f%%\n", 100 * $2 }'; }
number() { flat "$1" | awk -v p="$2" -v f="$3" '$1 == p { printf f "\n", $2 }'; }
# Agreement with the full answer of the requests that exits within half of the depth answered.
half_agreement() {
    flat "$1" | awk '{ v[$1] = $2 }
        END { for (i = 0; ("exits." i ".name") in v; i++) {
                  e = "exits." i "."
                  if (2 * v[e "depth"] <= v["depth"] && v[e "share"] > 0) {
                      n += v[e "share"]; a += v[e "share"] * v[e "agreement"] } }
              if (n > 0) printf "%.2f%%\n", 100 * a / n; else print "-" }'
}
both() { printf '| %s | %s | %s | %s | %s |\n' "$1" "$($2 knn $3 ${4:-})" "$5" "$($2 kmeans $3 ${4:-})" "$6"; }

echo
echo "$(number knn requests %d) requests; 35,000 points; thresholds by max-wrong on 5,000 others"
echo
echo "| | knn | paper, k-NN | kmeans | paper, k-means |"
echo "|---|---:|---:|---:|---:|"
both "answered by half of the layers" percent by_half_share "" "~20%" "~33%"
both "of these, as the full network answers" half_agreement "" "" "97.5%" "92.9%"
both "oracle, by half of the layers" percent oracle_by_half_share "" "91.58%" "91.58%"
both "answered by any exit" percent early_share "" "" ""
both "same answer as the full network, all requests" percent agreement "" "" ""
both "accuracy, full network" percent full_accuracy "" "" ""
both "accuracy, served" percent served_accuracy "" "" ""
both "mean share of the FLOPs" percent mean_flops_share "" "" ""
both "latency without caches, mean ms" number latency_ms.full.mean %.2f "" ""
both "latency with caches, mean ms" number latency_ms.served.mean %.2f "" ""
both "cache memory, points or centroids, bytes" number index_bytes %d "" "12.5 MB"
rm -rf "$state/build"
