/* calibration.c - how far a network's values reach on real data, and the integers that they are taken as */
#include "calibration.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/tool/interrupt.h"
#include "stages/graph/graph_build.h"

#define BINS  2048
#define BATCH 16
#define TRIES 80 /* of how far a value may reach, for the least squared error */

/* One value: its range, then how often each size occurs. */
struct reached {
    int value, node; /* of the graph; node that makes it, -1: the model's input */
    float low, high;
    int64_t bin[BINS]; /* of |x|, from 0 to the largest */
};

struct calibration {
    const struct graph *graph;
    const struct dataset *data;
    int64_t count;
    int n;
    struct reached *value;
    struct progress *progress;
};

const char *reach_name(enum reach r)
{
    static const char *const names[] = {
#define X(name, text) text,
        REACHES(X)
#undef X
    };
    return names[r];
}

static float farthest(const struct reached *v)
{
    return fmaxf(-v->low, v->high);
}

static void add_value(struct calibration *c, int value)
{
    const struct value *v = value == GRAPH_NONE ? NULL : &c->graph->values[value];
    if (!v || v->constant || v->dtype != TENSOR_F32)
        return;
    for (int i = 0; i < c->n; i++)
        if (c->value[i].value == value)
            return;
    c->value[c->n++] = (struct reached){.value = value, .node = v->producer};
}

/* Products whose weights are constant, but for those that make the model's scores. */
static bool is_product(const struct graph *g, const struct node *n)
{
    const struct tensor *w = node_is(n, "Gemm") || node_is(n, "MatMul") ? node_constant(g, n, 1) : NULL;
    return w && w->rank == 2 && !graph_is_output(g, n->out[0]);
}

/* What convolutions take, add and make, and what products take. */
static void list_values(struct calibration *c)
{
    for (int i = 0; i < c->graph->n_nodes; i++) {
        const struct node *n = &c->graph->nodes[i];
        bool conv = node_is(n, "Conv");
        if (!conv && !is_product(c->graph, n))
            continue;
        add_value(c, n->in[0]);
        if (conv && n->post.residual != GRAPH_NONE)
            add_value(c, n->in[n->post.residual]);
        if (conv)
            add_value(c, n->out[0]);
    }
}

static void widen_range(struct reached *v, const float *x, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        v->low = fminf(v->low, x[i]);
        v->high = fmaxf(v->high, x[i]);
    }
}

static void count_sizes(struct reached *v, const float *x, int64_t n)
{
    float by = farthest(v) > 0 ? (float)BINS / farthest(v) : 0;
    for (int64_t i = 0; i < n; i++) {
        float at = fabsf(x[i]) * by;
        v->bin[at < BINS - 1 ? (int)at : BINS - 1]++;
    }
}

typedef void (*look)(struct reached *v, const float *x, int64_t n);

static void look_at(struct calibration *c, int node, const struct tensor *t, look what)
{
    for (int i = 0; i < c->n; i++)
        if (c->value[i].node == node)
            what(&c->value[i], t->data, tensor_count(t));
}

static int look_at_batch(struct calibration *c, struct exec *x, int batch, look what, struct error *e)
{
    struct tensor t = exec_input_shape(x, 0, batch);
    t.data = exec_input_buffer(x, 0);
    look_at(c, GRAPH_NONE, &t, what);
    for (int i = 0; i < c->graph->n_nodes; i++) {
        int rc = exec_run(x, i, i, batch, NULL, NULL, e);
        if (rc)
            return rc;
        t = exec_value(x, i, batch);
        if (t.dtype == TENSOR_F32 && t.data)
            look_at(c, i, &t, what);
    }
    return FL_OK;
}

