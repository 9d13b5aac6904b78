/* view.c - strided views of tensors, and loops over them */
#include <math.h>
#include <string.h>

#include "ops.h"

struct view view_plain(const struct tensor *t)
{
    struct view v = {.dtype = t->dtype, .rank = t->rank, .data = t->data};
    int64_t stride = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        v.dim[i] = t->dim[i];
        v.stride[i] = stride;
        stride *= t->dim[i];
    }
    return v;
}

struct view view_channels_last(const struct tensor *t)
{
    struct view v = view_plain(t);
    int64_t c = t->dim[1], h = t->dim[2], w = t->dim[3];
    if (t->rank != 4)
        return v;
    v.stride[0] = h * w * c;
    v.stride[1] = 1;
    v.stride[2] = w * c;
    v.stride[3] = c;
    return v;
}

int64_t view_count(const struct view *v)
{
    int64_t n = 1;
    for (int i = 0; i < v->rank; i++)
        n *= v->dim[i];
    return n;
}

bool view_present(const struct op_call *c, int input)
{
    return input < c->n_in && c->in[input].dtype != TENSOR_NONE;
}

struct view view_broadcast(const struct view *v, const struct view *to)
{
    struct view b = {.dtype = v->dtype, .rank = to->rank, .data = v->data};
    int shift = to->rank - v->rank;
    for (int i = 0; i < to->rank; i++) {
        b.dim[i] = to->dim[i];
        b.stride[i] = i < shift || v->dim[i - shift] == 1 ? 0 : v->stride[i - shift];
    }
    return b;
}

struct view view_part(const struct view *v, int d, int64_t at, int64_t count)
{
    struct view p = *v;
    p.dim[d] = count;
    p.data = (char *)v->data + at * v->stride[d] * (int64_t)tensor_dtype_bytes(v->dtype);
    return p;
}

int64_t index_offset(const int64_t *index, const int64_t *stride, int n)
{
    int64_t at = 0;
    for (int d = 0; d < n; d++)
        at += index[d] * stride[d];
    return at;
}

bool index_advance(int64_t *index, const int64_t *limit, int n)
{
    for (int d = n - 1; d >= 0; d--) {
        if (++index[d] < limit[d])
            return true;
        index[d] = 0;
    }
    return false;
}

static void drop_dim(struct walk *w, int d)
{
    for (int i = d; i < w->rank - 1; i++) {
        w->dim[i] = w->dim[i + 1];
        for (int k = 0; k < w->n; k++)
            w->stride[k][i] = w->stride[k][i + 1];
    }
    w->rank--;
}

/* Dim d and d + 1 are one when every view steps over d exactly after d + 1 is through. */
static bool can_merge(const struct walk *w, int d)
{
    for (int k = 0; k < w->n; k++)
        if (w->stride[k][d] != w->stride[k][d + 1] * w->dim[d + 1])
            return false;
    return true;
}

static void merge_dims(struct walk *w)
{
    for (int d = w->rank - 1; d >= 0; d--)
        if (w->dim[d] == 1)
            drop_dim(w, d);
    for (int d = w->rank - 2; d >= 0; d--)
        if (can_merge(w, d)) {
            w->dim[d + 1] *= w->dim[d];
            drop_dim(w, d);
        }
}

static void swap_dims(struct walk *w, int a, int b)
{
    int64_t t = w->dim[a];
    w->dim[a] = w->dim[b];
    w->dim[b] = t;
    for (int k = 0; k < w->n; k++) {
        t = w->stride[k][a];
        w->stride[k][a] = w->stride[k][b];
        w->stride[k][b] = t;
    }
}

static void sort_dims(struct walk *w)
{
    for (int i = 1; i < w->rank; i++)
        for (int k = i; k > 0 && w->stride[0][k - 1] < w->stride[0][k]; k--)
            swap_dims(w, k - 1, k);
}

static bool start(struct walk *w, int n, const struct view *const *views, bool any)
{
    w->n = n;
    w->rank = views[0]->rank;
    for (int i = 0; i < w->rank; i++) {
        w->dim[i] = views[0]->dim[i];
        w->index[i] = 0;
        if (!w->dim[i])
            return false;
        for (int k = 0; k < n; k++)
            w->stride[k][i] = views[k]->stride[i];
    }
    if (any)
        sort_dims(w);
    merge_dims(w);
    w->inner = w->rank ? w->dim[w->rank - 1] : 1;
    for (int k = 0; k < n; k++) {
        w->off[k] = 0;
        w->step[k] = w->rank ? w->stride[k][w->rank - 1] : 0;
    }
    return true;
}

