#!/bin/sh
# test_up_ssh.sh - a pipeline with caches over three hosts, started by ssh: answers of one host, and what goes wrong
#
# Skipped where hosts cannot be made (hosts.sh).
set -u
. "$(dirname "$0")/checks.sh"
. tests/integration/hosts.sh

hosts_up 3
says() { # TEXT COMMAND ...: it fails, and says so
    text=$1
    shift
    ! "$@" >"$work/said" 2>&1 && grep -q -- "$text" "$work/said" || {
        cat "$work/said"
        return 1
    }
}

# --- a pipeline with caches, and pictures to ask ---

pipeline() { # NAME: what is the same on one host and on three
    cat >"$work/$1.yaml" <<YAML
model: $PWD/configs/demo/demo.onnx
name: $1
state: $work/$2
input: {mean: [128, 128, 128], std: [64, 64, 64]}
exits:
  - {name: block1, after: /blocks.0/Relu_1}
  - {name: block4, after: /blocks.3/Relu_1}
stages:
  - {last: block1, replicas: 2}
  - {last: block4}
  - {}
cache: {wait_us: 2000000}
updates: {sample: 0, audit: 0}
YAML
}
three_hosts() { # FILE
    cat >>"$1" <<YAML
security: none
hosts:
  - {name: a, address: 10.77.0.1, ssh: h1}
  - {name: b, address: 10.77.0.2, ssh: h2}
  - {name: c, address: 10.77.0.3, ssh: root@h3}
YAML
}
pictures() { # N of a CIFAR-10 file, as .npy files
    mkdir -p "$work/pictures"
    for i in $(seq "$1"); do
        {
            npy_head '(3, 32, 32)'
            tail -c +$(((i - 1) * 3073 + 2)) "$work/requests.bin" | head -c 3072
        } >"$work/pictures/$(printf %03d "$i").npy"
    done
}
answers() { # CONFIG: label and exit of each picture
    fl infer -c "$1" --json --input "$work/pictures" |
        sed 's/.*"label": *\([0-9]*\).*"exit": *"\([a-z0-9]*\)".*/\1 \2/
             s/.*"exit": *"\([a-z0-9]*\)".*"label": *\([0-9]*\).*/\2 \1/'
}
pipeline one state
pipeline tiny state
mv "$work/tiny.yaml" "$work/three.yaml"
three_hosts "$work/three.yaml"
one=$work/one.yaml three=$work/three.yaml

make_data() {
    fl generate --count 800 --seed 1 --output "$work/train.bin" &&
        fl generate --count 400 --seed 2 --output "$work/requests.bin" && pictures 40 &&
        fl build -c "$one" --train "cifar10:$work/train.bin" --calibrate "cifar10:$work/requests.bin"
}
on_one_host() {
    fl up -c "$one" && answers "$one" >"$work/one.answers" && fl down -c "$one" &&
        [ "$(wc -l <"$work/one.answers")" = 40 ] && grep -q block "$work/one.answers"
}
check "build caches" make_data
check "answers of one host" on_one_host

# --- three hosts ---

