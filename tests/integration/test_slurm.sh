#!/bin/sh
# test_slurm.sh - a pipeline with caches as a job of Slurm on three hosts: it answers as on one host, and ends, is
# cancelled, requeued and comes back after a node's death
#
# The hosts and their Slurm are real (tests/hosts/world.sh); the folder of the pipeline file is seen by all of them, as
# home folders on clusters are.
set -u
. "$(dirname "$0")/checks.sh"
. tests/integration/hosts.sh

hosts_up 3 slurm
freezeline=$build/freezeline
folder=$FREEZELINE_WORLD/shared
cp configs/demo/demo.onnx "$folder"
cat >"$folder/p.yaml" <<YAML
model: demo.onnx
state: state
security: none
input: {mean: [128, 128, 128], std: [64, 64, 64]}
exits:
  - {name: block1, after: /blocks.0/Relu_1}
  - {name: block4, after: /blocks.3/Relu_1}
stages: 3
cache: {memory_mb: 1, train_epochs: 1, wait_us: 500000}
YAML
cd "$folder" || exit

there() { # K COMMAND ...
    $world exec "$@"
}
fl() { # COMMAND ARGUMENT ...: as a user of the cluster
    command=$1
    shift
    there 0 timeout 120 "$freezeline" "$command" -c p.yaml "$@"
}
# One picture as bytes in an .npy file.
picture() { # NUMBER FILE
    {
        npy_head '(3, 32, 32)'
        tail -c +$(($1 * 3073 + 2)) requests.bin | head -c 3072
    } >"$2"
}
build() {
    there 0 "$freezeline" generate --count 600 --seed 11 --output train.bin &&
        there 0 "$freezeline" generate --count 300 --seed 12 --output calibrate.bin &&
        there 0 "$freezeline" generate --count 24 --seed 13 --output requests.bin &&
        fl build --train cifar10:train.bin --calibrate cifar10:calibrate.bin || return
    mkdir -p pictures
    for i in $(seq 0 23); do picture "$i" "$(printf pictures/%02d.npy "$i")"; done
}
ask() { # FILE: who answered each picture, and what
    fl infer --input pictures --json >all && fl infer --input pictures --no-cache --json >whole || return
    cat all whole | answers >"$1" && [ "$(wc -l <"$1")" = 48 ]
}
answers() { grep -o '"\(label\|exit\)": *[^,}]*' | paste - -; }
# Whether a cache is in time is a matter of time; what it answers, and the whole network, is not.
alike() { # FILE: is like one-host
    paste one-host "$1" | awk -F '\t' '{ same = $1 $2 == $3 $4; n += same }
        !same && (NR > 24 || $2 == $4) { print; bad = 1 } END { print n; exit bad || n < 36 }'
}
same() { ask now && alike now; }
on_one_host() { fl up --on local && ask one-host && fl down; }
some_early() { sort one-host | uniq -c && grep -q block one-host; }
job() { cat state/run/job; }
nothing_left() { # no job, and nothing of it on any host
    [ -z "$(there 0 squeue -h)" ] || return 1
    for k in 1 2 3; do
        ! there $k pgrep -l freezeline || return 1
    done
}
ready() { [ "$(cat state/run/job-ready)" = "$1" ]; }

submitted() { fl up --on slurm | grep '3 hosts, ready: 7 processes'; }
on_three_hosts() { [ "$(fl status | grep -c -e '^stage[012].0 .* ready')" = 3 ] && [ "$(fl status | awk '/ready/ && $2 ~ /^h[123]$/ { print $2 }' | sort -u | wc -l)" = 3 ]; }
logs_of_all() { [ "$(fl logs --lines 1 | grep -o '^h[123]: stage' | sort -u | wc -l)" = 3 ]; }
# Another cut answers the same; a steady load meets the change.
rolled_out() {
    there 0 sh -c "echo \$\$ >clients; exec '$freezeline' bench -c p.yaml --rate 20 --data cifar10:requests.bin \
        --no-cache --no-warm-up --duration 3600 --json" >load 2>load.err &
    clients=$!
    sed 's|^stages: 3|stages: [{last: /blocks.2/Relu_1}, {last: /blocks.5/Relu_1}, {}]|' p.yaml >cut && cat cut >p.yaml
    fl rollout --steps 50 --step-requests 10 --step-time 60 --slower 10000 --tolerance 100 --json >rolled 2>&1
    cat rolled
    there 0 kill -INT "$(cat clients)"
    wait $clients
    cat load.err
    grep -q '"applied": true' rolled && grep -q '"handed_on": *[1-9]' rolled && grep -q '"errors": 0,' load &&
        on_three_hosts && same
}
restarted() { fl restart stage1.0 | grep 'started again'; }
refuses_a_second() { ! fl up --on slurm 2>again && grep "it is up already, as Slurm's job $(job)" again; }
ends() { fl down | grep stopped && within 30 nothing_left && [ ! -e state/run/job ] && [ ! -e state/run/launch.json ]; }

