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
};

void settings_init(struct settings *s, const struct pipeline *p);

#endif
