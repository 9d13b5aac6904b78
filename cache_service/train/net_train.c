/* net_train.c - teach the small network
 *
 * Gradients are made and spent piece by piece. Random numbers of an epoch come from streams of their
 * own, so that a training that goes on from a checkpoint sees what an uninterrupted one does.
 */
#include "net_train.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "numbers/floats.h"
#include "base/whole_file.h"
#include "net_parts.h"
#include "net_store.h"

#define WARM  0.1 /* share of the steps in which the rate rises */
#define MAGIC "FLCHECK"
enum stream { STREAM_START, STREAM_SPLIT, STREAM_EPOCH = 100 };

/* Runs of floats with one value per parameter. */
enum run { PARAMETERS, MOMENT1, MOMENT2, BEST, RUNS };

struct trainer {
    const struct net_training *t;
    struct projection *p; /* mean and scale first; weights at the end */
    struct net net;       /* over run[PARAMETERS] */
    size_t size;          /* of a run */
    float *run[RUNS];     /* BEST: NULL when nothing is held out */
    struct net_batch batch;
    float *gradient;      /* of a piece */
    float *moved;         /* room for a map */
    int32_t *row, *order; /* [learned]: rows to learn from; the same in the epoch's order */
    int32_t *held;        /* [held_out]: rows to judge epochs by; behind `row` in one allocation */
    int64_t learned, held_out;
    int64_t steps; /* taken so far */
    int epoch;     /* finished so far */
    double best_loss, best_agreement, best_risk;
    struct sureness *sure; /* [held_out] */
};

void trained_release(struct trained *t)
{
    projection_release(t->projection);
    predictor_release(&t->head);
    memset(t, 0, sizeof *t);
}

/* --- the input: which rows, their mean and spread --- */

static int64_t row_count(const struct net_training *t)
{
    return t->limit > 0 && t->limit < t->rows->rows ? t->limit : t->rows->rows;
}

static bool row_usable(const struct net_training *t, int64_t row)
{
    if (t->labels[row] < 0 || t->labels[row] >= t->classes)
        return false;
    return floats_finite(t->rows->data + row * t->rows->dim, t->rows->dim) &&
           (t->scores == NULL || floats_finite(t->scores->data + row * t->classes, t->classes));
}

/* Adds a row to the sums of x and x^2 around `first`; of a map, all cells count for their channel. */
static void add_row(const struct projection *p, const float *x, const float *first, double *sum,
                    double *square)
{
    int features = projection_features(p);
    for (int at = 0; at < p->dim; at += features) {
        for (int i = 0; i < features; i++) {
            double d = (double)x[at + i] - (double)first[i];
            sum[i] += d;
            square[i] += d * d;
        }
    }
}

/* Mean and spread in one pass, as data may be larger than memory: sums in double, around the first usable
 * row. */
static int measure(struct trainer *r, struct error *e)
{
    int dim = r->p->dim, features = projection_features(r->p);
    double *sum = calloc((size_t)features * 2, sizeof *sum), *square, n;
    const float *first = NULL;
    if (sum == NULL)
        return error_set(e, FL_NOMEM, "no memory for %d features", features);
    square = sum + features;
    for (int64_t i = 0; i < row_count(r->t); i++) {
        int64_t row = i * r->t->rows->rows / row_count(r->t);
        const float *x = r->t->rows->data + row * dim;
        if (!row_usable(r->t, row))
            continue;
        first = first != NULL ? first : x;
        add_row(r->p, x, first, sum, square);
        r->row[r->learned++] = (int32_t)row;
    }
    n = (double)r->learned * (dim / features);
    for (int i = 0; i < features && r->learned > 0; i++) {
        double mean = sum[i] / n, variance = square[i] / n - mean * mean;
        double floor = 1e-6 * (1e-3 + fabs(mean + (double)first[i]));
        r->p->mean[i] = (float)(mean + (double)first[i]);
        r->p->scale[i] = variance > floor * floor ? (float)(1 / sqrt(variance)) : 0;
    }
    free(sum);
    if (r->learned == 0)
        return error_set(e, FL_VALUE, "none of the %lld training points has a label and finite features",
                         (long long)r->t->rows->rows);
    return FL_OK;
}

