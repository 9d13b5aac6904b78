/* arrival.c - the earliest time at which a message may have come */
#include "arrival.h"

static uint64_t within(uint64_t t, uint64_t from, uint64_t to)
{
    return t < from ? from : t > to ? to : t;
}

struct arrival arrival_of(uint64_t sent_ns, uint64_t seen_empty_ns, uint64_t taken_ns, uint64_t read_ns)
{
    uint64_t sent = within(sent_ns, 0, read_ns);
    uint64_t taken = within(taken_ns, sent, read_ns);
    uint64_t came = within(seen_empty_ns, sent, taken);
    return (struct arrival){.wire_ns = came - sent, .queue_ns = taken - came, .decode_ns = read_ns - taken};
}
