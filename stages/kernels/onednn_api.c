/* onednn_api.c - oneDNN 2's interface and oneDNN 3's behind one */
#include "onednn.h"

#if defined(FREEZELINE_DNNL)

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "onednn_api.h"
#include "stages/simd/low.h"

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
static dnnl_stream_t the_stream;
static void (*set_threads)(int);

static void open_engine(void)
{
    if (dnnl_engine_create(&engine, dnnl_cpu, 0))
        engine = NULL;
    else if (dnnl_stream_create(&the_stream, engine, dnnl_stream_default_flags))
        the_stream = NULL;
    /* oneDNN computes on OpenMP's threads; that library is its own, not ours. */
    *(void **)&set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
}

bool onednn_ready(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_engine);
    return the_stream != NULL;
}

dnnl_stream_t onednn_stream(void)
{
    return the_stream;
}

void onednn_threads(int threads)
{
    if (set_threads)
        set_threads(threads);
}

enum speed onednn_speed(enum tensor_dtype low)
{
    unsigned isa = (unsigned)dnnl_get_effective_cpu_isa();
    unsigned bf16 = (unsigned)dnnl_cpu_isa_avx512_core_bf16, vnni = (unsigned)dnnl_cpu_isa_avx512_core_vnni,
             short_vnni = (unsigned)dnnl_cpu_isa_avx2_vnni, avx512 = (unsigned)dnnl_cpu_isa_avx512_core,
             avx2 = (unsigned)dnnl_cpu_isa_avx2;
    if (low == TENSOR_BF16)
        return (isa & bf16) == bf16 ? SPEED_FAST : (isa & avx512) == avx512 ? SPEED_SLOW : SPEED_NONE;
    if ((isa & vnni) == vnni || (isa & short_vnni) == short_vnni)
        return SPEED_FAST;
    return (isa & avx2) == avx2 ? SPEED_SLOW : SPEED_NONE;
}

dnnl_data_type_t onednn_type(enum tensor_dtype t)
{
    switch (t) {
    case TENSOR_F32:
        return dnnl_f32;
    case TENSOR_BF16:
        return dnnl_bf16;
    case TENSOR_U8:
        return dnnl_u8;
    case TENSOR_I8:
        return dnnl_s8;
    default:
        return dnnl_data_type_undef;
    }
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
    case ACT_GELU:
        *kind = dnnl_eltwise_gelu_erf;
        return true;
    case ACT_GELU_TANH:
        *kind = dnnl_eltwise_gelu_tanh;
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

bool onednn_activates(const struct post *p)
{
    dnnl_alg_kind_t kind;
    float alpha, beta;
    return p->activation == ACT_NONE || eltwise_of(p, &kind, &alpha, &beta);
}

/* Numbers that are given to the primitive at each run, for an attribute. */
static int number_memory(dnnl_exec_arg_t *arg, int what, dnnl_data_type_t type, void *data, int64_t n);

#if DNNL_VERSION_MAJOR == 2

desc_view desc_of(const dnnl_memory_desc_t *d)
{
    return d;
}

dnnl_status_t desc_new(dnnl_memory_desc_t *d, int n, const dnnl_dims_t dims, dnnl_data_type_t type,
                       dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_init_by_tag(d, n, dims, type, tag);
}

static void desc_free(dnnl_memory_desc_t *d)
{
    (void)d;
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops, float scale, dnnl_data_type_t type)
{
    return dnnl_post_ops_append_sum_v2(ops, scale, type);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, beta);
}

