/* kernels_onednn.c - convolution by oneDNN in float32 and in lower types, products in lower types
 * (FREEZELINE_DNNL)
 *
 * A primitive is made for one batch size, so each node has one for max_batch and one for each power of two
 * below, and a run is put together from them. Source and destination are channels-last, weights lie as the
 * primitive likes them, scratchpads are ours. A product is taken as a window over one row of pixels: as many
 * as one request has rows.
 */
#if defined(FREEZELINE_DNNL)

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "kernels_list.h"
#include "stages/simd/low.h"
#include "onednn.h"
#include "onednn_api.h"

#define MAX_SIZES 24
#define MAX_ARGS  10

/* A primitive for `batch` images and its memories; data handles are set at each run. */
struct sized {
    int batch, n_args;
    dnnl_primitive_t primitive;
    dnnl_memory_t src, dst, weights, scratchpad;
    dnnl_exec_arg_t arg[MAX_ARGS]; /* owns all memories */
    size_t scratch_bytes;
};

struct onednn {
    struct window2d w;
    bool product, transposed; /* weights are [k][n], or [n][k] */
    int threads, n_sizes;
    struct sized size[MAX_SIZES]; /* largest first */
    enum tensor_dtype src, dst;   /* what it computes from and makes */
    enum tensor_dtype sum;        /* as what the residual lies in dst; TENSOR_NONE: there is none */
    struct steps steps;
    float *weight_steps, *shift; /* of each channel: the step of its weights, what its bias is raised by */
    size_t narrowed;             /* where in scratch the source is narrowed */
    struct post after;           /* what oneDNN does not do itself */
};

static void release(void *state)
{
    struct onednn *s = state;
    if (!s)
        return;
    for (int i = 0; i < s->n_sizes; i++) {
        struct sized *z = &s->size[i];
        for (int k = 0; k < z->n_args; k++)
            if (z->arg[k].memory)
                dnnl_memory_destroy(z->arg[k].memory);
        if (z->primitive)
            dnnl_primitive_destroy(z->primitive);
    }
    free(s->weight_steps);
    free(s->shift);
    free(s);
}

/* Source, destination and the window's way over them; true when oneDNN has no such memory. */
static bool describe_window(struct problem *p, const struct onednn *s, int64_t batch)
{
    const struct window2d *w = &s->w;
    *p = (struct problem){.strides = {w->sh, w->sw},
                          .dilates = {w->dh - 1, w->dw - 1},
                          .before = {w->top, w->left},
                          .after = {w->bottom, w->right}};
    return desc_new(&p->src, 4, (dnnl_dims_t){batch, w->ic, w->ih, w->iw}, onednn_type(s->src), dnnl_nhwc) ||
           desc_new(&p->dst, 4, (dnnl_dims_t){batch, w->oc, w->oh, w->ow}, onednn_type(s->dst), dnnl_nhwc);
}

/* Weights are float32, bfloat16, or integers with a step for each channel of the result. */
static enum tensor_dtype weights_type(const struct onednn *s)
{
    return s->src == TENSOR_U8 ? TENSOR_I8 : s->src;
}

/* Weights that make one channel of the result. */
static int64_t weights_each(const struct onednn *s)
{
    return s->w.ic / s->w.groups * s->w.kh * s->w.kw;
}

static bool describe_weights(struct problem *p, const struct onednn *s, bool bias)
{
    const struct window2d *w = &s->w;
    int64_t g = w->groups;
    dnnl_dims_t all = {w->oc, w->ic, w->kh, w->kw}, grouped = {g, w->oc / g, w->ic / g, w->kh, w->kw};
    int n = g == 1 ? 4 : 5;
    p->has_bias = bias;
    return desc_new(&p->weights, n, g == 1 ? all : grouped, onednn_type(weights_type(s)),
                    dnnl_format_tag_any) ||
           (s->steps.weights
                ? desc_new(&p->plain, n, g == 1 ? all : grouped, dnnl_s8, g == 1 ? dnnl_hwio : dnnl_hwigo)
                : desc_new(&p->plain, n, g == 1 ? all : grouped, dnnl_f32,
                           g == 1 ? dnnl_oihw : dnnl_goihw)) ||
           (bias && desc_new(&p->bias, 1, (dnnl_dims_t){w->oc}, dnnl_f32, dnnl_x));
}

