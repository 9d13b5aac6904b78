/* arrival.c - the earliest time at which a message may have come */
#include "base/arrival.h"

struct arrival arrival_of(uint64_t sent_ns, uint64_t seen_empty_ns, uint64_t taken_ns)
{
    uint64_t came = sent_ns > seen_empty_ns ? sent_ns : seen_empty_ns;
    if (came > taken_ns)
        came = taken_ns;
    return (struct arrival){.wire_ns = came > sent_ns ? came - sent_ns : 0, .queue_ns = taken_ns - came};
}
