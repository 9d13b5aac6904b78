/* projection.c - from descriptor to embedding */
#include "projection.h"

#include <cblas.h>
#include <float.h>
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
        return MAP_TAPS * ((size_t)p->map.channels + (size_t)map_group(&p->map).width) * width;
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
    static const struct map none = {0, 0, 0, 0};
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
    int8_release(&p->first);
    int8_release(&p->second);
    free(p);
}

size_t projection_bytes(const struct projection *p)
{
    size_t weights = p->rounded ? int8_all_bytes(&p->first) + int8_all_bytes(&p->second)
                                : projection_weights(p) * sizeof(uint16_t);
    return (size_t)projection_features(p) * 2 * sizeof(float) + projection_biases(p) * sizeof(float) +
           weights;
}

void projection_row(const struct projection *p, bool second, int r, float *out)
{
    size_t inputs = MAP_TAPS * (size_t)(second ? map_group(&p->map).width : p->map.channels);
    size_t before = second ? MAP_TAPS * (size_t)(p->map.channels * p->map.width) : 0;
    if (p->rounded)
        int8_get(second ? &p->second : &p->first, r, out);
    else
        half_decode(p->weights + before + (size_t)r * inputs, out, inputs);
}

static void round_rows(struct int8_rows *to, const struct projection *p, bool second, float *row)
{
    for (int r = 0; r < to->groups * to->rows; r++) {
        projection_row(p, second, r, row);
        int8_set(to, r, row);
    }
}

static int longest_row(const struct map *m)
{
    int width = map_group(m).width;
    return MAP_TAPS * (m->channels > width ? m->channels : width);
}

bool projection_may_round(const struct map *m)
{
    return m->side > 0 && longest_row(m) <= INT8_MAX_COLS && map_nodes(m) <= INT8_MAX_COLS;
}

int projection_round(struct projection *p)
{
    const struct map *m = &p->map;
    int width = map_group(m).width, rc;
    struct int8_rows first = {0}, second = {0};
    float *row;
    if (!projection_may_round(m) || p->rounded)
        return FL_OK;
    row = malloc((size_t)longest_row(m) * sizeof *row);
    rc = row ? int8_new(&first, 1, m->width, MAP_TAPS * m->channels) : FL_NOMEM;
    if (rc == FL_OK)
        rc = int8_new(&second, m->width / width, width, MAP_TAPS * width);
    if (rc == FL_OK) {
        round_rows(&first, p, false, row);
        round_rows(&second, p, true, row);
        if (!p->weights_borrowed)
            free(p->weights);
        p->weights = NULL;
        p->first = first;
        p->second = second;
        p->rounded = true;
    } else {
        int8_release(&first);
    }
    free(row);
    return rc;
}