static bool describe_product(struct problem *p, const struct onednn *s, int64_t batch, bool bias)
{
    int64_t rows = batch * s->w.iw, k = s->w.ic, n = s->w.oc;
    *p = (struct problem){.has_bias = bias};
    return desc_new(&p->src, 2, (dnnl_dims_t){rows, k}, onednn_type(s->src), dnnl_ab) ||
           desc_new(&p->dst, 2, (dnnl_dims_t){rows, n}, onednn_type(s->dst), dnnl_ab) ||
           desc_new(&p->weights, 2, (dnnl_dims_t){k, n}, onednn_type(weights_type(s)), dnnl_format_tag_any) ||
           desc_new(&p->plain, 2, (dnnl_dims_t){k, n}, s->steps.weights ? dnnl_s8 : dnnl_f32,
                    s->transposed || s->steps.weights ? dnnl_ba : dnnl_ab) ||
           (bias && desc_new(&p->bias, 2, (dnnl_dims_t){1, n}, dnnl_f32, dnnl_ab));
}

static bool describe(dnnl_primitive_desc_t *pd, struct problem *p, const struct onednn *s, int64_t batch,
                     bool bias, dnnl_primitive_attr_t attr)
{
    if (s->product)
        return describe_product(p, s, batch, bias) || product_describe(pd, p, attr);
    return describe_window(p, s, batch) || describe_weights(p, s, bias) || conv_describe(pd, p, attr);
}

static int add_memory(struct sized *z, int what, desc_view d, void *data, dnnl_memory_t *m)
{
    dnnl_exec_arg_t *arg = &z->arg[z->n_args++];
    int rc = memory_new(&arg->memory, d, data);
    arg->arg = what;
    if (m)
        *m = arg->memory;
    return rc;
}

/* From the primitive descriptor to the primitive with its memories. */
static int finish_size(struct sized *z, const_dnnl_primitive_desc_t pd)
{
    desc_view scratch = desc_in(pd, dnnl_query_scratchpad_md);
    int failed = dnnl_primitive_create(&z->primitive, pd) != dnnl_success ||
                 add_memory(z, DNNL_ARG_SRC, desc_in(pd, dnnl_query_src_md), NULL, &z->src) ||
                 add_memory(z, DNNL_ARG_DST, desc_in(pd, dnnl_query_dst_md), NULL, &z->dst) ||
                 add_memory(z, DNNL_ARG_SCRATCHPAD, scratch, NULL, &z->scratchpad);
    z->scratch_bytes = failed ? 0 : dnnl_memory_desc_get_size(scratch);
    return failed ? FL_UNSUPPORTED : FL_OK;
}

/* What an earlier size has packed in the same order, or NULL. */
static void *packed_already(const struct onednn *s, const struct sized *z, desc_view want)
{
    desc_view has;
    void *data;
    for (const struct sized *other = s->size; other < z; other++)
        if (!dnnl_memory_get_memory_desc(other->weights, &has) && dnnl_memory_desc_equal(has, want) &&
            !dnnl_memory_get_data_handle(other->weights, &data))
            return data;
    return NULL;
}

/* The weights of channel i of the result, one after the other: a window's, or one column of a matrix. */
static void channel_weights(const struct onednn *s, const float *w, int64_t i, float *to)
{
    int64_t each = weights_each(s);
    for (int64_t k = 0; k < each; k++)
        to[k] = s->product && !s->transposed ? w[k * s->w.oc + i] : w[i * each + k];
}