bool walk_start(struct walk *w, int n, const struct view *const *views)
{
    return start(w, n, views, false);
}

bool walk_start_any(struct walk *w, int n, const struct view *const *views)
{
    return start(w, n, views, true);
}

bool walk_next(struct walk *w)
{
    for (int d = w->rank - 2; d >= 0; d--) {
        for (int k = 0; k < w->n; k++)
            w->off[k] += w->stride[k][d];
        if (++w->index[d] < w->dim[d])
            return true;
        for (int k = 0; k < w->n; k++)
            w->off[k] -= w->stride[k][d] * w->dim[d];
        w->index[d] = 0;
    }
    return false;
}

#define COPY(type)                        \
    for (int64_t i = 0; i < w.inner; i++) \
    ((type *)to->data)[walk_at(&w, 0, i)] = ((const type *)from->data)[walk_at(&w, 1, i)]

/* n > 0 times the element at `one`. */
static void fill(char *to, const char *one, size_t bytes, size_t n)
{
    memcpy(to, one, bytes);
    for (size_t done = 1; done < n; done *= 2)
        memcpy(to + done * bytes, to, (done < n - done ? done : n - done) * bytes);
}

void view_copy(const struct view *from, const struct view *to)
{
    const struct view *views[] = {to, from};
    size_t bytes = tensor_dtype_bytes(to->dtype);
    struct walk w;
    for (bool more = walk_start_any(&w, 2, views); more; more = walk_next(&w)) {
        if (w.step[0] == 1 && w.step[1] == 1) {
            memcpy((char *)to->data + w.off[0] * (int64_t)bytes,
                   (const char *)from->data + w.off[1] * (int64_t)bytes, (size_t)w.inner * bytes);
            continue;
        }
        if (w.step[0] == 1 && w.step[1] == 0 && w.inner > 0) {
            fill((char *)to->data + w.off[0] * (int64_t)bytes,
                 (const char *)from->data + w.off[1] * (int64_t)bytes, bytes, (size_t)w.inner);
            continue;
        }
        switch (bytes) {
        case 1:
            COPY(uint8_t);
            break;
        case 2:
            COPY(uint16_t);
            break;
        case 4:
            COPY(uint32_t);
            break;
        default:
            COPY(uint64_t);
        }
    }
}

static float activate(const struct post *p, float x)
{
    switch (p->activation) {
    case ACT_RELU:
        return x < 0 ? 0 : x;
    case ACT_CLIP:
        return x < p->alpha ? p->alpha : x > p->beta ? p->beta : x;
    case ACT_LEAKY_RELU:
        return x < 0 ? p->alpha * x : x;
    case ACT_HARD_SWISH:
        return x * fminf(fmaxf(x / 6 + 0.5f, 0), 1);
    case ACT_SIGMOID:
        return 1 / (1 + expf(-x));
    case ACT_HARD_SIGMOID:
        return fminf(fmaxf(p->alpha * x + p->beta, 0), 1);
    case ACT_SILU:
        return x / (1 + expf(-x));
    case ACT_TANH:
        return tanhf(x);
    case ACT_ERF:
        return erff(x);
    case ACT_GELU:
        return 0.5f * x * (1 + erff(x * 0.70710678f));
    case ACT_GELU_TANH:
        return 0.5f * x * (1 + tanhf(0.79788456f * (x + 0.044715f * x * x * x)));
    default:
        return x;
    }
}

void post_apply(const struct post *p, const struct view *residual, const struct view *out)
{
    struct view r = residual ? view_broadcast(residual, out) : *out;
    const struct view *views[] = {out, &r};
    struct walk w;
    float *to = out->data;
    const float *from = r.data;
    for (bool more = walk_start_any(&w, 2, views); more; more = walk_next(&w))
        for (int64_t i = 0; i < w.inner; i++) {
            float *x = &to[walk_at(&w, 0, i)];
            *x = activate(p, residual ? *x + from[walk_at(&w, 1, i)] : *x);
        }
}
