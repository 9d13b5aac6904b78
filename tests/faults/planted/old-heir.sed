# Who was to come after a process of the old plan waits for ever when the pipeline has moved on.
# seed: 84200
# file: broker/dispatch_succession.c
s/^        send_old_away(d);$//