up_three() {
    fl up -c "$three" --on ssh >"$work/up.out" 2>"$work/up.err" || {
        cat "$work/up.err"
        return 1
    }
    grep -q '^3 hosts, ready: ' "$work/up.out"
}
same_answers() {
    answers "$three" >"$work/three.answers" && diff "$work/one.answers" "$work/three.answers"
}
shows_hosts() {
    fl status -c "$three" >"$work/status" && cat "$work/status" && grep -q '^a .*10.77.0.1 .* ready$' "$work/status" &&
        grep -q '^c .*10.77.0.3 .*+- .*us .* ready$' "$work/status" &&
        grep -q '^links between stages: 3 of 3 up' "$work/status"
}
# Caches of a host are looked up in its memory: by lanes over unix sockets, between processes of this host.
near_within_hosts() {
    fl status -c "$three" --json >"$work/status.json" && [ "$(grep -c '"near"' "$work/status.json")" -ge 2 ] &&
        $world exec 1 sh -c 'ls -d /root/.cache/freezeline/pipelines/*/state/sock/requests.lane'
}
shows_logs() {
    fl logs -c "$three" stage1.0 -n 3 >"$work/logs" && grep -q '^c: .* stage1.0 ' "$work/logs" &&
        ! grep -v '^c: ' "$work/logs" && fl logs -c "$three" -n 1 >"$work/logs" &&
        [ "$(cut -d: -f1 "$work/logs" | sort -u | tr -d '\n')" = abc ]
}
hears_sighup() {
    $world exec 2 sh -c 'kill -HUP $(cut -d" " -f1 /root/.cache/freezeline/pipelines/*/state/run/supervisor.pid)'
    grep -q '^b: .*SIGHUP' "$work/followed"
}
# What comes after the command began is shown, too.
follows_logs() {
    $world exec 0 sh -c "echo \$\$ >'$work/follower'; exec '$build/freezeline' logs -c '$three' -n 0 -f supervisor" \
        >"$work/followed" 2>&1 &
    follower=$!
    within 60 hears_sighup
    $world exec 0 kill "$(cat "$work/follower")"
    wait "$follower"
    cat "$work/followed"
    grep -q '^b: .*SIGHUP' "$work/followed"
}
folder_on() { # K
    $world exec "$1" sh -c 'echo /root/.cache/freezeline/pipelines/tiny-*'
}
nothing_left() {
    for k in 1 2 3; do
        if $world exec $k pgrep -l freezeline; then
            echo "on host $k"
            return 1
        fi
    done
}
down_three() {
    fl down -c "$three" >"$work/down" && grep -q stopped "$work/down" && nothing_left
}
check "up --on ssh" up_three
check "the same answers" same_answers
check "status shows hosts, clocks, links" shows_hosts
check "near caches" near_within_hosts
check "logs" shows_logs
check "logs -f" follows_logs
check "a second up" says "it is up already on 3 hosts" fl up -c "$three" --on ssh
check "up here, while it is up there" says "started on other hosts from here" \
    fl up -c "$three" --on local --set hosts.0.address=127.0.0.1

# --- changed while it serves ---

