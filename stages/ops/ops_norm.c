/* ops_norm.c - BatchNormalization, InstanceNormalization, GroupNormalization, LayerNormalization, LRN */
#include <math.h>
#include <string.h>

#include "ops.h"

static int check_vector(struct op_infer *i, int input, int64_t n)
{
    const struct tensor *t = &i->in[input];
    if (t->rank != 1 || t->dim[0] != n || t->dtype != i->in[0].dtype)
        return infer_fail(i, "its input %d must have %lld elements", input, (long long)n);
    return FL_OK;
}

bool batch_norm_trains(const struct node *n, int64_t opset)
{
    return opset >= 14 ? attr_int(n, "training_mode", 0) != 0 : n->n_out > 1;
}

int batch_norm_infer(struct op_infer *i)
{
    bool trains = batch_norm_trains(i->node, i->opset);
    const struct tensor *x = &i->in[0];
    int code = infer_dtype(i, 0, DT_FLOAT);
    if (code)
        return code;
    if (x->rank < 2)
        return infer_fail(i, "its input has rank %d", x->rank);
    if (i->opset < 9 && !attr_int(i->node, "spatial", 1))
        return infer_unsupported(i, "spatial = 0 is not supported");
    for (int k = 1; k < 5; k++)
        if ((code = check_vector(i, k, x->dim[1])))
            return code;
    for (int k = 1; k < i->n_out; k++) {
        if (!trains && i->node->out[k] != GRAPH_NONE)
            return infer_fail(i, "outputs for training need training_mode = 1");
        infer_like(i, k, &i->in[3]);
    }
    infer_like(i, 0, x);
    return FL_OK;
}

static double vector_at(const struct view *v, int64_t k)
{
    return real_at(v, k * v->stride[0]);
}

