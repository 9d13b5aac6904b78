/* message_cost.h - what a message to another process of this host takes, measured here and now */
#ifndef FREEZELINE_MESSAGE_COST_H
#define FREEZELINE_MESSAGE_COST_H

#include "config/pipeline.h"

struct message_cost {
    double fixed_ms;    /* of any message, however small */
    double per_byte_ms; /* on top */
};

/* Sends activations of two sizes the pipeline's way (hop.h) to a thread that waits, as a stage worker does:
 * one at a time, with `pause_ms` of computing in between (at most 5 ms, so that it takes under a second),
 * since a receiver that sleeps has to be woken. Lower quartiles: a busy machine slows the others. Errors as
 * hop_open; FL_IO when messages are lost. */
int message_cost_measure(struct message_cost *out, const struct pipeline *p, double pause_ms,
                         struct error *e);

/* CPU time of a message, us: of who sends it, of who receives it, of ZeroMQ's threads between them. */
struct message_cpu {
    double send, receive, io;
};

/* Means over bursts of messages of HOP_SMALL_BYTES and of HOP_LARGE_BYTES, in which nobody sleeps. Errors as
 * above. */
int message_cost_cpu(struct message_cpu out[2], const struct pipeline *p, bool lanes, struct error *e);

#endif
