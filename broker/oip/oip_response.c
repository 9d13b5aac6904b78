/* oip_response.c - metadata, errors, answers */
#include "oip_response.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/version.h"
#include "oip_tensor.h"

void oip_server_text(struct json_text *out)
{
    json_text_format(out,
                     "{\"name\":\"freezeline\",\"version\":\"%s\",\"extensions\":[\"classification\","
                     "\"binary_tensor_data\",\"parameters\"]}",
                     version_number());
}

static void put_port(struct json_text *out, const struct port *p)
{
    json_text_put(out, "[{\"name\":");
    json_text_string(out, p->name);
    json_text_format(out, ",\"datatype\":\"%s\",\"shape\":[-1", oip_dtype_name(p->tensor.dtype));
    for (int i = 1; i < p->tensor.rank; i++)
        json_text_format(out, ",%lld", (long long)p->tensor.dim[i]);
    json_text_put(out, "]}]");
}

void oip_model_text(struct json_text *out, const char *name, const struct oip_model *m)
{
    json_text_put(out, "{\"name\":");
    json_text_string(out, name);
    json_text_put(out, ",\"versions\":[\"1\"],\"platform\":\"freezeline_onnx\",\"inputs\":");
    put_port(out, &m->input);
    json_text_put(out, ",\"outputs\":");
    put_port(out, &m->output);
    json_text_put(out, "}");
}

static void put_config_port(struct json_text *out, const struct port *p)
{
    json_text_put(out, "[{\"name\":");
    json_text_string(out, p->name);
    json_text_format(out, ",\"data_type\":\"TYPE_%s\",\"dims\":[", oip_dtype_name(p->tensor.dtype));
    for (int i = 1; i < p->tensor.rank; i++)
        json_text_format(out, "%s%lld", i > 1 ? "," : "", (long long)p->tensor.dim[i]);
    json_text_put(out, "]}]");
}

void oip_config_text(struct json_text *out, const char *name, const struct oip_model *m)
{
    json_text_put(out, "{\"name\":");
    json_text_string(out, name);
    json_text_format(
        out, ",\"platform\":\"freezeline_onnx\",\"backend\":\"freezeline\",\"max_batch_size\":%d,\"input\":",
        m->most_rows);
    put_config_port(out, &m->input);
    json_text_put(out, ",\"output\":");
    put_config_port(out, &m->output);
    json_text_put(out, "}");
}

void oip_index_text(struct json_text *out, const char *name, const char *why_not, bool ready_alone)
{
    json_text_put(out, "[");
    if (!why_not || !ready_alone) {
        json_text_put(out, "{\"name\":");
        json_text_string(out, name);
        json_text_format(
            out, ",\"version\":\"1\",\"state\":\"%s\",\"reason\":", why_not ? "UNAVAILABLE" : "READY");
        json_text_string(out, why_not ? why_not : "");
        json_text_put(out, "}");
    }
    json_text_put(out, "]");
}

/* Triton's settings are texts: one of so many requests, each told at once. */
void oip_traces_text(struct json_text *out, const struct trace_settings *t, const char *to)
{
    json_text_format(out, "{\"trace_level\":[\"%s\"],\"trace_rate\":\"%.0f\",\"trace_count\":\"%lld\",",
                     to && t->on && t->share > 0 ? "TIMESTAMPS" : "OFF", t->share > 0 ? 1 / t->share : 0.0,
                     (long long)t->left);
    json_text_put(out, "\"log_frequency\":\"0\",\"trace_mode\":\"opentelemetry\",\"trace_file\":");
    json_text_string(out, to ? to : "");
    json_text_put(out, "}");
}

void oip_error_text(struct json_text *out, const char *why)
{
    json_text_put(out, "{\"error\":");
    json_text_string(out, why);
    json_text_put(out, "}");
}

/* ---- parameters ---- */

enum row_field { ROW_EXIT, ROW_LABEL, ROW_CONFIDENCE, ROW_EPOCH, ROW_TIME, ROW_LAYERS, ROW_FIELDS };
static const char *const field_name[ROW_FIELDS] = {"exit",  "label",   "confidence",
                                                   "epoch", "time_us", "layers"};

/* With weights, that ran for it; 0: not known, as of another variant of the model. */
static uint32_t layers_run(const struct oip_row *r, const struct view *v)
{
    if (!v || r->known || r->variant[0] || r->exit >= PIPELINE_MAX_EXITS)
        return 0;
    return r->exit < 0 ? v->layers : v->exit[r->exit].layers;
}