/* to = from * scale + shift over all dims of one pair of views. */
static void scale_shift(const struct view *from, const struct view *to, double scale, double shift)
{
    const struct view *views[] = {to, from};
    struct walk w;
    for (bool more = walk_start_any(&w, 2, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            double x = real_at(from, walk_at(&w, 1, k));
            put_real(to, walk_at(&w, 0, k), x * scale + shift);
        }
}

static void moments(const struct view *v, double *mean, double *variance)
{
    const struct view *views[] = {v};
    double sum = 0, squares = 0, n = (double)view_count(v);
    struct walk w;
    for (bool more = walk_start(&w, 1, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++)
            sum += real_at(v, walk_at(&w, 0, k));
    *mean = sum / n;
    for (bool more = walk_start(&w, 1, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            double d = real_at(v, walk_at(&w, 0, k)) - *mean;
            squares += d * d;
        }
    *variance = squares / n;
}

/* Outputs 1 to 4 of one channel, as far as they are there: the running mean and variance, the batch's mean,
 * and what ONNX Runtime gives for "saved_var": 1 / deviation. */
static void batch_norm_statistics(const struct op_call *c, int64_t ch, double mean, double variance)
{
    double kept = attr_float(c->node, "momentum", 0.9f);
    double epsilon = attr_float(c->node, "epsilon", 1e-5f);
    const double out[5] = {0, vector_at(&c->in[3], ch) * kept + mean * (1 - kept),
                           vector_at(&c->in[4], ch) * kept + variance * (1 - kept), mean,
                           1 / sqrt(variance + epsilon)};
    for (int k = 1; k < c->n_out; k++)
        if (c->out[k].dtype != TENSOR_NONE)
            put_real(&c->out[k], ch * c->out[k].stride[0], out[k]);
}

int batch_norm_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    double epsilon = attr_float(c->node, "epsilon", 1e-5f);
    bool trains = batch_norm_trains(c->node, c->opset);
    for (int64_t ch = 0; ch < x->dim[1]; ch++) {
        struct view from = view_part(x, 1, ch, 1), to = view_part(y, 1, ch, 1);
        double mean = vector_at(&c->in[3], ch), variance = vector_at(&c->in[4], ch), scale;
        if (trains) {
            moments(&from, &mean, &variance);
            batch_norm_statistics(c, ch, mean, variance);
        }
        scale = vector_at(&c->in[1], ch) / sqrt(variance + epsilon);
        scale_shift(&from, &to, scale, vector_at(&c->in[2], ch) - mean * scale);
    }
    return FL_OK;
}

int instance_norm_infer(struct op_infer *i)
{
    int code = infer_dtype(i, 0, DT_FLOAT);
    if (code)
        return code;
    if (i->in[0].rank < 3)
        return infer_fail(i, "its input has rank %d", i->in[0].rank);
    infer_like(i, 0, &i->in[0]);
    if ((code = check_vector(i, 1, i->in[0].dim[1])))
        return code;
    return check_vector(i, 2, i->in[0].dim[1]);
}

/* Scale and bias are one per group up to opset 20, one per channel from 21 on. */
int group_norm_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    int64_t groups = attr_int(i->node, "num_groups", 0), each;
    int code = infer_dtype(i, 0, DT_FLOAT);

    if (code)
        return code;
    if (x->rank < 2 || groups < 1 || x->dim[1] % groups)
        return infer_fail(i, "%lld groups do not fit its input", (long long)groups);
    each = i->opset < 21 ? groups : x->dim[1];
    for (int k = 1; k < 3; k++)
        if (i->in[k].rank != 1 || i->in[k].dim[0] != each || i->in[k].dtype != x->dtype)
            return infer_fail(i, "its scale and bias must be %lld numbers", (long long)each);
    infer_like(i, 0, x);
    return FL_OK;
}

/* Each image's channels in groups; `scale_by_group`: scale and bias are one per group. */
static int norm_groups(const struct op_call *c, int64_t groups, bool scale_by_group)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    int64_t channels = groups ? x->dim[1] / groups : 0;
    double epsilon = attr_float(c->node, "epsilon", 1e-5f), mean, variance;

    for (int64_t n = 0; n < x->dim[0]; n++)
        for (int64_t g = 0; g < groups; g++) {
            struct view image = view_part(x, 0, n, 1), group = view_part(&image, 1, g * channels, channels);
            moments(&group, &mean, &variance);
            for (int64_t ch = g * channels; ch < (g + 1) * channels; ch++) {
                struct view fn = view_part(x, 0, n, 1), tn = view_part(y, 0, n, 1),
                            from = view_part(&fn, 1, ch, 1), to = view_part(&tn, 1, ch, 1);
                int64_t at = scale_by_group ? g : ch;
                double scale = vector_at(&c->in[1], at) / sqrt(variance + epsilon);
                scale_shift(&from, &to, scale, vector_at(&c->in[2], at) - mean * scale);
            }
        }
    return FL_OK;
}

int group_norm_reference(const struct op_call *c)
{
    return norm_groups(c, attr_int(c->node, "num_groups", 1), c->opset < 21);
}

int instance_norm_reference(const struct op_call *c)
{
    return norm_groups(c, c->in[0].dim[1], false);
}

/* Scale and bias must broadcast to x. */
int layer_norm_infer(struct op_infer *i)
{
    const struct tensor *x = &i->in[0];
    struct tensor t;
    int axis, code;
    if ((code = infer_dtype(i, 0, DT_FLOAT)) ||
        (code = infer_axis(i, attr_int(i->node, "axis", -1), x->rank, &axis)))
        return code;
    if ((code = infer_broadcast(i, 0, 1, &t)))
        return code;
    t.dtype = x->dtype;
    if (!tensor_same_shape(&t, x) || i->in[1].dtype != x->dtype)
        return infer_fail(i, "its scale does not fit its input");
    if (infer_has(i, 2) && (!tensor_same_shape(&i->in[1], &i->in[2]) || i->in[2].dtype != x->dtype))
        return infer_fail(i, "its bias does not fit its scale");
    infer_like(i, 0, x);
    for (int k = 1; k < i->n_out; k++) {
        infer_like(i, k, x);
        i->out[k].dtype = TENSOR_F32;
        for (int d = axis; d < x->rank; d++)
            i->out[k].dim[d] = 1;
    }
    return FL_OK;
}

