/* layouts.c - which values of a model lie channels-last
 *
 * Convolutions, pools and their like are fast on channels-last images; the products, sums and norms of a
 * transformer are fast on row-major values. Operators that work element by element take either, and all
 * values that they join lie alike: channels-last if one of them meets an operator on images.
 */
#include "layouts.h"

#include <stdlib.h>
#include <string.h>

#include "stages/graph/op.h"

struct joiner {
    const struct graph *g;
    int *joined; /* another value that lies like this one, or itself */
    bool *image; /* of the value that stands for all that are joined: they lie channels-last */
};

static bool named(const struct node *n, const char *const *names)
{
    for (; *names; names++)
        if (node_is(n, *names))
            return true;
    return false;
}

static bool is_on_images(const struct node *n)
{
    static const char *const names[] = {
        "Conv",   "ConvTranspose", "BatchNormalization", "InstanceNormalization", "GroupNormalization",
        "LRN",    "MaxPool",       "AveragePool",        "GlobalAveragePool",     "GlobalMaxPool",
        "Resize", "Upsample",      "DepthToSpace",       "SpaceToDepth",          NULL};
    return named(n, names);
}

/* Its output need not lie like its inputs. */
static bool is_boundary(const struct node *n)
{
    static const char *const names[] = {"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "MatMul",
                                        "Gemm",    "Einsum",  "Gather",  "GatherND",  "Expand",    NULL};
    return named(n, names);
}

static bool has_choice(const struct graph *g, int value)
{
    return value != GRAPH_NONE && g->values[value].rank == 4 && !g->values[value].constant;
}

static int root(const struct joiner *j, int value)
{
    while (j->joined[value] != value)
        value = j->joined[value] = j->joined[j->joined[value]];
    return value;
}

static void join(struct joiner *j, int a, int b)
{
    a = root(j, a);
    b = root(j, b);
    j->joined[b] = a;
    j->image[a] |= j->image[b];
}

static void take_node(struct joiner *j, const struct node *n)
{
    int first = GRAPH_NONE;
    for (int k = 0; k < n->n_in + n->n_out; k++) {
        int value = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
        if (!has_choice(j->g, value) || is_boundary(n))
            continue;
        if (first == GRAPH_NONE)
            first = value;
        join(j, first, value);
        j->image[root(j, value)] |= is_on_images(n);
    }
}

static int take_cuts(struct joiner *j, struct error *e)
{
    struct cut *cut;
    int n, rc = graph_cuts(j->g, &cut, &n, e);
    for (int i = 0; !rc && i < n; i++)
        j->image[root(j, cut[i].value)] = true;
    if (!rc)
        free(cut);
    return rc;
}

int layouts_of(const struct graph *g, bool **channels_last, struct error *e)
{
    size_t n = (size_t)g->n_values + 1;
    struct joiner j = {g, malloc(n * sizeof *j.joined), calloc(n, sizeof *j.image)};
    int rc = FL_OK;
    *channels_last = calloc(n, sizeof **channels_last);
    if (!j.joined || !j.image || !*channels_last)
        rc = error_set(e, FL_NOMEM, "no memory to lay out %d values", g->n_values);
    for (int v = 0; !rc && v < g->n_values; v++)
        j.joined[v] = v;
    for (int i = 0; !rc && i < g->n_nodes; i++)
        take_node(&j, &g->nodes[i]);
    if (!rc)
        rc = take_cuts(&j, e);
    for (int v = 0; !rc && v < g->n_values; v++)
        (*channels_last)[v] = has_choice(g, v) && j.image[root(&j, v)];
    free(j.joined);
    free(j.image);
    if (rc) {
        free(*channels_last);
        *channels_last = NULL;
    }
    return rc;
}
