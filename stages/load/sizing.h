/* sizing.h - a graph under one assumption about the batch size (graph_infer.c and choice.c alone)
 *
 * In a sizing every value has concrete dims, and values that follow from shapes are computed.
 */
#ifndef FREEZELINE_SIZING_H
#define FREEZELINE_SIZING_H

#include "stages/graph/graph_build.h"

#define N_SIZINGS          4
#define KNOWN_MAX_ELEMENTS 4096 /* of a value that is computed from shapes */

/* The batch sizes that are tried. The last one, 1, is tried only where a batch of one must behave like a
 * larger one: where the file fixes the batch at 1 and we guess that it is free, and where branches are
 * chosen. */
extern const int64_t sizing_batch[N_SIZINGS];

/* value[i].data is owned unless the value is a constant of the graph, or stands for one that is. A value
 * whose dtype is TENSOR_NONE could not be made: only where there are choices (choice.h). */
struct sizing {
    struct tensor *value;
    bool *owned;
};

/* What is assumed: `batch` (0: as written), whether a dim 0 of 1 is free too, whether values of inputs are
 * known. */
struct assumption {
    int64_t batch;
    bool ones_too, values_too;
};

/* May the batch be free? *ones_too: only if a dim 0 of 1 is taken to be free. */
bool sizing_may_be_free(const struct graph *g, bool *ones_too);
/* Infers all values. Where there are choices, what fails is no error until something needs it. sizing_free in
 * either case. Errors as node_infer and input_shape. */
int sizing_run(const struct graph *g, const struct graph_options *o, struct assumption a, struct sizing *w,
               struct error *e);
void sizing_free(struct sizing *w, const struct graph *g);
/* One node in a sizing: shapes, and its values where they are known. */
int sizing_infer_node(const struct node *n, struct sizing *w, struct error *e);
/* The first input that could not be made, or GRAPH_NONE. */
int sizing_missing_input(const struct node *n, const struct sizing *w);

/* The shape to assume for input i: given by the caller or declared. FL_SHAPE, FL_UNSUPPORTED. */
int input_shape(const struct graph *g, int i, const struct graph_options *o, struct assumption a,
                struct tensor *out, struct error *e);
/* The shape that the caller gives for input i, by its name or by its place among those without one; or NULL.
 */
const struct tensor *given_shape(const struct graph *g, int i, const struct graph_options *o);
/* Every shape that is given by name must be an input's. FL_USAGE. */
int check_shape_names(const struct graph *g, const struct graph_options *o, struct error *e);

#endif