restarts() {
    fl restart -c "$three" stage1.0 cache1 >"$work/restarted" && cat "$work/restarted" &&
        grep -q '^stage1.0 on c: 1 process started again' "$work/restarted" &&
        grep -q '^cache1 on b: ' "$work/restarted" && same_answers
}
# A file that is edited changes nothing until it is applied: not what is restarted, nor what is shown.
edited_in_vain() {
    cp "$three" "$work/before.yaml" && sed -i 's/{last: block4}/{last: block4, replicas: 2}/' "$three" &&
        fl status -c "$three" >"$work/status" && ! grep 'stage1.1' "$work/status" &&
        grep -q 'something else than what serves: `freezeline apply --dry-run' "$work/status" &&
        fl restart -c "$three" --rolling >"$work/restarted" && grep -q '^8 processes started again' "$work/restarted" &&
        looks_only && cp "$work/before.yaml" "$three"
}
brought() {
    for k in 1 2 3; do
        $world exec $k sh -c 'cd /root/.cache/freezeline/pipelines/tiny-* && md5sum pipeline.yaml model/*' || return 1
    done
}
# Nor does looking at what would follow bring it anywhere: a worker that dies starts again from what lies there.
looks_only() {
    brought >"$work/brought" && fl apply -c "$three" --dry-run >"$work/dry" && cat "$work/dry" &&
        grep -q 'replicas: 1 -> 2: workers start or end' "$work/dry" && ! grep 'takes `freezeline down`' "$work/dry" &&
        brought | cmp - "$work/brought"
}
applies() {
    fl build -c "$one" --train "cifar10:$work/train.bin" --calibrate "cifar10:$work/requests.bin#0-199" &&
        sed 's/{last: block4}/{last: block4, batch: 4}/' "$three" >"$work/new.yaml" && cp "$work/new.yaml" "$three" &&
        fl apply -c "$three" && [ "$($world exec 3 sh -c 'grep -c "batches up to 4" \
            /root/.cache/freezeline/pipelines/*/state/logs/stage1.0.log')" -ge 1 ] || return 1
    fl status -c "$three" --json | tr -d ' ' | grep -o '"build":"[0-9a-f]*"' | sort -u >"$work/builds"
    cat "$work/builds"
    answers "$three" >"$work/three.new" && [ "$(wc -l <"$work/three.new")" = 40 ]
}
# A worker more, on a host that is named: only it starts.
grows() {
    sed 's/  - {}/  - {replicas: [{host: a}, {host: b}]}/' "$three" >"$work/new.yaml" && cp "$work/new.yaml" "$three" &&
        fl apply -c "$three" && fl status -c "$three" | grep -q '^stage2.1 *b *[0-9]* *ready' && same_answers
}
# A worker comes where the fewest are, stays there whatever else is changed, and goes again.
scales() {
    fl scale -c "$three" 1=2 >"$work/scaled" && cat "$work/scaled" &&
        grep -q '^stage1.1 has started on b$' "$work/scaled" &&
        fl status -c "$three" | grep -q '^stage1.1 *b *[0-9]* *ready' && same_answers &&
        fl scale -c "$three" 0=3 | grep '^stage0.2 has started on c$' &&
        fl restart -c "$three" stage1.1 | grep -q '^stage1.1 on b: 1 process' && fl apply -c "$three" &&
        fl status -c "$three" >"$work/status" && grep -q '^stage1.1 *b *[0-9]* *ready' "$work/status" &&
        grep -q '^stage0.2 *c *[0-9]* *ready' "$work/status" && same_answers &&
        fl scale -c "$three" 0=2 | grep '^stage0.2 has ended on c$' && fl scale -c "$three" 1=1 && same_answers
}
scales_in_vain() {
    place=$(folder_on 2)/state/sock/stage.2.1
    $world exec 2 mkdir -p "$place/in-the-way"
    says 'all is as it was: host b: .*stage2.1' fl scale -c "$three" 2=2 || return 1
    $world exec 2 rm -r "$place"
    fl status -c "$three" >"$work/status" && ! grep 'stage2.1' "$work/status" && same_answers
}
# The host of the only worker of a stage is gone, and would get the next one: both start elsewhere, and it learns of
# them later. What runs there does not end unseen.
scales_without_a_host() {
    $world cut 3
    fl scale -c "$three" 1=2 >"$work/scaled" 2>&1
    cat "$work/scaled"
    grep -q '^stage1.1 has started on b$' "$work/scaled" && grep -q '^left out: host c ' "$work/scaled" &&
        within 60 same_answers && fl scale -c "$three" 0=3 | grep '^stage0.2 has started on a$' && same_answers
    ok=$?
    $world join 3
    [ $ok = 0 ] && fl apply -c "$three" >"$work/applied" 2>&1 && cat "$work/applied" &&
        grep -q '^c: stages.1.replicas: 1 -> 2' "$work/applied" && fl scale -c "$three" 0=2 &&
        fl scale -c "$three" 0=3 | grep '^stage0.2 has started on c$' || return 1
    $world cut 3
    says 'as it was: a worker of it would start or end there: host c' fl scale -c "$three" 0=2
    ok=$?
    $world join 3
    [ $ok = 0 ] && fl scale -c "$three" 0=2 && fl scale -c "$three" 1=1 && same_answers
}
# What they started serves on; `up` gives those hosts another, and starts nothing anew.
supervisors_die() {
    before=$($world exec 2 pgrep -f freezeline-stage)
    for k in 1 2; do
        $world exec $k sh -c 'kill -9 $(cut -d" " -f1 /root/.cache/freezeline/pipelines/*/state/run/supervisor.pid)'
    done
    fl status -c "$three" >"$work/status" && grep -q '^b .*gone: pid' "$work/status" && same_answers &&
        fl up -c "$three" --on ssh 2>"$work/up.err" && grep -q '^b: its supervisor died' "$work/up.err" &&
        [ "$before" = "$($world exec 2 pgrep -f freezeline-stage)" ] && same_answers
}
check "restart" restarts
check "a file that is not applied" edited_in_vain
check "more workers, and fewer" scales
check "a worker that cannot start" scales_in_vain
check "scale, while a host is gone" scales_without_a_host
check "supervisors that die" supervisors_die
check "a worker more" grows
check "apply" applies
cp "$work/three.new" "$work/one.answers" # of the new build, from here on

