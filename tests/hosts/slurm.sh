# slurm.sh - Slurm over the hosts of a world (sourced by world.sh)
#
# munged on each host with one key, slurmctld on host 0, slurmd on the others, as processes of their hosts: what ends a
# host ends them. Jobs are told to end by SIGTERM and killed 20 s later; a node that says nothing is down after 5 s.
slurm_missing() {
    for p in slurmctld slurmd munged sinfo; do
        command -v "$p" >/dev/null || [ -x "/usr/sbin/$p" ] || skip "Slurm for tests needs \`$p\` (apt-get install slurm-wlm munge)"
    done
}
slurm_conf() {
    cat >"$world/slurm/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=h0
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$world/slurm/state
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmdSpoolDir=/run/slurmd
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,requeue_delay=0
MpiDefault=none
SwitchType=switch/none
JobRequeue=1
KillWait=20
SlurmdTimeout=5
ReturnToService=2
MailProg=/bin/true
NodeName=h[1-$1] CPUs=8 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=other Nodes=ALL MaxTime=60 State=UP
CONF
}
# On host K; munged wants a key and folders that are its own.
daemon() { # K PROGRAM ARGUMENT ...
    k=$1 program=$2
    shift 2
    (enter "$k" setpriv --pdeathsig clear setsid sh -c '"$@" &' sh "$program" "$@") </dev/null >>"$world/h$k/${program##*/}.log" 2>&1
}
munge_on() { # K
    (enter "$1" sh -c 'mkdir -p -m 755 /run/munge && mkdir -p -m 700 /run/munge-log')
    daemon "$1" /usr/sbin/munged --foreground --force --key-file=/etc/munge/munge.key --log-file=/run/munge-log/log \
        --seed-file=/run/munge-log/seed
}
slurm_node() { # K
    munge_on "$1"
    daemon "$1" /usr/sbin/slurmd -D
}
slurm_up() {
    slurm_missing
    n=$(($(ls -d "$world"/h[0-9]* | wc -l) - 1))
    mkdir -p "$world/slurm/state"
    dd if=/dev/urandom of="$world/munge/munge.key" bs=128 count=1 2>/dev/null
    chmod 700 "$world/munge" && chmod 400 "$world/munge/munge.key"
    slurm_conf "$n"
    munge_on 0
    daemon 0 /usr/sbin/slurmctld -D
    for k in $(seq "$n"); do slurm_node "$k"; done
    until_true 30 "Slurm" slurm_idle "$n"
}
slurm_idle() { # N: as many nodes are idle
    [ "$(enter 0 sinfo -h -N -p all -t idle -o %N | wc -l)" = "$1" ]
}
