/* trust.h - which workers, and which links between them, are given requests
 *
 * What fails, rests: it is sent nothing for a while. Each further failure doubles the rest, a success ends
 * it.
 * - A link is the way from a worker to one of the next stage. When a worker cannot hand a request over, that
 *   link rests. The receiver itself rests only when several senders could not reach it.
 * - A worker that fails TRUST_FAILURES requests in a row is put aside: it becomes the last choice of its
 *   stage. When its rest is over it gets one request on trial.
 *
 * Pure: time comes in as an argument.
 */
#ifndef FREEZELINE_TRUST_H
#define FREEZELINE_TRUST_H

#include "registry.h"

#define TRUST_FAILURES 3

/* A rest of a worker, or of another pipeline (relay.h). */
bool rest_lasts(const struct rest *rest, uint64_t now);
void rest_begin(struct rest *rest, uint64_t now);

/* Stage `stage` - 1's worker could not reach a worker of `stage`. */
void trust_link_failed(struct registry *r, int stage, int from, int to, uint64_t now);
/* A request that went that way was heard of no more: the link may be cut without either end knowing. It
 * rests, where the sender has another. */
void trust_link_silent(struct registry *r, int stage, int from, int to, uint64_t now);
/* A request failed at this worker with an error that speaks against it, or was not heard of any more. True
 * when that puts it aside. */
bool trust_worker_failed(struct member *m, uint64_t now);
/* Does the error of a result speak against the worker that sent it? Lateness does not. */
bool trust_speaks_against(uint32_t error);
/* Every worker and link of the trace did its work. */
void trust_succeeded(struct registry *r, const struct trace *t);

bool trust_is_aside(const struct member *m);
/* Put aside, its rest is over, and no request is on trial there yet. */
bool trust_wants_trial(const struct member *m, uint64_t now);

/* Per stage a mask of the workers that can take a request and from which the last stage can be reached;
 * `full` are those of stage 0 that can't. -1, or the stage at which there is nobody. */
int trust_reach(const struct registry *r, uint16_t full, uint64_t now, uint16_t reach[PIPELINE_MAX_STAGES]);
/* A request can pass through all stages, whatever rests. */
bool trust_ready(const struct registry *r);
/* The workers of `stage` + 1 that worker `from` of `stage` can hand a request to. */
uint16_t trust_links(const struct registry *r, int stage, int from, uint64_t now);

#endif
