#!/bin/sh
# http_load.sh - the HTTP door under load, beside nginx, and beside many who do nothing
#
# usage: tests/bench/http_load.sh [ROUNDS [SECONDS]]     (5 rounds of 3 s; needs wrk, nginx, python3 and two cores)
#
# 64 connections send 3 KiB of raw binary input each time, in turn to a pipeline, to an nginx that answers each POST
# with as many bytes as the pipeline does, and to a server of libmicrohttpd that does nothing else (bench_echo): what the
# door can reach at most. All three are pinned to core 0, the load to core 1; beside requests a second stands what each took
# of its core, which other load on the machine changes less. The pipeline answers from its response cache: what is
# measured is the door and the broker, not a network. Then 8 connections beside 1,000 that are idle and 200 that send a
# byte every half a second each, in turns with 8 at a second pipeline that has no such crowd (bench_crowd).
set -eu
cd "$(dirname "$0")/../.."
rounds=${1:-5} seconds=${2:-3}
bin=${FREEZELINE_BUILD:-build/release}
work=$(mktemp -d)
pids=
trap 'kill $pids 2>/dev/null || :; wait; rm -rf "$work"' EXIT
for program in wrk nginx python3 taskset; do
    command -v $program >/dev/null || { echo "http_load.sh needs $program"; exit 1; }
done

# serve NAME: a broker on core 0 with one stage; sets $broker, its process, and $address when it is ready
serve() {
    printf 'model: %s\nstages: 1\nexits: none\nstate: %s\nbroker: {http: "127.0.0.1:0", response_cache_mb: 1}\n' \
        "$PWD/tests/data/tiny.onnx" "$work/$1" >"$work/$1.yaml"
    taskset -c 0 "$bin/freezeline-broker" -c "$work/$1.yaml" >"$work/$1.log" 2>&1 &
    broker=$! pids="$pids $!"
    "$bin/freezeline-stage" -c "$work/$1.yaml" --stage 0 --replica 0 >"$work/$1-stage.log" 2>&1 &
    pids="$pids $!"
    until grep -q 'every stage has' "$work/$1.log"; do sleep 0.1; done
    address=$(sed -n 's|.*people at http://\([^/]*\)/.*|\1|p' "$work/$1.log" | head -n 1)
}
serve others && others=$address
serve ours && ours=$address

python3 - "$work" <<'EOF'
import sys
open(sys.argv[1] + "/body", "wb").write(bytes(3072))
open(sys.argv[1] + "/ask.lua", "w").write(
    'local f = io.open("%s/body", "rb"); wrk.method = "POST"; wrk.body = f:read("*a"); f:close()\n'
    'wrk.headers["Inference-Header-Content-Length"] = "0"\n' % sys.argv[1])
EOF
curl -sS --noproxy '*' -o "$work/answer" -H 'Inference-Header-Content-Length: 0' --data-binary @"$work/body" \
    "http://$ours/v2/models/tiny/infer"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
mkdir "$work/nginx"
cat >"$work/nginx.conf" <<EOF
worker_processes 1; worker_cpu_affinity 01; daemon off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 4096; }
http {
    access_log off; client_body_temp_path $work/nginx; client_body_buffer_size 64k; keepalive_requests 1000000000;
    server { listen 127.0.0.1:$port; location / { return 200 '$(printf '%*s' "$(wc -c <"$work/answer")" '' | tr ' ' x)'; } }
}
EOF
(ulimit -n 4096 && exec nginx -p "$work" -c "$work/nginx.conf") 2>"$work/nginx.err" &
pids="$pids $!"
taskset -c 0 "$bin/tests/bench/bench_echo" "$(wc -c <"$work/answer")" >"$work/echo" &
echo=$! pids="$pids $!"
sleep 0.5
worker=$(pgrep -P "$(cat "$work/nginx.pid")") bare=127.0.0.1:$(cat "$work/echo")

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
# load PID ADDRESS PATH: requests a second, us of the process for each, answers that are errors
load() {
    before=$(ticks "$1")
    taskset -c 1 wrk -t1 -c64 -d"${seconds}s" -s "$work/ask.lua" "http://$2$3" >"$work/wrk"
    awk -v before="$before" -v after="$(ticks "$1")" -v each="$(getconf CLK_TCK)" '
        /Requests\/sec/ { rate = $2 } /requests in/ { n = $1 } /Non-2xx/ { bad = $NF }
        END { print rate, (after - before) / each * 1e6 / n, bad + 0 }' "$work/wrk"
}
middle() { sort -g | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

echo "64 connections, 3 KiB raw binary input, answers of $(wc -c <"$work/answer") bytes: requests/s (us of the core)"
for i in $(seq "$rounds"); do
    ours_got=$(load "$broker" "$ours" /v2/models/tiny/infer)
    nginx_got=$(load "$worker" "127.0.0.1:$port" /)
    bare_got=$(load "$echo" "$bare" /)
    echo "$i $ours_got $nginx_got $bare_got" | awk '{
        printf "round %d: pipeline %.0f (%.1f), nginx %.0f (%.1f), libmicrohttpd alone %.0f (%.1f), ", $1, $2, $3, $5, $6, $8, $9
        printf "ratio to nginx %.2f, of the core %.2f (errors %d, %d)\n", $2 / $5, $6 / $3, $4, $7 }' | tee -a "$work/ratios"
done
for of in "ratio to nginx" "of the core"; do
    echo "$of, median: $(sed "s/.*$of \([0-9.]*\).*/\1/" "$work/ratios" | middle)"
done

taskset -c 1 "$bin/tests/bench/bench_crowd" "$ours" "$others" /v2/models/tiny/infer 3072 $((20 * rounds))
