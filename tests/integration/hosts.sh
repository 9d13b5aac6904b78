# hosts.sh - sourced by tests over hosts, behind checks.sh: network namespaces with an sshd each (tests/hosts/world.sh)
world=$PWD/tests/hosts/world.sh
build=${FREEZELINE_BUILD:-$PWD/build/release}
case $build in /*) ;; *) build=$PWD/$build ;; esac
unset FREEZELINE_BUILD
trap '$world down; rm -rf "$work"' EXIT
export FREEZELINE_WORLD="$work/world"

hosts_up() { # N [slurm]: makes them, and Slurm over them; the test is skipped where that cannot be
    $world up "$1" --owner $$ >"$work/up" && { [ -z "${2:-}" ] || $world slurm >>"$work/up"; } && return
    cat "$work/up"
    [ "$(grep -c '^skipped: ' "$work/up")" = 1 ] && echo "[  SKIPPED ] hosts" && exit 0
    exit 1
}
fl() { # on the machine where a user sits
    $world exec 0 "$build/freezeline" "$@"
}
no_reports() { # HOST ...: no process of theirs has logged one of a sanitizer
    for k in "$@"; do
        ! $world exec "$k" sh -c 'grep -rE "Sanitizer|runtime error:" /root/.cache --include="*.log" --include="*.out"' ||
            return 1
    done
}
