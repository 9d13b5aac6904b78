/* surgery.c - smaller constants, dims to match, two nodes for one */
#include "surgery.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "split.h"
#include "stages/graph/graph_build.h"

struct table {
    const struct network *n;
    struct graph *g;
    const struct ways *p;
    const struct fit *f;
    bool *keep_in, *keep_out; /* [features], [out] of the layer at hand */
};

static int64_t count_kept(const bool *keep, int64_t n)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        kept += keep[i];
    return kept;
}

/* ---- constants ---- */

/* W of [rows][columns] as the layer's kind has it, a kernel's taps last. -1 without memory. */
static int weights_constant(struct table *t, const struct layer *l, const double *w, int64_t rows,
                            int64_t columns, bool taps)
{
    const struct tensor *was = node_constant(t->g, &t->g->nodes[l->node], 1);
    struct tensor c = {.dtype = TENSOR_F32, .rank = was->rank, .dim = {rows, columns}};
    if (l->turned)
        c.dim[0] = columns, c.dim[1] = rows;
    for (int i = 2; i < c.rank; i++)
        c.dim[i] = taps ? was->dim[i] : 1;
    if (l->conv && taps)
        c.dim[1] = columns / l->taps;
    if (tensor_alloc(&c))
        return -1;
    for (int64_t o = 0; o < rows; o++)
        for (int64_t k = 0; k < columns; k++)
            ((float *)c.data)[l->turned ? k * rows + o : o * columns + k] = (float)w[o * columns + k];
    return graph_add_constant(t->g, NULL, &c);
}

static int bias_constant(struct table *t, const double *bias, int64_t n)
{
    struct tensor c = {.dtype = TENSOR_F32, .rank = 1, .dim = {n}};
    if (tensor_alloc(&c))
        return -1;
    for (int64_t i = 0; i < n; i++)
        ((float *)c.data)[i] = (float)bias[i];
    return graph_add_constant(t->g, NULL, &c);
}

/* ---- layers ---- */

static void look_up_kept(struct table *t, const struct layer *l)
{
    int64_t group = l->reads < 0 ? 1 : t->n->layers.site[l->reads].group;
    for (int64_t k = 0; k < l->features; k++)
        t->keep_in[k] = true;
    for (int64_t o = 0; o < l->out; o++)
        t->keep_out[o] = true;
    if (l->makes >= 0)
        ways_kept(t->p, t->n, l->makes, t->keep_out);
    if (l->reads < 0)
        return;
    ways_kept(t->p, t->n, l->reads, t->keep_in);
    for (int64_t k = l->features - 1; k >= 0; k--)
        t->keep_in[k] = t->keep_in[k / group];
}

/* Rows and columns of a matrix that stay, in its own place. */
static void shrink(double *w, int64_t rows, int64_t columns, const bool *keep_rows, const bool *keep_columns)
{
    double *to = w;
    for (int64_t o = 0; o < rows; o++)
        for (int64_t k = 0; k < columns; k++)
            if ((!keep_rows || keep_rows[o]) && (!keep_columns || keep_columns[k]))
                *to++ = w[o * columns + k];
}

/* A second node makes what the layer made; the layer makes `rank` numbers less. `u` is [rank][out] of all
 * outputs. */
static int put_two(struct table *t, const struct layer *l, const double *u, int64_t rank, int bias)
{
    struct graph *g = t->g;
    int64_t outputs = count_kept(t->keep_out, l->out), at = 0;
    double *back = malloc((size_t)(outputs * rank) * sizeof *back);
    int middle = graph_add_value(g, NULL), second, weights, made = g->nodes[l->node].out[0];
    char first_name[256];
    struct value *v;
    if (!back || middle < 0)
        goto fail;
    for (int64_t o = 0; o < l->out; o++)
        for (int64_t r = 0; t->keep_out[o] && r < rank; r++)
            back[at++] = u[r * l->out + o];
    weights = weights_constant(t, l, back, outputs, rank, false);
    second = graph_add_node(g, g->nodes[l->node].name, g->nodes[l->node].op, l->biased ? 3 : 2, 1);
    if (weights < 0 || second < 0)
        goto fail;
    if (node_is(&g->nodes[second], "Gemm")) {
        struct attr *a = node_attribute(&g->nodes[second], "transB", ATTR_INT);
        if (!a)
            goto fail;
        a->i = !l->turned;
    }
    snprintf(first_name, sizeof first_name, "%.240s/low", g->nodes[l->node].name);
    free(g->nodes[l->node].name);
    g->nodes[l->node].name = strdup(first_name);
    g->nodes[second].in[0] = middle;
    g->nodes[second].in[1] = weights;
    if (l->biased)
        g->nodes[second].in[2] = bias;
    g->nodes[second].out[0] = made;
    g->nodes[l->node].out[0] = middle;
    v = &g->values[middle];
    v->dtype = TENSOR_F32;
    v->rank = g->values[made].rank;
    memcpy(v->dim, g->values[made].dim, sizeof v->dim);
    v->dim[l->conv ? 1 : v->rank - 1] = (struct extent){rank, 0};
    free(back);
    return g->nodes[l->node].name ? FL_OK : FL_NOMEM;
fail:
    free(back);
    return FL_NOMEM;
}

