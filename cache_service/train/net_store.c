/* net_store.c - from a trained net to a projection */
#include "net_store.h"

#include <math.h>

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
