#!/bin/sh
# test_curl.sh - the lines for curl in broker/http/README.md do what they are there for, as they stand there
set -u
. "$(dirname "$0")/checks.sh"
. tests/integration/serving.sh
command -v curl >/dev/null || {
    skipped curl "needs curl"
    exit 0
}

serve() {
    of_the_demo demo.yaml -e 's|^broker:|&\n  http: 127.0.0.1:0|' &&
        "$bin/freezeline" up -c "$yaml" --set cache.kind=none --set redis.managed=false \
            --set broker.model_control=true
}
# Every line, in a folder of its own that has a picture; the address and the name are this pipeline's.
lines() {
    sed -n '/^```sh$/,/^```$/p' broker/http/README.md | grep -v '^```' |
        sed "s|^NAME=.*|NAME=demo URL=$(address | sed 's|/$||')|" >"$work/lines" && grep -c curl "$work/lines" &&
        mkdir "$work/here" && cp tests/fuzz/corpus/image/grey.jpg "$work/here/cat.jpg" && cd "$work/here" &&
        NO_PROXY='*' sh -eu "$work/lines" >"$work/said" 2>"$work/complaints"
    cat "$work/said" "$work/complaints"
}
said() { grep -aoE "$1" "$work/said" "$work/here/answer" 2>/dev/null | wc -l; }

check "a pipeline with HTTP serves" serve
check "the lines run" lines
check "the model's input and output are told" [ "$(said '"inputs":\[\{"name":"input"')" = 1 ]
check "a picture, one in a form, numbers as JSON and in binary are answered" [ "$(said '"model_name":"demo"')" = 4 ]
check "the model is loaded again, and unloaded" [ "$(said '\{\}\{\}')" = 1 ]
check "nothing is refused" [ "$(said '"error"')" = 0 ]
finish
