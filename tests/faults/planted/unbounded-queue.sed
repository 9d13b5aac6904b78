# What stage 0 is sent is bounded by its socket alone.
# file: broker/dispatch_send.c
s/if (in_queue(d, i) >= queue_of(d, i))/if (0)/
