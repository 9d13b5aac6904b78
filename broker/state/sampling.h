/* sampling.h - which requests teach the caches, which are audits, and which are handed on
 *
 * Decided by a hash of the request's id, so it needs no state and every process that knows the id comes to
 * the same verdict. The draws do not depend on one another.
 */
#ifndef FREEZELINE_SAMPLING_H
#define FREEZELINE_SAMPLING_H

#include "wire/message.h"

/* Is it one of this share whose time is told (traces.share)? */
bool sampling_traces(uint64_t id, double share);
/* The job flags of a request: what its client asked for (JOB_NO_CACHE, JOB_AUDIT, JOB_TRACE) plus JOB_SAMPLED
 * for a share `sample` and for those whose client asked for JOB_AUDIT. One without look-ups is neither. */
uint32_t sampling_flags(uint64_t id, uint32_t asked, double sample);
/* Is it, of a stream, one that later frames are compared with: one of SAMPLING_KEYS? */
#define SAMPLING_KEYS 8
bool sampling_keys(uint64_t id);
/* True for a share of all ids. */
bool sampling_audits(uint64_t id, double share);
/* Where an id falls from 0 up to 1: shares of the requests are parts of that. */
double sampling_point(uint64_t id);

#endif
