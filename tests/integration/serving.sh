# serving.sh - sourced by tests that ask a pipeline of the demo over HTTP, behind checks.sh; it is down at the end
bin=$PWD/build/release
yaml=$work/p.yaml
down() {
    "$bin/freezeline" down -c "$yaml" >/dev/null 2>&1
    rm -rf "$work"
}
trap down EXIT
of_the_demo() { # FILE [OPTION OF SED ...]: a pipeline file of configs/demo that keeps what it makes here
    file=$1
    shift
    sed -e "s|^model: .*|model: $PWD/configs/demo/demo.onnx|" -e "s|^state: .*|state: $work/state|" "$@" \
        "configs/demo/$file" >"$yaml"
}
pictures() { # COUNT SEED FILE
    "$bin/freezeline" generate --count "$1" --seed "$2" --output "$work/$3"
}
address() { sed -n 's|.*a page for people at \(http://[^ ]*\).*|\1|p' "$work/state/logs/broker.log" | head -n 1; }