static int look_at_all(struct calibration *c, struct exec *x, int room, const char *phase, look what,
                       struct error *e)
{
    for (int64_t at = 0; at < c->count; at += room) {
        int batch = (int)(c->count - at < room ? c->count - at : room), rc;
        progress_update(c->progress, phase, at, c->count, NAN);
        if (interrupt_seen())
            return error_set(e, FL_CANCELLED, "stopped");
        dataset_images(c->data, at, batch, exec_input_buffer(x, 0));
        if ((rc = look_at_batch(c, x, batch, what, e)))
            return rc;
    }
    progress_update(c->progress, phase, c->count, c->count, NAN);
    return FL_OK;
}

static int measure(struct calibration *c, struct error *e)
{
    struct exec_options o = {.max_batch = c->graph->free_batch ? BATCH : 1, .last = -1, .apart = true};
    struct exec *x;
    int rc = exec_new(&x, c->graph, &o, e);
    if (!rc)
        rc = look_at_all(c, x, o.max_batch, "how far values reach", widen_range, e);
    if (!rc)
        rc = look_at_all(c, x, o.max_batch, "how values are spread", count_sizes, e);
    exec_free(x);
    return rc;
}

int calibration_new(struct calibration **out, const struct graph *g, const struct dataset *data,
                    int64_t count, struct progress *progress, struct error *e)
{
    struct calibration *c = *out = calloc(1, sizeof *c);
    int most = 0;
    if (!c)
        return error_set(e, FL_NOMEM, "no memory");
    for (int i = 0; i < g->n_nodes; i++)
        most += node_is(&g->nodes[i], "Conv") ? 3 : is_product(g, &g->nodes[i]);
    *c = (struct calibration){.graph = g, .data = data, .count = count, .progress = progress};
    c->value = malloc(((size_t)most + 1) * sizeof *c->value);
    if (!c->value)
        return error_set(e, FL_NOMEM, "no memory");
    list_values(c);
    return measure(c, e);
}

void calibration_free(struct calibration *c)
{
    if (c)
        free(c->value);
    free(c);
}

/* The size that all but that share of the numbers stay within. */
static float within(const struct reached *v, double beyond)
{
    int64_t total = 0, seen = 0;
    for (int i = 0; i < BINS; i++)
        total += v->bin[i];
    for (int i = 0; i < BINS; i++)
        if ((double)(total - (seen += v->bin[i])) <= beyond * (double)total)
            return farthest(v) * (float)(i + 1) / BINS;
    return farthest(v);
}

/* Of integers up to `most` that reach up to `limit`, against the numbers themselves. */
static double squared_error(const struct reached *v, double limit, int most)
{
    double step = limit / most, sum = 0;
    for (int i = 0; i < BINS; i++) {
        double x = (i + 0.5) * (double)farthest(v) / BINS, error = x - limit;
        /* Zeros stay what they are. */
        if (i > 0 && v->bin[i])
            sum += (double)v->bin[i] * (x > limit + step / 2 ? error * error : step * step / 12);
    }
    return sum;
}

static float least_squares(const struct reached *v, int most)
{
    double best = (double)farthest(v), least = squared_error(v, best, most);
    for (int i = 1; i < TRIES; i++) {
        double limit = (double)farthest(v) * i / TRIES, error = squared_error(v, limit, most);
        if (error < least) {
            least = error;
            best = limit;
        }
    }
    return (float)best;
}

int calibration_steps(struct quantization *out, const struct calibration *c, enum reach reach, bool input)
{
    static const double beyond[] = {[REACH_P9999] = 1e-4, [REACH_P999] = 1e-3};
    *out = (struct quantization){0};
    memcpy(out->model, c->graph->digest, sizeof out->model);
    for (int i = 0; i < c->n; i++) {
        const struct reached *v = &c->value[i];
        int most = v->low < 0 ? 127 : 255, rc;
        float limit = reach == REACH_MAX       ? farthest(v)
                      : reach == REACH_SQUARES ? least_squares(v, most)
                                               : within(v, beyond[reach]);
        if (v->node == GRAPH_NONE && !input)
            continue;
        if ((rc = quantization_add(out, c->graph->values[v->value].name, limit > 0 ? limit / (float)most : 1,
                                   v->low < 0)))
            return rc;
    }
    return FL_OK;
}
