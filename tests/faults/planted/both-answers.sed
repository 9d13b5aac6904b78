# A client hands out what every broker says.
# file: proto/client/failover.c
s/^    take_out(f, p);$/    leave_broker(f, p), p->again = true;/
