/* compress.c - `freezeline compress`: a network with fewer channels and thinner layers, without training */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "deploy/tool/arguments.h"
#include "deploy/tool/command.h"
#include "deploy/tool/interrupt.h"
#include "deploy/tool/report.h"
#include "deploy/tool/table.h"
#include "fit.h"
#include "stages/onnx/onnx_write.h"
#include "stages/place/placement.h"
#include "surgery.h"
#include "verdict.h"

#define LEAST       8    /* records in each half of the data */
#define JUDGES      128  /* records that each way is tried on */
#define VERDICT     5000 /* records of the report, at most */
#define MODEL_BYTES (PATH_MAX + 64)

static const struct usage usage = {
    .command = "compress",
    .operands = "MODEL.onnx",
    .summary = "Makes a network smaller without training it: fewer channels, thinner layers, fitted to data.",
    .notes =
        "Channels are left out where one layer alone reads them, and layers become two or three that make\n"
        "fewer numbers in between. What each cut loses is measured on the first half of the data, in nats\n"
        "by which answers diverge (\"loss alone\"); the cheapest are taken until --flops is met, and the\n"
        "layers that stay are fitted by least squares to make up for them. The other half of the data,\n"
        "which chose nothing, is what the report is about. OUT.onnx has plain operators: Freezeline, ONNX\n"
        "Runtime and others run it. What cannot be cut stays as it is: groups, attention, values that many\n"
        "layers read. How pixels become inputs stands in a pipeline file (-c, whose model is taken where\n"
        "none is named), or in --set input.mean=.. and input.std=..\n\n" DATASET_LAYOUTS
        "A network that takes no pictures: npy:INPUTS.npy, float32, records first.\n\n"
        "examples:\n"
        "  freezeline compress -c P.yaml --data cifar10:data_batch_5.bin --out small.onnx\n"
        "  freezeline compress m.onnx --set input.mean=[128,128,128] --set input.std=[64,64,64] \\\n"
        "      --data cifar10:data_batch_5.bin --flops 0.4 --out small.onnx --json\n",
    .max_operands = 1,
};

struct compressing {
    struct pipeline_arguments where;
    const char *model, *spec, *output;
    double flops;
    int threads, records;
    bool json, skip_broken;
    struct pipeline *pipeline;
    struct graph *was, *is; /* as they run */
    struct samples samples;
    struct network network;
    struct ways ways;
    struct fit fit;
    struct progress progress;
    struct verdict verdict;
};

/* ---- what is given ---- */

/* Without a file: one that names the model alone. */
static int load_bare(struct compressing *c, const char *path, struct error *e)
{
    json_t *quoted = json_string(path);
    char *text = quoted ? json_dumps(quoted, JSON_ENCODE_ANY) : NULL, yaml[MODEL_BYTES], here[PATH_MAX];
    int rc = text && getcwd(here, sizeof here - 32) ? FL_OK : FL_NOMEM, n = 0;
    if (!rc) {
        n = snprintf(yaml, sizeof yaml, "model: %s\n", text);
        strcat(here, "/--set");
        rc = n < (int)sizeof yaml
                 ? pipeline_parse(&c->pipeline, yaml, (size_t)n, here, c->where.sets.item, c->where.sets.n, e)
                 : error_set(e, FL_USAGE, "the path of the model is too long");
    }
    free(text);
    json_decref(quoted);
    return rc;
}

/* A folder that takes no file is found out before the work is done. */
static int check_output(const char *path, struct error *e)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
    int rc = !folder                ? error_set(e, FL_NOMEM, "no memory")
             : access(folder, W_OK) ? error_set(e, FL_IO, "cannot write %s: %s", path, strerror(errno))
                                    : FL_OK;
    free(folder);
    return rc;
}

static int load_pipeline(struct compressing *c, struct error *e)
{
    char *path = NULL;
    int rc;
    if (!c->model && !c->where.path)
        return error_set(e, FL_USAGE, "which model? MODEL.onnx, or -c P.yaml");
    if (!c->spec || !c->output)
        return error_set(e, FL_USAGE,
                         "--data and --out are needed: pictures to fit to, and the file to write");
    if ((rc = check_output(c->output, e)))
        return rc;
    if (c->model && !(path = realpath(c->model, NULL)))
        return error_set(e, FL_NOT_FOUND, "cannot open %s", c->model);
    rc = c->where.path ? arguments_load(&c->pipeline, &c->where, e) : load_bare(c, path, e);
    if (!rc && path && c->where.path) {
        free(c->pipeline->model);
        c->pipeline->model = path;
        path = NULL;
    }
    free(path);
    return rc;
}