/* One channel of a window's integers, inputs by places, into an order with places first and results last. */
static void spread_channel(const struct onednn *s, const int8_t *channel, int64_t o, int8_t *to)
{
    int64_t places = s->w.kh * s->w.kw, inputs = s->w.ic / s->w.groups;
    for (int64_t i = 0; i < inputs; i++)
        for (int64_t k = 0; k < places; k++)
            to[(k * inputs + i) * s->w.oc + o] = channel[i * places + k];
}

/* The model's weights as the primitive's come from them: themselves, or integers (owned by the caller): of a
 * product a column after the other, of a window with places first. With results first oneDNN 3.7's way into
 * blocks that it pads loses values (onednn_reorder). */
static void *plain_weights(const struct onednn *s, const float *w)
{
    int64_t each = weights_each(s);
    float *channel;
    int8_t *q, *one;
    if (!s->steps.weights)
        return (void *)(uintptr_t)w;
    q = malloc((size_t)(s->w.oc * each) + 1);
    channel = malloc((size_t)each * (sizeof *channel + 1) + 1);
    one = channel ? (int8_t *)(channel + each) : NULL;
    for (int64_t i = 0; q && channel && i < s->w.oc; i++) {
        channel_weights(s, w, i, channel);
        low_narrow(channel, TENSOR_I8, (struct scale){s->steps.weights[i], 0},
                   s->product ? q + i * each : one, each);
        if (!s->product)
            spread_channel(s, one, i, q);
    }
    if (!channel) {
        free(q);
        q = NULL;
    }
    free(channel);
    return q;
}

/* Brings the weights from the model's order, `plain`, into the primitive's, or shares what is packed so. */
static int pack_weights(struct onednn *s, struct sized *z, const struct kernel_task *t, desc_view plain,
                        desc_view want)
{
    void *data = packed_already(s, z, want), *from;
    dnnl_memory_t source = NULL;
    int rc = FL_NOMEM;
    if (data)
        return add_memory(z, DNNL_ARG_WEIGHTS, want, data, &z->weights) ? FL_NOMEM : FL_OK;
    data = weights_alloc(t->weights, dnnl_memory_desc_get_size(want));
    from = plain_weights(s, t->call.in[1].data);
    if (data && from && !memory_new(&source, plain, from) &&
        !add_memory(z, DNNL_ARG_WEIGHTS, want, data, &z->weights))
        rc = onednn_reorder(source, plain, z->weights, want);
    if (source)
        dnnl_memory_destroy(source);
    if (from != t->call.in[1].data)
        free(from);
    return rc;
}

static int add_scales(struct onednn *s, struct sized *z, const struct kernel_task *t)
{
    float *room = weights_alloc(t->weights, (size_t)(s->w.oc + 3) * sizeof *room);
    int n, rc = room ? onednn_scales(z->arg + z->n_args, &n, &s->steps, room) : FL_NOMEM;
    z->n_args += room ? n : 0;
    return rc;
}

static int make_primitive(struct onednn *s, struct sized *z, const struct kernel_task *t, float *bias)
{
    struct problem p = {0};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t attr = onednn_attr(&t->call.node->post, onednn_type(s->sum), &s->steps);
    int rc = FL_UNSUPPORTED;
    if (attr && !describe(&pd, &p, s, z->batch, bias != NULL, attr)) {
        rc = finish_size(z, pd);
        if (!rc && bias && add_memory(z, DNNL_ARG_BIAS, desc_of(&p.bias), bias, NULL))
            rc = FL_NOMEM;
        if (!rc && s->steps.weights)
            rc = add_scales(s, z, t);
        if (!rc)
            rc = pack_weights(s, z, t, desc_of(&p.plain), desc_in(pd, dnnl_query_weights_md));
        dnnl_primitive_desc_destroy(pd);
    }
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    problem_free(&p);
    return rc;
}

