#!/bin/sh
# layers.sh - check that the folders include one another only along the arrows
#   proto <- {stages, cache_service, broker} <- deploy <- tests
# The three services never include one another: they meet in messages.
set -u

deny() { # FOLDER ALLOWED-PATTERN
    for f in "$1"/*.[ch] "$1"/*/*.[ch]; do
        [ -e "$f" ] || continue
        sed -n 's/^#include "\([^"]*\)".*/\1/p' "$f" | while read -r inc; do
            # A name without a folder is a neighbour or generated; proto/ is on the include path, so base/, wire/, client/ are proto's.
            case $inc in
            */*) echo "$inc" | grep -qE "$2" || echo "$f includes $inc" ;;
            *.pb-c.h | revision.h) ;; # generated
            *) [ -e "$(dirname "$f")/$inc" ] || echo "$f includes $inc, which is not beside it" ;;
            esac
        done
    done
}
out=$(
    deny proto '^(base|wire|client)/'
    deny stages '^(base|wire|stages)/'
    deny cache_service '^(base|wire|cache_service)/'
    deny broker '^(base|wire|broker)/'
    deny deploy '^(base|wire|client|stages|cache_service|broker|deploy)/'
    # Generated code stays inside the codecs.
    grep -l 'pb-c\.h"' proto/*/*.[ch] stages/*.[ch] cache_service/*.[ch] broker/*.[ch] deploy/*.[ch] 2>/dev/null |
        grep -vE '^(proto/wire/message[a-z_]*\.c|stages/onnx_[a-z_]*\.[ch])$' | sed 's/$/ includes generated code/'
)
if [ -n "$out" ]; then
    echo "$out"
    exit 1
fi
echo "layers: every include follows the arrows"
