/* paging.h - which variants should be loaded within a bound of memory: those that requests would use most
 *
 * What requests would use is counted as if all were loaded, and fades (half in PAGING_HALF_S). Loading costs
 * time and processors, so it does not oscillate (MCDNN, section 5.3): the set changes only where another one
 * would be used PAGING_GAIN times as much, when the change before is done, and then only after PAGING_COST
 * times what that took. So loading takes no more than a twentieth of the time. Who is not there after
 * PAGING_PATIENCE_S is done without. The first variant is the pipeline itself and stays. Pure.
 */
#ifndef FREEZELINE_PAGING_H
#define FREEZELINE_PAGING_H

#include <stdbool.h>
#include <stdint.h>

#define PAGING_MAX        8
#define PAGING_HALF_S     120.0
#define PAGING_GAIN       1.5
#define PAGING_COST       20.0
#define PAGING_LEAST_S    5.0 /* between two changes, and before the first; and at most: */
#define PAGING_MOST_S     600.0
#define PAGING_PATIENCE_S 120.0

struct paging {
    int n;
    uint64_t memory, bytes[PAGING_MAX]; /* memory 0: no bound */
    double use[PAGING_MAX];
    uint64_t counted_ns, changed_ns;
    double dwell_s;
    bool changes;
    uint32_t wanted; /* mask */
};

/* Begins with those that fit, in their order. */
void paging_init(struct paging *p, const uint64_t *bytes, int n, uint64_t memory);
/* A request would be answered by these, were they all loaded. */
void paging_wished(struct paging *p, uint64_t now, uint32_t mask);
/* Which should be loaded, of which these are. */
uint32_t paging_wants(struct paging *p, uint64_t now, uint32_t loaded);

#endif
