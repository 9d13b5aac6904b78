#!/bin/sh
# test_page.sh - a pipeline with HTTP: its page in a browser shows what is, and answers a picture; the Python package
set -u
. "$(dirname "$0")/checks.sh"
bin=$PWD/build/release
yaml=$work/p.yaml
clean_up() {
    "$bin/freezeline" down -c "$yaml" >/dev/null 2>&1
    rm -rf "$work"
}
trap clean_up EXIT
python3 -c 'import sys; sys.path.insert(0, "tests/integration"); import browser; sys.exit(not browser.find())' 2>/dev/null || {
    echo "skipped: needs python3 and chromium"
    echo "[  SKIPPED ] page"
    exit 0
}

# Caches that stay as they were built, and are waited for: the same request is answered at the same exit each time.
serve() {
    sed -e "s|^model: .*|model: $PWD/configs/demo/demo.onnx|" -e "s|^state: .*|state: $work/state|" \
        -e 's|managed: true|managed: false|' -e 's|sample: 0.2|sample: 0|' -e 's|wait_us: 5000|wait_us: 1000000|' \
        -e 's|^broker:|&\n  http: 127.0.0.1:0|' configs/demo/demo.yaml >"$yaml" &&
        "$bin/freezeline" generate --count 600 --seed 11 --output "$work/t.bin" &&
        "$bin/freezeline" generate --count 300 --seed 12 --output "$work/r.bin" &&
        "$bin/freezeline" build -c "$yaml" --train cifar10:"$work/t.bin" --calibrate cifar10:"$work/r.bin" &&
        "$bin/freezeline" up -c "$yaml" &&
        "$bin/freezeline" bench -c "$yaml" --data cifar10:"$work/r.bin" --closed 2 --duration 1
}
address() { sed -n 's|.*a page for people at \(http://[^ ]*\).*|\1|p' "$work/state/logs/broker.log" | head -n 1; }

check "a pipeline with HTTP serves" serve
python() { /usr/bin/python3 -c 'import numpy' 2>/dev/null && /usr/bin/python3 "$@"; }
check "the Python package asks it" python tests/integration/python_client.py "$(address)" "$work"
installs() { # from a copy: building leaves files
    cp -r proto/client/python "$work/package" && /usr/bin/python3 -m pip install --quiet --no-deps --no-build-isolation --no-index \
        --target "$work/site" "$work/package" && PYTHONPATH=$work/site /usr/bin/python3 -c 'import freezeline; freezeline.Client'
}
! /usr/bin/python3 -c 'import setuptools, wheel' 2>/dev/null || check "pip installs it" installs
check "the page shows it" python3 tests/integration/page.py "$(address)" "$work/state"
finish
