#!/bin/sh
# deps.sh - check for the Debian packages that Freezeline builds, runs and tests with; install what is missing
#
# usage: deps.sh [PACKAGE ...]     more packages than the standard set (oneDNN, a browser)
# Installs with apt-get, through sudo when not root. Where that is impossible it prints one line that names what to
# install.
set -eu

packages="gcc libc6-dev make pkg-config libzmq3-dev libprotobuf-c-dev protobuf-c-compiler libopenblas-dev libyaml-dev
libhiredis-dev redis-server libjansson-dev libmicrohttpd-dev libgnutls28-dev zlib1g-dev libcmocka-dev libxxhash-dev libpng-dev libturbojpeg0-dev
iproute2 procps $*"

missing=
for p in $packages; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "freezeline needs these packages (Debian's names), and there is no apt-get here to install them:$missing" >&2
    exit 1
fi
as_root=
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null || { ! [ -t 0 ] && ! sudo -n true 2>/dev/null; }; then
        echo "freezeline needs these packages; as root, run: apt-get install$missing" >&2
        exit 1
    fi
    as_root=sudo
fi
echo "installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt="$as_root apt-get -qq -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300"
# shellcheck disable=SC2086 # lists of words are meant
if ! { $apt install -y --no-install-recommends $missing >/dev/null 2>&1 ||
    { $apt update && $apt install -y --no-install-recommends $missing >/dev/null; }; }; then
    echo "apt-get could not install:$missing" >&2
    case $missing in *libdnnl-dev*) echo "where there is no libdnnl-dev, \`make DNNL=\` builds without it" >&2 ;; esac
    exit 1
fi