/* By its number, so that no copy of a picture that judges is ever taught. */
static bool is_held_out(const struct trainer *r, int32_t row)
{
    struct shuffle s;
    int64_t picture = r->t->pictures > 0 ? row % r->t->pictures : row;
    shuffle_seed(&s, r->t->seed ^ (uint64_t)picture << 32, STREAM_SPLIT);
    return shuffle_uniform(&s) < (double)r->t->recipe.held_out;
}

/* Rows that teach first, the others behind them. */
static void hold_out(struct trainer *r)
{
    struct shuffle s;
    int64_t all = r->learned, i = 0;
    shuffle_seed(&s, r->t->seed, STREAM_SPLIT);
    shuffle_order(&s, r->row, all);
    while (i < r->learned) {
        int32_t row = r->row[i];
        if (!is_held_out(r, row)) {
            i++;
            continue;
        }
        r->row[i] = r->row[--r->learned];
        r->row[r->learned] = row;
    }
    r->held_out = all - r->learned;
    r->held = r->row + r->learned;
}

/* --- state on disk --- */

struct checkpoint_header {
    char magic[8];
    uint64_t checksum, tag;
    int32_t dim, nodes, classes, epoch;
    int64_t steps;
    double best_loss, best_agreement, best_risk;
};

static uint64_t checkpoint_sum(const struct trainer *r, const struct checkpoint_header *h)
{
    XXH3_state_t *s = XXH3_createState();
    uint64_t sum;
    if (s == NULL)
        return 0;
    XXH3_64bits_reset(s);
    XXH3_64bits_update(s, &h->tag, sizeof *h - offsetof(struct checkpoint_header, tag));
    for (int i = 0; i < RUNS && r->run[i] != NULL; i++)
        XXH3_64bits_update(s, r->run[i], r->size * sizeof(float));
    sum = XXH3_64bits_digest(s);
    XXH3_freeState(s);
    return sum;
}

static int checkpoint_save(const struct trainer *r, struct error *e)
{
    struct checkpoint_header h = {
        MAGIC,    0,        r->t->tag,    r->net.shape.dim,  r->net.shape.nodes, r->net.shape.classes,
        r->epoch, r->steps, r->best_loss, r->best_agreement, r->best_risk};
    struct file_part part[1 + RUNS] = {{&h, sizeof h}};
    int n = 1;
    if (r->t->checkpoint == NULL)
        return FL_OK;
    h.checksum = checkpoint_sum(r, &h);
    for (int i = 0; i < RUNS && r->run[i] != NULL; i++)
        part[n++] = (struct file_part){r->run[i], r->size * sizeof(float)};
    return file_replace(r->t->checkpoint, part, n, e);
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
    ok = fread(&h, sizeof h, 1, f) == 1 && memcmp(h.magic, MAGIC, 8) == 0 && h.tag == r->t->tag &&
         h.dim == r->net.shape.dim && h.nodes == r->net.shape.nodes && h.classes == r->net.shape.classes &&
         h.epoch > 0 && h.epoch <= r->t->recipe.epochs && h.steps >= 0;
    for (int i = 0; i < RUNS && r->run[i] != NULL; i++)
        ok = ok && fread(r->run[i], sizeof(float), r->size, f) == r->size;
    fclose(f);
    ok = ok && h.checksum == checkpoint_sum(r, &h);
    if (ok) {
        r->epoch = h.epoch;
        r->steps = h.steps;
        r->best_loss = h.best_loss;
        r->best_agreement = h.best_agreement;
        r->best_risk = h.best_risk;
    }
    return ok;
}

/* --- batches --- */

/* out = softmax(score / t) */
static void softmax(const float *score, int classes, float t, float *out)
{
    float top = score[0], sum = 0;
    for (int c = 1; c < classes; c++)
        top = score[c] > top ? score[c] : top;
    for (int c = 0; c < classes; c++) {
        out[c] = expf((score[c] - top) / t);
        sum += out[c];
    }
    for (int c = 0; c < classes; c++)
        out[c] /= sum;
}

static void load_batch(struct trainer *r, const int32_t *rows, int n, float smoothing)
{
    const struct net_training *t = r->t;
    int classes = t->classes;
    for (int i = 0; i < n; i++) {
        int64_t row = rows[i];
        float *hard = r->batch.hard + (size_t)i * (size_t)classes;
        projection_standardise(r->p, t->rows->data + row * t->rows->dim,
                               r->batch.z + (size_t)i * (size_t)r->net.shape.dim);
        for (int c = 0; c < classes; c++)
            hard[c] = smoothing / (float)classes;
        hard[t->labels[row]] += 1 - smoothing;
        if (t->scores != NULL)
            softmax(t->scores->data + row * classes, classes, t->recipe.loss.temperature,
                    r->batch.soft + (size_t)i * (size_t)classes);
    }
}

