/* ways_measure.c - each way tried at each size, with the rest of the network as it is */
#include "ways.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "deploy/linear/elimination.h"
#include "deploy/linear/linear.h"
#include "deploy/linear/moments.h"
#include "split.h"
#include "study.h"

#define ENOUGH     0.01 /* a loss: what smaller sizes lose follows from the layer's error */
#define TOO_MUCH   0.5  /* a loss: smaller sizes are of no use */
#define RIDGE      1e-4 /* of the mean square of what goes in */
#define ROWS_LEAST 8192 /* that moments are taken from */
#define ROWS_EACH  3    /* for each feature */

struct measuring {
    struct ways *p;
    struct network *n;
    const struct layer *l;
    int first, last; /* the stretch around the layer */
    int64_t judges;
    struct answers truth;
    const struct graph *fast; /* the original as it runs best, fused */
    struct cut *fast_cuts;
    int n_fast_cuts;
    struct stretch_crew *rest; /* from behind node `rest_after` to the end */
    int rest_after;
    float *crossing, *answers; /* of the judges: behind the stretch, at the end */
    double *w, *bias;          /* the layer's own */
    struct moments in;         /* what goes into it */
    double *matrix;            /* room for [features][features] */
    struct way *way;
    int wanted;       /* sizes of it */
    double per_error; /* of the layer's outputs: loss, once it is known; 0 */
    double *tried, *tried_bias;
    struct error *e;
};

/* The same cut in the fused graph: its node; -1: there is none. */
static int fused_cut(const struct measuring *m, int last)
{
    const char *name = m->n->as_is->values[m->n->as_is->nodes[last].out[0]].name;
    for (int i = 0; i < m->n_fast_cuts; i++)
        if (!strcmp(m->fast->values[m->fast_cuts[i].value].name, name))
            return m->fast_cuts[i].node;
    return -1;
}

/* From behind the stretch to the end, with executors that stay from one try to the next. */
static int run_rest(struct measuring *m)
{
    int cut = fused_cut(m, m->last), rc = FL_OK;
    struct stretch rest = {.graph = cut < 0 ? m->n->as_is : m->fast,
                           .first = cut < 0 ? m->last + 1 : cut + 1,
                           .threads = m->n->threads,
                           .count = m->judges,
                           .in = m->crossing,
                           .out = m->answers};
    rest.last = rest.graph->n_nodes - 1;
    if (!m->rest || m->rest_after != m->last) {
        stretch_close(m->rest);
        rc = stretch_open(&m->rest, &rest, m->e);
        m->rest_after = m->last;
    }
    return rc ? rc : stretch_again(m->rest, &rest, m->e);
}

/* What the answers lose with these weights. */
static int judge_weights(struct measuring *m, const double *w, const double *bias, double *loss)
{
    const struct network *n = m->n;
    bool ends = m->last == n->as_is->n_nodes - 1;
    struct stretch here = network_stretch(n, true, m->first, m->last);
    int rc;
    here.count = m->judges;
    here.out = ends ? m->answers : m->crossing;
    layer_set_weights(n->now, m->l, w, bias);
    rc = stretch_run(&here, m->e);
    if (!rc && !ends)
        rc = run_rest(m);
    layer_set_weights(n->now, m->l, m->w, m->bias);
    if (!rc)
        *loss = answers_loss(&m->truth, m->answers);
    return rc;
}

/* bias + (W - W') mean of x: the outputs' means stay what they are. */
static void keep_means(const struct measuring *m, const double *w, double *bias)
{
    const struct layer *l = m->l;
    for (int64_t o = 0; o < l->out; o++) {
        double lacks = 0;
        for (int64_t k = 0; k < l->features; k++)
            lacks += (m->w[o * l->features + k] - w[o * l->features + k]) * m->in.x[k];
        bias[o] = m->bias[o] + (l->biased ? lacks / (double)m->in.count : 0);
    }
}

/* The next size, with these weights and what they are off by: every other one is judged
 * until one loses enough to tell what others will. FL_AGAIN: the sizes
 * after it need not be. */
static int try_next(struct measuring *m, int keep, double error, const double *w)
{
    struct way *way = m->way;
    int at = way->levels++, rc;
    way->keep[at] = keep;
    way->error[at] = error;
    way->loss[at] = NAN;
    if (m->per_error > 0)
        return m->per_error * error > TOO_MUCH ? FL_AGAIN : FL_OK;
    if (at % 2 && at < m->wanted)
        return FL_OK;
    keep_means(m, w, m->tried_bias);
    if ((rc = judge_weights(m, w, m->tried_bias, &way->loss[at])))
        return rc;
    if (way->loss[at] > ENOUGH)
        m->per_error = way->loss[at] / error;
    return way->loss[at] > TOO_MUCH ? FL_AGAIN : FL_OK;
}

