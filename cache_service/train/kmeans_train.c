/* kmeans_train.c - find centroids of embedded points
 *
 * All products are sgemm over blocks of rows, so memory is the centroids, one block and a few numbers per
 * row.
 */
#include "kmeans_train.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/half.h"
#include "numbers/shuffle.h"

#define BLOCK             512
#define SAMPLES_PER_START 8 /* points of the sample that k-means++ draws from, per centroid */

struct clusterer {
    const struct kmeans_training *t;
    int nodes;
    int64_t k, usable;
    int32_t *row;            /* [usable]: rows of t->rows */
    int32_t *nearest;        /* [usable]: its centroid */
    float *d2;               /* [usable]: squared distance to it */
    float *centroid;         /* [k][nodes] */
    float *norm2;            /* [k] */
    double *sum;             /* [k][nodes] */
    int64_t *size;           /* [k] */
    float *block, *products; /* [BLOCK][nodes], [BLOCK][k] */
};

static const float *row_of(const struct clusterer *c, int64_t i)
{
    return c->t->rows->data + (int64_t)c->row[i] * c->nodes;
}

static float norm2_of(const float *x, int n)
{
    float sum = 0;
    for (int i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

static void find_usable(struct clusterer *c)
{
    for (int64_t r = 0; r < c->t->rows->rows; r++) {
        int32_t label = c->t->labels[r];
        if (label >= 0 && label < c->t->classes &&
            isfinite(norm2_of(c->t->rows->data + r * c->nodes, c->nodes)))
            c->row[c->usable++] = (int32_t)r;
    }
}

/* --- k-means++ --- */

static void copy_centroid(struct clusterer *c, int64_t j, const float *from)
{
    memcpy(c->centroid + j * c->nodes, from, (size_t)c->nodes * sizeof *from);
    c->norm2[j] = norm2_of(from, c->nodes);
}

/* best[i] = min(best[i], |sample_i - centroid j|^2) */
static void approach(const struct clusterer *c, const float *sample, const float *sample_norm2, int64_t n,
                     int64_t j, float *dot, float *best)
{
    cblas_sgemv(CblasRowMajor, CblasNoTrans, (int)n, c->nodes, 1, sample, c->nodes,
                c->centroid + j * c->nodes, 1, 0, dot, 1);
    for (int64_t i = 0; i < n; i++) {
        float d = sample_norm2[i] - 2 * dot[i] + c->norm2[j];
        best[i] = d < best[i] ? (d > 0 ? d : 0) : best[i];
    }
}

/* An index with probability proportional to weight[i]; uniform when all are 0. */
static int64_t draw(struct shuffle *s, const float *weight, int64_t n)
{
    double total = 0, at;
    for (int64_t i = 0; i < n; i++)
        total += weight[i];
    if (!(total > 0))
        return shuffle_below(s, (uint32_t)n);
    at = shuffle_uniform(s) * total;
    for (int64_t i = 0; i < n - 1; i++) {
        at -= weight[i];
        if (at < 0)
            return i;
    }
    return n - 1;
}

static int report(const struct clusterer *c, int64_t done, double number, struct error *e)
{
    const struct kmeans_training *t = c->t;
    if (t->progress != NULL &&
        t->progress(t->progress_arg, t->phase, done, (KMEANS_ITERATIONS + 2) * c->usable, number) != 0)
        return error_set(e, FL_CANCELLED,
                         "stopped while looking for centroids; the next build starts them again");
    return FL_OK;
}

static int start(struct clusterer *c, struct error *e)
{
    struct shuffle s;
    int64_t n = c->usable < c->k * SAMPLES_PER_START ? c->usable : c->k * SAMPLES_PER_START;
    float *sample = malloc((size_t)n * (size_t)c->nodes * sizeof *sample);
    float *norm2 = malloc((size_t)n * sizeof *norm2), *dot = malloc((size_t)n * sizeof *dot);
    float *best = malloc((size_t)n * sizeof *best);
    int32_t *pick = malloc((size_t)c->usable * sizeof *pick);
    int rc = FL_OK;
    if (sample == NULL || norm2 == NULL || dot == NULL || best == NULL || pick == NULL) {
        rc = error_set(e, FL_NOMEM, "no memory for a sample of %lld points", (long long)n);
        goto done;
    }
    shuffle_seed(&s, c->t->seed, 1000);
    for (int64_t i = 0; i < c->usable; i++)
        pick[i] = (int32_t)i;
    shuffle_order(&s, pick, c->usable);
    for (int64_t i = 0; i < n; i++) {
        memcpy(sample + i * c->nodes, row_of(c, pick[i]), (size_t)c->nodes * sizeof *sample);
        norm2[i] = norm2_of(sample + i * c->nodes, c->nodes);
        best[i] = INFINITY;
    }
    copy_centroid(c, 0, sample);
    for (int64_t j = 1; j < c->k && rc == FL_OK; j++) {
        approach(c, sample, norm2, n, j - 1, dot, best);
        copy_centroid(c, j, sample + draw(&s, best, n) * c->nodes);
        rc = report(c, c->usable * j / c->k, 0, e);
    }
done:
    free(sample);
    free(norm2);
    free(dot);
    free(best);
    free(pick);
    return rc;
}

/* --- Lloyd --- */

/* Nearest centroid of rows from..from+n; returns how many changed theirs. */
static int64_t assign_block(struct clusterer *c, int64_t from, int n)
{
    int64_t changed = 0;
    for (int i = 0; i < n; i++)
        memcpy(c->block + (size_t)i * (size_t)c->nodes, row_of(c, from + i),
               (size_t)c->nodes * sizeof *c->block);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, (int)c->k, c->nodes, 1, c->block, c->nodes,
                c->centroid, c->nodes, 0, c->products, (int)c->k);
    for (int i = 0; i < n; i++) {
        const float *dot = c->products + i * c->k;
        float best = INFINITY, d;
        int32_t at = 0;
        for (int64_t j = 0; j < c->k; j++) {
            d = c->norm2[j] - 2 * dot[j];
            if (d < best) {
                best = d;
                at = (int32_t)j;
            }
        }
        d = best + norm2_of(c->block + (size_t)i * (size_t)c->nodes, c->nodes);
        changed += c->nearest[from + i] != at;
        c->nearest[from + i] = at;
        c->d2[from + i] = d > 0 ? d : 0;
    }
    return changed;
}

static int assign(struct clusterer *c, int pass, int64_t *changed, struct error *e)
{
    double total = 0;
    int rc = FL_OK;
    *changed = 0;
    for (int64_t from = 0; from < c->usable && rc == FL_OK; from += BLOCK) {
        int n = c->usable - from < BLOCK ? (int)(c->usable - from) : BLOCK;
        *changed += assign_block(c, from, n);
        for (int i = 0; i < n; i++)
            total += c->d2[from + i];
        rc = report(c, (pass + 1) * c->usable + from + n, total / (double)(from + n), e);
    }
    return rc;
}

/* A centroid without points takes the point that is farthest from its own, unless all distances are 0. */
static void reseed_empty(struct clusterer *c)
{
    for (int64_t j = 0; j < c->k; j++) {
        int64_t far = 0;
        if (c->size[j] > 0)
            continue;
        for (int64_t i = 1; i < c->usable; i++)
            far = c->d2[i] > c->d2[far] ? i : far;
        copy_centroid(c, j, row_of(c, far));
        c->d2[far] = 0;
    }
}

static void move_centroids(struct clusterer *c)
{
    memset(c->sum, 0, (size_t)c->k * (size_t)c->nodes * sizeof *c->sum);
    memset(c->size, 0, (size_t)c->k * sizeof *c->size);
    for (int64_t i = 0; i < c->usable; i++) {
        const float *x = row_of(c, i);
        double *sum = c->sum + (int64_t)c->nearest[i] * c->nodes;
        for (int d = 0; d < c->nodes; d++)
            sum[d] += x[d];
        c->size[c->nearest[i]]++;
    }
    for (int64_t j = 0; j < c->k; j++) {
        float *to = c->centroid + j * c->nodes;
        if (c->size[j] == 0)
            continue;
        for (int d = 0; d < c->nodes; d++)
            to[d] = (float)(c->sum[j * c->nodes + d] / (double)c->size[j]);
        c->norm2[j] = norm2_of(to, c->nodes);
    }
    reseed_empty(c);
}

/* --- the result --- */

/* Centroids as they are stored, then counts by those: what a look-up will see. Centroids that nothing is
 * nearest to are left out. */
static int conclude(struct clusterer *c, struct kmeans *out, struct error *e)
{
    int64_t changed;
    int rc = points_reserve(&out->points, c->nodes, c->k);
    out->classes = c->t->classes;
    out->count = calloc((size_t)c->k * (size_t)out->classes, sizeof *out->count);
    if (rc != FL_OK || out->count == NULL)
        return error_set(e, FL_NOMEM, "no memory for %lld centroids", (long long)c->k);
    for (int64_t j = 0; j < c->k; j++) {
        points_set(&out->points, j, c->centroid + j * c->nodes);
        half_decode(out->points.data + j * c->nodes, c->centroid + j * c->nodes, (size_t)c->nodes);
        c->norm2[j] = out->points.norm2[j];
    }
    rc = assign(c, KMEANS_ITERATIONS, &changed, e);
    if (rc != FL_OK)
        return rc;
    memset(c->size, 0, (size_t)c->k * sizeof *c->size);
    for (int64_t i = 0; i < c->usable; i++) {
        out->count[(int64_t)c->nearest[i] * out->classes + c->t->labels[c->row[i]]]++;
        c->size[c->nearest[i]]++;
    }
    out->points.n = 0;
    for (int64_t j = 0; j < c->k; j++) {
        if (c->size[j] == 0)
            continue;
        points_move(&out->points, j, out->points.n);
        memmove(out->count + out->points.n * out->classes, out->count + j * out->classes,
                (size_t)out->classes * sizeof *out->count);
        out->points.n++;
    }
    return FL_OK;
}

static int clusterer_open(struct clusterer *c, const struct kmeans_training *t, struct error *e)
{
    size_t rows = (size_t)t->rows->rows, nodes, k;
    c->t = t;
    c->nodes = t->rows->dim;
    c->row = malloc((rows + 1) * sizeof *c->row);
    if (c->row == NULL)
        return error_set(e, FL_NOMEM, "no memory for %zu points", rows);
    find_usable(c);
    if (c->usable == 0)
        return error_set(e, FL_VALUE, "none of the %zu points has a label and finite features", rows);
    c->k = t->centroids < c->usable ? t->centroids : c->usable;
    c->k = c->k > 0 ? c->k : 1;
    k = (size_t)c->k;
    nodes = (size_t)c->nodes;
    c->nearest = calloc(rows, sizeof *c->nearest);
    c->d2 = malloc(rows * sizeof *c->d2);
    c->centroid = malloc(k * nodes * sizeof *c->centroid);
    c->norm2 = malloc(k * sizeof *c->norm2);
    c->sum = malloc(k * nodes * sizeof *c->sum);
    c->size = malloc(k * sizeof *c->size);
    c->block = malloc(BLOCK * nodes * sizeof *c->block);
    c->products = malloc(BLOCK * k * sizeof *c->products);
    if (!c->nearest || !c->d2 || !c->centroid || !c->norm2 || !c->sum || !c->size || !c->block ||
        !c->products)
        return error_set(e, FL_NOMEM, "no memory for %zu centroids of %zu numbers", k, nodes);
    return FL_OK;
}

static void clusterer_close(struct clusterer *c)
{
    free(c->row);
    free(c->nearest);
    free(c->d2);
    free(c->centroid);
    free(c->norm2);
    free(c->sum);
    free(c->size);
    free(c->block);
    free(c->products);
}

int kmeans_train(struct kmeans *out, const struct kmeans_training *t, struct error *e)
{
    struct clusterer c = {0};
    int64_t changed = 1;
    int rc = clusterer_open(&c, t, e);
    memset(out, 0, sizeof *out);
    if (rc == FL_OK)
        rc = start(&c, e);
    for (int pass = 0; pass < KMEANS_ITERATIONS && rc == FL_OK && changed > 0; pass++) {
        rc = assign(&c, pass, &changed, e);
        if (rc == FL_OK && changed > 0)
            move_centroids(&c);
    }
    if (rc == FL_OK)
        rc = conclude(&c, out, e);
    clusterer_close(&c);
    if (rc != FL_OK) {
        points_release(&out->points);
        free(out->count);
        out->count = NULL;
    }
    return rc;
}
