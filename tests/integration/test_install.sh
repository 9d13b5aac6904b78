#!/bin/sh
# test_install.sh - what is installed works by itself: programs, examples, a client in C; and uninstall takes all of it
# away
set -u
. "$(dirname "$0")/checks.sh"
prefix=$work/usr
yaml=$work/mine.yaml
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig${PKG_CONFIG_PATH:+:$PKG_CONFIG_PATH}"
clean_up() {
    [ ! -d "$work/state" ] || "$prefix/bin/freezeline" down -c "$yaml" >/dev/null 2>&1
    rm -rf "$work"
}
trap clean_up EXIT

install_all() { make install PREFIX="$prefix"; }
version() {
    for program in freezeline freezeline-broker freezeline-stage freezeline-cache freezeline-learner; do
        "$prefix/bin/$program" --version | grep -E "^$program [0-9]+\.[0-9]+\.[0-9]+(, revision [0-9a-f]+.*)?$" || return 1
    done
}
documents() {
    cd "$prefix/share/freezeline" && ls README.md CHANGELOG.md LICENSE proto/README.md proto/freezeline.proto proto/client/ask.py configs/reference.yaml
}
links() { # of the pages, to other files
    cd "$prefix/share/freezeline" && find . -name '*.md' | while read -r page; do
        grep -o '](\([^)#:]*\)[)#]' "$page" | sed 's/](//; s/[)#]$//' | while read -r link; do
            [ -z "$link" ] || [ -e "$(dirname "$page")/$link" ] || echo "$page: $link is not there"
        done
    done >"$work/broken"
    cat "$work/broken" && [ ! -s "$work/broken" ]
}
compile_client() {
    # shellcheck disable=SC2046,SC2086 # lists of words are meant
    cd "$prefix/share/freezeline/proto/client/examples" && for c in ask many; do
        ${CC:-cc} -std=c11 -Wall -Wextra -Werror $(pkg-config --cflags freezeline-client) -o "$work/$c" $c.c \
            $(pkg-config --libs freezeline-client) &&
            ${CC:-cc} -std=c11 $(pkg-config --cflags freezeline-client) -o "$work/$c-static" $c.c \
                "$prefix/lib/libfreezeline-client.a" $(pkg-config --libs libzmq libprotobuf-c yaml-0.1 libxxhash) -lm -lpthread || return 1
    done
}
manual() { # a page for each command, which groff reads without a complaint where it is there
    for c in '' $(sed -n 's/^/-/p' "$work/words"); do
        grep -q '^\.SH NAME' "$prefix/share/man/man1/freezeline$c.1" || { echo "no page of freezeline$c"; return 1; }
    done
    ! command -v groff >/dev/null || groff -man -Tutf8 -ww "$prefix"/share/man/man*/freezeline*.[13] 2>&1 >/dev/null | {
        ! grep .
    }
}
config() {
    cat >"$yaml" <<YAML
model: $prefix/share/freezeline/configs/demo/demo.onnx
name: installed
state: state
stages: 2
exits: none
YAML
}
completes() {
    config
    PATH=$prefix/bin:$PATH bash -c '. "$0/share/bash-completion/completions/freezeline"
        COMP_WORDS=(freezeline ben); COMP_CWORD=1; _freezeline; [ "${COMPREPLY[*]}" = bench ] || exit 1
        is() { # WHAT WORD ...: it completes the last word to that
            COMP_WORDS=("${@:2}") COMP_CWORD=$(($# - 2)); _freezeline; [ "${COMPREPLY[*]}" = "$1" ] || exit 1
        }
        is --closed= freezeline bench --clo
        is kubernetes freezeline export -c x.yaml k
        is "revoke rotate" freezeline keys r
        is "stage0.0 stage1.0" freezeline restart -c "$1" st
        is "broker cache0 stage0.0 stage1.0" freezeline logs -c "$1" ""
        is "0= 1=" freezeline scale -c "$1" ""
        is "" freezeline restart -c "$1" --timeout ""
        cd "$0/share/freezeline/configs/demo" && is demo.onnx freezeline inspect d' "$prefix" "$yaml"
}
version_of_client() {
    [ "$("$prefix/bin/freezeline" --version | cut -d' ' -f2 | tr -d ,)" = "$(pkg-config --modversion freezeline-client)" ]
}
serve() {
    cd "$work" && "$prefix/bin/freezeline" up -c "$yaml"
}
ask() {
    cd "$work" && readelf -d ask | grep 'libfreezeline-client.so.0' &&
        LD_LIBRARY_PATH=$prefix/lib ./ask "$yaml" | grep -E '^label [0-9], answered by the whole network$' &&
        ./ask-static "$yaml" | grep -E '^label [0-9], answered by the whole network$'
}
ask_many() {
    cd "$work" && for c in "env LD_LIBRARY_PATH=$prefix/lib ./many" ./many-static; do
        $c "$yaml" >"$work/said" && cat "$work/said" && grep -E '^request [0-9]+: label [0-9] of 10 scores$' "$work/said" &&
            grep -x '100 answered, 0 of them early, 0 failed' "$work/said" || return 1
    done
}
down() { "$prefix/bin/freezeline" down -c "$yaml" && rm -rf "$work/state"; }
uninstall() {
    touch "$prefix/share/freezeline/mine" && make uninstall PREFIX="$prefix" &&
        left=$(find "$prefix" ! -type d) && echo "left: $left" && [ "$left" = "$prefix/share/freezeline/mine" ]
}
staged() {
    make install DESTDIR="$work/stage" PREFIX=/opt/freezeline && [ -x "$work/stage/opt/freezeline/bin/freezeline" ] &&
        grep -x prefix=/opt/freezeline "$work/stage/opt/freezeline/lib/pkgconfig/freezeline-client.pc" &&
        make uninstall DESTDIR="$work/stage" PREFIX=/opt/freezeline && [ -z "$(find "$work/stage" ! -type d)" ]
}

check "make install" install_all
check "--version of all four programs" version
check "the documents" documents
check "no page links to what is not there" links
"$prefix/bin/freezeline" --help=words >"$work/words"
check "a manual page for each command" manual
check "bash completes commands and options" completes
check "the examples compile against what is installed" compile_client
check "and is of the same version" version_of_client
check "the installed programs serve the installed example" serve
check "and answer the client" ask
check "and one client of several threads" ask_many
check "down" down
check "make uninstall removes what install brought and nothing else" uninstall
check "install and uninstall below DESTDIR" staged
finish
