/* projection_train.c - learn a projection
 *
 * Parameters lie in one run of floats: w1 [dim][nodes], b1 [nodes], w2 [nodes][classes], b2 [classes]; Adam's
 * two moments in runs of the same layout. w1's gradient is never held as a whole: it is made and spent some
 * rows at a time, so that a flattened activation with its tens of thousands of inputs fits.
 */
#include "projection_train.h"

#include <cblas.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "half.h"
#include "shuffle.h"

#define LEARNING_RATE 3e-3f
#define WEIGHT_DECAY  3e-1f
#define BETA1         0.9f
#define BETA2         0.999f
#define EPSILON       1e-8f
#define SMOOTHING     0.3f
#define INIT_SCALE    0.1 /* of He's: what is not learned stays small, so distances are about what is */
#define CHUNK         256 /* rows of w1 whose gradient is made at once */

struct net {
    int dim, nodes, classes;
    size_t size; /* of all parameters */
    float *w1, *b1, *w2, *b2;
};

/* Buffers for one batch of n rows. */
struct batch {
    float *z, *h, *out, *dh; /* [n][dim], [n][nodes], [n][classes], [n][nodes] */
    int32_t *label;
};

struct trainer {
    const struct projection_training *t;
    struct projection *p; /* mean and scale first; weights at the end */
    struct net net;
    float *parameters, *moment1, *moment2;
    struct batch batch;
    float *gradient; /* of CHUNK rows of w1, or of b1, w2 and b2 */
    int32_t *row;    /* [usable]: rows that can be learned from, ascending */
    int32_t *order;  /* [usable]: the same in the epoch's order */
    int64_t usable;
    int64_t steps; /* taken so far */
    int epoch;     /* finished so far */
};

static size_t parameters_in(int dim, int nodes, int classes)
{
    return ((size_t)dim + 1 + (size_t)classes) * (size_t)nodes + (size_t)classes;
}

static struct net net_over(float *parameters, int dim, int nodes, int classes)
{
    struct net n = {.dim = dim, .nodes = nodes, .classes = classes, .w1 = parameters};
    n.b1 = n.w1 + (size_t)dim * (size_t)nodes;
    n.w2 = n.b1 + nodes;
    n.b2 = n.w2 + (size_t)nodes * (size_t)classes;
    n.size = parameters_in(dim, nodes, classes);
    return n;
}

/* --- the network: forward, loss, gradients --- */

static void add_bias(float *rows, int n, const float *bias, int width)
{
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < width; j++)
            rows[(size_t)i * (size_t)width + (size_t)j] += bias[j];
    }
}

/* h = relu(z w1 + b1), out = h w2 + b2 */
static void forward(const struct net *m, const struct batch *b, int n)
{
    size_t all = (size_t)n * (size_t)m->nodes;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, m->nodes, m->dim, 1, b->z, m->dim, m->w1,
                m->nodes, 0, b->h, m->nodes);
    add_bias(b->h, n, m->b1, m->nodes);
    for (size_t i = 0; i < all; i++)
        b->h[i] = b->h[i] > 0 ? b->h[i] : 0;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, n, m->classes, m->nodes, 1, b->h, m->nodes, m->w2,
                m->classes, 0, b->out, m->classes);
    add_bias(b->out, n, m->b2, m->classes);
}

/* Cross-entropy summed over n rows against the label smoothed with SMOOTHING (Szegedy et al. 2016), which
 * draws the points of a class together; out becomes its gradient for the mean: (softmax - target) / n. */
static double softmax_loss(const struct batch *b, int n, int classes)
{
    float spread = SMOOTHING / (float)classes;
    double loss = 0;
    for (int i = 0; i < n; i++) {
        float *row = b->out + (size_t)i * (size_t)classes, top = row[0], sum = 0, scores = 0;
        for (int c = 1; c < classes; c++)
            top = row[c] > top ? row[c] : top;
        loss -= (1 - SMOOTHING) * (row[b->label[i]] - top);
        for (int c = 0; c < classes; c++) {
            scores += row[c] - top;
            row[c] = expf(row[c] - top);
            sum += row[c];
        }
        loss += log(sum) - spread * scores;
        for (int c = 0; c < classes; c++)
            row[c] = (row[c] / sum - spread) / (float)n;
        row[b->label[i]] -= (1 - SMOOTHING) / (float)n;
    }
    return loss;
}

