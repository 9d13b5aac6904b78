/* arrival.h - when a message came, as far as a process that was busy can know
 *
 * A socket does not say when its messages came. What is known: not before it was sent, nor before the socket
 * was last seen empty, and not after it was taken out. The earliest such time is used: while nobody looks, a
 * message waits for the receiver (queue), it is not on its way (wire). A receiver that sleeps on the socket
 * sees a message come at once, so then the wire is exact; otherwise it is at most the time between two looks
 * too short, and the queue as much too long. Pure; all times by the same clock.
 */
#ifndef FREEZELINE_ARRIVAL_H
#define FREEZELINE_ARRIVAL_H

#include <stdint.h>

struct arrival {
    uint64_t wire_ns, queue_ns; /* sent .. came .. taken */
};

/* `sent_ns` is the sender's; it may be later than taken_ns where clocks differ: then both are 0. */
struct arrival arrival_of(uint64_t sent_ns, uint64_t seen_empty_ns, uint64_t taken_ns);

#endif
