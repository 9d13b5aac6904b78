# A worker that was silent comes back by a heartbeat, whatever plan serves by now.
# kinds: edit,stall,end
# file: broker/registry.c
s/if (m \&\& !m->alive \&\& m->stage >= 0 \&\& .*/if (0)/
