/* metrics_text.h - what is counted, as Prometheus text (format 0.0.4), or as OpenMetrics 1.0. Pure. */
#ifndef FREEZELINE_METRICS_TEXT_H
#define FREEZELINE_METRICS_TEXT_H

#include "base/json_text.h"
#include "broker/oip/oip_view.h"

#define METRICS_BUCKETS  14
#define METRICS_STATUSES 600

extern const double metrics_bucket[METRICS_BUCKETS]; /* seconds */

/* What HTTP itself counts (broker/http/http_counts.c). */
struct http_counts {
    uint64_t reply[METRICS_STATUSES]; /* by status */
    uint64_t connections;             /* open now */
    /* inference requests: from the whole body to the reply; [i]: up to metrics_bucket[i] seconds, the last:
     * more */
    uint64_t took[METRICS_BUCKETS + 1];
    double took_sum;
    /* of each of these, the newest whose time was told as a trace; at 0: none */
    struct exemplar {
        uint64_t high, low; /* the trace */
        double took, at;    /* seconds; the moment, since 1970 */
    } exemplar[METRICS_BUCKETS + 1];
    /* of these, in nanoseconds: answered and failed ones; their rows made of bodies, in the stages, waiting
     * and being computed, and made replies; rows whose answer was known */
    struct http_sum {
        uint64_t count, ns;
    } success, fail, input, queue, compute, output, known;
    uint64_t last_ms; /* when the last one was answered, since 1970; 0: none was */
};

/* What is known of the pipeline at one moment. */
struct metrics {
    const struct pipeline *pipeline;
    const struct http_counts *http;
    const struct status_reply *status; /* NULL: the broker does not reply; then only what HTTP counts */
    const struct view *view;           /* of it */
    const struct times *times;         /* NULL: not told */
    bool open;                         /* OpenMetrics, with exemplars */
    struct heartbeat own;              /* what the broker itself uses; the rest is 0 */
};

void metrics_text(struct json_text *out, const struct metrics *m);

#endif
