# Requests that wait for the answer of one with the same input do not get it.
# file: broker/dispatch_answer.c
s/^    for (f = dispatch_follower(d, e, NULL); f; f = next) {$/    for (f = NULL; f; f = next) {/
