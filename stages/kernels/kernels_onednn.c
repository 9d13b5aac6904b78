/* kernels_onednn.c - convolution and pooling by oneDNN 2.x, where the build has it (FREEZELINE_DNNL)
 *
 * The only file that knows oneDNN's API (oneDNN 3 changed it). A primitive is made for one batch size, so
 * each node has one for max_batch and one for each power of two below, and a run is put together from them.
 * Source and destination are channels-last, weights lie as the primitive likes them, scratchpads are ours.
 */
#include "onednn.h"

#if defined(FREEZELINE_DNNL)

#include <dlfcn.h>
#include <dnnl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "kernels_list.h"
#include "recycle.h"
#include "simd.h"

#if DNNL_VERSION_MAJOR != 2
#error "kernels_onednn.c is written for oneDNN 2; build with `make DNNL=`"
#endif

#define MAX_SIZES 24

const char *onednn_version(void)
{
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    if (!text[0])
        snprintf(text, sizeof text, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
    return text;
}

/* One engine and stream for the process: streams of the CPU engine carry no state between executions. */
static dnnl_engine_t engine;
static dnnl_stream_t stream;
static void (*set_threads)(int);

static void open_engine(void)
{
    recycle_link();
    if (dnnl_engine_create(&engine, dnnl_cpu, 0))
        engine = NULL;
    else if (dnnl_stream_create(&stream, engine, dnnl_stream_default_flags))
        stream = NULL;
    /* oneDNN computes on OpenMP's threads; that library is its own, not ours. */
    *(void **)&set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
}

static bool engine_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_engine);
    return stream != NULL;
}

/* A primitive for `batch` images and its memories; data handles are set at each run. */
struct sized {
    int batch;
    dnnl_primitive_t primitive;
    dnnl_memory_t src, dst, weights, bias, scratchpad;
    dnnl_memory_desc_t weights_desc;
    size_t scratch_bytes;
};

struct onednn {
    struct window2d w;
    int threads, n_sizes;
    struct sized size[MAX_SIZES]; /* largest first */
    bool is_pool, sum;
    struct post after; /* what oneDNN does not do itself */
};

static void release(void *state)
{
    struct onednn *s = state;
    if (!s)
        return;
    for (int i = 0; i < s->n_sizes; i++) {
        struct sized *z = &s->size[i];
        dnnl_memory_t memory[] = {z->src, z->dst, z->weights, z->bias, z->scratchpad};
        for (size_t k = 0; k < sizeof memory / sizeof *memory; k++)
            if (memory[k])
                dnnl_memory_destroy(memory[k]);
        if (z->primitive)
            dnnl_primitive_destroy(z->primitive);
    }
    free(s);
}

static int image_desc(dnnl_memory_desc_t *d, int64_t n, int64_t c, int64_t h, int64_t w)
{
    return dnnl_memory_desc_init_by_tag(d, 4, (dnnl_dims_t){n, c, h, w}, dnnl_f32, dnnl_nhwc) != dnnl_success;
}

/* The activation as one of oneDNN's; false when there is none. */
static bool eltwise_of(const struct post *p, dnnl_alg_kind_t *kind, float *alpha, float *beta)
{
    *alpha = *beta = 0;
    switch (p->activation) {
    case ACT_RELU:
        *kind = dnnl_eltwise_relu;
        return true;
    case ACT_LEAKY_RELU:
        *kind = dnnl_eltwise_relu;
        *alpha = p->alpha;
        return true;
    case ACT_CLIP:
        *kind = dnnl_eltwise_clip;
        *alpha = p->alpha;
        *beta = p->beta;
        return true;
    case ACT_SIGMOID:
        *kind = dnnl_eltwise_logistic;
        return true;
    case ACT_SILU:
        *kind = dnnl_eltwise_swish;
        *alpha = 1;
        return true;
    case ACT_HARD_SWISH:
        *kind = dnnl_eltwise_hardswish;
        return true;
    default:
        return false;
    }
}

