/* pace.h - how long a variant takes with what is under way there, and how hard the load presses on all
 *
 * pace: the time of a request with n ahead of it is about (n + 1) x place, never less than alone. Without
 * answers the estimate goes back to what was measured beforehand, so that a variant that was left alone
 * because it was slow is tried again.
 *
 * pressure: 0 at rest. Where variants share processors, the queue of one says too little: a request that
 * takes too long anywhere makes all go to cheaper variants, by PRESSURE_STEP, once for all requests that were
 * under way together; time takes that back, slowly, so that it does not oscillate. Pure.
 */
#ifndef FREEZELINE_PACE_H
#define FREEZELINE_PACE_H

#include <stdint.h>

struct pace {
    double measured_ns, alone_ns, place_ns;
    uint64_t learned_ns; /* when */
};

void pace_init(struct pace *p, double measured_ns);
double pace_expects(const struct pace *p, uint64_t now, uint32_t ahead);
void pace_learn(struct pace *p, uint64_t now, uint32_t ahead, double took_ns);

#define PRESSURE_STEP    0.1
#define PRESSURE_EASES_S 8.0 /* one level in so many seconds */

struct pressure {
    double level, most;
    uint64_t raised_ns, at_ns;
};

/* A request that began then took too long, or would. */
void pressure_felt(struct pressure *p, uint64_t now, uint64_t began_ns);
/* 0: none; `most`: as much as can be. */
double pressure_level(const struct pressure *p, uint64_t now);

#endif
