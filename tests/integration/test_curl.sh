#!/bin/sh
# test_curl.sh - the lines for curl in broker/http/README.md do what they are there for, as they stand there
set -u
. "$(dirname "$0")/checks.sh"
bin=$PWD/build/release
yaml=$work/p.yaml
clean_up() {
    "$bin/freezeline" down -c "$yaml" >/dev/null 2>&1
    rm -rf "$work"
}
trap clean_up EXIT
command -v curl >/dev/null || {
    echo "skipped: needs curl"
    echo "[  SKIPPED ] curl"
    exit 0
}

serve() {
    sed -e "s|^model: .*|model: $PWD/configs/demo/demo.onnx|" -e "s|^state: .*|state: $work/state|" \
        -e 's|^broker:|&\n  http: 127.0.0.1:0|' configs/demo/demo.yaml >"$yaml" &&
        "$bin/freezeline" up -c "$yaml" --set cache.kind=none --set redis.managed=false
}
url() { sed -n 's|.*a page for people at \(http://[^ ]*\)/.*|\1|p' "$work/state/logs/broker.log" | head -n 1; }
# Every line, in a folder of its own that has a picture; the address and the name are this pipeline's.
lines() {
    sed -n '/^```sh$/,/^```$/p' broker/http/README.md | grep -v '^```' |
        sed "s|^NAME=.*|NAME=demo URL=$(url)|" >"$work/lines" && grep -c curl "$work/lines" &&
        mkdir "$work/here" && cp tests/fuzz/corpus/image/grey.jpg "$work/here/cat.jpg" && cd "$work/here" &&
        NO_PROXY='*' sh -eu "$work/lines" >"$work/said" 2>"$work/complaints"
    cat "$work/said" "$work/complaints"
}
said() { grep -aoE "$1" "$work/said" "$work/here/answer" 2>/dev/null | wc -l; }

check "a pipeline with HTTP serves" serve
check "the lines run" lines
check "the model's input and output are told" [ "$(said '"inputs":\[\{"name":"input"')" = 1 ]
check "a picture, numbers as JSON and in binary are answered" [ "$(said '"model_name":"demo"')" = 3 ]
check "nothing is refused" [ "$(said '"error"')" = 0 ]
finish