/* Attributes: the residual is a sum into dst, then the activation. */
static dnnl_primitive_attr_t make_attr(const struct post *p)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_alg_kind_t kind;
    float alpha, beta;
    bool ok = dnnl_primitive_attr_create(&attr) == dnnl_success &&
              dnnl_post_ops_create(&ops) == dnnl_success &&
              dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success;
    if (ok && p && p->residual != GRAPH_NONE)
        ok = dnnl_post_ops_append_sum(ops, 1) == dnnl_success;
    if (ok && p && eltwise_of(p, &kind, &alpha, &beta))
        ok = dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, beta) == dnnl_success;
    ok = ok && dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success;
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (!ok && attr)
        dnnl_primitive_attr_destroy(attr);
    return ok ? attr : NULL;
}

static int make_memory(dnnl_memory_t *m, const dnnl_memory_desc_t *d, void *data)
{
    return dnnl_memory_create(m, d, engine, data ? data : DNNL_MEMORY_NONE) != dnnl_success;
}

/* From the primitive descriptor to the primitive with its memories. Takes `pd`. */
static int finish_size(struct sized *z, dnnl_primitive_desc_t pd)
{
    const dnnl_memory_desc_t *scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    int failed = dnnl_primitive_create(&z->primitive, pd) != dnnl_success ||
                 make_memory(&z->src, dnnl_primitive_desc_query_md(pd, dnnl_query_src_md, 0), NULL) ||
                 make_memory(&z->dst, dnnl_primitive_desc_query_md(pd, dnnl_query_dst_md, 0), NULL) ||
                 make_memory(&z->scratchpad, scratch, NULL);
    z->scratch_bytes = failed ? 0 : dnnl_memory_desc_get_size(scratch);
    return failed ? FL_UNSUPPORTED : FL_OK;
}

static int weights_plain(const struct window2d *w, dnnl_memory_desc_t *d, bool any)
{
    int64_t g = w->groups;
    dnnl_status_t rc;
    if (g == 1)
        rc = dnnl_memory_desc_init_by_tag(d, 4, (dnnl_dims_t){w->oc, w->ic, w->kh, w->kw}, dnnl_f32,
                                          any ? dnnl_format_tag_any : dnnl_oihw);
    else
        rc = dnnl_memory_desc_init_by_tag(d, 5, (dnnl_dims_t){g, w->oc / g, w->ic / g, w->kh, w->kw},
                                          dnnl_f32, any ? dnnl_format_tag_any : dnnl_goihw);
    return rc != dnnl_success;
}

/* Brings the weights into the primitive's order, or shares what an earlier size has packed in the same order.
 */
static int pack_weights(struct onednn *s, struct sized *z, const float *from, struct weights *to)
{
    dnnl_memory_desc_t plain;
    dnnl_memory_t source = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t reorder = NULL;
    void *data;
    int failed;
    for (struct sized *other = s->size; other < z; other++)
        if (dnnl_memory_desc_equal(&other->weights_desc, &z->weights_desc)) {
            if (dnnl_memory_get_data_handle(other->weights, &data))
                return FL_UNSUPPORTED;
            return make_memory(&z->weights, &z->weights_desc, data) ? FL_NOMEM : FL_OK;
        }
    data = weights_alloc(to, dnnl_memory_desc_get_size(&z->weights_desc));
    if (!data)
        return FL_NOMEM;
    failed = weights_plain(&s->w, &plain, false) || make_memory(&source, &plain, (void *)(uintptr_t)from) ||
             make_memory(&z->weights, &z->weights_desc, data) ||
             dnnl_reorder_primitive_desc_create(&pd, &plain, engine, &z->weights_desc, engine, NULL) !=
                 dnnl_success ||
             dnnl_primitive_create(&reorder, pd) != dnnl_success;
    if (!failed) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, z->weights}};
        failed = dnnl_primitive_execute(reorder, stream, 2, args) != dnnl_success;
    }
    if (reorder)
        dnnl_primitive_destroy(reorder);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    if (source)
        dnnl_memory_destroy(source);
    return failed ? FL_UNSUPPORTED : FL_OK;
}

