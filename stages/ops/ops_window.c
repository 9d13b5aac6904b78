/* ops_window.c - how a window moves over spatial dims, for convolutions and pools; MaxPool and AveragePool */
#include <math.h>
#include <string.h>

#include "ops.h"

#define WINDOW_MAX ((int64_t)1 << 24) /* of any attribute: no overflow in sums and products of two */

static int read_list(const struct node *n, const char *name, int64_t *out, int count, int64_t low,
                     int64_t otherwise, struct error *e)
{
    const struct attr *a = attr_find(n, name);
    for (int i = 0; i < count; i++)
        out[i] = otherwise;
    if (!a)
        return FL_OK;
    if (a->kind != ATTR_INTS || a->count != count)
        return error_set(e, FL_MODEL, "attribute '%s' must have %d integers", name, count);
    for (int i = 0; i < count; i++) {
        if (a->ints[i] < low || a->ints[i] > WINDOW_MAX)
            return error_set(e, FL_MODEL, "attribute '%s' has the value %lld", name, (long long)a->ints[i]);
        out[i] = a->ints[i];
    }
    return FL_OK;
}

static int64_t extent_of(const struct window *w, int i)
{
    return (w->kernel[i] - 1) * w->dilation[i] + 1;
}

/* SAME: as many outputs as input / stride, rounded up; an odd padding goes to the end (UPPER) or the
 * beginning. */
static void pad_same(struct window *w, const int64_t *spatial, bool upper)
{
    for (int i = 0; i < w->n; i++) {
        int64_t outputs = (spatial[i] + w->stride[i] - 1) / w->stride[i];
        int64_t total = (outputs - 1) * w->stride[i] + extent_of(w, i) - spatial[i];
        total = total < 0 ? 0 : total;
        w->before[i] = upper ? total / 2 : total - total / 2;
        w->after[i] = total - w->before[i];
    }
}

static int resolve_padding(struct window *w, const struct node *n, const int64_t *spatial, struct error *e)
{
    const char *mode = attr_string(n, "auto_pad", "NOTSET");
    int64_t pads[2 * SPATIAL_MAX];
    int code;
    if (!strcmp(mode, "SAME_UPPER") || !strcmp(mode, "SAME_LOWER")) {
        pad_same(w, spatial, !strcmp(mode, "SAME_UPPER"));
        return FL_OK;
    }
    if (!strcmp(mode, "VALID"))
        return FL_OK;
    if (*mode && strcmp(mode, "NOTSET"))
        return error_set(e, FL_MODEL, "auto_pad '%s' is unknown", mode);
    if ((code = read_list(n, "pads", pads, 2 * w->n, 0, 0, e)))
        return code;
    for (int i = 0; i < w->n; i++) {
        w->before[i] = pads[i];
        w->after[i] = pads[w->n + i];
    }
    return FL_OK;
}

int window_resolve(struct window *w, const struct node *n, int rank, const int64_t *in, const int64_t *kernel,
                   struct error *e)
{
    int code;
    memset(w, 0, sizeof *w);
    w->n = rank - 2;
    if (w->n < 1 || w->n > SPATIAL_MAX)
        return error_set(e, FL_MODEL, "its input has rank %d, it needs N, C and spatial dims", rank);
    if (!kernel && !attr_find(n, "kernel_shape"))
        return error_set(e, FL_MODEL, "attribute 'kernel_shape' is missing");
    if ((code = read_list(n, "kernel_shape", w->kernel, w->n, 1, 0, e)) ||
        (code = read_list(n, "strides", w->stride, w->n, 1, 1, e)) ||
        (code = read_list(n, "dilations", w->dilation, w->n, 1, 1, e)))
        return code;
    for (int i = 0; kernel && i < w->n; i++) {
        if (w->kernel[i] && w->kernel[i] != kernel[i])
            return error_set(e, FL_MODEL, "kernel_shape says %lld, the weights have %lld",
                             (long long)w->kernel[i], (long long)kernel[i]);
        if (kernel[i] < 1 || kernel[i] > WINDOW_MAX)
            return error_set(e, FL_MODEL, "the weights have an impossible kernel size");
        w->kernel[i] = kernel[i];
    }
    w->ceil_mode = attr_int(n, "ceil_mode", 0) != 0;
    return resolve_padding(w, n, in + 2, e);
}

/* Output size along spatial dim i for that input size; negative when the window does not fit. */
static int64_t output_of(const struct window *w, int i, int64_t in)
{
    int64_t room = in + w->before[i] + w->after[i] - extent_of(w, i), n;
    if (room < 0)
        return -1;
    n = room / w->stride[i] + 1;
    /* A last window that is cut off counts, unless it would begin in the padding behind the input. */
    if (w->ceil_mode && room % w->stride[i] && n * w->stride[i] < in + w->before[i])
        n++;
    return n;
}

int window_infer(struct op_infer *i, const struct window *w)
{
    const int64_t *in = i->in[0].dim + 2;
    for (int d = 0; d < w->n; d++) {
        i->out[0].dim[d + 2] = output_of(w, d, in[d]);
        if (i->out[0].dim[d + 2] < 0)
            return infer_fail(i, "its window is larger than its padded input of %lld", (long long)in[d]);
    }
    return FL_OK;
}

/* --- MaxPool and AveragePool --- */

