#!/bin/bash
# http_load.sh - the HTTP door under load, beside nginx, and beside many who do nothing
#
# usage: tests/bench/http_load.sh [ROUNDS [SECONDS]]     (5 rounds of 3 s; needs wrk, nginx, python3 and two cores)
#
# 64 connections send 3 KiB of raw binary input each time, in turn to a pipeline, to an nginx that answers each POST with
# as many bytes as the pipeline does, and to a server of libmicrohttpd that does nothing else (bench_echo): what the door
# can reach at most. All three are pinned to core 0, the load to core 1; beside requests a second stands what each took
# of its core, which other load on the machine changes less. The pipeline answers from its response cache: what is
# measured is the door and the broker, not a network. Then 8 connections, in turn alone, beside 1,000 that are idle and
# 200 that send a byte every half a second each, and while nginx has all those: what the crowd's own process costs.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-5} seconds=${2:-3}
bin=${FREEZELINE_BUILD:-build/release}
work=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || :; wait; rm -rf "$work"' EXIT
for program in wrk nginx python3 taskset; do
    command -v $program >/dev/null || { echo "http_load.sh needs $program"; exit 1; }
done

printf 'model: %s\nstages: 1\nexits: none\nstate: %s\nbroker: {http: "127.0.0.1:0", response_cache_mb: 1}\n' \
    "$PWD/tests/data/tiny.onnx" "$work/state" >"$work/p.yaml"
taskset -c 0 "$bin/freezeline-broker" -c "$work/p.yaml" >"$work/broker.log" 2>&1 & pids+=($!)
broker=$!
"$bin/freezeline-stage" -c "$work/p.yaml" --stage 0 --replica 0 >"$work/stage.log" 2>&1 & pids+=($!)
until grep -q 'every stage has' "$work/broker.log"; do sleep 0.1; done
ours=$(sed -n 's|.*people at http://\([^/]*\)/.*|\1|p' "$work/broker.log" | head -n 1)

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
(ulimit -n 4096 && exec nginx -p "$work" -c "$work/nginx.conf") 2>"$work/nginx.err" & pids+=($!)
taskset -c 0 "$bin/tests/bench/bench_echo" "$(wc -c <"$work/answer")" >"$work/echo" & pids+=($!)
echo=$!
sleep 0.5
worker=$(pgrep -P "$(cat "$work/nginx.pid")") bare=127.0.0.1:$(cat "$work/echo")

ticks() { awk '{ print $14 + $15 }' "/proc/$1/stat"; }
# load PID ADDRESS PATH CONNECTIONS: requests a second, p99 in us, errors, us of the process for each
load() {
    local before
    before=$(ticks "$1")
    taskset -c 1 wrk -t1 -c"$4" -d"${seconds}s" --latency -s "$work/ask.lua" "http://$2$3" >"$work/wrk"
    awk -v before="$before" -v after="$(ticks "$1")" -v each="$(getconf CLK_TCK)" '
        /Requests\/sec/ { rate = $2 } $1 == "99%" { p = $2 } /requests in/ { n = $1 } /Non-2xx/ { bad = $NF }
        END { m = p ~ /us$/ ? 1 : p ~ /ms$/ ? 1000 : 1000000
              printf "%s %.0f %s %.2f\n", rate, p * m, bad + 0, (after - before) / each * 1e6 / n }' "$work/wrk"
}
middle() { sort -g | awk '{ x[NR] = $1 } END { print x[int((NR + 1) / 2)] }'; }

echo "64 connections, 3 KiB raw binary input, answers of $(wc -c <"$work/answer") bytes: requests/s (us of the core)"
for i in $(seq "$rounds"); do
    read -r a _ bad ca < <(load "$broker" "$ours" /v2/models/tiny/infer 64)
    read -r b _ other cb < <(load "$worker" "127.0.0.1:$port" / 64)
    read -r c _ _ cc < <(load "$echo" "$bare" / 64)
    awk -v i="$i" -v a="$a" -v b="$b" -v c="$c" -v ca="$ca" -v cb="$cb" -v cc="$cc" -v bad="$bad" -v other="$other" \
        'BEGIN { printf "round %d: pipeline %.0f (%.1f), nginx %.0f (%.1f), libmicrohttpd alone %.0f (%.1f), ", i, a, ca, b, cb, c, cc
                 printf "ratio to nginx %.2f, of the core %.2f (errors %d, %d)\n", a / b, cb / ca, bad, other }' |
        tee -a "$work/ratios"
done
for of in "ratio to nginx" "of the core"; do
    echo "$of, median: $(sed "s/.*$of \([0-9.]*\).*/\1/" "$work/ratios" | middle)"
done

cat >"$work/crowd.py" <<'EOF'
import resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
host, port = sys.argv[1].split(":")
idle = [socket.create_connection((host, int(port))) for _ in range(1000)]
slow = [socket.create_connection((host, int(port))) for _ in range(200)]
for s in slow:
    s.sendall(b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 3072\r\n\r\n")
print("there", flush=True)
turn = 0
while True:  # each on its own, as strangers are
    try: slow[turn % len(slow)].sendall(b"0")
    except OSError: pass
    turn += 1
    time.sleep(0.5 / len(slow))
EOF
# beside ADDRESS: 8 connections to the pipeline while the crowd is there
beside() {
    local crowd
    python3 "$work/crowd.py" "$1" >"$work/crowd" & crowd=$!
    until grep -q there "$work/crowd"; do sleep 0.1; done
    load "$broker" "$ours" /v2/models/tiny/infer 8
    kill $crowd && wait $crowd 2>/dev/null || :
}
echo "8 connections: p99 alone, beside 1,000 idle and 200 slow ones, and while those are at nginx"
for i in $(seq "$rounds"); do
    read -r _ alone _ _ < <(load "$broker" "$ours" /v2/models/tiny/infer 8)
    read -r _ with bad _ < <(beside "$ours")
    read -r _ there _ _ < <(beside "127.0.0.1:$port")
    awk -v i="$i" -v a="$alone" -v b="$with" -v c="$there" -v bad="$bad" \
        'BEGIN { printf "round %d: %d us alone, %d us beside, %d us elsewhere, ", i, a, b, c
                 printf "ratio to alone %.2f, to elsewhere %.2f (errors %d)\n", b / a, b / c, bad }' | tee -a "$work/crowds"
done
for of in alone elsewhere; do
    echo "ratio to $of, median: $(sed "s/.*to $of \([0-9.]*\).*/\1/" "$work/crowds" | middle)"
done
