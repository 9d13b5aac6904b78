#!/bin/sh
# test_faults.sh - plays FAULTS_SCHEDULES schedules, shared by as many processes as there are processors
#
# At a low priority: other tests wait more than they compute, and have their own times to keep.
set -eu
: "${FAULTS_SCHEDULES:=1000}"
if nice "$FREEZELINE_BUILD/tests/faults/search" --schedules "$FAULTS_SCHEDULES" --jobs "$(nproc)" --quiet; then
    echo "1 passed, 0 failed"
else
    echo "0 passed, 1 failed"
    exit 1
fi