/* dh = (out w2^T) where h > 0, out being the gradient of the scores */
static void backward_hidden(const struct net *m, const struct batch *b, int n)
{
    size_t all = (size_t)n * (size_t)m->nodes;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, n, m->nodes, m->classes, 1, b->out, m->classes,
                m->w2, m->classes, 0, b->dh, m->nodes);
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

/* Gradient of rows from..from+rows of w1. */
static void gradient_w1(const struct net *m, const struct batch *b, int n, int from, int rows, float *g)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, rows, m->nodes, n, 1, b->z + from, m->dim, b->dh,
                m->nodes, 0, g, m->nodes);
}

static void gradient_w2(const struct net *m, const struct batch *b, int n, float *g)
{
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, m->nodes, m->classes, n, 1, b->h, m->nodes, b->out,
                m->classes, 0, g, m->classes);
}

static int batch_new(struct batch *b, int n, int dim, int nodes, int classes)
{
    size_t rows = (size_t)n;
    b->z = malloc(rows * (size_t)dim * sizeof *b->z);
    b->h = malloc(rows * (size_t)nodes * sizeof *b->h);
    b->dh = malloc(rows * (size_t)nodes * sizeof *b->dh);
    b->out = malloc(rows * (size_t)classes * sizeof *b->out);
    b->label = malloc(rows * sizeof *b->label);
    return b->z && b->h && b->dh && b->out && b->label ? FL_OK : FL_NOMEM;
}

static void batch_free(struct batch *b)
{
    free(b->z);
    free(b->h);
    free(b->dh);
    free(b->out);
    free(b->label);
}

double projection_loss(int dim, int nodes, int classes, const float *w1, const float *b1, const float *w2,
                       const float *b2, const float *z, const int32_t *labels, int n,
                       struct projection_gradients *g)
{
    struct net m = {dim,         nodes,       classes,     0,
                    (float *)w1, (float *)b1, (float *)w2, (float *)b2}; /* only read */
    struct batch b = {0};
    double loss = NAN;
    if (batch_new(&b, n, dim, nodes, classes) == FL_OK) {
        memcpy(b.z, z, (size_t)n * (size_t)dim * sizeof *z);
        memcpy(b.label, labels, (size_t)n * sizeof *labels);
        forward(&m, &b, n);
        loss = softmax_loss(&b, n, classes) / n;
        backward_hidden(&m, &b, n);
        gradient_w1(&m, &b, n, 0, dim, g->w1);
        gradient_w2(&m, &b, n, g->w2);
        sum_rows(b.dh, n, nodes, g->b1);
        sum_rows(b.out, n, classes, g->b2);
    }
    batch_free(&b);
    return loss;
}

/* --- the input: which rows, their mean and spread --- */

static bool row_usable(const struct projection_training *t, int64_t row)
{
    const float *x = t->rows->data + row * t->rows->dim;
    float poison = 0;
    if (t->labels[row] < 0 || t->labels[row] >= t->classes)
        return false;
    for (int i = 0; i < t->rows->dim; i++)
        poison += x[i] * 0.0f;
    return poison == 0;
}

/* Two passes are one too many for data larger than memory: sums of x and x^2, in double, around the first
 * usable row. */
static int measure(struct trainer *r, struct error *e)
{
    int dim = r->net.dim;
    double *sum = calloc((size_t)dim * 2, sizeof *sum), *square = sum + dim;
    const float *first = NULL;
    if (sum == NULL)
        return error_set(e, FL_NOMEM, "no memory for %d features", dim);
    for (int64_t row = 0; row < r->t->rows->rows; row++) {
        const float *x = r->t->rows->data + row * dim;
        if (!row_usable(r->t, row))
            continue;
        first = first != NULL ? first : x;
        for (int i = 0; i < dim; i++) {
            double d = (double)x[i] - (double)first[i];
            sum[i] += d;
            square[i] += d * d;
        }
        r->row[r->usable++] = (int32_t)row;
    }
    for (int i = 0; i < dim && r->usable > 0; i++) {
        double mean = sum[i] / (double)r->usable, variance = square[i] / (double)r->usable - mean * mean;
        double floor = 1e-6 * (1e-3 + fabs(mean + (double)first[i]));
        r->p->mean[i] = (float)(mean + (double)first[i]);
        r->p->scale[i] = variance > floor * floor ? (float)(1 / sqrt(variance)) : 0;
    }
    free(sum);
    if (r->usable == 0)
        return error_set(e, FL_VALUE, "none of the %lld training points has a label and finite features",
                         (long long)r->t->rows->rows);
    return FL_OK;
}

