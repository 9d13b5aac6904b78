/* trace_door.h - a thread beside the broker that sends its traces away, where the file has `traces.to` */
#ifndef FREEZELINE_TRACE_DOOR_H
#define FREEZELINE_TRACE_DOOR_H

#include "config/pipeline.h"

struct trace_door;

/* *out is NULL where traces go nowhere. Borrows p for its life. */
int trace_door_open(struct trace_door **out, const struct pipeline *p, struct error *e);
/* What has come so far is sent first, if that goes at once. NULL is fine. */
void trace_door_close(struct trace_door *d);

#endif
