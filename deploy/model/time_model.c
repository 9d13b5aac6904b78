/* time_model.c - `freezeline profile`: how long a model takes on this machine, layer by layer */
#include <stdio.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/report.h"
#include "stages/exec/profile.h"
#include "stages/place/precision_options.h"
#include "deploy/tool/table.h"
#include "precision_arguments.h"
#include "shape_arguments.h"

static const struct usage usage = {
    .command = "profile",
    .operands = "MODEL.onnx",
    .summary = "Times a model: the whole run, and each layer.",
    .notes = "The whole is timed as one; layers are timed in runs of their own, so their sum is a little\n"
             "more.\n\n"
             "example:\n"
             "  freezeline profile model.onnx --threads 1 --batch 1 --runs 200\n",
    .min_operands = 1,
    .max_operands = 1,
};

struct timing {
    const char *model, *kernels_name;
    struct precision_arguments precision;
    int threads, batch, runs;
    bool json;
    struct shape_arguments shapes;
};

static int print_json(const struct timing *o, const struct profile *p, struct error *e)
{
    json_t *layers = json_array(), *root;

    for (int i = 0; i < p->n_layers; i++) {
        const struct profile_layer *l = &p->layer[i];
        json_array_append_new(
            layers, json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:f}", "name", l->name ? l->name : "", "op",
                              l->op, "kernel", l->kernel ? l->kernel : "", "median_ms",
                              report_rounded(l->median_ms, 6), "min_ms", report_rounded(l->min_ms, 6),
                              "p99_ms", report_rounded(l->p99_ms, 6), "flops", l->flops));
    }
    root = json_pack("{s:s, s:o, s:o, s:o, s:i, s:i, s:s, s:I, s:I}", "model", o->model, "median_ms",
                     report_rounded(p->median_ms, 6), "min_ms", report_rounded(p->min_ms, 6), "p99_ms",
                     report_rounded(p->p99_ms, 6), "batch", o->batch, "runs", o->runs, "kernels",
                     o->kernels_name, "weight_bytes", (json_int_t)p->weight_bytes, "arena_bytes",
                     (json_int_t)p->arena_bytes);
    if (root) {
        report_engine(root, o->threads);
        json_object_set_new(root, "layers", layers);
    }
    return report_print(root, e);
}

static void table_layer(struct table *t, const struct profile_layer *l, double total)
{
    table_cells(t, "%.60s|%s|%s|%.3f|%.3f|%.3f|%.1f|%.1f", l->name ? l->name : "", l->op,
                l->kernel ? l->kernel : "", l->median_ms, l->min_ms, l->p99_ms,
                total > 0 ? 100 * l->median_ms / total : 0,
                l->median_ms > 0 ? l->flops / l->median_ms / 1e6 : 0);
}

static int print_table(const struct timing *o, const struct profile *p, struct error *e)
{
    char weights[32], arena[32];
    struct table *t;
    double sum = 0;
    int rc;

    t = table_new("layer|op|kernel|median ms|min|p99|%|GFLOP/s", "lllrrrrr");
    for (int i = 0; i < p->n_layers; i++)
        sum += p->layer[i].median_ms;
    for (int i = 0; i < p->n_layers; i++)
        table_layer(t, &p->layer[i], sum);
    rc = table_end(t, e);
    printf("\nwhole model: median %.3f ms, min %.3f, p99 %.3f (batch %d, %d thread%s, %d runs)\n",
           p->median_ms, p->min_ms, p->p99_ms, o->batch, o->threads, o->threads == 1 ? "" : "s", o->runs);
    printf("kernels %s, BLAS core %s, convolutions %s, weights %s, arena %s\n", o->kernels_name,
           engine_blas_core(), engine_conv(), table_bytes((double)p->weight_bytes, weights, sizeof weights),
           table_bytes((double)p->arena_bytes, arena, sizeof arena));
    return rc;
}

static int time_model(struct timing *o, struct error *e)
{
    struct graph_options load = {.keep_as_written = false};
    struct exec_options options = {
        .threads = o->threads, .max_batch = o->batch, .last = -1, .only_stops = true};
    struct graph *g = NULL;
    struct exec *x = NULL;
    struct profile p;
    char note[512];
    int rc;

    if (engine_parse_kernels(o->kernels_name, &options.kernels, NULL))
        return error_set(e, FL_USAGE, "--kernels %s: it is one of auto, onednn, openblas, reference",
                         o->kernels_name);
    if ((rc = precision_arguments_read(&o->precision, &options, e)))
        return rc;
    if ((rc = shape_arguments_read(&o->shapes, &load, e)) || (rc = graph_load(&g, o->model, &load, e)))
        return rc;
    if (o->batch > 1 && !g->free_batch)
        rc = error_set(e, FL_SHAPE, "%s has a fixed batch size: --batch must be 1", o->model);
    if (!rc)
        rc = exec_new(&x, g, &options, e);
    if (!rc && !(rc = profile_run(&p, x, g, 0, g->n_nodes - 1, o->threads, o->batch, o->runs, e))) {
        rc = o->json ? print_json(o, &p, e) : print_table(o, &p, e);
        profile_release(&p);
    }
    if (!rc && *precision_of_model(g, options.kernels, note, sizeof note))
        fprintf(stderr, "freezeline: %s\n", note);
    exec_free(x);
    graph_free(g);
    return rc;
}

int command_profile(int argc, char **argv, struct error *e)
{
    struct timing o = {.kernels_name = "auto", .threads = 1, .batch = 1, .runs = 100};
    struct argument_list operands;
    const struct argument table[] = {
        OPTION_INT("threads", o.threads, "N", "threads for kernels (1)", 1, 256),
        OPTION_INT("batch", o.batch, "B", "requests per run (1)", 1, 1024),
        OPTION_INT("runs", o.runs, "R", "runs, after warm-up (100)", 1, 1000000),
        OPTION_TEXT("kernels", o.kernels_name, "NAME", "auto, onednn, openblas or reference"),
        ARGUMENTS_PRECISION(o.precision),
        ARGUMENTS_SHAPE(o.shapes),
        ARGUMENTS_JSON(o.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, e);

    if (rc)
        return rc;
    o.model = operands.item[0];
    rc = time_model(&o, e);
    precision_arguments_release(&o.precision);
    shape_arguments_release(&o.shapes);
    return rc;
}
