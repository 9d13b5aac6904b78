#!/bin/sh
# world.sh - several machines on one: hosts h1, h2, ... with their own addresses, processes, files and sshd
#
# usage: world.sh up N [--owner PID]   prints the world's folder; the other commands find it in $FREEZELINE_WORLD
#        world.sh down                 ends every process of the world and removes its folder
#        world.sh exec K COMMAND ...   runs COMMAND on host K, in the folder where it is called if K has it
#        world.sh exec bridge ...      the same in the network between the hosts, for ip and tc
#        world.sh cut K [SECONDS]      takes host K off the network (for so long, else until `join`)
#        world.sh join K
#        world.sh kill K               host K loses its power: all its processes end at once
#        world.sh boot K               and comes back with an empty /tmp and /run and the home folder it had
#        world.sh slurm                Slurm over the hosts: slurmctld on host 0, a slurmd on each of the others
#
# A world is a pid namespace: when `unshare`, its first process, ends, the kernel ends everything in it, and with the
# last process go networks and mounts. Nothing is named outside of the folder, so worlds do not meet. With --owner a
# world goes when that process does. Host K has the address 10.77.0.K, the name hK, and of its own: network, pids,
# hostname, home folder, /tmp, /run, /dev/shm, keys. Host 0 (10.77.0.254, name h0) is where a user sits: it shares /tmp
# with the machine. Every host sees the sources, $FREEZELINE_BUILD and the world's folder, where shared/ is for all.
# `ssh hK` works from each host to each.
#
# Needs root. `up` ends with status 77 and a line that begins with "skipped: " where a world cannot be made,
# `slurm` where a program is missing.
set -eu

fail() {
    echo "world.sh: $*" >&2
    exit 1
}
skip() {
    echo "skipped: $*"
    exit 77
}
until_true() { # SECONDS WHAT COMMAND ...
    tries=$(($1 * 50)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "$what does not come; see the logs in $world"
        sleep 0.02
    done
}
child_of() { # PID WHAT: the process that it started, as soon as it has
    tries=3000
    until pgrep -P "$1"; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || fail "$2 does not come; see the logs in $world"
        sleep 0.02
    done
}

# What host K does first, as process 1 of its pid namespace: its own folders, then sshd, then reaping.
hide() { # FOLDER: an empty one for this host alone
    [ ! -d "$1" ] || mount -t tmpfs -o mode="${2:-755}" world "$1"
}
kept() { # FOLDER AS: is to be seen as AS though a folder above it is hidden
    mkdir -p "/run/world$2"
    mount --bind "$1" "/run/world$2"
}
shown() { # AS
    mkdir -p "$1"
    mount --bind "/run/world$1" "$1"
}
host() { # K
    k=$1 folders="$PWD $world ${FREEZELINE_BUILD:-}"
    until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
    ip link set lo up
    ip addr add "10.77.0.$([ "$k" = 0 ] && echo 254 || echo "$k")/24" dev eth0
    ip link set eth0 up
    hostname "h$k"
    hide /run
    for f in $folders; do kept "$f" "$f"; done
    kept "$world/h$k/home" /root
    hide /dev/shm 1777
    [ "$k" = 0 ] || hide /tmp 1777
    for f in /root $folders; do shown "$f"; done
    mkdir -p /run/sshd /run/lock
    mount --bind "$world/hosts" /etc/hosts
    for d in slurm munge; do [ ! -d /etc/$d ] || mount --bind "$world/$d" /etc/$d; done
    /usr/sbin/sshd -D -e -f "$world/h$k/sshd_config" </dev/null >>"$world/h$k/sshd.log" 2>&1 &
    # A shell that waits for a child reaps what it inherits, too.
    while :; do sleep 1000000 & wait $!; done
}

# From outside: a chain of nsenter, unshare and the host's first process, whose pid is kept.
boot() { # K
    k=$1 first=$(cat "$world/pid") # not within the command: `cat` would be its child, too, for a moment
    rm -f "$world/h$k/sshd.pid"
    setsid nsenter -t "$first" --pid --net --mount -- unshare --net --mount --uts --ipc --pid --fork \
        --kill-child --mount-proc "$self" _host "$k" </dev/null >>"$world/h$k/log" 2>&1 &
    chain=$!
    inner=$(child_of $chain "host $k")
    child_of "$inner" "host $k" >"$world/h$k/pid"
    # The same hardware address after each boot: the others remember it.
    enter bridge ip link add "v$k" type veth peer name eth0 netns "$(cat "$world/h$k/pid")" \
        address "$(printf '02:00:0a:4d:00:%02x' "$k")"
    enter bridge ip link set "v$k" master br0 up
    until_true 60 "sshd of host $k" test -s "$world/h$k/sshd.pid"
    [ ! -f "$world/slurm/slurm.conf" ] || slurm_node "$k"
}
keys_of() { # K
    mkdir -p "$world/h$1/home/.ssh"
    chmod 700 "$world/h$1/home" "$world/h$1/home/.ssh"
    ssh-keygen -q -t ed25519 -N '' -C "h$1" -f "$world/h$1/ssh_host_key"
    cp "$world/user_key" "$world/h$1/home/.ssh/id_ed25519"
    cp "$world/user_key.pub" "$world/h$1/home/.ssh/authorized_keys"
    printf 'h%s,%s %s\n' "$1" "$2" "$(cut -d' ' -f1,2 "$world/h$1/ssh_host_key.pub")" >>"$world/known_hosts"
    printf '%s h%s\n' "$2" "$1" >>"$world/hosts"
    cat >"$world/h$1/sshd_config" <<CONF
Port 22
HostKey $world/h$1/ssh_host_key
PidFile $world/h$1/sshd.pid
PermitRootLogin yes
PasswordAuthentication no
UsePAM no
StrictModes no
MaxStartups 100
Subsystem sftp internal-sftp
CONF
}
up() { # N [--owner PID]
    n=${1:-}
    case $n in '' | *[!0-9]* | 0) fail "up N: how many hosts?" ;; esac
    [ "$n" -lt 100 ] || fail "up $n: at most 99 hosts"
    owner=$([ "${2:-}" != --owner ] || echo "$3")
    [ "$(id -u)" = 0 ] || skip "hosts for tests need root"
    for p in ip unshare nsenter setsid ssh ssh-keygen; do
        command -v $p >/dev/null || skip "hosts for tests need \`$p\` (apt-get install iproute2 util-linux openssh-client)"
    done
    [ -x /usr/sbin/sshd ] || skip "hosts for tests need sshd (apt-get install openssh-server)"
    unshare --net --mount --uts --ipc --pid --fork --mount-proc mount -t tmpfs x /mnt 2>/dev/null ||
        skip "no namespaces can be made here"
    unshare --net ip link add br0 type bridge 2>/dev/null || skip "no bridge can be made here"

    world=${FREEZELINE_WORLD:-$(mktemp -d /tmp/freezeline-world.XXXXXX)}
    export FREEZELINE_WORLD="$world"
    mkdir -p "$world/slurm" "$world/munge" "$world/shared"
    ssh-keygen -q -t ed25519 -N '' -C test -f "$world/user_key"
    echo '127.0.0.1 localhost' >"$world/hosts"
    keys_of 0 10.77.0.254
    for k in $(seq "$n"); do keys_of "$k" "10.77.0.$k"; done
    for k in $(seq 0 "$n"); do cp "$world/known_hosts" "$world/h$k/home/.ssh/"; done

    setsid unshare --net --mount --pid --fork --kill-child --mount-proc \
        sh -c 'ip link add br0 type bridge && ip link set br0 up && while :; do sleep 1000000 & wait $!; done' \
        </dev/null >"$world/log" 2>&1 &
    echo $! >"$world/chain"
    child_of $! "the world" >"$world/pid"
    until_true 60 "the bridge" enter bridge ip link show br0
    [ -z "$owner" ] || setsid sh -c "tail -s 0.2 --pid=$owner -f /dev/null; exec '$self' down" </dev/null >/dev/null 2>&1 &
    for k in $(seq 0 "$n"); do boot "$k"; done
    echo "$world"
}

