/* configuration.h - what is measured: a running pipeline with or without its caches, or its model whole */
#ifndef FREEZELINE_CONFIGURATION_H
#define FREEZELINE_CONFIGURATION_H

#include <jansson.h>

#include "deploy/data/dataset.h"
#include "deploy/model/model_shape.h"
#include "deploy/process/served.h"
#include "deploy/load/target.h"

struct configuration {
    char label[160];
    const struct pipeline *pipeline;
    struct pipeline *owned; /* NULL when it is another configuration's */
    struct model_shape *model;
    struct dataset *data; /* owned: the requests as its model takes them; NULL: as another's takes them */
    struct target *target;
    int clients; /* connections that ask in turn; 0: the whole model, which nobody connects to */
    bool whole, caches;
    char other_model[160]; /* why what runs is not what the file describes; "": it is, or nobody can tell */
    struct served served;  /* what the pipeline says it serves; nothing of a whole model */
};

/* `what`: "" for `base` as it is, "no-cache" for `base` without look-ups, "traced" or "traced:SHARE" for
 * `base` with a share (0.01) of the requests traced, "whole" for its model in this process, or the path of
 * another running pipeline's YAML file; `clients` as target_pipeline. Borrows base. FL_UNAVAILABLE when the
 * pipeline is not up. Close after a failure too. */
int configuration_open(struct configuration *out, const char *what, const struct pipeline *base, int clients,
                       struct error *e);
void configuration_close(struct configuration *c);

/* Does `what` have requests traced? */
bool configuration_traces(const char *what);

/* The pipeline of a report: file, model, model_bytes, stages, replicas, exits, caches, promise (of the caches
 * that answer), promise_asked. */
json_t *configuration_json(const struct configuration *c);

#endif
