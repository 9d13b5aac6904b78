# A worker that fails at once has the fewest outstanding requests, and gets the next one too.
# file: broker/dispatch_answer.c
/^static void on_failure/,/^}/ {
    s/^    e->avoid\[stage\] |= .*//
    s/if (trust_worker_failed(m, now))/if (0)/
}
