/* run.c - `freezeline run`: a model in one process, on tensors from files */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/report.h"
#include "stages/exec/exec.h"
#include "deploy/data/tensor_io.h"
#include "precision_arguments.h"
#include "shape_arguments.h"

#define RUN_MAX_TENSORS ARGUMENTS_MAX_LIST

static const struct usage usage = {
    .command = "run",
    .operands = "MODEL.onnx",
    .summary = "Runs a model on tensors from files; writes its outputs, or compares them with expected ones.",
    .notes = "Files are .npy or ONNX TensorProto .pb. --input, --output and --expect stand for the model's\n"
             "inputs and outputs in their order, or name them: NAME=FILE. A number x matches an expected y\n"
             "when |x - y| <= atol + rtol |y|; when one does not, the exit status is 1.\n\n"
             "examples:\n"
             "  freezeline run model.onnx --input image.npy --output logits.npy\n"
             "  freezeline run model.onnx --input test_data_set_0/input_0.pb --expect "
             "test_data_set_0/output_0.pb\n",
    .min_operands = 1,
    .max_operands = 1,
};

struct run {
    const char *model, *kernels_name;
    struct precision_arguments precision;
    struct argument_list inputs, outputs, expects;
    double rtol, atol;
    int threads;
    bool as_written, json;
    struct graph *graph;
    struct exec *exec;
    int batch;
    struct tensor input[RUN_MAX_TENSORS]; /* in the order of the command line; owned */
    char *name[RUN_MAX_TENSORS];          /* likewise; owned, NULL: the model's next */
    int position[RUN_MAX_TENSORS];        /* of the model's input i among them */
    struct shape_arguments shapes;
};

/* Length of NAME in NAME=FILE, 0 where there is none. A name that the model does not have
 * is part of a path. */
static size_t name_length(const char *item)
{
    const char *equals = strchr(item, '=');
    return equals ? (size_t)(equals - item) : 0;
}

static const char *file_of(const char *item)
{
    size_t n = name_length(item);
    return n ? item + n + 1 : item;
}

/* Which of the graph's values `values[0..n)` each item stands for: slot[i] = index of the item for value i,
 * or -1. */
static int match(const struct graph *g, const int *values, int n, const struct argument_list *items,
                 const char *what, int *slot, struct error *e)
{
    int next = 0;

    for (int i = 0; i < n; i++)
        slot[i] = -1;
    for (int k = 0; k < items->n; k++) {
        size_t length = name_length(items->item[k]);
        int at = 0;
        if (!length)
            at = next++;
        else
            while (at < n && (strncmp(g->values[values[at]].name, items->item[k], length) ||
                              g->values[values[at]].name[length]))
                at++;
        if (at >= n && length)
            return error_set(e, FL_USAGE, "--%s %s: the model has no %.3s by that name", what, items->item[k],
                             *what == 'i' ? "input" : "output");
        if (at >= n)
            return error_set(e, FL_USAGE, "--%s %s: the model has only %d", what, items->item[k], n);
        if (slot[at] >= 0)
            return error_set(e, FL_USAGE, "--%s: '%s' is given twice", what, g->values[values[at]].name);
        slot[at] = k;
    }
    return FL_OK;
}

static int match_inputs(struct run *r, struct error *e)
{
    const struct graph *g = r->graph;
    int rc;

    if (g->n_inputs > RUN_MAX_TENSORS)
        return error_set(e, FL_UNSUPPORTED, "the model has more than %d inputs", RUN_MAX_TENSORS);
    rc = match(g, g->inputs, g->n_inputs, &r->inputs, "input", r->position, e);
    for (int i = 0; !rc && i < g->n_inputs; i++)
        if (r->position[i] < 0)
            rc = error_set(e, FL_USAGE, "--input for '%s' is missing (the model has %d inputs)",
                           g->values[g->inputs[i]].name, g->n_inputs);
    return rc;
}