/* --- state on disk --- */

struct checkpoint_header {
    char magic[8];
    uint64_t checksum, tag;
    int32_t dim, nodes, classes, epoch;
    int64_t steps;
};

static size_t state_bytes(const struct trainer *r)
{
    return r->net.size * sizeof(float);
}

static uint64_t checkpoint_sum(const struct trainer *r, const struct checkpoint_header *h)
{
    XXH3_state_t *s = XXH3_createState();
    uint64_t sum;
    if (s == NULL)
        return 0;
    XXH3_64bits_reset(s);
    XXH3_64bits_update(s, &h->tag, sizeof *h - offsetof(struct checkpoint_header, tag));
    XXH3_64bits_update(s, r->parameters, state_bytes(r));
    XXH3_64bits_update(s, r->moment1, state_bytes(r));
    XXH3_64bits_update(s, r->moment2, state_bytes(r));
    sum = XXH3_64bits_digest(s);
    XXH3_freeState(s);
    return sum;
}

static int checkpoint_save(const struct trainer *r, struct error *e)
{
    struct checkpoint_header h = {"FLCHECK",      0,        r->t->tag, r->net.dim, r->net.nodes,
                                  r->net.classes, r->epoch, r->steps};
    char temporary[4096];
    FILE *f;
    bool ok;
    if (r->t->checkpoint == NULL)
        return FL_OK;
    if (snprintf(temporary, sizeof temporary, "%s.part", r->t->checkpoint) >= (int)sizeof temporary)
        return error_set(e, FL_IO, "%.200s...: the path is too long", r->t->checkpoint);
    h.checksum = checkpoint_sum(r, &h);
    f = fopen(temporary, "wbe");
    if (f == NULL)
        return error_set(e, FL_IO, "%s: %s", temporary, strerror(errno));
    ok = fwrite(&h, sizeof h, 1, f) == 1 && fwrite(r->parameters, state_bytes(r), 1, f) == 1 &&
         fwrite(r->moment1, state_bytes(r), 1, f) == 1 && fwrite(r->moment2, state_bytes(r), 1, f) == 1 &&
         fflush(f) == 0 && fsync(fileno(f)) == 0;
    ok = fclose(f) == 0 && ok;
    if (ok && rename(temporary, r->t->checkpoint) == 0)
        return FL_OK;
    unlink(temporary);
    return error_set(e, FL_IO, "%s: %s", temporary, strerror(errno));
}

/* True when the state of a finished epoch of this very training was read; a file that is anything else is
 * ignored. */
static bool checkpoint_load(struct trainer *r)
{
    struct checkpoint_header h;
    FILE *f = r->t->checkpoint != NULL ? fopen(r->t->checkpoint, "rbe") : NULL;
    bool ok;
    if (f == NULL)
        return false;
    ok = fread(&h, sizeof h, 1, f) == 1 && memcmp(h.magic, "FLCHECK", 8) == 0 && h.tag == r->t->tag &&
         h.dim == r->net.dim && h.nodes == r->net.nodes && h.classes == r->net.classes && h.epoch > 0 &&
         h.epoch <= r->t->epochs && h.steps >= 0 && fread(r->parameters, state_bytes(r), 1, f) == 1 &&
         fread(r->moment1, state_bytes(r), 1, f) == 1 && fread(r->moment2, state_bytes(r), 1, f) == 1 &&
         h.checksum == checkpoint_sum(r, &h);
    fclose(f);
    if (ok) {
        r->epoch = h.epoch;
        r->steps = h.steps;
    }
    return ok;
}