allocated() { # the first that ever runs there, as far as its folder knows
    rm -rf state/logs
    there 0 salloc --quiet -N3 -c2 sh -c "'$freezeline' up --on slurm -c p.yaml && '$freezeline' infer -c p.yaml --input pictures --json >inside && '$freezeline' down -c p.yaml" &&
        cat inside whole | answers >now && alike now && within 30 nothing_left
}
exported() {
    fl export slurm --to job.sh && there 0 sbatch --parsable job.sh >id && within 60 ready "$(cat id)" && same
}
cancelled() {
    there 0 scancel "$(cat id)" && within 60 nothing_left && grep CANCELLED state/logs/slurm-"$(cat id)".log
}
pending() { [ "$(there 0 squeue -h -j "$1" -o %T)" = PENDING ]; }
# Slurm starts a requeued job after two minutes, and refuses what starts in the second in which the job was ended.
starts_again() {
    within 90 pending "$(cat id)" && there 0 scontrol update JobId="$(cat id)" StartTime=now+4 && within 90 ready "$(cat id)" || {
        there 0 squeue
        there 0 sinfo
        tail -n 5 "$FREEZELINE_WORLD"/h0/slurmctld.log state/logs/slurm-"$(cat id)".log
        return 1
    }
}
requeued() { there 0 scontrol requeue "$(cat id)" && starts_again && same; }
idle() { [ "$(there 0 sinfo -h -n "$1" -p all -o %t)" = idle ]; }
node_dies() {
    $world kill 3 && within 60 pending "$(cat id)" && $world boot 3 && within 60 idle h3 && starts_again && same
}
wrong() { # WHAT IS SAID ARGUMENT ...
    said=$1
    shift
    ! fl up --on slurm "$@" >wrong 2>&1 && grep -e "$said" wrong
}
# Nodes of a job have keys of their own, too, though no file names them.
with_keys() {
    nodes='hosts=[{name: h1}, {name: h2}, {name: h3}]'
    cp p.yaml plain && sed 's/^security: none/security: curve/; s/^state: .*/&\nkeys: keys/' plain >p.yaml
    fl keys make && ! fl up --on slurm 2>wrong && cat wrong && grep -F "keys make -c" wrong | grep -F "$nodes" &&
        within 30 nothing_left && fl keys make --set "$nodes" && fl up --on slurm && same && fl down &&
        within 30 nothing_left
    ok=$?
    cat plain >p.yaml
    return $ok
}
fails_and_says_why() {
    echo 'hosts: [{name: a}, {name: b}, {name: c}, {name: d}]' >>p.yaml
    wrong "ended (.*) before the pipeline was ready" --set launch.slurm.nodes=2 &&
        grep "names 4 hosts, but there are 2 machines" wrong && within 30 nothing_left && [ ! -e state/run/job ]
}

check "caches are built" build
check "one host answers" on_one_host
check "some answers come from caches" some_early
check "up --on slurm submits a job and waits until it serves" submitted
check "its stages are on three hosts" on_three_hosts
check "its answers are those of one host" same
check "logs come from all of them" logs_of_all
check "a change is rolled out" rolled_out
check "a worker is started again" restarted
check "a second up is refused" refuses_a_second
check "down ends the job and leaves nothing" ends
check "inside an allocation" allocated
check "the script of export runs as it is" exported
check "a requeued job serves again" requeued
check "after a node's death the job serves again" node_dies
check "scancel ends everything" cancelled
check "keys" with_keys
check "a partition that is not there" wrong "partition" --set launch.slurm.partition=nowhere
check "a job that fails says why" fails_and_says_why
finish