/* max_batch, then the powers of two below it. */
static int make_sizes(struct onednn *s, struct kernel_task *t, float *bias)
{
    int64_t batch = s->w.n;
    for (bool first = true; batch > 0 && s->n_sizes < MAX_SIZES; first = false) {
        struct sized *z = &s->size[s->n_sizes++];
        int rc;
        z->batch = (int)batch;
        if ((rc = make_primitive(s, z, t, bias)))
            return rc;
        t->scratch_bytes = z->scratch_bytes > t->scratch_bytes ? z->scratch_bytes : t->scratch_bytes;
        if (first) {
            int64_t power = 1;
            while (power * 2 < batch)
                power *= 2;
            batch = batch == 1 ? 0 : power;
        } else {
            batch /= 2;
        }
    }
    return FL_OK;
}

/* oneDNN 2.6's AVX-512 convolutions compute garbage, or crash, for windows that can lie in the padding
 * altogether. */
static bool meets_input(const struct window2d *w)
{
    int64_t high = (w->kh - 1) * w->dh, wide = (w->kw - 1) * w->dw;
    return w->top <= high && w->bottom <= high && w->left <= wide && w->right <= wide;
}

static bool conv_accepts(const struct kernel_task *t)
{
    struct window2d w;
    return window_of_conv(&w, &t->call) && w.n > 0 && meets_input(&w) && onednn_ready();
}

static bool is_integer(enum tensor_dtype t)
{
    return t == TENSOR_U8 || t == TENSOR_I8;
}

/* Does a value fit beside a source of that type: bfloat16 beside bfloat16, integers beside integers? */
static bool matches(enum tensor_dtype src, const struct view *v)
{
    return v->low == TENSOR_NONE || is_integer(src) == is_integer(v->low);
}

/* Source, weights and residual may be taken in lower types that go together, and what follows is either
 * oneDNN's business or done on float32. */
static bool fits_low(const struct op_call *c)
{
    const struct post *p = &c->node->post;
    if (c->in[0].low == TENSOR_NONE || c->in[1].low == TENSOR_NONE || !matches(c->in[0].low, &c->out[0]) ||
        !(onednn_activates(p) || (c->out[0].dtype == TENSOR_F32 && c->out[0].low == TENSOR_NONE)))
        return false;
    if (p->residual == GRAPH_NONE)
        return true;
    return matches(c->in[0].low, &c->in[p->residual]) &&
           (!is_integer(c->out[0].dtype) || c->in[p->residual].low != TENSOR_NONE);
}

static bool low_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    struct window2d w;
    return window_of_low_conv(&w, c) && w.n > 0 && meets_input(&w) && fits_low(c) && onednn_ready();
}

static int new_state(struct onednn **out, const struct kernel_task *t)
{
    struct onednn *s = *out = calloc(1, sizeof *s);
    if (!s)
        return FL_NOMEM;
    s->threads = t->threads;
    s->src = s->dst = TENSOR_F32;
    s->sum = t->call.node->post.residual == GRAPH_NONE ? TENSOR_NONE : TENSOR_F32;
    s->steps = (struct steps){.src = 1, .dst = 1, .residual = 1};
    s->after = t->call.node->post;
    s->after.residual = GRAPH_NONE;
    if (onednn_activates(&s->after))
        s->after.activation = ACT_NONE;
    onednn_threads(t->threads);
    return FL_OK;
}

/* The step of each channel's weights. Without VNNI oneDNN adds two products in 16 bits, where 63 is what
 * never overflows. What the source's integers lie above their zero comes off the bias, where nothing is
 * padded. */
