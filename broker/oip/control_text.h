/* control_text.h - what Triton's clients ask of a model's repository, as JSON. Pure. */
#ifndef FREEZELINE_CONTROL_TEXT_H
#define FREEZELINE_CONTROL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "broker/state/settings.h"

/* An empty body is as good as {}. FL_PROTOCOL, FL_TOO_LARGE: it is not what it should be. */

/* {"ready": true}: those that are ready alone. */
int control_read_index(bool *ready_alone, const char *body, size_t size, struct error *e);
/* To load (`loads`) or to unload. FL_UNSUPPORTED: it brings a model's configuration or files. */
int control_read_load(bool loads, const char *body, size_t size, struct error *e);
/* How requests are to be traced: changes *t, as it is now, which stays where there is an error. A setting
 * that is null is as the pipeline file `p` has it. FL_VALUE: one that means nothing here, by name. */
int control_read_traces(struct trace_settings *t, const struct pipeline *p, const char *body, size_t size,
                        struct error *e);

#endif