/* The names of the inputs that the command line names, NULL for those that stand for the model's in order. */
static int read_names(struct run *r, struct error *e)
{
    for (int i = 0; i < r->inputs.n; i++) {
        size_t n = name_length(r->inputs.item[i]);
        if (n && !(r->name[i] = strndup(r->inputs.item[i], n)))
            return error_set(e, FL_NOMEM, "no memory");
    }
    return FL_OK;
}

/* Which of the files --shape number k is about; -1: none. */
static int shaped_input(const struct run *r, int k)
{
    const char *name = r->shapes.name[k];
    int place = 0, wanted = 0;
    for (int i = 0; i < k; i++)
        wanted += !r->shapes.name[i];
    for (int i = 0; i < r->inputs.n; i++) {
        const char *have = r->name[i];
        bool same = name ? have && !strcmp(name, have) : !have && place++ == wanted;
        if (same)
            return i;
    }
    return -1;
}

/* What a file holds is taken under the dims that --shape gives it. */
static int reshape_inputs(struct run *r, struct error *e)
{
    struct graph_options unused = {.keep_as_written = false};
    int rc = shape_arguments_read(&r->shapes, &unused, e);

    for (int k = 0; !rc && k < r->shapes.items.n; k++) {
        const struct tensor *to = &r->shapes.shape[k];
        int i = shaped_input(r, k);
        if (i < 0)
            return error_set(e, FL_USAGE, "--shape %s: no --input goes by that name or place",
                             r->shapes.items.item[k]);
        if (tensor_count(to) != tensor_count(&r->input[i]))
            return error_set(e, FL_SHAPE, "--shape %s: %s has %lld elements, not %lld",
                             r->shapes.items.item[k], file_of(r->inputs.item[i]),
                             (long long)tensor_count(&r->input[i]), (long long)tensor_count(to));
        r->input[i].rank = to->rank;
        memcpy(r->input[i].dim, to->dim, sizeof to->dim);
    }
    return rc;
}

/* Loads the graph for the shapes of the inputs given. */
static int load(struct run *r, struct error *e)
{
    struct graph_options o = {.keep_as_written = r->as_written,
                              .shapes = r->input,
                              .shape_names = (const char *const *)r->name,
                              .n_shapes = r->inputs.n};
    int rc;

    if ((rc = read_names(r, e)) || (rc = reshape_inputs(r, e)) ||
        (rc = graph_load(&r->graph, r->model, &o, e)))
        return rc;
    return match_inputs(r, e);
}

/* The batch size that the inputs given speak of. */
static int batch_of(const struct run *r)
{
    const struct graph *g = r->graph;

    for (int i = 0; g->free_batch && i < g->n_inputs; i++) {
        const struct value *v = &g->values[g->inputs[i]];
        const struct tensor *t = &r->input[r->position[i]];
        if (v->rank > 0 && t->rank == v->rank && v->dim[0].per_batch > 0 && t->dim[0] > v->dim[0].fixed)
            return (int)((t->dim[0] - v->dim[0].fixed) / v->dim[0].per_batch);
    }
    return 1;
}

static int feed(struct run *r, struct error *e)
{
    for (int i = 0; i < exec_n_inputs(r->exec); i++) {
        struct tensor want = exec_input_shape(r->exec, i, r->batch), *have = &r->input[r->position[i]];
        char a[128], b[128];
        if (want.dtype == TENSOR_F32 && have->dtype == TENSOR_F64 && tensor_io_to_float(have, e))
            return FL_NOMEM;
        if (want.dtype != have->dtype)
            return error_set(e, FL_DTYPE, "input '%s' is %s, the model wants %s", exec_input_name(r->exec, i),
                             tensor_describe(have, a, sizeof a), tensor_describe(&want, b, sizeof b));
        if (!tensor_same_shape(&want, have))
            return error_set(e, FL_SHAPE, "input '%s' is %s, the model wants %s", exec_input_name(r->exec, i),
                             tensor_describe(have, a, sizeof a), tensor_describe(&want, b, sizeof b));
        memcpy(exec_input_buffer(r->exec, i), have->data, (size_t)tensor_bytes(have));
    }
    return FL_OK;
}