/* --- training --- */

/* He et al. 2015: variance 2 / inputs before a relu. */
static void initialise(struct trainer *r)
{
    struct shuffle s;
    const struct net *m = &r->net;
    double wide = INIT_SCALE * sqrt(2.0 / m->dim), last = sqrt(1.0 / m->nodes);
    memset(r->parameters, 0, state_bytes(r));
    memset(r->moment1, 0, state_bytes(r));
    memset(r->moment2, 0, state_bytes(r));
    shuffle_seed(&s, r->t->seed, 0);
    for (size_t i = 0; i < (size_t)m->dim * (size_t)m->nodes; i++)
        m->w1[i] = (float)(wide * shuffle_normal(&s));
    for (size_t i = 0; i < (size_t)m->nodes * (size_t)m->classes; i++)
        m->w2[i] = (float)(last * shuffle_normal(&s));
    r->epoch = 0;
    r->steps = 0;
}

struct step {
    float rate, decay, correct1, correct2;
};

static struct step step_now(const struct trainer *r, int64_t total_steps)
{
    double at = (double)r->steps, half = 0.5 * (1 + cos(3.141592653589793 * at / (double)total_steps));
    struct step s;
    s.rate = (float)(LEARNING_RATE * half);
    s.decay = s.rate * WEIGHT_DECAY;
    s.correct1 = (float)(1 / (1 - pow((double)BETA1, at + 1)));
    s.correct2 = (float)(1 / (1 - pow((double)BETA2, at + 1)));
    return s;
}

/* Adam with decoupled decay (Loshchilov and Hutter 2019) for n parameters from `at` on. */
static void descend(struct trainer *r, float *at, const float *gradient, size_t n, const struct step *s)
{
    float *restrict w = at, *restrict m = r->moment1 + (at - r->parameters),
                    *restrict v = r->moment2 + (at - r->parameters);
    const float *restrict g = gradient;
    for (size_t i = 0; i < n; i++) {
        m[i] += (1 - BETA1) * (g[i] - m[i]);
        v[i] += (1 - BETA2) * (g[i] * g[i] - v[i]);
        w[i] -= s->rate * m[i] * s->correct1 / (sqrtf(v[i] * s->correct2) + EPSILON) + s->decay * w[i];
    }
}

static void load_batch(struct trainer *r, int64_t from, int n)
{
    const struct projection_training *t = r->t;
    for (int i = 0; i < n; i++) {
        int64_t row = r->order[from + i];
        projection_standardise(r->p, t->rows->data + row * t->rows->dim,
                               r->batch.z + (size_t)i * (size_t)r->net.dim);
        r->batch.label[i] = t->labels[row];
    }
}

static double train_batch(struct trainer *r, int n, int64_t total_steps)
{
    const struct net *m = &r->net;
    struct step s = step_now(r, total_steps);
    double loss;
    forward(m, &r->batch, n);
    loss = softmax_loss(&r->batch, n, m->classes);
    backward_hidden(m, &r->batch, n);
    gradient_w2(m, &r->batch, n, r->gradient);
    descend(r, m->w2, r->gradient, (size_t)m->nodes * (size_t)m->classes, &s);
    sum_rows(r->batch.out, n, m->classes, r->gradient);
    descend(r, m->b2, r->gradient, (size_t)m->classes, &s);
    sum_rows(r->batch.dh, n, m->nodes, r->gradient);
    descend(r, m->b1, r->gradient, (size_t)m->nodes, &s);
    for (int from = 0; from < m->dim; from += CHUNK) {
        int rows = m->dim - from < CHUNK ? m->dim - from : CHUNK;
        gradient_w1(m, &r->batch, n, from, rows, r->gradient);
        descend(r, m->w1 + (size_t)from * (size_t)m->nodes, r->gradient, (size_t)rows * (size_t)m->nodes, &s);
    }
    r->steps++;
    return loss;
}

/* The order of an epoch depends on seed and epoch alone, so that a resumed training sees what an
 * uninterrupted one does. */
