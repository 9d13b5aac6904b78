/* net_store.c - from a trained net to a projection */
#include "net_store.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "index/half.h"
#include "net_parts.h"

static uint16_t stored(float w)
{
    return half_from_float(fminf(fmaxf(w, -HALF_MAX), HALF_MAX));
}

static void store_dense(const struct net *m, struct projection *p)
{
    size_t dim = (size_t)m->shape.dim, nodes = (size_t)m->shape.nodes;
    for (size_t j = 0; j < nodes; j++) {
        for (size_t i = 0; i < dim; i++)
            p->weights[j * dim + i] = stored(p->scale[i] == 0 ? 0 : m->w1[i * nodes + j]);
        p->bias[j] = m->b1[j];
    }
}

static void store_convolution(const struct net_convolution *c, int inputs, int width, uint16_t *weights,
                              float *bias)
{
    for (int j = 0; j < width; j++) {
        float grow = c->gain[j] / sqrtf(c->variance[j] + NET_EPSILON);
        for (int i = 0; i < inputs; i++)
            weights[(size_t)j * (size_t)inputs + (size_t)i] =
                stored(grow * c->w[(size_t)i * (size_t)width + (size_t)j]);
        bias[j] = c->shift[j] - c->mean[j] * grow;
    }
}

void net_store(const struct net *m, struct projection *p)
{
    const struct map *map = &m->shape.map;
    int first = MAP_TAPS * map->channels, second = MAP_TAPS * map->width;
    if (map->side == 0) {
        store_dense(m, p);
        return;
    }
    store_convolution(&m->convolution[0], first, map->width, p->weights, p->bias);
    store_convolution(&m->convolution[1], second, map->width, p->weights + (size_t)first * (size_t)map->width,
                      p->bias + map->width);
}

static void recall_dense(const struct net *m, const struct projection *p)
{
    size_t dim = (size_t)p->dim, nodes = (size_t)p->nodes;
    for (size_t j = 0; j < nodes; j++) {
        for (size_t i = 0; i < dim; i++)
            m->w1[i * nodes + j] = half_to_float(p->weights[j * dim + i]);
    }
    memcpy(m->b1, p->bias, nodes * sizeof *p->bias);
}

static void recall_convolution(const struct net_convolution *c, const struct projection *p, bool second,
                               int inputs, float *row)
{
    int width = p->map.width;
    for (int j = 0; j < width; j++) {
        projection_row(p, second, j, row);
        for (int i = 0; i < inputs; i++)
            c->w[(size_t)i * (size_t)width + (size_t)j] = row[i];
        c->gain[j] = c->variance[j] = 1;
        c->mean[j] = 0;
        c->shift[j] = p->bias[(second ? width : 0) + j];
    }
}

int net_recall(const struct net *m, const struct projection *p, const struct predictor *head)
{
    const struct map *map = &m->shape.map;
    size_t nodes = (size_t)head->nodes, classes = (size_t)head->classes;
    int first = MAP_TAPS * map->channels, second = MAP_TAPS * map->width;
    size_t longest = nodes;
    longest = (size_t)first > longest ? (size_t)first : longest;
    longest = (size_t)second > longest ? (size_t)second : longest;
    float *row = malloc(longest * sizeof *row);
    if (row == NULL)
        return FL_NOMEM;
    if (map->side == 0) {
        recall_dense(m, p);
    } else {
        recall_convolution(&m->convolution[0], p, false, first, row);
        recall_convolution(&m->convolution[1], p, true, second, row);
    }
    for (size_t c = 0; c < classes; c++) {
        predictor_row(head, (int)c, row);
        for (size_t j = 0; j < nodes; j++)
            m->w2[j * classes + c] = row[j];
    }
    memcpy(m->b2, head->bias, classes * sizeof *head->bias);
    free(row);
    return FL_OK;
}
