/* offset.h - how far the broker's clock is from this host's, learned from heartbeats
 *
 * An echo that was sent at a, carries broker time b and came back at c tells b - (a + c) / 2 with an error of
 * at most (c - a) / 2. The estimate is the one with the shortest round trip among the last OFFSET_SAMPLES.
 * Pure.
 */
#ifndef FREEZELINE_OFFSET_H
#define FREEZELINE_OFFSET_H

#include <stdint.h>

#define OFFSET_SAMPLES 8

struct offset {
    int n; /* samples seen, ever */
    struct {
        uint64_t round_trip_ns;
        int64_t offset_ns;
    } sample[OFFSET_SAMPLES];
};

void offset_add(struct offset *o, uint64_t sent_ns, uint64_t broker_ns, uint64_t received_ns);
/* Add this to local time to get broker time; 0 before the first sample. */
int64_t offset_ns(const struct offset *o);
/* The most that offset_ns may be wrong by: half of that round trip (the drift of both clocks over the last
 * OFFSET_SAMPLES heartbeats comes on top). UINT64_MAX before the first sample. */
uint64_t offset_error_ns(const struct offset *o);

#endif