static int execute(struct run *r, struct error *e)
{
    struct exec_options o = {.threads = r->threads, .last = -1, .only_stops = true};
    int rc;

    if (engine_parse_kernels(r->kernels_name, &o.kernels, NULL))
        return error_set(e, FL_USAGE, "--kernels %s: it is one of auto, onednn, openblas, reference",
                         r->kernels_name);
    if ((rc = precision_arguments_read(&r->precision, &o, e)))
        return rc;
    r->batch = batch_of(r);
    o.max_batch = r->batch;
    if ((rc = exec_new(&r->exec, r->graph, &o, e)) || (rc = feed(r, e)))
        return rc;
    return exec_run(r->exec, 0, r->graph->n_nodes - 1, r->batch, NULL, NULL, e);
}

static int write_outputs(struct run *r, struct error *e)
{
    const struct graph *g = r->graph;
    int slot[RUN_MAX_TENSORS], rc = match(g, g->outputs, g->n_outputs, &r->outputs, "output", slot, e);

    for (int i = 0; !rc && i < g->n_outputs; i++) {
        struct tensor t = exec_output(r->exec, i, r->batch);
        if (slot[i] >= 0)
            rc = tensor_io_write(&t, exec_output_name(r->exec, i), file_of(r->outputs.item[slot[i]]), e);
    }
    return rc;
}

/* Compares output i with a file; adds a line to `report`. *ok is cleared on a mismatch. */
static int compare_output(struct run *r, int i, const char *path, json_t *report, bool *ok, struct error *e)
{
    struct tensor got = exec_output(r->exec, i, r->batch), expected;
    struct tensor_difference d = {0, 0, 0, -1, false};
    const char *name = exec_output_name(r->exec, i);
    char a[128], b[128], note[300] = "";
    int rc = tensor_io_read(&expected, path, e);

    if (rc)
        return rc;
    if (got.dtype != expected.dtype || !tensor_same_shape(&got, &expected))
        snprintf(note, sizeof note, "is %s, expected %s", tensor_describe(&got, a, sizeof a),
                 tensor_describe(&expected, b, sizeof b));
    else
        d = tensor_io_compare(&got, &expected, r->rtol, r->atol);
    if (d.worst >= 0)
        snprintf(note, sizeof note, "worst at element %lld: %.9g, expected %.9g", (long long)d.worst,
                 tensor_io_element(&got, d.worst), tensor_io_element(&expected, d.worst));
    tensor_release(&expected);
    json_array_append_new(report,
                          json_pack("{s:s, s:o, s:o, s:o, s:b, s:s}", "name", name, "max_abs_error",
                                    report_number(d.max_abs), "max_rel_error", report_number(d.max_rel),
                                    "scaled_error", report_number(d.scaled), "ok", d.ok, "note", note));
    if (!r->json)
        printf("%s %s: largest difference %.3g, relative %.3g%s%s\n", d.ok ? "ok" : "MISMATCH", name,
               d.max_abs, d.max_rel, *note ? "; " : "", note);
    *ok = *ok && d.ok;
    return FL_OK;
}

static int compare_outputs(struct run *r, json_t *report, bool *ok, struct error *e)
{
    const struct graph *g = r->graph;
    int slot[RUN_MAX_TENSORS], rc = match(g, g->outputs, g->n_outputs, &r->expects, "expect", slot, e);

    for (int i = 0; !rc && i < g->n_outputs; i++)
        if (slot[i] >= 0)
            rc = compare_output(r, i, file_of(r->expects.item[slot[i]]), report, ok, e);
    return rc;
}

