/* kernels_onednn.c - convolution by oneDNN 2 or 3, where the build has it (FREEZELINE_DNNL)
 *
 * The only file that knows oneDNN's API. A primitive is made for one batch size, so each node has one for
 * max_batch and one for each power of two below, and a run is put together from them. Source and destination
 * are channels-last, weights lie as the primitive likes them, scratchpads are ours.
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

#if DNNL_VERSION_MAJOR != 2 && DNNL_VERSION_MAJOR != 3
#error "kernels_onednn.c is written for oneDNN 2 and 3; build with `make DNNL=`"
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

/* What a primitive is made for: its memories, and how the window moves. `weights` leaves their order to the
 * primitive, `plain` is the model's own. */
struct problem {
    dnnl_memory_desc_t src, dst, weights, plain, bias;
    bool has_bias;
    dnnl_dims_t strides, dilates, before, after;
};

/* The two interfaces. oneDNN 2 has values for descriptors of memories and makes a primitive's in two steps;
 * oneDNN 3 hands out pointers, which may be NULL here, and makes a primitive's in one. */
#if DNNL_VERSION_MAJOR == 2

typedef const dnnl_memory_desc_t *desc_view;

static desc_view view_of(const dnnl_memory_desc_t *d)
{
    return d;
}

static dnnl_status_t desc_new(dnnl_memory_desc_t *d, int n, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(d, n, dims, dnnl_f32, tag);
}

static void desc_free(dnnl_memory_desc_t *d)
{
    (void)d;
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, beta);
}

