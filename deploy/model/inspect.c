/* inspect.c - `freezeline inspect`: what a model is made of, after the graph passes */
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/arguments.h"
#include "base/digest.h"
#include "deploy/tool/command.h"
#include "deploy/tool/report.h"
#include "stages/graph/graph.h"
#include "stages/graph/op.h"
#include "stages/place/precision_options.h"
#include "deploy/tool/table.h"
#include "shape_arguments.h"

static const struct usage usage = {
    .command = "inspect",
    .operands = "MODEL.onnx",
    .summary = "Lists the layers of a model as they run: after constants are folded and nodes are fused.",
    .notes = "An exit is a layer after which the model can be cut: '*' marks the ends of blocks, which\n"
             "`exits: auto` takes, '-' all others. Shapes, FLOPs and bytes are for one request. A model\n"
             "that leaves sizes open needs --shape.\n\n"
             "example:\n"
             "  freezeline inspect model.onnx --json\n",
    .min_operands = 1,
    .max_operands = 1,
};

struct inspection {
    struct graph *graph;
    struct cut *cuts;
    int n_cuts, depth;
    double flops;
    int64_t parameters;
};

static const struct cut *cut_after(const struct inspection *s, int node)
{
    for (int i = 0; i < s->n_cuts; i++)
        if (s->cuts[i].node == node)
            return &s->cuts[i];
    return NULL;
}

/* The node's first output for one request; a tensor without dims when it has none. */
static struct tensor output_of(const struct graph *g, const struct node *n)
{
    struct tensor none = {0};
    return n->n_out > 0 && n->out[0] >= 0 ? value_shape(&g->values[n->out[0]], 1) : none;
}

/* "Conv+Add+Relu": the op and what is fused into it. */
static void op_text(const struct node *n, char *buf, size_t size)
{
    snprintf(buf, size, "%s%s%s%s", n->op->name, n->post.residual != GRAPH_NONE ? "+Add" : "",
             n->post.activation ? "+" : "", activation_name(n->post.activation));
}

static json_t *shape_json(const struct tensor *t)
{
    json_t *a = json_array();
    for (int i = 0; i < t->rank; i++)
        json_array_append_new(a, json_integer(t->dim[i]));
    return a;
}

static json_t *values_json(const struct graph *g, const int *values, int n)
{
    json_t *a = json_array();
    for (int i = 0; i < n; i++) {
        const struct value *v = &g->values[values[i]];
        struct tensor t = value_shape(v, 1);
        json_array_append_new(a, json_pack("{s:s, s:s, s:o}", "name", v->name, "dtype",
                                           tensor_dtype_name(v->dtype), "shape", shape_json(&t)));
    }
    return a;
}

static json_t *layer_json(const struct inspection *s, int i)
{
    const struct node *n = &s->graph->nodes[i];
    const struct cut *c = cut_after(s, i);
    struct tensor t = output_of(s->graph, n);
    char op[80];
    json_t *o;

    op_text(n, op, sizeof op);
    o = json_pack("{s:s, s:s, s:o, s:f, s:I, s:I, s:b, s:b}", "name", n->name ? n->name : "", "op", op,
                  "shape", shape_json(&t), "flops", graph_node_flops(s->graph, i, 1), "parameters",
                  (json_int_t)graph_node_parameters(s->graph, i), "activation_bytes",
                  (json_int_t)(t.dtype ? tensor_bytes(&t) : 0), "exit", c != NULL, "block",
                  c && c->after_block);
    if (c && o) {
        json_object_set_new(o, "depth", json_integer(c->depth));
        json_object_set_new(o, "flops_share", report_rounded(c->flops_share, 6));
    }
    return o;
}

static int print_json(const struct inspection *s, struct error *e)
{
    const struct graph *g = s->graph;
    json_t *layers = json_array();
    char digest[DIGEST_TEXT_BYTES];

    for (int i = 0; i < g->n_nodes; i++)
        json_array_append_new(layers, layer_json(s, i));
    return report_print(
        json_pack("{s:s, s:s, s:I, s:s, s:b, s:o, s:o, s:o, s:{s:i, s:i, s:i, s:f, s:I}}", "model", g->path,
                  "digest", digest_text(g->digest, digest), "opset", (json_int_t)g->opset, "producer",
                  g->producer ? g->producer : "", "free_batch", g->free_batch, "inputs",
                  values_json(g, g->inputs, g->n_inputs), "outputs", values_json(g, g->outputs, g->n_outputs),
                  "layers", layers, "total", "layers", g->n_nodes, "depth", s->depth, "exits", s->n_cuts,
                  "flops", s->flops, "parameters", (json_int_t)s->parameters),
        e);
}

