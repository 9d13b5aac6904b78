#!/bin/sh
# distributions.sh - both commands of the README on a bare Debian of each release, made by debootstrap
#
# usage: tests/distributions.sh --roots DIRECTORY [OPTION ...] [RELEASE-USER-COMPILER[-nodnnl] ...]
#
# A combination says what is tried: bookworm or trixie, root or user (an ordinary one with sudo), gcc or clang, and
# "-nodnnl" for a build without oneDNN. Without any, a set is taken in which each of these occurs.
#   --roots DIRECTORY   where the systems lie: a bare one of each release, made once, and for each combination a copy
#                       of it (2 GB), which is removed when all went well
#   --steps "STEP ..."  what is run in each copy, in this order (default "demo answers test"). A step is
#                       answers: run the models; each combination has to answer as the first one did, to 1e-5
#                       ort: ONNX Runtime's ratio (tests/bench/table.py --compare, ROUNDS of them); skipped where npm or
#                       its package is missing
#                       or words for make, with + between them: demo, test+DNNL=, deps, check+SANITIZE=address,undefined
#   --model FILE        take this model, too, for "answers" and "ort" (may be repeated; the demo's is always taken)
#   --mirror URL        Debian's archive (default: as this machine's apt is configured)
#   --keep              keep the copies; one that is there is used again, with the repository brought up to date
#
# What is committed (HEAD) is tried. Needs root and debootstrap. Everything runs in namespaces of its own for mounts and
# processes: however it ends, nothing stays mounted and nothing goes on. Prints one line a combination; the logs are in
# DIRECTORY/logs.
set -eu

usage() { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; }
die() {
    echo "distributions.sh: $*" >&2
    exit 2
}

# ---- in namespaces of its own (`alone` below calls the script again for this) ----

# Mounts what a system needs and becomes COMMAND in it.
if [ "${1:-}" = --inside ]; then # ROOT PACKAGES ORT USER COMMAND ...
    root=$2 packages=$3 ort=$4 user=$5
    shift 5
    mount --make-rprivate /
    mount --bind "$root" "$root" # `ip netns exec` wants / to be a mount
    mount -t proc proc "$root/proc"
    mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
    [ ! -d "$root/sys/fs/cgroup" ] || mount --rbind /sys/fs/cgroup "$root/sys/fs/cgroup"
    mkdir -p "$root/dev/pts" "$root/dev/shm" "$root/opt/ort"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=0620,gid=5 devpts "$root/dev/pts"
    mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
    mount --bind "$packages" "$root/var/cache/apt/archives"
    mount --bind -o ro "$ort" "$root/opt/ort"
    home=/root
    [ "$user" = root ] || home=/home/$user
    # shellcheck disable=SC2016 # $@ is for the inner shell, which also reaps what its children leave behind
    exec chroot --userspec="$user:$user" "$root" env -i HOME="$home" USER="$user" LOGNAME="$user" LANG=C.UTF-8 TERM=dumb \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin sh -c 'cd && "$@"; exit $?' sh "$@"
fi

# ---- options ----

repository=$(cd "$(dirname "$0")/.." && pwd)
roots='' steps="demo answers test" models=$repository/configs/demo/demo.onnx mirror='' keep='' combinations=''
while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        usage
        exit 0
        ;;
    --keep) keep=1 ;;
    --roots | --steps | --model | --mirror)
        [ $# -gt 1 ] || die "$1 wants a value"
        case $1 in
        --roots) roots=$2 ;;
        --steps) steps=$2 ;;
        --mirror) mirror=$2 ;;
        --model)
            [ -f "$2" ] || die "--model $2: no such file"
            models="$models $2"
            ;;
        esac
        shift
        ;;
    bookworm-root-* | bookworm-user-* | trixie-root-* | trixie-user-*)
        case ${1#*-*-} in
        gcc | clang | gcc-nodnnl | clang-nodnnl) combinations="$combinations $1" ;;
        *) die "$1: a compiler is gcc or clang, with '-nodnnl' behind it or not" ;;
        esac
        ;;
    *) die "what is '$1'? --help explains" ;;
    esac
    shift
