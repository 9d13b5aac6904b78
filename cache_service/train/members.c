/* members.c - predictors of one exit that were taught apart, as one */
#include "members.h"

#include <string.h>

/* A member is a group of convolutions. */
static void place_map(struct projection *p, const struct projection *of, int at)
{
    size_t w = (size_t)of->map.width, wide = (size_t)p->map.width, first = MAP_TAPS * (size_t)p->map.channels;
    size_t from = (size_t)at * w, second = MAP_TAPS * w;
    memcpy(p->weights + from * first, of->weights, w * first * sizeof *p->weights);
    memcpy(p->weights + wide * first + from * second, of->weights + w * first,
           w * second * sizeof *p->weights);
    memcpy(p->bias + from, of->bias, w * sizeof *p->bias);
    memcpy(p->bias + wide + from, of->bias + w, w * sizeof *p->bias);
}

static void place_dense(struct projection *p, const struct projection *of, int at)
{
    size_t dim = (size_t)of->dim, nodes = (size_t)of->nodes, from = (size_t)at * nodes;
    memcpy(p->weights + from * dim, of->weights, nodes * dim * sizeof *p->weights);
    memcpy(p->bias + from, of->bias, nodes * sizeof *p->bias);
}

/* The nodes of the members follow one another. */
static void place_head(struct predictor *head, const struct predictor *of, int at, int n)
{
    size_t all = (size_t)head->nodes, nodes = (size_t)of->nodes, from = (size_t)at * nodes;
    for (int c = 0; c < head->classes; c++) {
        for (size_t j = 0; j < nodes; j++)
            head->weights[(size_t)c * all + from + j] = of->weights[(size_t)c * nodes + j] / (float)n;
        head->bias[c] += of->bias[c] / (float)n;
    }
}

static int room_for(struct trained *out, const struct trained *of, int n)
{
    const struct projection *one = of->projection;
    struct map map = one->map;
    int rc;
    map.width *= n;
    map.groups = n;
    memset(out, 0, sizeof *out);
    rc = map.side > 0 ? projection_new_map(&out->projection, &map)
                      : projection_new(&out->projection, one->dim, n * one->nodes);
    if (rc != FL_OK)
        return rc;
    memcpy(out->projection->mean, one->mean, (size_t)projection_features(one) * sizeof *one->mean);
    memcpy(out->projection->scale, one->scale, (size_t)projection_features(one) * sizeof *one->scale);
    return predictor_new(&out->head, n * of->head.nodes, of->head.classes);
}

int members_join(struct trained *out, const struct trained *of, int n)
{
    struct projection *p;
    int rc = room_for(out, of, n);
    if (rc != FL_OK) {
        trained_release(out);
        return rc;
    }
    p = out->projection;
    for (int i = 0; i < n; i++) {
        if (p->map.side > 0)
            place_map(p, of[i].projection, i);
        else
            place_dense(p, of[i].projection, i);
        place_head(&out->head, &of[i].head, i, n);
    }
    out->held_out_agreement = of->held_out_agreement;
    out->held_out_risk = of->held_out_risk;
    return FL_OK;
}
