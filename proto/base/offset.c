/* offset.c - the sample with the shortest round trip */
#include "base/offset.h"

void offset_add(struct offset *o, uint64_t sent_ns, uint64_t broker_ns, uint64_t received_ns)
{
    int i = o->n % OFFSET_SAMPLES;
    if (received_ns < sent_ns)
        return;
    o->sample[i].round_trip_ns = received_ns - sent_ns;
    o->sample[i].offset_ns = (int64_t)(broker_ns - (sent_ns + (received_ns - sent_ns) / 2));
    o->n++;
}

int64_t offset_ns(const struct offset *o)
{
    int best = 0, n = o->n < OFFSET_SAMPLES ? o->n : OFFSET_SAMPLES;
    if (!n)
        return 0;
    for (int i = 1; i < n; i++)
        if (o->sample[i].round_trip_ns < o->sample[best].round_trip_ns)
            best = i;
    return o->sample[best].offset_ns;
}
