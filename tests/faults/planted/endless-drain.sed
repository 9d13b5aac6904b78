# A drain does not end with its lease.
# file: broker/dispatch.c
s/until = now + ms \* NS_PER_MS;/until = ms ? UINT64_MAX : 0;/
