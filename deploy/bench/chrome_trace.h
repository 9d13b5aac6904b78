/* chrome_trace.h - spans of traced requests as a Chrome trace, which Perfetto and chrome://tracing show
 *
 * Each process is a track group. What it does one thing after another (copying, layers, look-ups) lies on its
 * "work" track, a batch once for all its traced requests; what passes beside that (on the wire, waiting,
 * look-ups under way, speculation past the exit that answered) has a track for each request. Arrows lead from
 * stage to stage and to the cache service. Times are the broker's, from the first span on.
 */
#ifndef FREEZELINE_CHROME_TRACE_H
#define FREEZELINE_CHROME_TRACE_H

#include <stdio.h>

#include "client/client.h"
#include "deploy/model/model_shape.h"

#define CHROME_TRACE_MAX_SPANS (1 << 20)

struct chrome_trace {
    int n, capacity;
    uint64_t lost; /* for which some process had no room, or that were over CHROME_TRACE_MAX_SPANS */
    struct span *span;
};

/* Zeroed memory is an empty trace. */
int chrome_trace_add(struct chrome_trace *t, const struct spans *s); /* FL_NOMEM */
void chrome_trace_release(struct chrome_trace *t);

/* Takes all that the broker has, once every living process has told what it noted until now; NULL throws it
 * away at once. Errors as client_status. */
int chrome_trace_collect(struct chrome_trace *t, const struct pipeline *p, struct error *e);

/* JSON into `to`; exits are named after `model` (may be NULL). Sorts the spans. FL_NOMEM, FL_IO. */
int chrome_trace_write(struct chrome_trace *t, const struct model_shape *model, FILE *to);
/* The same into a file, which it replaces in one step. */
int chrome_trace_save(struct chrome_trace *t, const struct model_shape *model, const char *path,
                      struct error *e);

#endif
