/* simulate_hop.h - the CPU time that a worker spends on one message */
#ifndef FREEZELINE_SIMULATE_HOP_H
#define FREEZELINE_SIMULATE_HOP_H

#include "simulate_measured.h"

/* Passes activations of two sizes to itself through a socket in p's state directory, as a worker sends and
 * receives them. Fills stage_send, stage_receive, stage_kilobyte, stage_lookup and stage_verdict. */
int simulate_time_messages(struct measured *m, const struct pipeline *p, struct error *e);

#endif
