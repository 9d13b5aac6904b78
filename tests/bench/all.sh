#!/bin/sh
# all.sh - every benchmark, side by side comparisons only: ratios with their spread
#
# usage: tests/bench/all.sh [MODEL.onnx [PIPELINE.yaml KEY=VALUE ...]]
# Default: the embedded model and its pipeline (its caches are there after `make demo`). Run it on a machine that is
# quiet.
set -u
cd "$(dirname "$0")/../.."
model=${1:-configs/demo/demo.onnx} config=${2:-configs/demo/demo-learned.yaml}
[ $# -gt 2 ] && shift 2 || set --

echo "== one thread, batch 1, against ONNX Runtime"
tests/bench/against_ort.sh "$model" || echo "skipped"
echo "== three stages without caches against the whole model in one process"
build/release/tests/bench/bench_pipeline "$model"
echo "== look-ups against the layers that they save"
sets=
for s in "$@"; do
    sets="$sets --set $s"
done
# shellcheck disable=SC2086 # a list of words is meant
build/release/tests/bench/bench_lookup -c "$config" --set "model=$model" $sets || echo "skipped: build the caches first"
echo "== look-ups of knn and kmeans against FAISS"
build/release/tests/bench/bench_flat || echo "skipped: needs libfaiss-dev"
echo "== how late the load generator sends"
build/release/tests/bench/bench_generator
echo "== what measuring costs: requests traced and not"
tests/bench/measuring.sh