/* Rows i and n-1-i of a random batch become mixtures of each other. */
static void mix_rows(float *rows, int n, int width, float lambda)
{
    for (int i = 0; i < n / 2; i++) {
        float *a = rows + (size_t)i * (size_t)width, *b = rows + (size_t)(n - 1 - i) * (size_t)width;
        for (int j = 0; j < width; j++) {
            float x = a[j], y = b[j];
            a[j] = lambda * x + (1 - lambda) * y;
            b[j] = lambda * y + (1 - lambda) * x;
        }
    }
}

/* Beta(a, a) by Johnk's method, for a <= 1. */
static float draw_beta(struct shuffle *s, double a)
{
    for (;;) {
        double x = pow(shuffle_uniform(s), 1 / a), y = pow(shuffle_uniform(s), 1 / a);
        if (x + y > 0 && x + y <= 1)
            return (float)(x / (x + y));
    }
}

static int within(int i, int side)
{
    return i < 0 ? 0 : i < side ? i : side - 1;
}

/* Cells come from so many places further down and to the right; edges are repeated. The map of a picture that
 * is shifted by as many pixels as a cell has is that, but for its edges. */
static void shift_map(float *z, const struct map *m, int down, int right, float *room)
{
    size_t channels = (size_t)m->channels;
    memcpy(room, z, (size_t)(m->side * m->side) * channels * sizeof *z);
    for (int y = 0; y < m->side; y++) {
        for (int x = 0; x < m->side; x++) {
            int from = within(y + down, m->side) * m->side + within(x + right, m->side);
            memcpy(z + (size_t)(y * m->side + x) * channels, room + (size_t)from * channels,
                   channels * sizeof *z);
        }
    }
}

static void shift_maps(struct trainer *r, int n, struct shuffle *s)
{
    const struct map *m = &r->net.shape.map;
    for (int i = 0; i < n; i++) {
        int to;
        if (shuffle_uniform(s) >= (double)r->t->recipe.shift)
            continue;
        to = (int)shuffle_below(s, 9);
        shift_map(r->batch.z + (size_t)i * (size_t)r->net.shape.dim, m, to / 3 - 1, to % 3 - 1, r->moved);
    }
}

static void disturb(struct trainer *r, int n, struct shuffle *s)
{
    const struct recipe *how = &r->t->recipe;
    uint32_t below = (uint32_t)(how->drop_input * 65536);
    float grow = 65536.0f / (float)(65536 - below);
    size_t all = (size_t)n * (size_t)r->net.shape.dim;
    if (how->shift > 0 && r->net.shape.map.side > 0)
        shift_maps(r, n, s);
    if (how->mixup > 0) {
        float lambda = draw_beta(s, (double)how->mixup);
        mix_rows(r->batch.z, n, r->net.shape.dim, lambda);
        mix_rows(r->batch.hard, n, r->net.shape.classes, lambda);
        if (r->t->scores != NULL)
            mix_rows(r->batch.soft, n, r->net.shape.classes, lambda);
    }
    for (size_t i = 0; below > 0 && i < all; i += 2) { /* two features from one random number */
        uint32_t u = shuffle_u32(s);
        r->batch.z[i] = (u & 0xffff) < below ? 0 : r->batch.z[i] * grow;
        if (i + 1 < all)
            r->batch.z[i + 1] = (u >> 16) < below ? 0 : r->batch.z[i + 1] * grow;
    }
}

/* --- training --- */

static int64_t steps_per_epoch(const struct trainer *r)
{
    return (r->learned + TRAIN_BATCH - 1) / TRAIN_BATCH;
}

static float rate_now(const struct trainer *r)
{
    double total = (double)(steps_per_epoch(r) * r->t->recipe.epochs), at = (double)r->steps + 1,
           warm = WARM * total;
    if (at < warm)
        return (float)((double)r->t->recipe.rate * at / warm);
    return (float)((double)r->t->recipe.rate * 0.5 *
                   (1 + cos(3.141592653589793 * (at - warm) / (total - warm + 1))));
}

