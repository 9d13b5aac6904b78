/* net_map.c - two convolutions over a map, with batch normalisation: forward and backward
 *
 * Rows of all matrices are places: place p of request i is row i x places + p.
 */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "net_parts.h"

#define MOMENTUM 0.1f /* of running means and variances */

static int places(const struct map *m, int k)
{
    return k == 0 ? map_middle(m) * map_middle(m) : map_last(m) * map_last(m);
}

static int patch(const struct map *m, int k)
{
    return MAP_TAPS * (k == 0 ? m->channels : m->width);
}

size_t net_map_floats(const struct map *m)
{
    return (size_t)(patch(m, 0) + patch(m, 1) + 8) * (size_t)m->width;
}

size_t net_map_largest_piece(const struct map *m)
{
    return (size_t)(patch(m, 0) > patch(m, 1) ? patch(m, 0) : patch(m, 1)) * (size_t)m->width;
}

void net_map_over(struct net *m, float *floats)
{
    size_t width = (size_t)m->shape.map.width;
    for (int k = 0; k < 2; k++) {
        struct net_convolution *c = &m->convolution[k];
        c->w = floats;
        c->gain = c->w + (size_t)patch(&m->shape.map, k) * width;
        c->shift = c->gain + width;
        c->mean = c->shift + width;
        c->variance = c->mean + width;
        floats = c->variance + width;
    }
}

void net_map_initialise(const struct net *m, double scale, struct shuffle *s)
{
    const struct map *map = &m->shape.map;
    for (int k = 0; k < 2; k++) {
        const struct net_convolution *c = &m->convolution[k];
        double wide = scale * sqrt(2.0 / patch(map, k));
        for (size_t i = 0; i < (size_t)patch(map, k) * (size_t)map->width; i++)
            c->w[i] = (float)(wide * shuffle_normal(s));
        for (int j = 0; j < map->width; j++) {
            c->gain[j] = c->variance[j] = 1;
            c->shift[j] = c->mean[j] = 0;
        }
    }
}

int net_map_batch_new(struct net_batch *b, int n, const struct map *m)
{
    size_t width = (size_t)m->width;
    for (int k = 0; k < 2; k++) {
        struct net_step *t = &b->step[k];
        size_t rows = (size_t)n * (size_t)places(m, k);
        t->patches = malloc(rows * (size_t)patch(m, k) * sizeof *t->patches);
        t->x = malloc(rows * width * sizeof *t->x);
        t->y = malloc(rows * width * sizeof *t->y);
        t->dx = malloc(rows * width * sizeof *t->dx);
        t->spread = malloc(3 * width * sizeof *t->spread);
        t->dpatches = k == 1 ? malloc(rows * (size_t)patch(m, k) * sizeof *t->dpatches) : NULL;
        if (!t->patches || !t->x || !t->y || !t->dx || !t->spread || (k == 1 && !t->dpatches))
            return FL_NOMEM;
        t->dgain = t->spread + width;
        t->dshift = t->dgain + width;
    }
    return FL_OK;
}

void net_map_batch_free(struct net_batch *b)
{
    for (int k = 0; k < 2; k++) {
        free(b->step[k].patches);
        free(b->step[k].dpatches);
        free(b->step[k].x);
        free(b->step[k].y);
        free(b->step[k].dx);
        free(b->step[k].spread);
    }
}

/* --- forward --- */

/* Mean and variance of each column; in double, rows are many. */
static void measure(const float *x, int rows, int width, float *mean, float *variance)
{
    memset(mean, 0, (size_t)width * sizeof *mean);
    memset(variance, 0, (size_t)width * sizeof *variance);
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < width; j++)
            mean[j] += x[(size_t)i * (size_t)width + (size_t)j];
    }
    for (int j = 0; j < width; j++)
        mean[j] /= (float)rows;
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < width; j++) {
            float d = x[(size_t)i * (size_t)width + (size_t)j] - mean[j];
            variance[j] += d * d;
        }
    }
    for (int j = 0; j < width; j++)
        variance[j] /= (float)rows;
}

/* x becomes (x - mean) / sqrt(variance + epsilon), y = relu(gain x + shift). `dgain` and `dshift` of the step
 * hold the batch's mean and variance meanwhile. */
static void normalise(const struct net_convolution *c, const struct net_step *t, int rows, int width,
                      bool training)
{
    const float *mean = training ? t->dgain : c->mean, *variance = training ? t->dshift : c->variance;
    if (training) {
        measure(t->x, rows, width, t->dgain, t->dshift);
        for (int j = 0; j < width; j++) {
            c->mean[j] += MOMENTUM * (mean[j] - c->mean[j]);
            c->variance[j] += MOMENTUM * (variance[j] - c->variance[j]);
        }
    }
    for (int j = 0; j < width; j++)
        t->spread[j] = 1 / sqrtf(variance[j] + NET_EPSILON);
    for (int i = 0; i < rows; i++) {
        float *x = t->x + (size_t)i * (size_t)width, *y = t->y + (size_t)i * (size_t)width;
        for (int j = 0; j < width; j++) {
            float v;
            x[j] = (x[j] - mean[j]) * t->spread[j];
            v = c->gain[j] * x[j] + c->shift[j];
            y[j] = v > 0 ? v : 0;
        }
    }
}

