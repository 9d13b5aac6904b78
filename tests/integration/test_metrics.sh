#!/bin/sh
# test_metrics.sh - what a pipeline tells Prometheus: the format, the rules, and that nothing asked for is missing
set -u
. "$(dirname "$0")/checks.sh"
. tests/integration/serving.sh
prometheus=
trap '[ -z "$prometheus" ] || { kill "$prometheus" && wait "$prometheus"; } 2>/dev/null; down' EXIT
command -v promtool >/dev/null && command -v prometheus >/dev/null && command -v curl >/dev/null || {
    skipped metrics "needs prometheus and curl"
    exit 0
}

# Certified at once: the traffic is the demo's, and its caches learn; here no exit has to answer.
serve() {
    of_the_demo demo-learned.yaml &&
        printf 'broker:\n  http: 127.0.0.1:0\ntraces: {to: traces.jsonl, share: 1}\n' >>"$yaml" &&
        pictures 300 11 r.bin &&
        "$bin/freezeline" up -c "$yaml" --set cache.promise=agreement &&
        "$bin/freezeline" bench -c "$yaml" --data cifar10:"$work/r.bin" --closed 2 --duration 1
}
# Triton's names are what they are.
lint() {
    curl -sS --noproxy '*' "$(address)metrics" >"$work/metrics" &&
        promtool check metrics <"$work/metrics" 2>&1 | grep -v '^nv_' >"$work/complaints"
    cat "$work/complaints"
    [ -s "$work/metrics" ] && [ ! -s "$work/complaints" ]
}
# Over HTTP, so that its time is an example for a bucket.
ask() {
    head -c 12288 /dev/zero | curl -sS --noproxy '*' -H 'Inference-Header-Content-Length: 0' --data-binary @- \
        "$(address)v2/models/demo-learned/infer" | grep -a '"model_name":"demo-learned"'
}
# A scraper that takes OpenMetrics has the ids of traces; the same are in the file of traces.
exemplars() {
    trace=$(curl -sS --noproxy '*' "http://127.0.0.1:$port/api/v1/query_exemplars?query=freezeline_http_inference_seconds_bucket&start=$(($(date +%s) - 600))&end=$(($(date +%s) + 60))" |
        grep -oE '"trace_id":"[0-9a-f]{32}"' | head -n 1 | cut -d'"' -f4)
    echo "exemplar: $trace"
    [ -n "$trace" ] && within 90 grep -q "\"traceId\":\"$trace\"" "$work/state/traces.jsonl"
}
# Each process tells what it uses: stages share the memory that requests come in.
uses() {
    for role in broker stage cache; do
        grep -qE "^freezeline_process_cpu_seconds_total\{.*role=\"$role\".* [0-9.]*[1-9]" "$work/metrics" || {
            echo "no time of processors: $role"
            return 1
        }
    done
    grep -E '^freezeline_process_shared_bytes\{.*role="stage",stage="0".* [1-9]' "$work/metrics"
}
rules() { cd deploy/monitoring && promtool check rules alerts.yml && promtool test rules alerts_test.yml; }
# What the learner and the caches tell is there once they serve; the names are those of the program.
complete() {
    grep -ohE '(freezeline|nv)_[a-z0-9_]+' deploy/monitoring/alerts.yml deploy/monitoring/grafana.json | sort -u |
        sed -E 's/_seconds_(bucket|sum|count)$/_seconds/' | while read -r name; do
        grep -q "\"$name\"" broker/http/*.c broker/page/*.c || echo "$name is asked for, and told by nobody"
    done >"$work/missing"
    cat "$work/missing"
    [ ! -s "$work/missing" ]
}
query() { curl -sS --noproxy '*' --data-urlencode "query=$1" "http://127.0.0.1:$port/api/v1/query"; }
answers_are_counted() { query 'freezeline_requests_answered_total' | grep -q '"value":\[[0-9.]*,"[1-9]'; }
scrape() {
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    target=$(address | sed 's|http://||; s|/$||')
    printf '%s\n' "rule_files: [$PWD/deploy/monitoring/alerts.yml]" 'scrape_configs:' '  - job_name: freezeline' \
        '    scrape_interval: 1s' "    static_configs: [{targets: ['$target']}]" >"$work/prometheus.yml"
    NO_PROXY='*' prometheus --config.file="$work/prometheus.yml" --storage.tsdb.path="$work/tsdb" \
        --enable-feature=exemplar-storage --web.listen-address="127.0.0.1:$port" >"$work/prometheus.log" 2>&1 &
    prometheus=$!
    within 90 answers_are_counted || {
        tail -n 20 "$work/prometheus.log"
        query up
        return 1
    }
}

check "a pipeline with HTTP serves" serve
check "it answers over HTTP" ask
check "promtool has nothing to say about the metrics" lint
check "processes tell what they use" uses
check "alerts come when they should" rules
check "rules and panels ask for what is told" complete
scrape >"$work/scraped" 2>&1 && passed=$((passed + 1)) || {
    failed=$((failed + 1))
    echo "FAILED: a Prometheus scrapes it"
    sed 's/^/    /' "$work/scraped"
}
check "and has examples of traces, which are in the file" exemplars
finish