static void put_signed(struct json_text *out, int32_t n)
{
    if (n < 0)
        json_text_put(out, "-");
    json_text_number(out, (uint64_t)(n < 0 ? -(int64_t)n : n));
}

/* The comma before all but the first, the key, and the quote that several rows are in. */
static void begin_field(struct json_text *out, const char *comma, const char *name, int rows)
{
    json_text_put(out, comma);
    json_text_put(out, "\"");
    json_text_put(out, name);
    json_text_put(out, rows > 1 ? "\":\"" : "\":");
}

static void put_field(struct json_text *out, const struct oip_row *r, const struct view *v, enum row_field f)
{
    switch (f) {
    case ROW_LAYERS:
        json_text_number(out, layers_run(r, v));
        break;
    case ROW_EXIT:
        put_signed(out, r->exit);
        break;
    case ROW_LABEL:
        put_signed(out, r->label);
        break;
    case ROW_CONFIDENCE:
        json_text_float(out, r->confidence);
        break;
    case ROW_EPOCH:
        json_text_number(out, r->epoch);
        break;
    default:
        json_text_number(out, r->total_ns / NS_PER_US);
    }
}

enum stage_field { STAGE_QUEUE, STAGE_COMPUTE, STAGE_LOOKUP, STAGE_FIELDS };
static const char *const stage_field_name[STAGE_FIELDS] = {"queue", "compute", "lookup"};

static uint64_t stage_us(const struct oip_row *r, uint32_t stage, enum stage_field f)
{
    for (int i = 0; i < r->trace.n; i++) {
        const struct stage_time *t = &r->trace.stage[i];
        if (t->stage == stage)
            return (f == STAGE_QUEUE     ? t->queue_ns
                    : f == STAGE_COMPUTE ? t->compute_ns
                                         : t->lookup_ns) /
                   NS_PER_US;
    }
    return 0;
}

/* Of the stages that some row has passed. */
static void put_stage_times(struct json_text *out, const struct oip_answer *a)
{
    int rows = a->request->rows;
    uint32_t last = 0;
    for (int i = 0; i < rows; i++)
        if (a->row[i].trace.n && a->row[i].trace.stage[a->row[i].trace.n - 1].stage + 1 > last)
            last = a->row[i].trace.stage[a->row[i].trace.n - 1].stage + 1;
    for (uint32_t stage = 0; stage < last; stage++)
        for (int f = 0; f < STAGE_FIELDS; f++) {
            char name[40];
            snprintf(name, sizeof name, "stage%u_%s_us", stage, stage_field_name[f]);
            begin_field(out, ",", name, rows);
            for (int i = 0; i < rows; i++) {
                json_text_bytes(out, ",", i > 0);
                json_text_number(out, stage_us(&a->row[i], stage, (enum stage_field)f));
            }
            json_text_bytes(out, "\"", rows > 1);
        }
}

/* Names are of letters, digits, '.', '_' and '-': no quotes. */
static void put_variants(struct json_text *out, const struct oip_answer *a, int rows)
{
    json_text_put(out, ",\"variant\":\"");
    for (int i = 0; i < rows; i++) {
        json_text_bytes(out, ",", i > 0);
        json_text_put(out, a->row[i].variant);
    }
    json_text_bytes(out, "\"", 1);
}

/* Numbers for one row. The protocol has no lists among parameters: of several rows they are one text. */
static void put_parameters(struct json_text *out, const struct oip_answer *a)
{
    int rows = a->request->rows;
    bool one_hot = false, known = false;
    char promise[96];
    json_text_put(out, "\"parameters\":{");
    for (int f = 0; f < ROW_FIELDS; f++) {
        begin_field(out, f ? "," : "", field_name[f], rows);
        for (int i = 0; i < rows; i++) {
            if (i)
                json_text_bytes(out, ",", 1);
            put_field(out, &a->row[i], a->view, (enum row_field)f);
        }
        json_text_bytes(out, "\"", rows > 1);
    }
    put_stage_times(out, a);
    json_text_put(out, ",\"request\":\"");
    for (int i = 0; i < rows; i++) {
        json_text_bytes(out, ",", i > 0);
        json_text_number(out, a->row[i].request);
    }
    json_text_bytes(out, "\"", 1);
    if (rows == 1 && a->row[0].label >= 0 && a->row[0].label < a->n_labels) {
        json_text_put(out, ",\"class\":");
        json_text_string(out, a->label[a->row[0].label]);
    }
    if (rows && a->row[0].variant[0])
        put_variants(out, a, rows);
    if (a->view)
        json_text_format(out, ",\"promise\":\"%s\"",
                         a->view->promise.made ? view_promise(a->view, rows ? a->row[0].loss_promised : 0,
                                                              promise, sizeof promise)
                                               : "nothing");
    for (int i = 0; i < rows; i++) {
        one_hot = one_hot || a->row[i].one_hot;
        known = known || a->row[i].known;
    }
    if (one_hot)
        json_text_put(out, ",\"one_hot\":true");
    json_text_put(out, known ? ",\"known\":true}," : "},");
}

