/* arrival.h - when a message came, as far as a process that was busy can know
 *
 * A socket does not say when its messages came. What is known: not before it was sent, nor before the socket
 * was last seen empty, and not after it was taken out. The earliest possible time is used: while nobody
 * looks, a message counts as waiting for the receiver (queue), not as on its way (wire). A receiver that
 * sleeps on the socket sees a message come at once, so then the wire is exact; otherwise it is at most the
 * time between two looks too short, and the queue as much too long. Pure; all times by the same clock.
 */
#ifndef FREEZELINE_ARRIVAL_H
#define FREEZELINE_ARRIVAL_H

#include <stdint.h>

struct arrival {
    uint64_t wire_ns, queue_ns, decode_ns; /* sent .. came .. taken .. read; they sum to the whole */
};

/* `taken_ns` is the time before the receiver asked its socket, `read_ns` when it had the message decoded. A
 * message may be sent in between (the receiver was kept from running): then it was taken when it was sent.
 * One that seems to be sent after it was read comes from another clock: then all are 0. */
struct arrival arrival_of(uint64_t sent_ns, uint64_t seen_empty_ns, uint64_t taken_ns, uint64_t read_ns);

#endif
