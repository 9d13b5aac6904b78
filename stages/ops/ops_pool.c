/* ops_pool.c - MaxPool and AveragePool over any number of spatial dims */
#include <math.h>
#include <string.h>

#include "ops.h"

static int pool_infer(struct op_infer *i, unsigned dtypes)
{
    const struct tensor *x = &i->in[0];
    struct window w;
    int code;
    if ((code = infer_dtype(i, 0, dtypes)) ||
        (code = window_resolve(&w, i->node, x->rank, x->dim, NULL, i->error)))
        return code;
    infer_like(i, 0, x);
    for (int d = 0; d < w.n; d++) {
        if (w.before[d] >= w.kernel[d] * w.dilation[d] || w.after[d] >= w.kernel[d] * w.dilation[d])
            return infer_fail(i, "its padding is not smaller than its window");
        i->out[0].dim[d + 2] = window_output(&w, d, x->dim[d + 2]);
        if (i->out[0].dim[d + 2] < 0)
            return infer_fail(i, "its window is larger than its padded input of %lld",
                              (long long)x->dim[d + 2]);
    }
    return FL_OK;
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

static bool advance(int64_t *index, const int64_t *limit, int n)
{
    for (int d = n - 1; d >= 0; d--) {
        if (++index[d] < limit[d])
            return true;
        index[d] = 0;
    }
    return false;
}

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
    for (bool first = true, more = true; more; more = advance(k, p->win.kernel, p->win.n)) {
        double x;
        if (!locate(p, at, k, &offset, &index))
            continue;
        x = element_real(p->x->dtype, p->x->data, base + offset);
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
            sum += element_real(p->x->dtype, p->x->data, base + offset);
            n++;
        } else if (counts(p, at, k)) {
            n++;
        }
    } while (advance(k, p->win.kernel, p->win.n));
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

static int64_t output_at(const struct view *y, int64_t n, int64_t c, const int64_t *at)
{
    int64_t offset = n * y->stride[0] + c * y->stride[1];
    for (int d = 2; d < y->rank; d++)
        offset += at[d - 2] * y->stride[d];
    return offset;
}

static void max_plane(const struct pool *p, const struct view *indices, int64_t n, int64_t ch)
{
    int64_t at[SPATIAL_MAX] = {0}, base = n * p->x->stride[0] + ch * p->x->stride[1], best;
    do {
        double x = max_at(p, base, at, &best);
        element_set_real(p->y->dtype, p->y->data, output_at(p->y, n, ch, at), x);
        if (indices)
            ((int64_t *)indices->data)[output_at(indices, n, ch, at)] =
                (n * p->x->dim[1] + ch) * p->plane + best;
    } while (advance(at, p->y->dim + 2, p->win.n));
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
            int64_t at[SPATIAL_MAX] = {0}, base = n * p.x->stride[0] + ch * p.x->stride[1];
            do {
                element_set_real(p.y->dtype, p.y->data, output_at(p.y, n, ch, at), average_at(&p, base, at));
            } while (advance(at, p.y->dim + 2, p.win.n));
        }
    return FL_OK;
}