static double train_batch(struct trainer *r, int n, struct shuffle *s)
{
    const struct recipe *how = &r->t->recipe;
    double loss;
    net_forward(&r->net, &r->batch, n, how->drop, s);
    loss = net_loss(&r->batch, n, r->net.shape.classes, &how->loss);
    net_backward(&r->net, &r->batch, n, how->drop);
    for (int i = 0; i < net_pieces(&r->net); i++) {
        float *at;
        size_t count = net_gradient(&r->net, &r->batch, n, i, &at, r->gradient);
        ptrdiff_t offset = at - r->run[PARAMETERS];
        net_descend(at, r->run[MOMENT1] + offset, r->run[MOMENT2] + offset, r->gradient, count, rate_now(r),
                    how->decay, r->steps + 1);
    }
    r->steps++;
    return loss;
}

static int by_confidence(const void *a, const void *b)
{
    float x = ((const struct sureness *)a)->confidence, y = ((const struct sureness *)b)->confidence;
    return x > y ? -1 : x < y;
}

double risk_coverage(struct sureness *v, int64_t n)
{
    double wrong = 0, area = 0;
    qsort(v, (size_t)n, sizeof *v, by_confidence);
    for (int64_t i = 0; i < n; i++) {
        wrong += v[i].wrong;
        area += wrong / (double)(i + 1);
    }
    return n > 0 ? area / (double)n : NAN;
}

/* Judges the epoch by the held-out rows and keeps its parameters when it is the best so far. */
static void judge_epoch(struct trainer *r)
{
    static const struct net_loss plain = {0, 1};
    double loss = 0;
    int64_t agree = 0;
    int classes = r->net.shape.classes;
    for (int64_t from = 0; from < r->held_out; from += TRAIN_BATCH) {
        int n = r->held_out - from < TRAIN_BATCH ? (int)(r->held_out - from) : TRAIN_BATCH;
        load_batch(r, r->held + from, n, 0);
        net_forward(&r->net, &r->batch, n, 0, NULL);
        for (int i = 0; i < n; i++) {
            struct sureness *s = &r->sure[from + i];
            int32_t label =
                predictor_label(r->batch.out + (size_t)i * (size_t)classes, classes, false, &s->confidence);
            s->wrong = label != r->t->labels[r->held[from + i]];
            agree += !s->wrong;
        }
        loss += net_loss(&r->batch, n, classes, &plain);
    }
    if (r->held_out > 0 && !(loss / (double)r->held_out >= r->best_loss)) {
        r->best_loss = loss / (double)r->held_out;
        r->best_agreement = (double)agree / (double)r->held_out;
        r->best_risk = risk_coverage(r->sure, r->held_out);
        memcpy(r->run[BEST], r->run[PARAMETERS], r->size * sizeof(float));
    }
}

static int train_epoch(struct trainer *r, struct error *e)
{
    const struct net_training *t = r->t;
    double loss = 0;
    struct shuffle s;
    shuffle_seed(&s, t->seed, STREAM_EPOCH + (uint64_t)r->epoch);
    memcpy(r->order, r->row, (size_t)r->learned * sizeof *r->order);
    shuffle_order(&s, r->order, r->learned);
    for (int64_t from = 0; from < r->learned; from += TRAIN_BATCH) {
        int n = r->learned - from < TRAIN_BATCH ? (int)(r->learned - from) : TRAIN_BATCH;
        load_batch(r, r->order + from, n, t->recipe.smoothing);
        disturb(r, n, &s);
        loss += train_batch(r, n, &s);
        if (t->progress != NULL && t->progress(t->progress_arg, t->phase, r->epoch * r->learned + from + n,
                                               t->recipe.epochs * r->learned, loss / (double)(from + n)) != 0)
            return error_set(e, FL_CANCELLED,
                             "stopped in epoch %d; the next build goes on from its beginning", r->epoch + 1);
    }
    if (!isfinite(loss))
        return error_set(e, FL_VALUE, "training diverged: the descriptors' values are too extreme");
    judge_epoch(r);
    r->epoch++;
    return checkpoint_save(r, e);
}

/* What an earlier training stored becomes the parameters; its mean and scale stay those of the features, as
 * its weights are about them. */