static void order_epoch(struct trainer *r)
{
    struct shuffle s;
    memcpy(r->order, r->row, (size_t)r->usable * sizeof *r->order);
    shuffle_seed(&s, r->t->seed, 1 + (uint64_t)r->epoch);
    shuffle_order(&s, r->order, r->usable);
}

static int train_epoch(struct trainer *r, struct error *e)
{
    const struct projection_training *t = r->t;
    int64_t per_epoch = (r->usable + TRAIN_BATCH - 1) / TRAIN_BATCH;
    double loss = 0;
    order_epoch(r);
    for (int64_t from = 0; from < r->usable; from += TRAIN_BATCH) {
        int n = r->usable - from < TRAIN_BATCH ? (int)(r->usable - from) : TRAIN_BATCH;
        load_batch(r, from, n);
        loss += train_batch(r, n, per_epoch * t->epochs);
        if (t->progress != NULL && t->progress(t->progress_arg, t->phase, r->epoch * r->usable + from + n,
                                               t->epochs * r->usable, loss / (double)(from + n)) != 0)
            return error_set(e, FL_CANCELLED,
                             "stopped in epoch %d; the next build goes on from its beginning", r->epoch + 1);
    }
    if (!isfinite(loss))
        return error_set(e, FL_VALUE,
                         "training the projection diverged: the descriptors' values are too extreme");
    r->epoch++;
    return checkpoint_save(r, e);
}

static int trainer_open(struct trainer *r, const struct projection_training *t)
{
    int dim = t->rows->dim;
    size_t chunk =
        ((size_t)(CHUNK > t->classes ? CHUNK : t->classes) + 1) * (size_t)t->nodes + (size_t)t->classes;
    r->t = t;
    r->net.size = parameters_in(dim, t->nodes, t->classes);
    r->parameters = malloc(state_bytes(r));
    r->moment1 = malloc(state_bytes(r));
    r->moment2 = malloc(state_bytes(r));
    r->gradient = malloc(chunk * sizeof *r->gradient);
    r->row = malloc(((size_t)t->rows->rows + 1) * sizeof *r->row);
    r->order = malloc(((size_t)t->rows->rows + 1) * sizeof *r->order);
    if (!r->parameters || !r->moment1 || !r->moment2 || !r->gradient || !r->row || !r->order ||
        batch_new(&r->batch, TRAIN_BATCH, dim, t->nodes, t->classes) != FL_OK)
        return FL_NOMEM;
    r->net = net_over(r->parameters, dim, t->nodes, t->classes);
    return projection_new(&r->p, dim, t->nodes);
}

static void trainer_close(struct trainer *r)
{
    free(r->parameters);
    free(r->moment1);
    free(r->moment2);
    free(r->gradient);
    free(r->row);
    free(r->order);
    batch_free(&r->batch);
    projection_release(r->p);
}

/* w1 [dim][nodes] becomes the projection's weights [nodes][dim], in halves. */
static void keep_weights(struct trainer *r)
{
    const struct net *m = &r->net;
    for (int j = 0; j < m->nodes; j++) {
        for (int i = 0; i < m->dim; i++) {
            float w = r->p->scale[i] == 0 ? 0 : m->w1[(size_t)i * (size_t)m->nodes + (size_t)j];
            r->p->weights[(size_t)j * (size_t)m->dim + (size_t)i] =
                half_from_float(fminf(fmaxf(w, -HALF_MAX), HALF_MAX));
        }
    }
    memcpy(r->p->bias, m->b1, (size_t)m->nodes * sizeof *m->b1);
}

int projection_train(struct projection **out, const struct projection_training *t, struct error *e)
{
    struct trainer r = {0};
    int rc = trainer_open(&r, t);
    if (rc != FL_OK) {
        error_set(e, rc, "no memory to train %d x %d weights", t->rows->dim, t->nodes);
        goto done;
    }
    rc = measure(&r, e);
    if (rc != FL_OK)
        goto done;
    if (!checkpoint_load(&r))
        initialise(&r);
    while (r.epoch < t->epochs) {
        rc = train_epoch(&r, e);
        if (rc != FL_OK)
            goto done;
    }
    keep_weights(&r);
    *out = projection_retain(r.p);
done:
    trainer_close(&r);
    return rc;
}