bool projection_standardise(const struct projection *p, const float *x, float *z)
{
    int features = projection_features(p);
    int strange = 0; /* an integer, so that the compiler takes many features at once */
    for (int at = 0; at < p->dim; at += features) {
        for (int i = 0; i < features; i++) {
            float v = x[at + i], s = (v - p->mean[i]) * p->scale[i];
            z[at + i] = s;
            strange |= !(fabsf(v) <= FLT_MAX) | !(fabsf(s) <= FLT_MAX);
        }
    }
    if (!strange)
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

/* Patches of the first convolution, what it makes of them, patches of the second, a group at a time: the
 * second's never need the room of the first's at the same time. */
static size_t patch_floats(const struct map *m)
{
    size_t first = (size_t)(map_middle(m) * map_middle(m)) * (size_t)m->channels;
    size_t second = (size_t)(map_last(m) * map_last(m)) * (size_t)map_group(m).width;
    return MAP_TAPS * (first > second ? first : second);
}

/* What a look-up with a rounded map works in, all of it at multiples of 64 from the beginning. */
struct byte_room {
    size_t cells, patches, sums, middle, all; /* where each begins, in bytes */
};

static size_t behind(size_t at, size_t bytes)
{
    return (at + bytes + 63) / 64 * 64;
}

static struct byte_room byte_room(const struct projection *p)
{
    const struct map *m = &p->map;
    size_t cells = (size_t)(map_middle(m) * map_middle(m)), wide = (size_t)int8_padded(p->first.rows);
    size_t first = cells * (size_t)int8_stride(p->first.cols),
           second = cells * (size_t)int8_stride(p->second.cols);
    size_t made = cells * (size_t)m->width, in = (size_t)p->dim > made ? (size_t)p->dim : made;
    struct byte_room r = {0};
    r.patches = behind(0, in);
    r.sums = behind(r.patches, first > second ? first : second);
    r.middle = behind(r.sums, cells * wide * sizeof(int32_t));
    r.all = behind(r.middle, made * sizeof(float));
    return r;
}

size_t projection_room(const struct projection *p)
{
    size_t middle = (size_t)(map_middle(&p->map) * map_middle(&p->map)) * (size_t)p->map.width;
    if (p->rounded)
        return byte_room(p).all / sizeof(float);
    return p->map.side > 0 ? patch_floats(&p->map) + middle : 0;
}

/* weights: of all groups, one after the other; so is what they make. */
static void convolve(const struct map *group, int i, const uint16_t *weights, const float *bias, int inputs,
                     const float *patches, int places, float *out)
{
    size_t width = (size_t)group->width, at = (size_t)i * width;
    float *made = out + at * (size_t)places;
    half_product(weights + at * (size_t)inputs, group->width, inputs, patches, places, made);
    bias_relu(bias + at, group->width, places, made);
}

static void apply_map(const struct projection *p, const float *z, float *h, float *patches)
{
    const struct map *m = &p->map, group = map_group(m);
    float *middle = patches + patch_floats(m);
    const uint16_t *second = p->weights + (size_t)(MAP_TAPS * m->channels) * (size_t)m->width;
    int n = m->width / group.width, places = map_middle(m) * map_middle(m);
    map_first_patches(m, z, patches);
    for (int i = 0; i < n; i++)
        convolve(&group, i, p->weights, p->bias, MAP_TAPS * m->channels, patches, places, middle);
    for (int i = 0; i < n; i++) {
        map_second_patches(&group, middle + (size_t)(i * places) * (size_t)group.width, patches);
        convolve(&group, i, second, p->bias + m->width, MAP_TAPS * group.width, patches,
                 map_last(m) * map_last(m), h);
    }
}

static void relu(float *h, int n)
{
    for (int i = 0; i < n; i++)
        h[i] = h[i] > 0 ? h[i] : 0;
}

/* All groups look at the same patches; what each makes lies together. */
static void convolve_first(const struct projection *p, float scale, char *room, const struct byte_room *at)
{
    const struct map *m = &p->map;
    int places = map_middle(m) * map_middle(m), width = map_group(m).width;
    const uint8_t *cells = (const uint8_t *)room;
    uint8_t *patches = (uint8_t *)room + at->patches;
    int32_t *sums = (int32_t *)(void *)(room + at->sums);
    float *middle = (float *)(void *)(room + at->middle);
    map_first_bytes(m, cells, INT8_ZERO, patches, (size_t)int8_stride(p->first.cols));
    int8_product(&p->first, patches, places, sums);
    for (int i = 0; i < places; i++, sums += int8_padded(m->width)) {
        for (int from = 0; from < m->width; from += width)
            int8_floats(&p->first, from, width, sums + from, scale, true, p->bias + from,
                        middle + from * places + i * width);
    }
    relu(middle, places * m->width);
}

static void convolve_second(const struct projection *p, int group, char *room, const struct byte_room *at,
                            float *h)
{
    const struct int8_rows w = int8_group(&p->second, group);
    const struct map m = map_group(&p->map);
    int cells = map_middle(&m) * map_middle(&m) * m.width, places = map_last(&m) * map_last(&m);
    uint8_t *bytes = (uint8_t *)room, *patches = (uint8_t *)room + at->patches;
    int32_t *sums = (int32_t *)(void *)(room + at->sums);
    const float *middle = (const float *)(const void *)(room + at->middle) + group * cells,
                *bias = p->bias + p->map.width + group * m.width;
    float scale = int8_round_positive(middle, cells, bytes);
    map_second_bytes(&m, bytes, patches, (size_t)int8_stride(w.cols));
    int8_product(&w, patches, places, sums);
    for (int i = 0; i < places; i++)
        int8_floats(&w, 0, m.width, sums + i * int8_padded(m.width), scale, false, bias, h + i * m.width);
    relu(h, places * m.width);
}

/* Of the cells that `room` begins with, as bytes. */
static void apply_bytes(const struct projection *p, float scale, float *h, char *room)
{
    const struct byte_room at = byte_room(p);
    if (int8_stride(p->first.cols) != p->first.cols || int8_stride(p->second.cols) != p->second.cols)
        memset(room + at.patches, 0, at.sums - at.patches); /* what is beyond the columns of a patch */
    convolve_first(p, scale, room, &at);
    for (int i = 0; i < p->second.groups; i++)
        convolve_second(p, i, room, &at, h + (size_t)i * (size_t)(p->nodes / p->second.groups));
}

void projection_apply(const struct projection *p, const float *z, int n, float *h, float *room)
{
    if (p->map.side > 0) {
        for (int i = 0; i < n; i++) {
            const float *from = z + (size_t)i * (size_t)p->dim;
            float *to = h + (size_t)i * (size_t)p->nodes;
            if (p->rounded)
                apply_bytes(p, int8_round_signed(from, p->dim, (uint8_t *)room), to, (char *)room);
            else
                apply_map(p, from, to, room);
        }
        return;
    }
    half_product(p->weights, p->nodes, p->dim, z, n, h);
    bias_relu(p->bias, p->nodes, n, h);
}

void projection_embed(const struct projection *p, const float *x, int n, float *z, float *h, float *room,
                      bool *finite)
{
    int features = projection_features(p);
    if (!p->rounded) {
        for (int i = 0; i < n; i++)
            finite[i] =
                projection_standardise(p, x + (size_t)i * (size_t)p->dim, z + (size_t)i * (size_t)p->dim);
        projection_apply(p, z, n, h, room);
        return;
    }
    for (int i = 0; i < n; i++, x += p->dim, h += p->nodes) {
        float scale =
            int8_round_standardised(x, p->mean, p->scale, p->dim / features, features, (uint8_t *)room);
        finite[i] = isfinite(scale);
        apply_bytes(p, finite[i] ? scale : 0, h, (char *)room);
    }
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
