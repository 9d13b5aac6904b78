# A worker on another host is ready before it knows the time: its first jobs seem to be too late.
# kinds: end
# file: broker/state/registry.c
s/ && m->last.clock_error_ns != UINT64_MAX//
