#!/bin/sh
# measuring.sh - what measuring costs: no request traced, 1% of them, all of them, in interleaved rounds
#
# usage: tests/bench/measuring.sh [-r ROUNDS] [-o OLDER_BUILD] [DATA]
# Serves the embedded network with caches built for it (DATA: generated pictures unless given). OLDER_BUILD is a folder
# with the binaries of an earlier state (build/release of another checkout): its pipeline runs beside and takes turns
# too, so what measuring costs when nothing is traced is seen as well. Run it on a machine that is quiet.
set -eu
cd "$(dirname "$0")/../.."
build=$PWD/build/release rounds=20 older=
while getopts r:o: option; do
    case $option in
    r) rounds=$OPTARG ;;
    o) older=$(cd "$OPTARG" && pwd) ;;
    *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
dir=$(mktemp -d)
finish() {
    "$build/freezeline" down -c "$dir/now.yaml" >"$dir/down.log" 2>&1 || true
    [ -z "$older" ] || "$older/freezeline" down -c "$dir/before.yaml" >"$dir/down.log" 2>&1 || true
    rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM

# pipeline NAME: the demo's, with its own state and no learning, so that all stay as they were built
pipeline() {
    sed -e "s|^model: .*|model: $PWD/configs/demo/demo.onnx|" -e "s|^name: .*|name: $1|" -e "s|^state: .*|state: $dir/$1|" \
        -e 's/managed: true/managed: false/' -e 's/sample: .*/sample: 0\n  audit: 0/' configs/demo/demo.yaml >"$dir/$1.yaml"
}

# start BINARIES NAME
start() {
    pipeline "$2"
    if ! { "$1/freezeline" build -c "$dir/$2.yaml" --train "cifar10:$dir/d.bin#0-1199" \
        --calibrate "cifar10:$dir/d.bin#1200-1599" && "$1/freezeline" up -c "$dir/$2.yaml"; } >"$dir/$2.log" 2>&1; then
        cat "$dir/$2.log" >&2
        exit 1
    fi
}

"$build/freezeline" generate --count 2000 --output "$dir/d.bin" >"$dir/generate.log" 2>&1
start "$build" now
set -- "${1:-cifar10:$dir/d.bin#1600-1999}" --against traced --against traced:1
if [ -n "$older" ]; then
    start "$older" before
    set -- "$@" --against "$dir/before.yaml"
fi
"$build/freezeline" bench -c "$dir/now.yaml" --closed 1 --requests $((rounds * 100)) --rounds "$rounds" --data "$@"
