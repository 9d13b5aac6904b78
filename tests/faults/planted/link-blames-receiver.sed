# One broken link makes its receiver suspect to all senders.
# kinds: break
# file: broker/state/trust.c
s/if (agree > 1)/if (agree > 0)/