/* What there is to see when no file was asked for. */
static void show_outputs(struct run *r, json_t *report)
{
    for (int i = 0; i < r->graph->n_outputs; i++) {
        struct tensor t = exec_output(r->exec, i, r->batch);
        char text[128];
        int64_t n = tensor_count(&t);
        tensor_describe(&t, text, sizeof text);
        json_array_append_new(report,
                              json_pack("{s:s, s:s}", "name", exec_output_name(r->exec, i), "shape", text));
        if (r->json)
            continue;
        printf("%s %s:", exec_output_name(r->exec, i), text);
        for (int64_t k = 0; k < n && k < 10; k++)
            printf(" %.6g", tensor_io_element(&t, k));
        puts(n > 10 ? " ..." : "");
    }
}

static int finish(struct run *r, struct error *e)
{
    json_t *report = json_array(), *root;
    bool ok = true;
    int rc = write_outputs(r, e);

    if (!rc && r->expects.n)
        rc = compare_outputs(r, report, &ok, e);
    else if (!rc && (!r->outputs.n || r->json))
        show_outputs(r, report);
    if (!rc && r->json) {
        root = json_pack("{s:O, s:b, s:i, s:s}", "outputs", report, "ok", ok, "batch", r->batch, "kernels",
                         r->kernels_name);
        report_engine(root, r->threads);
        rc = report_print(root, e);
    }
    json_decref(report);
    if (!rc && !ok)
        rc = error_set(e, FL_VALUE, "outputs differ from what was expected by more than rtol %g, atol %g",
                       r->rtol, r->atol);
    return rc;
}

static int run_model(struct run *r, struct error *e)
{
    int rc = FL_OK;

    for (int i = 0; !rc && i < r->inputs.n; i++)
        rc = tensor_io_read(&r->input[i], file_of(r->inputs.item[i]), e);
    if (!rc)
        rc = load(r, e);
    if (!rc)
        rc = execute(r, e);
    if (!rc)
        rc = finish(r, e);
    exec_free(r->exec);
    graph_free(r->graph);
    for (int i = 0; i < r->inputs.n; i++)
        tensor_release(&r->input[i]);
    for (int i = 0; i < r->inputs.n; i++)
        free(r->name[i]);
    precision_arguments_release(&r->precision);
    shape_arguments_release(&r->shapes);
    return rc;
}

int command_run(int argc, char **argv, struct error *e)
{
    struct run *r = calloc(1, sizeof *r);
    struct argument_list operands;
    int rc;

    if (!r)
        return error_set(e, FL_NOMEM, "no memory");
    r->kernels_name = "auto";
    r->threads = 1;
    r->rtol = 1e-3;
    r->atol = 1e-5;
    const struct argument table[] = {
        OPTION_LIST("input", r->inputs, "[NAME=]FILE", "a tensor to feed (may be repeated)"),
        OPTION_LIST("shape", r->shapes.items, "[NAME=]DIMS",
                    "take an input's elements as this shape, such as 1x3x224x224 (may be repeated)"),
        OPTION_LIST("output", r->outputs, "[NAME=]FILE", "where to write an output (may be repeated)"),
        OPTION_LIST("expect", r->expects, "[NAME=]FILE", "what an output must be (may be repeated)"),
        OPTION_NUMBER("rtol", r->rtol, "X", "relative tolerance (0.001)", 0, 1e9),
        OPTION_NUMBER("atol", r->atol, "X", "absolute tolerance (0.00001)", 0, 1e9),
        OPTION_TEXT("kernels", r->kernels_name, "NAME", "auto, onednn, openblas or reference"),
        ARGUMENTS_PRECISION(r->precision),
        OPTION_INT("threads", r->threads, "N", "threads for kernels (1)", 1, 256),
        OPTION_FLAG("as-written", r->as_written, "no fusion: run the nodes as the file has them"),
        ARGUMENTS_JSON(r->json),
        {0},
    };
    rc = arguments_parse(&usage, table, argc, argv, &operands, e);
    if (!rc) {
        r->model = operands.item[0];
        rc = run_model(r, e);
    }
    free(r);
    return rc;
}
