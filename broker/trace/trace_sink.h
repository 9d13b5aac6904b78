/* trace_sink.h - where traces go: lines of a file, or one POST after the other. Blocks: not for the broker's
 * thread. */
#ifndef FREEZELINE_TRACE_SINK_H
#define FREEZELINE_TRACE_SINK_H

#include "config/pipeline.h"

struct trace_sink {
    const struct pipeline *pipeline; /* borrowed */
    char path[512];                  /* of a file; "": the collector below */
    char host[256], port[8], target[256];
};

/* As `traces.to` says. FL_CONFIG. */
int trace_sink_open(struct trace_sink *s, const struct pipeline *p, struct error *e);
/* One object of OTLP/JSON. FL_IO, FL_UNAVAILABLE: it is not there; send it again. FL_VALUE: the collector
 * does not want it. */
int trace_sink_send(const struct trace_sink *s, const char *text, size_t n, struct error *e);

#endif