static int start_warm(struct trainer *r)
{
    const struct projection *p = r->t->warm;
    int features = projection_features(p), n = r->learned < TRAIN_BATCH ? (int)r->learned : TRAIN_BATCH;
    for (int i = 0; i < features; i++) {
        if (p->scale[i] == 0)
            continue;
        r->p->mean[i] = p->mean[i];
        r->p->scale[i] = p->scale[i];
    }
    if (net_recall(&r->net, p, r->t->warm_head) != FL_OK)
        return FL_NOMEM;
    if (r->t->map.side == 0)
        return FL_OK;
    load_batch(r, r->row, n, 0);
    net_map_settle(&r->net, &r->batch, n);
    return FL_OK;
}

static int start(struct trainer *r)
{
    struct shuffle s;
    for (int i = 0; i < RUNS; i++) {
        if (r->run[i] != NULL)
            memset(r->run[i], 0, r->size * sizeof(float));
    }
    shuffle_seed(&s, r->t->seed, STREAM_START);
    net_initialise(&r->net, r->t->recipe.start, &s);
    r->epoch = 0;
    r->steps = 0;
    r->best_loss = r->best_agreement = r->best_risk = NAN;
    return r->t->warm != NULL ? start_warm(r) : FL_OK;
}

static int trainer_open(struct trainer *r, const struct net_training *t)
{
    struct net_shape shape = {t->rows->dim, t->nodes, t->classes, t->map};
    size_t rows = (size_t)row_count(t) + 1;
    r->t = t;
    r->size = net_floats(&shape);
    for (int i = 0; i < (t->recipe.held_out > 0 ? RUNS : BEST); i++) {
        r->run[i] = malloc(r->size * sizeof(float));
        if (r->run[i] == NULL)
            return FL_NOMEM;
    }
    r->gradient = malloc(net_largest_piece(&shape) * sizeof *r->gradient);
    r->moved = malloc((t->map.side > 0 ? (size_t)shape.dim : 1) * sizeof *r->moved);
    r->row = malloc(rows * sizeof *r->row);
    r->order = malloc(rows * sizeof *r->order);
    r->sure = malloc(rows * sizeof *r->sure);
    if (!r->gradient || !r->moved || !r->row || !r->order || !r->sure ||
        net_batch_new(&r->batch, TRAIN_BATCH, &shape) != FL_OK)
        return FL_NOMEM;
    r->net = net_over(r->run[PARAMETERS], &shape);
    return t->map.side > 0 ? projection_new_map(&r->p, &t->map)
                           : projection_new(&r->p, shape.dim, shape.nodes);
}

static void trainer_close(struct trainer *r)
{
    for (int i = 0; i < RUNS; i++)
        free(r->run[i]);
    free(r->gradient);
    free(r->moved);
    free(r->row);
    free(r->order);
    free(r->sure);
    net_batch_free(&r->batch);
    projection_release(r->p);
}

static int conclude(struct trainer *r, struct trained *out)
{
    struct net m = net_over(r->held_out > 0 ? r->run[BEST] : r->run[PARAMETERS], &r->net.shape);
    int nodes = m.shape.nodes, classes = m.shape.classes;
    net_store(&m, r->p);
    if (predictor_new(&out->head, nodes, classes) != FL_OK)
        return FL_NOMEM;
    for (int c = 0; c < classes; c++) {
        for (int j = 0; j < nodes; j++)
            out->head.weights[(size_t)c * (size_t)nodes + (size_t)j] =
                m.w2[(size_t)j * (size_t)classes + (size_t)c];
        out->head.bias[c] = m.b2[c];
    }
    out->projection = projection_retain(r->p);
    out->held_out_agreement = r->best_agreement;
    out->held_out_risk = r->best_risk;
    return FL_OK;
}

int net_train(struct trained *out, const struct net_training *t, struct error *e)
{
    struct trainer r = {0};
    int rc = trainer_open(&r, t);
    memset(out, 0, sizeof *out);
    if (rc != FL_OK) {
        error_set(e, rc, "no memory to train %d x %d weights", t->rows->dim, t->nodes);
        goto done;
    }
    rc = measure(&r, e);
    if (rc != FL_OK)
        goto done;
    hold_out(&r);
    if (!checkpoint_load(&r) && (rc = start(&r)) != FL_OK)
        error_set(e, rc, "no memory to begin at an earlier cache");
    while (r.epoch < t->recipe.epochs && rc == FL_OK)
        rc = train_epoch(&r, e);
    if (rc == FL_OK && (rc = conclude(&r, out)) != FL_OK)
        error_set(e, rc, "no memory to keep what was learned");
done:
    if (rc != FL_OK)
        trained_release(out);
    trainer_close(&r);
    return rc;
}