/* One row's mean and 1 / deviation, which are the optional outputs 1 and 2. */
static void layer_norm_moments(const struct op_call *c, const int64_t *index, int axis, double mean,
                               double inverse)
{
    for (int k = 1; k < c->n_out; k++)
        if (c->out[k].dtype != TENSOR_NONE)
            put_real(&c->out[k], index_offset(index, c->out[k].stride, axis), k == 1 ? mean : inverse);
}

/* v[4]: x, y, scale, bias (absent: TENSOR_NONE), narrowed to one row. */
static void layer_norm_row(const struct view *v, double mean, double inverse)
{
    bool bias = v[3].dtype != TENSOR_NONE;
    const struct view *views[] = {&v[1], &v[0], &v[2], bias ? &v[3] : &v[2]};
    struct walk w;
    for (bool more = walk_start(&w, 4, views); more; more = walk_next(&w))
        for (int64_t k = 0; k < w.inner; k++) {
            double x = (real_at(&v[0], walk_at(&w, 1, k)) - mean) * inverse;
            x *= real_at(&v[2], walk_at(&w, 2, k));
            x += bias ? real_at(&v[3], walk_at(&w, 3, k)) : 0;
            put_real(&v[1], walk_at(&w, 0, k), x);
        }
}

int layer_norm_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0];
    double epsilon = attr_float(c->node, "epsilon", 1e-5f), mean, variance;
    struct view scale = view_broadcast(&c->in[1], x), bias = {.dtype = TENSOR_NONE};
    int64_t index[TENSOR_MAX_RANK] = {0};
    int axis = call_axis(c->node, x->rank, -1);
    if (!view_count(x))
        return FL_OK;
    if (view_present(c, 2))
        bias = view_broadcast(&c->in[2], x);
    do {
        struct view v[4] = {*x, c->out[0], scale, bias};
        for (int k = 0; k < axis; k++)
            for (int j = 0; j < 4; j++)
                if (v[j].dtype != TENSOR_NONE)
                    v[j] = view_part(&v[j], k, index[k], 1);
        moments(&v[0], &mean, &variance);
        layer_norm_row(v, mean, 1 / sqrt(variance + epsilon));
        layer_norm_moments(c, index, axis, mean, 1 / sqrt(variance + epsilon));
    } while (index_advance(index, x->dim, axis));
    return FL_OK;
}

int lrn_infer(struct op_infer *i)
{
    if (i->in[0].rank < 2 || attr_int(i->node, "size", 0) < 1)
        return infer_fail(i, "it needs an input with channels and a positive size");
    return infer_same(i, DT_FLOAT);
}

/* Across channels: x / (bias + alpha / size * sum of squares of the `size` channels around it) ^ beta. */
int lrn_reference(const struct op_call *c)
{
    const struct view *x = &c->in[0], *y = &c->out[0];
    int64_t size = attr_int(c->node, "size", 1), channels = x->dim[1], step = x->stride[1];
    double alpha = attr_float(c->node, "alpha", 1e-4f), beta = attr_float(c->node, "beta", 0.75f),
           bias = attr_float(c->node, "bias", 1);
    int64_t below = (size - 1) / 2, above = size - 1 - below;
    struct walk w;
    for (int64_t ch = 0; ch < channels; ch++) {
        struct view from = view_part(x, 1, ch, 1), to = view_part(y, 1, ch, 1);
        const struct view *views[] = {&to, &from};
        int64_t low = ch < below ? -ch : -below, high = above > channels - 1 - ch ? channels - 1 - ch : above;
        for (bool more = walk_start_any(&w, 2, views); more; more = walk_next(&w))
            for (int64_t k = 0; k < w.inner; k++) {
                int64_t at = walk_at(&w, 1, k);
                double sum = 0;
                for (int64_t j = low; j <= high; j++) {
                    double v = real_at(&from, at + j * step);
                    sum += v * v;
                }
                put_real(&to, walk_at(&w, 0, k),
                         real_at(&from, at) / pow(bias + alpha / (double)size * sum, beta));
            }
    }
    return FL_OK;
}