static int find_weight_steps(struct onednn *s, const float *w, int source_zero)
{
    int reach = onednn_speed(TENSOR_I8) == SPEED_FAST ? 127 : 63;
    int64_t each = weights_each(s);
    bool pads = s->w.top || s->w.left || s->w.bottom || s->w.right;
    float *channel = malloc((size_t)each * sizeof *channel + 1);
    s->weight_steps = malloc((size_t)s->w.oc * sizeof *s->weight_steps);
    s->shift = calloc((size_t)s->w.oc, sizeof *s->shift);
    for (int64_t i = 0; channel && s->weight_steps && s->shift && i < s->w.oc; i++) {
        double sum = 0;
        channel_weights(s, w, i, channel);
        s->weight_steps[i] = low_weight_step(channel, each, reach);
        for (int64_t k = 0; k < each && !pads; k++)
            sum += (double)(nearbyintf(channel[k] / s->weight_steps[i]) * s->weight_steps[i]);
        s->shift[i] = (float)(-sum * (double)source_zero * (double)s->steps.src);
    }
    s->steps.zero = pads ? source_zero : 0;
    s->steps.weights = s->weight_steps;
    s->steps.n = s->w.oc;
    s->steps.mask = s->product ? 2 : s->w.groups == 1 ? 1 : 3;
    free(channel);
    return channel && s->weight_steps && s->shift ? FL_OK : FL_NOMEM;
}

static int lower(struct onednn *s, const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    const struct view *residual = s->sum == TENSOR_NONE ? NULL : &c->in[c->node->post.residual];
    int rc;
    s->src = c->in[0].low;
    s->dst = c->out[0].dtype;
    if (residual)
        s->sum = is_integer(s->dst) ? residual->low : s->dst;
    if (!is_integer(s->src))
        return FL_OK;
    s->steps.src = c->in[0].scale;
    if (is_integer(s->dst)) {
        s->steps.dst = c->out[0].scale;
        s->steps.dst_zero = c->out[0].zero;
    }
    if ((rc = find_weight_steps(s, c->in[1].data, c->in[0].zero)))
        return rc;
    if (residual && is_integer(s->sum)) {
        s->steps.residual = residual->scale;
        for (int64_t i = 0; i < s->w.oc; i++)
            s->shift[i] -= residual->scale * (float)residual->zero;
    }
    return FL_OK;
}

/* Does anything but the model's bias go into it? */
static bool shifts(const struct onednn *s, float all)
{
    for (int64_t i = 0; s->shift && i < s->w.oc; i++)
        if (s->shift[i] != 0)
            return true;
    return all != 0;
}

static int make_bias(const struct onednn *s, struct kernel_task *t, float **bias)
{
    float all = onednn_bias_shift(&t->call.node->post, &s->steps);
    bool has = view_present(&t->call, 2) && t->call.node->post.residual != 2;
    *bias = NULL;
    if (!has && !shifts(s, all))
        return FL_OK;
    if (!(*bias = weights_alloc(t->weights, (size_t)s->w.oc * sizeof **bias)))
        return FL_NOMEM;
    for (int64_t i = 0; i < s->w.oc; i++) {
        float given = has ? ((const float *)t->call.in[2].data)[i] : 0;
        (*bias)[i] = (given + (s->shift ? s->shift[i] : 0) + all) / onednn_bias_unit(&s->steps, i);
    }
    return FL_OK;
}

static int prepare(struct kernel_task *t, struct onednn *s)
{
    float *bias;
    int rc;
    s->w.dh = s->w.kh == 1 ? 1 : s->w.dh;
    s->w.dw = s->w.kw == 1 ? 1 : s->w.dw;
    kernel_packs_constants(t);
    return (rc = make_bias(s, t, &bias)) ? rc : make_sizes(s, t, bias);
}

static int conv_prepare(struct kernel_task *t, void **state)
{
    struct onednn *s;
    int rc = new_state(&s, t);
    *state = s;
    if (rc)
        return rc;
    window_of_conv(&s->w, &t->call);
    return prepare(t, s);
}

/* What lies in float32 is narrowed behind the primitive's scratch. */
static int prepare_low(struct kernel_task *t, struct onednn *s)
{
    int rc = lower(s, t);
    if (rc || (rc = prepare(t, s)) || t->call.in[0].dtype == s->src)
        return rc;
    s->narrowed = (t->scratch_bytes + 63) / 64 * 64;
    t->scratch_bytes = s->narrowed + (size_t)view_count(&t->call.in[0]) * tensor_dtype_bytes(s->src) + 64;
    return FL_OK;
}

