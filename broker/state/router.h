/* router.h - choose a worker of each stage for a request
 *
 * Least to do (outstanding, and requests of other brokers) among the replicas of each stage from which the
 * last stage can be reached; ties go round. Where a replica takes N times as long as the quickest of its
 * stage, N at least 2, each request counts N times there; now and then it gets one all the same, to see
 * whether it is quicker again. Those that failed this request before, and those that are put aside, are taken
 * only when there is no other. A replica that is due for a trial comes first. Pure.
 */
#ifndef FREEZELINE_ROUTER_H
#define FREEZELINE_ROUTER_H

#include "registry.h"

/* Fills route[0 .. registry_stages(r) - 1] and returns -1; or returns the stage at which there is nobody.
 * `avoid` (may be NULL) and `full` are bit masks of replicas: per stage, and of stage 0 those that can't take
 * a job right now (never chosen; a stage 0 with nothing else is reported as 0 while registry_stage_ready
 * stays true). `turn` breaks ties. */
int router_choose(const struct registry *r, const uint16_t *avoid, uint16_t full, unsigned turn, uint64_t now,
                  uint8_t *route);
/* A request goes that way. */
void router_sent(struct registry *r, const uint8_t *route);
/* One was answered: how long each worker on its way took. `return_ns`: from the last one to here; no part
 * counts for more than `took_ns`, the whole. */
void router_learn(struct registry *r, const struct trace *t, uint64_t return_ns, uint64_t took_ns);

#endif
