/* rates.h - how fast each client may ask
 *
 * A client may ask `per_s` times a second, and as often at once as in one second when it has not asked for
 * that long. The table is bounded: it has RATES_WAYS places for all clients whose number falls on the same
 * row. Who comes when all of them are busy takes the place of the one that has the most left. Pure.
 */
#ifndef FREEZELINE_RATES_H
#define FREEZELINE_RATES_H

#include <stdint.h>

#define RATES_ROWS 256
#define RATES_WAYS 8

struct rates {
    uint64_t every_ns, burst_ns; /* every_ns 0: nobody is held up */
    struct rates_client {
        uint32_t who;
        uint64_t paid_until_ns; /* what was asked so far is worth this much time, from when it began */
    } client[RATES_ROWS][RATES_WAYS];
};

void rates_init(struct rates *r, double per_s);
/* One more request: 0, or when to ask again, in ms. */
uint32_t rates_take(struct rates *r, uint32_t who, uint64_t now);

#endif