/* ---- the output ---- */

struct best {
    float score;
    int index;
};

static int better_first(const void *a, const void *b)
{
    const struct best *x = a, *y = b;
    return x->score != y->score ? (x->score < y->score ? 1 : -1) : x->index - y->index;
}

/* The best classes of a row, as "SCORE:INDEX:NAME" each: in JSON, or with their lengths before them. */
static void put_best(struct json_text *out, const struct oip_answer *a, int row, struct best *all, int k,
                     bool binary)
{
    char text[400];
    for (int i = 0; i < a->classes; i++)
        all[i] = (struct best){a->scores[(size_t)row * (size_t)a->classes + (size_t)i], i};
    qsort(all, (size_t)a->classes, sizeof *all, better_first);
    for (int i = 0; i < k; i++) {
        int index = all[i].index;
        uint32_t n =
            (uint32_t)snprintf(text, sizeof text, "%.9g:%d%s%s", (double)all[i].score, index,
                               index < a->n_labels ? ":" : "", index < a->n_labels ? a->label[index] : "");
        if (n >= sizeof text)
            n = sizeof text - 1;
        if (binary) {
            json_text_bytes(out, &n, sizeof n);
            json_text_bytes(out, text, n);
            continue;
        }
        json_text_bytes(out, ",", i || row);
        json_text_string(out, text);
    }
}

static void put_classes(struct json_text *out, const struct oip_answer *a, int k, bool binary)
{
    struct best *all = malloc((size_t)a->classes * sizeof *all);
    if (!all) {
        out->failed = true;
        return;
    }
    for (int row = 0; row < a->request->rows; row++)
        put_best(out, a, row, all, k, binary);
    free(all);
}

static void put_scores(struct json_text *out, const struct oip_answer *a)
{
    size_t n = (size_t)a->request->rows * (size_t)a->classes;
    for (size_t i = 0; i < n; i++) {
        json_text_bytes(out, ",", i > 0);
        json_text_float(out, a->scores[i]);
    }
}

/* Up to "data", or up to the size of `binary`, which lies behind. */
static void put_output(struct json_text *out, const struct oip_answer *a, int k,
                       const struct json_text *binary)
{
    json_text_put(out, "\"outputs\":[{\"name\":");
    json_text_string(out, a->ports->output.name);
    json_text_put(out, k ? ",\"datatype\":\"BYTES\",\"shape\":[" : ",\"datatype\":\"FP32\",\"shape\":[");
    json_text_number(out, (uint64_t)a->request->rows);
    json_text_put(out, ",");
    json_text_number(out, (uint64_t)(k ? k : a->classes));
    json_text_put(out, "],");
    if (a->request->binary) {
        json_text_put(out, "\"parameters\":{\"binary_data_size\":");
        json_text_number(out, binary->n);
        json_text_put(out, "}}]}");
        return;
    }
    json_text_put(out, "\"data\":[");
    if (k)
        put_classes(out, a, k, false);
    else
        put_scores(out, a);
    json_text_put(out, "]}]}");
}

void oip_answer_text(struct json_text *out, const struct oip_answer *a, int64_t *header)
{
    int k = a->request->classes < a->classes ? a->request->classes : a->classes;
    struct json_text binary = {.at = NULL};
    *header = -1;
    if (a->request->binary && k)
        put_classes(&binary, a, k, true);
    else if (a->request->binary)
        json_text_bytes(&binary, a->scores,
                        (size_t)a->request->rows * (size_t)a->classes * sizeof *a->scores);
    json_text_put(out, "{\"model_name\":");
    json_text_string(out, a->model);
    json_text_put(out, ",\"model_version\":\"1\",");
    if (*a->request->id) {
        json_text_put(out, "\"id\":");
        json_text_string(out, a->request->id);
        json_text_bytes(out, ",", 1);
    }
    put_parameters(out, a);
    put_output(out, a, k, &binary);
    if (a->request->binary) {
        *header = (int64_t)out->n;
        json_text_bytes(out, binary.at, binary.n);
    }
    out->failed = out->failed || binary.failed;
    json_text_free(&binary);
}