static int make_conv(struct onednn *s, struct sized *z, const struct kernel_task *t, float *bias)
{
    const struct window2d *w = &s->w;
    dnnl_dims_t strides = {w->sh, w->sw}, dilates = {w->dh - 1, w->dw - 1}, before = {w->top, w->left},
                after = {w->bottom, w->right};
    dnnl_memory_desc_t src, dst, weights, bias_desc;
    dnnl_convolution_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t attr;
    int rc;
    if (image_desc(&src, z->batch, w->ic, w->ih, w->iw) || image_desc(&dst, z->batch, w->oc, w->oh, w->ow) ||
        weights_plain(w, &weights, true) ||
        dnnl_memory_desc_init_by_tag(&bias_desc, 1, (dnnl_dims_t){w->oc}, dnnl_f32, dnnl_x))
        return FL_UNSUPPORTED;
    if (dnnl_dilated_convolution_forward_desc_init(&desc, dnnl_forward_inference, dnnl_convolution_direct,
                                                   &src, &weights, bias ? &bias_desc : NULL, &dst, strides,
                                                   dilates, before, after))
        return FL_UNSUPPORTED;
    attr = make_attr(&t->call.node->post);
    if (!attr || dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL))
        pd = NULL;
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    if (!pd)
        return FL_UNSUPPORTED;
    z->weights_desc = *dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    rc = finish_size(z, pd);
    dnnl_primitive_desc_destroy(pd);
    if (!rc && bias && make_memory(&z->bias, &bias_desc, bias))
        rc = FL_NOMEM;
    return rc ? rc : pack_weights(s, z, t->call.in[1].data, t->weights);
}

