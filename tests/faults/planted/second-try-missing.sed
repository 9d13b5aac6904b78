# A client leaves what a broker took along where it was.
# file: proto/client/failover.c
s/^        if (f->pending\[i\].broker == broker)$/        if (f->pending[i].broker == -2)/
