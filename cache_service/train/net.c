/* net.c - the small networks behind projections and predictors: the dense one, and the head of both */
#include "net_parts.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BETA1   0.9f
#define BETA2   0.999f
#define EPSILON 1e-8f

static bool is_map(const struct net *m)
{
    return m->shape.map.side > 0;
}

static size_t head_floats(const struct net_shape *s)
{
    return ((size_t)s->nodes + 1) * (size_t)s->classes;
}

size_t net_floats(const struct net_shape *s)
{
    return head_floats(s) +
           (s->map.side > 0 ? net_map_floats(&s->map) : ((size_t)s->dim + 1) * (size_t)s->nodes);
}

struct net net_over(float *floats, const struct net_shape *s)
{
    struct net n = {.shape = *s, .w2 = floats};
    n.b2 = n.w2 + (size_t)s->nodes * (size_t)s->classes;
    floats += head_floats(s);
    if (is_map(&n)) {
        net_map_over(&n, floats);
    } else {
        n.w1 = floats;
        n.b1 = n.w1 + (size_t)s->dim * (size_t)s->nodes;
    }
    return n;
}

void net_initialise(const struct net *m, double scale, struct shuffle *s)
{
    const struct net_shape *f = &m->shape;
    double wide = scale * sqrt(2.0 / f->dim), last = sqrt(1.0 / f->nodes);
    if (is_map(m))
        net_map_initialise(m, scale, s);
    for (size_t i = 0; !is_map(m) && i < (size_t)f->dim * (size_t)f->nodes; i++)
        m->w1[i] = (float)(wide * shuffle_normal(s));
    for (size_t i = 0; i < (size_t)f->nodes * (size_t)f->classes; i++)
        m->w2[i] = (float)(last * shuffle_normal(s));
    if (!is_map(m))
        memset(m->b1, 0, (size_t)f->nodes * sizeof *m->b1);
    memset(m->b2, 0, (size_t)f->classes * sizeof *m->b2);
}

int net_batch_new(struct net_batch *b, int n, const struct net_shape *s)
{
    size_t rows = (size_t)n, dim = (size_t)s->dim, nodes = (size_t)s->nodes, classes = (size_t)s->classes;
    memset(b, 0, sizeof *b);
    b->z = malloc(rows * dim * sizeof *b->z);
    b->h = malloc(rows * nodes * sizeof *b->h);
    b->dh = malloc(rows * nodes * sizeof *b->dh);
    b->out = malloc(rows * classes * sizeof *b->out);
    b->hard = malloc(rows * classes * sizeof *b->hard);
    b->soft = malloc(rows * classes * sizeof *b->soft);
    if (!b->z || !b->h || !b->dh || !b->out || !b->hard || !b->soft)
        return FL_NOMEM;
    return s->map.side > 0 ? net_map_batch_new(b, n, &s->map) : FL_OK;
}

void net_batch_free(struct net_batch *b)
{
    free(b->z);
    free(b->h);
    free(b->dh);
    free(b->out);
    free(b->hard);
    free(b->soft);
    net_map_batch_free(b);
}

static void add_bias(float *rows, int n, const float *bias, int width)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < width; j++)
            rows[(size_t)i * (size_t)width + (size_t)j] += bias[j];
    }
}

static void drop_out(float *v, size_t n, float drop, struct shuffle *s)
{
    uint32_t below = (uint32_t)(drop * 0x1p32f);
    float grow = 1 / (1 - drop);
    for (size_t i = 0; i < n; i++)
        v[i] = shuffle_u32(s) < below ? 0 : v[i] * grow;
}

/* z -> h of a dense net. */
static void dense_forward(const struct net *m, const struct net_batch *b, int n)
{
    int dim = m->shape.dim, nodes = m->shape.nodes;
    size_t all = (size_t)n * (size_t)nodes;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, nodes, dim, 1, b->z, dim, m->w1, nodes, 0, b->h,
                nodes);
    add_bias(b->h, n, m->b1, nodes);
    for (size_t i = 0; i < all; i++)
        b->h[i] = b->h[i] > 0 ? b->h[i] : 0;
}

void net_forward(const struct net *m, const struct net_batch *b, int n, float drop, struct shuffle *s)
{
    int nodes = m->shape.nodes, classes = m->shape.classes;
    if (is_map(m))
        net_map_forward(m, b, n, s != NULL);
    else
        dense_forward(m, b, n);
    if (s != NULL && drop > 0)
        drop_out(b->h, (size_t)n * (size_t)nodes, drop, s);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, classes, nodes, 1, b->h, nodes, m->w2, classes,
                0, b->out, classes);
    add_bias(b->out, n, m->b2, classes);
}

/* CE(target, softmax(score / t)); adds weight / t * (softmax - target) to gradient. Targets of a row sum
 * to 1. */
