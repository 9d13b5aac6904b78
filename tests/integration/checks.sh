# checks.sh - what the tests that are scripts share (sourced): a folder of their own, and counting
#
# `check WHAT COMMAND ...` passes when COMMAND succeeds; its output, and that of what fails, is shown. `finish` prints
# the sum that tests/run.sh reads. Variables given to make (CC=clang, DNNL=) hold for the calls of make here, too; its
# job server does not.
cd "$(dirname "$0")/../.."
MAKEFLAGS=$(printf '%s' "${MAKEFLAGS:-}" | sed -n 's/^.* *-- //p')
export MAKEFLAGS
unset MAKELEVEL MFLAGS V
work=$(mktemp -d)
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
finish() {
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}
