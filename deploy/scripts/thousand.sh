#!/bin/sh
# thousand.sh - the simulations behind "From one machine to a thousand" in deploy/simulate/PREDICTION.md, each with its
# command line
#
# usage: deploy/scripts/thousand.sh MODEL.onnx [MEASURED.json]
set -eu
cd "$(dirname "$0")/../.."
model=$1 measured=${2:-configs/cifar10-resnet18-measured.json}

simulate() { # OPTION ...
    printf '\n$ freezeline simulate'
    printf ' %s' "$@"
    printf '\n'
    build/release/freezeline simulate -c configs/cifar10-resnet18-learned.yaml --set model="$model" --set broker.max_requests=8192 \
        --measured "$measured" "$@"
}
cell='--cluster configs/cluster-cell.yaml'
million='--cluster configs/cluster-million.yaml'

# shellcheck disable=SC2086 # lists of words are meant
{
    simulate --sweep --requests 50000 --no-cache
    simulate --sweep --requests 50000
    simulate $cell --rate 2500 --search --target-p99-ms 30 --requests 50000 --no-cache
    simulate $cell --rate 10000 --search --target-p99-ms 30 --requests 50000
    simulate $cell --rate 12000 --replicas 16,16,16
    simulate $cell --rate 15000 --replicas 16,16,16
    simulate $million --rate 1000000 --replicas 16,10,9
}