static int pool_infer(struct op_infer *i, unsigned dtypes)
{
    const struct tensor *x = &i->in[0];
    struct window w;
    int code;
    if ((code = infer_same(i, dtypes)) ||
        (code = window_resolve(&w, i->node, x->rank, x->dim, NULL, i->error)))
        return code;
    for (int d = 0; d < w.n; d++)
        if (w.before[d] >= w.kernel[d] * w.dilation[d] || w.after[d] >= w.kernel[d] * w.dilation[d])
            return infer_fail(i, "its padding is not smaller than its window");
    return window_infer(i, &w);
}

int max_pool_infer(struct op_infer *i)
{
    int code = pool_infer(i, DT_FLOAT | DT(U8) | DT(I8));
    if (!code && i->n_out > 1) {
        infer_like(i, 1, &i->out[0]);
        i->out[1].dtype = TENSOR_I64;
    }
    return code;
}

int average_pool_infer(struct op_infer *i)
{
    return pool_infer(i, DT_FLOAT);
}

struct pool {
    const struct view *x, *y;
    struct window win;
    int64_t plane; /* elements of one channel */
    bool column_major, count_padding;
};

/* Offset in x of window element k at output position `at`; false in the padding. *index: its number in the
 * plane. */
static bool locate(const struct pool *p, const int64_t *at, const int64_t *k, int64_t *offset, int64_t *index)
{
    int64_t scale = 1;
    *offset = *index = 0;
    for (int i = 0; i < p->win.n; i++) {
        int d = p->column_major ? i : p->win.n - 1 - i;
        int64_t pos = at[d] * p->win.stride[d] + k[d] * p->win.dilation[d] - p->win.before[d];
        if (pos < 0 || pos >= p->x->dim[d + 2])
            return false;
        *offset += pos * p->x->stride[d + 2];
        *index += pos * scale;
        scale *= p->x->dim[d + 2];
    }
    return true;
}

/* Window elements that an average counts: those of the input, or those of the padded input too. */
static bool counts(const struct pool *p, const int64_t *at, const int64_t *k)
{
    for (int d = 0; d < p->win.n; d++) {
        int64_t pos = at[d] * p->win.stride[d] + k[d] * p->win.dilation[d] - p->win.before[d];
        if (pos >= p->x->dim[d + 2] + p->win.after[d])
            return false;
    }
    return p->count_padding;
}

static double max_at(const struct pool *p, int64_t base, const int64_t *at, int64_t *best)
{
    int64_t k[SPATIAL_MAX] = {0}, offset, index;
    double max = -INFINITY;
    *best = 0;
    for (bool first = true, more = true; more; more = index_advance(k, p->win.kernel, p->win.n)) {
        double x;
        if (!locate(p, at, k, &offset, &index))
            continue;
        x = real_at(p->x, base + offset);
        if (first || x > max || (isnan(x) && !isnan(max))) {
            max = x;
            *best = index;
        }
        first = false;
    }
    return max;
}

static double average_at(const struct pool *p, int64_t base, const int64_t *at)
{
    int64_t k[SPATIAL_MAX] = {0}, offset, index, n = 0;
    double sum = 0;
    do {
        if (locate(p, at, k, &offset, &index)) {
            sum += real_at(p->x, base + offset);
            n++;
        } else if (counts(p, at, k)) {
            n++;
        }
    } while (index_advance(k, p->win.kernel, p->win.n));
    return n ? sum / (double)n : 0;
}

static int pool_begin(struct pool *p, const struct op_call *c)
{
    memset(p, 0, sizeof *p);
    p->x = &c->in[0];
    p->y = &c->out[0];
    p->plane = 1;
    for (int d = 2; d < p->x->rank; d++)
        p->plane *= p->x->dim[d];
    p->column_major = attr_int(c->node, "storage_order", 0) != 0;
    p->count_padding = attr_int(c->node, "count_include_pad", 0) != 0;
    return window_resolve(&p->win, c->node, p->x->rank, p->x->dim, NULL, NULL);
}

static void max_plane(const struct pool *p, const struct view *indices, int64_t n, int64_t ch)
{
    int64_t at[TENSOR_MAX_RANK] = {n, ch}, base = n * p->x->stride[0] + ch * p->x->stride[1], best;
    do {
        put_real(p->y, index_offset(at, p->y->stride, p->y->rank), max_at(p, base, at + 2, &best));
        if (indices)
            put_int(indices, index_offset(at, indices->stride, indices->rank),
                    (n * p->x->dim[1] + ch) * p->plane + best);
    } while (index_advance(at + 2, p->y->dim + 2, p->win.n));
}

int max_pool_reference(const struct op_call *c)
{
    const struct view *indices = c->n_out > 1 && c->out[1].dtype != TENSOR_NONE ? &c->out[1] : NULL;
    struct pool p;
    int code = pool_begin(&p, c);
    if (code || !view_count(p.y))
        return code;
    for (int64_t n = 0; n < p.y->dim[0]; n++)
        for (int64_t ch = 0; ch < p.y->dim[1]; ch++)
            max_plane(&p, indices, n, ch);
    return FL_OK;
}

int average_pool_reference(const struct op_call *c)
{
    struct pool p;
    int code = pool_begin(&p, c);
    if (code || !view_count(p.y))
        return code;
    for (int64_t n = 0; n < p.y->dim[0]; n++)
        for (int64_t ch = 0; ch < p.y->dim[1]; ch++) {
            int64_t at[TENSOR_MAX_RANK] = {n, ch}, base = n * p.x->stride[0] + ch * p.x->stride[1];
            do {
                put_real(p.y, index_offset(at, p.y->stride, p.y->rank), average_at(&p, base, at + 2));
            } while (index_advance(at + 2, p.y->dim + 2, p.win.n));
        }
    return FL_OK;
}