pipeline other other
three_hosts "$work/other.yaml"
check "another pipeline on the same ports" says "somebody listens there already" fl up -c "$work/other.yaml" --on ssh

# --- a host that lost its power, and what it left behind ---

# One host out of reach keeps nobody from looking at the others, nor from stopping them.
others_go_on() {
    $world exec 2 sh -c "kill \$(cat "$work/world/h2/sshd.pid")" && fl status -c "$three" >"$work/status" &&
        grep -q '^a .* ready$' "$work/status" && grep -q '^b .*no sshd listens there' "$work/status" &&
        says 'host b .*no sshd listens there' fl down -c "$three" && ! $world exec 1 pgrep -l freezeline &&
        ! $world exec 3 pgrep -l freezeline
}
comes_back() {
    $world kill 2 && $world boot 2 && down_three && up_three && same_answers
}
none_ready_on_b() {
    fl status -c "$three" | tee "$work/status" && grep -q '^b .* 0/[1-9].*nothing of it runs here' "$work/status"
}
follow() { # FILE: what `logs -f` shows from now on
    $world exec 0 sh -c "echo \$\$ >'$work/follower'; exec '$build/freezeline' logs -c '$three' -n 1 -f" >"$1" 2>&1 &
    follower=$!
    followed '^b: stage' "$1"
}
followed() { # TEXT FILE
    within 60 grep -q "$1" "$2" || {
        cat "$2"
        return 1
    }
}
starts_anew() {
    follow "$work/followed" && $world kill 2 && $world boot 2 && within 20 none_ready_on_b &&
        fl up -c "$three" --on ssh 2>"$work/up.err" &&
        grep -q '^b: nothing of it runs there any more' "$work/up.err" && same_answers || return 1
    supervisor=$($world exec 2 sh -c 'cut -d" " -f1 /root/.cache/freezeline/pipelines/*/state/run/supervisor.pid')
    followed '^b: not followed, it is tried again' "$work/followed" &&
        followed "^b: supervisor: .* $supervisor supervisor info ready" "$work/followed"
    ok=$?
    $world exec 0 kill "$(cat "$work/follower")"
    wait "$follower"
    return $ok
}
check "a host that was off while the others served" starts_anew
check "a host out of reach" others_go_on
check "after a reboot" comes_back
check "down" down_three
check "nothing was up" fl down -c "$three"
check "status of nothing" says 'nobody listens there; nothing of it was started from here' fl status -c "$three"

# --- what fails at the start is named, and all is ended again ---

broken_stage() {
    place=$(folder_on 2)/state/sock/stage.1.0
    $world exec 2 mkdir -p "$place/in-the-way"
    says "host b: stage1.0 failed to start: cannot bind ipc:" fl up -c "$three" --on ssh &&
        grep -q '^b: .*the last lines of .*stage1.0.log' "$work/said" && grep -q 'stopped again' "$work/said" || {
        cat "$work/said"
        return 1
    }
    $world exec 2 rm -r "$place"
    nothing_left
}
check "a stage that cannot start" broken_stage
check "a cpu that a host has not" says "host b: stages.0.replicas.1: " fl up -c "$three" --on ssh \
    --set 'stages.0.replicas=[{host: a}, {host: b, cpus: [4000]}]'
wrong_host_key() {
    known=$work/world/h0/home/.ssh/known_hosts
    cp "$known" "$work/known" && sed -i '/^h2,/d' "$known" &&
        says 'host b .*its host key is not known here' fl up -c "$three" --on ssh &&
        sed -n 's/^h1,[^ ]*/h2,10.77.0.2/p' "$work/known" >>"$known" &&
        says 'host b .*its host key is not the one that is known' fl up -c "$three" --on ssh &&
        cp "$work/known" "$known"
}
check "a host with another key than is known" wrong_host_key
check "no hosts" says "names no .hosts." fl up -c "$one" --on ssh

# --- keys ---

