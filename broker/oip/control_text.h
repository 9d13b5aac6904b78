/* control_text.h - what Triton's clients ask of a model's repository, as JSON. Pure. */
#ifndef FREEZELINE_CONTROL_TEXT_H
#define FREEZELINE_CONTROL_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* An empty body is as good as {}. FL_PROTOCOL, FL_TOO_LARGE: it is not what it should be. */

/* {"ready": true}: those that are ready alone. */
int control_read_index(bool *ready_alone, const char *body, size_t size, struct error *e);
/* To load (`loads`) or to unload. FL_UNSUPPORTED: it brings a model's configuration or files. */
int control_read_load(bool loads, const char *body, size_t size, struct error *e);

#endif
