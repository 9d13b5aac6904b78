/* projection.c - from descriptor to embedding */
#include "projection.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "half.h"

int projection_features(const struct projection *p)
{
    return p->map.side > 0 ? p->map.channels : p->dim;
}

size_t projection_biases(const struct projection *p)
{
    return (size_t)(p->map.side > 0 ? 2 * p->map.width : p->nodes);
}

size_t projection_weights(const struct projection *p)
{
    size_t width = (size_t)p->map.width;
    if (p->map.side > 0)
        return MAP_TAPS * ((size_t)p->map.channels + width) * width;
    return (size_t)p->nodes * (size_t)p->dim;
}

int projection_empty(struct projection **out, int dim, int nodes, const struct map *map)
{
    struct projection *p = calloc(1, sizeof *p);
    if (p == NULL)
        return FL_NOMEM;
    atomic_init(&p->references, 1);
    p->dim = dim;
    p->nodes = nodes;
    p->map = *map;
    *out = p;
    return FL_OK;
}

static int make(struct projection **out, int dim, int nodes, const struct map *map)
{
    struct projection *p;
    if (projection_empty(&p, dim, nodes, map))
        return FL_NOMEM;
    p->mean = calloc((size_t)projection_features(p), sizeof *p->mean);
    p->scale = calloc((size_t)projection_features(p), sizeof *p->scale);
    p->bias = calloc(projection_biases(p), sizeof *p->bias);
    p->weights = half_alloc(projection_weights(p));
    if (p->mean == NULL || p->scale == NULL || p->bias == NULL || p->weights == NULL) {
        projection_release(p);
        return FL_NOMEM;
    }
    memset(p->weights, 0, projection_weights(p) * sizeof *p->weights);
    *out = p;
    return FL_OK;
}

int projection_new(struct projection **out, int dim, int nodes)
{
    static const struct map none = {0, 0, 0};
    return make(out, dim, nodes, &none);
}

int projection_new_map(struct projection **out, const struct map *map)
{
    return make(out, map->side * map->side * map->channels, map_nodes(map), map);
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
    if (!p->borrowed) {
        free(p->mean);
        free(p->scale);
        free(p->bias);
    }
    if (!p->weights_borrowed)
        free(p->weights);
    free(p);
}

size_t projection_bytes(const struct projection *p)
{
    return (size_t)projection_features(p) * 2 * sizeof(float) + projection_biases(p) * sizeof(float) +
           projection_weights(p) * sizeof(uint16_t);
}

bool projection_standardise(const struct projection *p, const float *x, float *z)
{
    int features = projection_features(p);
    float poison = 0; /* stays 0 unless some z is infinite or NaN */
    for (int at = 0; at < p->dim; at += features) {
        for (int i = 0; i < features; i++) {
            z[at + i] = (x[at + i] - p->mean[i]) * p->scale[i];
            poison += x[at + i] * 0.0f + z[at + i] * 0.0f;
        }
    }
    if (poison == 0)
        return true;
    memset(z, 0, (size_t)p->dim * sizeof *z);
    return false;
}

static void bias_relu(const float *bias, int nodes, int n, float *h)
{
    for (int i = 0; i < n; i++) {
        float *row = h + (size_t)i * (size_t)nodes;
        for (int j = 0; j < nodes; j++) {
            float v = row[j] + bias[j];
            row[j] = v > 0 ? v : 0;
        }
    }
}

/* Patches of the first convolution, its map, patches of the second: the second's never need the room of the
 * first's at the same time. */
static size_t patch_floats(const struct map *m)
{
    size_t first = (size_t)(map_middle(m) * map_middle(m)) * (size_t)m->channels;
    size_t second = (size_t)(map_last(m) * map_last(m)) * (size_t)m->width;
    return MAP_TAPS * (first > second ? first : second);
}

size_t projection_room(const struct projection *p)
{
    size_t middle = (size_t)(map_middle(&p->map) * map_middle(&p->map)) * (size_t)p->map.width;
    return p->map.side > 0 ? patch_floats(&p->map) + middle : 0;
}

static void apply_map(const struct projection *p, const float *z, float *h, float *patches)
{
    const struct map *m = &p->map;
    float *middle = patches + patch_floats(m);
    int first = MAP_TAPS * m->channels, second = MAP_TAPS * m->width;
    int places = map_middle(m) * map_middle(m);
    map_first_patches(m, z, patches);
    half_product(p->weights, m->width, first, patches, places, middle);
    bias_relu(p->bias, m->width, places, middle);
    places = map_last(m) * map_last(m);
    map_second_patches(m, middle, patches);
    half_product(p->weights + (size_t)first * (size_t)m->width, m->width, second, patches, places, h);
    bias_relu(p->bias + m->width, m->width, places, h);
}

void projection_apply(const struct projection *p, const float *z, int n, float *h, float *room)
{
    if (p->map.side > 0) {
        for (int i = 0; i < n; i++)
            apply_map(p, z + (size_t)i * (size_t)p->dim, h + (size_t)i * (size_t)p->nodes, room);
        return;
    }
    half_product(p->weights, p->nodes, p->dim, z, n, h);
    bias_relu(p->bias, p->nodes, n, h);
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
    bias_relu(p->bias, p->nodes, n, h);
    for (int i = 0; i < n; i++) {
        if (isnan(z[(size_t)i * dim]))
            h[(size_t)i * nodes] = NAN;
    }
}
