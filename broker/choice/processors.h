/* processors.h - how much quality the processors that the variants share have room for
 *
 * Variants on the same processors slow one another, whatever their own queues say. So the load is held
 * against the processors: requests a second, times the processor time that each takes. Two things bound it:
 * - what there is: PROCESSORS_SHARE of the processors; the rest is for brokers, sockets and clients;
 * - what has turned out to be too much: a request that waits too long, or that a variant turns away, lowers
 * the bound, from what was asked for then; each one that does not raises it by a little. So about
 *   PROCESSORS_STRAINED of the requests wait too long where the load is as much as can be, whatever else runs
 *   on the machine and whatever requests cost beside their variants.
 * The level that fits into the bound follows from the load at once, in both directions, so it does not
 * oscillate. Pure; times never go back.
 */
#ifndef FREEZELINE_PROCESSORS_H
#define FREEZELINE_PROCESSORS_H

#include <stdbool.h>
#include <stdint.h>

#define PROCESSORS_MOST     8 /* variants */
#define PROCESSORS_SHARE    0.9
#define PROCESSORS_STRAINED 0.0025

struct processors {
    int n;
    double cost[PROCESSORS_MOST]; /* seconds of processor time; the most accurate variant first */
    double cheapest;              /* of these costs */
    double most;                  /* of them a second; infinity: not known */
    double bound, least;          /* as it turned out: `least` to `most` */
    double window_s, rate, used;  /* of late: requests a second, and what they asked for */
    uint64_t at_ns;
};

/* `cpus`: processors that all of them share; 0: not known. Cost 0: it runs elsewhere. */
void processors_init(struct processors *p, const double *cost, int n, double cpus);
/* A request came; a variant is asked that costs so much. */
void processors_came(struct processors *p, uint64_t now);
void processors_asked(struct processors *p, uint64_t now, double cost);
/* It was answered in good time, or not. */
void processors_did(struct processors *p, uint64_t now, bool strained);
/* How many of the most accurate variants are too dear: 0: none, 1.5: the first one, and the second for half
 * of the requests; n - 1 at most. */
double processors_level(const struct processors *p, uint64_t now);

#endif