dnnl_status_t conv_describe(dnnl_primitive_desc_t *pd, const struct problem *p, dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    dnnl_status_t rc = dnnl_dilated_convolution_forward_desc_init(
        &d, dnnl_forward_inference, dnnl_convolution_direct, &p->src, &p->weights,
        p->has_bias ? &p->bias : NULL, &p->dst, p->strides, p->dilates, p->before, p->after);
    return rc ? rc : dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

dnnl_status_t product_describe(dnnl_primitive_desc_t *pd, const struct problem *p, dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t d;
    dnnl_status_t rc =
        dnnl_matmul_desc_init(&d, &p->src, &p->weights, p->has_bias ? &p->bias : NULL, &p->dst);
    return rc ? rc : dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

/* oneDNN 2 computes output_scale * (sum of products + bias), then what follows. An activation that commutes
 * with multiplication works on the destination's integers; any other needs the numbers, and one more step. */
static bool commutes(const struct post *p)
{
    return p->activation == ACT_NONE || p->activation == ACT_RELU || p->activation == ACT_LEAKY_RELU ||
           p->activation == ACT_CLIP;
}

static bool on_integers(const struct post *p, const struct steps *q)
{
    return commutes(p) && !(p->activation == ACT_LEAKY_RELU && q->dst_zero);
}

static bool set_scales(dnnl_primitive_attr_t attr, const struct steps *q, float unit)
{
    float *scale = malloc((size_t)q->n * sizeof *scale + 1);
    bool ok;
    for (int64_t i = 0; scale && i < q->n; i++)
        scale[i] = q->src * q->weights[i] / unit;
    ok = scale && dnnl_primitive_attr_set_output_scales(attr, q->n, 1 << 1, scale) == dnnl_success;
    free(scale);
    return ok;
}

static bool set_zero(dnnl_primitive_attr_t attr)
{
    return dnnl_primitive_attr_set_zero_points(attr, DNNL_ARG_SRC, 1, 0,
                                               (const int32_t[]){DNNL_RUNTIME_S32_VAL}) == dnnl_success;
}

/* The activation among the destination's integers, where that is what it works on. */
static void among_integers(const struct post *p, const struct steps *q, dnnl_alg_kind_t *kind, float *alpha,
                           float *beta)
{
    if (p->activation == ACT_CLIP) {
        *alpha = *alpha / q->dst + (float)q->dst_zero;
        *beta = *beta / q->dst + (float)q->dst_zero;
    } else if (p->activation == ACT_RELU && q->dst_zero) {
        *kind = dnnl_eltwise_clip;
        *alpha = (float)q->dst_zero;
        *beta = UINT8_MAX;
    }
}

static bool set_ops(dnnl_primitive_attr_t attr, dnnl_post_ops_t ops, const struct post *p,
                    dnnl_data_type_t residual, const struct steps *q)
{
    bool integers = on_integers(p, q);
    float unit = integers ? q->dst : 1, alpha, beta;
    dnnl_alg_kind_t kind;
    bool ok = !q->weights || set_scales(attr, q, unit);
    if (ok && q->zero)
        ok = set_zero(attr);
    if (ok && p->residual != GRAPH_NONE)
        ok = append_sum(ops, q->residual / unit, residual) == dnnl_success;
    if (ok && eltwise_of(p, &kind, &alpha, &beta)) {
        if (integers)
            among_integers(p, q, &kind, &alpha, &beta);
        ok = append_eltwise(ops, kind, alpha, beta) == dnnl_success;
    }
    if (ok && !integers && (q->dst != 1 || q->dst_zero))
        ok = append_eltwise(ops, dnnl_eltwise_linear, 1 / q->dst, (float)q->dst_zero) == dnnl_success;
    return ok;
}

float onednn_bias_unit(const struct steps *q, int64_t i)
{
    return q->weights ? q->src * q->weights[i] : 1;
}

float onednn_bias_shift(const struct post *p, const struct steps *q)
{
    return on_integers(p, q) ? q->dst * (float)q->dst_zero : 0;
}

static int scale_memories(dnnl_exec_arg_t *args, const struct steps *q, float *room)
{
    (void)args;
    (void)q;
    (void)room;
    return 0;
}

#else

desc_view desc_of(const dnnl_memory_desc_t *d)
{
    return *d;
}

dnnl_status_t desc_new(dnnl_memory_desc_t *d, int n, const dnnl_dims_t dims, dnnl_data_type_t type,
                       dnnl_format_tag_t tag)
{
    return dnnl_memory_desc_create_with_tag(d, n, dims, type, tag);
}

static void desc_free(dnnl_memory_desc_t *d)
{
    if (*d)
        dnnl_memory_desc_destroy(*d);
}

static dnnl_status_t append_sum(dnnl_post_ops_t ops, float scale, dnnl_data_type_t type)
{
    return dnnl_post_ops_append_sum(ops, scale, 0, type);
}

static dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(ops, kind, alpha, beta);
}

dnnl_status_t conv_describe(dnnl_primitive_desc_t *pd, const struct problem *p, dnnl_primitive_attr_t attr)
{
    return dnnl_convolution_forward_primitive_desc_create(
        pd, engine, dnnl_forward_inference, dnnl_convolution_direct, p->src, p->weights, p->bias, p->dst,
        p->strides, p->dilates, p->before, p->after, attr);
}

dnnl_status_t product_describe(dnnl_primitive_desc_t *pd, const struct problem *p, dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, p->src, p->weights, p->bias, p->dst, attr);
}

static bool set_zero(dnnl_primitive_attr_t attr)
{
    return dnnl_primitive_attr_set_zero_points_mask(attr, DNNL_ARG_SRC, 0) == dnnl_success;
}

