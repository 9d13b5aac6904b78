/* offset.c - the sample with the shortest round trip */
#include "offset.h"

void offset_add(struct offset *o, uint64_t sent_ns, uint64_t broker_ns, uint64_t received_ns)
{
    int i = o->n % OFFSET_SAMPLES;
    if (received_ns < sent_ns)
        return;
    o->sample[i].round_trip_ns = received_ns - sent_ns;
    o->sample[i].offset_ns = (int64_t)(broker_ns - (sent_ns + (received_ns - sent_ns) / 2));
    o->n++;
}

/* Index of the quickest round trip; -1 before the first sample. */
static int quickest(const struct offset *o)
{
    int best = -1, n = o->n < OFFSET_SAMPLES ? o->n : OFFSET_SAMPLES;
    for (int i = 0; i < n; i++)
        if (best < 0 || o->sample[i].round_trip_ns < o->sample[best].round_trip_ns)
            best = i;
    return best;
}

int64_t offset_ns(const struct offset *o)
{
    int best = quickest(o);
    return best < 0 ? 0 : o->sample[best].offset_ns;
}

uint64_t offset_error_ns(const struct offset *o)
{
    int best = quickest(o);
    return best < 0 ? UINT64_MAX : (o->sample[best].round_trip_ns + 1) / 2;
}
