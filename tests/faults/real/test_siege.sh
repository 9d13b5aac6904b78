#!/bin/sh
# test_siege.sh - the quick part of `make faults`: each kind of fault once, on a real pipeline under steady load
set -eu
cd "$(dirname "$0")/../../.."
if "$FREEZELINE_BUILD/tests/faults/real/siege" --bin "$FREEZELINE_BUILD" --caches "$PWD/build/siege" --quick; then
    echo "1 passed, 0 failed"
else
    echo "0 passed, 1 failed"
    exit 1
fi
