/* quantize.c - `freezeline quantize`: scales for int8, and what each precision loses and takes
 *
 * The first half of the data chooses: its first records give the steps of all values in a few ways, and the
 * way (and whether the model's input is taken as integers too) that agrees most with float32 on that half is
 * kept. The other half, which chose nothing, is what the report is about.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "cache_service/promise/gap_bound.h"
#include "calibration.h"
#include "config/precision.h"
#include "deploy/model/model_shape.h"
#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/report.h"
#include "deploy/tool/state.h"
#include "deploy/tool/table.h"
#include "deploy/extract/judging.h"
#include "qdq.h"
#include "stages/onnx/onnx_write.h"
#include "stages/place/placement.h"
#include "stages/place/precision_options.h"

#define PRECISIONS   3
#define SPREAD_MOST  512 /* records that ranges are taken from */
#define LEAST        8   /* records that are worth looking at */
#define TIMED_ROUNDS 30

static const struct usage usage = {
    .command = "quantize",
    .summary = "Chooses scales for int8 from data; reports what each precision loses and takes.",
    .notes =
        "The first half of the data chooses the scales, the other half is reported on. They go into the\n"
        "state directory, where `precision: int8` finds them; `precision: auto` takes the fastest that\n"
        "keeps cache.max_accuracy_loss with cache.certainty against float32, by what was measured here.\n"
        "Caches belong to a precision and its scales: build them anew afterwards. With `wire_dtype:\n"
        "bfloat16` all of them are judged with what stages hand on rounded. --output also writes the\n"
        "network with QuantizeLinear and DequantizeLinear at these scales, which ONNX Runtime runs "
        "too.\n\n" DATASET_LAYOUTS "\n"
        "example:\n"
        "  freezeline quantize -c P.yaml --data cifar10:data_batch_5.bin#5000-9999\n",
};

/* One precision, over the records that chose nothing. */
struct tried {
    bool runs;
    char why_not[ERROR_TEXT_BYTES];
    int64_t same, right;
    struct gap_counts loss;
    double upper, median_ms;
    bool keeps;
};

struct quantizing {
    struct pipeline_arguments where;
    const char *spec, *output;
    int threads;
    bool json, skip_broken;
    struct pipeline *pipeline;
    struct graph *graph;
    struct dataset *data;
    struct progress progress;
    int classes;
    int64_t count, half;
    int32_t *full, *label;
    struct calibration *calibration;
    struct quantization scales;
    enum reach reach;
    bool input;
    double chosen_agreement;
    struct tried tried[PRECISIONS];
    enum exec_precision choice;
    struct exec_options rounding; /* what is rounded between stages, of all that is judged */
};

static struct exec_options options_for(const struct quantizing *q, enum exec_precision p,
                                       const struct quantization *scales)
{
    struct exec_options o = q->rounding;
    o.max_batch = q->graph->free_batch ? 16 : 1;
    o.last = -1;
    o.precision = p;
    o.quantization = p == PRECISION_INT8 ? scales : NULL;
    return o;
}

static int ask(struct quantizing *q, int32_t *label, int64_t count, const char *phase,
               const struct exec_options *o, struct error *e)
{
    struct judging j = {q->graph, q->data, count, q->threads, q->classes, phase, &q->progress};
    return judge(label, &j, o, e);
}

static int64_t same_labels(const struct quantizing *q, int64_t from, int64_t to)
{
    int64_t same = 0;
    for (int64_t i = from; i < to; i++)
        same += q->label[i] == q->full[i];
    return same;
}

/* --- choosing --- */

static int try_reach(struct quantizing *q, enum reach reach, bool input, struct error *e)
{
    struct quantization scales = {0};
    struct exec_options o = options_for(q, PRECISION_INT8, &scales);
    char phase[64];
    double agreement;
    int rc = calibration_steps(&scales, q->calibration, reach, input);

    snprintf(phase, sizeof phase, "int8, %s%s", reach_name(reach), input ? ", input too" : "");
    if (rc)
        error_set(e, (enum fl_code)rc, "no steps for the network's values: %s", error_sentence(rc));
    else
        rc = ask(q, q->label, q->half, phase, &o, e);
    agreement = rc ? 0 : (double)same_labels(q, 0, q->half) / (double)q->half;
    /* Later ways must be better than those before them; the input as integers, which saves time, no worse. */
    if (rc || (q->scales.n && (input ? agreement < q->chosen_agreement : agreement <= q->chosen_agreement))) {
        quantization_release(&scales);
        return rc;
    }
    quantization_release(&q->scales);
    q->scales = scales;
    q->reach = reach;
    q->input = input;
    q->chosen_agreement = agreement;
    return FL_OK;
}

