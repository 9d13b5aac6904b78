/* settings.h - what is changed while the broker serves, and stands in no file
 *
 * HTTP's thread changes it, the broker's heeds it; each value is whole by itself. A broker that starts again
 * begins with what the pipeline file says.
 */
#ifndef FREEZELINE_SETTINGS_H
#define FREEZELINE_SETTINGS_H

#include <stdatomic.h>

#include "config/pipeline.h"

/* With the model's name: Triton's words, which clients know. */
#define SETTINGS_UNLOADED "Request for unknown model: '%.64s' is not at ready state: it was unloaded"

struct settings {
    _Atomic bool unloaded; /* no request is admitted */
    /* as in struct trace_settings */
    _Atomic bool traces;
    _Atomic double trace_share;
    _Atomic int64_t traces_left;
};

struct trace_settings {
    bool on;
    double share; /* of the requests that stages compute; those whose clients ask for it beside them */
    int64_t left; /* so many are drawn yet; -1: without an end */
};

void settings_init(struct settings *s, const struct pipeline *p);

/* As the pipeline file has it. */
struct trace_settings settings_traces_of(const struct pipeline *p);
struct trace_settings settings_traces(const struct settings *s);
void settings_set_traces(struct settings *s, const struct trace_settings *t);
/* Is this request drawn for a trace? It counts as one of those left then. */
bool settings_draw_trace(struct settings *s, uint64_t id);

#endif