static int open_network(struct compressing *c, struct error *e)
{
    struct dataset_options d = {
        .pipeline = c->pipeline, .skip_broken = c->skip_broken, .progress = &c->progress, .notes = stderr};
    struct graph *as_is = NULL, *now = NULL;
    int64_t half;
    int rc;
    if ((rc = placement_load(&c->was, c->pipeline, e)))
        return rc;
    if (graph_is_quantized(c->was))
        return error_set(e, FL_UNSUPPORTED,
                         "%s takes its values as integers already: compress the float32 network",
                         c->pipeline->model);
    if ((rc = samples_open(&c->samples, c->spec, c->was, &d, e)))
        return rc;
    half = c->samples.count / 2;
    if (half < LEAST)
        return error_set(e, FL_VALUE, "--data has %lld records, and %d are the least that say anything",
                         (long long)c->samples.count, 2 * LEAST);
    if ((rc = placement_load_for_writing(&as_is, c->pipeline, e)) ||
        (rc = placement_load_for_writing(&now, c->pipeline, e))) {
        graph_free(as_is);
        return rc;
    }
    if ((rc = network_new(&c->network, as_is, now, &c->samples, c->records < half ? c->records : half,
                          c->threads, e)))
        return rc;
    if (network_numbers(&c->network, as_is->n_nodes - 1) < 1)
        return error_set(e, FL_UNSUPPORTED, "%s gives no answers of a fixed size", c->pipeline->model);
    if ((rc = ways_new(&c->ways, &c->network, e)))
        return rc;
    return c->ways.n
               ? FL_OK
               : error_set(e, FL_UNSUPPORTED,
                           "%s has nothing that can be cut: no convolution (of one group) or product with "
                           "constant weights that is large enough",
                           c->pipeline->model);
}

/* ---- the report ---- */

static const char *layer_name(const struct compressing *c, int layer)
{
    return c->was && c->network.as_is ? c->network.as_is->nodes[c->network.layers.layer[layer].node].name
                                      : "";
}

static const struct {
    const char *name, *text;
} kinds[] = {[WAY_PRUNE] = {"prune", "channels that it reads"},
             [WAY_SPLIT] = {"split", "numbers between it and a second layer"},
             [WAY_NARROW] = {"narrow", "numbers between a layer in front and it"}};

static int print_table(const struct compressing *c, struct error *e)
{
    const struct verdict *v = &c->verdict;
    struct table *t = table_new("layer|cut|of|left|loss alone", "llrrr");
    char was[32], is[32];
    int rc;
    for (int i = 0; i < c->ways.n; i++) {
        const struct way *w = &c->ways.way[i];
        if (!w->level)
            continue;
        table_cells(t, "%.60s|%s|%d|%d|%.6f", layer_name(c, w->layer), kinds[w->kind].text, w->all,
                    w->keep[w->level], w->loss[w->level]);
    }
    if ((rc = table_end(t, e)))
        return rc;
    printf("\n%s: %s instead of %s FLOPs (%.2f), ", c->output, table_count(v->flops[1], is, sizeof is),
           table_count(v->flops[0], was, sizeof was), v->flops[1] / v->flops[0]);
    printf("%s instead of %s parameters, ", table_count((double)v->parameters[1], is, sizeof is),
           table_count((double)v->parameters[0], was, sizeof was));
    printf("%.3f instead of %.3f ms of one core (%.2f)\n", v->cpu_ms[1], v->cpu_ms[0],
           v->cpu_ms[1] / v->cpu_ms[0]);
    if (v->classes)
        printf("on %lld records that chose nothing it answers %.2f%% like the original (at least %.2f%% with "
               "95%% "
               "certainty)\n",
               (long long)v->records, 100 * v->agreement, 100 * v->agreement_least);
    else
        printf("on %lld records that chose nothing its outputs are off by %.2f%% of their size\n",
               (long long)v->records, 100 * sqrt(v->error));
    if (v->classes && v->labels)
        printf("accuracy: %.2f%%, the original's is %.2f%%; nothing was trained\n", 100 * v->accuracy[1],
               100 * v->accuracy[0]);
    if (v->flops[1] > c->flops * v->flops[0])
        printf("%.2f of the FLOPs are more than --flops %g: there is no more that can be cut\n",
               v->flops[1] / v->flops[0], c->flops);
    return rc;
}