/* A node of a single tap in front makes `rank` numbers of what the convolution reads. `thin` is
 * [rank][channels], of those that stay when this returns. */
static int put_before(struct table *t, const struct layer *l, double *thin, int64_t rank)
{
    struct graph *g = t->g;
    int64_t all = l->features / l->taps, kept;
    bool *keep = malloc((size_t)all);
    int read = g->nodes[l->node].in[0], made = graph_add_value(g, NULL), node, weights;
    char name[256];
    struct value *v;
    if (!keep || made < 0) {
        free(keep);
        return FL_NOMEM;
    }
    for (int64_t c = 0; c < all; c++)
        keep[c] = t->keep_in[c * l->taps];
    kept = count_kept(keep, all);
    shrink(thin, rank, all, NULL, keep);
    free(keep);
    weights = weights_constant(t, l, thin, rank, kept, false);
    snprintf(name, sizeof name, "%.240s/thin", g->nodes[l->node].name);
    node = graph_add_node(g, name, g->nodes[l->node].op, 2, 1);
    if (weights < 0 || node < 0)
        return FL_NOMEM;
    g->nodes[node].in[0] = read;
    g->nodes[node].in[1] = weights;
    g->nodes[node].out[0] = made;
    g->nodes[l->node].in[0] = made;
    v = &g->values[made];
    v->dtype = TENSOR_F32;
    v->rank = g->values[read].rank;
    memcpy(v->dim, g->values[read].dim, sizeof v->dim);
    v->dim[1] = (struct extent){rank, 0};
    return FL_OK;
}

static int change_layer(struct table *t, int i, double *w, double *bias, double *low)
{
    const struct layer *l = &t->n->layers.layer[i];
    const struct way *way = ways_at(t->p, WAY_SPLIT, i);
    const struct way *narrow = ways_at(t->p, WAY_NARROW, i);
    const struct narrowing core = {(int)(way ? way->keep[way->level] : l->out), (int)(l->features / l->taps),
                                   (int)l->taps};
    const double *direction = t->f->direction[i];
    int64_t rank = way ? way->keep[way->level] : 0, thin = narrow ? narrow->keep[narrow->level] : 0, inputs,
            outputs;
    int weights, biases = GRAPH_NONE, rc = FL_OK;
    layer_weights(t->g, l, w, bias);
    look_up_kept(t, l);
    inputs = count_kept(t->keep_in, l->features);
    outputs = count_kept(t->keep_out, l->out);
    if (way && (rc = split_weights(l, w, direction, (int)rank, low, NULL)))
        return rc;
    if (narrow) {
        double *full = way ? low : w;
        narrow_core(&core, full, t->f->thin[i], (int)thin, way ? w : low);
        shrink(way ? w : low, core.out, thin * l->taps, way ? NULL : t->keep_out, NULL);
        memcpy(full, way ? w : low, (size_t)(core.out * thin * l->taps) * sizeof *w);
        inputs = thin * l->taps;
        if ((rc = put_before(t, l, t->f->thin[i], thin)))
            return rc;
    } else {
        shrink(way ? low : w, way ? rank : l->out, l->features, way ? NULL : t->keep_out, t->keep_in);
    }
    shrink(bias, l->out, 1, t->keep_out, NULL);
    weights = weights_constant(t, l, way ? low : w, way ? rank : outputs, inputs, true);
    if (weights < 0 || (l->biased && (biases = bias_constant(t, bias, outputs)) < 0))
        return FL_NOMEM;
    if (way && (rc = put_two(t, l, direction, rank, biases)))
        return rc;
    t->g->nodes[l->node].in[1] = weights;
    if (l->biased)
        t->g->nodes[l->node].in[2] = way ? GRAPH_NONE : biases;
    return FL_OK;
}

static bool is_changed(const struct table *t, int i)
{
    const struct layer *l = &t->n->layers.layer[i];
    return ways_at(t->p, WAY_PRUNE, i) || ways_at(t->p, WAY_SPLIT, i) || ways_at(t->p, WAY_NARROW, i) ||
           (l->makes >= 0 && ways_at(t->p, WAY_PRUNE, t->n->layers.site[l->makes].reader));
}

