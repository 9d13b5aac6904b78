# flat.awk - a command's --json output as lines "path value", for shell scripts
#
#   freezeline eval ... --json | awk -f deploy/scripts/flat.awk
#   latency_ms.full.mean 6.1
#   exits.0.name exit1
#
# Reads what freezeline prints (one key or bracket per line, two spaces per level), not JSON in general.
{
    match($0, /^ */)
    level = RLENGTH / 2
    line = substr($0, RLENGTH + 1)
    sub(/,$/, "", line)
    key = ""
    if (match(line, /^"[^"]*": /)) {
        key = substr(line, 2, RLENGTH - 4)
        line = substr(line, RLENGTH + 1)
    } else if (line !~ /^[]}]/ && level > 0)
        key = count[level]++
    name[level] = key
    if (line ~ /^[[{]$/)
        count[level + 1] = 0
    else if (line !~ /^[]}]/) {
        path = name[1]
        for (i = 2; i <= level; i++)
            path = path "." name[i]
        gsub(/^"|"$/, "", line)
        print path, line
    }
}