/* ---- channels left out ---- */

struct pruning {
    struct measuring *m;
    const int *wanted;
    bool *gone, *listed;
    int out; /* channels in the order so far */
};

static int reached(void *arg, int left, double error)
{
    struct pruning *u = arg;
    struct way *way = u->m->way;
    for (int c = 0; c < way->all; c++)
        if (u->gone[c] && !u->listed[c]) {
            way->order[u->out++] = c;
            u->listed[c] = true;
        }
    if (way->levels > u->m->wanted)
        return FL_AGAIN;
    return left > u->wanted[way->levels] ? FL_OK : try_next(u->m, left, error, u->m->tried);
}

static int measure_pruning(struct measuring *m, const int *wanted)
{
    struct way *way = m->way;
    struct pruning u = {.m = m, .wanted = wanted};
    size_t all = (size_t)way->all;
    struct elimination x = {.outputs = (int)m->l->out,
                            .channels = way->all,
                            .group = (int)(m->l->features / way->all),
                            .w = m->tried,
                            .inverse = m->matrix,
                            .step = way->all >= 256   ? 4
                                    : way->all >= 128 ? 2
                                                      : 1,
                            .reached = reached,
                            .arg = &u};
    int rc = FL_NOMEM;
    u.gone = x.gone = calloc(all, sizeof *x.gone);
    u.listed = calloc(all, sizeof *u.listed);
    memcpy(m->tried, m->w, (size_t)(m->l->out * m->l->features) * sizeof *m->w);
    moments_matrix(&m->in, m->l->biased, RIDGE, m->matrix);
    if (u.gone && u.listed && !(rc = linear_invert(m->matrix, (int)m->l->features)))
        rc = eliminate(&x);
    free(u.gone);
    free(u.listed);
    return rc;
}

/* ---- two layers for one ---- */

static int measure_splitting(struct measuring *m, const int *wanted)
{
    const struct layer *l = m->l;
    size_t out = (size_t)l->out;
    double *direction = malloc(out * out * sizeof *direction), *value = malloc(out * sizeof *value),
           error = 0;
    int rc = direction && value ? FL_OK : FL_NOMEM, at = (int)out;
    if (!rc && m->in.count)
        moments_matrix(&m->in, l->biased, 0, m->matrix);
    if (!rc)
        rc = split_directions(l, m->w, m->in.count ? m->matrix : NULL, NULL, direction, value);
    for (int i = 1; !rc && i <= m->wanted; i++) {
        while (at > wanted[i])
            error += fmax(value[--at], 0);
        if (!(rc = split_weights(l, m->w, direction, at, NULL, m->tried)))
            rc = try_next(m, at, error, m->tried);
    }
    free(direction);
    free(value);
    return rc;
}

/* ---- fewer numbers in front ---- */

static int measure_narrowing(struct measuring *m, const int *wanted)
{
    const struct layer *l = m->l;
    const struct narrowing narrow = {(int)l->out, (int)(l->features / l->taps), (int)l->taps};
    size_t c = (size_t)narrow.channels;
    double *p = malloc(c * c * sizeof *p), *value = malloc(c * sizeof *value),
           *core = malloc((size_t)(l->out * l->features) * sizeof *core), error = 0;
    int rc = p && value && core ? FL_OK : FL_NOMEM, at = (int)c;
    if (!rc) {
        moments_matrix(&m->in, l->biased, 0, m->matrix);
        rc = narrow_directions(&narrow, m->w, m->matrix, p, value);
    }
    for (int i = 1; !rc && i <= m->wanted; i++) {
        while (at > wanted[i])
            error += fmax(value[--at], 0);
        narrow_core(&narrow, m->w, p, at, core);
        narrow_back(&narrow, core, p, at, m->tried);
        rc = try_next(m, at, error, m->tried);
    }
    free(p);
    free(value);
    free(core);
    return rc;
}