done
[ -n "$roots" ] || die "--roots DIRECTORY: where the systems shall lie (--help explains)"
[ "$(id -u)" = 0 ] || die "chroot and debootstrap need root"
command -v debootstrap >/dev/null || die "install debootstrap first (apt-get install debootstrap)"
mkdir -p "$roots/logs" "$roots/trees" "$roots/ort"
roots=$(cd "$roots" && pwd)
[ -n "$combinations" ] || combinations="bookworm-root-gcc bookworm-user-clang bookworm-user-gcc-nodnnl
    trixie-root-gcc trixie-user-clang trixie-user-gcc-nodnnl"

# ---- one thing at a time, which ends with this script ----

running=
stop() {
    trap '' INT TERM
    [ -z "$running" ] || kill -KILL "$running" 2>/dev/null || : # what it holds goes with it (--kill-child)
    exit 130
}
trap stop INT TERM HUP

# alone COMMAND ...: in namespaces of its own for mounts and processes.
alone() {
    unshare --mount --pid --fork --kill-child -- "$@" </dev/null &
    running=$!
    rc=0
    wait "$running" || rc=$?
    running=
    return $rc
}

# ---- the systems ----

# This machine's own archives as "URL SUITE", with the name of its release in SUITE.
own_archives() {
    # shellcheck disable=SC2016 # names of apt's
    apt-get indextargets --format '$(SITE) $(RELEASE) $(ORIGIN)' 'Created-By: Packages' 2>/dev/null |
        awk '$3 == "Debian" { print $1, $2 }' | sort -u
}

archive_of() { # "" for the release itself, or -updates, -security
    [ -n "$mirror" ] && {
        [ "$1" = -security ] || echo "$mirror"
        return
    }
    own=$(own_archives | awk -v part="$1" '{ at = index($2, "-"); if ((at ? substr($2, at) : "") == part) { print $1; exit } }')
    [ -n "$own" ] || [ -n "$1" ] || own=http://deb.debian.org/debian
    echo "$own"
}

# What a system takes over from this machine: where packages are, how names and certificates are found, how to get out.
take_over() { # ROOT RELEASE
    for part in "" -updates -security; do
        url=$(archive_of "$part")
        [ -z "$url" ] || echo "deb $url $2$part main"
    done >"$1/etc/apt/sources.list"
    apt-config dump Acquire | grep -E '^Acquire::(http|https|ftp|Retries|Check)' >"$1/etc/apt/apt.conf.d/90-host" || :
    cp -L /etc/resolv.conf "$1/etc/resolv.conf"
    printf '127.0.0.1 localhost %s\n::1 localhost ip6-localhost\n' "$(hostname)" >"$1/etc/hosts"
    if [ -d /usr/local/share/ca-certificates ]; then
        cp -RL /usr/local/share/ca-certificates "$1/usr/local/share/"
        chroot "$1" update-ca-certificates >/dev/null 2>&1
    fi
}

# The bare release, with what it takes to call make: nothing of what Freezeline needs itself.
make_system() { # RELEASE
    [ ! -d "$roots/$1" ] || return 0
    echo "making $roots/$1"
    proxy=
    eval "$(apt-config shell proxy Acquire::http::Proxy)"
    rm -rf "$roots/$1.new"
    alone env ${proxy:+http_proxy="$proxy"} debootstrap --variant=minbase --include=make,sudo,ca-certificates "$1" \
        "$roots/$1.new" "$(archive_of "")" >"$roots/logs/$1.log" 2>&1 || die "debootstrap failed, see $roots/logs/$1.log"
    chroot "$roots/$1.new" useradd --create-home --shell /bin/bash user
    echo 'user ALL=(ALL) NOPASSWD: ALL' >"$roots/$1.new/etc/sudoers.d/user"
    mv "$roots/$1.new" "$roots/$1"
}

