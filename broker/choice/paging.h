/* paging.h - which variants should be loaded within a bound of memory: those that requests would use most
 *
 * What requests would use is counted as if all were loaded, and fades (half in PAGING_HALF_S). Loading costs
 * time and processors, so the set changes only where another one would be used PAGING_GAIN times as much, and
 * PAGING_DWELL_S after the last change at the earliest: it does not oscillate (MCDNN, section 5.3). The first
 * variant is the pipeline itself and stays. Pure.
 */
#ifndef FREEZELINE_PAGING_H
#define FREEZELINE_PAGING_H

#include <stdbool.h>
#include <stdint.h>

#define PAGING_MAX     8
#define PAGING_HALF_S  120.0
#define PAGING_GAIN    1.5
#define PAGING_DWELL_S 60.0

struct paging {
    int n;
    uint64_t memory, bytes[PAGING_MAX]; /* memory 0: no bound */
    double use[PAGING_MAX];
    uint64_t counted_ns, changed_ns;
    uint32_t loaded; /* mask */
};

/* Begins with those that fit, in their order. */
void paging_init(struct paging *p, const uint64_t *bytes, int n, uint64_t memory);
/* A request would be answered by these, were they all loaded. */
void paging_wished(struct paging *p, uint64_t now, uint32_t mask);
uint32_t paging_wants(struct paging *p, uint64_t now);

#endif
