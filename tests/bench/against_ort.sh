#!/bin/sh
# against_ort.sh - time models against ONNX Runtime on this machine, in one run, side by side, and compare the answers
#
# usage: tests/bench/against_ort.sh MODEL.onnx ...   (ROUNDS, RUNS, THREADS, KERNELS, CLOCK in the environment)
# ONNX Runtime comes from the npm package onnxruntime-node, installed into build/ort when it is not there yet (set ORT
# to a folder that has it to use that one). --ignore-scripts: the package carries the CPU library, its script fetches
# others.
# KERNELS=auto,bfloat16,int8 compares lower precisions with ONNX Runtime's float32; SCALES names the file of scales that
# `freezeline quantize` wrote.
# CLOCK=cpu takes the time that the processors computed instead of the clock's: for a machine with other work.
set -eu

cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || { sed -n '4p' "$0" | sed 's/^# //' >&2; exit 2; }
[ -x build/release/freezeline ] || make all
ORT=${ORT:-build/ort}
if [ ! -d "$ORT/node_modules/onnxruntime-node" ]; then
    command -v npm >/dev/null || { echo "against_ort.sh: install nodejs and npm first (apt-get install nodejs npm)" >&2; exit 1; }
    mkdir -p "$ORT"
    npm install --prefix "$ORT" --ignore-scripts --no-audit --no-fund onnxruntime-node@1.30 >&2 ||
        npm install --prefix "$ORT" --ignore-scripts --no-audit --no-fund onnxruntime-node >&2
fi
NODE_PATH="$ORT/node_modules" exec node tests/bench/bench_ort.js "$@"