/* Smaller sizes are left out once one loses too much, or where a matrix is no use. */
static int measure_way(struct measuring *m, struct way *way)
{
    int wanted[WAY_LEVELS], rc;
    memcpy(wanted, way->keep, sizeof wanted);
    m->way = way;
    m->wanted = way->levels - 1;
    m->per_error = 0;
    way->levels = 1;
    openblas_set_num_threads(m->n->threads);
    rc = way->kind == WAY_PRUNE   ? measure_pruning(m, wanted)
         : way->kind == WAY_SPLIT ? measure_splitting(m, wanted)
                                  : measure_narrowing(m, wanted);
    ways_fill(way);
    return rc == FL_AGAIN || rc == FL_VALUE ? FL_OK : rc;
}

/* ---- all of it ---- */

static bool has_ways(const struct ways *p, int layer)
{
    for (int i = 0; i < p->n; i++)
        if (p->way[i].layer == layer)
            return true;
    return false;
}

static int look_at_inputs(struct measuring *m)
{
    const struct network *n = m->n;
    const struct layer *l = m->l;
    int64_t rows = ROWS_EACH * l->features;
    int column[LAYERS_MOST_FEATURES];
    struct study s = {.layer = l, .column = column, .n_columns = (int)l->features};
    struct stretch here = network_stretch(n, false, m->first, m->last);
    if (l->features > LAYERS_MOST_FEATURES)
        return moments_new(&m->in, 0, 0);
    for (int i = 0; i < s.n_columns; i++)
        column[i] = i;
    s.rows = rows < ROWS_LEAST ? ROWS_LEAST : rows;
    return study_moments(&m->in, &s, NULL, &here, m->e);
}

static int measure_layer(struct measuring *m, int layer)
{
    const struct layer *l = m->l = &m->n->layers.layer[layer];
    size_t size = (size_t)(l->out * l->features);
    int64_t square = l->features <= LAYERS_MOST_FEATURES ? l->features * l->features : 0;
    int rc;
    network_around(m->n, layer, &m->first, &m->last);
    if ((rc = network_go(m->n, m->first, false, m->e)) || (rc = look_at_inputs(m)))
        return rc;
    m->w = malloc(size * sizeof *m->w);
    m->tried = malloc(size * sizeof *m->tried);
    m->bias = malloc((size_t)l->out * sizeof *m->bias);
    m->tried_bias = malloc((size_t)l->out * sizeof *m->tried_bias);
    m->matrix = malloc((size_t)(square + 1) * sizeof *m->matrix);
    m->crossing = malloc((size_t)(m->judges * network_numbers(m->n, m->last) + 1) * sizeof *m->crossing);
    if (!m->w || !m->tried || !m->bias || !m->tried_bias || !m->matrix || !m->crossing)
        return FL_NOMEM;
    layer_weights(m->n->as_is, l, m->w, m->bias);
    for (int i = 0; !rc && i < m->p->n; i++)
        if (m->p->way[i].layer == layer)
            rc = measure_way(m, &m->p->way[i]);
    return rc;
}

static void forget(struct measuring *m)
{
    moments_release(&m->in);
    free(m->w);
    free(m->tried);
    free(m->bias);
    free(m->tried_bias);
    free(m->matrix);
    free(m->crossing);
    m->w = m->tried = m->bias = m->tried_bias = m->matrix = NULL;
    m->crossing = NULL;
}

int ways_measure(struct ways *p, struct network *n, const struct graph *fused, int64_t judges,
                 struct progress *progress, struct error *e)
{
    struct measuring m = {
        .p = p, .n = n, .fast = fused, .judges = judges < n->count ? judges : n->count, .e = e};
    struct stretch all = network_stretch(n, false, 0, n->as_is->n_nodes - 1);
    int64_t numbers = network_numbers(n, all.last);
    int rc;
    all.count = m.judges;
    m.answers = all.out = malloc((size_t)(m.judges * numbers + 1) * sizeof *m.answers);
    rc = m.answers ? stretch_run(&all, e) : FL_NOMEM;
    if (!rc)
        rc = graph_cuts(fused, &m.fast_cuts, &m.n_fast_cuts, e);
    if (!rc)
        rc = answers_new(&m.truth, n->as_is, m.answers, m.judges);
    for (int i = 0; !rc && i < n->layers.n; i++) {
        progress_update(progress, "what each cut loses", i, n->layers.n, NAN);
        if (!has_ways(p, i))
            continue;
        rc = measure_layer(&m, i);
        forget(&m);
    }
    progress_update(progress, "what each cut loses", n->layers.n, n->layers.n, NAN);
    stretch_close(m.rest);
    free(m.fast_cuts);
    answers_release(&m.truth);
    free(m.answers);
    return rc == FL_NOMEM ? error_set(e, FL_NOMEM, "no memory for what goes into a layer") : rc;
}
