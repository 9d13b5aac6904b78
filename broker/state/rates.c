/* rates.c - a bucket of tokens as one moment: when all that was asked is paid for */
#include "rates.h"

#include <string.h>

#include "base/clock.h"

void rates_init(struct rates *r, double per_s)
{
    r->every_ns = r->burst_ns = 0;
    if (per_s > 0) {
        memset(r->client, 0, sizeof r->client);
        r->every_ns = (uint64_t)((double)NS_PER_S / per_s);
        r->burst_ns = r->every_ns < NS_PER_S ? NS_PER_S - r->every_ns : 0;
    }
}

static struct rates_client *place_of(struct rates *r, uint32_t who)
{
    struct rates_client *row = r->client[who * 2654435769u >> 24], *least = row;

    for (int i = 0; i < RATES_WAYS; i++) {
        if (row[i].who == who)
            return &row[i];
        if (row[i].paid_until_ns < least->paid_until_ns)
            least = &row[i];
    }
    *least = (struct rates_client){.who = who};
    return least;
}

uint32_t rates_take(struct rates *r, uint32_t who, uint64_t now)
{
    struct rates_client *c;

    if (!r->every_ns)
        return 0;
    c = place_of(r, who);
    if (c->paid_until_ns > now + r->burst_ns)
        return (uint32_t)((c->paid_until_ns - now - r->burst_ns) / NS_PER_MS) + 1;
    c->paid_until_ns = (c->paid_until_ns > now ? c->paid_until_ns : now) + r->every_ns;
    return 0;
}
