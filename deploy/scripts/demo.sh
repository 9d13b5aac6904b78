#!/bin/sh
# demo.sh - the embedded network, from data to a served pipeline with caches, in about three minutes; then the same
# network without any build, whose caches are learned from traffic
#
# usage: deploy/scripts/demo.sh [SECONDS [COLD]]     how long to watch (12), and the cold start (50)
# With KEEP=1 in the environment the pipeline goes on at the end, under load, until Ctrl-C: for a look at its page.
# What it does not clean up are the caches and the requests in .freezeline/demo-learned, which make the next run
# shorter, and the plot of the cold start in .freezeline/demo-cold.
set -eu
cd "$(dirname "$0")/../.."

watch=${1:-12}
cold_watch=${2:-50}
fl=build/release
config=configs/demo/demo-learned.yaml
state=.freezeline/demo-learned
data=$state/data
cold=.freezeline/demo-cold
cold_rate=250 # requests a second: leaves the learner some of two cores
train=8000 calibrate=5000 requests=5000 # pictures
freezeline() { "$fl/freezeline" "$@"; }
say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n%s\n' "$*"; }

load= up= ended=
clean_up() {
    [ -z "$ended" ] || return 0
    ended=1
    trap '' INT TERM
    if [ -n "$load" ]; then
        kill "$load" 2>/dev/null || :
        wait "$load" 2>/dev/null || :
    fi
    if [ -n "$up" ]; then
        [ ! -t 1 ] || printf '\033[?25h'
        eval "freezeline down $up" || :
    fi
}
trap clean_up EXIT
trap 'clean_up; exit 130' INT
trap 'clean_up; exit 143' TERM

# Value at a path of a JSON report.
get() { awk -f deploy/scripts/flat.awk "$1" | awk -v path="$2" '$1 == path { print $2 }'; }

build_caches() {
    stamp="$(cat configs/demo/demo.onnx $config cache_service/store/manifest.c | cksum) $train+$calibrate+$requests"
    if [ "$(cat $state/stamp 2>/dev/null)" = "$stamp" ] && [ -f $state/caches/manifest.json ] && [ -f $data/requests.bin ]; then
        say "1. The caches are there already ($state)"
        return
    fi
    say "1. Draw pictures, run them through the network, teach three caches, certify that they cost at most half a point of accuracy"
    rm -rf $state/redis # knows other caches
    mkdir -p $data
    freezeline generate --count $train --seed 11 --output $data/train.bin
    freezeline generate --count $calibrate --seed 12 --output $data/calibrate.bin
    freezeline generate --count $requests --seed 13 --output $data/requests.bin
    freezeline build -c $config --threads 2 --train cifar10:$data/train.bin --calibrate cifar10:$data/calibrate.bin
    rm -rf $state/build $data/train.bin $data/calibrate.bin
    echo "$stamp" >$state/stamp
}

# bench NAME OPTION ...: a closed loop over the requests; its report goes to NAME.json. Replaces the (sub)shell that
# calls it.
bench() {
    name=$1
    shift
    exec "$fl/freezeline" bench -c $config --data cifar10:$data/requests.bin --json "$@" >$state/"$name".json
}

# The live picture while requests are sent, eight always in flight.
show() {
    say "3. Send requests for $watch seconds and watch who answers"
    bench live --closed 8 --duration "$watch" 2>$state/live.log &
    load=$!
    if [ -t 1 ]; then
        freezeline top -c $config --duration "$watch"
    else
        freezeline top -c $config --once --interval "$((watch / 2 + 1))"
    fi
    if ! wait "$load"; then
        cat $state/live.log >&2
        exit 1
    fi
    load=
    printf '%s answered, %s errors, %.1f%% right\n' "$(get $state/live.json answered)" "$(get $state/live.json errors)" \
        "$(product "$(get $state/live.json accuracy)" 100)"
}

# With and without caches in turn, so that whatever else the machine does hits both.
measure() {
    say "4. Measure, with the caches and without in turn: one request at a time, then sixteen (half a minute)"
    (bench one --closed 1 --requests 2000 --rounds 10 --against no-cache)
    (bench many --closed 16 --requests 8000 --rounds 10 --against no-cache)
}

row() { printf '  %-32s %14s %14s %8s\n' "$@"; }
# pair TEXT FORMAT REPORT KEY: one number with caches, the first configuration, and without, the second.
pair() {
    with=$(get $state/"$3".json "against.configurations.0.$4")
    without=$(get $state/"$3".json "against.configurations.1.$4")
    row "$1" "$(printf "$2" "$without")" "$(printf "$2" "$with")" \
        "$(awk -v a="$with" -v b="$without" 'BEGIN { printf "%.2fx", a / b }')"
}
product() { awk -v a="$1" -v b="$2" 'BEGIN { print a * b }'; }
table() {
    say "5. What the caches did"
    freezeline eval -c $config --data cifar10:$data/requests.bin --limit 3000
    echo
    row "served by the pipeline" "without caches" "with caches" "ratio"
    pair "latency, one in flight: mean" "%.3f ms" one latency_ms.mean
    pair "                        median" "%.3f ms" one latency_ms.p50
    pair "                        p99" "%.3f ms" one latency_ms.p99
    pair "latency, 16 in flight:  mean" "%.2f ms" many latency_ms.mean
    pair "throughput, 16 in flight" "%.0f/s" many achieved_rps
}

keep_on() {
    [ "${KEEP:-0}" = 1 ] || return 0
    say "The pipeline stays up, with $cold_rate requests a second; Ctrl-C stops it. Its page: $page"
    "$fl/freezeline" bench "$@" --data cifar10:$cold/requests.bin --rate $cold_rate --duration 86400 --json \
        >$cold/live.json 2>$cold/live.log &
    load=$!
    wait "$load" || :
}

# Nothing is built: pictures that nobody has seen come at a steady rate, and within a minute caches are taught,
# certified and serve. The same answer as the network's is promised but for one point, as nobody tells labels.
cold_start() {
    say "7. Start again with no caches at all: they are learned from the traffic, certified, and serve"
    rm -rf $cold
    mkdir -p $cold
    set -- -c $config --set state="$PWD/$cold" --set name=demo-cold --set cache.promise=agreement \
        --set cache.max_accuracy_loss=1.0 --set broker.http=127.0.0.1:0
    freezeline generate --count 20000 --seed 14 --output $cold/requests.bin
    up="-c $config --set 'state=$PWD/$cold'"
    freezeline up "$@"
    page=$(sed -n 's|.*a page for people at \(http://[^ ]*\).*|\1|p' $cold/logs/broker.log | tail -n 1)
    echo "The same as a page in the browser, while this runs: $page (KEEP=1 make demo leaves it up)"
    "$fl/freezeline" bench "$@" --data cifar10:$cold/requests.bin --rate $cold_rate --duration "$cold_watch" --json \
        >$cold/live.json 2>$cold/live.log &
    load=$!
    freezeline top "$@" --learning --duration "$cold_watch" --plot $cold/cold-start.svg
    wait "$load" || cat $cold/live.log >&2
    load=
    freezeline cache history "$@"
    keep_on "$@"
    rm -f $cold/requests.bin
    say "8. Stop"
    clean_up
    echo "The same as a plot: $cold/cold-start.svg"
}

build_caches
say "2. Start broker, three stage workers, cache service, learner, Redis"
up="-c $config"
freezeline up -c $config
show
measure
table
say "6. Stop"
freezeline down -c $config
up=
cold_start
echo "Caches and requests are kept in $state ($(du -sh $state | cut -f1)); remove it to start from nothing."