static double row_loss(const float *score, const float *target, int classes, float t, float weight,
                       float *gradient)
{
    float top = score[0], sum = 0;
    double loss = 0;
    for (int c = 1; c < classes; c++)
        top = score[c] > top ? score[c] : top;
    for (int c = 0; c < classes; c++)
        sum += expf((score[c] - top) / t);
    for (int c = 0; c < classes; c++) {
        float v = (score[c] - top) / t;
        loss -= target[c] * v;
        gradient[c] += weight / t * (expf(v) / sum - target[c]);
    }
    return loss + log(sum > 1 ? sum : 1); /* the top score alone adds 1 */
}

double net_loss(const struct net_batch *b, int n, int classes, const struct net_loss *l)
{
    float t = l->temperature, gradient[64], *g = gradient, *large = NULL;
    double loss = 0;
    if (classes > 64 && (g = large = malloc((size_t)classes * sizeof *g)) == NULL)
        return NAN;
    for (int i = 0; i < n; i++) {
        size_t at = (size_t)i * (size_t)classes;
        memset(g, 0, (size_t)classes * sizeof *g);
        loss +=
            (1 - l->distil) * row_loss(b->out + at, b->hard + at, classes, 1, (1 - l->distil) / (float)n, g);
        if (l->distil > 0)
            loss += l->distil * t * t *
                    row_loss(b->out + at, b->soft + at, classes, t, l->distil * t * t / (float)n, g);
        memcpy(b->out + at, g, (size_t)classes * sizeof *g);
    }
    free(large);
    return loss;
}

void net_backward(const struct net *m, const struct net_batch *b, int n, float drop)
{
    int nodes = m->shape.nodes, classes = m->shape.classes;
    size_t all = (size_t)n * (size_t)nodes;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, nodes, classes, 1 / (1 - drop), b->out, classes,
                m->w2, classes, 0, b->dh, nodes);
    for (size_t i = 0; i < all; i++) /* what was dropped or cut by relu is 0 */
        b->dh[i] = b->h[i] > 0 ? b->dh[i] : 0;
    if (is_map(m))
        net_map_backward(m, b, n);
}

static void sum_rows(const float *rows, int n, int width, float *sum)
{
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < width; j++)
            sum[j] += rows[(size_t)i * (size_t)width + (size_t)j];
    }
}

#define CHUNK 256 /* rows of a dense w1 whose gradient is made at once */

static int chunks(const struct net *m)
{
    return (m->shape.dim + CHUNK - 1) / CHUNK;
}

int net_pieces(const struct net *m)
{
    return 2 + (is_map(m) ? NET_MAP_PIECES : 1 + chunks(m));
}

size_t net_largest_piece(const struct net_shape *s)
{
    size_t head = (size_t)s->nodes * (size_t)s->classes, features = (size_t)CHUNK * (size_t)s->nodes;
    if (s->map.side > 0)
        features = net_map_largest_piece(&s->map);
    return (head > features ? head : features) + (size_t)s->classes;
}

/* Some rows of w1. */
static size_t gradient_w1(const struct net *m, const struct net_batch *b, int n, int from, float **at,
                          float *g)
{
    int dim = m->shape.dim, nodes = m->shape.nodes, rows = dim - from < CHUNK ? dim - from : CHUNK;
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, nodes, n, 1, b->z + from, dim, b->dh, nodes, 0,
                g, nodes);
    *at = m->w1 + (size_t)from * (size_t)nodes;
    return (size_t)rows * (size_t)nodes;
}

size_t net_gradient(const struct net *m, const struct net_batch *b, int n, int i, float **at, float *g)
{
    int nodes = m->shape.nodes, classes = m->shape.classes;
    if (i == 0) {
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, nodes, classes, n, 1, b->h, nodes, b->out,
                    classes, 0, g, classes);
        *at = m->w2;
        return (size_t)nodes * (size_t)classes;
    }
    if (i == 1) {
        sum_rows(b->out, n, classes, g);
        *at = m->b2;
        return (size_t)classes;
    }
    if (is_map(m))
        return net_map_gradient(m, b, n, i - 2, at, g);
    if (i > 2)
        return gradient_w1(m, b, n, (i - 3) * CHUNK, at, g);
    sum_rows(b->dh, n, nodes, g);
    *at = m->b1;
    return (size_t)nodes;
}

void net_descend(float *at, float *moment1, float *moment2, const float *gradient, size_t n, float rate,
                 float decay, int64_t step)
{
    float *restrict w = at, *restrict m = moment1, *restrict v = moment2;
    const float *restrict g = gradient;
    float correct1 = (float)(rate / (1 - pow((double)BETA1, (double)step)));
    float correct2 = (float)(1 / (1 - pow((double)BETA2, (double)step)));
    float keep = 1 - rate * decay;
    for (size_t i = 0; i < n; i++) {
        m[i] += (1 - BETA1) * (g[i] - m[i]);
        v[i] += (1 - BETA2) * (g[i] * g[i] - v[i]);
        w[i] = keep * w[i] - correct1 * m[i] / (sqrtf(v[i] * correct2) + EPSILON);
    }
}
