/* otlp_text.h - a request's spans as OpenTelemetry has them (OTLP 1.0, JSON encoding). Pure. */
#ifndef FREEZELINE_OTLP_TEXT_H
#define FREEZELINE_OTLP_TEXT_H

#include "base/json_text.h"
#include "trace_join.h"

struct trace_id {
    uint64_t high, low;
};

/* The trace of a request that came without one. */
struct trace_id trace_id_of(uint64_t request);

/* {"resourceSpans": [..]} without its end: traces are put in, one after the other, and otlp_end closes it.
 * Times in spans are broker time; realtime_ns is what has to be added to them. */
void otlp_begin(struct json_text *out, const char *pipeline);
void otlp_trace(struct json_text *out, const struct traced *t, bool first, uint64_t realtime_ns);
void otlp_end(struct json_text *out);

#endif
