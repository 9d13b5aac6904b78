# An audit's second run goes on counting with a worker that has died.
# file: broker/dispatch_members.c
s/^        if (e->original) {$/        if (e->original) continue; if (0) {/
