#!/bin/sh
# fuzz.sh - runs fuzz targets one after the other, and says what came of each
#
# Usage: fuzz.sh PROGRAM.. (`make fuzz` builds them). Each runs for FUZZ_SECONDS, and until it has had FUZZ_RUNS
# executions; without either it would not end. Executions are counted over all calls, as long as the program stays the
# same: what a call leaves, or what was interrupted, the next one goes on with. In build/fuzz are kept of a target its
# new inputs (TARGET), inputs that failed (TARGET-*), what libFuzzer said (TARGET.log), and the count (TARGET.count: the
# program's sum, executions, seconds of CPU). Ends with 1 where one failed, with 130 where it was interrupted.
set -u
cd "$(dirname "$0")/../.." || exit

# A small quarantine: fresh pages cost more than a run, and what a run frees fits. Short stacks of allocations: to see
# more of them, run the target on the input that failed.
export ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=4:malloc_context_size=4:allocator_release_to_os_interval_ms=-1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1

# How long inputs may be: what a brain is told in one run takes a few bytes a message, the rest are files.
most_bytes() {
    case $1 in
    broker | cache | stage | lane | choice) echo 512 ;;
    *) echo 2048 ;;
    esac
}

# The last number behind a word in what libFuzzer said; 0: there is none.
told() {
    sed -n "s/.*$1:* *\([0-9][0-9]*\).*/\1/p" "$2" | tail -n 1 | grep . || echo 0
}

# How many are kept.
inputs() {
    find "build/fuzz/$name" -type f | wc -l
}

# Sets `now` to the seconds of CPU that the programs have had so far; no subshell knows them.
read_cpu() {
    times >"$log.times"
    now=$(tr ms "  " <"$log.times" | awk 'END { print ($1 + $3) * 60 + $2 + $4 }')
}

# Runs $1 for $2 executions (nothing: without end).
run() {
    "$1" ${FUZZ_SECONDS:+-max_total_time="$FUZZ_SECONDS"} ${2:+-runs="$2"} -max_len="$(most_bytes "$name")" \
        -timeout=60 -rss_limit_mb=2048 -entropic=0 -print_final_stats=1 -artifact_prefix="build/fuzz/$name-" \
        "build/fuzz/$name" "tests/fuzz/corpus/$name" >"$log" 2>&1
}

# Fuzzes with $1 what is left, and prints a line of the table.
fuzz() {
    name=${1##*/fuzz_} log=build/fuzz/${1##*/fuzz_}.log count=build/fuzz/${1##*/fuzz_}.count ran=0 found=none
    sum=$(cksum <"$1" | tr ' ' -) all=0 cpu=0
    mkdir -p "build/fuzz/$name"
    # shellcheck disable=SC2046 # three words
    [ ! -e "$count" ] || { set -- "$1" $(cat "$count") && [ "$2" = "$sum" ] && all=$3 cpu=$4; }
    before=$(inputs)
    if [ -z "${FUZZ_RUNS:-}" ] || [ "$all" -lt "$FUZZ_RUNS" ]; then
        read_cpu
        start=$now
        run "$1" ${FUZZ_RUNS:+$((FUZZ_RUNS - all))}
        code=$?
        read_cpu
        ran=$(told stat::number_of_executed_units "$log")
        case $code in
        0 | 72) # 72: by a signal
            all=$((all + ran)) cpu=$(echo "$cpu $now $start" | awk '{ print $1 + $2 - $3 }')
            echo "$sum $all $cpu" >"$count"
            ;;
        130 | 143) ;; # by a signal, before it took any
        *) rc=1 failed="$failed $log" found="see $log" ;;
        esac
    fi
    printf '%-14s %12s %12s %12s %9s %9s  %s\n' "$name" "$ran" "$all" \
        "$(echo "$all $cpu" | awk '{ printf "%.0f", $2 ? $1 / $2 : 0 }')" "$(told ' cov' "$log")" \
        "$(($(inputs) - before))" "$found"
}

rc=0 failed='' stopped=''
mkdir -p build/fuzz
trap 'stopped=yes' INT TERM
printf '%-14s %12s %12s %12s %9s %9s  %s\n' target executions 'in all' 'a CPU second' edges 'new' findings
for program; do
    [ -n "$stopped" ] || fuzz "$program"
done
for log in $failed; do
    echo "--- $log"
    tail -n 60 "$log"
done
[ -z "$stopped" ] || rc=130
exit $rc