# A copy of the release for one combination, with the repository in the user's home.
make_copy() { # COMBINATION RELEASE USER
    copy=$roots/trees/$1 home=root
    [ "$3" = root ] || home=home/$3
    [ -n "$keep" ] || rm -rf "$copy"
    if [ ! -d "$copy" ]; then
        rm -rf "$copy.new"
        cp -a "$roots/$2" "$copy.new"
        git clone -q "file://$repository" "$copy.new/$home/freezeline"
        mv "$copy.new" "$copy"
    fi
    take_over "$copy" "$2"
    git="git -c safe.directory=* -C $copy/$home/freezeline"
    $git fetch -q "file://$repository" HEAD && $git checkout -q --force --detach FETCH_HEAD
    mkdir -p "$copy/$home/models"
    # shellcheck disable=SC2086 # lists of words are meant
    cp $models "$copy/$home/models/"
    mkdir -p "$roots/packages/$2"
    [ "$3" = root ] || chroot "$copy" chown -R "$3:$3" "/$home"
}

# ---- the steps; each prints what is to be said about it ----

in_copy() { # USER COMMAND ...
    as=$1
    shift
    alone sh "$repository/tests/distributions.sh" --inside "$copy" "$roots/packages/$release" "$roots/ort" "$as" "$@"
}

install() { # PACKAGE: for the step, not for Freezeline
    in_copy root sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends "$@"' sh "$1"
}

# ONNX Runtime comes by this machine's npm, once.
have_ort() {
    [ -d "$roots/ort/node_modules/onnxruntime-node" ] && return
    command -v npm >/dev/null && npm install --prefix "$roots/ort" --ignore-scripts --no-audit --no-fund onnxruntime-node
}

run_step() { # STEP
    case $1 in
    answers)
        rm -rf "$copy/$home/answers"
        cp -r "$roots/answers" "$copy/$home/answers"
        [ "$user" = root ] || chroot "$copy" chown -R "$user:$user" "/$home/answers"
        # shellcheck disable=SC2016,SC2086 # $@ is for the inner shell; a list of words is meant
        in_copy "$user" sh -c 'cd freezeline && make deps "$@" && make all "$@" && tests/answers.sh ../answers ../models/*.onnx' \
            sh $variables &&
            cp "$copy/$home/answers/"*.npy "$roots/answers/"
        ;;
    ort)
        have_ort || {
            echo skipped
            return
        }
        # shellcheck disable=SC2086 # none is meant to be no word
        install nodejs python3 && in_copy "$user" env ORT=/opt/ort ${ROUNDS:+ROUNDS=$ROUNDS} sh -c \
            'cd freezeline && make bench-programs && tests/bench/table.py --rounds "${ROUNDS:-7}" --compare ../models/*.onnx'
        ;;
    *)
        words=$(echo "$1" | tr + ' ')
        # shellcheck disable=SC2086 # lists of words are meant
        in_copy "$user" make --no-print-directory -C freezeline $words $variables
        ;;
    esac
}

said_of() { # STEP LOG: what is worth a line
    case $1 in
    *test* | *check*) grep -E '^[0-9]+ passed' "$2" | tail -n 1 ;;
    answers) tail -n 1 "$2" ;;
    ort) grep -oE 'skipped|.* float32, ms .*' "$2" | tr '\n' ';' ;;
    esac
}

rm -rf "$roots/answers"
mkdir -p "$roots/answers"
failed=0
for combination in $combinations; do
    release=${combination%%-*}
    user=$(echo "$combination" | cut -d- -f2)
    compiler=$(echo "$combination" | cut -d- -f3)
    variables=
    [ "$compiler" = gcc ] || variables="CC=$compiler"
    [ "${combination%-nodnnl}" = "$combination" ] || variables="$variables DNNL="
    make_system "$release"
    make_copy "$combination" "$release" "$user"
    line="$combination:" bad=0
    for step in $steps; do
        log=$roots/logs/$combination-$(echo "$step" | tr '+=,' '---').log
        from=$(date +%s) verdict=ok
        run_step "$step" >"$log" 2>&1 || verdict=FAILED bad=1 failed=1
        said=$(said_of "$step" "$log")
        line="$line $step $verdict${said:+ ($said)}, $(($(date +%s) - from)) s;"
    done
    echo "${line%;}"
    if [ $bad = 0 ] && [ -z "$keep" ]; then
        rm -rf "${roots:?}/trees/$combination"
    elif [ $bad = 1 ]; then
        echo "    see $roots/logs/$combination-*.log and $roots/trees/$combination"
    fi
done
exit $failed
