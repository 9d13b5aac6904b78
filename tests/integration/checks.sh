# checks.sh - what the tests that are scripts share (sourced): a folder of their own, waiting, and counting
#
# `check WHAT COMMAND ...` passes when COMMAND succeeds; its output, and that of what fails, is shown. `finish` prints
# the sum that tests/run.sh reads. Variables given to make (CC=clang, DNNL=) hold for the calls of make here, too; its
# job server does not.
cd "$(dirname "$0")/../.."
MAKEFLAGS=$(printf '%s' "${MAKEFLAGS:-}" | sed -n 's/^.* *-- //p')
export MAKEFLAGS
unset MAKELEVEL MFLAGS V
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT # a test that leaves more behind sets another
passed=0 failed=0
check() {
    what=$1
    shift
    if ("$@") >"$work/output" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $what"
        sed 's/^/    /' "$work/output"
    fi
}
skipped() { # PART WHY
    echo "skipped: $2"
    echo "[  SKIPPED ] $1"
}
within() { # SECONDS COMMAND ...: it succeeds in that time, or at one of ten tries; else its last words are shown
    tries=10
    give_up=$(($(date +%s) + $1))
    shift
    until "$@" >"$work/tried" 2>&1; do
        tries=$((tries - 1))
        [ $tries -gt 0 ] || [ "$(date +%s)" -lt $give_up ] || {
            cat "$work/tried"
            return 1
        }
        sleep 0.2
    done
}
npy_head() { # SHAPE: what an .npy file of bytes begins with
    printf '\223NUMPY\001\000v\000%-117s\n' "{'descr': '|u1', 'fortran_order': False, 'shape': $1, }"
}
finish() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}
