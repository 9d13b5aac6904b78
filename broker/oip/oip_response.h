/* oip_response.h - what the protocol's answers look like
 *
 * Pure. Out of memory shows in the text's `failed`.
 */
#ifndef FREEZELINE_OIP_RESPONSE_H
#define FREEZELINE_OIP_RESPONSE_H

#include "broker/state/settings.h"
#include "base/json_text.h"
#include "oip_request.h"
#include "oip_view.h"

/* The answer to one row. */
struct oip_row {
    int32_t label, exit;
    float confidence;
    uint64_t epoch;
    uint64_t request;               /* the broker's id of it, for true labels */
    uint64_t total_ns;              /* at the broker */
    struct trace trace;             /* where it went */
    uint32_t loss_promised;         /* as in struct answer */
    bool known;                     /* it is that of an earlier request with the same input */
    char variant[RELAY_NAME_BYTES]; /* that answered; "": there is one */
    bool one_hot;                   /* there were no scores: 1 at the label stands for them */
};

/* Answers of all rows, and row-major scores, request->rows x `classes`. */
struct oip_answer {
    const char *model; /* its name in paths */
    const struct oip_request *request;
    const struct oip_model *ports;
    const struct oip_row *row;
    const float *scores;
    int classes;
    char *const *label; /* names of classes, or of the first ones */
    int n_labels;
    const struct view *view; /* the pipeline; NULL: not known */
};

void oip_server_text(struct json_text *out);
void oip_model_text(struct json_text *out, const char *name, const struct oip_model *m);
/* Triton's: the configuration, and the list of models. */
void oip_config_text(struct json_text *out, const char *name, const struct oip_model *m);
/* why_not: it is ready (NULL), or why it is not. ready_alone: one that is not is left out. */
void oip_index_text(struct json_text *out, const char *name, const char *why_not, bool ready_alone);
/* How requests are traced. to: traces.to of the pipeline file. */
void oip_traces_text(struct json_text *out, const struct trace_settings *t, const char *to);
void oip_error_text(struct json_text *out, const char *why);
/* *header: bytes of JSON before binary data; -1: it is all JSON. */
void oip_answer_text(struct json_text *out, const struct oip_answer *a, int64_t *header);

#endif