static int choose_scales(struct quantizing *q, struct error *e)
{
    int64_t spread = q->half < SPREAD_MOST ? q->half : SPREAD_MOST;
    int rc = calibration_new(&q->calibration, q->graph, q->data, spread, &q->progress, e);

    for (int r = 0; !rc && r < REACH_COUNT; r++)
        rc = try_reach(q, (enum reach)r, false, e);
    return rc ? rc : try_reach(q, q->reach, true, e);
}

/* --- judging --- */

static void weigh(struct quantizing *q, struct tried *t)
{
    const struct cache_config *c = &q->pipeline->cache;
    bool labels = dataset_has_labels(q->data) && strcmp(c->promise, "agreement") != 0;
    double delta = 1 - c->certainty;

    t->same = same_labels(q, q->half, q->count);
    t->loss = (struct gap_counts){.n = q->count - q->half, .may_win = labels};
    for (int64_t i = q->half; i < q->count; i++) {
        int32_t truth = labels ? dataset_label(q->data, i) : q->full[i];
        t->right += dataset_has_labels(q->data) && q->label[i] == dataset_label(q->data, i);
        t->loss.lost += q->full[i] == truth && q->label[i] != truth;
        t->loss.won += q->full[i] != truth && q->label[i] == truth;
    }
    t->upper = delta < 0.5 ? gap_upper_bound(&t->loss, delta)
                           : (double)(t->loss.lost - t->loss.won) / (double)t->loss.n;
    t->keeps = t->upper <= c->max_accuracy_loss / 100;
}

static int try_precision(struct quantizing *q, enum exec_precision p, struct error *e)
{
    struct exec_options o = options_for(q, p, &q->scales);
    struct tried *t = &q->tried[p];
    bool same = p == PRECISION_FLOAT32 && !o.n_rounded; /* as what all are compared with */
    char phase[64];
    int rc;

    if (!t->runs)
        return FL_OK;
    snprintf(phase, sizeof phase, "judge %s", engine_precision_name(p));
    if (same)
        memcpy(q->label, q->full, (size_t)q->count * sizeof *q->label);
    else if ((rc = ask(q, q->label, q->count, phase, &o, e)))
        return rc;
    weigh(q, t);
    if (same) {
        t->upper = 0;
        t->keeps = true;
    }
    return FL_OK;
}

/* --- timing --- */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* One request on one thread, all precisions in turn. */
static int time_all(struct quantizing *q, struct error *e)
{
    struct exec *x[PRECISIONS] = {NULL};
    double ms[PRECISIONS][TIMED_ROUNDS];
    int rc = FL_OK;

    for (int p = 0; !rc && p < PRECISIONS; p++) {
        struct exec_options o = options_for(q, (enum exec_precision)p, &q->scales);
        o.max_batch = 1;
        if (q->tried[p].runs && !(rc = exec_new(&x[p], q->graph, &o, e))) {
            dataset_image(q->data, 0, exec_input_buffer(x[p], 0));
            rc = exec_run(x[p], 0, q->graph->n_nodes - 1, 1, NULL, NULL, e);
        }
    }
    for (int i = 0; !rc && i < TIMED_ROUNDS; i++)
        for (int p = 0; !rc && p < PRECISIONS; p++) {
            uint64_t from = clock_ns();
            if (!x[p])
                continue;
            rc = exec_run(x[p], 0, q->graph->n_nodes - 1, 1, NULL, NULL, e);
            ms[p][i] = (double)(clock_ns() - from) / NS_PER_MS;
        }
    for (int p = 0; p < PRECISIONS; p++) {
        if (!rc && x[p]) {
            qsort(ms[p], TIMED_ROUNDS, sizeof ms[p][0], by_size);
            q->tried[p].median_ms = ms[p][TIMED_ROUNDS / 2];
        }
        exec_free(x[p]);
    }
    return rc;
}

/* The fastest that keeps the promise. */
static void choose_precision(struct quantizing *q)
{
    for (int p = 0; p < PRECISIONS; p++)
        if (q->tried[p].runs && q->tried[p].keeps && q->tried[p].median_ms < q->tried[q->choice].median_ms)
            q->choice = (enum exec_precision)p;
}

static int measure(struct quantizing *q, struct error *e)
{
    struct exec_options o = options_for(q, PRECISION_FLOAT32, NULL);
    int rc;

    o.n_rounded = 0;
    rc = ask(q, q->full, q->count, "judge float32", &o, e);
    for (int p = 0; p < PRECISIONS; p++) {
        struct error why = {0};
        q->tried[p].runs = engine_precision_check((enum exec_precision)p, KERNELS_AUTO, &why) == FL_OK;
        snprintf(q->tried[p].why_not, sizeof q->tried[p].why_not, "%s", why.text);
    }
    if (!rc && q->tried[PRECISION_INT8].runs)
        rc = choose_scales(q, e);
    for (int p = 0; !rc && p < PRECISIONS; p++)
        rc = try_precision(q, (enum exec_precision)p, e);
    if (!rc)
        rc = time_all(q, e);
    if (!rc)
        choose_precision(q);
    progress_close(&q->progress);
    return rc;
}

