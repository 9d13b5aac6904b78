#!/bin/sh
# test_make.sh - what an object was built with belongs to what it depends on: nothing is linked from two kinds
set -u
. "$(dirname "$0")/checks.sh"

# One object of each rule: of a source, of a source with flags of its own, of generated code.
objects="$work/b/proto/base/nearest_word.o $work/b/proto/index/map.o $work/b/gen/freezeline.pb-c.o"
build() { # ARGUMENT ...: prints what is compiled
    # shellcheck disable=SC2086 # a list of words is meant
    make B="$work/b" "$@" $objects | grep -c '^  CC' >"$work/compiled"
    [ -f "$work/b/gen/freezeline.pb-c.o" ]
}
compiles() { # NUMBER ARGUMENT ...
    expected=$1
    shift
    build "$@" && [ "$(cat "$work/compiled")" = "$expected" ] || {
        echo "compiled $(cat "$work/compiled") objects, not $expected"
        return 1
    }
}
each_command_has() { # WORD WORD MAKE-ARGUMENT ...
    first=$1 second=$2
    shift 2
    # shellcheck disable=SC2086
    [ "$(make -B V=1 B="$work/b" "$@" $objects | grep -e ' -c -o ' | grep -e " $first " | grep -c -e " $second ")" = 3 ]
}

check "all are compiled at first" compiles 3 DNNL=1
check "nothing is compiled again" compiles 0 DNNL=1
check "without oneDNN all are compiled again" compiles 3 DNNL=
check "and not once more" compiles 0 DNNL=
check "with other flags all are compiled again" compiles 3 DNNL= CFLAGS=-O1
check "flags given to make and those that the sources need stand side by side" each_command_has -O1 -std=c11 DNNL= CFLAGS=-O1
check "a macro means compiling again" compiles 3 DNNL= CFLAGS=-O1 "CPPFLAGS=-DTEXT='\"a b\"'"
if command -v clang >/dev/null && command -v gcc >/dev/null; then
    check "gcc compiles" compiles 3 CC=gcc
    check "clang compiles all again" compiles 3 CC=clang
fi
if command -v ccache >/dev/null; then
    build CC=cc
    check "ccache before the same compiler is no other compiler" compiles 0 CC="ccache cc"
fi
finish