# Whoever is revoked here is refused there; a rotation goes by what it says.
revoked_though_one_is_away() { # CONFIG
    $world cut 3 && says 'done here and on the other hosts, but not everywhere: .*h3' fl keys revoke alice -c "$1" &&
        ! $world exec 1 sh -c 'grep -r alice /root/.cache/freezeline/pipelines/*/keys/allowed' &&
        $world join 3 && fl keys revoke alice -c "$1" &&
        ! $world exec 3 sh -c 'grep -r alice /root/.cache/freezeline/pipelines/*/keys/allowed' &&
        says 'nobody is called' fl keys revoke alice -c "$1"
}
keys_reach_hosts() { # CONFIG
    mkdir -m 700 "$work/alice" && fl keys add alice --output "$work/alice/client.key" -c "$1" &&
        fl infer -c "$1" --input "$work/pictures/001.npy" --set keys="$work/alice" &&
        $world exec 1 sh -c 'grep -r alice /root/.cache/freezeline/pipelines/*/keys/allowed' &&
        revoked_though_one_is_away "$1" &&
        ! $world exec 1 sh -c 'grep -r alice /root/.cache/freezeline/pipelines/*/keys/allowed' &&
        fl keys rotate @b -c "$1" && says 'not started again since the last step' fl keys rotate -c "$1" &&
        says 'other keys than those of host .c. are being rotated' fl keys rotate @c --anyway -c "$1" &&
        fl restart -c "$1" --rolling && fl keys rotate -c "$1" &&
        fl restart -c "$1" --rolling && fl keys rotate @b -c "$1" &&
        answers "$1" | diff "$work/one.answers" -
}
b_is() { # CONFIG STATE: of each worker on b
    fl status -c "$1" | tee "$work/status"
    awk -v state="$2" '/^stage/ && $2 == "b" { n++; other += $4 != state } END { exit !n || other }' "$work/status"
}
# What runs on a host that was stolen is refused; the others serve on; with new keys it comes back.
host_is_shut_out() { # CONFIG
    says 'no host .x. has keys' fl keys revoke @x -c "$1" && fl keys list -c "$1" | grep -q 'worker@b ' &&
        $world exec 0 cp -r "$work/keys" "$work/stolen" && fl keys revoke @b -c "$1" &&
        ! fl keys list -c "$1" | grep '@b' && within 20 b_is "$1" dead && answers "$1" | diff "$work/one.answers" - &&
        says 'no way in\|does not answer\|is not in' fl status -c "$1" --set keys="$work/stolen" --host b
    fl keys make -c "$1" && $world exec 2 pkill -9 freezeline-stag && within 20 b_is "$1" ready &&
        answers "$1" | diff "$work/one.answers" -
}

keys_that_nobody_takes() { # CONFIG
    key=$work/keys/worker-b.key list=$work/keys/allowed
    chmod 644 "$key" && says 'worker-b.key has mode 644' fl up -c "$1" --on ssh && chmod 600 "$key" &&
        chmod 666 "$list" && says 'allowed has mode 666' fl up -c "$1" --on ssh && chmod 600 "$list" &&
        cp -p "$list" "$work/listed" && sed -i '/worker@b /s/-$/2020-01-01T00:00:00Z/' "$list" &&
        says 'worker-b.key has expired on 2020' fl up -c "$1" --on ssh && sed -i '/worker@b /d' "$list" &&
        says 'worker-b.key is not in' fl up -c "$1" --on ssh && cp -p "$work/listed" "$list"
}
encrypted() {
    # On b is only what another host has, too: it is shut out below.
    sed 's/^security: none/security: curve/; s/^name: tiny/name: tiny\nkeys: keys/
         s/- {replicas: .*/- {replicas: [{host: a}]}/; s/replicas: 2}/replicas: [{host: a}, {host: b}]}/
         s/batch: 4}/batch: 4, replicas: [{host: c}]}/' "$three" >"$work/curve.yaml"
    grep -c '{host: [abc]}' "$work/curve.yaml" | grep -qx 3 || return 1
    says 'freezeline keys make' fl up -c "$work/curve.yaml" --on ssh && fl keys make -c "$work/curve.yaml" &&
        keys_that_nobody_takes "$work/curve.yaml" && fl up -c "$work/curve.yaml" --on ssh &&
        answers "$work/curve.yaml" | diff "$work/one.answers" - || return 1
    # A host has the secrets of what runs there, for its user alone.
    $world exec 2 sh -c 'cd /root/.cache/freezeline/pipelines/*/keys && ls -l && ls && ! ls -l | grep -q "rw-r"' |
        tee "$work/keys.b" && ! grep -q 'broker\|-a.key' "$work/keys.b" && grep -q worker-b.key "$work/keys.b" &&
        keys_reach_hosts "$work/curve.yaml" && host_is_shut_out "$work/curve.yaml" &&
        fl down -c "$work/curve.yaml" && nothing_left
}
check "security: curve" encrypted

