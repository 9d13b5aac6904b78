#!/bin/sh
# layers.sh - check that files include one another only along the arrows
#   proto <- {stages, cache_service, broker} <- deploy <- tests, and inside a folder only rooms that stand before
# The three services never include one another: they meet in messages.
set -eu
cd "$(dirname "$0")/../.."

# One line a folder: whose headers it may include, then its rooms, lowest first.
arrows='
proto          :                             : base numbers system keys config wire link picture index client
stages         : proto                       : graph ops onnx load simd kernels exec place brain worker
cache_service  : proto                       : promise train store keep service teach learn
broker         : proto                       : choice state oip trace page http .
deploy         : proto stages cache_service broker : tool data plot model extract quantize linear compress build evaluate variants hosts process supervise launch export ask observe operate report load bench measure world simulate plan
'
out=$(printf '%s' "$arrows" | awk '
    NF { split($0, part, ":"); folder = $1; below[folder] = " " part[2] " "
         n = split(part[3], room, " "); for (i = 1; i <= n; i++) rank[folder "/" room[i]] = i }
    function home(path, p, n) { n = split(path, p, "/"); F = p[1]; R = n > 2 ? p[2] : "." }
    function check(file, include,    folder, room, target, line) {
        home(file); folder = F; room = R
        if (!((folder "/" room) in rank)) return file " is in no room of the list in layers.sh"
        if (include ~ /pb-c\.h$/)
            return file ~ /^proto\/wire\/message|^stages\/onnx\/onnx_/ ? "" : file " includes generated code"
        if (include == "revision.h") return ""
        if (include !~ /\//) {
            target = file; sub(/[^\/]*$/, include, target)
            if ((getline line < target) < 0) return file " includes " include ", which is not beside it"
            close(target); return ""
        }
        if (include ~ /^(base|numbers|system|keys|config|wire|link|picture|index|client)\//) include = "proto/" include
        home(include)
        if (F != folder) return index(below[folder], " " F " ") ? "" : file " includes " include
        if (!((F "/" R) in rank) || rank[F "/" R] >= rank[folder "/" room])
            return file " includes " include ": not a room before its own"
        return ""
    }
    END {
        list = "find proto stages cache_service broker deploy -name \"*.[ch]\" | sort | xargs grep -H \"^#include \\\"\""
        while ((list | getline) > 0) {
            colon = index($0, ":"); split(substr($0, colon), quoted, "\"")
            fault = check(substr($0, 1, colon - 1), quoted[2]); if (fault != "") print fault
        }
    }')
if [ -n "$out" ]; then
    echo "$out"
    exit 1
fi
echo "layers: every include follows the arrows"