/* oneDNN 3 computes with numbers throughout; the last step makes the destination's integers of them. */
static bool set_ops(dnnl_primitive_attr_t attr, dnnl_post_ops_t ops, const struct post *p,
                    dnnl_data_type_t residual, const struct steps *q)
{
    float alpha, beta;
    dnnl_alg_kind_t kind;
    bool ok = true;
    if (q->weights)
        ok = dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_SRC, 0) == dnnl_success &&
             dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_WEIGHTS, q->mask) == dnnl_success &&
             (q->dst == 1 || q->dst_zero ||
              dnnl_primitive_attr_set_scales_mask(attr, DNNL_ARG_DST, 0) == dnnl_success);
    if (ok && q->zero)
        ok = set_zero(attr);
    if (ok && p->residual != GRAPH_NONE)
        ok = append_sum(ops, q->residual, residual) == dnnl_success;
    if (ok && eltwise_of(p, &kind, &alpha, &beta))
        ok = append_eltwise(ops, kind, alpha, beta) == dnnl_success;
    if (ok && q->dst_zero)
        ok = append_eltwise(ops, dnnl_eltwise_linear, 1 / q->dst, (float)q->dst_zero) == dnnl_success;
    return ok;
}

float onednn_bias_unit(const struct steps *q, int64_t i)
{
    (void)q;
    (void)i;
    return 1;
}

float onednn_bias_shift(const struct post *p, const struct steps *q)
{
    (void)p;
    (void)q;
    return 0;
}

static int scale_memories(dnnl_exec_arg_t *args, const struct steps *q, float *room)
{
    int n = 0;
    room[0] = q->src;
    room[1] = q->dst;
    memcpy(room + 2, q->weights, (size_t)q->n * sizeof *room);
    if (number_memory(&args[n++], DNNL_ARG_ATTR_SCALES | DNNL_ARG_SRC, dnnl_f32, room, 1) ||
        number_memory(&args[n++], DNNL_ARG_ATTR_SCALES | DNNL_ARG_WEIGHTS, dnnl_f32, room + 2, q->n) ||
        (q->dst != 1 && !q->dst_zero &&
         number_memory(&args[n++], DNNL_ARG_ATTR_SCALES | DNNL_ARG_DST, dnnl_f32, room + 1, 1)))
        return -1;
    return n;
}

#endif

desc_view desc_in(const_dnnl_primitive_desc_t pd, dnnl_query_t what)
{
    return dnnl_primitive_desc_query_md(pd, what, 0);
}

int memory_new(dnnl_memory_t *m, desc_view d, void *data)
{
    return dnnl_memory_create(m, d, engine, data ? data : DNNL_MEMORY_NONE) != dnnl_success;
}

static int number_memory(dnnl_exec_arg_t *arg, int what, dnnl_data_type_t type, void *data, int64_t n)
{
    dnnl_memory_desc_t d = {0};
    int failed =
        desc_new(&d, 1, (dnnl_dims_t){n}, type, dnnl_x) || memory_new(&arg->memory, desc_of(&d), data);
    arg->arg = what;
    desc_free(&d);
    return failed;
}

int onednn_scales(dnnl_exec_arg_t *args, int *n, const struct steps *q, float *room)
{
    int32_t *zero = (int32_t *)(void *)(room + q->n + 2);
    *n = q->weights ? scale_memories(args, q, room) : 0;
    *zero = q->zero;
    if (*n < 0 || (q->zero &&
                   number_memory(&args[(*n)++], DNNL_ARG_ATTR_ZERO_POINTS | DNNL_ARG_SRC, dnnl_s32, zero, 1)))
        return FL_NOMEM;
    return FL_OK;
}

void problem_free(struct problem *p)
{
    desc_free(&p->src);
    desc_free(&p->dst);
    desc_free(&p->weights);
    desc_free(&p->plain);
    desc_free(&p->bias);
}

dnnl_primitive_attr_t onednn_attr(const struct post *p, dnnl_data_type_t residual, const struct steps *q)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    bool ok =
        dnnl_primitive_attr_create(&attr) == dnnl_success && dnnl_post_ops_create(&ops) == dnnl_success &&
        dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user) == dnnl_success &&
        set_ops(attr, ops, p, residual, q) && dnnl_primitive_attr_set_post_ops(attr, ops) == dnnl_success;
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (!ok && attr)
        dnnl_primitive_attr_destroy(attr);
    return ok ? attr : NULL;
}

#if DNNL_VERSION_MAJOR == 3

/* A memory of blocks: where each element of it lies. */
struct blocks {
    int n, n_inner;
    dnnl_data_type_t type;
    dnnl_dims_t *dims, *padded, *strides, *inner, *inner_of;
};

