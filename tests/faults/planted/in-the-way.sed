# One that waits keeps the endpoint of its successor, which serves.
# kinds: kill,end,reload
# file: broker/dispatch_members.c
s/^    clear_way(d, m);//
# file: broker/state/registry.c
s/if (stands_in_the_way(m, h)) {/if (0) {/
