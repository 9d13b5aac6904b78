/* fuzz_onnx.c - any bytes as a model: a graph whose every index and shape is sound, or refused in one line */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "stages/graph/graph_build.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool condition)
{
    if (!condition)
        abort();
}

static void check_node(const struct graph *g, int i)
{
    const struct node *n = &g->nodes[i];
    need(n->op && n->name && n->n_in <= OP_MAX_IO && n->n_out <= OP_MAX_IO);
    for (int k = 0; k < n->n_in; k++)
        need(n->in[k] >= GRAPH_NONE && n->in[k] < g->n_values &&
             (n->in[k] == GRAPH_NONE || g->values[n->in[k]].producer < i));
    for (int k = 0; k < n->n_out; k++)
        need(n->out[k] >= GRAPH_NONE && n->out[k] < g->n_values);
}

static void check_graph(const struct graph *g)
{
    struct cut *cut;
    int n;
    need(g->n_outputs > 0);
    for (int i = 0; i < g->n_nodes; i++)
        check_node(g, i);
    for (int i = 0; i < g->n_values; i++) {
        struct tensor t = value_shape(&g->values[i], 1);
        need(g->values[i].name && tensor_bytes(&t) >= 0);
    }
    for (int i = 0; i < g->n_outputs; i++)
        need(g->values[g->outputs[i]].producer != GRAPH_NONE);
    need(graph_cuts(g, &cut, &n, NULL) == FL_OK);
    free(cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int as_written = 0; as_written < 2; as_written++) {
        struct graph_options o = {.keep_as_written = as_written};
        struct error e = {FL_OK, ""};
        struct graph *g = NULL;
        if (graph_load_bytes(&g, data, size, &o, &e)) {
            need(!g && e.text[0] && !strchr(e.text, '\n'));
            continue;
        }
        check_graph(g);
        graph_free(g);
    }
    return 0;
}
