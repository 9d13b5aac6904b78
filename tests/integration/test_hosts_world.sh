#!/bin/sh
# test_hosts_world.sh - the hosts that other tests run on: ssh works between them, each has its own files and pids, and
# nothing of them is left
set -u
. "$(dirname "$0")/checks.sh"
. tests/integration/hosts.sh

hosts_up 3
on() { # K COMMAND ...
    $world exec "$@"
}
ssh_between() {
    for way in '0 1' '1 2' '2 3' '3 1'; do
        [ "$(on ${way% *} ssh -o BatchMode=yes h${way#* } hostname)" = h${way#* } ] || return 1
    done
}
knows_the_user() { # of ssh: the home folder, the status
    [ "$(on 0 ssh h1 'echo $HOME')" = /root ] && on 0 ssh h1 'exit 7'
    [ $? = 7 ]
}
own_files() {
    for f in /root /tmp /run /dev/shm; do
        on 1 touch $f/mark && ! on 2 test -e $f/mark && ! [ -e $f/mark ] || return 1
    done
    on 1 touch "$FREEZELINE_WORLD/shared/mark" && on 2 test -e "$FREEZELINE_WORLD/shared/mark"
}
same_sources() { [ "$(on 2 pwd)" = "$PWD" ] && on 2 test -x $world; }
own_processes() { [ "$(on 1 pgrep -c -x sshd)" = 1 ]; }
signal_ends_it() {
    $world exec 1 sleep 54321 &
    pid=$!
    until on 1 pgrep -f 'sleep 54321'; do :; done
    kill $pid
    wait $pid
    while on 1 pgrep -f 'sleep 54321'; do :; done
}
reaches() { on 0 ssh -o ConnectTimeout="${2:-10}" "$1" true; }
cut_and_joined() {
    $world cut 2 && ! reaches h2 1 && reaches h1 && $world join 2 && reaches h2
}
dead_and_booted() {
    on 0 ssh h3 'touch /root/kept /tmp/lost; sleep 1000 </dev/null >/dev/null 2>&1 &' &&
        $world kill 3 && ! reaches h3 1 && $world boot 3 && reaches h3 &&
        on 3 test -e /root/kept && ! on 3 test -e /tmp/lost && ! on 3 pgrep -x sleep -f 'sleep 1000$'
}
two_at_once() {
    other=$work/other
    FREEZELINE_WORLD=$other $world up 1 --owner $$ && FREEZELINE_WORLD=$other $world exec 0 ssh h1 true && reaches h1 &&
        FREEZELINE_WORLD=$other $world down && reaches h1 && [ ! -e "$other" ]
}
goes_with_its_owner() {
    other=$work/owned
    sleep 100 &
    owner=$!
    FREEZELINE_WORLD=$other $world up 1 --owner $owner
    first=$(cat "$other/pid")
    kill $owner
    until [ ! -e "$other" ]; do sleep 0.05; done
    [ ! -d "/proc/$first" ]
}
runs_on_each_node() { [ "$(on 0 srun -N3 --ntasks-per-node=1 hostname | sort | tr '\n' ' ')" = 'h1 h2 h3 ' ]; }
goes() {
    first=$(cat "$FREEZELINE_WORLD/pid")
    $world down && [ ! -e "$FREEZELINE_WORLD" ] && [ ! -d "/proc/$first" ] && ! mount | grep "$FREEZELINE_WORLD"
}

check "ssh between the hosts" ssh_between
check "ssh comes to the user's home folder and tells the status" knows_the_user
check "files of its own, and a folder for all" own_files
check "the sources are on each" same_sources
check "pids of its own" own_processes
check "a signal ends what was started on a host" signal_ends_it
check "a host that is cut off and joined again" cut_and_joined
check "a host that loses its power and boots" dead_and_booted
check "two worlds at once" two_at_once
check "a world ends with its owner" goes_with_its_owner
$world slurm >"$work/slurm" && check "Slurm runs jobs on the hosts" runs_on_each_node
grep '^skipped: ' "$work/slurm" && echo "[  SKIPPED ] Slurm"
check "down leaves nothing" goes
finish