down() {
    [ -f "$world/chain" ] || return 0
    chain=$(cat "$world/chain") first=$(cat "$world/pid")
    ! grep -qs unshare "/proc/$chain/cmdline" || kill -9 "$chain"
    until_true 60 "the end of the world" sh -c "! test -d /proc/$first"
    rm -rf "$world"
}
pid_of() { # K
    cat "$world/h$1/pid" 2>/dev/null || fail "there is no host $1 in $world"
}
# A signal ends nsenter; what it runs gets SIGTERM then. Its parent is outside of the host: number 0; 1 when it ended
# before it could be a reason for a signal.
enter() { # K|bridge COMMAND ...
    if [ "$1" = bridge ]; then
        shift
        nsenter -t "$(cat "$world/pid")" --net --mount -- "$@"
        return
    fi
    pid=$(pid_of "$1")
    shift
    unset XDG_RUNTIME_DIR XDG_CACHE_HOME XDG_STATE_HOME XDG_CONFIG_HOME SSH_AUTH_SOCK
    HOME=/root FREEZELINE_CWD=$cwd exec nsenter -t "$pid" --net --mount --uts --ipc --pid -- \
        setpriv --pdeathsig TERM sh -c '[ $PPID = 0 ] || exit
            cd "$FREEZELINE_CWD" 2>/dev/null || cd; unset FREEZELINE_CWD; exec "$@"' sh "$@"
}

# The others forget that they asked for its address in vain: else they refuse what comes next, for a second or more.
forwards() { # K
    enter bridge ip -d link show "v$1" | grep -q 'state forwarding'
}
join() { # K
    enter bridge ip link set "v$1" up
    until_true 60 "the link of host $1" forwards "$1"
    for f in "$world"/h*/pid; do
        k=${f%/pid}
        [ ! -d "/proc/$(cat "$f")" ] || (enter "${k##*/h}" ip neigh flush dev eth0)
    done
}

. "$(dirname "$0")/slurm.sh"
cwd=$PWD
self=$(cd "$(dirname "$0")" && pwd)/world.sh
cd "$(dirname "$self")/../.."
command=${1:-}
[ $# -eq 0 ] || shift
world=${FREEZELINE_WORLD:-}
[ "$command" = up ] || [ -n "$world" ] || fail "FREEZELINE_WORLD is not set: it is the folder that \`up\` prints"
case $command in
up) up "$@" ;;
down) down ;;
exec) enter "$@" ;;
cut)
    enter bridge ip link set "v$1" down
    [ -z "${2:-}" ] || { sleep "$2" && enter bridge ip link set "v$1" up; }
    ;;
join) join "$1" ;;
kill)
    kill -9 "$(pid_of "$1")"
    until_true 60 "the end of host $1" sh -c "! test -d /proc/$(pid_of "$1")"
    ;;
boot) boot "$1" ;;
slurm) slurm_up ;;
_host) host "$@" ;;
*) fail "up, down, exec, cut, join, kill, boot or slurm" ;;
esac
