/* input_shapes.c - the shape that each input is assumed to have: declared, or given by the caller */
#include <stdio.h>
#include <string.h>

#include "sizing.h"

static const char *shape_name(const struct graph_options *o, int k)
{
    return o->shape_names ? o->shape_names[k] : NULL;
}

/* The shape that the caller gives for input i, by its name or by its place among those without one; or NULL.
 */
const struct tensor *given_shape(const struct graph *g, int i, const struct graph_options *o)
{
    int place = 0;
    for (int k = 0; o && o->shapes && k < o->n_shapes; k++) {
        const char *name = shape_name(o, k);
        if (name ? !strcmp(name, g->values[g->inputs[i]].name) : place++ == i)
            return &o->shapes[k];
    }
    return NULL;
}

/* Every shape that is given by name must be an input's. */
int check_shape_names(const struct graph *g, const struct graph_options *o, struct error *e)
{
    for (int k = 0; o && o->shapes && k < o->n_shapes; k++) {
        const char *name = shape_name(o, k);
        int i = 0;
        while (name && i < g->n_inputs && strcmp(name, g->values[g->inputs[i]].name))
            i++;
        if (name && i == g->n_inputs)
            return error_set(e, FL_USAGE, "the model has no input '%.100s'%s%.100s", name,
                             g->n_inputs ? "; its first is " : "",
                             g->n_inputs ? g->values[g->inputs[0]].name : "");
    }
    return FL_OK;
}

/* FL_UNSUPPORTED, with what to write: the sizes that the model fixes, and likely ones for the others. */
static int shape_is_missing(const struct value *v, struct error *e)
{
    static const int64_t picture[4] = {1, 3, 224, 224};
    int rank = v->rank == RANK_UNKNOWN ? 4 : v->rank, n = 0, m = 0;
    char with_x[160] = "", with_commas[160] = "";
    for (int k = 0; k < rank; k++) {
        int64_t dim = v->rank == RANK_UNKNOWN || v->dim[k].fixed == DIM_FREE ? (rank == 4 ? picture[k]
                                                                                : k       ? 128
                                                                                          : 1)
                                                                             : v->dim[k].fixed;
        n += snprintf(with_x + n, sizeof with_x - (size_t)n, "%s%lld", k ? "x" : "", (long long)dim);
        m += snprintf(with_commas + m, sizeof with_commas - (size_t)m, "%s%lld", k ? ", " : "",
                      (long long)dim);
    }
    return error_set(
        e, FL_UNSUPPORTED,
        "input '%.60s' has sizes that the model leaves open, beyond the batch: give them, such as "
        "--shape %.60s=%s, or in a pipeline file `input: {shape: [%s]}`",
        v->name, v->name, with_x, with_commas);
}

int input_shape(const struct graph *g, int i, const struct graph_options *o, struct assumption a,
                struct tensor *out, struct error *e)
{
    const struct value *v = &g->values[g->inputs[i]];
    const struct tensor *given = given_shape(g, i, o);
    struct tensor t = {.dtype = v->dtype, .rank = v->rank == RANK_UNKNOWN && given ? given->rank : v->rank};
    bool free_first = t.rank > 0 && (v->rank == RANK_UNKNOWN || v->dim[0].fixed == DIM_FREE ||
                                     (a.ones_too && v->dim[0].fixed == 1 && t.rank == 4));
    if (t.rank == RANK_UNKNOWN)
        return shape_is_missing(v, e);
    if (given && given->rank != t.rank)
        return error_set(e, FL_SHAPE, "input '%s' has %d dims, the shape that is given for it %d", v->name,
                         t.rank, given->rank);
    for (int k = 0; k < t.rank; k++) {
        int64_t declared = v->rank == RANK_UNKNOWN ? DIM_FREE : v->dim[k].fixed;
        t.dim[k] = declared != DIM_FREE ? declared : given ? given->dim[k] : k == 0 ? 1 : DIM_FREE;
        if (k == 0 && free_first && a.batch)
            t.dim[0] = a.batch;
        else if (t.dim[k] == DIM_FREE)
            return shape_is_missing(v, e);
        else if (given && given->dim[k] != t.dim[k] && !(k == 0 && free_first))
            return error_set(e, FL_SHAPE, "input '%s': dim %d is %lld, the model wants %lld", v->name, k,
                             (long long)given->dim[k], (long long)t.dim[k]);
    }
    if (tensor_count(&t) < 0 || tensor_count(&t) > VALUE_MAX_ELEMENTS)
        return error_set(e, FL_UNSUPPORTED, "input '%s' is declared with an impossible size", v->name);
    *out = t;
    return FL_OK;
}