static void print_values(const struct graph *g, const char *what, const int *values, int n)
{
    char text[128];
    for (int i = 0; i < n; i++) {
        struct tensor t = value_shape(&g->values[values[i]], 1);
        printf("%s %s: %s\n", what, g->values[values[i]].name, tensor_describe(&t, text, sizeof text));
    }
}

static void table_layer(struct table *t, const struct inspection *s, int i)
{
    const struct node *n = &s->graph->nodes[i];
    const struct cut *c = cut_after(s, i);
    struct tensor out = output_of(s->graph, n);
    char op[128], shape[128], flops[32], parameters[32], bytes[32];

    op_text(n, op, sizeof op);
    tensor_describe(&out, shape, sizeof shape);
    shape[strcspn(shape, " ")] = 0;
    table_cells(t, "%d|%.60s|%s|%s|%s|%s|%s", i, n->name ? n->name : "", op, shape,
                table_count(graph_node_flops(s->graph, i, 1), flops, sizeof flops),
                table_count((double)graph_node_parameters(s->graph, i), parameters, sizeof parameters),
                table_bytes(out.dtype ? (double)tensor_bytes(&out) : 0, bytes, sizeof bytes));
    if (c)
        table_cells(t, "%s layer %d, %.0f%%", c->after_block ? "*" : "-", c->depth, 100 * c->flops_share);
    else
        table_cells(t, "%s", "");
}

static int print_table(const struct inspection *s, struct error *e)
{
    const struct graph *g = s->graph;
    char flops[32], parameters[32], note[512];
    struct table *t;
    int rc;

    printf("%s: opset %lld%s%s, %s batch\n", g->path, (long long)g->opset, g->producer ? ", from " : "",
           g->producer ? g->producer : "", g->free_batch ? "free" : "fixed");
    print_values(g, "input", g->inputs, g->n_inputs);
    print_values(g, "output", g->outputs, g->n_outputs);
    t = table_new("#|layer|op|shape|FLOPs|parameters|activation|exit (depth, FLOPs before)", "rlllrrrl");
    for (int i = 0; i < g->n_nodes; i++)
        table_layer(t, s, i);
    putchar('\n');
    rc = table_end(t, e);
    printf(
        "\nnodes: %d; layers deep: %d; possible exits: %d; FLOPs (2 per multiply-add): %s; parameters: %s\n",
        g->n_nodes, s->depth, s->n_cuts, table_count(s->flops, flops, sizeof flops),
        table_count((double)s->parameters, parameters, sizeof parameters));
    if (*precision_of_model(g, KERNELS_AUTO, note, sizeof note))
        printf("%s\n", note);
    return rc;
}

static int inspect(const char *path, const struct graph_options *o, bool json, struct error *e)
{
    struct inspection s = {0};
    int rc = graph_load(&s.graph, path, o, e);

    if (rc)
        return rc;
    rc = graph_cuts(s.graph, &s.cuts, &s.n_cuts, e);
    s.depth = graph_depth(s.graph);
    for (int i = 0; i < s.graph->n_nodes; i++) {
        s.flops += graph_node_flops(s.graph, i, 1);
        s.parameters += graph_node_parameters(s.graph, i);
    }
    if (!rc)
        rc = json ? print_json(&s, e) : print_table(&s, e);
    free(s.cuts);
    graph_free(s.graph);
    return rc;
}

int command_inspect(int argc, char **argv, struct error *e)
{
    bool json = false;
    struct argument_list operands;
    struct shape_arguments shapes = {.text = NULL};
    struct graph_options o = {.keep_as_written = false};
    const struct argument table[] = {
        ARGUMENTS_SHAPE(shapes),
        ARGUMENTS_JSON(json),
        {0},
    };
    int rc = arguments_parse(&usage, table, argc, argv, &operands, e);

    if (!rc && !(rc = shape_arguments_read(&shapes, &o, e)))
        rc = inspect(operands.item[0], &o, json, e);
    shape_arguments_release(&shapes);
    return rc;
}