static dnnl_status_t describe_conv(dnnl_primitive_desc_t *pd, const struct problem *p,
                                   dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t rc = dnnl_dilated_convolution_forward_desc_init(
        &d, dnnl_forward_inference, dnnl_convolution_direct, &p->src, &p->weights,
        p->has_bias ? &p->bias : NULL, &p->dst, p->strides, p->dilates, p->before, p->after);
    return rc ? rc : dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

#else

typedef const_dnnl_memory_desc_t desc_view;

static desc_view view_of(const dnnl_memory_desc_t *d)
{
    return *d;
}

static dnnl_status_t desc_new(dnnl_memory_desc_t *d, int n, const dnnl_dims_t dims, dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(d, n, dims, dnnl_f32, tag);
}

static void desc_free(dnnl_memory_desc_t *d)
{
    if (*d)
        dnnl_memory_desc_destroy(*d);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(ops, kind, alpha, beta);
}

static dnnl_status_t describe_conv(dnnl_primitive_desc_t *pd, const struct problem *p,
                                   dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_forward_primitive_desc_create(
        pd, engine, dnnl_forward_inference, dnnl_convolution_direct, p->src, p->weights, p->bias, p->dst,
        p->strides, p->dilates, p->before, p->after, attr);
}

#endif

static desc_view desc_in(const_dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(pd, what, 0);
}

/* A primitive for `batch` images and its memories; data handles are set at each run. */
struct sized {
    int batch;
    dnnl_primitive_t primitive;
    dnnl_memory_t src, dst, weights, bias, scratchpad;
    size_t scratch_bytes;
};

struct onednn {
    struct window2d w;
    int threads, n_sizes;
    struct sized size[MAX_SIZES]; /* largest first */
    bool sum;                     /* a residual is added */
    struct post after;            /* what oneDNN does not do itself */
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

/* Source, destination and the window's way over them; true when oneDNN has no such memory. */
static bool describe_window(struct problem *p, const struct window2d *w, int64_t batch)
{
    *p = (struct problem){.strides = {w->sh, w->sw},
                          .dilates = {w->dh - 1, w->dw - 1},
                          .before = {w->top, w->left},
                          .after = {w->bottom, w->right}};
    return desc_new(&p->src, 4, (dnnl_dims_t){batch, w->ic, w->ih, w->iw}, dnnl_nhwc) ||
           desc_new(&p->dst, 4, (dnnl_dims_t){batch, w->oc, w->oh, w->ow}, dnnl_nhwc);
}

static bool describe_weights(struct problem *p, const struct window2d *w, bool bias)
{
    int64_t g = w->groups;
    dnnl_dims_t all = {w->oc, w->ic, w->kh, w->kw}, grouped = {g, w->oc / g, w->ic / g, w->kh, w->kw};
    int n = g == 1 ? 4 : 5;
    p->has_bias = bias;
    return desc_new(&p->weights, n, g == 1 ? all : grouped, dnnl_format_tag_any) ||
           desc_new(&p->plain, n, g == 1 ? all : grouped, g == 1 ? dnnl_oihw : dnnl_goihw) ||
           (bias && desc_new(&p->bias, 1, (dnnl_dims_t){w->oc}, dnnl_x));
}

static void problem_free(struct problem *p)
{
    desc_free(&p->src);
    desc_free(&p->dst);
    desc_free(&p->weights);
    desc_free(&p->plain);
    desc_free(&p->bias);
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
        *alpha = 1.0F / 6; /* oneDNN 2 knows these, oneDNN 3 asks */
        *beta = 0.5F;
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
    if (ok && p->residual != GRAPH_NONE)
        ok = append_sum(ops) == dnnl_success;
    if (ok && eltwise_of(p, &kind, &alpha, &beta))
        ok = append_eltwise(ops, kind, alpha, beta) == dnnl_success;
    ok = ok && dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success;
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (!ok && attr)
        dnnl_primitive_attr_destroy(attr);
    return ok ? attr : NULL;
}

static int make_memory(dnnl_memory_t *m, desc_view d, void *data)
{
    return dnnl_memory_create(m, d, engine, data ? data : DNNL_MEMORY_NONE) != dnnl_success;
}

/* From the primitive descriptor to the primitive with its memories. */
static int finish_size(struct sized *z, const_dnnl_primitive_desc_t pd)
{
    desc_view scratch = desc_in(pd, dnnl_query_scratchpad_md);
    int failed = dnnl_primitive_create(&z->primitive, pd) != dnnl_success ||
                 make_memory(&z->src, desc_in(pd, dnnl_query_src_md), NULL) ||
                 make_memory(&z->dst, desc_in(pd, dnnl_query_dst_md), NULL) ||
                 make_memory(&z->scratchpad, scratch, NULL);
    z->scratch_bytes = failed ? 0 : dnnl_memory_desc_get_size(scratch);
    return failed ? FL_UNSUPPORTED : FL_OK;
}

static int reorder(dnnl_memory_t from, desc_view from_desc, dnnl_memory_t to, desc_view to_desc)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    int failed = dnnl_reorder_primitive_desc_create(&pd, from_desc, engine, to_desc, engine, NULL) ||
                 dnnl_primitive_create(&primitive, pd) || dnnl_primitive_execute(primitive, stream, 2, args);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
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

/* Brings the weights from the model's order, `plain`, into the primitive's, or shares what is packed so. */
static int pack_weights(struct onednn *s, struct sized *z, const struct kernel_task *t, desc_view plain,
                        desc_view want)
{
    void *data = packed_already(s, z, want);
    dnnl_memory_t source = NULL;
    int rc = FL_UNSUPPORTED;
    if (data)
        return make_memory(&z->weights, want, data) ? FL_NOMEM : FL_OK;
    data = weights_alloc(t->weights, dnnl_memory_desc_get_size(want));
    if (!data)
        return FL_NOMEM;
    if (!make_memory(&source, plain, (void *)(uintptr_t)t->call.in[1].data) &&
        !make_memory(&z->weights, want, data))
        rc = reorder(source, plain, z->weights, want);
    if (source)
        dnnl_memory_destroy(source);
    return rc;
}

static int make_conv(struct onednn *s, struct sized *z, const struct kernel_task *t, float *bias)
{
    struct problem p = {0};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_attr_t attr = make_attr(&t->call.node->post);
    int rc = FL_UNSUPPORTED;
    if (attr && !describe_window(&p, &s->w, z->batch) && !describe_weights(&p, &s->w, bias != NULL) &&
        !describe_conv(&pd, &p, attr)) {
        rc = finish_size(z, pd);
        if (!rc && bias && make_memory(&z->bias, view_of(&p.bias), bias))
            rc = FL_NOMEM;
        if (!rc)
            rc = pack_weights(s, z, t, view_of(&p.plain), desc_in(pd, dnnl_query_weights_md));
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
        if ((rc = make_conv(s, z, t, bias)))
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
        bias = conv_bias(t, s->w.oc);
        if (!bias)
            return FL_NOMEM;
    }
    kernel_packs_constants(t);
    return make_sizes(s, t, bias);
}

static int run_size(const struct sized *z, const float *x, float *y, void *scratch)
{
    dnnl_exec_arg_t args[5] = {{DNNL_ARG_SRC, z->src},
                               {DNNL_ARG_DST, z->dst},
                               {DNNL_ARG_SCRATCHPAD, z->scratchpad},
                               {DNNL_ARG_WEIGHTS, z->weights},
                               {DNNL_ARG_BIAS, z->bias}};
    int n = z->bias ? 5 : 4;
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

#else

const char *onednn_version(void)
{
    return "im2col + OpenBLAS";
}

#endif
