/* pace.h - how long a variant takes with what is under way there
 *
 * The time of a request with n ahead of it is about (n + 1) x place, never less than alone. Without answers
 * the estimate goes back to what was measured beforehand, so that a variant that was left alone because it
 * was slow is tried again. Pure.
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

#endif
