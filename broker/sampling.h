/* sampling.h - which requests teach the caches
 *
 * Decided by a hash of the request's id, so it needs no state and every process that knows the id comes to
 * the same verdict.
 */
#ifndef FREEZELINE_SAMPLING_H
#define FREEZELINE_SAMPLING_H

#include "wire/message.h"

/* The job flags of a request: what its client asked for (JOB_NO_CACHE, JOB_AUDIT, JOB_TRACE) plus JOB_SAMPLED
 * for a share of updates.sample and JOB_AUDIT for a share of updates.audit. A request without look-ups is
 * neither.
 */
uint32_t sampling_flags(uint64_t id, uint32_t asked, const struct updates_config *c);

#endif