static int low_prepare(struct kernel_task *t, void **state)
{
    struct onednn *s;
    int rc = new_state(&s, t);
    *state = s;
    if (rc)
        return rc;
    window_of_low_conv(&s->w, &t->call);
    return prepare_low(t, s);
}

static bool product_accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    struct product p;
    if (!product_of_low(&p, c) || !fits_low(c) || !p.b || p.trans_a || p.alpha != 1 || p.beta != 1 ||
        (p.c_view && (!p.bias || p.bias_is_scalar)))
        return false;
    /* In bfloat16 the product that makes the model's scores stays in float32. */
    if (c->in[0].low == TENSOR_BF16 && c->out[0].low != TENSOR_BF16)
        return false;
    return p.m > 0 && p.k > 0 && p.n > 0 && p.m % t->max_batch == 0 && onednn_ready();
}

static int product_prepare(struct kernel_task *t, void **state)
{
    struct onednn *s;
    struct product p;
    int rc = new_state(&s, t);
    *state = s;
    if (rc)
        return rc;
    product_of_low(&p, &t->call);
    s->transposed = p.trans_b;
    s->product = true;
    s->w = (struct window2d){.n = t->max_batch, .ih = 1, .iw = p.m / t->max_batch, .ic = p.k, .oc = p.n};
    s->w.oh = s->w.kh = s->w.kw = s->w.groups = 1;
    s->w.ow = s->w.iw;
    return prepare_low(t, s);
}

static int run_size(const struct sized *z, const void *x, void *y, void *scratch)
{
    if (dnnl_memory_set_data_handle(z->src, (void *)(uintptr_t)x) || dnnl_memory_set_data_handle(z->dst, y) ||
        dnnl_memory_set_data_handle(z->scratchpad, scratch) ||
        dnnl_primitive_execute(z->primitive, onednn_stream(), z->n_args, z->arg))
        return FL_INTERNAL;
    return FL_OK;
}

static int run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct onednn *s = state;
    const char *x = c->in[0].data;
    char *y = c->out[0].data;
    int64_t each = s->w.oh * s->w.ow * s->w.oc, left = view_count(&c->out[0]) / each,
            in = s->w.ih * s->w.iw * s->w.ic * (int64_t)tensor_dtype_bytes(s->src),
            out = each * (int64_t)tensor_dtype_bytes(s->dst);
    onednn_threads(s->threads);
    if (s->sum != TENSOR_NONE && c->in[c->node->post.residual].data != y)
        low_move(&c->in[c->node->post.residual], s->sum, view_scale(&c->in[c->node->post.residual]), y);
    if (c->in[0].dtype != s->src) {
        low_move(&c->in[0], s->src, view_scale(&c->in[0]), (char *)r->scratch + s->narrowed);
        x = (char *)r->scratch + s->narrowed;
    }
    for (int i = 0; i < s->n_sizes; i++)
        for (; left >= s->size[i].batch; left -= s->size[i].batch) {
            int rc = run_size(&s->size[i], x, y, r->scratch);
            if (rc)
                return rc;
            x += s->size[i].batch * in;
            y += s->size[i].batch * out;
        }
    post_activate(&s->after, c->out[0].data, view_count(&c->out[0]));
    return FL_OK;
}

const struct kernel kernel_onednn_conv = {
    .name = "onednn",
    .family = KERNEL_ONEDNN,
    .accepts = conv_accepts,
    .prepare = conv_prepare,
    .run = run,
    .release = release,
};

const struct kernel kernel_onednn_low_conv = {
    .name = "onednn low",
    .family = KERNEL_LOW,
    .accepts = low_accepts,
    .prepare = low_prepare,
    .run = run,
    .release = release,
};

const struct kernel kernel_onednn_low_product = {
    .name = "onednn low",
    .family = KERNEL_LOW,
    .accepts = product_accepts,
    .prepare = product_prepare,
    .run = run,
    .release = release,
};

#endif
