# A worker that was silent comes back by a heartbeat, whatever plan serves by now.
# kinds: edit,stall,end
# file: broker/state/registry.c
s/return !m->hello.ready || (m->stage >= 0 \&\& registry_other_plan(r, \&m->hello, m));/return false;/
