#!/bin/sh
# test_systemd.sh - the units that `freezeline export systemd` writes, run by a systemd that has a pid namespace, a
# cgroup and units of its own: as an ordinary user, with all that they forbid themselves
#
# Skipped where such a systemd cannot be made.
set -u
. "$(dirname "$0")/checks.sh"
build=${FREEZELINE_BUILD:-$PWD/build/release}
case $build in /*) ;; *) build=$PWD/$build ;; esac
freezeline=$build/freezeline
systemd=/lib/systemd/systemd
group=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)/freezeline-test-$$

enough() { # what is wanted here
    [ "$(id -u)" = 0 ] && [ "$group" != /freezeline-test-$$ ] && [ -x $systemd ] && command -v systemctl &&
        command -v redis-server &&
        unshare --mount --pid --uts --ipc --cgroup --fork --mount-proc mount -t cgroup2 none /sys/fs/cgroup
}
if ! enough >"$work/enough" 2>&1; then
    skipped "systemd" "units run only as root, with systemd, redis-server, namespaces and cgroup2"
    finish
    exit
fi

# --- a systemd that knows our units alone ---

mkdir "$work/none" "$work/units" && chmod 755 "$work"
cp configs/demo/demo.onnx "$work"
cat >"$work/p.yaml" <<YAML
model: demo.onnx
name: tiny
state: state
input: {mean: [128, 128, 128], std: [64, 64, 64]}
exits: [{name: block1, after: /blocks.0/Relu_1}]
stages: [{last: /blocks.3/Relu_1}, {}]
cache: {threshold: risk, max_accuracy_loss: 5}
redis: {managed: true}
YAML
for target in sysinit basic shutdown network-online; do
    printf '[Unit]\nDefaultDependencies=no\n' >"$work/units/$target.target"
done
printf '[Unit]\nDefaultDependencies=no\nWants=freezeline-tiny.target\n' >"$work/units/default.target"
mkdir "$work/units/service.d"
printf '[Service]\nStandardOutput=append:%s/log\nStandardError=append:%s/log\n' "$work" "$work" \
    >"$work/units/service.d/log.conf"

cat >"$work/boot" <<'BOOT'
# Arguments: the folder, and the program that becomes process 1.
mount -t tmpfs none /run
mount -t cgroup2 none /sys/fs/cgroup
mount --bind /etc /etc && mount -o remount,bind,ro /etc
export SYSTEMD_UNIT_PATH="$1/units" SYSTEMD_GENERATOR_PATH="$1/none" container=other
exec "$2" --system --unit=default.target --show-status=no --log-target=null
BOOT
boots() {
    mkdir "$group" || return 1
    sh -c "echo \$\$ >'$group/cgroup.procs'; exec unshare --mount --pid --uts --ipc --cgroup --fork \
        --kill-child --mount-proc sh '$work/boot' '$work' $systemd" </dev/null >"$work/systemd" 2>&1 &
    echo $! >"$work/chain"
    within 60 pgrep -P "$(cat "$work/chain")" && pgrep -P "$(cat "$work/chain")" >"$work/first"
}
ends() {
    [ ! -s "$work/chain" ] || kill -9 "$(cat "$work/chain")"
    within 60 sh -c "find '$group' -depth -type d -exec rmdir {} +; ! test -d '$group'"
}
trap 'ends >/dev/null 2>&1; rm -rf "$work"' EXIT
there() { nsenter -t "$(cat "$work/first")" --mount --pid --uts --ipc -- "$@"; }
control() { there systemctl "$@"; }

# --- the units ---

services="broker cache0 learner0 stage0.0 stage1.0"
exports() {
    "$freezeline" export systemd -c "$work/p.yaml" --user nobody --to "$work/units" && ls "$work/units"
}
active() {
    for s in redis $services; do control is-active "freezeline-tiny-$s.service" || return 1; done
}
all_active() { within 100 active || { cat "$work/log"; return 1; }; }
main_pid() { control show -P MainPID "freezeline-tiny-$1.service"; }
answers() {
    "$freezeline" generate --count 20 --output "$work/requests.bin" &&
        there setpriv --reuid nobody --clear-groups "$freezeline" bench -c "$work/p.yaml" --no-warm-up --closed 2 \
            --requests 20 --data "cifar10:$work/requests.bin" --json | grep '"answered": 20'
}
# A process that systemd alone restricts has one filter of system calls less.
filters() { there sed -n 's/^Seccomp_filters:[^0-9]*//p' "/proc/$1/status"; }
restrict_themselves() {
    sed 's/^Type=.*/Type=exec/; s/^ExecStart=.*/ExecStart=sleep 1000/; s/^Restart=.*//' \
        "$work/units/freezeline-tiny-stage1.0.service" >"$work/units/freezeline-tiny-sleep.service"
    control daemon-reload && control start freezeline-tiny-sleep.service || return 1
    alone=$(filters "$(main_pid sleep)")
    control stop freezeline-tiny-sleep.service
    for s in $services; do
        echo "$s: $(filters "$(main_pid $s)") filters, $alone without its own"
        [ "$(filters "$(main_pid $s)")" = $((alone + 1)) ] || return 1
    done
}
another_pid() { [ "$(main_pid stage0.0)" != "$1" ] && active; }
comes_back() {
    before=$(main_pid stage0.0)
    control kill -s KILL freezeline-tiny-stage0.0.service && within 60 another_pid "$before" && answers
}
stops() {
    control stop freezeline-tiny.target && within 60 nobody_left
}
nobody_left() { ! there pgrep -l freezeline; }

check "export systemd" exports
check "systemd starts" boots
check "all services say that they are ready" all_active
check "requests are answered" answers
check "services restrict themselves, too" restrict_themselves
check "one that is killed comes back" comes_back
check "the target stops all" stops
finish
