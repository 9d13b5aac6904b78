/* fit.c - least squares through a network */
#include "fit.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/linear/moments.h"
#include "split.h"
#include "study.h"

#define RIDGE      1e-3
#define ROWS_LEAST 16384
#define ROWS_EACH  8 /* for each feature */

struct fitting {
    struct fit *f;
    struct network *n;
    const struct ways *p;
    const struct layer *l;
    int layer, first, last;
    bool *keep_in, *keep_out; /* of the sites that the layer reads and makes */
    int *column, n_columns;   /* features that stay */
    double *w, *bias, *more, *more_bias, *matrix, *wide;
    struct moments in;
    struct error *e;
};

static void list_columns(struct fitting *t)
{
    const struct layer *l = t->l;
    int64_t group = l->reads < 0 ? 1 : t->n->layers.site[l->reads].group;
    t->n_columns = 0;
    if (l->reads >= 0)
        ways_kept(t->p, t->n, l->reads, t->keep_in);
    for (int64_t k = 0; k < l->features; k++)
        if (l->reads < 0 || t->keep_in[k / group]) {
            t->column[t->n_columns++] = (int)k;
            continue;
        } else {
            for (int64_t o = 0; o < l->out; o++)
                t->w[o * l->features + k] = 0;
        }
    for (int64_t o = 0; o < l->out; o++)
        t->keep_out[o] = true;
    if (l->makes >= 0)
        ways_kept(t->p, t->n, l->makes, t->keep_out);
}

static int look(struct fitting *t)
{
    const struct network *n = t->n;
    int64_t rows = ROWS_EACH * (int64_t)t->n_columns;
    struct study s = {.layer = t->l, .column = t->column, .n_columns = t->n_columns};
    struct stretch was = network_stretch(n, false, t->first, t->last),
                   is = network_stretch(n, true, t->first, t->last);
    s.rows = rows < ROWS_LEAST ? ROWS_LEAST : rows;
    return study_moments(&t->in, &s, &was, &is, t->e);
}

/* Adds what is lacking to the columns that stay. */
static int mend(struct fitting *t)
{
    const struct layer *l = t->l;
    int rc;
    openblas_set_num_threads(t->n->threads);
    if ((rc = moments_fit(&t->in, RIDGE, t->more, l->biased ? t->more_bias : NULL)))
        return rc == FL_VALUE ? FL_OK : rc;
    for (int64_t o = 0; o < l->out; o++) {
        if (l->biased)
            t->bias[o] += t->more_bias[o];
        for (int k = 0; k < t->n_columns; k++)
            t->w[o * l->features + t->column[k]] += t->more[o * t->n_columns + k];
    }
    return FL_OK;
}

/* The moments of the columns that stay, among all; zeros elsewhere. */
static void widen_matrix(struct fitting *t)
{
    size_t n = (size_t)t->l->features, m = (size_t)t->n_columns;
    moments_matrix(&t->in, t->l->biased, 0, t->matrix);
    memset(t->wide, 0, n * n * sizeof *t->wide);
    for (size_t i = 0; i < m; i++)
        for (size_t k = 0; k < m; k++)
            t->wide[(size_t)t->column[i] * n + (size_t)t->column[k]] = t->matrix[i * m + k];
}

/* bias + (W - W') mean of x: the outputs' means stay, with W' in place of W. */
static void take_over(struct fitting *t, const double *now)
{
    const struct layer *l = t->l;
    for (int64_t o = 0; l->biased && t->in.count && o < l->out; o++)
        for (int k = 0; k < t->n_columns; k++)
            t->bias[o] += (t->w[o * l->features + t->column[k]] - now[o * l->features + t->column[k]]) *
                          t->in.x[k] / (double)t->in.count;
    memcpy(t->w, now, (size_t)(l->out * l->features) * sizeof *now);
}

/* W as it is for inputs of fewer numbers, the best core for them. */
static int narrow(struct fitting *t, int rank)
{
    const struct layer *l = t->l;
    const struct narrowing n = {(int)l->out, t->n_columns / (int)l->taps, (int)l->taps};
    int all = (int)(l->features / l->taps), made = rank < n.channels ? rank : n.channels, rc = FL_NOMEM;
    size_t square = (size_t)n.channels * (size_t)n.channels, size = (size_t)(l->out * l->features);
    double *p = malloc((square + 1) * sizeof *p), *value = malloc((size_t)n.channels * sizeof *value),
           *core = malloc(size * sizeof *core), *now = calloc(size, sizeof *now),
           *thin = t->f->thin[t->layer] = calloc((size_t)rank * (size_t)all, sizeof *thin);
    if (p && value && core && now && thin) {
        /* Columns that stay, without gaps. */
        for (int64_t o = 0; o < l->out; o++)
            for (int k = 0; k < t->n_columns; k++)
                t->more[o * t->n_columns + k] = t->w[o * l->features + t->column[k]];
        moments_matrix(&t->in, l->biased, 0, t->matrix);
        openblas_set_num_threads(t->n->threads);
        if (!(rc = narrow_directions(&n, t->more, t->matrix, p, value)))
            rc = narrow_fit(&n, t->more, t->matrix, p, made, core);
    }
    if (!rc) {
        narrow_back(&n, core, p, made, t->more);
        for (int64_t o = 0; o < l->out; o++)
            for (int k = 0; k < t->n_columns; k++)
                now[o * l->features + t->column[k]] = t->more[o * t->n_columns + k];
        for (int r = 0; r < made; r++)
            for (int c = 0; c < n.channels; c++)
                thin[r * all + t->column[c * l->taps] / l->taps] = p[r * n.channels + c];
        take_over(t, now);
    }
    free(p);
    free(value);
    free(core);
    free(now);
    return rc;
}