# --- addresses ---

several_addresses() {
    printf '10.99.0.1 many\n10.77.0.1 many\n' >>"$work/world/hosts"
    says 'host a: .*many. has several addresses' fl up -c "$three" --on ssh --set hosts.0.address=many
}
# Sockets of a folder whose path is too long for one are elsewhere.
ipv6_and_long_paths() {
    for k in 0 1 2 3; do
        $world exec $k ip addr add "fd00:77::$((k + 1))/64" dev eth0 nodad || return 1
    done
    long=.cache/$(printf 'long%.0s' $(seq 30))
    sed 's/10\.77\.0\.1,/"fd00:77::2",/; s/10\.77\.0\.2,/"[fd00:77::3]",/; s/10\.77\.0\.3,/"fd00:77::4",/' \
        "$three" >"$work/six.yaml"
    mkdir -p "$work/$long" && cp -r "$work/state/caches" "$work/$long" # what serves is found there by the file alone
    fl up -c "$work/six.yaml" --on ssh --set "launch.directory=$long" --set "state=$work/$long" >"$work/six" &&
        cat "$work/six" &&
        grep -q 'tcp://\[fd00:77::2\]:5601' "$work/six" &&
        answers "$work/six.yaml" | diff "$work/one.answers" - && fl down -c "$work/six.yaml" && nothing_left
}
check "a name with several addresses" several_addresses
# As behind a packet filter that lets ssh through, but nothing from b to c.
way_that_is_blocked() {
    $world exec 2 ip neigh replace 10.77.0.3 lladdr 02:00:00:00:00:99 dev eth0 nud permanent
    $world exec 0 sh -c "echo \$\$ >'$work/starter'; exec '$build/freezeline' up -c '$three' --on ssh \
        --set 'stages.0.replicas=[{host: b}]' --set 'stages.1.replicas=[{host: c}]'" >"$work/blocked" 2>&1 &
    starter=$!
    within 100 grep '^b: waiting: stage0.0 does not reach stage1.0 at tcp://10.77.0.3:' "$work/blocked"
    ok=$?
    $world exec 0 kill "$(cat "$work/starter")"
    wait "$starter"
    $world exec 2 ip neigh del 10.77.0.3 dev eth0
    cat "$work/blocked"
    [ $ok = 0 ] && nothing_left
}
check "an address of loopback" says 'hosts.0.address: 127.0.0.1 is each machine.s own' \
    fl up -c "$three" --on ssh --set hosts.0.address=127.0.0.1
check "a way that is blocked" way_that_is_blocked
check "an address of another machine" says 'host b: .*this machine has no such address' \
    fl up -c "$three" --on ssh --set hosts.1.ssh=h1
check "IPv6, and a state directory with a long path" ipv6_and_long_paths

# --- a host file ---

with_host_file() {
    printf '# three\nh1 slots=1\nroot@h2 slots=2\nh3 slots=1 max_slots=2\n' >"$work/hosts"
    fl up -c "$one" --on ssh --hosts "$work/hosts" --set security=none &&
        fl status -c "$one" >"$work/status" && grep -q '^h3 ' "$work/status" &&
        answers "$one" | diff "$work/one.answers" - && fl down -c "$one" && nothing_left
}
check "a host file" with_host_file
check "no sanitizer has reported" no_reports 1 2 3
finish