static int make_pool(struct onednn *s, struct sized *z, const struct kernel_task *t)
{
    const struct window2d *w = &s->w;
    dnnl_alg_kind_t kind = dnnl_pooling_max;
    dnnl_dims_t strides = {w->sh, w->sw}, kernel = {w->kh, w->kw}, dilates = {w->dh - 1, w->dw - 1};
    dnnl_dims_t before = {w->top, w->left}, after = {w->bottom, w->right};
    dnnl_memory_desc_t src, dst;
    dnnl_pooling_v2_desc_t desc;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t attr;
    int rc;
    if (strcmp(t->call.node->op->name, "MaxPool"))
        kind = attr_int(t->call.node, "count_include_pad", 0) ? dnnl_pooling_avg_include_padding
                                                              : dnnl_pooling_avg_exclude_padding;
    if (image_desc(&src, z->batch, w->ic, w->ih, w->iw) || image_desc(&dst, z->batch, w->oc, w->oh, w->ow) ||
        dnnl_pooling_v2_forward_desc_init(&desc, dnnl_forward_inference, kind, &src, &dst, strides, kernel,
                                          dilates, before, after))
        return FL_UNSUPPORTED;
    attr = make_attr(NULL);
    if (!attr || dnnl_primitive_desc_create(&pd, &desc, attr, engine, NULL))
        pd = NULL;
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    if (!pd)
        return FL_UNSUPPORTED;
    rc = finish_size(z, pd);
    dnnl_primitive_desc_destroy(pd);
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
        if ((rc = s->is_pool ? make_pool(s, z, t) : make_conv(s, z, t, bias)))
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

static struct onednn *new_state(const struct kernel_task *t)
{
    struct onednn *s = calloc(1, sizeof *s);
    if (s) {
        s->threads = t->threads;
        s->after = (struct post){GRAPH_NONE, ACT_NONE, 0, 0};
        if (set_threads)
            set_threads(t->threads);
    }
    return s;
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
    return window_of_conv(&w, &t->call) && w.n > 0 && meets_input(&w) && engine_ready();
}

static int conv_prepare(struct kernel_task *t, void **state)
{
    const struct post *p = &t->call.node->post;
    struct onednn *s = new_state(t);
    dnnl_alg_kind_t kind;
    float *bias = NULL, alpha, beta;
    *state = s;
    if (!s)
        return FL_NOMEM;
    window_of_conv(&s->w, &t->call);
    s->w.dh = s->w.kh == 1 ? 1 : s->w.dh;
    s->w.dw = s->w.kw == 1 ? 1 : s->w.dw;
    s->sum = p->residual != GRAPH_NONE;
    if (p->activation != ACT_NONE && !eltwise_of(p, &kind, &alpha, &beta)) {
        s->after = *p;
        s->after.residual = GRAPH_NONE;
    }
    if (view_present(&t->call, 2)) {
        bias = weights_alloc(t->weights, (size_t)s->w.oc * sizeof *bias);
        if (!bias)
            return FL_NOMEM;
        memcpy(bias, t->call.in[2].data, (size_t)s->w.oc * sizeof *bias);
    }
    kernel_mark_packed(t, 1);
    kernel_mark_packed(t, 2);
    t->alias = p->residual;
    return make_sizes(s, t, bias);
}

static bool pool_accepts(const struct kernel_task *t)
{
    struct window2d w;
    const struct node *n = t->call.node;
    if (!window_of_pool(&w, &t->call) || n->post.residual != GRAPH_NONE || w.n < 1)
        return false;
    /* A window that is cut off at the end counts differently in an average. */
    return (!attr_int(n, "ceil_mode", 0) || !strcmp(n->op->name, "MaxPool")) && engine_ready();
}

static int pool_prepare(struct kernel_task *t, void **state)
{
    struct onednn *s = new_state(t);
    *state = s;
    if (!s)
        return FL_NOMEM;
    window_of_pool(&s->w, &t->call);
    s->is_pool = true;
    s->after = t->call.node->post;
    return make_sizes(s, t, NULL);
}

static int run_size(const struct onednn *s, const struct sized *z, const float *x, float *y, void *scratch)
{
    dnnl_exec_arg_t args[5] = {
        {DNNL_ARG_SRC, z->src}, {DNNL_ARG_DST, z->dst}, {DNNL_ARG_SCRATCHPAD, z->scratchpad}};
    int n = 3;
    if (!s->is_pool)
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, z->weights};
    if (z->bias)
        args[n++] = (dnnl_exec_arg_t){DNNL_ARG_BIAS, z->bias};
    if (dnnl_memory_set_data_handle(z->src, (void *)(uintptr_t)x) || dnnl_memory_set_data_handle(z->dst, y) ||
        dnnl_memory_set_data_handle(z->scratchpad, scratch) ||
        dnnl_primitive_execute(z->primitive, stream, n, args))
        return FL_INTERNAL;
    return FL_OK;
}

static int run(void *state, const struct op_call *c, const struct kernel_run *r)
{
    const struct onednn *s = state;
    const float *x = c->in[0].data;
    float *y = c->out[0].data;
    int64_t left = c->out[0].dim[0], in = s->w.ih * s->w.iw * s->w.ic, out = s->w.oh * s->w.ow * s->w.oc;
    if (set_threads)
        set_threads(s->threads);
    if (s->sum && c->in[c->node->post.residual].data != y)
        memcpy(y, c->in[c->node->post.residual].data, (size_t)(left * out) * sizeof *y);
    for (int i = 0; i < s->n_sizes; i++)
        for (; left >= s->size[i].batch; left -= s->size[i].batch) {
            int rc = run_size(s, &s->size[i], x, y, r->scratch);
            if (rc)
                return rc;
            x += s->size[i].batch * in;
            y += s->size[i].batch * out;
        }
    if (s->after.activation != ACT_NONE)
        simd_best()->post(&s->after, c->out[0].data, NULL, view_count(&c->out[0]));
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

const struct kernel kernel_onednn_pool = {
    .name = "onednn",
    .family = KERNEL_ONEDNN,
    .accepts = pool_accepts,
    .prepare = pool_prepare,
    .run = run,
    .release = release,
};

#else

const char *onednn_version(void)
{
    return "im2col + OpenBLAS";
}

#endif
