#!/bin/bash
# http_load.sh - the HTTP door under load, beside nginx, and beside many who do nothing
#
# usage: tests/bench/http_load.sh [ROUNDS [SECONDS]]     (5 rounds of 3 s; needs wrk, nginx, python3 and two cores)
#
# 64 connections send 3 KiB of raw binary input each time, in turn to a pipeline, to an nginx that answers each POST with
# as many bytes as the pipeline does, and to a server of libmicrohttpd that does nothing else (bench_echo): what the door
# can reach at most. All three are pinned to core 0, the load to core 1; beside requests a second stands what each took
# of its core, which other load on the machine changes less. The pipeline answers from its response cache: what is
# measured is the door and the broker, not a network. Then 8 connections, four times as many rounds of a second: alone,
# beside 1,000 that are idle and 200 that send a byte every half a second each, and while nginx has all those: what the
# crowd's own process costs. The three take turns within each round, and ratios are of one round.
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

# Told an address, the crowd leaves where it was and comes there; told nothing, it goes home.
cat >"$work/crowd.py" <<'EOF'
import resource, select, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
everybody, slow, turn = [], [], 0
while True:
    if not select.select([sys.stdin], [], [], 0.5 / len(slow) if slow else None)[0]:
        try: slow[turn % len(slow)].sendall(b"0")  # each on its own, as strangers are
        except OSError: pass
        turn += 1
        continue
    line = sys.stdin.readline()
    if not line: break
    for s in everybody: s.close()
    host, _, port = line.strip().partition(":")
    everybody = [socket.create_connection((host, int(port))) for _ in range(1200)] if port else []
    slow = everybody[1000:]
    for s in slow: s.sendall(b"POST /v2/models/tiny/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 3072\r\n\r\n")
    time.sleep(0.2)
    print("there", flush=True)
EOF
coproc CROWD { exec python3 "$work/crowd.py"; }
pids+=("$CROWD_PID")
# beside ADDRESS: as load, of 8 connections to the pipeline while the crowd is at that address
beside() {
    echo "$1" >&"${CROWD[1]}"
    read -r _ <&"${CROWD[0]}"
    load "$broker" "$ours" /v2/models/tiny/infer 8
}
seconds=1
places=("" "$ours" "127.0.0.1:$port")
for i in $(seq $((4 * rounds))); do
    for turn in 0 1 2; do
        at=$(((i + turn) % 3))
        beside "${places[at]}" >"$work/one"
        echo "$i $at $(cat "$work/one")" >>"$work/crowds"
    done
done
python3 - "$work/crowds" <<'EOF'
import math, sys
rows = {}
for line in open(sys.argv[1]):
    i, at, _, p99, bad, core = line.split()
    rows.setdefault(int(i), {})[int(at)] = (float(p99), float(core), int(bad))
def tell(what, ratios):
    r, n = sorted(ratios), len(ratios)
    k = max(0, int(n / 2 - 0.98 * math.sqrt(n)))  # between which the median is at 95%, by order
    print("%s: median %.3f [%.3f .. %.3f], quarters %.3f, %.3f" % (what, r[n // 2], r[k], r[n - 1 - k], r[n // 4], r[3 * n // 4]))
print("8 connections: p99 in us (us of the core) alone, beside 1,000 idle and 200 slow ones, while those are at nginx")
for i, r in sorted(rows.items()):
    print("round %d: %s (errors %d)" % (i, ", ".join("%.0f (%.1f)" % r[at][:2] for at in range(3)), sum(v[2] for v in r.values())))
for k, what in enumerate(("p99", "the core")):
    for other, name in ((0, "alone"), (2, "elsewhere")):
        tell("%s, to %s" % (what, name), [r[1][k] / r[other][k] for r in rows.values()])
EOF
