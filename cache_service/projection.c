/* projection.c - from descriptor to embedding */
#include "projection.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"

int projection_new(struct projection **out, int dim, int nodes)
{
    struct projection *p = calloc(1, sizeof *p);
    if (p == NULL)
        return FL_NOMEM;
    atomic_init(&p->references, 1);
    p->dim = dim;
    p->nodes = nodes;
    p->mean = calloc((size_t)dim, sizeof *p->mean);
    p->scale = calloc((size_t)dim, sizeof *p->scale);
    p->bias = calloc((size_t)nodes, sizeof *p->bias);
    p->weights = half_alloc((size_t)nodes * (size_t)dim);
    if (p->mean == NULL || p->scale == NULL || p->bias == NULL || p->weights == NULL) {
        projection_release(p);
        return FL_NOMEM;
    }
    memset(p->weights, 0, (size_t)nodes * (size_t)dim * sizeof *p->weights);
    *out = p;
    return FL_OK;
}

struct projection *projection_retain(struct projection *p)
{
    atomic_fetch_add_explicit(&p->references, 1, memory_order_relaxed);
    return p;
}

void projection_release(struct projection *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) > 1)
        return;
    free(p->mean);
    free(p->scale);
    free(p->bias);
    free(p->weights);
    free(p);
}

size_t projection_bytes(const struct projection *p)
{
    return (size_t)p->dim * 2 * sizeof(float) + (size_t)p->nodes * sizeof(float) +
           (size_t)p->nodes * (size_t)p->dim * sizeof(uint16_t);
}

bool projection_standardise(const struct projection *p, const float *x, float *z)
{
    float poison = 0; /* stays 0 unless some z is infinite or NaN */
    for (int i = 0; i < p->dim; i++) {
        z[i] = (x[i] - p->mean[i]) * p->scale[i];
        poison += x[i] * 0.0f + z[i] * 0.0f;
    }
    if (poison == 0)
        return true;
    memset(z, 0, (size_t)p->dim * sizeof *z);
    return false;
}

static void bias_relu(const struct projection *p, int n, float *h)
{
    for (int i = 0; i < n; i++) {
        float *row = h + (size_t)i * (size_t)p->nodes;
        for (int j = 0; j < p->nodes; j++) {
            float v = row[j] + p->bias[j];
            row[j] = v > 0 ? v : 0;
        }
    }
}

void projection_apply(const struct projection *p, const float *z, int n, float *h)
{
    half_product(p->weights, p->nodes, p->dim, z, n, h);
    bias_relu(p, n, h);
}

void projection_apply_many(const struct projection *p, const float *weights, const float *x, int n, float *z,
                           float *h)
{
    size_t dim = (size_t)p->dim, nodes = (size_t)p->nodes;
    for (int i = 0; i < n; i++) {
        if (!projection_standardise(p, x + (size_t)i * dim, z + (size_t)i * dim))
            z[(size_t)i * dim] = NAN;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, p->nodes, p->dim, 1, z, p->dim, weights, p->dim,
                0, h, p->nodes);
    bias_relu(p, n, h);
    for (int i = 0; i < n; i++) {
        if (isnan(z[(size_t)i * dim]))
            h[(size_t)i * nodes] = NAN;
    }
}
