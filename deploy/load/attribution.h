/* attribution.h - where the time of requests went: parts that follow one another and sum to the latency
 *
 * Each answer brings the durations of its path (proto/README.md, "Where the time goes"). They are summed over
 * all requests, by stage, by exit, and by latency, so that afterwards the mean can be told of all requests
 * and of those in the middle (latency within p45 .. p55), whose parts explain the median. Fixed memory (about
 * 300 KiB), whatever the number of requests. One thread; merge those of several.
 */
#ifndef FREEZELINE_ATTRIBUTION_H
#define FREEZELINE_ATTRIBUTION_H

#include <jansson.h>

#include "wire/message.h"

enum part {
    PART_CLIENT, /* not in the broker: from when it was due (or sent) to the broker, and back */
    PART_BROKER,
    PART_WIRE, /* between processes: to each stage, and the answer's way to the broker */
    PART_QUEUE,
    PART_COMPUTE,
    PART_LOOKUP, /* what look-ups add (the exposed part), the answering one's own way included */
    PART_SERIALISE,
    PART_RESIDUAL, /* of the broker's total, what none of these explains; may be negative */
    PARTS
};

extern const char *const part_names[PARTS];

struct attribution;

int attribution_new(struct attribution **out); /* FL_NOMEM */
void attribution_free(struct attribution *a);  /* NULL is fine */
/* Counts an answer without error; latency as its client saw it. */
void attribution_add(struct attribution *a, const struct answer *answer, uint64_t latency_ns);
void attribution_merge(struct attribution *to, const struct attribution *from);

/* Parts of one request in ns, indexed by enum part; they sum to its latency. */
void attribution_of(const struct answer *answer, uint64_t latency_ns, double part_ns[PARTS]);
/* Mean parts in ns, all zero when nothing was counted: of all requests, and of those whose latency lies
 * within p45 .. p55 (within 1%, the width of the buckets). */
void attribution_mean(const struct attribution *a, double part_ns[PARTS]);
void attribution_middle(const struct attribution *a, double part_ns[PARTS]);
/* The residual's share of the sum of all parts, without its sign; 0 when there is none. */
double attribution_residual_share(const double part_ns[PARTS]);

/* Mean parts in ms, by name, of the requests that this exit answered, -1: the network; null where it answered
 * none. Owned; NULL: no memory. */
json_t *attribution_exit_json(const struct attribution *a, int exit);
/* Sets parts_ms, parts_p50_ms, residual_share, residual_share_p50, answering_lookup_ms, return_ms, stages and
 * clock of the object `document`; null where nothing was counted. FL_NOMEM. */
int attribution_json(const struct attribution *a, json_t *document);

#endif