static int split(struct fitting *t, int rank)
{
    const struct layer *l = t->l;
    size_t size = (size_t)(l->out * l->features);
    double *direction = malloc((size_t)(l->out * l->out) * sizeof *direction),
           *now = malloc(size * sizeof *now);
    int rc = direction && now ? FL_OK : FL_NOMEM;
    if (!rc && t->in.count)
        widen_matrix(t);
    openblas_set_num_threads(t->n->threads);
    if (!rc &&
        !(rc = split_directions(l, t->w, t->in.count ? t->wide : NULL, t->keep_out, direction, t->more_bias)))
        rc = split_weights(l, t->w, direction, rank, NULL, now);
    if (!rc)
        take_over(t, now);
    free(now);
    t->f->direction[t->layer] = direction;
    return rc;
}

static int make_room(struct fitting *t)
{
    const struct layer *l = t->l;
    size_t size = (size_t)(l->out * l->features), square = 1;
    if (l->features <= LAYERS_MOST_FEATURES)
        square = (size_t)(l->features * l->features);
    t->keep_in = malloc((size_t)l->features);
    t->keep_out = malloc((size_t)l->out);
    t->column = malloc((size_t)l->features * sizeof *t->column);
    t->w = malloc(size * sizeof *t->w);
    t->more = malloc(size * sizeof *t->more);
    t->bias = malloc((size_t)l->out * sizeof *t->bias);
    t->more_bias = malloc((size_t)l->out * sizeof *t->more_bias);
    t->matrix = malloc(square * sizeof *t->matrix);
    t->wide = malloc(square * sizeof *t->wide);
    return t->keep_in && t->keep_out && t->column && t->w && t->more && t->bias && t->more_bias &&
                   t->matrix && t->wide
               ? FL_OK
               : FL_NOMEM;
}

static void forget(struct fitting *t)
{
    moments_release(&t->in);
    free(t->keep_in);
    free(t->keep_out);
    free(t->column);
    free(t->w);
    free(t->more);
    free(t->bias);
    free(t->more_bias);
    free(t->matrix);
    free(t->wide);
}

static int fit_layer(struct fitting *t)
{
    const struct layer *l = t->l;
    const struct way *w = ways_at(t->p, WAY_SPLIT, t->layer), *thin = ways_at(t->p, WAY_NARROW, t->layer);
    int rc;
    network_around(t->n, t->layer, &t->first, &t->last);
    if ((rc = make_room(t)) || (rc = network_go(t->n, t->first, true, t->e)))
        return rc;
    layer_weights(t->n->now, l, t->w, t->bias);
    list_columns(t);
    if (l->features <= LAYERS_MOST_FEATURES) {
        layer_set_weights(t->n->now, l, t->w, t->bias);
        if ((rc = look(t)) || (rc = mend(t)))
            return rc;
    }
    if (thin && (rc = narrow(t, thin->keep[thin->level])))
        return rc;
    if (w && (rc = split(t, w->keep[w->level])))
        return rc;
    layer_set_weights(t->n->now, l, t->w, t->bias);
    return FL_OK;
}

int fit_network(struct fit *f, struct network *n, const struct ways *p, struct progress *progress,
                struct error *e)
{
    bool changed = false;
    int rc = FL_OK;
    *f = (struct fit){.n = n->layers.n,
                      .direction = calloc((size_t)n->layers.n + 1, sizeof *f->direction),
                      .thin = calloc((size_t)n->layers.n + 1, sizeof *f->thin)};
    if (!f->direction || !f->thin)
        rc = FL_NOMEM;
    for (int i = 0; !rc && i < f->n; i++) {
        struct fitting t = {.f = f, .n = n, .p = p, .l = &n->layers.layer[i], .layer = i, .e = e};
        progress_update(progress, "fit layer by layer", i, f->n, NAN);
        changed =
            changed || ways_at(p, WAY_PRUNE, i) || ways_at(p, WAY_SPLIT, i) || ways_at(p, WAY_NARROW, i);
        if (!changed)
            continue;
        rc = fit_layer(&t);
        forget(&t);
    }
    progress_update(progress, "fit layer by layer", f->n, f->n, NAN);
    return rc == FL_NOMEM ? error_set(e, FL_NOMEM, "no memory for what goes into a layer") : rc;
}

void fit_release(struct fit *f)
{
    for (int i = 0; f->direction && i < f->n; i++)
        free(f->direction[i]);
    for (int i = 0; f->thin && i < f->n; i++)
        free(f->thin[i]);
    free(f->thin);
    free(f->direction);
    *f = (struct fit){.n = 0};
}
