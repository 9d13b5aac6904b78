/* verdicts.h - what look-ups are answered with, and which hits end their request
 *
 * The one place that decides it: for the cache service, and for stage workers that look up themselves. Pure.
 */
#ifndef FREEZELINE_VERDICTS_H
#define FREEZELINE_VERDICTS_H

#include "cache.h"
#include "wire/message.h"

/* Fills in the verdict of what a cache of this epoch, with these levels, said of each item, all but
 * `lookup_ns` and `absent`. A request that says how much loss it allows is held against the level of the most
 * loss within that. `found` NULL: nothing is known, all miss. */
void verdicts_fill(struct verdict *out, const struct lookup *in, const struct cache_verdict *found,
                   const struct cache_levels *levels, uint64_t epoch, uint64_t broker_now);
/* The answer that hit i is. */
void verdicts_result(struct result *out, const struct lookup *in, const struct verdict *v, int i,
                     uint64_t sent_ns);

#endif