/* --- the report --- */

static double share(int64_t of, const struct quantizing *q)
{
    return (double)of / (double)(q->count - q->half);
}

static double accuracy(const struct quantizing *q, const struct tried *t)
{
    return dataset_has_labels(q->data) ? share(t->right, q) : NAN;
}

static const char *verdict_on(const struct quantizing *q, const struct tried *at)
{
    if (!at->runs || at->keeps)
        return at->runs ? "" : "does not run here";
    return 1 - share(at->same, q) <= q->pipeline->cache.max_accuracy_loss / 100
               ? "too few records to tell that it loses so little: give more --data"
               : "more than may be lost";
}

static int print_table(const struct quantizing *q, struct error *e)
{
    struct table *t = table_new("precision|ms|agreement|accuracy|lost at most|", "lrrrrl");
    char text[256];
    int rc;

    for (int p = 0; p < PRECISIONS; p++) {
        const struct tried *at = &q->tried[p];
        table_cells(t, "%s", engine_precision_name((enum exec_precision)p));
        table_number(t, "%.3f", at->runs ? at->median_ms : NAN);
        table_number(t, "%.2f%%", at->runs ? 100 * share(at->same, q) : NAN);
        table_number(t, "%.2f%%", at->runs ? 100 * accuracy(q, at) : NAN);
        table_number(t, "%.2f points", at->runs ? 100 * at->upper : NAN);
        table_cells(t, "%s", verdict_on(q, at));
    }
    rc = table_end(t, e);
    printf("\nover %lld records that chose nothing; one request on one thread. `precision: auto` in the "
           "pipeline "
           "file means %s (%.2f points may be lost with certainty %g%%)\n",
           (long long)(q->count - q->half), engine_precision_name(q->choice),
           q->pipeline->cache.max_accuracy_loss, 100 * q->pipeline->cache.certainty);
    if (q->rounding.n_rounded)
        printf("all with what stages hand on rounded to bfloat16 (wire_dtype), against float32 without\n");
    if (q->scales.n)
        printf("int8 takes %d values as integers, as far as \"%s\" of them reach%s; scales are in %s\n",
               q->scales.n, reach_name(q->reach), q->input ? ", the model's input too" : "",
               precision_scales_path(q->pipeline, text, sizeof text));
    if (q->output)
        printf("%s is the network with these scales, as a QDQ file for ONNX Runtime and others\n", q->output);
    for (int p = 0; p < PRECISIONS; p++)
        if (!q->tried[p].runs)
            printf("%s\n", q->tried[p].why_not);
        else if (*engine_precision_doubt((enum exec_precision)p, text, sizeof text))
            printf("%s\n", text);
    return rc;
}

static int print_json(const struct quantizing *q, struct error *e)
{
    json_t *list = json_array(), *root;
    char path[PRECISION_PATH_BYTES];

    for (int p = 0; p < PRECISIONS; p++) {
        const struct tried *t = &q->tried[p];
        json_t *o = json_pack("{s:s, s:b, s:b}", "precision", engine_precision_name((enum exec_precision)p),
                              "runs", t->runs, "fast", engine_precision_fast((enum exec_precision)p));
        if (t->runs) {
            json_object_set_new(o, "median_ms", report_rounded(t->median_ms, 6));
            json_object_set_new(o, "agreement", report_number(share(t->same, q)));
            json_object_set_new(o, "accuracy", report_number(accuracy(q, t)));
            json_object_set_new(o, "loss", report_number(share(t->loss.lost - t->loss.won, q)));
            json_object_set_new(o, "loss_upper", report_number(t->upper));
            json_object_set_new(o, "keeps", json_boolean(t->keeps));
        }
        json_array_append_new(list, o);
    }
    root = json_pack("{s:o, s:s, s:I, s:s, s:s, s:i, s:s, s:b}", "precisions", list, "wire_dtype",
                     q->rounding.n_rounded ? "bfloat16" : "float32", "requests",
                     (json_int_t)(q->count - q->half), "choice", engine_precision_name(q->choice), "scales",
                     precision_scales_path(q->pipeline, path, sizeof path), "values", q->scales.n, "reach",
                     q->scales.n ? reach_name(q->reach) : "", "input_too", q->input);
    if (root)
        report_engine(root, 1);
    return report_print(root, e);
}

/* --- the whole --- */

