#!/bin/sh
# test_page.sh - a pipeline with HTTP: its page in a browser shows what is, and answers a picture; the Python package
set -u
. "$(dirname "$0")/checks.sh"
. tests/integration/serving.sh
python3 -c 'import sys; sys.path.insert(0, "tests/integration"); import browser; sys.exit(not browser.find())' 2>/dev/null || {
    skipped page "needs python3 and chromium"
    exit 0
}

# Caches that stay as they were built, and are waited for: the same request is answered at the same exit each time.
serve() {
    of_the_demo demo.yaml -e 's|managed: true|managed: false|' -e 's|sample: 0.2|sample: 0|' \
        -e 's|wait_us: 5000|wait_us: 1000000|' -e 's|^broker:|&\n  http: 127.0.0.1:0|' &&
        pictures 600 11 t.bin && pictures 300 12 r.bin &&
        "$bin/freezeline" build -c "$yaml" --train cifar10:"$work/t.bin" --calibrate cifar10:"$work/r.bin" &&
        "$bin/freezeline" up -c "$yaml" &&
        "$bin/freezeline" bench -c "$yaml" --data cifar10:"$work/r.bin" --closed 2 --duration 1
}

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
