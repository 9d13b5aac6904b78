/* batch_limit.h - how many requests a stage computes together: as many as keep to its part of the latency
 * target
 *
 * As in Clipper (Crankshaw et al., NSDI 2017, section 4.3): a full batch that kept to its time lets one more
 * in, one that did not takes a tenth off. Half goes at once where a batch took twice its time, so the limit
 * may begin at the most there can be. Pure.
 */
#ifndef FREEZELINE_BATCH_LIMIT_H
#define FREEZELINE_BATCH_LIMIT_H

#include <stdint.h>

struct batch_limit {
    int most;
    uint64_t may_ns; /* what a batch may take; 0: the limit stays at `most` */
    double limit;
};

/* Waits for the batch in hand and then for its own: so a batch may take half of the stage's share of the
 * target, which is 0 where there is none. */
void batch_limit_init(struct batch_limit *l, int most, double target_ns, double share);
int batch_limit_now(const struct batch_limit *l);
/* A batch that was formed of n requests took so long. */
void batch_limit_learn(struct batch_limit *l, int n, uint64_t took_ns);

#endif