static json_t *pair(double was, double is)
{
    return json_pack("{s:o, s:o}", "original", report_number(was), "compressed", report_number(is));
}

static int print_json(const struct compressing *c, struct error *e)
{
    const struct verdict *v = &c->verdict;
    json_t *cuts = json_array(), *root;
    for (int i = 0; i < c->ways.n; i++) {
        const struct way *w = &c->ways.way[i];
        if (w->level)
            json_array_append_new(cuts,
                                  json_pack("{s:s, s:s, s:i, s:i, s:o}", "layer", layer_name(c, w->layer),
                                            "cut", kinds[w->kind].name, "of", w->all, "left",
                                            w->keep[w->level], "loss", report_number(w->loss[w->level])));
    }
    root =
        json_pack("{s:s, s:s, s:o, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:b}", "model", c->pipeline->model,
                  "output", c->output, "cuts", cuts, "requests", (json_int_t)v->records, "agreement",
                  report_number(v->agreement), "agreement_least", report_number(v->agreement_least),
                  "accuracy", pair(v->accuracy[0], v->accuracy[1]), "output_error",
                  report_number(sqrt(v->error)), "flops", pair(v->flops[0], v->flops[1]), "parameters",
                  pair((double)v->parameters[0], (double)v->parameters[1]), "cpu_ms",
                  pair(v->cpu_ms[0], v->cpu_ms[1]), "within_budget", v->flops[1] <= c->flops * v->flops[0]);
    if (root)
        report_engine(root, 1);
    return report_print(root, e);
}

/* ---- the whole ---- */

static int write_file(struct compressing *c, struct error *e)
{
    struct pipeline *p = c->pipeline;
    char *model = p->model;
    int rc = onnx_write(c->network.now, c->output, e);
    if (rc)
        return rc;
    p->model = (char *)(uintptr_t)c->output;
    rc = placement_load(&c->is, p, e);
    p->model = model;
    return rc;
}

static int compress(struct compressing *c, struct error *e)
{
    int64_t half, rest;
    double all = 0;
    int rc;
    if ((rc = load_pipeline(c, e)) || (rc = open_network(c, e)))
        return rc;
    for (int i = 0; i < c->ways.n_nodes; i++)
        all += c->ways.node_flops[i];
    if ((rc = ways_measure(&c->ways, &c->network, c->was, JUDGES, &c->progress, e)))
        return rc;
    ways_choose(&c->ways, &c->network, c->flops * all);
    half = c->samples.count / 2;
    rest = c->samples.count - half;
    if ((rc = fit_network(&c->fit, &c->network, &c->ways, &c->progress, e)) ||
        (rc = surgery(&c->network, &c->ways, &c->fit, e)) || (rc = write_file(c, e)) ||
        (rc = verdict_of(&c->verdict, c->was, c->is, &c->samples, half, rest < VERDICT ? rest : VERDICT,
                         c->threads, &c->progress, e)))
        return rc;
    progress_close(&c->progress);
    return c->json ? print_json(c, e) : print_table(c, e);
}

int command_compress(int argc, char **argv, struct error *e)
{
    struct compressing c = {.threads = (int)sysconf(_SC_NPROCESSORS_ONLN), .flops = 0.6, .records = 2000};
    struct argument_list operands;
    const struct argument table[] = {
        ARGUMENTS_PIPELINE(c.where),
        OPTION_TEXT("data", c.spec, "D", "half of it is fitted to, the other half judges"),
        ARGUMENTS_SKIP_BAD(c.skip_broken),
        OPTION_TEXT("out", c.output, "OUT.onnx", "the file to write"),
        OPTION_NUMBER("flops", c.flops, "SHARE", "of the network's FLOPs that may stay (0.6)", 0.01, 1),
        OPTION_INT("records", c.records, "N", "records that are fitted to, at most (2000)", 8, 1000000),
        OPTION_INT("threads", c.threads, "N", "threads (all)", 1, 256),
        ARGUMENTS_JSON(c.json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, e);

    interrupt_catch();
    progress_open(&c.progress, stderr);
    if (!rc) {
        c.model = operands.n ? operands.item[0] : NULL;
        rc = compress(&c, e);
    }
    progress_close(&c.progress);
    fit_release(&c.fit);
    ways_release(&c.ways);
    network_release(&c.network);
    samples_close(&c.samples);
    graph_free(c.was);
    graph_free(c.is);
    pipeline_free(c.pipeline);
    return rc;
}
