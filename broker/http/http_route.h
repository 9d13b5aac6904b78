/* http_route.h - what a method and a path ask for. Pure. */
#ifndef FREEZELINE_HTTP_ROUTE_H
#define FREEZELINE_HTTP_ROUTE_H

#include <stdbool.h>

#include "base/error.h"

enum http_target {
    TARGET_NONE, /* refused: `status`, `why` */
    TARGET_SERVER,
    TARGET_LIVE,
    TARGET_READY,
    TARGET_MODEL,
    TARGET_MODEL_READY,
    TARGET_INFER,
    TARGET_FEEDBACK,
    TARGET_CONFIG,
    TARGET_STATS,
    TARGET_INDEX,
    TARGET_LOAD,
    TARGET_UNLOAD,
    TARGET_TRACES,
    TARGET_SET_TRACES,
    TARGET_METRICS,
    TARGET_PAGE,
    TARGET_LIVE_STATE,
};

struct http_route {
    enum http_target target;
    int status;        /* 404, 405, 501; 0 where there is a target */
    const char *allow; /* with 405 */
    struct error why;
};

/* What changes how the pipeline serves: operators' alone. */
bool http_changes(enum http_target target);
/* Bodies of these are read. */
bool http_has_body(enum http_target target);

/* `model`: the name of the one model that is served. A slash at the end is as good as none. */
struct http_route http_route(const char *method, const char *path, const char *model);

#endif