static void take_patches(const struct map *m, const struct net_batch *b, int n, int k)
{
    size_t row = (size_t)places(m, k) * (size_t)patch(m, k);
    for (size_t i = 0; i < (size_t)n; i++) {
        if (k == 0)
            map_first_patches(m, b->z + i * (size_t)(m->side * m->side * m->channels),
                              b->step[0].patches + i * row);
        else
            map_second_patches(m, b->step[0].y + i * (size_t)(places(m, 0) * m->width),
                               b->step[1].patches + i * row);
    }
}

/* The sums of convolution k; returns for how many places. */
static int convolve(const struct net *m, const struct net_batch *b, int n, int k)
{
    const struct map *map = &m->shape.map;
    int rows = n * places(map, k), taken = patch(map, k);
    take_patches(map, b, n, k);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, rows, map->width, taken, 1, b->step[k].patches,
                taken, m->convolution[k].w, map->width, 0, b->step[k].x, map->width);
    return rows;
}

void net_map_settle(const struct net *m, const struct net_batch *b, int n)
{
    int width = m->shape.map.width;
    for (int k = 0; k < 2; k++) {
        const struct net_convolution *c = &m->convolution[k];
        int rows = convolve(m, b, n, k);
        measure(b->step[k].x, rows, width, c->mean, c->variance);
        for (int j = 0; j < width; j++) {
            c->gain[j] = sqrtf(c->variance[j] + NET_EPSILON);
            c->shift[j] += c->mean[j];
        }
        normalise(c, &b->step[k], rows, width, false);
    }
}

void net_map_forward(const struct net *m, const struct net_batch *b, int n, bool training)
{
    for (int k = 0; k < 2; k++) {
        int rows = convolve(m, b, n, k);
        normalise(&m->convolution[k], &b->step[k], rows, m->shape.map.width, training);
    }
    memcpy(b->h, b->step[1].y, (size_t)n * (size_t)m->shape.nodes * sizeof *b->h);
}

/* --- backward --- */

/* dx, being the gradient of y, becomes that of x before it was normalised (Ioffe and Szegedy 2015, section
 * 3). */
static void unnormalise(const struct net_convolution *c, const struct net_step *t, int rows, int width)
{
    memset(t->dgain, 0, (size_t)width * sizeof *t->dgain);
    memset(t->dshift, 0, (size_t)width * sizeof *t->dshift);
    for (int i = 0; i < rows; i++) {
        size_t at = (size_t)i * (size_t)width;
        for (int j = 0; j < width; j++) {
            float d = t->y[at + (size_t)j] > 0 ? t->dx[at + (size_t)j] : 0;
            t->dx[at + (size_t)j] = d;
            t->dshift[j] += d;
            t->dgain[j] += d * t->x[at + (size_t)j];
        }
    }
    for (int i = 0; i < rows; i++) {
        size_t at = (size_t)i * (size_t)width;
        for (int j = 0; j < width; j++)
            t->dx[at + (size_t)j] =
                c->gain[j] * t->spread[j] *
                (t->dx[at + (size_t)j] - (t->dshift[j] + t->x[at + (size_t)j] * t->dgain[j]) / (float)rows);
    }
}

void net_map_backward(const struct net *m, const struct net_batch *b, int n)
{
    const struct map *map = &m->shape.map;
    const struct net_step *first = &b->step[0], *second = &b->step[1];
    int rows = n * places(map, 1);
    size_t taken = (size_t)places(map, 1) * (size_t)patch(map, 1),
           middle = (size_t)places(map, 0) * (size_t)map->width;
    memcpy(second->dx, b->dh, (size_t)n * (size_t)m->shape.nodes * sizeof *second->dx);
    unnormalise(&m->convolution[1], second, rows, map->width);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, rows, patch(map, 1), map->width, 1, second->dx,
                map->width, m->convolution[1].w, map->width, 0, second->dpatches, patch(map, 1));
    for (size_t i = 0; i < (size_t)n; i++)
        map_sum_second_patches(map, second->dpatches + i * taken, first->dx + i * middle);
    unnormalise(&m->convolution[0], first, n * places(map, 0), map->width);
}

size_t net_map_gradient(const struct net *m, const struct net_batch *b, int n, int i, float **at, float *g)
{
    const struct map *map = &m->shape.map;
    const struct net_convolution *c = &m->convolution[i / 3];
    const struct net_step *t = &b->step[i / 3];
    size_t width = (size_t)map->width;
    if (i % 3 == 0) {
        int taken = patch(map, i / 3);
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, taken, map->width, n * places(map, i / 3), 1,
                    t->patches, taken, t->dx, map->width, 0, g, map->width);
        *at = c->w;
        return (size_t)taken * width;
    }
    *at = i % 3 == 1 ? c->gain : c->shift;
    memcpy(g, i % 3 == 1 ? t->dgain : t->dshift, width * sizeof *g);
    return width;
}