static int open_data(struct quantizing *q, struct error *e)
{
    struct tensor input = value_shape(&q->graph->values[q->graph->inputs[0]], 1);
    struct dataset_options d = {.pipeline = q->pipeline,
                                .input = &input,
                                .skip_broken = q->skip_broken,
                                .progress = &q->progress,
                                .notes = stderr};
    int rc = model_classes(q->graph, &q->classes, e);

    d.classes = q->classes;
    if (rc || (rc = dataset_open(&q->data, q->spec, &d, e)) ||
        (rc = dataset_labels_fit(q->data, q->classes, e)))
        return rc;
    q->count = dataset_count(q->data);
    q->half = q->count / 2;
    if (q->count < 2 * LEAST)
        return error_set(e, FL_VALUE, "--data has %lld records, and %d are the least that say anything",
                         (long long)q->count, 2 * LEAST);
    q->full = malloc(2 * (size_t)q->count * sizeof *q->full);
    q->label = q->full + q->count;
    return q->full ? FL_OK : error_set(e, FL_NOMEM, "no memory for labels");
}

/* --- the file --- */

/* Values that exist in the file alone are measured on its own graph. */
static int summands(struct quantizing *q, const struct graph *g, struct quantization *all, struct error *e)
{
    int64_t spread = q->half < SPREAD_MOST ? q->half : SPREAD_MOST;
    struct quantization measured = {0};
    struct calibration *c = NULL;
    int rc = calibration_new(&c, g, q->data, spread, &q->progress, e);
    for (int i = 0; !rc && i < q->scales.n; i++)
        rc = quantization_add(all, q->scales.value[i].name, q->scales.value[i].step,
                              q->scales.value[i].is_signed);
    if (!rc && !(rc = calibration_steps(&measured, c, q->reach, q->input)))
        rc = qdq_add_summands(all, &measured, g);
    calibration_free(c);
    quantization_release(&measured);
    return rc;
}

/* The network as a file that others run too, with integers where `precision: int8` has them. */
static int write_file(struct quantizing *q, struct error *e)
{
    struct quantization all = {0};
    struct graph *g = NULL;
    int rc;
    if (!q->output)
        return FL_OK;
    if (!q->scales.n)
        return error_set(e, FL_UNSUPPORTED,
                         "--output: int8 does not run here, so there are no scales to write: %s",
                         q->tried[PRECISION_INT8].why_not);
    if (!(rc = placement_load_for_writing(&g, q->pipeline, e)) && !(rc = summands(q, g, &all, e)) &&
        !(rc = qdq_insert(g, &all, e)))
        rc = onnx_write(g, q->output, e);
    quantization_release(&all);
    graph_free(g);
    return rc;
}

static int quantize(struct quantizing *q, struct error *e)
{
    char path[PRECISION_PATH_BYTES];
    int rc;

    if (!q->spec)
        return error_set(e, FL_USAGE, "--data is needed: pictures that the network was not trained on");
    if ((rc = arguments_load(&q->pipeline, &q->where, e)) || (rc = placement_load(&q->graph, q->pipeline, e)))
        return rc;
    if (graph_is_quantized(q->graph))
        return error_set(e, FL_UNSUPPORTED, "%s takes its values as integers already: it runs as it is",
                         q->pipeline->model);
    if ((rc = precision_rounding(&q->rounding, q->graph, q->pipeline, e)) || (rc = open_data(q, e)) ||
        (rc = measure(q, e)))
        return rc;
    memcpy(q->scales.model, q->graph->digest, sizeof q->scales.model);
    if ((rc = state_make(q->pipeline->state, e)) ||
        (rc = quantization_save(&q->scales, engine_precision_name(q->choice),
                                precision_scales_path(q->pipeline, path, sizeof path), e)) ||
        (rc = write_file(q, e)))
        return rc;
    return q->json ? print_json(q, e) : print_table(q, e);
}

int command_quantize(int argc, char **argv, struct error *e)
{
    struct quantizing q = {.threads = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(q.where),
        OPTION_TEXT("data", q.spec, "D", "data that chooses the scales and judges them"),
        ARGUMENTS_SKIP_BAD(q.skip_broken),
        OPTION_TEXT("output", q.output, "OUT.onnx", "write the network with these scales as a QDQ file, too"),
        OPTION_INT("threads", q.threads, "N", "threads (all)", 1, 256),
        ARGUMENTS_JSON(q.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, NULL, e);

    interrupt_catch();
    progress_open(&q.progress, stderr);
    if (!rc)
        rc = quantize(&q, e);
    progress_close(&q.progress);
    calibration_free(q.calibration);
    quantization_release(&q.scales);
    free(q.full);
    dataset_close(q.data);
    graph_free(q.graph);
    pipeline_free(q.pipeline);
    return rc;
}
