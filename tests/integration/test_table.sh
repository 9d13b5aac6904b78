#!/bin/sh
# test_table.sh - the table of figures: what its steps say, what is missing, what is no step
set -u
. "$(dirname "$0")/checks.sh"
command -v python3 >/dev/null || {
    skipped table "needs python3"
    exit 0
}

# Whatever the times are: two rounds of each step, every figure above zero, nothing missing.
complete() {
    tests/bench/table.py --only hop --rounds 2 --json >"$work/table.json" &&
        python3 - "$work/table.json" <<'EOF'
import json, sys
table = json.load(open(sys.argv[1]))
steps = {s["step"]: s for s in table["steps"]}
assert table["rounds"] == 2 and len(table["limits"]) == 2, table
assert set(steps) == {"hop", "hop-idle"}, steps
assert all(len(s["ratios"]) == 2 and s["limit"] > 0 and s["met"] in (True, False) for s in steps.values()), steps
EOF
}
names_what_to_install() {
    ORT=$work/nowhere tests/bench/table.py --compare configs/demo/demo.onnx --rounds 1 | grep 'demo.onnx float32, ms *[0-9.]*[1-9].*peer not measured: npm install'
}
says_that_a_model_is_missing() {
    tests/bench/table.py --networks "$work" --only conv1d --rounds 1 | grep 'not measured: conv1d.onnx is not there'
}
refuses() { # WORD ...: and names the last
    ! tests/bench/table.py "$@" >"$work/refused" 2>&1 && grep -q "no step nonsense" "$work/refused"
}
cleans_up() { [ -z "$(find "${TMPDIR:-/tmp}" -maxdepth 1 -name 'freezeline-[tl]a*' -newer "$work" 2>/dev/null)" ]; }

check "each round measures each step" complete
check "a peer that is missing: what to install" names_what_to_install
check "a network that is missing: who makes it" says_that_a_model_is_missing
check "a step that does not exist" refuses --only nonsense
check "nothing is left in the temporary folder" cleans_up
finish
