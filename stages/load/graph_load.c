/* graph_load.c - from a file to a graph that is ready to run: import, fold, infer, optimise */
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "stages/graph/graph_build.h"
#include "stages/onnx/if_choice.h"
#include "stages/onnx/graph_file.h"
#include "stages/onnx/onnx_external.h"

#define MODEL_MAX_BYTES ((int64_t)4 << 30)

/* What leaves operators as ONNX has them. */
static int run_plain_passes(struct graph *g, struct error *e)
{
    int code;
    if ((code = pass_identity(g, e)) || (code = graph_sort(g, e)) || (code = graph_sweep(g, e)) ||
        (code = pass_norm(g, e)) || (code = pass_pad(g, e)))
        return code;
    return graph_sort(g, e);
}

static int run_passes(struct graph *g, struct error *e)
{
    int code;
    if ((code = pass_identity(g, e)) || (code = graph_sort(g, e)) || (code = graph_sweep(g, e)) ||
        (code = pass_quantized(g, e)) || (code = pass_dynamic(g, e)) || (code = graph_sweep(g, e)) ||
        (code = pass_norm(g, e)) || (code = pass_pad(g, e)) || (code = graph_sort(g, e)) ||
        (code = graph_sweep(g, e)) || (code = pass_patterns(g, e)) || (code = graph_sort(g, e)) ||
        (code = graph_sweep(g, e)))
        return code;
    return pass_fuse(g, e);
}

/* In proportion to what the model takes on disk, external data included. */
static struct fold_budget fold_budget(int64_t bytes)
{
    return (struct fold_budget){((int64_t)64 << 20) + 8 * bytes, 4e8 + 1e3 * (double)bytes};
}

/* Branches that were chosen may be constant. */
static int choose(struct graph *g, const struct graph_options *o, struct fold_budget *budget, bool *pinned,
                  struct error *e)
{
    bool any = choice_any(g);
    int code = pass_choose(g, o, pinned, e);
    if (!any || code || (code = pass_fold(g, budget, e)))
        return code;
    return graph_sweep(g, e);
}

/* Nodes that make outputs are never folded away, so there is always a node to run. */
static int build(struct graph *g, const void *bytes, size_t size, struct external_files *files,
                 const struct graph_options *o, struct error *e)
{
    struct fold_budget budget;
    bool pinned;
    int code;
    if ((code = onnx_import(g, bytes, size, files, e)) || (code = graph_sort(g, e)) ||
        (code = graph_sweep(g, e)) || (code = pass_qlinear(g, e)))
        return code;
    budget = fold_budget((int64_t)size + external_files_bytes(files));
    if ((code = pass_fold(g, &budget, e)) || (code = graph_sweep(g, e)) ||
        (code = choose(g, o, &budget, &pinned, e)) || (code = graph_infer(g, o, pinned, e)) ||
        (code = graph_sort(g, e)) || (code = graph_sweep(g, e)))
        return code;
    if (o && o->for_writing)
        code = run_plain_passes(g, e);
    else if (!(o && o->keep_as_written))
        code = run_passes(g, e);
    if (code)
        return code;
    if ((code = graph_sort(g, e)))
        return code;
    return graph_sweep(g, e);
}

/* Names in a file may hold anything; an error is one line. */
static void one_line(struct error *e)
{
    for (char *c = e->text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
}

static int load_bytes(struct graph **out, const void *bytes, size_t size, struct external_files *files,
                      const char *path, const struct graph_options *o, struct error *e)
{
    struct graph *g = calloc(1, sizeof *g);
    struct error own = {FL_OK, ""};
    int code;
    *out = NULL;
    if (!g || !(g->path = strdup(path))) {
        graph_free(g);
        return error_set(e, FL_NOMEM, "out of memory");
    }
    digest_of(g->digest, bytes, size); /* the importer adds what lies outside */
    code = build(g, bytes, size, files, o, &own);
    if (!code) {
        *out = g;
        return FL_OK;
    }
    one_line(&own);
    graph_free(g);
    return error_set(e, (enum fl_code)code, "%s: %s", path, own.code ? own.text : error_sentence(code));
}

int graph_load_bytes(struct graph **out, const void *bytes, size_t size, const struct graph_options *options,
                     struct error *e)
{
    return load_bytes(out, bytes, size, NULL, "model", options, e);
}

int graph_load(struct graph **out, const char *path, const struct graph_options *options, struct error *e)
{
    int64_t limit = options && options->max_bytes ? options->max_bytes : MODEL_MAX_BYTES;
    struct external_files *files = NULL;
    struct file_map map;
    int code;
    *out = NULL;
    code = file_map_open(&map, path, limit, e);
    if (code)
        return code;
    code = external_files_new(&files, path, e);
    if (!code && options)
        external_files_tell(files, options->outside, options->outside_arg);
    if (!code)
        code = load_bytes(out, map.bytes, map.size, files, path, options, e);
    external_files_free(files);
    file_map_close(&map);
    return code;
}