static bool blocks_of(struct blocks *b, desc_view d)
{
    dnnl_format_kind_t kind;
    return !dnnl_memory_desc_query(d, dnnl_query_format_kind, &kind) && kind == dnnl_blocked &&
           !dnnl_memory_desc_query(d, dnnl_query_ndims_s32, &b->n) &&
           !dnnl_memory_desc_query(d, dnnl_query_data_type, &b->type) &&
           !dnnl_memory_desc_query(d, dnnl_query_dims, &b->dims) &&
           !dnnl_memory_desc_query(d, dnnl_query_padded_dims, &b->padded) &&
           !dnnl_memory_desc_query(d, dnnl_query_strides, &b->strides) &&
           !dnnl_memory_desc_query(d, dnnl_query_inner_nblks_s32, &b->n_inner) &&
           !dnnl_memory_desc_query(d, dnnl_query_inner_blks, &b->inner) &&
           !dnnl_memory_desc_query(d, dnnl_query_inner_idxs, &b->inner_of);
}

static int64_t place_in(const struct blocks *b, const dnnl_dims_t index)
{
    int64_t rest[DNNL_MAX_NDIMS], unit = 1, place = 0;
    memcpy(rest, index, sizeof rest);
    for (int i = b->n_inner - 1; i >= 0; i--) {
        int64_t size = (*b->inner)[i], *of = &rest[(*b->inner_of)[i]];
        place += *of % size * unit;
        *of /= size;
        unit *= size;
    }
    for (int i = 0; i < b->n; i++)
        place += rest[i] * (*b->strides)[i];
    return place;
}

/* Nothing but numbers, zeros where there are more than dims say. */
static bool is_padded(const struct blocks *b, desc_view d)
{
    size_t size = dnnl_data_type_size(b->type);
    bool more = false;
    for (int i = 0; i < b->n; i++) {
        size *= (size_t)(*b->padded)[i];
        more |= (*b->padded)[i] != (*b->dims)[i];
    }
    return more && dnnl_memory_desc_get_size(d) == size;
}

static void put_element(const struct blocks *from, const void *source, int64_t at, const struct blocks *to,
                        void *data, int64_t place)
{
    if (from->type == dnnl_s8)
        ((int8_t *)data)[place] = ((const int8_t *)source)[at];
    else if (to->type == dnnl_bf16)
        low_narrow((const float *)source + at, TENSOR_BF16, SCALE_NONE, (uint16_t *)data + place, 1);
    else
        ((float *)data)[place] = ((const float *)source)[at];
}

/* Fills blocks that are padded; false where it is not for this. The reorders of oneDNN 3.7 lose values on the
 * way into such blocks with AVX-512 (seen in Debian 13's 3.7.2). */
static bool pack_padded(dnnl_memory_t from, desc_view from_desc, dnnl_memory_t to, desc_view to_desc)
{
    struct blocks a, b;
    dnnl_dims_t index = {0};
    void *source, *data;
    int i;
    if (!blocks_of(&a, from_desc) || !blocks_of(&b, to_desc) || a.n != b.n || a.n_inner ||
        !is_padded(&b, to_desc) ||
        !(a.type == dnnl_f32 ? b.type == dnnl_f32 || b.type == dnnl_bf16
                             : a.type == dnnl_s8 && b.type == dnnl_s8) ||
        dnnl_memory_get_data_handle(from, &source) || dnnl_memory_get_data_handle(to, &data))
        return false;
    memset(data, 0, dnnl_memory_desc_get_size(to_desc));
    do {
        put_element(&a, source, place_in(&a, index), &b, data, place_in(&b, index));
        for (i = a.n - 1; i >= 0 && ++index[i] == (*a.dims)[i]; i--)
            index[i] = 0;
    } while (i >= 0);
    return true;
}

#else

/* oneDNN 2 fills all blocks as it should. */
static bool pack_padded(dnnl_memory_t from, desc_view from_desc, dnnl_memory_t to, desc_view to_desc)
{
    (void)from, (void)from_desc, (void)to, (void)to_desc;
    return false;
}

#endif

int onednn_reorder(dnnl_memory_t from, desc_view from_desc, dnnl_memory_t to, desc_view to_desc)
{
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t primitive = NULL;
    int failed;
    if (pack_padded(from, from_desc, to, to_desc))
        return FL_OK;
    failed = dnnl_reorder_primitive_desc_create(&pd, from_desc, engine, to_desc, engine, NULL) ||
             dnnl_primitive_create(&primitive, pd) || dnnl_primitive_execute(primitive, the_stream, 2, args);
    if (primitive)
        dnnl_primitive_destroy(primitive);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return failed ? FL_UNSUPPORTED : FL_OK;
}

#else

const char *onednn_version(void)
{
    return "own kernels";
}

enum speed onednn_speed(enum tensor_dtype low)
{
    (void)low;
    return SPEED_NONE;
}

#endif
