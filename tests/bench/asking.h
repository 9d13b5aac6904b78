/* asking.h - what benches have in common that ask a running pipeline: its client, and pictures to ask */
#ifndef FREEZELINE_ASKING_H
#define FREEZELINE_ASKING_H

#include "client/client.h"
#include "deploy/load/inputs.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/arguments.h"

struct asking {
    struct pipeline_arguments where;
    const char *data_spec;
    struct pipeline *pipeline;
    struct model_shape model;
    struct dataset *data;
    struct traffic *traffic;
    struct inputs *inputs;
    struct client *client;
};

#define ASKING_OPTIONS(a) \
    ARGUMENTS_PIPELINE((a).where), OPTION_TEXT("data", (a).data_spec, "D", "what to ask")

/* Opens what `where` and `data_spec` say; nothing is closed, as the process ends then. */
static inline int asking_open(struct asking *a, struct error *e)
{
    struct dataset_options o = {.input = &a->model.input};
    int rc;
    if (!a->data_spec)
        return error_set(e, FL_USAGE, "--data is missing");
    if ((rc = arguments_load(&a->pipeline, &a->where, e)) ||
        (rc = model_shape_load(&a->model, a->pipeline, e)))
        return rc;
    o.pipeline = a->pipeline;
    o.classes = a->model.classes;
    if ((rc = dataset_open(&a->data, a->data_spec, &o, e)) ||
        (rc = traffic_new(&a->traffic, "order", dataset_count(a->data), 1, e)) ||
        (rc = inputs_new(&a->inputs, a->data, a->traffic, e)))
        return rc;
    return client_new(&a->client, a->pipeline, e);
}

/* The next picture, valid until the next call. */
static inline const struct tensor *asking_next(struct asking *a)
{
    struct traffic_pick pick;
    inputs_prepare(a->inputs);
    return inputs_take(a->inputs, &pick);
}

#endif
