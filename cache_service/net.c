/* net.c - the small network behind projections and predictors */
#include "net.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BETA1   0.9f
#define BETA2   0.999f
#define EPSILON 1e-8f

size_t net_parameters(int dim, int nodes, int classes)
{
    return ((size_t)dim + 1 + (size_t)classes) * (size_t)nodes + (size_t)classes;
}

struct net net_over(float *parameters, int dim, int nodes, int classes)
{
    struct net n = {.dim = dim, .nodes = nodes, .classes = classes, .w1 = parameters};
    n.b1 = n.w1 + (size_t)dim * (size_t)nodes;
    n.w2 = n.b1 + nodes;
    n.b2 = n.w2 + (size_t)nodes * (size_t)classes;
    return n;
}

void net_initialise(const struct net *m, double scale, struct shuffle *s)
{
    double wide = scale * sqrt(2.0 / m->dim), last = sqrt(1.0 / m->nodes);
    for (size_t i = 0; i < (size_t)m->dim * (size_t)m->nodes; i++)
        m->w1[i] = (float)(wide * shuffle_normal(s));
    for (size_t i = 0; i < (size_t)m->nodes * (size_t)m->classes; i++)
        m->w2[i] = (float)(last * shuffle_normal(s));
    memset(m->b1, 0, (size_t)m->nodes * sizeof *m->b1);
    memset(m->b2, 0, (size_t)m->classes * sizeof *m->b2);
}

int net_batch_new(struct net_batch *b, int n, int dim, int nodes, int classes)
{
    size_t rows = (size_t)n;
    b->z = malloc(rows * (size_t)dim * sizeof *b->z);
    b->h = malloc(rows * (size_t)nodes * sizeof *b->h);
    b->dh = malloc(rows * (size_t)nodes * sizeof *b->dh);
    b->out = malloc(rows * (size_t)classes * sizeof *b->out);
    b->hard = malloc(rows * (size_t)classes * sizeof *b->hard);
    b->soft = malloc(rows * (size_t)classes * sizeof *b->soft);
    return b->z && b->h && b->dh && b->out && b->hard && b->soft ? FL_OK : FL_NOMEM;
}

void net_batch_free(struct net_batch *b)
{
    free(b->z);
    free(b->h);
    free(b->dh);
    free(b->out);
    free(b->hard);
    free(b->soft);
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

void net_forward(const struct net *m, const struct net_batch *b, int n, float drop, struct shuffle *s)
{
    size_t all = (size_t)n * (size_t)m->nodes;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, m->nodes, m->dim, 1, b->z, m->dim, m->w1,
                m->nodes, 0, b->h, m->nodes);
    add_bias(b->h, n, m->b1, m->nodes);
    for (size_t i = 0; i < all; i++)
        b->h[i] = b->h[i] > 0 ? b->h[i] : 0;
    if (s != NULL && drop > 0)
        drop_out(b->h, all, drop, s);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, m->classes, m->nodes, 1, b->h, m->nodes, m->w2,
                m->classes, 0, b->out, m->classes);
    add_bias(b->out, n, m->b2, m->classes);
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
    size_t all = (size_t)n * (size_t)m->nodes;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, m->nodes, m->classes, 1 / (1 - drop), b->out,
                m->classes, m->w2, m->classes, 0, b->dh, m->nodes);
    for (size_t i = 0; i < all; i++)
        b->dh[i] = b->h[i] > 0 ? b->dh[i] : 0;
}

static void sum_rows(const float *rows, int n, int width, float *sum)
{
    memset(sum, 0, (size_t)width * sizeof *sum);
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < width; j++)
            sum[j] += rows[(size_t)i * (size_t)width + (size_t)j];
    }
}

void net_gradient_w1(const struct net *m, const struct net_batch *b, int n, int from, int rows, float *g)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, m->nodes, n, 1, b->z + from, m->dim, b->dh,
                m->nodes, 0, g, m->nodes);
}

void net_gradient_b1(const struct net *m, const struct net_batch *b, int n, float *g)
{
    sum_rows(b->dh, n, m->nodes, g);
}

void net_gradient_w2(const struct net *m, const struct net_batch *b, int n, float *g)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m->nodes, m->classes, n, 1, b->h, m->nodes, b->out,
                m->classes, 0, g, m->classes);
}

void net_gradient_b2(const struct net *m, const struct net_batch *b, int n, float *g)
{
    sum_rows(b->out, n, m->classes, g);
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