/* ---- between layers ---- */

/* Input k of a node, one number or several for each channel along dim `axis`, without those that go. */
static int shrink_constant(struct table *t, int node, int k, int axis, const bool *keep, int64_t kept)
{
    const struct tensor *was = node_constant(t->g, &t->g->nodes[node], k);
    struct tensor c = *was;
    int64_t inner = 1, outer = 1, channels = was->dim[axis];
    int made;
    for (int i = 0; i < was->rank; i++)
        *(i < axis ? &outer : &inner) *= i == axis ? 1 : was->dim[i];
    c.dim[axis] = kept;
    if (tensor_alloc(&c))
        return FL_NOMEM;
    for (int64_t o = 0, at = 0; o < outer; o++)
        for (int64_t i = 0; i < channels; i++)
            if (keep[i]) {
                memcpy((float *)c.data + at, (const float *)was->data + (o * channels + i) * inner,
                       (size_t)inner * sizeof(float));
                at += inner;
            }
    made = graph_add_constant(t->g, NULL, &c);
    t->g->nodes[node].in[k] = made;
    return made < 0 ? FL_NOMEM : FL_OK;
}

/* Where a constant has its channels; -1: it has one number for all. */
static int axis_of(const struct tensor *c, int64_t channels)
{
    for (int i = 0; tensor_count(c) > 1 && i < c->rank; i++)
        if (c->dim[i] == channels)
            return i;
    return -1;
}

static int change_between(struct table *t, int node, int64_t channels, const bool *keep, int64_t kept)
{
    bool depthwise = node_is(&t->g->nodes[node], "Conv"), reduces = node_is(&t->g->nodes[node], "ReduceMean");
    for (int k = 0; !reduces && k < t->g->nodes[node].n_in; k++) {
        const struct tensor *c = node_constant(t->g, &t->g->nodes[node], k);
        int axis = c && c->dtype == TENSOR_F32 ? axis_of(c, channels) : -1;
        if (axis >= 0 && shrink_constant(t, node, k, axis, keep, kept))
            return FL_NOMEM;
    }
    if (depthwise)
        node_attribute(&t->g->nodes[node], "group", ATTR_INT)->i = kept;
    return FL_OK;
}

static void narrow(struct value *v, bool conv, int64_t channels, int64_t kept)
{
    struct extent *d = &v->dim[conv ? 1 : v->rank - 1];
    d->fixed = d->fixed / channels * kept;
}

static int change_site(struct table *t, int site)
{
    const struct site *s = &t->n->layers.site[site];
    const struct layer *maker = &t->n->layers.layer[s->maker];
    bool *keep = malloc((size_t)s->channels);
    int64_t kept;
    int rc = FL_OK;
    if (!keep)
        return FL_NOMEM;
    ways_kept(t->p, t->n, site, keep);
    kept = count_kept(keep, s->channels);
    narrow(&t->g->values[t->g->nodes[maker->node].out[0]], maker->conv, s->channels, kept);
    for (int i = 0; !rc && i < s->n_between; i++) {
        rc = change_between(t, s->between[i], s->channels, keep, kept);
        narrow(&t->g->values[t->g->nodes[s->between[i]].out[0]], maker->conv, s->channels, kept);
    }
    free(keep);
    return rc;
}

/* ---- all of it ---- */

static int change_one(struct table *t, int i)
{
    const struct layer *l = &t->n->layers.layer[i];
    size_t size = (size_t)(l->out * l->features);
    double *w = malloc(size * sizeof *w), *low = malloc(size * sizeof *low),
           *bias = malloc((size_t)l->out * sizeof *bias);
    int rc = FL_NOMEM;
    t->keep_in = malloc((size_t)l->features);
    t->keep_out = malloc((size_t)l->out);
    if (w && low && bias && t->keep_in && t->keep_out)
        rc = change_layer(t, i, w, bias, low);
    free(w);
    free(low);
    free(bias);
    free(t->keep_in);
    free(t->keep_out);
    return rc;
}

int surgery(struct network *n, const struct ways *p, const struct fit *f, struct error *e)
{
    struct table t = {.n = n, .g = n->now, .p = p, .f = f};
    int rc = FL_OK;
    for (int s = 0; !rc && s < n->layers.n_sites; s++)
        if (ways_at(p, WAY_PRUNE, n->layers.site[s].reader))
            rc = change_site(&t, s);
    for (int i = 0; !rc && i < n->layers.n; i++)
        if (is_changed(&t, i))
            rc = change_one(&t, i);
    if (rc)
        return error_set(e, (enum fl_code)rc, "no memory for the smaller network");
    return (rc = graph_sort(n->now, e)) ? rc : graph_sweep(n->now, e);
}
