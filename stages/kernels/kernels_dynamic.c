/* kernels_dynamic.c - products whose numbers become integers while they run
 *
 * ONNX Runtime's dynamic quantization gives weights as integers and leaves each value's reach to the run
 * (load/pass_dynamic.c marks such products). Each request's numbers are taken as 0 to 255 of a step of their
 * own, the product of integers is oneDNN's, and what the integer 0 adds comes off behind it. So requests that
 * share a batch do not change one another's answers.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "kernels_list.h"
#include "stages/simd/low.h"
#include "stages/simd/simd.h"

#if defined(FREEZELINE_DNNL)

struct dynamic {
    void *product; /* oneDNN's state */
    struct node node;
    int64_t k, n, rows;            /* rows of a request */
    float *sums;                   /* of each column of the weights */
    float *bias;                   /* NULL: none */
    size_t integers, scale, shift; /* places in scratch */
};

/* The product alone: integers of one each, to numbers. */
static void inner_call(const struct op_call *c, struct node *node, struct view in[2], struct view *out,
                       struct op_call *inner)
{
    *node = *c->node;
    node->n_in = 2;
    node->post = (struct post){GRAPH_NONE, ACT_NONE, 0, 0};
    in[0] = c->in[0];
    in[0].dtype = in[0].low = TENSOR_U8;
    in[0].scale = 1;
    in[1] = c->in[1];
    *out = c->out[0];
    *inner = (struct op_call){node, c->opset, 2, 1, in, out};
}

static bool accepts(const struct kernel_task *t)
{
    const struct op_call *c = &t->call;
    struct kernel_task inner = *t;
    struct node node;
    struct view in[2], out;
    struct product p;
    if (!attr_int(c->node, "dynamic", 0) || !product_of(&p, c) || c->in[0].data ||
        c->in[0].low != TENSOR_NONE || c->in[1].low != TENSOR_I8 || !p.b || p.m % t->max_batch ||
        (p.c_view && (!p.bias || p.bias_is_scalar)))
        return false;
    inner_call(c, &node, in, &out, &inner.call);
    return kernel_onednn_low_product.accepts(&inner);
}

static int prepare_sums(struct dynamic *s, struct kernel_task *t, const struct product *p)
{
    s->sums = weights_alloc(t->weights, (size_t)p->n * sizeof *s->sums);
    if (p->bias && !(s->bias = weights_alloc(t->weights, (size_t)p->n * sizeof *s->bias)))
        return FL_NOMEM;
    if (!s->sums)
        return FL_NOMEM;
    for (int64_t j = 0; j < p->n; j++) {
        double sum = 0;
        for (int64_t i = 0; i < p->k; i++)
            sum += (double)p->b[p->trans_b ? j * p->k + i : i * p->n + j];
        s->sums[j] = (float)sum;
    }
    if (p->bias)
        memcpy(s->bias, p->bias, (size_t)p->n * sizeof *s->bias);
    return FL_OK;
}

static size_t add_room(struct kernel_task *t, int64_t bytes)
{
    size_t at = (t->scratch_bytes + 63) / 64 * 64;
    t->scratch_bytes = at + (size_t)bytes + 64;
    return at;
}

static int prepare(struct kernel_task *t, void **state)
{
    struct dynamic *s = calloc(1, sizeof *s);
    struct kernel_task inner = *t;
    struct view in[2], out;
    struct product p;
    int rc;
    *state = s;
    if (!s)
        return FL_NOMEM;
    product_of(&p, &t->call);
    s->k = p.k;
    s->n = p.n;
    s->rows = p.m / t->max_batch;
    inner_call(&t->call, &s->node, in, &out, &inner.call);
    if ((rc = kernel_onednn_low_product.prepare(&inner, &s->product)) || (rc = prepare_sums(s, t, &p)))
        return rc;
    kernel_packs_constants(t);
    t->alias = GRAPH_NONE; /* a residual is added when the product has been written */
    t->scratch_bytes = inner.scratch_bytes;
    s->integers = add_room(t, p.m * p.k);
    s->scale = add_room(t, p.n * (int64_t)sizeof(float));
    s->shift = add_room(t, p.n * (int64_t)sizeof(float));
    return FL_OK;
}

/* A step so that 0 to 255 reach from the smallest number to the largest, 0 among them. */
static struct scale scale_of(const float *x, int64_t n)
{
    float low = 0, high = 0;
    struct scale s;
    simd_best()->range(x, n, &low, &high);
    s.step = (high - low) / 255;
    if (!(s.step > 0) || isinf(s.step))
        return (struct scale){1, 0};
    s.zero = (int)nearbyintf(-low / s.step);
    return s;
}

/* One request's rows: the product of integers to what it stands for. */
static void finish(const struct dynamic *s, const struct op_call *c, struct scale q, int64_t row,
                   char *scratch)
{
    const struct post *post = &c->node->post, none = {GRAPH_NONE, ACT_NONE, 0, 0};
    bool adds = post->residual != GRAPH_NONE;
    float *y = (float *)c->out[0].data + row * s->n, *scale = (float *)(void *)(scratch + s->scale),
          *shift = (float *)(void *)(scratch + s->shift);
    for (int64_t j = 0; j < s->n; j++) {
        scale[j] = q.step;
        shift[j] = (s->bias ? s->bias[j] : 0) - q.step * (float)q.zero * s->sums[j];
    }
    simd_best()->scale_shift(adds ? &none : post, y, s->n, scale, shift, y, s->rows, s->n);
    if (adds)
        simd_best()->post(post, y, (const float *)c->in[post->residual].data + row * s->n, s->rows * s->n);
}

static int run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    struct dynamic *s = state;
    int64_t rows = view_count(&c->in[0]) / s->k, each = s->rows * s->k;
    char *scratch = r->scratch;
    struct view in[2], out;
    struct op_call inner;
    struct node node;
    int rc;
    for (int64_t row = 0; row < rows; row += s->rows) {
        const float *x = (const float *)c->in[0].data + row * s->k;
        low_narrow(x, TENSOR_U8, scale_of(x, each), scratch + s->integers + row * s->k, each);
    }
    inner_call(c, &node, in, &out, &inner);
    in[0].data = scratch + s->integers;
    if ((rc = kernel_onednn_low_product.run(s->product, &inner, r)))
        return rc;
    for (int64_t row = 0; row < rows; row += s->rows)
        finish(s, c, scale_of((const float *)c->in[0].data + row * s->k, each), row, scratch);
    return FL_OK;
}

static void release(void *state)
{
    struct dynamic *s = state;
    if (s)
        kernel_onednn_low_product.release(s->product);
    free(s);
}

const struct kernel kernel_onednn_dynamic = {
    .name = "onednn dynamic",
    .family = KERNEL_LOW,
    .accepts = accepts,
    .prepare = prepare,
    .run = run,
    .release = release,
};

#endif
