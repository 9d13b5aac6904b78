#!/bin/sh
# test_rollout_hosts.sh - a rollout of a pipeline that runs on two hosts: every request of a steady load is answered
#
# Skipped where hosts cannot be made (hosts.sh).
set -u
. "$(dirname "$0")/checks.sh"
. tests/integration/hosts.sh

hosts_up 2

two=$work/two.yaml
cat >"$two" <<YAML
model: net.onnx
name: tiny
state: state
keys: keys
security: curve
hosts:
  - {name: a, address: 10.77.0.1, ssh: h1}
  - {name: b, address: 10.77.0.2, ssh: h2}
exits: none
stages:
  - last: block1.out
  - {}
cache: {kind: none}
broker: {heartbeat_ms: 100, dead_after_ms: 20000, deadline_ms: 60000}
YAML
cp tests/data/tiny.onnx "$work/net.onnx"
{
    npy_head '(8, 3, 16, 16)'
    head -c 6144 "$build/freezeline"
} >"$work/asked.npy"

# --- what serves, and clients that ask ---

serves() {
    fl keys make -c "$two" && fl up -c "$two" --on ssh
}
# Stays until it is interrupted; then its report is a partial one.
asks() {
    $world exec 0 sh -c "echo \$\$ >'$work/clients'; exec '$build/freezeline' bench -c '$two' --rate 100 \
        --data 'npy:$work/asked.npy' --no-warm-up --duration 3600 --json" >"$work/bench.json" 2>"$work/bench.err" &
}
in_flight() { fl status -c "$two" --json | grep -Eq '"answered": *[1-9]'; }
# Where they have given up nothing is handed on, and all that follows would wait as long as it may.
still_ask() { kill -0 $clients || { cat "$work/bench.json" "$work/bench.err" && return 1; }; }
none_failed() {
    $world exec 0 kill -INT "$(cat "$work/clients")"
    within 60 sh -c "! kill -0 $clients" && cat "$work/bench.json" && grep -q '"errors": 0,' "$work/bench.json" &&
        ! grep -q '"answered": 0,' "$work/bench.json"
}
brokers_on_a() { [ "$($world exec 1 pgrep -cx freezeline-brok)" = "$1" ]; }
workers() { # their numbers
    for k in 1 2; do $world exec $k pgrep -x freezeline-stag; done
}
alone_on_hosts() {
    brokers_on_a 1 && [ "$(workers | wc -l)" = 2 ] &&
        [ "$($world exec 2 pgrep -cf 'freezeline supervise')" = 1 ]
}
check "up" serves
asks
clients=$!
check "clients ask" within 60 in_flight

# --- files that are worse, and files that are not ---

live="--step-time 60 --slower 10000"
worse_is_left() {
    still_ask || return 1
    before=$(workers)
    printf '\000\000\172\104' | dd of="$work/net.onnx" bs=1 seek=41527 conv=notrunc && # class 3 in everything
        ! fl rollout -c "$two" --steps 0.0001,50 --mirror 99 $live >"$work/said" 2>&1 && cat "$work/said" &&
        grep -q 'of the answers are others' "$work/said" && grep -q 'backed out: ' "$work/said" &&
        [ "$before" = "$(workers)" ] && alone_on_hosts && cp tests/data/tiny.onnx "$work/net.onnx"
}
port_in_use() {
    sed -i 's/block1.out/block2.out/' "$two" &&
        ! fl rollout -c "$two" --port 5600 >"$work/said" 2>&1 && cat "$work/said" &&
        grep -q 'somebody listens there already' "$work/said" && alone_on_hosts
}
begins() { # one that does not end; waits until clients are answered by it
    still_ask || return 1
    $world exec 0 sh -c "echo \$\$ >'$work/rollout'; exec '$build/freezeline' rollout -c '$two' --steps 90 \
        --step-time 600 --step-requests 1000000 --slower 10000 --tolerance 100 --lease 5" >"$work/began" 2>&1 &
    within 60 handed_on || {
        cat "$work/began"
        return 1
    }
}
handed_on() { fl status -c "$two" --json | tr -d ' \n' | grep -Eq '"relays":\[.*"answered":[1-9][0-9]'; }
killed_leaves_nothing() {
    begins && $world exec 0 kill -9 "$(cat "$work/rollout")" && within 60 alone_on_hosts
}
better_is_taken() {
    still_ask || return 1
    before=$(workers)
    fl rollout -c "$two" --steps 10,50,100 --step-requests 10 --mirror 40 --tolerance 50 $live --json >"$work/said" &&
        cat "$work/said" && grep -q '"applied": true' "$work/said" && alone_on_hosts && [ "$before" != "$(workers)" ] &&
        fl status -c "$two" --json | tr -d ' \n' | grep -q '"relays":\[\]' &&
        ! fl rollout -c "$two" >"$work/said" 2>&1 && grep -q 'nothing to do' "$work/said"
}
down_ends_what_was_killed() {
    sed -i 's/block2.out/block1.out/' "$two"
    begins && $world exec 0 kill -9 "$(cat "$work/rollout")" && fl down -c "$two" || return 1
    for k in 1 2; do
        ! $world exec $k pgrep -l freezeline || return 1
    done
}
check "a model that answers otherwise is left" worse_is_left
check "ports of another" port_in_use
check "a rollout that is killed leaves nothing" killed_leaves_nothing
check "files that are no worse are taken" better_is_taken
check "no request failed" none_failed
asks
clients=$!
check "down ends what a killed rollout left" down_ends_what_was_killed
check "no sanitizer has reported" no_reports 1 2
finish
