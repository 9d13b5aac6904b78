/* answer_report.h - what `infer` prints: one answer with its waterfall, a row of many, JSON */
#ifndef FREEZELINE_ANSWER_REPORT_H
#define FREEZELINE_ANSWER_REPORT_H

#include <jansson.h>

#include "cache_service/store/manifest.h"
#include "client/client.h"
#include "deploy/model/model_shape.h"

struct asked {
    const struct pipeline *pipeline;
    const struct model_shape *model;
    const struct manifest *built; /* what is in STATE; NULL: nothing */
    const char *input;            /* the file */
    struct answer answer;
    float *scores;
    int n_scores;
    double total_ms; /* as the client saw it */
};

/* The answer, the best classes, and where the time went. */
void answer_print(const struct asked *a);
/* Owned; NULL without memory. */
json_t *answer_json(const struct asked *a);
/* Many answers: names of files take `width` columns. */
void answer_print_head(int width);
void answer_print_row(const struct asked *a, int width);

#endif
