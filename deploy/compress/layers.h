/* layers.h - what of a network can be made smaller: layers with weights, and values whose channels can go
 *
 * The graph is one loaded `for_writing`. A layer is a Conv (group 1), Gemm or MatMul whose weights are
 * constant. Its weights are seen as W, [out][features], a feature being one number of a window: channel by
 * channel as ONNX has them. A site is a layer whose output channels are read by one other layer alone, by way
 * of steps that treat each channel for itself: some of these channels can be left out. Everything else stays
 * as it is.
 */
#ifndef FREEZELINE_LAYERS_H
#define FREEZELINE_LAYERS_H

#include "stages/graph/graph.h"
#include "stages/ops/ops.h"

#define LAYERS_MOST_FEATURES 6144 /* beyond, moments would take too much memory: such a layer stays */

struct layer {
    int node;
    bool conv, turned,
        biased; /* turned: the file has W as [features][out]; biased: it has, or can have, a bias */
    int64_t out, features;
    int64_t taps;      /* numbers of a window that belong to one channel */
    int64_t pixels;    /* of what a convolution reads, in one record */
    int64_t places;    /* windows of one record, or rows */
    double flops;      /* of one record */
    int sum;           /* the value that its output is added up in, or its output */
    int reads, makes;  /* sites whose channels it takes, and makes; -1 */
    struct window win; /* of a convolution, and the dims of its output */
    int64_t side[SPATIAL_MAX];
};

struct site {
    int maker, reader;       /* layers */
    int64_t channels, group; /* features of the reader for each of them */
    int n_between, *between; /* nodes between, in order */
};

struct layers {
    int n, n_sites;
    struct layer *layer; /* in the graph's order */
    struct site *site;
};

/* FL_NOMEM; release in any case. */
int layers_find(struct layers *out, const struct graph *g, struct error *e);
void layers_release(struct layers *l);

/* W of a layer as doubles, and its bias (zeros where there is none); from, and into, the graph's constants. A
 * graph's constants are changed in place: they must be its own alone (layers_own). */
void layer_weights(const struct graph *g, const struct layer *l, double *w, double *bias);
void layer_set_weights(struct graph *g, const struct layer *l, const double *w, const double *bias);
/* Gives each layer constants of its own, a bias where it can have one, and Gemm factors of 1. FL_NOMEM. */
int layers_own(struct graph *g, const struct layers *l, struct error *e);

#endif
