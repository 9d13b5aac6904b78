/* host_logs.h - `freezeline logs` of a pipeline that was started on several hosts: theirs, through each other
 */
#ifndef FREEZELINE_HOST_LOGS_H
#define FREEZELINE_HOST_LOGS_H

#include <stdbool.h>

#include "config/pipeline.h"

struct host_logs {
    const char *who; /* NULL: all */
    int lines;
    bool follow;
};

/* Every line is printed behind the name of its host. FL_USAGE: no such process. */
int host_logs_show(const struct pipeline *p, const struct host_logs *l, struct error *e);

/* FL_USAGE: it has no log; these n have. */
int host_logs_unknown(const char *who, const char *const *name, int n, struct error *e);

#endif
